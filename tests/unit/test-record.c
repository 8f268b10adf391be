/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "lock/record.h"
#include "suite.h"

struct sample {
    const char *path, *text;
    struct lock_record expect;
};

static void check_record(const struct sample *sample, const struct lock_record *record) {
    const struct lock_record *expect = &sample->expect;

    ck_assert_msg(record->form == expect->form, "%s, \"%s\": %s, not %s", sample->path, sample->text,
                  record_form_to_string(record->form), record_form_to_string(expect->form));
    ck_assert_msg(record->pid == expect->pid, "%s, \"%s\": PID %d", sample->path, sample->text,
                  (int) record->pid);
    ck_assert_str_eq(record->host, expect->host);
    ck_assert_str_eq(record->socket_path, expect->socket_path);
    ck_assert_msg(record->pid_namespace == expect->pid_namespace && record->boot_usec == expect->boot_usec &&
                      record->start_usec == expect->start_usec && record->shm_key == expect->shm_key &&
                      record->shm_id == expect->shm_id,
                  "%s, \"%s\": namespace %llu, boot %llu, start %llu, shared memory %llu %llu", sample->path,
                  sample->text, (unsigned long long) record->pid_namespace,
                  (unsigned long long) record->boot_usec, (unsigned long long) record->start_usec,
                  (unsigned long long) record->shm_key, (unsigned long long) record->shm_id);
}

#define SECONDS(n) (UINT64_C(n) * 1000000)
#define LONG_HOST "h234567890123456789012345678901234567890123456789012345678901234"
#define FIFTY "/2345678901234567890123456789012345678901234567890"

/* ---- regular files ---- */

/* clang-format off */
static const struct sample files[] = {
    /* plain */
    {"/run/a.pid", "812\n", {.form = RECORD_PLAIN, .pid = 812}},
    {"/run/a.pid", "812", {.form = RECORD_PLAIN, .pid = 812}},
    {"/run/a.pid", "  812 \n", {.form = RECORD_PLAIN, .pid = 812}},
    {"/run/a.pid", "812\r\n", {.form = RECORD_PLAIN, .pid = 812}},
    {"/run/a.pid", "812 /usr/sbin/maker\n", {.form = RECORD_PLAIN, .pid = 812}},
    {"a.pid", "812\nmore\n", {.form = RECORD_PLAIN, .pid = 812}},
    {"/run/a.pid", "2147483647", {.form = RECORD_PLAIN, .pid = 2147483647}},
    {"/run/a.pid", "2147483648", {0}},
    {"/run/a.pid", "99999999999999999999999999999999", {0}},
    {"/run/a.pid", "", {0}},
    {"/run/a.pid", "\n", {0}},
    {"/run/a.pid", "\n812\n", {0}},
    {"/run/a.pid", "0\n", {0}},
    {"/run/a.pid", "-812\n", {0}},
    {"/run/a.pid", "+812\n", {0}},
    {"/run/a.pid", "0x32c\n", {0}},
    {"/run/a.pid", "812.5\n", {0}},
    {"/run/a.pid", "812a\n", {0}},
    {"/run/a.pid", "pid 812\n", {0}},
    {"/run/a.pid", "starting\n", {0}},

    /* X11 */
    {"/tmp/.X99-lock", "       812\n",
     {.form = RECORD_X11, .pid = 812, .socket_path = "/tmp/.X11-unix/X99"}},
    {".X0-lock", "2147483647\n", {.form = RECORD_X11, .pid = 2147483647, .socket_path = ".X11-unix/X0"}},
    {"/tmp/.tX99-lock", "       812\n", {.form = RECORD_PLAIN, .pid = 812}},
    {"/tmp/.X-lock", "       812\n", {.form = RECORD_PLAIN, .pid = 812}},
    {"/tmp/.X99-lock2", "       812\n", {.form = RECORD_PLAIN, .pid = 812}},
    {"/tmp/.X999999-lock", "       812\n", {.form = RECORD_PLAIN, .pid = 812}},
    {"/var/lock/LCK..ttyS0", "       812\n", {.form = RECORD_PLAIN, .pid = 812}},
    {"/tmp/.X99-lock", "812\n", {.form = RECORD_PLAIN, .pid = 812}},
    {"/tmp/.X99-lock", "       812", {.form = RECORD_PLAIN, .pid = 812}},
    {"/tmp/.X99-lock", "  812     \n", {.form = RECORD_PLAIN, .pid = 812}},
    {"/tmp/.X99-lock", "         0\n", {0}},
    {"/tmp/.X99-lock", "      -812\n", {0}},
    {FIFTY FIFTY "/.X99-lock", "       812\n", {.form = RECORD_X11, .pid = 812}},

    /* PostgreSQL: as 15 wrote it */
    {"/var/lib/postgresql/15/main/postmaster.pid",
     "812\n/var/lib/postgresql/15/main\n1795174358\n5432\n/var/run/postgresql\n127.0.0.1\n 10961058         8\nready   \n",
     {.form = RECORD_POSTGRESQL, .pid = 812, .start_usec = SECONDS(1795174358), .shm_key = 10961058, .shm_id = 8,
      .socket_path = "/var/run/postgresql/.s.PGSQL.5432"}},
    /* just beginning: lines 5 and on come later */
    {"/d/postmaster.pid", "812\n/d\n1795174358\n5432\n\n",
     {.form = RECORD_POSTGRESQL, .pid = 812, .start_usec = SECONDS(1795174358)}},
    {"/d/postmaster.pid", "812\n/d\n1795174358\n5432\n\n\n   5432001         0\n",
     {.form = RECORD_POSTGRESQL, .pid = 812, .start_usec = SECONDS(1795174358), .shm_key = 5432001}},
    /* a negative key */
    {"/d/postmaster.pid", "812\n/d\n1795174358\n5432\n\n*\n18446744071562067969     32769\n",
     {.form = RECORD_POSTGRESQL, .pid = 812, .start_usec = SECONDS(1795174358),
      .shm_key = UINT64_C(18446744071562067969), .shm_id = 32769}},
    {"/d/postmaster.pid", "812\n/d\n1795174358\n5432\n\n\nnonsense 3\n",
     {.form = RECORD_POSTGRESQL, .pid = 812, .start_usec = SECONDS(1795174358)}},
    /* a stand-alone backend */
    {"/d/postmaster.pid", "-812\n/d\n1795174358\n5432\n\n\n",
     {.form = RECORD_POSTGRESQL, .pid = 812, .start_usec = SECONDS(1795174358)}},
    {"/d/postmaster.pid", "812\n/d\n1795174358\n5432\nsockets\n\n",
     {.form = RECORD_POSTGRESQL, .pid = 812, .start_usec = SECONDS(1795174358),
      .socket_path = "/d/sockets/.s.PGSQL.5432"}},
    {"/d/postmaster.pid", "812\n/d\n1795174358\n5432\n@abstract\n\n",
     {.form = RECORD_POSTGRESQL, .pid = 812, .start_usec = SECONDS(1795174358)}},
    {"/d/postmaster.pid", "812\n/d\n1795174358\n5432\n" FIFTY FIFTY "\n\n",
     {.form = RECORD_POSTGRESQL, .pid = 812, .start_usec = SECONDS(1795174358)}},
    /* the lock of a socket: the socket is told by its name */
    {"/tmp/.s.PGSQL.5432.lock", "812\n/d\n1795174358\n5432\n/elsewhere\n",
     {.form = RECORD_POSTGRESQL, .pid = 812, .start_usec = SECONDS(1795174358)}},
    /* less than that, and other things than those */
    {"/d/postmaster.pid", "812\n/d\n", {.form = RECORD_PLAIN, .pid = 812}},
    {"/d/postmaster.pid", "-812\n/d\n", {0}},
    {"/d/postmaster.pid", "812\nd\n1795174358\n5432\n", {.form = RECORD_PLAIN, .pid = 812}},
    {"/d/postmaster.pid", "812\n/d\nsoon\n5432\n", {.form = RECORD_PLAIN, .pid = 812}},
    {"/d/postmaster.pid", "812\n/d\n1795174358\n65536\n", {.form = RECORD_PLAIN, .pid = 812}},
    {"/d/postmaster.pid", "--812\n/d\n1795174358\n5432\n", {0}},
    {"/d/postmaster.pid", "-\n/d\n1795174358\n5432\n", {0}},
    {"/d/postmaster.pid", "-0\n/d\n1795174358\n5432\n", {0}},
    {"/d/postmaster.pid", "812\n/d\n18446744073709551615\n5432\n", {.form = RECORD_PLAIN, .pid = 812}},

    /* what is a link elsewhere */
    {"/home/u/.#notes", "u@web1.812:1795174358",
     {.form = RECORD_EMACS, .pid = 812, .host = "web1", .boot_usec = SECONDS(1795174358)}},
    {"/home/u/notes", "u@web1.812:1795174358", {0}},
    {"/home/u/.#notes", "u@web1.812\nmore\n", {0}},
    {"/r/.hg/wlock", "web1/f0000001:812",
     {.form = RECORD_MERCURIAL, .pid = 812, .host = "web1", .pid_namespace = 0xf0000001}},
    {"/r/.hg/store/lock", "web1:812\n", {.form = RECORD_MERCURIAL, .pid = 812, .host = "web1"}},
    {"/r/.hg/branch", "web1:812", {0}},
    {"/var/cache/apt/lock", "812\n", {.form = RECORD_PLAIN, .pid = 812}},
};

/* ---- links ---- */

static const struct sample links[] = {
    {"/home/u/.config/chromium/SingletonLock", "web1-812", {.form = RECORD_CHROME, .pid = 812, .host = "web1"}},
    {"SingletonLock", "web-1.example.org-812", {.form = RECORD_CHROME, .pid = 812, .host = "web-1.example.org"}},
    {"SingletonLock", "web1--812", {.form = RECORD_CHROME, .pid = 812, .host = "web1-"}},
    {"SingletonLock", "web1", {0}},
    {"SingletonLock", "web1-", {0}},
    {"SingletonLock", "-812", {0}},
    {"SingletonLock", "web1-0", {0}},
    {"SingletonLock", "web1-0812", {0}},
    {"SingletonLock", "web1-812x", {0}},
    {"SingletonLock", "web1-2147483648", {0}},
    {"SingletonLock", "/etc/web-812", {0}},
    {"SingletonLock", "", {0}},
    {"SingletonLock", LONG_HOST "-812", {.form = RECORD_CHROME, .pid = 812, .host = LONG_HOST}},
    {"SingletonLock", LONG_HOST "5-812", {0}},
    {"SingletonCookie", "web1-812", {0}},
    {"/opt/current", "release-12", {0}},
    {"/opt/lock", "release-12", {0}},
    {"/run/lock", "/var/lock", {0}},
    {"/run/lock", "var", {0}},

    {"/home/u/.#notes", "u@web1.example.org.812:1795174358",
     {.form = RECORD_EMACS, .pid = 812, .host = "web1.example.org", .boot_usec = SECONDS(1795174358)}},
    {".#notes", "u@web1.812", {.form = RECORD_EMACS, .pid = 812, .host = "web1"}},
    {".#notes", "u@mail@web1.812", {.form = RECORD_EMACS, .pid = 812, .host = "web1"}},
    {".#notes", "u@web1.812\357\200\2421795174358",
     {.form = RECORD_EMACS, .pid = 812, .host = "web1", .boot_usec = SECONDS(1795174358)}},
    {".#notes", "u@web1.812\357\200\242", {0}},
    {".#notes", "u@web1.812:", {0}},
    {".#notes", "u@web1.812:17x", {0}},
    {".#notes", "u@web1.812:17951743581795174358", {0}},
    {".#notes", "u@web1.812:18446744073709551615", {0}},
    {".#notes", "u@web1", {0}},
    {".#notes", "u@.812", {0}},
    {".#notes", "@web1.812", {0}},
    {".#notes", "u@web1.-812", {0}},
    {".#notes", "web1.812", {0}},
    {".#notes", "../u@web1.812", {0}},
    {".#notes", "u@../web1.812", {0}},
    {".#notes", "notes.txt", {0}},
    {".#", "u@web1.812", {0}},
    {"notes", "u@web1.812:1795174358", {0}},

    {"/r/.hg/wlock", "web1:812", {.form = RECORD_MERCURIAL, .pid = 812, .host = "web1"}},
    {"/r/.hg/store/lock", "web1.example.org/effffffc:812",
     {.form = RECORD_MERCURIAL, .pid = 812, .host = "web1.example.org", .pid_namespace = 0xeffffffc}},
    {"wlock", "web1/effffffc:", {0}},
    {"wlock", "web1/:812", {0}},
    {"wlock", "web1/0:812", {0}},
    {"wlock", "web1/xyz:812", {0}},
    {"wlock", "web1/EFFFFFFC:812", {0}},
    {"wlock", "web1/11112222333344445:812", {0}},
    {"wlock", "/effffffc:812", {0}},
    {"wlock", "a/b/effffffc:812", {0}},
    {"wlock", "/web1:812", {0}},
    {"wlock", ":812", {0}},
    {"wlock", "web1:+812", {0}},
    {"wlock", "a:b:812", {0}},
    {"hgrc", "web1/effffffc:812", {0}},

    {"/home/u/.mozilla/firefox/p/lock", "127.0.1.1:+812",
     {.form = RECORD_MOZILLA, .pid = 812, .host = "127.0.1.1"}},
    {"lock", "192.168.7.12:812", {.form = RECORD_MOZILLA, .pid = 812, .host = "192.168.7.12"}},
    {"lock", "127.0.1.1:++812", {0}},
    {"lock", "127.0.1.1:", {0}},
    {"lock", "127.0.1:+812", {0}},
    {"lock", "127.0.1.1.1:+812", {0}},
    {"lock", "1270.0.1.1:+812", {0}},
    {"lock", "127..1.1:+812", {0}},
    {"other", "127.0.1.1:+812", {0}},
};

/* ---- links that somebody says are locks ---- */

static const struct sample lock_links[] = {
    {"", "web1-812", {.form = RECORD_CHROME, .pid = 812, .host = "web1"}},
    {"", "u@web-1.812", {.form = RECORD_EMACS, .pid = 812, .host = "web-1"}},
    {"", "u@web1.812:17", {.form = RECORD_EMACS, .pid = 812, .host = "web1", .boot_usec = SECONDS(17)}},
    {"", "web-1/effffffc:812",
     {.form = RECORD_MERCURIAL, .pid = 812, .host = "web-1", .pid_namespace = 0xeffffffc}},
    {"", "127.0.1.1:+812", {.form = RECORD_MOZILLA, .pid = 812, .host = "127.0.1.1"}},
    {"", "127.0.1.1:812", {.form = RECORD_MOZILLA, .pid = 812, .host = "127.0.1.1"}},
    {"", "/etc/x-12", {0}},
    {"", "x/y-12", {0}},
    {"", "812", {0}},
    {"", "", {0}},
};
/* clang-format on */

START_TEST(test_file) {
    struct lock_record record;

    lock_record_parse(files[_i].path, files[_i].text, &record);
    check_record(&files[_i], &record);
}
END_TEST

START_TEST(test_link) {
    struct lock_record record;

    lock_record_parse_link(links[_i].path, links[_i].text, &record);
    check_record(&links[_i], &record);
}
END_TEST

START_TEST(test_lock_link) {
    struct lock_record record;

    lock_record_parse_lock_link(lock_links[_i].text, &record);
    check_record(&lock_links[_i], &record);
}
END_TEST

/* A link's text never gives a PID to a file of another name, whatever it is, and the other way round. */
START_TEST(test_only_by_name) {
    static const char *const names[] = {"/etc/alternatives/editor",
                                        "/opt/current",
                                        "lock.txt",
                                        "wlock~",
                                        "#notes",
                                        "notes",
                                        "singletonlock",
                                        "/run/lock/"};
    struct lock_record record;

    for (size_t i = 0; i < ELEMENTSOF(links); i++)
        for (size_t j = 0; j < ELEMENTSOF(names); j++) {
            lock_record_parse_link(names[j], links[i].text, &record);
            ck_assert_msg(record.form == RECORD_NONE && record.pid == 0, "%s -> %s", names[j], links[i].text);
            lock_record_parse(names[j], links[i].text, &record);
            ck_assert_msg(record.form == RECORD_NONE && record.pid == 0, "%s: %s", names[j], links[i].text);
        }
}
END_TEST

START_TEST(test_bare) {
    ck_assert(lock_record_is_bare("812\n"));
    ck_assert(lock_record_is_bare("  812 \n"));
    ck_assert(!lock_record_is_bare("812 bottles\n"));
    ck_assert(!lock_record_is_bare("web1-812"));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("record");
    TCase *tcase = tcase_create("record");

    tcase_add_loop_test(tcase, test_file, 0, ELEMENTSOF(files));
    tcase_add_loop_test(tcase, test_link, 0, ELEMENTSOF(links));
    tcase_add_loop_test(tcase, test_lock_link, 0, ELEMENTSOF(lock_links));
    tcase_add_test(tcase, test_only_by_name);
    tcase_add_test(tcase, test_bare);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
