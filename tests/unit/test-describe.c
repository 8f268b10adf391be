/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lock/describe.h"
#include "lock/relation.h"

#include "suite.h"

/* A shell must read it as that one word. */
static void check_quoted(const char *path, const char *expected_word) {
    _cleanup_free_ char *word = advise_quote_path(path);
    char back[256] = "";
    FILE *shell;

    ck_assert_ptr_nonnull(word);
    for (const char *p = word; *p; p++)
        ck_assert_msg((unsigned char) *p >= ' ' && *p != 0x7f, "a control character: %s", word);
    ck_assert_int_eq(setenv("WORD", word, 1), 0);
    /* /bin/sh may be one that does not know $'...' (dash). */
    shell = popen("exec bash -c 'eval \"set -- $WORD\"; [ $# = 1 ] && printf %s \"$1\"'", "r");
    ck_assert_ptr_nonnull(shell);
    (void) !fread(back, 1, sizeof back - 1, shell);
    ck_assert_int_eq(pclose(shell), 0);
    ck_assert_str_eq(back, expected_word);
}

START_TEST(test_quoted) {
    static const struct {
        const char *path, *word;
    } cases[] = {
        {"/run/a.lock", "/run/a.lock"},
        {"a.pid", "./a.pid"}, /* or latchctl takes it for a service */
        {"-n", "./-n"},       /* or rm takes it for an option */
        {"-d/a.pid", "./-d/a.pid"},
        {"@name", "@name"},
        {"@", "@"},
        {"/run/a b", "/run/a b"},
        {"/run/$(touch x);`y`", "/run/$(touch x);`y`"},
        {"/run/it's", "/run/it's"},
        {"/run/a\nb\033[31m\x7f", "/run/a\nb\033[31m\x7f"},
        {"/run/\xff\xc2\x9b'\\", "/run/\xff\xc2\x9b'\\"},
        {"/run/grün", "/run/grün"},
        {"~/x*", "~/x*"},
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++)
        check_quoted(cases[i].path, cases[i].word);
}
END_TEST

/* ---- words: facts by hand, and what must stand in the sentence and in the advice ---- */

static struct process_facts make_process(pid_t pid, const char *comm, enum process_life life) {
    struct process_facts process = {.pid = pid, .life = life, .uid = (uid_t) -1};

    snprintf(process.comm, sizeof process.comm, "%s", comm);
    return process;
}

/* NULL: nothing is asked of that one. */
static void check_words(const struct lock_facts *facts, enum verdict verdict, enum verdict_reason reason,
                        const char *words, const char *advice) {
    struct lock_judgement judgement = lock_judge(facts, NULL);
    _cleanup_free_ char *described = lock_describe(facts, NULL, &judgement),
                        *advised = lock_advise(facts, NULL, &judgement, NULL);

    ck_assert_msg(judgement.verdict == verdict && judgement.reason == reason, "%s (%s), not %s (%s): %s",
                  verdict_to_string(judgement.verdict), verdict_reason_to_string(judgement.reason),
                  verdict_to_string(verdict), verdict_reason_to_string(reason), described);
    ck_assert_msg(!words || strstr(described, words), "\"%s\" not in: %s", words, described);
    ck_assert_msg(!advice || strstr(advised, advice), "\"%s\" not in: %s", advice, advised);
    ck_assert_msg(!strchr(described, '\n') && !strchr(advised, '\n') && !strchr(described, '\033') &&
                      !strchr(advised, '\033'),
                  "%s / %s", described, advised);
}

static void set_host(char host[LOCK_HOST_MAX], const char *name) {
    snprintf(host, LOCK_HOST_MAX, "%s", name);
}

static struct lock_facts make_link(char *path, const char *host, pid_t pid) {
    struct lock_facts facts = {
        .path = path,
        .kind = PATH_KIND_LOCK,
        .mode = S_IFLNK | 0777,
        .size_bytes = 10,
        .content_read = true,
        .record = {.form = RECORD_EMACS, .pid = pid},
        .initial_pid_namespace = true,
    };

    set_host(facts.record.host, host);
    set_host(facts.host, "here");
    return facts;
}

START_TEST(test_absent) {
    char file[] = "/run/a", name[] = "@a", port[] = "127.0.0.1:5432";
    struct lock_facts facts = {.path = file, .kind = PATH_KIND_ABSENT};

    check_words(&facts, VERDICT_ABSENT, REASON_NONE, "no such file", "nothing to do");
    facts.path = name;
    check_words(&facts, VERDICT_ABSENT, REASON_NONE, "nobody has that name bound in this network namespace",
                NULL);
    facts.path = port;
    check_words(&facts, VERDICT_ABSENT, REASON_NONE, NULL, "ss -ltnp 'sport = :5432'");
}
END_TEST

START_TEST(test_other_host) {
    char path[] = "/home/u/.#notes", hostile[] = "/home/u/.#\033[31m";
    struct lock_facts facts = make_link(path, "web1", 812);

    check_words(&facts, VERDICT_UNKNOWN, REASON_OTHER_HOST, "PID 812 on host web1, and this is here",
                "ssh web1 ps -fp 812");
    facts.path = hostile;
    set_host(facts.record.host, "-oProxyCommand=x");
    check_words(&facts, VERDICT_UNKNOWN, REASON_OTHER_HOST, NULL, "ask on that machine");
    set_host(facts.record.host, "a;b");
    check_words(&facts, VERDICT_UNKNOWN, REASON_OTHER_HOST, NULL, "ask on that machine");
}
END_TEST

START_TEST(test_link) {
    char path[] = "/home/u/.#notes";
    struct lock_facts facts = make_link(path, "here", 812);

    facts.recorded.pid = 812;
    facts.recorded.process = make_process(812, "emacs", PROCESS_ALIVE);
    facts.modified_usec = 1000;
    check_words(&facts, VERDICT_HELD, REASON_LIVE, "it names emacs (PID 812)", "kill 812");
    facts.recorded.process.life = PROCESS_GONE;
    check_words(&facts, VERDICT_STALE, REASON_DEAD, "PID 812 on host here",
                "latchctl clear '/home/u/.#notes'");
    facts.record.pid_namespace = 5;
    facts.pid_namespace = 6;
    check_words(&facts, VERDICT_UNKNOWN, REASON_OTHER_PID_NAMESPACE, "of another PID namespace (5)",
                "latchctl probe");
    facts.kind = PATH_KIND_OTHER;
    facts.content = path;
    check_words(&facts, VERDICT_UNKNOWN, REASON_NOT_A_LOCK,
                "symbolic link, and no owner stands in it; it leads to /home/u/.#notes", NULL);
}
END_TEST

START_TEST(test_stopped) {
    char path[] = "/run/a.pid", cgroup[] = "/a/b", unit[] = "/system.slice/it's.service";
    struct lock_facts facts = {
        .path = path,
        .kind = PATH_KIND_PIDFILE,
        .mode = S_IFREG,
        .size_bytes = 4,
        .modified_usec = 1000,
        .record = {.form = RECORD_PLAIN, .pid = 812},
        .recorded = {.pid = 812, .process = make_process(812, "d", PROCESS_STOPPED)},
        .initial_pid_namespace = true,
    };

    check_words(&facts, VERDICT_HELD, REASON_STOPPED, "is stopped", "kill -CONT 812");
    facts.recorded.process.frozen = true;
    facts.recorded.process.cgroup = cgroup;
    check_words(&facts, VERDICT_HELD, REASON_STOPPED, "frozen with the control group", "(/a/b) is thawed");
    facts.recorded.process.cgroup = unit;
    check_words(&facts, VERDICT_HELD, REASON_STOPPED, NULL, "systemctl thaw 'it'\\''s.service'");
}
END_TEST

START_TEST(test_shared_memory) {
    char path[] = "/var/lib/pg/postmaster.pid";
    struct holder_facts holders[5];
    struct lock_facts facts = {
        .path = path,
        .kind = PATH_KIND_PIDFILE,
        .mode = S_IFREG,
        .size_bytes = 4,
        .modified_usec = 1000,
        .record = {.form = RECORD_POSTGRESQL, .pid = 812},
        .recorded = {.pid = 812, .process = make_process(812, "", PROCESS_GONE)},
        .shm = {.found = true, .attached = 5, .creator = 812},
        .scanned = true,
        .complete = true,
        .initial_pid_namespace = true,
    };

    check_words(&facts, VERDICT_UNKNOWN, REASON_UNATTRIBUTED, "5 processes have its shared memory attached",
                NULL);
    for (int i = 0; i < 5; i++)
        holders[i] = (struct holder_facts){
            .process = make_process(900 + i, "postgres", PROCESS_ALIVE), .via = VIA_MAPS, .fd = -1};
    facts.holders = holders;
    facts.n_holders = 5;
    check_words(&facts, VERDICT_ORPHANED, REASON_LEFTOVER,
                "its postmaster (PID 812) is dead, and 5 processes have its shared memory attached still: "
                "postgres (PID 900) and",
                "kill -QUIT 900 901 902 903 904");
}
END_TEST

START_TEST(test_displaced) {
    char path[] = "/run/a.lock", renamed[] = "/run/a.lock.\033old", socket_path[] = "/run/a";
    struct holder_facts holder = {.process = make_process(812, "kea", PROCESS_ALIVE),
                                  .families = {[LOCK_FAMILY_FLOCK] = true}};
    struct claim_facts claim = {.family = LOCK_FAMILY_FLOCK, .pid = 812};
    struct lock_facts displaced = {
        .path = renamed,
        .kind = PATH_KIND_LOCK,
        .mode = S_IFREG,
        .families = {[LOCK_FAMILY_FLOCK] = FAMILY_HELD},
        .holders = &holder,
        .n_holders = 1,
        .claims = &claim,
        .n_claims = 1,
        .recorded = {.pid = 812, .process = make_process(812, "kea", PROCESS_ALIVE)},
        .complete = true,
        .initial_pid_namespace = true,
    };
    struct lock_facts facts = {.path = path,
                               .kind = PATH_KIND_ABSENT,
                               .displaced = &displaced,
                               .n_displaced = 1,
                               .initial_pid_namespace = true};

    check_words(
        &facts, VERDICT_HELD, REASON_SPLIT,
        "nothing stands there, but the file that did was renamed to /run/a.lock.?old and is used still: kea "
        "(PID 812) has it and lives",
        "kill 812, then start it again");
    displaced.unlinked = true;
    facts.kind = PATH_KIND_LOCK;
    facts.mode = S_IFREG;
    check_words(&facts, VERDICT_HELD, REASON_SPLIT,
                "what stands there is free, but the file that stood there "
                "before was removed",
                NULL);
    displaced.n_holders = 0;
    check_words(&facts, VERDICT_UNKNOWN, REASON_UNATTRIBUTED, "was removed", NULL);
    displaced.kind = PATH_KIND_SOCKET;
    displaced.path = socket_path;
    displaced.n_holders = 1;
    holder.families[LOCK_FAMILY_FLOCK] = false;
    holder.listener = true;
    displaced.has_socket = true;
    displaced.listener = (struct listener_facts){.found = true, .listening = true};
    check_words(&facts, VERDICT_HELD, REASON_UNREACHABLE, "the socket that stood there before was removed",
                "start no second one");
}
END_TEST

START_TEST(test_remote) {
    char path[] = "/mnt/a.lock", subject[] = "waiting for the file system nfs4 at /mnt";
    struct lock_facts facts = {.path = path,
                               .kind = PATH_KIND_OTHER,
                               .error = ETIMEDOUT,
                               .error_subject = subject,
                               .initial_pid_namespace = true};

    check_words(&facts, VERDICT_UNKNOWN, REASON_NETWORK_FILESYSTEM,
                "no answer came in time, waiting for the file "
                "system nfs4 at /mnt",
                "ask on the machine that holds the lock");
}
END_TEST

START_TEST(test_means) {
    static const char *const words[VIA_MAX] = {
        [VIA_FD] = "d (PID 812) has it",
        [VIA_MAPS] = "which has it mapped",
        [VIA_IO_URING] = "which has it registered with io_uring",
        [VIA_IN_FLIGHT] = "in whose socket it is in flight",
    };
    char path[] = "/run/a.lock";
    struct holder_facts holder = {
        .process = make_process(812, "d", PROCESS_ALIVE), .fd = 3, .families = {[LOCK_FAMILY_FLOCK] = true}};
    struct lock_facts facts = {
        .path = path,
        .kind = PATH_KIND_LOCK,
        .mode = S_IFREG,
        .families = {[LOCK_FAMILY_FLOCK] = FAMILY_HELD},
        .holders = &holder,
        .n_holders = 1,
        .recorded = {.pid = 812, .process = make_process(812, "d", PROCESS_ALIVE)},
        .complete = true,
        .initial_pid_namespace = true,
    };

    for (enum holder_via via = 0; via < VIA_MAX; via++) {
        holder.via = via;
        check_words(&facts, VERDICT_HELD, REASON_LIVE, words[via], "kill 812");
    }
}
END_TEST

START_TEST(test_unseen) {
    char path[] = "/run/a b.lock";
    pid_t unreadable[] = {1, 77};
    struct lock_facts facts = {.path = path,
                               .scanned = true,
                               .processes = 90,
                               .unreadable = unreadable,
                               .n_unreadable = 2,
                               .unreadable_total = 2};
    _cleanup_free_ char *unseen = lock_describe_unseen(&facts, NULL), *none = NULL;

    ck_assert_ptr_nonnull(strstr(unseen, "2 of 90 processes could not be read (PID 1 first)"));
    ck_assert_int_eq(strstr(unseen, "sudo latchctl probe '/run/a b.lock'") != NULL, geteuid() != 0);
    free(unseen);
    unseen = lock_describe_unseen(&facts, "do not remove it: sudo latchctl probe '/run/a b.lock'");
    ck_assert_ptr_null(strstr(unseen, "sudo")); /* once is enough */
    facts.n_unreadable = facts.unreadable_total = 1;
    free(unseen);
    unseen = lock_describe_unseen(&facts, NULL);
    ck_assert_ptr_nonnull(strstr(unseen, geteuid() == 0 ? "init (PID 1) could not" : "1 of 90 processes"));
    facts.unreadable_total = 0;
    none = lock_describe_unseen(&facts, NULL);
    ck_assert_str_eq(none, "");
}
END_TEST

/* Where most processes could not be read "free" is no more than what was seen. */
START_TEST(test_nothing_seen) {
    static const char *const kept[] = {"as far as can be seen", "removed or renamed file would not be seen"};
    char path[] = "/run/a b.lock";
    pid_t unreadable[] = {1, 77};
    struct lock_facts facts = {.path = path,
                               .kind = PATH_KIND_LOCK,
                               .mode = S_IFREG,
                               .scanned = true,
                               .complete = true,
                               .processes = 90,
                               .unreadable = unreadable,
                               .initial_pid_namespace = true};

    check_words(&facts, VERDICT_FREE, REASON_NONE, NULL, "nothing to do");
    facts.complete = false;
    facts.n_unreadable = facts.unreadable_total = 1;
    check_words(&facts, VERDICT_FREE, REASON_NONE, NULL,
                geteuid() == 0 ? "nothing to do" : "sudo latchctl probe '/run/a b.lock'");
    facts.n_unreadable = facts.unreadable_total = 2;
    for (size_t i = 0; i < ELEMENTSOF(kept); i++)
        check_words(&facts, VERDICT_FREE, REASON_NONE, NULL, kept[i]);
    check_words(&facts, VERDICT_FREE, REASON_NONE, NULL, "2 of 90 processes could not be read");
    facts.kind = PATH_KIND_ABSENT;
    check_words(&facts, VERDICT_ABSENT, REASON_NONE, NULL, "2 of 90 processes could not be read");
    facts.unreadable_total = 0;
    facts.hidden = true;
    check_words(&facts, VERDICT_ABSENT, REASON_NONE, NULL, "other users' processes are hidden");
    facts.scanned = false; /* an abstract name: nothing was looked for */
    check_words(&facts, VERDICT_ABSENT, REASON_NONE, NULL, "nothing to do");
}
END_TEST

/* All that have it, each by what ends it. */
START_TEST(test_several_holders) {
    char path[] = "/run/a.lock", service[] = "kea", hostile[] = "-x;id", cgroup[] = "/system.slice/d.service",
         supervisor[] = "/usr/sbin/latchd", init[] = "/sbin/init";
    struct ancestor_facts above = {.pid = 700, .exe = supervisor};
    struct holder_facts holders[12];
    struct lock_facts facts = {
        .path = path,
        .kind = PATH_KIND_LOCK,
        .mode = S_IFREG,
        .families = {[LOCK_FAMILY_FLOCK] = FAMILY_HELD},
        .holders = holders,
        .recorded = {.pid = 810, .process = make_process(810, "d", PROCESS_ALIVE)},
        .complete = true,
        .initial_pid_namespace = true,
    };

    for (int i = 0; i < 12; i++)
        holders[i] = (struct holder_facts){.process = make_process(810 + i, "d", PROCESS_ALIVE),
                                           .families = {[LOCK_FAMILY_FLOCK] = true}};
    facts.n_holders = 2;
    check_words(&facts, VERDICT_HELD, REASON_LIVE, NULL, "if those processes shall go: kill 810 811");
    facts.n_holders = 12;
    check_words(&facts, VERDICT_HELD, REASON_LIVE, NULL, "kill 810 811 812 813 814 815 816 817, and 4 more");
    facts.n_holders = 5;
    for (int i = 0; i < 2; i++) {
        holders[i].process.service = service;
        holders[i].process.ancestors = &above;
        holders[i].process.n_ancestors = 1;
    }
    holders[2].process.cgroup = cgroup;
    holders[3].process.life = PROCESS_STOPPED;
    check_words(&facts, VERDICT_HELD, REASON_LIVE, NULL,
                "latchctl stop kea; systemctl stop d.service; kill 813 814 && kill -CONT 813");
    facts.n_holders = 1;
    above.exe = init; /* what `latchd exec` became */
    check_words(&facts, VERDICT_HELD, REASON_LIVE, NULL, "if that process shall go: kill 810");
    above.exe = supervisor;
    holders[0].process.service = hostile;
    check_words(&facts, VERDICT_HELD, REASON_LIVE, NULL, "if that process shall go: kill 810");
}
END_TEST

START_TEST(test_stale_socket) {
    char path[] = "/run/a.sock";
    struct lock_facts facts = {.path = path,
                               .kind = PATH_KIND_SOCKET,
                               .mode = S_IFSOCK,
                               .has_socket = true,
                               .guarded = true,
                               .listener = {.peer = {.answer = PEER_REFUSED}},
                               .scanned = true,
                               .complete = true,
                               .initial_pid_namespace = true};

    check_words(&facts, VERDICT_STALE, REASON_REFUSED, NULL, "latchctl clear /run/a.sock");
    facts.guarded = false;
    check_words(&facts, VERDICT_STALE, REASON_REFUSED, NULL,
                "no lock file guards it: see that no daemon is just starting, then: rm /run/a.sock");
}
END_TEST

/* ---- relations ---- */

#define BIT(relation) (1U << RELATION_##relation)

START_TEST(test_relation) {
    char cgroup[] = "/a", other[] = "/b", root[] = "/";
    struct ancestor_facts above[] = {{.pid = 900}, {.pid = 812}};
    struct process_facts process = make_process(950, "x", PROCESS_ALIVE);
    struct lock_facts facts = {.recorded = {.pid = 812, .process = make_process(812, "d", PROCESS_ALIVE)}};

    facts.recorded.process.session = facts.recorded.process.pgrp = 700;
    facts.recorded.process.cgroup = cgroup;
    process.ppid = 900;
    process.ancestors = above;
    process.n_ancestors = 2;
    process.cgroup = other;
    ck_assert_uint_eq(relation_find(&facts, &process), BIT(DESCENDANT));
    process.ppid = 812;
    process.session = 700;
    process.cgroup = cgroup;
    ck_assert_uint_eq(relation_find(&facts, &process), BIT(CHILD) | BIT(SESSION) | BIT(CGROUP));
    process.cgroup = facts.recorded.process.cgroup = root; /* everybody's */
    process.session = 812;                                 /* not the living one's session */
    ck_assert_uint_eq(relation_find(&facts, &process), BIT(CHILD));
    /* Dead: nobody is its child any more, but who is in the session that it led is. */
    facts.recorded.process = make_process(812, "", PROCESS_GONE);
    process.pgrp = 812;
    ck_assert_uint_eq(relation_find(&facts, &process), BIT(SESSION) | BIT(GROUP));
    process.session = process.pgrp = 0;
    ck_assert_uint_eq(relation_find(&facts, &process), 0);
    process.pid = 812;
    ck_assert_uint_eq(relation_find(&facts, &process), BIT(ITSELF));
    facts.recorded.pid = 0;
    ck_assert_uint_eq(relation_find(&facts, &process), 0);
}
END_TEST

START_TEST(test_relation_words) {
    json_t *words = relation_to_json(BIT(CHILD) | BIT(CGROUP));

    ck_assert_int_eq((int) json_array_size(words), 2);
    ck_assert_str_eq(json_string_value(json_array_get(words, 0)), "child");
    ck_assert_str_eq(json_string_value(json_array_get(words, 1)), "cgroup");
    json_decref(words);
    for (enum relation i = 0; i < RELATION_MAX; i++)
        ck_assert_int_eq(relation_from_string(relation_to_string(i)), i);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("describe");
    TCase *tcase = tcase_create("describe");

    tcase_add_test(tcase, test_quoted);
    tcase_add_test(tcase, test_absent);
    tcase_add_test(tcase, test_other_host);
    tcase_add_test(tcase, test_link);
    tcase_add_test(tcase, test_stopped);
    tcase_add_test(tcase, test_shared_memory);
    tcase_add_test(tcase, test_displaced);
    tcase_add_test(tcase, test_remote);
    tcase_add_test(tcase, test_means);
    tcase_add_test(tcase, test_unseen);
    tcase_add_test(tcase, test_nothing_seen);
    tcase_add_test(tcase, test_several_holders);
    tcase_add_test(tcase, test_stale_socket);
    tcase_add_test(tcase, test_relation);
    tcase_add_test(tcase, test_relation_words);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
