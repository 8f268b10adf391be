/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config/dovecot-conf.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "base/value.h"

#define SERVICES_MAX 4096
#define BACKLOG_MIN 4
#define LISTENERS_MAX 4096 /* of a service */

/* ---- values ---- */

enum value_type { VALUE_TEXT, VALUE_COUNT, VALUE_YES, VALUE_PORT, VALUE_MODE };

struct setting {
    const char *name;
    enum value_type type;
    size_t offset;
};

#define SETTING(structure, setting_name, value_type, member)                                                 \
    { .name = setting_name, .type = value_type, .offset = offsetof(struct structure, member) }

static const struct setting top_settings[] = {
    SETTING(dovecot_conf, "base_dir", VALUE_TEXT, base_dir),
    SETTING(dovecot_conf, "libexec_dir", VALUE_TEXT, libexec_dir),
    SETTING(dovecot_conf, "listen", VALUE_TEXT, listen),
    SETTING(dovecot_conf, "protocols", VALUE_TEXT, protocols),
    SETTING(dovecot_conf, "ssl", VALUE_TEXT, ssl),
    SETTING(dovecot_conf, "default_client_limit", VALUE_COUNT, default_client_limit),
    SETTING(dovecot_conf, "default_process_limit", VALUE_COUNT, default_process_limit),
};

static const struct setting service_settings[] = {
    SETTING(dovecot_service, "type", VALUE_TEXT, type),
    SETTING(dovecot_service, "protocol", VALUE_TEXT, protocol),
    SETTING(dovecot_service, "executable", VALUE_TEXT, executable),
    SETTING(dovecot_service, "client_limit", VALUE_COUNT, client_limit),
    SETTING(dovecot_service, "process_limit", VALUE_COUNT, process_limit),
    SETTING(dovecot_service, "process_min_avail", VALUE_COUNT, process_min_avail),
    SETTING(dovecot_service, "service_count", VALUE_COUNT, service_count),
};

static const struct setting unix_settings[] = {
    SETTING(dovecot_listener, "mode", VALUE_MODE, mode),
};

static const struct setting inet_settings[] = {
    SETTING(dovecot_listener, "address", VALUE_TEXT, address),
    SETTING(dovecot_listener, "port", VALUE_PORT, port),
    SETTING(dovecot_listener, "ssl", VALUE_YES, ssl),
};

/* ---- the reader ---- */

enum level {
    LEVEL_TOP,
    LEVEL_SERVICE,
    LEVEL_UNIX,
    LEVEL_INET,
    LEVEL_OTHER, /* a block that is of no interest, or any below one */
};

struct reader {
    struct dovecot_conf *conf;
    struct err *err;
    unsigned line;
    enum level level;
    unsigned depth, other_depth; /* the latter: of the block that LEVEL_OTHER began with */
    enum level outside;          /* of that block */
};

static int complain(const struct reader *reader, const char *what, const char *text, size_t size) {
    _cleanup_free_ char *excerpt = strndup(text, size < 60 ? size : 60);

    if (excerpt)
        value_make_printable(excerpt);
    return err_set(reader->err, EBADMSG, "BadOutput",
                   "line %u of what Dovecot tells of its configuration %s: '%s'", reader->line, what,
                   excerpt ? excerpt : "");
}

static struct dovecot_service *last_service(const struct reader *reader) {
    return &reader->conf->services[reader->conf->n_services - 1];
}

static struct dovecot_listener *last_listener(const struct reader *reader) {
    const struct dovecot_service *service = last_service(reader);

    return &service->listeners[service->n_listeners - 1];
}

/* Digits only; "unlimited" is the largest number to Dovecot too (2.4). */
static int parse_number(const char *value, size_t size, unsigned base, uint64_t *ret) {
    uint64_t number = 0;

    if (size == strlen("unlimited") && memcmp(value, "unlimited", size) == 0) {
        *ret = UINT32_MAX;
        return 0;
    }
    if (size == 0)
        return -EINVAL;
    for (size_t i = 0; i < size; i++) {
        if (value[i] < '0' || value[i] >= (char) ('0' + base))
            return -EINVAL;
        number = number * base + (unsigned) (value[i] - '0');
        if (number > UINT32_MAX)
            return -ERANGE;
    }
    *ret = number;
    return 0;
}

/* A name with a blank in it comes in quotes, and so does a value that begins or ends with one. Owned by the
 * caller. */
static char *unquote(const char *name, size_t size) {
    char *text, *out;

    if (size < 2 || name[0] != '"' || name[size - 1] != '"')
        return strndup(name, size);
    text = out = malloc(size);
    for (size_t i = 1; text && i < size - 1; i++) {
        if (name[i] == '\\' && i + 1 < size - 1)
            i++;
        *out++ = name[i];
    }
    if (text)
        *out = '\0';
    return text;
}

static int store(const struct reader *reader, const struct setting *setting, void *object, const char *value,
                 size_t size) {
    void *place = (char *) object + setting->offset;
    uint64_t number = 0;
    char *copy;

    switch (setting->type) {
    case VALUE_TEXT:
        copy = unquote(value, size);
        if (!copy)
            return -ENOMEM;
        free(*(char **) place);
        *(char **) place = copy;
        return 0;
    case VALUE_YES:
        *(bool *) place = size == 3 && memcmp(value, "yes", 3) == 0;
        return 0;
    case VALUE_COUNT:
        if (parse_number(value, size, 10, &number) < 0)
            return complain(reader, "has no number where one belongs", value, size);
        *(uint64_t *) place = number;
        return 0;
    case VALUE_PORT:
    case VALUE_MODE:
        if (parse_number(value, size, setting->type == VALUE_PORT ? 10 : 8, &number) < 0 || number > 65535)
            return complain(reader, "has no number where one belongs", value, size);
        *(unsigned *) place = (unsigned) number;
        return 0;
    }
    return 0;
}

static int read_setting(const struct reader *reader, const char *name, size_t name_size, const char *value,
                        size_t size) {
    const struct setting *settings = NULL;
    void *object = NULL;
    size_t n = 0;

    switch (reader->level) {
    case LEVEL_TOP:
        settings = top_settings, n = ELEMENTSOF(top_settings), object = reader->conf;
        break;
    case LEVEL_SERVICE:
        settings = service_settings, n = ELEMENTSOF(service_settings), object = last_service(reader);
        break;
    case LEVEL_UNIX:
        settings = unix_settings, n = ELEMENTSOF(unix_settings), object = last_listener(reader);
        break;
    case LEVEL_INET:
        settings = inet_settings, n = ELEMENTSOF(inet_settings), object = last_listener(reader);
        break;
    case LEVEL_OTHER:
        break;
    }
    for (size_t i = 0; i < n; i++)
        if (strlen(settings[i].name) == name_size && memcmp(settings[i].name, name, name_size) == 0)
            return store(reader, &settings[i], object, value, size);
    return 0;
}

static int add_service(struct reader *reader, const char *name, size_t size) {
    struct dovecot_conf *conf = reader->conf;
    struct dovecot_service *bigger;

    if (conf->n_services == SERVICES_MAX)
        return complain(reader, "is one service too many", name, size);
    bigger = reallocarray(conf->services, conf->n_services + 1, sizeof *bigger);
    if (!bigger)
        return -ENOMEM;
    conf->services = bigger;
    bigger[conf->n_services] = (struct dovecot_service){.name = unquote(name, size)};
    conf->n_services++;
    return bigger[conf->n_services - 1].name ? 0 : -ENOMEM;
}

static int add_listener(struct reader *reader, bool is_inet, const char *name, size_t size) {
    struct dovecot_service *service = last_service(reader);
    struct dovecot_listener *bigger;

    if (service->n_listeners == LISTENERS_MAX)
        return complain(reader, "is one listener too many", name, size);
    bigger = reallocarray(service->listeners, service->n_listeners + 1, sizeof *bigger);
    if (!bigger)
        return -ENOMEM;
    service->listeners = bigger;
    bigger[service->n_listeners] =
        (struct dovecot_listener){.name = unquote(name, size), .is_inet = is_inet, .mode = 0600};
    service->n_listeners++;
    return bigger[service->n_listeners - 1].name ? 0 : -ENOMEM;
}

/* "service imap {": without its brace. */
static int open_block(struct reader *reader, const char *head, size_t size) {
    static const struct {
        const char *word;
        enum level level, inside;
    } blocks[] = {
        {"service", LEVEL_TOP, LEVEL_SERVICE},
        {"unix_listener", LEVEL_SERVICE, LEVEL_UNIX},
        {"inet_listener", LEVEL_SERVICE, LEVEL_INET},
    };
    const char *blank = memchr(head, ' ', size);
    size_t word = blank ? (size_t) (blank - head) : size;

    reader->depth++;
    for (size_t i = 0; blank && i < ELEMENTSOF(blocks); i++) {
        const char *name = head + word + 1;
        size_t name_size = size - word - 1;
        int r;

        if (reader->level != blocks[i].level || strlen(blocks[i].word) != word ||
            memcmp(blocks[i].word, head, word) != 0)
            continue;
        r = blocks[i].inside == LEVEL_SERVICE
                ? add_service(reader, name, name_size)
                : add_listener(reader, blocks[i].inside == LEVEL_INET, name, name_size);
        if (r >= 0)
            reader->level = blocks[i].inside;
        return r;
    }
    if (reader->level != LEVEL_OTHER) {
        reader->outside = reader->level;
        reader->other_depth = reader->depth;
        reader->level = LEVEL_OTHER;
    }
    return 0;
}

static int close_block(struct reader *reader) {
    if (reader->depth == 0)
        return complain(reader, "closes what was not opened", "}", 1);
    if (reader->level != LEVEL_OTHER)
        reader->level = reader->level == LEVEL_SERVICE ? LEVEL_TOP : LEVEL_SERVICE;
    else if (reader->depth == reader->other_depth)
        reader->level = reader->outside;
    reader->depth--;
    return 0;
}

/* "# 2.3.19.1 (9b53102964): /etc/dovecot/dovecot.conf" comes first. */
static int read_comment(const struct reader *reader, const char *line, size_t size) {
    size_t length = 0;

    if (reader->conf->version || reader->line != 1 || size < 3)
        return 0;
    while (length < size - 2 && line[2 + length] != ' ' && line[2 + length] != ':')
        length++;
    if (line[2] < '0' || line[2] > '9')
        return 0;
    reader->conf->version = strndup(line + 2, length);
    return reader->conf->version ? 0 : -ENOMEM;
}

/* A setting's value may end in a brace, and may be empty: "key = ". */
static int read_line(struct reader *reader, const char *line, size_t size) {
    const char *blank;

    while (size > 0 && (*line == ' ' || *line == '\t'))
        line++, size--;
    while (size > 0 && (line[size - 1] == ' ' || line[size - 1] == '\r'))
        size--;
    if (size == 0)
        return 0;
    if (*line == '#')
        return read_comment(reader, line, size);
    if (size == 1 && *line == '}')
        return close_block(reader);
    blank = memchr(line, ' ', size); /* a key has none; the name of a section may have anything in it */
    if (blank && blank + 1 < line + size && blank[1] == '=' &&
        (blank + 2 == line + size || blank[2] == ' ')) {
        size_t name = (size_t) (blank - line), gone = blank + 2 == line + size ? size : name + 3;

        return read_setting(reader, line, name, line + gone, size - gone);
    }
    if (size >= 2 && line[size - 1] == '{') {
        size--;
        while (size > 0 && line[size - 1] == ' ')
            size--;
        return open_block(reader, line, size);
    }
    return complain(reader, "is neither a setting nor a section", line, size);
}

/* ---- what follows ---- */

static bool has_word(const char *list, const char *word) {
    size_t length = strlen(word);

    for (const char *p = list; *p;) {
        size_t n = strcspn(p, " ,\t");

        if (n == length && memcmp(p, word, n) == 0)
            return true;
        p += n;
        p += strspn(p, " ,\t");
    }
    return false;
}

static void service_done(struct dovecot_service *service) {
    for (size_t i = 0; i < service->n_listeners; i++) {
        free(service->listeners[i].name);
        free(service->listeners[i].address);
    }
    free(service->listeners);
    free(service->name);
    free(service->type);
    free(service->protocol);
    free(service->executable);
    free(service->arguments);
}

/* service_want() in Dovecot's src/master/service.c */
static bool is_wanted(const struct dovecot_conf *conf, const struct dovecot_service *service) {
    return service->executable && *service->executable &&
           (!service->protocol || !*service->protocol || has_word(conf->protocols, service->protocol));
}

/* Makes *path absolute, below the directory. */
static int make_absolute(char **path, const char *directory) {
    char *whole;

    if (**path == '/')
        return 0;
    if (asprintf(&whole, "%s/%s", directory, *path) < 0)
        return -ENOMEM;
    free(*path);
    *path = whole;
    return 0;
}

static int fill_text(char **text, const char *otherwise) {
    if (!*text)
        *text = strdup(otherwise);
    return *text ? 0 : -ENOMEM;
}

static int complete_service(const struct dovecot_conf *conf, struct dovecot_service *service) {
    char *blank = strchr(service->executable, ' ');
    int r = fill_text(&service->arguments, blank ? blank + 1 + strspn(blank + 1, " ") : "");

    if (blank)
        *blank = '\0';
    if (r >= 0)
        r = make_absolute(&service->executable, conf->libexec_dir);
    if (r >= 0)
        r = fill_text(&service->type, "");
    if (r >= 0)
        r = fill_text(&service->protocol, "");
    for (size_t i = 0; i < service->n_listeners && r >= 0; i++)
        r = service->listeners[i].is_inet ? fill_text(&service->listeners[i].address, "")
                                          : make_absolute(&service->listeners[i].name, conf->base_dir);
    service->written_client_limit = service->client_limit;
    if (service->client_limit == 0)
        service->client_limit = conf->default_client_limit;
    if (service->service_count > 0 && service->client_limit > service->service_count)
        service->client_limit = service->service_count;
    if (service->process_limit == 0)
        service->process_limit = conf->default_process_limit;
    return r;
}

static int complete(struct dovecot_conf *conf, struct err *err) {
    size_t n = 0;
    int r;

    if (!conf->base_dir || *conf->base_dir != '/' || !conf->libexec_dir || *conf->libexec_dir != '/' ||
        conf->n_services == 0)
        return err_set(
            err, EBADMSG, "BadOutput",
            "what it printed is no configuration of Dovecot: it has no base_dir, no libexec_dir or no "
            "services");
    if (conf->default_client_limit == 0 || conf->default_process_limit == 0)
        return err_set(err, EBADMSG, "BadOutput",
                       "what it printed is no configuration of Dovecot: it has no default_client_limit or no "
                       "default_process_limit");
    r = fill_text(&conf->protocols, "");
    if (r >= 0)
        r = fill_text(&conf->listen, "*, ::");
    if (r >= 0)
        r = fill_text(&conf->ssl, "");
    if (r < 0)
        return r;
    for (size_t i = 0; i < conf->n_services; i++) {
        struct dovecot_service service = conf->services[i];

        if (is_wanted(conf, &service))
            conf->services[n++] = service;
        else
            service_done(&service);
    }
    conf->n_services = n;
    for (size_t i = 0; i < n && r >= 0; i++)
        r = complete_service(conf, &conf->services[i]);
    return r;
}

int dovecot_conf_parse(const char *text, size_t size, struct dovecot_conf *ret, struct err *err) {
    _cleanup_dovecot_conf_ struct dovecot_conf conf = {0};
    struct reader reader = {.conf = &conf, .err = err, .level = LEVEL_TOP};
    int r = 0;

    while (size > 0 && r >= 0) {
        const char *end = memchr(text, '\n', size);
        size_t length = end ? (size_t) (end - text) : size;

        reader.line++;
        if (memchr(text, '\0', length))
            return complain(&reader, "is no text", text, strnlen(text, length));
        r = read_line(&reader, text, length);
        text += length + (end != NULL);
        size -= length + (end != NULL);
    }
    if (r >= 0 && reader.depth > 0)
        r = complain(&reader, "is the last, and a section is still open", "", 0);
    if (r >= 0)
        r = complete(&conf, err);
    if (r < 0)
        return r == -ENOMEM ? err_set(err, ENOMEM, "OutOfMemory", "out of memory") : r;
    *ret = conf;
    conf = (struct dovecot_conf){0};
    return 0;
}

void dovecot_conf_done(struct dovecot_conf *conf) {
    for (size_t i = 0; i < conf->n_services; i++)
        service_done(&conf->services[i]);
    free(conf->services);
    free(conf->version);
    free(conf->base_dir);
    free(conf->libexec_dir);
    free(conf->listen);
    free(conf->protocols);
    free(conf->ssl);
    *conf = (struct dovecot_conf){0};
}

/* ---- questions ---- */

const struct dovecot_service *dovecot_conf_find(const struct dovecot_conf *conf, const char *name) {
    for (size_t i = 0; i < conf->n_services; i++)
        if (strcmp(conf->services[i].name, name) == 0)
            return &conf->services[i];
    return NULL;
}

uint64_t dovecot_conf_needed_files(const struct dovecot_conf *conf, const char **ret_service) {
    uint64_t most = conf->default_client_limit;

    *ret_service = NULL;
    for (size_t i = 0; i < conf->n_services; i++)
        if (conf->services[i].written_client_limit > most) {
            most = conf->services[i].written_client_limit;
            *ret_service = conf->services[i].name;
        }
    return most;
}

uint64_t dovecot_service_backlog(const struct dovecot_service *service) {
    uint64_t backlog;

    if (__builtin_mul_overflow(service->client_limit, service->process_limit, &backlog) || backlog > INT_MAX)
        return INT_MAX;
    return backlog < BACKLOG_MIN ? BACKLOG_MIN : backlog;
}
