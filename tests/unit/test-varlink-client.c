/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/value.h"
#include "varlink/client.h"
#include "varlink/wire.h"

#include "suite.h"

#define NAME "a.sock"
#define SOON (100 * USEC_PER_MSEC)
#define LONG (20 * USEC_PER_SEC)

static char dir[64];
static int dir_fd;
static pid_t child;

static void set_up(void) {
    (void) snprintf(dir, sizeof(dir), "/tmp/test-varlink-client.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(dir_fd, 0);
    child = 0;
}

static void tear_down(void) {
    if (child > 0) {
        (void) kill(child, SIGKILL);
        (void) waitpid(child, NULL, 0);
    }
    (void) unlinkat(dir_fd, NAME, 0);
    close(dir_fd);
    ck_assert_int_eq(rmdir(dir), 0);
}

static const char *path(void) {
    static char buffer[96];

    (void) snprintf(buffer, sizeof(buffer), "%s/%s", dir, NAME);
    return buffer;
}

static int listen_at(const char *where, int backlog) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s", where);
    ck_assert_int_eq(bind(fd, (struct sockaddr *) &address, sizeof(address)), 0);
    ck_assert_int_eq(listen(fd, backlog), 0);
    return fd;
}

/* A client of a peer that runs `script` in a process of its own. */
static struct varlink_client *client_of(void (*script)(int fd)) {
    struct varlink_client *client;
    struct err err = {0};
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        close(pair[0]);
        script(pair[1]);
        _exit(0);
    }
    close(pair[1]);
    ck_assert_int_eq(varlink_client_new(pair[0], "the test", &client, &err), 0);
    return client;
}

/* In the child: waits for one call, which must be `text` (NULL: anything). */
static void hear(int fd, const char *text) {
    struct varlink_input input = VARLINK_INPUT_INIT((size_t) 8 << 20);
    json_t *message, *expected;

    while (varlink_input_take(&input, &message) == 0) {
        size_t size;
        ssize_t got;
        char *to;

        if (varlink_input_reserve(&input, &to, &size) <= 0 || (got = read(fd, to, size)) <= 0)
            _exit(2);
        varlink_input_commit(&input, (size_t) got);
    }
    expected = text ? json_loads(text, 0, NULL) : json_incref(message);
    if (!json_equal(message, expected))
        _exit(3);
    json_decref(message);
    json_decref(expected);
    varlink_input_done(&input);
}

static void say(int fd, const char *text) {
    if (write(fd, text, strlen(text) + 1) < 0)
        _exit(4);
}

static void child_is_content(void) {
    int status;

    ck_assert_int_eq(waitpid(child, &status, 0), child);
    child = 0;
    ck_assert_int_eq(status, 0);
}

static void answer_in_pieces(int fd) {
    static const char text[] = "{\"parameters\":{\"n\":1}}";

    hear(fd, "{\"method\":\"a.b.C\",\"parameters\":{\"x\":1}}");
    for (size_t i = 0; i < sizeof(text); i++) {
        if (write(fd, text + i, 1) != 1)
            _exit(5);
        (void) usleep(500);
    }
    hear(fd, "{\"method\":\"a.b.D\",\"parameters\":{}}");
    say(fd, "{}");
}

START_TEST(call) {
    _cleanup_varlink_client_ struct varlink_client *client = client_of(answer_in_pieces);
    struct err err = {0};
    json_t *answer;

    ck_assert_int_eq(
        varlink_client_call(client, "a.b.C", json_pack("{s:i}", "x", 1), LONG, &answer, NULL, &err), 0);
    ck_assert_int_eq(json_integer_value(json_object_get(answer, "n")), 1);
    json_decref(answer);
    ck_assert_int_eq(varlink_client_call(client, "a.b.D", NULL, LONG, &answer, NULL, &err), 0);
    ck_assert(json_is_object(answer));
    json_decref(answer);
    child_is_content();
    ck_assert_int_eq(varlink_client_call(client, "a.b.D", NULL, LONG, NULL, NULL, &err), -ECONNRESET);
    err_done(&err);
}
END_TEST

static void take_long(int fd) {
    (void) usleep(200000);
    hear(fd, NULL);
    say(fd, "{\"parameters\":{}}");
}

START_TEST(big_call) {
    _cleanup_varlink_client_ struct varlink_client *client = client_of(take_long);
    size_t size = (size_t) 4 << 20;
    _cleanup_free_ char *text = malloc(size);
    struct err err = {0};

    /* More than any send buffer: it goes out in parts, once the peer reads. */
    memset(text, 'x', size);
    text[size - 1] = 0;
    ck_assert_int_eq(
        varlink_client_call(client, "a.b.C", json_pack("{s:s}", "x", text), LONG, NULL, NULL, &err), 0);
    child_is_content();
}
END_TEST

static void errors_of_all_kinds(int fd) {
    hear(fd, NULL);
    say(fd,
        "{\"error\":\"io.latchd.Supervisor.Held\",\"parameters\":{\"message\":\"held by\\n\\u001b[31m 7\","
        "\"holders\":[{\"pid\":7}]}}");
    hear(fd, NULL);
    say(fd, "{\"error\":\"org.varlink.service.MethodNotFound\",\"parameters\":{\"method\":\"a.b.C\"}}");
    hear(fd, NULL);
    say(fd, "{\"error\":\"com.example.Odd\"}");
    hear(fd, NULL);
    say(fd, "{\"parameters\":{}}");
}

START_TEST(error_answers) {
    _cleanup_varlink_client_ struct varlink_client *client = client_of(errors_of_all_kinds);
    json_t *parameters = NULL;
    struct err err = {0};

    ck_assert_int_eq(varlink_client_call(client, "a.b.C", NULL, LONG, NULL, &parameters, &err), -EBUSY);
    ck_assert_str_eq(err.name, "Held");
    ck_assert_str_eq(err.message, "held by??[31m 7");
    ck_assert_uint_eq(json_array_size(json_object_get(parameters, "holders")), 1);
    json_decref(parameters);
    parameters = NULL;
    ck_assert_int_eq(varlink_client_call(client, "a.b.C", NULL, LONG, NULL, &parameters, &err), -EOPNOTSUPP);
    ck_assert_str_eq(err.name, "MethodNotFound");
    ck_assert_ptr_nonnull(strstr(err.message, "a.b.C"));
    json_decref(parameters);
    parameters = NULL;
    ck_assert_int_eq(varlink_client_call(client, "a.b.C", NULL, LONG, NULL, &parameters, &err), -EREMOTEIO);
    ck_assert_str_eq(err.name, "Failed");
    ck_assert_ptr_nonnull(strstr(err.message, "com.example.Odd"));
    ck_assert_ptr_null(parameters);
    /* An error is an answer like others: the connection is as good as before. */
    ck_assert_int_eq(varlink_client_call(client, "a.b.C", NULL, LONG, NULL, NULL, &err), 0);
    err_done(&err);
    child_is_content();
}
END_TEST

static void end_after_call(int fd) {
    hear(fd, NULL);
}
static void end_in_answer(int fd) {
    hear(fd, NULL);
    if (write(fd, "{\"par", 5) != 5)
        _exit(5);
}
static void end_at_once(int fd) {
    close(fd);
}
static void turn_away(int fd) {
    say(fd, "{\"error\":\"io.latchd.Supervisor.Busy\",\"parameters\":{\"message\":\"full\"}}");
    close(fd);
}
static void no_object(int fd) {
    hear(fd, NULL);
    say(fd, "[]");
}
static void odd_error(int fd) {
    hear(fd, NULL);
    say(fd, "{\"error\":1}");
}
static void odd_parameters(int fd) {
    hear(fd, NULL);
    say(fd, "{\"parameters\":[]}");
}
static void endless(int fd) {
    static const char spaces[1 << 16] = {[0 ...(1 << 16) - 1] = ' '};

    while (write(fd, spaces, sizeof(spaces)) > 0)
        ;
}
static void silent(int fd) {
    (void) fd;
    (void) pause();
}

static const struct {
    void (*script)(int fd);
    int result;
    const char *name;
} endings[] = {
    {end_after_call, -ECONNRESET, "Disconnected"},
    {end_in_answer, -ECONNRESET, "Disconnected"},
    {end_at_once, -ECONNRESET, "Disconnected"},
    {turn_away, -EAGAIN, "Busy"},
    {no_object, -EPROTO, "Failed"},
    {odd_error, -EPROTO, "Failed"},
    {odd_parameters, -EPROTO, "Failed"},
    {endless, -EMSGSIZE, "Failed"},
    {silent, -ETIMEDOUT, "Timeout"},
};

START_TEST(bad_endings) {
    _cleanup_varlink_client_ struct varlink_client *client = client_of(endings[_i].script);
    uint64_t begin = now_usec(CLOCK_MONOTONIC);
    struct err err = {0};
    int r;

    if (endings[_i].script == end_at_once || endings[_i].script == turn_away)
        child_is_content();
    r = varlink_client_call(client, "a.b.C", NULL, endings[_i].script == silent ? SOON : LONG, NULL, NULL,
                            &err);
    ck_assert_int_eq(r, endings[_i].result);
    ck_assert_str_eq(err.name, endings[_i].name);
    ck_assert_ptr_nonnull(err.message);
    if (endings[_i].script == silent)
        ck_assert_uint_ge(now_usec(CLOCK_MONOTONIC) - begin, SOON);
    ck_assert_uint_lt(now_usec(CLOCK_MONOTONIC) - begin, LONG);

    /* Nobody takes a late answer for that of the next call. */
    ck_assert_int_eq(varlink_client_call(client, "a.b.C", json_object(), SOON, NULL, NULL, &err),
                     -ECONNRESET);
    ck_assert_str_eq(err.name, "Disconnected");
    err_done(&err);
}
END_TEST

/* The peer does not even read. */
START_TEST(send_times_out) {
    _cleanup_varlink_client_ struct varlink_client *client = client_of(silent);
    size_t size = (size_t) 4 << 20;
    _cleanup_free_ char *text = malloc(size);
    struct err err = {0};

    memset(text, 'x', size);
    text[size - 1] = 0;
    ck_assert_int_eq(
        varlink_client_call(client, "a.b.C", json_pack("{s:s}", "x", text), SOON, NULL, NULL, &err),
        -ETIMEDOUT);
    ck_assert_str_eq(err.name, "Timeout");
    err_done(&err);
}
END_TEST

static void three(int fd) {
    hear(fd, "{\"method\":\"a.b.C\",\"parameters\":{},\"more\":true}");
    say(fd, "{\"parameters\":{\"n\":0},\"continues\":true}");
    say(fd, "{\"parameters\":{\"n\":1},\"continues\":true}");
    (void) usleep(20000);
    say(fd, "{\"parameters\":{\"n\":2}}");
}

static int count(json_t *parameters, void *userdata) {
    int *n = userdata;

    ck_assert_int_eq(json_integer_value(json_object_get(parameters, "n")), *n);
    (*n)++;
    return 0;
}

static int stop_at_two(json_t *parameters, void *userdata) {
    (void) count(parameters, userdata);
    return *(int *) userdata == 2 ? 42 : 0;
}

START_TEST(observe) {
    _cleanup_varlink_client_ struct varlink_client *client = client_of(three);
    struct err err = {0};
    int n = 0;

    ck_assert_int_eq(varlink_client_observe(client, "a.b.C", NULL, LONG, count, &n, NULL, &err), 0);
    ck_assert_int_eq(n, 3);
    child_is_content();
}
END_TEST

START_TEST(observe_stops) {
    _cleanup_varlink_client_ struct varlink_client *client = client_of(three);
    struct err err = {0};
    int n = 0;

    ck_assert_int_eq(varlink_client_observe(client, "a.b.C", NULL, LONG, stop_at_two, &n, NULL, &err), 42);
    ck_assert_int_eq(n, 2);
    ck_assert_int_eq(varlink_client_call(client, "a.b.C", NULL, SOON, NULL, NULL, &err), -ECONNRESET);
    err_done(&err);
    child_is_content();
}
END_TEST

START_TEST(parts) {
    _cleanup_varlink_client_ struct varlink_client *client = client_of(three);
    struct err err = {0};
    bool continues = true;
    json_t *answer;
    int n = 0;

    ck_assert_int_eq(varlink_client_receive(client, 0, &answer, &continues, NULL, &err), -ETIMEDOUT);
    ck_assert_int_eq(varlink_client_send(client, "a.b.C", NULL, true, LONG, &err), 0);
    while (continues) {
        int r = varlink_client_receive(client, 0, &answer, &continues, NULL, &err);

        if (r == -ETIMEDOUT) {
            (void) usleep(1000);
            continue;
        }
        ck_assert_int_eq(r, 0);
        (void) count(answer, &n);
        json_decref(answer);
    }
    ck_assert_int_eq(n, 3);
    err_done(&err);
    child_is_content();
}
END_TEST

START_TEST(nobody_there) {
    struct varlink_client *client;
    struct err err = {0};
    int fd;

    ck_assert_int_eq(varlink_client_connect(AT_FDCWD, path(), LONG, &client, &err), -ENOENT);
    ck_assert_str_eq(err.name, "NotRunning");
    ck_assert_ptr_nonnull(strstr(err.message, path()));
    ck_assert_int_eq(varlink_client_connect(dir_fd, NAME, LONG, &client, &err), -ENOENT);
    fd = listen_at(path(), 1);
    close(fd);
    ck_assert_int_eq(varlink_client_connect(AT_FDCWD, path(), LONG, &client, &err), -ECONNREFUSED);
    ck_assert_str_eq(err.name, "NotRunning");
    ck_assert_int_eq(varlink_client_connect(dir_fd, NAME, LONG, &client, &err), -ECONNREFUSED);
    err_done(&err);
}
END_TEST

START_TEST(not_permitted) {
    struct varlink_client *client;
    struct err err = {0};
    int status, fd;

    if (geteuid() != 0)
        return;
    fd = listen_at(path(), 1);
    child = fork();
    if (child == 0) {
        int r;

        if (setresuid(65534, 65534, 65534) < 0)
            _exit(2);
        r = varlink_client_connect(AT_FDCWD, path(), LONG, &client, &err);
        _exit(r == -EACCES && strcmp(err.name, "NotPermitted") == 0 ? 0 : 3);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    child = 0;
    ck_assert_int_eq(status, 0);
    close(fd);
}
END_TEST

START_TEST(full_queue) {
    struct varlink_client *first, *second, *client;
    int fd = listen_at(path(), 0); /* admits one */
    uint64_t begin = now_usec(CLOCK_MONOTONIC);
    struct err err = {0};

    ck_assert_int_eq(varlink_client_connect(AT_FDCWD, path(), SOON, &first, &err), 0);
    ck_assert_int_eq(varlink_client_connect(AT_FDCWD, path(), SOON, &client, &err), -EAGAIN);
    ck_assert_str_eq(err.name, "Busy");
    ck_assert_uint_ge(now_usec(CLOCK_MONOTONIC) - begin, SOON);
    ck_assert_int_eq(varlink_client_connect(AT_FDCWD, path(), 0, &client, &err), -EAGAIN);

    /* Room in time. */
    child = fork();
    if (child == 0) {
        (void) usleep(200000);
        (void) accept(fd, NULL, NULL);
        (void) pause();
    }
    ck_assert_int_eq(varlink_client_connect(AT_FDCWD, path(), LONG, &second, &err), 0);
    varlink_client_free(first);
    varlink_client_free(second);
    err_done(&err);
    close(fd);
}
END_TEST

START_TEST(long_path) {
    char name[201] = "", relative[300], full[400], proc[64];
    struct varlink_client *client;
    struct err err = {0};
    int fd, below;

    memset(name, 'd', 200);
    ck_assert_int_eq(mkdirat(dir_fd, name, 0700), 0);
    below = openat(dir_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    (void) snprintf(proc, sizeof(proc), "/proc/self/fd/%d/%s", below, NAME);
    (void) snprintf(relative, sizeof(relative), "%s/%s", name, NAME);
    (void) snprintf(full, sizeof(full), "%s/%s", dir, relative);

    ck_assert_int_eq(varlink_client_connect(AT_FDCWD, full, SOON, &client, &err), -ENOENT);
    ck_assert_str_eq(err.name, "NotRunning");
    fd = listen_at(proc, 8);
    ck_assert_int_eq(varlink_client_connect(AT_FDCWD, full, SOON, &client, &err), 0);
    ck_assert_int_ge(varlink_client_fd(client), 0);
    varlink_client_free(client);
    ck_assert_int_eq(varlink_client_connect(dir_fd, relative, SOON, &client, &err), 0);
    varlink_client_free(client);
    ck_assert_int_eq(varlink_client_connect(below, NAME, SOON, &client, &err), 0);
    varlink_client_free(client);
    close(fd);
    ck_assert_int_eq(unlinkat(below, NAME, 0), 0);
    ck_assert_int_eq(unlinkat(dir_fd, name, AT_REMOVEDIR), 0);
    close(below);
    err_done(&err);
}
END_TEST

/* Each error of the interface's definition is known here. */
START_TEST(errors_of_definition) {
    const char *srcdir = getenv("srcdir");
    char file[512], line[512], full[300], word[200];
    unsigned n = 0;
    FILE *f;

    (void) snprintf(file, sizeof(file), "%s/doc/io.latchd.Supervisor.varlink", srcdir ? srcdir : ".");
    f = fopen(file, "re");
    ck_assert_msg(f != NULL, "no %s", file);
    while (fgets(line, sizeof(line), f)) {
        int number;

        if (sscanf(line, "error %199[A-Za-z]", word) != 1)
            continue;
        n++;
        (void) snprintf(full, sizeof(full), "io.latchd.Supervisor.%s", word);
        ck_assert_str_eq(varlink_client_error_name(full, &number), word);
        ck_assert_int_gt(number, 0);
    }
    (void) fclose(f);
    ck_assert_uint_ge(n, 7);
    ck_assert_str_eq(varlink_client_error_name("io.latchd.Supervisor.Other", NULL), "Failed");
    ck_assert_str_eq(varlink_client_error_name("Held", NULL), "Failed");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("varlink-client");
    TCase *tcase = tcase_create("client");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, call);
    tcase_add_test(tcase, big_call);
    tcase_add_test(tcase, error_answers);
    tcase_add_loop_test(tcase, bad_endings, 0, (int) ELEMENTSOF(endings));
    tcase_add_test(tcase, send_times_out);
    tcase_add_test(tcase, observe);
    tcase_add_test(tcase, observe_stops);
    tcase_add_test(tcase, parts);
    tcase_add_test(tcase, nobody_there);
    tcase_add_test(tcase, not_permitted);
    tcase_add_test(tcase, full_queue);
    tcase_add_test(tcase, long_path);
    tcase_add_test(tcase, errors_of_definition);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
