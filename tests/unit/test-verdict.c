/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/value.h"
#include "lock/describe.h"
#include "lock/verdict.h"

#include "suite.h"

/* ---- recorded facts: tests/facts/CASE.json holds what was observed, what is known besides, and what follows
 * ---- */

struct recorded_case {
    json_t *json;
    struct lock_facts facts;
    struct lock_context context;
    bool has_context;
};

static void case_done(struct recorded_case *recorded) {
    lock_facts_done(&recorded->facts);
    json_decref(recorded->json);
}

static void read_case(const char *dir, const char *name, struct recorded_case *ret) {
    _cleanup_free_ char *path = NULL;
    json_error_t error;
    json_t *context;
    const char *where = NULL;

    ck_assert_int_ge(asprintf(&path, "%s/%s", dir, name), 0);
    ret->json = json_load_file(path, 0, &error);
    ck_assert_msg(ret->json != NULL, "%s:%d: %s", path, error.line, error.text);
    ck_assert_msg(lock_facts_from_json(json_object_get(ret->json, "facts"), &ret->facts, &where) == 0,
                  "%s: %s", path, where);
    context = json_object_get(ret->json, "context");
    ret->has_context = json_is_object(context);
    if (!ret->has_context)
        return;
    ret->context = (struct lock_context){
        .daemon_exe = json_string_value(json_object_get(context, "daemonExe")),
        .config_file = json_string_value(json_object_get(context, "configFile")),
        .main = {.pid = (pid_t) json_integer_value(json_object_get(context, "mainPid"))},
        .main_life = process_life_from_string(json_string_value(json_object_get(context, "mainLife"))),
        .dead_pid = (pid_t) json_integer_value(json_object_get(context, "deadPid")),
    };
}

static void check_roles(const char *name, const struct recorded_case *recorded,
                        const struct lock_context *context, const struct lock_judgement *judgement,
                        json_t *expect) {
    json_t *roles = json_object_get(expect, "roles");

    ck_assert_msg(json_array_size(roles) == recorded->facts.n_holders, "%s: %zu holders, %zu roles", name,
                  recorded->facts.n_holders, json_array_size(roles));
    for (size_t i = 0; i < recorded->facts.n_holders; i++) {
        const char *role = holder_role_to_string(lock_holder_role(&recorded->facts, context, judgement, i));

        ck_assert_msg(strcmp(role, json_string_value(json_array_get(roles, i))) == 0, "%s: holder %zu is %s",
                      name, i, role);
    }
}

/* Words and advice exist for every case, are one line, and come with the facts as JSON. */
static void check_report(const char *name, const struct recorded_case *recorded,
                         const struct lock_context *context, const struct lock_judgement *judgement) {
    json_t *report = lock_report_to_json(&recorded->facts, context, judgement, NULL);
    static const char *const texts[] = {"summary", "advice"};

    ck_assert_ptr_nonnull(report);
    for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
        const char *text = json_string_value(json_object_get(report, texts[i]));

        ck_assert_msg(text && text[0] && !strchr(text, '\n') && !strstr(text, "PID 0") &&
                          !strstr(text, "(null)") && !strstr(text, "Success") &&
                          !strstr(text, "Unknown error"),
                      "%s: %s: %s", name, texts[i], text ? text : "missing");
    }
    json_decref(report);
}

static void check_case(const char *dir, const char *name) {
    _cleanup_(case_done) struct recorded_case recorded = {0};
    const struct lock_context *context;
    struct lock_judgement judgement;
    const char *verdict, *reason;
    json_t *expect;

    read_case(dir, name, &recorded);
    context = recorded.has_context ? &recorded.context : NULL;
    expect = json_object_get(recorded.json, "expect");
    verdict = json_string_value(json_object_get(expect, "verdict"));
    reason = json_string_value(json_object_get(expect, "reason"));
    ck_assert_msg(verdict && reason, "%s: no expectation", name);
    judgement = lock_judge(&recorded.facts, context);
    ck_assert_msg(strcmp(verdict_to_string(judgement.verdict), verdict) == 0 &&
                      strcmp(verdict_reason_to_string(judgement.reason), reason) == 0,
                  "%s (%s): expected %s (%s), got %s (%s)", name,
                  json_string_value(json_object_get(recorded.json, "case")), verdict, reason,
                  verdict_to_string(judgement.verdict), verdict_reason_to_string(judgement.reason));
    ck_assert_msg(judgement.daemon_gone == (judgement.verdict == VERDICT_ORPHANED), "%s", name);
    check_roles(name, &recorded, context, &judgement, expect);
    check_report(name, &recorded, context, &judgement);
}

START_TEST(test_recorded) {
    const char *srcdir = getenv("srcdir");
    _cleanup_free_ char *dir = NULL;
    struct dirent **entries;
    int n, checked = 0;

    ck_assert_int_ge(asprintf(&dir, "%s/tests/facts", srcdir ? srcdir : "."), 0);
    n = scandir(dir, &entries, NULL, alphasort);
    ck_assert_msg(n > 0, "cannot read %s", dir);
    for (int i = 0; i < n; i++) {
        if (strstr(entries[i]->d_name, ".json")) {
            check_case(dir, entries[i]->d_name);
            checked++;
        }
        free(entries[i]);
    }
    free(entries);
    ck_assert_int_ge(checked, 100);
}
END_TEST

/* ---- any facts: what must never follow ---- */

static uint64_t random_state;

static unsigned draw(unsigned n) {
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned) (random_state >> 33) % n;
}

static bool draw_bool(void) {
    return draw(2);
}

/* Few values, so that they meet. */
static pid_t draw_pid(void) {
    static const pid_t pids[] = {0, 1, 100, 101, 102, 103};

    return pids[draw(ELEMENTSOF(pids))];
}

static char *draw_program(void) {
    static const char *const programs[] = {"/usr/sbin/daemon", "/usr/sbin/helper", "/usr/lib/systemd/systemd",
                                           NULL};
    const char *program = programs[draw(ELEMENTSOF(programs))];

    return program ? strdup(program) : NULL;
}

static uint64_t draw_time(void) {
    return UINT64_C(1700000000) * USEC_PER_SEC + draw(8) * USEC_PER_SEC;
}

static void draw_process(struct process_facts *process, pid_t pid, bool living) {
    process->pid = pid;
    process->life = living ? (draw_bool() ? PROCESS_ALIVE : PROCESS_STOPPED) : draw(PROCESS_LIFE_MAX);
    process->start_usec = draw_time();
    process->ppid = draw_pid();
    process->pgrp = draw_pid();
    process->session = draw_pid();
    process->session_leader_gone = draw_bool();
    process->kernel_thread = draw(8) == 0;
    process->exe = draw_program();
    process->cmdline = draw_bool()
                           ? strdup(draw_bool() ? "daemon -c /etc/daemon.conf" : "daemon -c /etc/sister.conf")
                           : NULL;
    process->service = draw(4) == 0 ? strdup("daemon") : NULL;
    process->n_ancestors = draw(3);
    process->ancestors = calloc(3, sizeof *process->ancestors);
    for (size_t i = 0; i < process->n_ancestors; i++)
        process->ancestors[i] = (struct ancestor_facts){.pid = draw_pid(), .exe = draw_program()};
}

/* Half of them say no more than a PID; some name this machine and this PID namespace, some others. */
static void draw_record(struct lock_facts *facts) {
    struct lock_record *record = &facts->record;

    strcpy(facts->host, "here");
    facts->pid_namespace = 7;
    facts->mode = draw(3) == 0 ? S_IFLNK | 0777 : S_IFREG | 0644;
    record->pid = draw_pid();
    record->several = draw(4) == 0;
    record->form = record->pid == 0 ? RECORD_NONE : 1 + draw(RECORD_FORM_MAX - 1);
    if (draw_bool())
        return;
    strcpy(record->host, draw(3) == 0 ? "there" : record->form == RECORD_MOZILLA ? "127.0.1.1" : "here");
    record->pid_namespace = draw(3) == 0 ? 8 : draw_bool() ? 7 : 0;
    record->start_usec = draw(3) == 0 ? draw_time() : 0;
    facts->shm =
        (struct shm_facts){.found = draw_bool(), .attached = (unsigned) draw(3), .creator = draw_pid()};
}

static void draw_facts(struct lock_facts *facts, bool may_have_displaced);

/* What stood at the path once: judged by the same rules. */
static void draw_displaced(struct lock_facts *facts) {
    facts->displaced = calloc(2, sizeof *facts->displaced);
    facts->n_displaced = draw(3);
    for (size_t i = 0; i < facts->n_displaced; i++) {
        draw_facts(&facts->displaced[i], false);
        facts->displaced[i].layered = false; /* what stood there is known for what it is */
    }
}

static void draw_facts(struct lock_facts *facts, bool may_have_displaced) {
    static const char *const filesystems[] = {"ext4", "tmpfs", "nfs4", ""};
    static const int errors[] = {0, 0, 0, 0, 0, 0, 0, EACCES, EISDIR, ETIMEDOUT};

    facts->path = strdup(draw_bool() ? "/run/daemon.pid" : "/run/daemon.sock.lock");
    facts->kind = draw(PATH_KIND_MAX);
    facts->error = errors[draw(ELEMENTSOF(errors))];
    facts->size_bytes = draw(4);
    facts->modified_usec = draw_time();
    facts->changed_usec = draw_time();
    facts->boot_usec = draw_time();
    strcpy(facts->filesystem, filesystems[draw(ELEMENTSOF(filesystems))]);
    for (enum lock_family f = 0; f < LOCK_FAMILY_MAX; f++)
        facts->families[f] = draw(4) ? FAMILY_FREE : draw(FAMILY_STATE_MAX);
    facts->n_claims = draw(3);
    facts->claims = calloc(3, sizeof *facts->claims);
    for (size_t i = 0; i < facts->n_claims; i++)
        facts->claims[i] =
            (struct claim_facts){.family = draw(LOCK_FAMILY_MAX), .pid = draw_pid(), .waiting = draw_bool()};
    facts->n_holders = draw(3);
    facts->holders = calloc(3, sizeof *facts->holders);
    for (size_t i = 0; i < facts->n_holders; i++) {
        draw_process(&facts->holders[i].process, 100 + (pid_t) draw(4), true);
        facts->holders[i].listener = draw_bool();
        facts->holders[i].via = draw_bool() ? VIA_FD : draw(VIA_MAX);
        for (enum lock_family f = 0; f < LOCK_FAMILY_MAX; f++)
            facts->holders[i].families[f] = draw_bool();
    }
    facts->recorded.pid = draw_pid();
    facts->recorded.is_thread = draw(3) == 0;
    facts->recorded.is_self = draw(6) == 0;
    draw_process(&facts->recorded.process, facts->recorded.pid, false);
    if (draw(4) == 0)
        draw_process(&facts->recorded.namesake, 500, true);
    facts->scanned = draw_bool();
    facts->complete = draw_bool();
    facts->unreadable = calloc(LOCK_UNREADABLE_MAX, sizeof *facts->unreadable);
    facts->n_unreadable = draw(3);
    facts->unreadable_total = (unsigned) facts->n_unreadable;
    for (size_t i = 0; i < facts->n_unreadable; i++)
        facts->unreadable[i] = draw_pid();
    facts->remote = strcmp(facts->filesystem, "nfs4") == 0;
    facts->has_socket = draw_bool();
    facts->listener = (struct listener_facts){.found = draw_bool(),
                                              .listening = draw_bool(),
                                              .peer = {.answer = draw(PEER_ANSWER_MAX),
                                                       .pid = draw_pid(),
                                                       .life = draw(PROCESS_LIFE_MAX),
                                                       .error = draw_bool() ? EACCES : 0}};
    facts->initial_pid_namespace = draw_bool();
    facts->server_arbitrates = draw_bool();
    facts->hidden = draw(4) == 0;
    facts->layered = draw(8) == 0;
    draw_record(facts);
    if (may_have_displaced && draw(3) == 0)
        draw_displaced(facts);
}

static void draw_context(struct lock_context *context) {
    *context = (struct lock_context){
        .daemon_exe = draw_bool() ? "/usr/sbin/daemon" : NULL,
        .config_file = draw_bool() ? "/etc/daemon.conf" : NULL,
        .main = {.pid = draw_pid()},
        .main_life = draw(PROCESS_LIFE_MAX),
        .dead_pid = draw(4) ? 0 : draw_pid(),
    };
}

static bool lives(enum process_life life) {
    return life == PROCESS_ALIVE || life == PROCESS_STOPPED;
}

static bool is_dead(enum process_life life) {
    return life == PROCESS_GONE || life == PROCESS_ZOMBIE;
}

static bool holds_lock(const struct holder_facts *holder) {
    return holder->families[LOCK_FAMILY_FLOCK] || holder->families[LOCK_FAMILY_POSIX] ||
           holder->families[LOCK_FAMILY_OFD];
}

/* The locker, or the main process, is dead by a proof that does not rest on a bare number. */
static bool has_proof_of_death(const struct lock_facts *facts, const struct lock_context *context) {
    const struct peer_facts *peer = &facts->listener.peer;
    pid_t recorded = facts->recorded.pid;

    return (context->main.pid > 0 && is_dead(context->main_life)) ||
           (recorded > 0 && context->dead_pid == recorded) ||
           (peer->answer == PEER_CONNECTED && peer->pid > 0 && is_dead(peer->life)) ||
           (recorded > 0 && is_dead(facts->recorded.process.life));
}

/* Nobody is known to use what stood at the path once, and nobody may be. */
static void check_displaced(const struct lock_facts *facts, const struct lock_context *context) {
    for (size_t i = 0; i < facts->n_displaced; i++) {
        enum verdict verdict = lock_judge(&facts->displaced[i], context).verdict;

        ck_assert(verdict != VERDICT_HELD && verdict != VERDICT_UNKNOWN);
    }
}

static void check_action_permitted(const struct lock_facts *facts, const struct lock_context *context) {
    ck_assert_int_eq(facts->error, 0);
    ck_assert(!(context->main.pid > 0 && lives(context->main_life)));
    if (facts->kind != PATH_KIND_SOCKET)
        ck_assert(!facts->remote || facts->server_arbitrates);
}

/* The content names a process of this machine and of this PID namespace. */
static bool is_recorded_here(const struct lock_facts *facts) {
    const struct lock_record *record = &facts->record;

    return (!record->host[0] || strcmp(record->host, "here") == 0 ||
            (record->form == RECORD_MOZILLA && strcmp(record->host, "127.0.1.1") == 0)) &&
           (record->pid_namespace == 0 || record->pid_namespace == 7);
}

static void check_orphaned(const struct lock_facts *facts, const struct lock_context *context) {
    check_action_permitted(facts, context);
    ck_assert_uint_gt(facts->n_holders, 0);
    ck_assert(facts->kind == PATH_KIND_SOCKET || !facts->remote);
    ck_assert(has_proof_of_death(facts, context));
    ck_assert(!(context->main.pid > 0 && context->main_life == PROCESS_UNKNOWN));
    if (facts->kind != PATH_KIND_SOCKET && !lock_facts_is_held(facts)) {
        /* It is no lock but shared memory that leftovers have, and they may be the same program. */
        ck_assert(lock_facts_names_owner(facts) && facts->shm.found && facts->shm.attached > 0);
        ck_assert(facts->shm.creator == facts->recorded.pid && is_dead(facts->recorded.process.life));
        return;
    }
    for (size_t i = 0; i < facts->n_holders; i++) {
        const struct holder_facts *holder = &facts->holders[i];

        /* Who took a lock and has it is the owner; so is who runs the daemon, and who may. */
        for (size_t j = 0; j < facts->n_claims; j++)
            ck_assert(facts->kind == PATH_KIND_SOCKET || facts->claims[j].waiting || !holds_lock(holder) ||
                      facts->claims[j].pid != holder->process.pid);
        if (context->daemon_exe) {
            ck_assert_ptr_nonnull(holder->process.exe);
            ck_assert_str_ne(holder->process.exe, "/usr/sbin/daemon");
            for (size_t j = 0; j < holder->process.n_ancestors; j++)
                ck_assert(!holder->process.ancestors[j].exe ||
                          strcmp(holder->process.ancestors[j].exe, "/usr/sbin/daemon") != 0);
        }
        ck_assert(!holder->process.exe || strcmp(holder->process.exe, "/usr/lib/systemd/systemd") != 0);
        /* Without latchd's own record, everything that is held must be the dead locker's. */
        if (context->main.pid == 0 && context->dead_pid == 0 && facts->recorded.pid > 0)
            ck_assert(!holder->families[LOCK_FAMILY_OFD] && !holder->families[LOCK_FAMILY_POSIX]);
    }
}

static void check_stale(const struct lock_facts *facts, const struct lock_context *context) {
    const struct recorded_facts *recorded = &facts->recorded;

    check_action_permitted(facts, context);
    check_displaced(facts, context);
    ck_assert(lock_facts_names_owner(facts) || facts->kind == PATH_KIND_SOCKET);
    if (facts->kind == PATH_KIND_SOCKET) {
        ck_assert_int_eq(facts->listener.peer.answer, PEER_REFUSED);
        ck_assert(!facts->listener.found);
        return;
    }
    ck_assert_int_gt(recorded->pid, 0);
    ck_assert_uint_gt(facts->size_bytes, 0);
    ck_assert(is_recorded_here(facts));
    ck_assert(!facts->layered || context->daemon_exe);
    ck_assert(!facts->record.several);
    /* What cannot be seen may be the owner, unless a service's configuration says whose file it is. */
    ck_assert(context->daemon_exe || recorded->is_thread || recorded->process.life == PROCESS_ZOMBIE ||
              (facts->initial_pid_namespace && (!facts->hidden || recorded->namesake.pid > 0)));
    ck_assert(!facts->shm.found || facts->shm.attached == 0);
    for (enum lock_family f = 0; f < LOCK_FAMILY_MAX; f++)
        ck_assert_int_eq(facts->families[f], FAMILY_FREE);
    ck_assert(recorded->is_self || is_dead(recorded->process.life) ||
              (lives(recorded->process.life) &&
               (recorded->is_thread || recorded->process.kernel_thread ||
                recorded->process.start_usec > facts->modified_usec + USEC_PER_SEC ||
                (facts->record.start_usec > 0 &&
                 recorded->process.start_usec > facts->record.start_usec + USEC_PER_SEC))));
    if (facts->has_socket)
        ck_assert(facts->listener.peer.answer != PEER_QUEUE_FULL &&
                  (facts->listener.peer.answer != PEER_CONNECTED || is_dead(facts->listener.peer.life)));
    if (recorded->namesake.pid > 0)
        ck_assert(context->daemon_exe && recorded->namesake.exe &&
                  (strcmp(recorded->namesake.exe, context->daemon_exe) != 0 ||
                   (context->config_file && recorded->namesake.cmdline)));
}

static void check_free(const struct lock_facts *facts, const struct lock_context *context) {
    ck_assert(!facts->layered || context->daemon_exe);
    check_action_permitted(facts, context);
    check_displaced(facts, context);
    ck_assert(facts->kind == PATH_KIND_LOCK && !S_ISLNK(facts->mode));
    for (enum lock_family f = 0; f < LOCK_FAMILY_MAX; f++)
        ck_assert_int_eq(facts->families[f], FAMILY_FREE);
}

START_TEST(test_totality) {
    unsigned seen[VERDICT_MAX] = {0}, reasons[REASON_MAX] = {0};

    random_state = (uint64_t) _i;
    for (unsigned i = 0; i < 20000; i++) {
        _cleanup_lock_facts_ struct lock_facts facts = {0};
        struct lock_context drawn, nothing = {.main_life = PROCESS_UNKNOWN},
                                   *context = draw_bool() ? &drawn : NULL;
        struct lock_judgement judgement;

        draw_facts(&facts, true);
        draw_context(&drawn);
        judgement = lock_judge(&facts, context);
        ck_assert_uint_lt(judgement.verdict, VERDICT_MAX);
        ck_assert_uint_lt(judgement.reason, REASON_MAX);
        seen[judgement.verdict]++;
        reasons[judgement.reason]++;
        context = context ? context : &nothing;
        switch (judgement.verdict) {
        case VERDICT_ABSENT:
            ck_assert(facts.kind == PATH_KIND_ABSENT && facts.error == 0);
            check_displaced(&facts, context);
            break;
        case VERDICT_FREE:
            check_free(&facts, context);
            break;
        case VERDICT_STALE:
            check_stale(&facts, context);
            break;
        case VERDICT_ORPHANED:
            check_orphaned(&facts, context);
            break;
        default:
            ck_assert(judgement.reason != REASON_NONE);
        }
        ck_assert_int_eq(judgement.daemon_gone, judgement.verdict == VERDICT_ORPHANED);
        for (size_t j = 0; j < facts.n_holders; j++)
            ck_assert_ptr_nonnull(holder_role_to_string(lock_holder_role(&facts, context, &judgement, j)));
        if (i % 16 == 0) {
            _cleanup_free_ char *words = lock_describe(&facts, context, &judgement),
                                *advice = lock_advise(&facts, context, &judgement, NULL);

            ck_assert(words && words[0] && advice && advice[0]);
        }
    }
    /* The drawing reaches everything, else it would prove little. */
    for (size_t i = 0; i < VERDICT_MAX; i++)
        ck_assert_msg(seen[i] > 0, "%s never came", verdict_to_string((enum verdict) i));
    for (size_t i = 0; i < REASON_MAX; i++)
        ck_assert_msg(reasons[i] > 0, "%s never came", verdict_reason_to_string((enum verdict_reason) i));
}
END_TEST

START_TEST(test_exit_codes) {
    static const int codes[VERDICT_MAX] = {0, 0, 3, 4, 5, 6};

    for (enum verdict i = 0; i < VERDICT_MAX; i++) {
        ck_assert_int_eq(verdict_exit_code(i), codes[i]);
        ck_assert_int_eq(verdict_from_string(verdict_to_string(i)), i);
    }
    ck_assert_int_eq(verdict_exit_code(VERDICT_MAX), 6);
    ck_assert_int_eq(verdict_exit_code(VERDICT_INVALID), 6);
    for (enum verdict_reason i = 0; i < REASON_MAX; i++)
        ck_assert_int_eq(verdict_reason_from_string(verdict_reason_to_string(i)), i);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("verdict");
    TCase *tcase = tcase_create("verdict");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, test_recorded);
    tcase_add_loop_test(tcase, test_totality, 1, 5);
    tcase_add_test(tcase, test_exit_codes);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
