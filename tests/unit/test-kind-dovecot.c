/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Kind=dovecot, with a stand-in for Dovecot's executable that prints, fails, hangs or floods: really
 * executed. */

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/strlist.h"
#include "config/kind-dovecot.h"
#include "config/kind.h"
#include "exec/capture.h"

#include "suite.h"

static char directory[64], dovecot[96];
static struct service_config *config;
static struct config_problems problems;

static void setup(void) {
    strcpy(directory, "/tmp/test-kind-dovecot.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(dovecot, sizeof dovecot, "%s/dovecot", directory);
    config = calloc(1, sizeof *config);
    ck_assert_ptr_nonnull(config);
    config->name = strdup("mail");
    config->file = strdup("/etc/latchd/mail.conf");
    config->kind = SERVICE_KIND_DOVECOT;
}

static void teardown(void) {
    char command[128];

    config = service_config_free(config);
    config_problems_done(&problems);
    problems = (struct config_problems){0};
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    ck_assert_int_eq(system(command), 0);
}

/* The stand-in: a script with $DATA for the recorded outputs and $DIR for the test's directory. */
static void stand_in(const char *script) {
    const char *srcdir = getenv("srcdir");
    _cleanup_free_ char *data = NULL, *real = NULL;
    FILE *file = fopen(dovecot, "we");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(asprintf(&data, "%s/tests/data/dovecot", srcdir ? srcdir : "."), 0);
    real = realpath(data, NULL);
    ck_assert_ptr_nonnull(real);
    fprintf(file, "#!/bin/sh\nDATA='%s'\nDIR='%s'\n%s\n", real, directory, script);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_int_eq(chmod(dovecot, 0755), 0);
}

_sentinel_ static void set_command(const char *first, ...) {
    va_list ap;

    va_start(ap, first);
    for (const char *word = first; word; word = va_arg(ap, const char *))
        ck_assert_int_eq(strlist_append(&config->exec_start, NULL, strdup(word)), 0);
    va_end(ap);
}

static void assert_read(void) {
    int r = kind_read(config, capture_run, &problems);

    ck_assert_msg(r == 0 && problems.n == 0, "%d: %s", r, problems.n > 0 ? problems.lines[0] : "");
}

static void assert_refused(const char *part) {
    static const char place[] = "/etc/latchd/mail.conf: ";

    ck_assert_int_eq(kind_read(config, capture_run, &problems), -EINVAL);
    ck_assert_uint_eq(problems.n, 1);
    ck_assert_msg(strncmp(problems.lines[0], place, strlen(place)) == 0 && strstr(problems.lines[0], part),
                  "%s", problems.lines[0]);
}

static void assert_socket(const char *name, const char *listen) {
    const struct socket_config *socket = service_config_find_socket(config, name);

    ck_assert_msg(socket != NULL, "no socket %s", name);
    ck_assert_str_eq(socket->listen, listen);
    ck_assert_int_eq(socket->owner, SOCKET_OWNER_DAEMON);
    ck_assert_int_eq(socket->probe, SOCKET_PROBE_CONNECT);
    ck_assert(socket->lock_none);
    ck_assert_ptr_null(socket->lock.path);
}

START_TEST(plain) {
    stand_in("cat \"$DATA/default.txt\"");
    set_command(dovecot, "-F", NULL);
    assert_read();
    ck_assert_str_eq(config->config_file, "/etc/dovecot/dovecot.conf");
    ck_assert_int_eq(config->type, SERVICE_TYPE_SOCKET);
    ck_assert_uint_eq(config->n_locks, 1);
    ck_assert_str_eq(config->locks[0]->name, "pidfile");
    ck_assert_str_eq(config->locks[0]->path, "/run/dovecot/master.pid");
    ck_assert_int_eq(config->locks[0]->style, LOCK_STYLE_PIDFILE);
    ck_assert_uint_eq(config->n_sockets, 3);
    assert_socket("master", "/run/dovecot/master");
    assert_socket("imap", "127.0.0.1:143");
    assert_socket("imaps", "127.0.0.1:993");
    ck_assert_uint_eq(config->client_limit, 1000);
    ck_assert(!config->limits[RLIMIT_NOFILE].set);
    ck_assert(strlist_contains(config->orphan_allow, "/usr/lib/dovecot/imap-login"));
    ck_assert(strlist_contains(config->orphan_allow, "/usr/lib/dovecot/auth"));
    ck_assert(!strlist_contains(config->orphan_allow, "/usr/lib/dovecot/pop3"));
}
END_TEST

START_TEST(mailhost) {
    stand_in("cat \"$DATA/mailhost.txt\"");
    set_command(dovecot, "-F", NULL);
    config->type = SERVICE_TYPE_SIMPLE;
    config->type_set = true;
    config->client_limit = 77;
    assert_read();
    ck_assert_int_eq(config->type, SERVICE_TYPE_SIMPLE); /* what the administrator wrote stays */
    ck_assert_uint_eq(config->client_limit, 77);
    ck_assert_str_eq(config->locks[0]->path, "/run/mail/dovecot/master.pid");
    assert_socket("master", "/run/mail/dovecot/master");
    assert_socket("imaps", "127.0.0.1:993");
    assert_socket("listener", "localhost:10143"); /* "with blank" is no name of ours */
    assert_socket("pop3s", "192.0.2.10:995");
    assert_socket("auth", "/var/spool/postfix/private/auth");
    assert_socket("lmtp", "/var/spool/postfix/private/dovecot-lmtp");
    ck_assert_ptr_null(service_config_find_socket(config, "lmtp2")); /* its mode is 0 */
}
END_TEST

/* What Dovecot is asked with: its own executable, its file, the service's environment and directory. */
START_TEST(question) {
    _cleanup_free_ char *text = NULL, *path = NULL, *expected = NULL;
    size_t size;

    stand_in("echo \"$PWD|$*|$COLOUR\" >\"$DIR/asked\"; cat \"$DATA/default.txt\"");
    set_command("env", "X=1", dovecot, "-Fc", "${FILE}", NULL);
    config->working_directory = strdup(directory);
    ck_assert_int_eq(strlist_append(&config->environment, NULL, strdup("COLOUR=blue")), 0);
    ck_assert_int_eq(strlist_append(&config->environment, NULL, strdup("FILE=other.conf")), 0);
    assert_read();
    ck_assert_int_ge(asprintf(&path, "%s/asked", directory), 0);
    ck_assert_int_ge(asprintf(&expected, "%s|-a -c other.conf|blue\n", directory), 0);
    ck_assert_int_eq(fd_read_file_at(AT_FDCWD, path, 1000, &text, &size), 0);
    ck_assert_str_eq(text, expected);
    free(expected);
    ck_assert_int_ge(asprintf(&expected, "%s/other.conf", directory), 0);
    ck_assert_str_eq(config->config_file, expected);
}
END_TEST

START_TEST(own_sections) {
    struct socket_config *socket;
    struct lock_config *lock;

    stand_in("cat \"$DATA/default.txt\"");
    set_command(dovecot, "-F", NULL);
    socket = service_config_add_socket(config, "mine");
    socket->owner = _i == 0 ? SOCKET_OWNER_DAEMON : SOCKET_OWNER_LATCHD;
    socket->listen = strdup("/run/dovecot/master");
    socket->probe = SOCKET_PROBE_NONE;
    lock = service_config_add_lock(config, "pid");
    lock->style = LOCK_STYLE_PIDFILE;
    lock->path = strdup("/run/dovecot/master.pid");
    if (_i == 1) {
        assert_refused("[Socket mine]: Owner=latchd cannot work");
        return;
    }
    assert_read();
    ck_assert_uint_eq(config->n_locks, 1);
    ck_assert_ptr_null(service_config_find_socket(config, "master"));
    ck_assert_int_eq(socket->probe, SOCKET_PROBE_NONE);
}
END_TEST

static const struct {
    const char *words[6], *config_file, *complaint;
} commands[] = {
    {{NULL}, NULL, "without -F: it would go into the background"},
    {{"-c", "/etc/d.conf"}, NULL, "-F -c /etc/d.conf"},
    {{"-F", "stop"}, NULL, "ExecStart= has 'stop', with which"},
    {{"-Fn"}, NULL, "ExecStart= has '-Fn'"},
    {{"--version"}, NULL, "ExecStart= has '--version'"},
    {{"-F", "-c", "/etc/d.conf"}, "/etc/e.conf", "with -c /etc/d.conf: they must be the same file"},
    {{"-F"}, "/etc/e.conf", "with its own, /etc/dovecot/dovecot.conf: they must be the same file"},
    {{"-i", "-F"}, NULL, "without -F"},
};

START_TEST(command_mistakes) {
    stand_in("cat \"$DATA/default.txt\"");
    set_command(dovecot, commands[_i].words[0], commands[_i].words[1], commands[_i].words[2], NULL);
    config->config_file = commands[_i].config_file ? strdup(commands[_i].config_file) : NULL;
    assert_refused(commands[_i].complaint);
}
END_TEST

static const struct {
    const char *script, *complaint;
} failures[] = {
    {"echo 'doveconf: Warning: NOTE' >&2; echo 'doveconf: Fatal: Error in configuration file /x line 3: "
     "Unknown "
     "setting: foo' >&2; echo after >&2; exit 89",
     "status 89): doveconf: Fatal: Error in configuration file /x line 3: Unknown setting: foo"},
    {"exit 1", "it says nothing"},
    {"kill -9 $$", "status 137"},
    {"echo garbage", "line 1 of what Dovecot tells of its configuration is neither"},
    {"printf '\\000\\001\\377\\377'", "is no text"},
    {"true", "no configuration of Dovecot"},
    {"head -c 500 \"$DATA/default.txt\"", "line"},
    {"head -c 16777216 /dev/zero", "printed more than 8.0M"},
    {"yes 'base_dir = /run'", "printed more than 8.0M"},
    {"head -c 100000 /dev/zero | tr '\\000' x >&2; exit 3", "status 3): xxxx"},
    {"exec sleep 1000", "did not end within 6s"},
    {"exec yes it hurts >&2", "did not end within 6s"},
    {"yes >&2 & cat \"$DATA/default.txt\"; exit 4", "status 4"},
    {"exec >&- 2>&-; exec sleep 1000", "did not end within 6s"},
};

START_TEST(failing) {
    struct timespec begin, end;

    stand_in(failures[_i].script);
    set_command(dovecot, "-F", NULL);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    assert_refused(failures[_i].complaint);
    clock_gettime(CLOCK_MONOTONIC, &end);
    ck_assert_int_lt(end.tv_sec - begin.tv_sec, 10);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1); /* nobody is left */
    ck_assert_int_eq(errno, ECHILD);
    ck_assert_uint_eq(config->n_sockets, 0);
}
END_TEST

/* One that leaves a descendant behind with its output: what it printed is complete all the same. */
START_TEST(descendant) {
    stand_in("cat \"$DATA/default.txt\"; sleep 30 &");
    set_command(dovecot, "-F", NULL);
    assert_read();
}
END_TEST

START_TEST(missing) {
    if (_i == 0) { /* as in PATH= */
        set_command("/opt/start-mail", NULL);
        ck_assert_int_eq(strlist_append(&config->environment, NULL, strdup("PATH=/nonexistent")), 0);
        assert_refused("Dovecot cannot be asked for its configuration: ");
    } else {
        stand_in("exit 0");
        ck_assert_int_eq(chmod(dovecot, _i == 1 ? 0644 : 0755), 0);
        if (_i == 2)
            ck_assert_int_eq(truncate(dovecot, 0), 0);
        set_command(dovecot, "-F", NULL);
        assert_refused(_i == 1 ? "Dovecot cannot be asked for its configuration: " : "dovecot");
    }
}
END_TEST

/* A program that starts Dovecot by its own means: doveconf is asked. */
START_TEST(wrapped) {
    _cleanup_free_ char *path = NULL, *doveconf = NULL;

    stand_in("[ \"$*\" = '-a -c /etc/mine.conf' ] && cat \"$DATA/default.txt\"");
    ck_assert_int_ge(asprintf(&doveconf, "%s/doveconf", directory), 0);
    ck_assert_int_eq(rename(dovecot, doveconf), 0);
    ck_assert_int_ge(asprintf(&path, "PATH=%s:/usr/bin:/bin", directory), 0);
    ck_assert_int_eq(strlist_append(&config->environment, NULL, TAKE_PTR(path)), 0);
    set_command("/opt/start-mail", NULL);
    config->config_file = strdup("/etc/mine.conf");
    assert_read();
    ck_assert_str_eq(config->config_file, "/etc/mine.conf");
}
END_TEST

START_TEST(nobody_executes) {
    stand_in("cat \"$DATA/default.txt\"");
    set_command(dovecot, "-F", NULL);
    ck_assert_int_eq(kind_read(config, NULL, &problems), -EINVAL);
    ck_assert_ptr_nonnull(strstr(problems.lines[0], "Dovecot itself has to be asked"));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("kind-dovecot");
    TCase *tests = tcase_create("all");

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, plain);
    tcase_add_test(tests, mailhost);
    tcase_add_test(tests, question);
    tcase_add_loop_test(tests, own_sections, 0, 2);
    tcase_add_loop_test(tests, command_mistakes, 0, ELEMENTSOF(commands));
    tcase_add_loop_test(tests, failing, 0, ELEMENTSOF(failures));
    tcase_add_test(tests, descendant);
    tcase_add_loop_test(tests, missing, 0, 3);
    tcase_add_test(tests, wrapped);
    tcase_add_test(tests, nobody_executes);
    suite_add_tcase(suite, tests);

    return suite_run(suite);
}
