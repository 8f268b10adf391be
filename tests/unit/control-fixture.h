/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A control server in the test's own process, run a step at a time, and clients of it. */

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/value.h"
#include "control/server.h"
#include "varlink/wire.h"

#include "suite.h"

#define NAME "a.sock"
#define T "org.example.test."
#define S "org.varlink.service."
#define PATIENCE_USEC (20 * USEC_PER_SEC) /* for what has to happen */

/* The server under test runs in this process, a step at a time. */
static struct {
    char dir[64];
    int dir_fd;
    sd_event *event;
    struct control_server *server;
    struct control_call *kept;
    unsigned runs, gone;
    int stream_result;
} t;

/* One of its clients. */
struct peer {
    int fd;
    struct varlink_input input;
};

static inline int echo(struct control_call *call, json_t *parameters, void *userdata) {
    ck_assert_ptr_eq(userdata, &t);
    t.runs++;
    return control_call_reply(call, json_incref(parameters));
}

static inline int change(struct control_call *call, json_t *parameters, void *userdata) {
    (void) parameters;
    (void) userdata;
    ck_assert(control_call_is_privileged(call));
    t.runs++;
    return control_call_reply(call, NULL);
}

static inline int who(struct control_call *call, json_t *parameters, void *userdata) {
    const struct ucred *peer = control_call_peer(call);

    (void) parameters;
    (void) userdata;
    return control_call_reply(call,
                              json_pack("{s:i, s:i, s:b}", "uid", (int) peer->uid, "pid", (int) peer->pid,
                                        "privileged", control_call_is_privileged(call)));
}

static inline void on_gone(struct control_call *call, void *userdata) {
    ck_assert_ptr_eq(userdata, &t);
    ck_assert(!control_call_is_connected(call));
    t.gone++;
}

static inline int keep(struct control_call *call, json_t *parameters, void *userdata) {
    (void) parameters;
    (void) userdata;
    ck_assert_ptr_null(t.kept);
    t.kept = control_call_ref(call);
    control_call_set_gone(call, on_gone, &t);
    return 0;
}

static inline int big(struct control_call *call, json_t *parameters, void *userdata) {
    size_t size = (size_t) json_integer_value(json_object_get(parameters, "size"));
    _cleanup_free_ char *text = malloc(size + 1);

    (void) userdata;
    ck_assert_ptr_nonnull(text);
    memset(text, 'x', size);
    text[size] = 0;
    t.runs++;
    return control_call_reply(call, json_pack("{s:s}", "text", text));
}

static inline int stream(struct control_call *call, json_t *parameters, void *userdata) {
    (void) parameters;
    (void) userdata;
    for (int i = 0; i < 3; i++) {
        t.stream_result = control_call_reply_more(call, json_pack("{s:i}", "n", i));
        if (t.stream_result < 0)
            return control_call_error(call, "NotMore", "ask for more", json_pack("{s:i}", "n", i));
    }
    return control_call_reply(call, json_pack("{s:i}", "n", 3));
}

static inline int twice(struct control_call *call, json_t *parameters, void *userdata) {
    (void) parameters;
    (void) userdata;
    ck_assert_int_eq(control_call_reply(call, NULL), 0);
    ck_assert_int_eq(control_call_reply(call, json_object()), -EALREADY);
    ck_assert_int_eq(control_call_error(call, "Failed", "no", json_object()), -EALREADY);
    return 0;
}

static inline int forget(struct control_call *call, json_t *parameters, void *userdata) {
    (void) call;
    (void) userdata;
    return (int) json_integer_value(json_object_get(parameters, "result"));
}

static inline int end(struct control_call *call, json_t *parameters, void *userdata) {
    (void) parameters;
    (void) userdata;
    control_server_free(TAKE_PTR(t.server));
    ck_assert_int_eq(control_call_reply(call, NULL), -ENOTCONN);
    return 0;
}

static const struct control_method methods[] = {
    {.name = "Echo", .run = echo},     {.name = "Change", .run = change, .changes = true},
    {.name = "Who", .run = who},       {.name = "Keep", .run = keep},
    {.name = "Big", .run = big},       {.name = "Stream", .run = stream},
    {.name = "Forget", .run = forget}, {.name = "End", .run = end},
    {.name = "Twice", .run = twice},
};

static struct control_interface interface = {
    .name = "org.example.test",
    .description = "interface org.example.test\nmethod Echo() -> ()\n",
    .methods = methods,
    .n_methods = ELEMENTSOF(methods),
    .version = "1.2",
};

static inline void set_up(void) {
    struct rlimit files = {.rlim_cur = 4096, .rlim_max = 4096};
    struct err err = {0};

    (void) setrlimit(RLIMIT_NOFILE, &files);
    memset(&t, 0, sizeof(t));
    (void) snprintf(t.dir, sizeof(t.dir), "/tmp/test-control-server.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(t.dir));
    ck_assert_int_eq(chmod(t.dir, 0755), 0);
    t.dir_fd = open(t.dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(t.dir_fd, 0);
    ck_assert_int_ge(sd_event_new(&t.event), 0);
    interface.admin_group = NULL;
    ck_assert_int_eq(control_server_new(t.event, t.dir_fd, NAME, &interface, &t, &t.server, &err), 0);
}

static inline void tear_down(void) {
    control_server_free(t.server);
    control_call_unref(t.kept);
    sd_event_unref(t.event);
    (void) unlinkat(t.dir_fd, NAME, 0);
    close(t.dir_fd);
    ck_assert_int_eq(rmdir(t.dir), 0); /* nothing is left behind */
}

/* Lets the server do what it can do now. Returns how often it woke. */
static inline int step(void) {
    int n = 0, r;

    while ((r = sd_event_run(t.event, 0)) > 0 && n < 1000)
        n++;
    ck_assert_int_ge(r, 0);
    return n;
}

/* The same for some time, sleeping as the event loop does. */
static inline int linger(uint64_t usec) {
    uint64_t until = now_usec(CLOCK_MONOTONIC) + usec, now;
    int n = 0;

    while ((now = now_usec(CLOCK_MONOTONIC)) < until) {
        int r = sd_event_run(t.event, until - now);

        ck_assert_int_ge(r, 0);
        n += r > 0;
    }
    return n;
}

static inline int connect_fd(int fd) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    (void) snprintf(address.sun_path, sizeof(address.sun_path), "%.60s/%s", t.dir, NAME);
    return connect(fd, (struct sockaddr *) &address, sizeof(address));
}

static inline struct peer peer_new(void) {
    struct peer peer = {
        .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
        .input = VARLINK_INPUT_INIT((size_t) 4 << 20),
    };

    ck_assert_int_ge(peer.fd, 0);
    ck_assert_int_eq(connect_fd(peer.fd), 0);
    return peer;
}

static inline void peer_done(struct peer *peer) {
    peer->fd = fd_close(peer->fd);
    varlink_input_done(&peer->input);
}

static inline void say_bytes(struct peer *peer, const void *data, size_t size) {
    uint64_t until = now_usec(CLOCK_MONOTONIC) + PATIENCE_USEC;

    while (size > 0) {
        ssize_t sent = send(peer->fd, data, size, MSG_NOSIGNAL);

        if (sent < 0) {
            if (errno == EPIPE || errno == ECONNRESET)
                return; /* the test will look for the end */
            ck_assert_int_eq(errno, EAGAIN);
            ck_assert_uint_lt(now_usec(CLOCK_MONOTONIC), until);
            (void) step();
            continue;
        }
        data = (const char *) data + sent;
        size -= (size_t) sent;
    }
}

static inline void say(struct peer *peer, const char *text) {
    say_bytes(peer, text, strlen(text) + 1);
}

/* The next answer; NULL when the connection ends. The server gets its turns meanwhile. */
static inline json_t *hear_in_pieces(struct peer *peer, size_t most) {
    uint64_t until = now_usec(CLOCK_MONOTONIC) + PATIENCE_USEC;
    json_t *message;

    for (;;) {
        size_t size;
        ssize_t got;
        char *to;

        if (varlink_input_take(&peer->input, &message) > 0)
            return message;
        (void) step();
        ck_assert_int_gt(varlink_input_reserve(&peer->input, &to, &size), 0);
        got = recv(peer->fd, to, size < most ? size : most, MSG_DONTWAIT);
        if (got > 0)
            varlink_input_commit(&peer->input, (size_t) got);
        else if (got == 0 || errno == ECONNRESET)
            return NULL;
        else {
            ck_assert_int_eq(errno, EAGAIN);
            ck_assert_msg(now_usec(CLOCK_MONOTONIC) < until, "no answer");
            (void) linger(USEC_PER_MSEC);
        }
    }
}

static inline json_t *hear(struct peer *peer) {
    return hear_in_pieces(peer, SIZE_MAX);
}

/* The next answer is exactly this. */
static inline void hear_this(struct peer *peer, const char *text) {
    json_t *message = hear(peer), *expected = json_loads(text, 0, NULL);
    _cleanup_free_ char *got = message ? json_dumps(message, JSON_COMPACT) : NULL;

    ck_assert_ptr_nonnull(expected);
    ck_assert_msg(message && json_equal(message, expected), "got %s instead of %s", got ? got : "the end",
                  text);
    json_decref(message);
    json_decref(expected);
}

/* The next answer is an error of this name. */
static inline void hear_error(struct peer *peer, const char *name) {
    json_t *message = hear(peer);

    ck_assert_ptr_nonnull(message);
    ck_assert_str_eq(json_string_value(json_object_get(message, "error")), name);
    json_decref(message);
}

static inline void hear_end(struct peer *peer) {
    ck_assert_ptr_null(hear(peer));
    peer_done(peer);
}

static inline void hear_echo(struct peer *peer) {
    say(peer, "{\"method\":\"" T "Echo\",\"parameters\":{\"n\":7}}");
    hear_this(peer, "{\"parameters\":{\"n\":7}}");
}

static inline bool exists(const char *name) {
    struct stat st;

    return fstatat(t.dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Runs `test` as nobody in a process of its own, with a group, while the server goes on. */
static inline void as_nobody(void (*test)(void), gid_t gid, gid_t extra) {
    uint64_t until = now_usec(CLOCK_MONOTONIC) + PATIENCE_USEC;
    int status;
    pid_t pid;

    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        if (setgroups(1, &extra) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(65534, 65534, 65534) < 0)
            _exit(2);
        test();
        _exit(0);
    }
    while (waitpid(pid, &status, WNOHANG) == 0) {
        ck_assert_uint_lt(now_usec(CLOCK_MONOTONIC), until);
        (void) linger(USEC_PER_MSEC);
    }
    ck_assert_int_eq(status, 0);
}

static inline int open_blocking(void) {
    struct timeval timeout = {.tv_sec = 10};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0 ||
        connect_fd(fd) < 0)
        _exit(3);
    return fd;
}

/* The answer to a call, as text, in the child: without check. */
static inline const char *ask_blocking(int fd, const char *text) {
    static char answer[4096];
    size_t size = 0;

    if (text && send(fd, text, strlen(text) + 1, MSG_NOSIGNAL) < 0 && errno != EPIPE)
        _exit(4);
    do {
        ssize_t got = recv(fd, answer + size, sizeof(answer) - size, 0);

        if (got <= 0)
            return "the end";
        size += (size_t) got;
    } while (answer[size - 1] != 0);
    return answer;
}

/* Runs a suite. Returns the program's exit status. */
static inline int fixture_run(const char *name, TCase *tcase) {
    Suite *suite = suite_create(name);

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
