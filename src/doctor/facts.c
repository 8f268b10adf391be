/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor/facts.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/macro.h"

#define NAME_ROOM 64

enum field_type { FIELD_NUMBER, FIELD_TEXT, FIELD_LIST };

struct schema;

struct field {
    const char *name;
    enum field_type type;
    size_t offset, n_offset; /* of a list: that of its length, too */
    const struct schema *of; /* of a list: its elements */
};

struct schema {
    size_t size;
    const struct field *fields;
    size_t n;
};

#define DECLARE_SCHEMA(sort, FIELDS) static const struct schema schema_##sort;
DOCTOR_SORTS(DECLARE_SCHEMA)

/* clang-format off */
#define NUMBER_FIELD(name) {#name, FIELD_NUMBER, offsetof(struct THIS, name), 0, NULL},
#define TEXT_FIELD(name) {#name, FIELD_TEXT, offsetof(struct THIS, name), 0, NULL},
#define LIST_FIELD(name, sort) {#name, FIELD_LIST, offsetof(struct THIS, name), offsetof(struct THIS, n_##name), &schema_##sort},
#define DEFINE_SCHEMA(sort, FIELDS)                                                                          \
    static const struct schema schema_##sort = {                                                             \
        sizeof(struct doctor_##sort), fields_##sort, ELEMENTSOF(fields_##sort)};

#define THIS doctor_process
static const struct field fields_process[] = {DOCTOR_PROCESS_FIELDS(NUMBER_FIELD, TEXT_FIELD, LIST_FIELD)};
#undef THIS
#define THIS doctor_lock
static const struct field fields_lock[] = {DOCTOR_LOCK_FIELDS(NUMBER_FIELD, TEXT_FIELD, LIST_FIELD)};
#undef THIS
#define THIS doctor_listener
static const struct field fields_listener[] = {DOCTOR_LISTENER_FIELDS(NUMBER_FIELD, TEXT_FIELD, LIST_FIELD)};
#undef THIS
#define THIS doctor_connection
static const struct field fields_connection[] = {DOCTOR_CONNECTION_FIELDS(NUMBER_FIELD, TEXT_FIELD, LIST_FIELD)};
#undef THIS
#define THIS doctor_cgroup
static const struct field fields_cgroup[] = {DOCTOR_CGROUP_FIELDS(NUMBER_FIELD, TEXT_FIELD, LIST_FIELD)};
#undef THIS
#define THIS doctor_dovecot
static const struct field fields_dovecot[] = {DOCTOR_DOVECOT_FIELDS(NUMBER_FIELD, TEXT_FIELD, LIST_FIELD)};
#undef THIS
#define THIS doctor_dovecot_service
static const struct field fields_dovecot_service[] = {DOCTOR_DOVECOT_SERVICE_FIELDS(NUMBER_FIELD, TEXT_FIELD, LIST_FIELD)};
#undef THIS
#define THIS doctor_unseen
static const struct field fields_unseen[] = {DOCTOR_UNSEEN_FIELDS(NUMBER_FIELD, TEXT_FIELD, LIST_FIELD)};
#undef THIS
#define THIS doctor_facts
static const struct field fields_facts[] = {DOCTOR_FACTS_FIELDS(NUMBER_FIELD, TEXT_FIELD, LIST_FIELD)};
#undef THIS
/* clang-format on */
DOCTOR_SORTS(DEFINE_SCHEMA)

static uint64_t *number_at(void *object, const struct field *field) {
    return (void *) ((char *) object + field->offset);
}

static char **text_at(void *object, const struct field *field) {
    return (void *) ((char *) object + field->offset);
}

/* Copied, for the pointer there is of the elements' own type. */
static void *get_pointer(const void *at) {
    void *pointer;

    memcpy(&pointer, at, sizeof pointer);
    return pointer;
}

static void *list_of(void *object, const struct field *field) {
    return get_pointer((char *) object + field->offset);
}

static size_t *length_at(void *object, const struct field *field) {
    return (void *) ((char *) object + field->n_offset);
}

static void init(const struct schema *schema, void *object) {
    memset(object, 0, schema->size);
    for (size_t i = 0; i < schema->n; i++)
        if (schema->fields[i].type == FIELD_NUMBER)
            *number_at(object, &schema->fields[i]) = DOCTOR_UNKNOWN;
}

/* Lists are of one depth only. */
static void done_element(const struct schema *schema, void *object) {
    for (size_t i = 0; i < schema->n; i++)
        if (schema->fields[i].type == FIELD_TEXT)
            free(*text_at(object, &schema->fields[i]));
}

static void done(const struct schema *schema, void *object) {
    for (size_t i = 0; i < schema->n; i++) {
        const struct field *field = &schema->fields[i];

        if (field->type != FIELD_LIST)
            continue;
        for (size_t j = 0; j < *length_at(object, field); j++)
            done_element(field->of, (char *) list_of(object, field) + j * field->of->size);
        free(list_of(object, field));
    }
    done_element(schema, object);
    init(schema, object);
}

void doctor_facts_init(struct doctor_facts *facts) {
    init(&schema_facts, facts);
}

void doctor_facts_done(struct doctor_facts *facts) {
    done(&schema_facts, facts);
}

/* `at` is where the pointer to the elements is. */
static void *grow(const struct schema *schema, void *at, size_t *n) {
    void *bigger = reallocarray(get_pointer(at), *n + 1, schema->size), *element;

    if (!bigger)
        return NULL;
    memcpy(at, &bigger, sizeof bigger);
    element = (char *) bigger + (*n)++ * schema->size;
    init(schema, element);
    return element;
}

void *doctor_list_grow(struct doctor_facts *facts, void *list, size_t *n) {
    for (size_t i = 0; i < schema_facts.n; i++)
        if (schema_facts.fields[i].type == FIELD_LIST && length_at(facts, &schema_facts.fields[i]) == n)
            return grow(schema_facts.fields[i].of, list, n);
    return NULL;
}

void doctor_unseen_because(struct doctor_facts *facts, const char *what, const char *why) {
    struct doctor_unseen *unseen;

    for (size_t i = 0; i < facts->n_unseen; i++)
        if (facts->unseen[i].what && strcmp(facts->unseen[i].what, what) == 0)
            return;
    unseen = doctor_add(facts, unseen);
    if (!unseen)
        return;
    unseen->what = strdup(what);
    unseen->why = strdup(why);
    unseen->permission = 0;
}

void doctor_unseen(struct doctor_facts *facts, const char *what, int error) {
    size_t before = facts->n_unseen;

    doctor_unseen_because(facts, what, strerror(error));
    if (facts->n_unseen > before)
        facts->unseen[before].permission = error == EACCES || error == EPERM;
}

/* "cpu_usec" is "cpuUSec" there. */
static void to_camel(const char *name, char ret[static NAME_ROOM]) {
    size_t n = 0;

    for (const char *at = name; *at && n < NAME_ROOM - 2; at++) {
        if (strcmp(at, "_usec") == 0) {
            memcpy(ret + n, "USec", 4);
            n += 4;
            break;
        }
        ret[n++] = *at == '_' && at[1] ? (char) toupper((unsigned char) *++at) : *at;
    }
    ret[n] = '\0';
}

static json_t *to_json(const struct schema *schema, const void *object);

static json_t *list_to_json(const struct field *field, const void *object) {
    const char *element = get_pointer((const char *) object + field->offset);
    json_t *array = json_array();
    size_t n;

    memcpy(&n, (const char *) object + field->n_offset, sizeof n);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(array, to_json(field->of, element + i * field->of->size));
    return array;
}

static json_t *field_to_json(const struct field *field, const void *object) {
    const char *text;
    uint64_t number;

    switch (field->type) {
    case FIELD_NUMBER:
        memcpy(&number, (const char *) object + field->offset, sizeof number);
        return number == DOCTOR_UNKNOWN    ? json_null()
               : number == DOCTOR_INFINITY ? json_string("infinity")
                                           : json_integer((json_int_t) number);
    case FIELD_TEXT:
        text = get_pointer((const char *) object + field->offset);
        return text ? json_string(text) : json_null();
    case FIELD_LIST:
        return list_to_json(field, object);
    }
    return NULL;
}

static json_t *to_json(const struct schema *schema, const void *object) {
    json_t *json = json_object();

    for (size_t i = 0; json && i < schema->n; i++) {
        char name[NAME_ROOM];

        to_camel(schema->fields[i].name, name);
        if (json_object_set_new(json, name, field_to_json(&schema->fields[i], object)) < 0) {
            json_decref(json);
            return NULL;
        }
    }
    return json;
}

json_t *doctor_facts_to_json(const struct doctor_facts *facts) {
    return to_json(&schema_facts, facts);
}

static int number_from_json(const json_t *json, uint64_t *ret) {
    if (json_is_integer(json) && json_integer_value(json) >= 0)
        *ret = (uint64_t) json_integer_value(json);
    else if (json_is_string(json) && strcmp(json_string_value(json), "infinity") == 0)
        *ret = DOCTOR_INFINITY;
    else
        return -EBADMSG;
    return 0;
}

static int text_from_json(const json_t *json, char **ret) {
    if (!json_is_string(json))
        return -EBADMSG;
    *ret = strdup(json_string_value(json));
    return *ret ? 0 : -ENOMEM;
}

static int from_json(const struct schema *schema, json_t *json, void *object, const char **ret_where);

static int list_from_json(const struct field *field, json_t *json, void *object, const char **ret_where) {
    int r = 0;

    if (!json_is_array(json))
        return -EBADMSG;
    for (size_t i = 0; i < json_array_size(json) && r >= 0; i++) {
        void *element = grow(field->of, (char *) object + field->offset, length_at(object, field));

        r = element ? from_json(field->of, json_array_get(json, i), element, ret_where) : -ENOMEM;
    }
    return r;
}

static int from_json(const struct schema *schema, json_t *json, void *object, const char **ret_where) {
    if (!json_is_object(json))
        return -EBADMSG;
    for (size_t i = 0; i < schema->n; i++) {
        const struct field *field = &schema->fields[i];
        char name[NAME_ROOM];
        json_t *value;
        int r = 0;

        to_camel(field->name, name);
        value = json_object_get(json, name);
        if (!value || json_is_null(value))
            continue;
        *ret_where = field->name;
        switch (field->type) {
        case FIELD_NUMBER:
            r = number_from_json(value, number_at(object, field));
            break;
        case FIELD_TEXT:
            r = text_from_json(value, text_at(object, field));
            break;
        case FIELD_LIST:
            r = list_from_json(field, value, object, ret_where);
            break;
        }
        if (r < 0)
            return r;
    }
    return 0;
}

int doctor_facts_from_json(json_t *json, struct doctor_facts *ret, const char **ret_where) {
    const char *where = "";
    int r;

    doctor_facts_init(ret);
    r = from_json(&schema_facts, json, ret, &where);
    if (r < 0) {
        doctor_facts_done(ret);
        *ret_where = where;
    }
    return r;
}
