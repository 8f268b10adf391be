/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/value.h"
#include "lock/facts.h"
#include "lock/verdict.h"

#include "suite.h"

static uint64_t random_state;

static uint64_t draw(uint64_t n) {
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (random_state >> 16) % n;
}

static bool draw_bool(void) {
    return draw(2);
}

static uint64_t draw_number(void) {
    return draw_bool() ? draw(4) : draw(INT64_MAX);
}

static int draw_int(void) {
    return (int) (draw_bool() ? draw(4) : draw((uint64_t) INT_MAX + 1));
}

static char *draw_text(void) {
    static const char *const texts[] = {NULL,           "",       "x",      "two words",
                                        "\"quoted\\\"", "grün 𝄞", "{}[]:,", "812 "};
    const char *text = texts[draw(ELEMENTSOF(texts))];

    return text ? strdup(text) : NULL;
}

static void draw_into(char *buffer, size_t size) {
    size_t length = (size_t) draw(size);

    for (size_t i = 0; i < length; i++)
        buffer[i] = (char) ('!' + (int) draw(90));
    buffer[length] = '\0';
}

static void draw_process(struct process_facts *process) {
    process->pid = draw_int();
    process->life = (enum process_life) draw(PROCESS_LIFE_MAX);
    process->start_ticks = draw_number();
    process->start_usec = draw_number();
    process->ppid = draw_int();
    process->pgrp = draw_int();
    process->session = draw_int();
    process->session_leader_gone = draw_bool();
    process->kernel_thread = draw_bool();
    process->frozen = draw_bool();
    process->uid = draw_bool() ? (uid_t) -1 : (uid_t) draw(UINT32_MAX);
    draw_into(process->comm, sizeof process->comm);
    process->exe = draw_text();
    process->cmdline = draw_text();
    process->cgroup = draw_text();
    process->service = draw_text();
    process->invocation_id = draw_text();
    process->n_ancestors = (size_t) draw(4);
    process->ancestors = calloc(process->n_ancestors + 1, sizeof *process->ancestors);
    for (size_t i = 0; i < process->n_ancestors; i++)
        process->ancestors[i] = (struct ancestor_facts){.pid = draw_int(), .exe = draw_text()};
}

static struct holder_facts *draw_holders(size_t *ret_n) {
    size_t n = (size_t) draw(4);
    struct holder_facts *holders = calloc(n + 1, sizeof *holders);

    for (size_t i = 0; i < n; i++) {
        draw_process(&holders[i].process);
        holders[i].via = (enum holder_via) draw(VIA_MAX);
        holders[i].tid = draw_int();
        holders[i].fd = draw_bool() ? -1 : draw_int();
        holders[i].listener = draw_bool();
        for (enum lock_family f = 0; f < LOCK_FAMILY_MAX; f++)
            holders[i].families[f] = draw_bool();
    }
    *ret_n = n;
    return holders;
}

static void draw_record(struct lock_facts *facts) {
    struct lock_record *record = &facts->record;

    if (draw_bool()) {
        record->form = (enum record_form)(1 + draw(RECORD_FORM_MAX - 1));
        record->pid = draw_int();
        record->several = draw_bool();
        draw_into(record->host, sizeof record->host);
        record->pid_namespace = draw_number();
        record->boot_usec = draw_number();
        record->start_usec = draw_number();
        draw_into(record->socket_path, sizeof record->socket_path);
        record->shm_key = draw_number();
        record->shm_id = draw_number();
    }
    if (draw_bool())
        facts->shm =
            (struct shm_facts){.found = true, .attached = (unsigned) draw_int(), .creator = draw_int()};
}

static void draw_lists(struct lock_facts *facts) {
    facts->n_claims = (size_t) draw(4);
    facts->claims = calloc(facts->n_claims + 1, sizeof *facts->claims);
    for (size_t i = 0; i < facts->n_claims; i++)
        facts->claims[i] = (struct claim_facts){.family = (enum lock_family) draw(LOCK_FAMILY_MAX),
                                                .pid = draw_bool() ? -draw_int() : draw_int(),
                                                .waiting = draw_bool(),
                                                .shared = draw_bool()};
    facts->holders = draw_holders(&facts->n_holders);
    facts->openers = draw_holders(&facts->n_openers);
    facts->openers_total = (unsigned) draw_int();
    facts->n_waiters = (size_t) draw(3);
    facts->waiters = calloc(facts->n_waiters + 1, sizeof *facts->waiters);
    for (size_t i = 0; i < facts->n_waiters; i++)
        draw_process(&facts->waiters[i]);
    facts->n_unreadable = (size_t) draw(LOCK_UNREADABLE_MAX + 1);
    facts->unreadable = calloc(LOCK_UNREADABLE_MAX, sizeof *facts->unreadable);
    for (size_t i = 0; i < facts->n_unreadable; i++)
        facts->unreadable[i] = draw_int();
}

static void draw_facts(struct lock_facts *facts, bool may_have_displaced) {
    char *path = draw_text();

    facts->path = path ? path : strdup("/run/x");
    facts->kind = (enum path_kind) draw(PATH_KIND_MAX);
    facts->error = (int) draw(200);
    facts->error_subject = draw_text();
    facts->device = makedev((unsigned) draw(1 << 12), (unsigned) draw(1 << 20));
    facts->inode = draw_bool() ? draw_number() : UINT64_MAX - draw(100); /* overlayfs uses the highest bits */
    facts->mode = (mode_t) draw(0x10000);
    facts->uid = (uid_t) draw(UINT32_MAX);
    facts->links = (unsigned) draw_int();
    facts->size_bytes = draw_number();
    facts->modified_usec = draw_number();
    facts->changed_usec = draw_number();
    facts->boot_usec = draw_number();
    draw_into(facts->filesystem, sizeof facts->filesystem);
    facts->content = draw_text();
    facts->content_read = facts->content != NULL;
    for (enum lock_family f = 0; f < LOCK_FAMILY_MAX; f++)
        facts->families[f] = (enum family_state) draw(FAMILY_STATE_MAX);
    if (draw_bool()) {
        facts->recorded.pid = 1 + (pid_t) draw(INT_MAX - 1);
        facts->recorded.is_thread = draw_bool();
        facts->recorded.is_self = draw_bool();
        draw_process(&facts->recorded.process);
        if (draw_bool()) {
            draw_process(&facts->recorded.namesake);
            facts->recorded.namesake.pid = 5;
        }
    }
    draw_lists(facts);
    facts->scanned = draw_bool();
    facts->complete = draw_bool();
    facts->processes = (unsigned) draw_int();
    facts->unreadable_total = (unsigned) draw_int();
    facts->has_socket = draw_bool();
    if (facts->has_socket)
        facts->listener =
            (struct listener_facts){.found = draw_bool(),
                                    .listening = draw_bool(),
                                    .inode = (uint32_t) draw_number(),
                                    .queue = (uint32_t) draw_number(),
                                    .backlog = (uint32_t) draw_number(),
                                    .peer = {.answer = (enum peer_answer) draw(PEER_ANSWER_MAX),
                                             .error = (int) draw(200),
                                             .pid = draw_int(),
                                             .uid = (uid_t) -1,
                                             .life = (enum process_life) draw(PROCESS_LIFE_MAX)}};
    facts->initial_pid_namespace = draw_bool();
    facts->pid_namespace = draw_number();
    draw_into(facts->host, sizeof facts->host);
    draw_into(facts->boot_id, sizeof facts->boot_id);
    facts->remote = draw_bool();
    facts->server_arbitrates = draw_bool();
    facts->hidden = draw_bool();
    facts->layered = draw_bool();
    facts->settled = draw_bool();
    facts->tried = draw_bool();
    facts->unlinked = draw_bool();
    draw_record(facts);
    if (!may_have_displaced)
        return;
    facts->n_displaced = (size_t) draw(3);
    facts->displaced = calloc(facts->n_displaced + 1, sizeof *facts->displaced);
    for (size_t i = 0; i < facts->n_displaced; i++)
        draw_facts(&facts->displaced[i], false);
}

/* To JSON, as text, and back: nothing may be lost, which the second text shows, and both give the same
 * judgement. */
START_TEST(test_round_trip) {
    random_state = (uint64_t) _i;
    for (unsigned i = 0; i < 500; i++) {
        _cleanup_lock_facts_ struct lock_facts facts = {0}, again = {0};
        struct lock_judgement before, after;
        json_t *json, *json_again;
        const char *where = "";
        char *text, *text_again;

        draw_facts(&facts, true);
        json = lock_facts_to_json(&facts);
        ck_assert_ptr_nonnull(json);
        text = json_dumps(json, JSON_SORT_KEYS);
        json_decref(json);
        json = json_loads(text, 0, NULL);
        ck_assert_ptr_nonnull(json);
        ck_assert_msg(lock_facts_from_json(json, &again, &where) == 0, "%s in %s", where, text);
        json_again = lock_facts_to_json(&again);
        text_again = json_dumps(json_again, JSON_SORT_KEYS);
        ck_assert_str_eq(text, text_again);
        ck_assert(lock_facts_same(&facts, &again));
        before = lock_judge(&facts, NULL);
        after = lock_judge(&again, NULL);
        ck_assert(before.verdict == after.verdict && before.reason == after.reason);
        free(text);
        free(text_again);
        json_decref(json);
        json_decref(json_again);
    }
}
END_TEST

/* Whatever a path and a process's words consist of, there is JSON. */
START_TEST(test_no_utf8) {
    _cleanup_lock_facts_ struct lock_facts facts = {.path = strdup("/run/\xff\xfe.lock")};
    json_t *json = lock_facts_to_json(&facts);

    ck_assert_ptr_nonnull(json);
    ck_assert_str_eq(json_string_value(json_object_get(json, "path")), "/run/??.lock");
    json_decref(json);
}
END_TEST

/* ---- damaged JSON ---- */

static json_t *draw_value(void) {
    switch (draw(8)) {
    case 0:
        return json_null();
    case 1:
        return json_integer(-1 - (json_int_t) draw(3));
    case 2:
        return json_integer((json_int_t) draw(INT64_MAX));
    case 3:
        return json_string("no such word");
    case 4:
        return json_array();
    case 5:
        return json_object();
    case 6:
        return json_true();
    default:
        return json_real(1.5);
    }
}

/* Changes or removes one value, somewhere. */
static void damage(json_t *json) {
    if (json_is_array(json) && json_array_size(json) > 0) {
        size_t i = (size_t) draw(json_array_size(json));
        json_t *member = json_array_get(json, i);

        if (draw(3) && (json_is_object(member) || json_is_array(member)))
            damage(member);
        else if (draw_bool())
            json_array_set_new(json, i, draw_value());
        else
            json_array_remove(json, i);
    } else if (json_is_object(json) && json_object_size(json) > 0) {
        size_t n = (size_t) draw(json_object_size(json));
        const char *key = NULL;
        json_t *member = NULL;
        void *iterator = json_object_iter(json);

        while (n-- > 0)
            iterator = json_object_iter_next(json, iterator);
        key = json_object_iter_key(iterator);
        member = json_object_iter_value(iterator);
        if (draw(3) && (json_is_object(member) || json_is_array(member)))
            damage(member);
        else if (draw_bool()) {
            char *copy = strdup(key);

            json_object_set_new(json, copy, draw_value());
            free(copy);
        } else
            json_object_del(json, key);
    }
}

START_TEST(test_damaged) {
    unsigned refused = 0;

    random_state = (uint64_t) _i;
    for (unsigned i = 0; i < 2000; i++) {
        _cleanup_lock_facts_ struct lock_facts facts = {0}, again = {0};
        const char *where = NULL;
        json_t *json;
        int r;

        draw_facts(&facts, true);
        json = lock_facts_to_json(&facts);
        for (uint64_t n = 1 + draw(3); n > 0; n--)
            damage(json);
        r = lock_facts_from_json(json, &again, &where);
        json_decref(json);
        if (r < 0) {
            ck_assert_int_eq(r, -EBADMSG);
            ck_assert(where && where[0]);
            ck_assert_ptr_null(again.path); /* nothing was written */
            refused++;
        } else {
            ck_assert_uint_lt(lock_judge(&again, NULL).verdict, VERDICT_MAX);
            json = lock_facts_to_json(&again);
            ck_assert_ptr_nonnull(json);
            json_decref(json);
        }
    }
    ck_assert_uint_gt(refused, 500);
    ck_assert_uint_lt(refused, 2000);
}
END_TEST

START_TEST(test_not_an_object) {
    static const char *const texts[] = {"null", "[]", "{}", "5", "\"x\"", "true", "[{}]"};

    for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
        json_t *json = json_loads(texts[i], JSON_DECODE_ANY, NULL);
        struct lock_facts facts = {0};
        const char *where = NULL;

        ck_assert_int_eq(lock_facts_from_json(json, &facts, &where), -EBADMSG);
        ck_assert_ptr_nonnull(where);
        json_decref(json);
    }
}
END_TEST

/* Facts of an earlier version lack what was added since. */
START_TEST(test_older) {
    static const char *const added[] = {
        "changedUSec", "bootUSec", "links",        "remote",  "serverArbitrates", "hidden",
        "layered",     "record",   "sharedMemory", "openers", "openersTotal",     "waiters",
        "displaced",   "unlinked", "settled",      "tried",   "pidNamespace",     "host"};
    _cleanup_lock_facts_ struct lock_facts facts = {.path = strdup("/run/x")}, again = {0};
    json_t *json = lock_facts_to_json(&facts);
    const char *where;

    for (size_t i = 0; i < ELEMENTSOF(added); i++)
        ck_assert_int_eq(json_object_del(json, added[i]), 0);
    json_object_set_new(json, "somethingNew", json_array());
    ck_assert_int_eq(lock_facts_from_json(json, &again, &where), 0);
    json_decref(json);
}
END_TEST

/* What was displaced has nothing displaced of its own: no input makes the reader go deeper and deeper. */
START_TEST(test_depth) {
    _cleanup_lock_facts_ struct lock_facts facts = {.path = strdup("/run/x")}, again = {0};
    json_t *json = lock_facts_to_json(&facts);
    const char *where = NULL;

    for (unsigned i = 0; i < 2; i++) {
        json_t *outer = lock_facts_to_json(&facts);

        json_array_append_new(json_object_get(outer, "displaced"), json);
        json = outer;
        ck_assert_int_eq(lock_facts_from_json(json, &again, &where), i == 0 ? 0 : -EBADMSG);
        if (i == 0)
            ck_assert_uint_eq(again.n_displaced, 1);
        lock_facts_done(&again);
    }
    ck_assert_str_eq(where, "displaced");
    json_decref(json);
}
END_TEST

/* ---- lock_facts_same() ---- */

static void fill(struct lock_facts *facts) {
    *facts = (struct lock_facts){
        .path = strdup("/run/x.pid"),
        .kind = PATH_KIND_PIDFILE,
        .device = 5,
        .inode = 6,
        .uid = 7,
        .size_bytes = 4,
        .modified_usec = 8,
        .changed_usec = 9,
        .content = strdup("812 "),
        .content_read = true,
        .n_holders = 2,
        .holders = calloc(2, sizeof *facts->holders),
        .has_socket = true,
    };
    facts->recorded.pid = 812;
    facts->recorded.process = (struct process_facts){.pid = 812, .start_ticks = 1, .life = PROCESS_ZOMBIE};
    for (int i = 0; i < 2; i++)
        facts->holders[i] =
            (struct holder_facts){.process = {.pid = 900 + i, .start_ticks = 2, .life = PROCESS_ALIVE},
                                  .fd = 3,
                                  .families = {true}};
}

static void change(struct lock_facts *facts, int what) {
    switch (what) {
    case 0:
        facts->kind = PATH_KIND_LOCK;
        break;
    case 1:
        facts->device++;
        break;
    case 2:
        facts->inode++;
        break;
    case 3:
        facts->uid++;
        break;
    case 4:
        facts->size_bytes++;
        break;
    case 5:
        facts->modified_usec++;
        break;
    case 6:
        facts->changed_usec++;
        break;
    case 7:
        facts->content[0] = '9';
        break;
    case 8:
        free(facts->content);
        facts->content = NULL;
        break;
    case 9:
        facts->families[LOCK_FAMILY_OFD] = FAMILY_HELD;
        break;
    case 10:
        facts->recorded.pid++;
        break;
    case 11:
        facts->recorded.process.life = PROCESS_ALIVE;
        break;
    case 12:
        facts->recorded.process.start_ticks++;
        break;
    case 13:
        facts->recorded.is_thread = true;
        break;
    case 14:
        facts->recorded.namesake.pid = 5;
        break;
    case 15:
        facts->n_holders = 1;
        break;
    case 16:
        facts->holders[1].process.start_ticks++;
        break;
    case 17:
        facts->holders[1].fd++;
        break;
    case 18:
        facts->holders[1].families[LOCK_FAMILY_POSIX] = true;
        break;
    case 19:
        facts->holders[0].listener = true;
        break;
    case 20:
        facts->listener.inode = 1;
        break;
    case 21:
        facts->listener.found = true;
        break;
    case 22:
        facts->listener.peer.answer = PEER_CONNECTED;
        break;
    case 23:
        facts->listener.peer.life = PROCESS_ALIVE;
        break;
    case 24:
        facts->listener.peer.pid = 1;
        break;
    case 25:
        facts->error = EACCES;
        break;
    case 26:
        facts->holders[1].via = VIA_MAPS;
        break;
    case 27:
        facts->shm.attached = 1;
        break;
    case 28:
        facts->n_displaced = 1;
        facts->displaced = calloc(1, sizeof *facts->displaced);
        break;
    default:
        ck_abort();
    }
}

START_TEST(test_same) {
    _cleanup_lock_facts_ struct lock_facts a = {0}, b = {0};
    struct holder_facts first;

    fill(&a);
    fill(&b);
    ck_assert(lock_facts_same(&a, &b));
    first = b.holders[0]; /* in another order, with others unreadable, at another time */
    b.holders[0] = b.holders[1];
    b.holders[1] = first;
    b.complete = !a.complete;
    b.unreadable_total++;
    b.openers_total++;
    b.processes++;
    b.listener.queue++;
    b.recorded.process.start_usec++;
    ck_assert(lock_facts_same(&a, &b));
    change(&b, _i);
    ck_assert_msg(!lock_facts_same(&a, &b), "change %d", _i);
    ck_assert_msg(!lock_facts_same(&b, &a), "change %d", _i);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("facts");
    TCase *tcase = tcase_create("facts");

    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, test_round_trip, 1, 5);
    tcase_add_test(tcase, test_no_utf8);
    tcase_add_loop_test(tcase, test_damaged, 1, 5);
    tcase_add_test(tcase, test_not_an_object);
    tcase_add_test(tcase, test_older);
    tcase_add_test(tcase, test_depth);
    tcase_add_loop_test(tcase, test_same, 0, 29);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
