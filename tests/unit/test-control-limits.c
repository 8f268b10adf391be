/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <poll.h>

#include "control-fixture.h"

#include "base/closer.h"
#include "control/connection.h"
#include "lingering.h"

START_TEST(turns) {
    struct peer peer = peer_new();

    (void) step();
    for (int i = 0; i < 60; i++)
        say(&peer, "{\"method\":\"" T "Echo\"}");
    for (unsigned before = 0; t.runs < 60; before = t.runs) {
        ck_assert_int_gt(sd_event_run(t.event, USEC_PER_SEC), 0);
        ck_assert_uint_le(t.runs - before, 16); /* the others come in between */
    }
    peer_done(&peer);
}
END_TEST

START_TEST(big_answer_slow_reader) {
    struct peer peer = peer_new(), other = peer_new();
    json_t *message;

    say(&peer, "{\"method\":\"" T "Big\",\"parameters\":{\"size\":1000000}}");
    (void) step();
    hear_echo(&other);
    message = hear_in_pieces(&peer, 1009);
    ck_assert_ptr_nonnull(message);
    ck_assert_uint_eq(json_string_length(json_object_get(json_object_get(message, "parameters"), "text")),
                      1000000);
    json_decref(message);

    say(&peer, "{\"method\":\"" T "Big\",\"parameters\":{\"size\":2000000}}");
    hear_error(&peer, T "Failed");
    hear_echo(&peer);
    peer_done(&peer);
    peer_done(&other);
}
END_TEST

START_TEST(no_reader) {
    struct control_limits limits = CONTROL_LIMITS_DEFAULT;
    struct peer peer, other = peer_new();
    unsigned runs;

    limits.output_usec = USEC_PER_SEC;
    control_server_set_limits(t.server, &limits);
    peer = peer_new();
    for (int i = 0; i < 50; i++)
        say(&peer, "{\"method\":\"" T "Big\",\"parameters\":{\"size\":200000}}");
    for (int i = 0; i < 10; i++)
        hear_echo(&other);
    runs = t.runs;
    ck_assert_uint_lt(runs, 20); /* no answers are made that are not read */
    ck_assert_uint_eq(control_server_clients(t.server), 2);
    ck_assert_int_lt(linger(2 * USEC_PER_SEC), 10);
    ck_assert_uint_eq(control_server_clients(t.server), 1);
    ck_assert_uint_eq(t.runs, runs);
    hear_echo(&other);
    json_decref(hear(&peer)); /* what the kernel had is not lost */
    hear_end(&peer);

    /* Slow but steady is well: this takes longer than the limit. */
    peer = peer_new();
    for (int i = 0; i < 60; i++)
        say(&peer, "{\"method\":\"" T "Big\",\"parameters\":{\"size\":200000}}");
    for (int i = 0; i < 60; i++) {
        json_t *message = hear(&peer);

        ck_assert_ptr_nonnull(message);
        json_decref(message);
        (void) linger(20 * USEC_PER_MSEC);
    }
    peer_done(&peer);
    peer_done(&other);
}
END_TEST

START_TEST(stream_overflow) {
    struct peer peer = peer_new(), other = peer_new();
    char text[1001];
    int r = 0, n;

    memset(text, 'x', 1000);
    text[1000] = 0;
    say(&peer, "{\"method\":\"" T "Keep\",\"more\":true}");
    (void) step();
    ck_assert_ptr_nonnull(t.kept);
    for (n = 0; n < 10000 && r == 0; n++)
        r = control_call_reply_more(t.kept, json_pack("{s:s}", "text", text));
    ck_assert_int_eq(r, -ENOTCONN);
    ck_assert_int_gt(n, 1000);
    ck_assert_int_lt(n, 4000);
    ck_assert_uint_eq(t.gone, 0); /* not from within */
    hear_echo(&other);
    ck_assert_uint_eq(t.gone, 1);
    ck_assert_uint_eq(control_server_clients(t.server), 1);
    peer_done(&peer);
    peer_done(&other);
}
END_TEST

#define GARBAGE(text)                                                                                        \
    { text, sizeof(text) }
static const struct {
    const char *data;
    size_t size;
} garbage[] = {
    GARBAGE(""),
    GARBAGE("\x80\xff\n"),
    GARBAGE("{"),
    GARBAGE("[1]"),
    GARBAGE("{}"),
    GARBAGE("{\"method\":1}"),
    GARBAGE("{\"method\":\"nodot\"}"),
    GARBAGE("{\"method\":\"" T "Echo\",\"method\":\"" T "Echo\"}"),
    GARBAGE("{\"parameters\":{}}"),
};

START_TEST(nonsense) {
    struct peer peer = peer_new(), other = peer_new();

    /* What came before is answered, what comes behind is not run. */
    say(&peer, "{\"method\":\"" T "Echo\"}");
    say_bytes(&peer, garbage[_i].data, garbage[_i].size);
    say(&peer, "{\"method\":\"" T "Echo\"}");
    hear_this(&peer, "{\"parameters\":{}}");
    hear_error(&peer, S "InvalidParameter");
    hear_end(&peer);
    ck_assert_uint_eq(t.runs, 1);
    hear_echo(&other);
    ck_assert_uint_eq(control_server_clients(t.server), 1);
    peer_done(&other);
}
END_TEST

START_TEST(oversize) {
    static char text[64 << 10]; /* the limit with the NUL */
    struct peer peer = peer_new();
    int begin;

    begin = snprintf(text, sizeof(text), "{\"method\":\"" T "Echo\",\"parameters\":{\"a\":\"");
    memset(text + begin, 'x', sizeof(text) - (size_t) begin);
    memcpy(text + sizeof(text) - 4, "\"}}", 4);
    say_bytes(&peer, text, sizeof(text));
    json_decref(hear(&peer));
    ck_assert_uint_eq(t.runs, 1);

    text[sizeof(text) - 1] = ' ';
    say_bytes(&peer, text, sizeof(text));
    say_bytes(&peer, "", 1);
    hear_error(&peer, S "InvalidParameter");
    hear_end(&peer);
    ck_assert_uint_eq(t.runs, 1);
}
END_TEST

START_TEST(idle_and_partial) {
    struct control_limits limits = CONTROL_LIMITS_DEFAULT;
    struct peer idle, partial, asked;

    limits.input_usec = 200 * USEC_PER_MSEC;
    control_server_set_limits(t.server, &limits);
    idle = peer_new();
    asked = peer_new();
    hear_echo(&asked);
    (void) step();
    ck_assert_int_eq(linger(700 * USEC_PER_MSEC), 0); /* nobody wakes for clients that are at peace */
    ck_assert_uint_eq(control_server_clients(t.server), 2);

    partial = peer_new();
    hear_echo(&partial);
    say_bytes(&partial, "{\"method\"", 9);
    (void) step();
    ck_assert_uint_eq(control_server_clients(t.server), 3);
    ck_assert_int_lt(linger(700 * USEC_PER_MSEC), 5);
    ck_assert_uint_eq(control_server_clients(t.server), 2);
    hear_end(&partial);
    hear_echo(&idle);
    hear_echo(&asked);
    peer_done(&idle);
    peer_done(&asked);
}
END_TEST

START_TEST(stalled_crowd) {
    enum { N = 1000 };
    static struct peer crowd[N];
    struct control_limits limits = CONTROL_LIMITS_DEFAULT;
    struct peer good = peer_new(), busy;
    unsigned turned_away = 0;

    limits.quiet_usec = USEC_PER_SEC * 100;
    control_server_set_limits(t.server, &limits);
    hear_echo(&good);
    say(&good, "{\"method\":\"" T "Keep\"}");
    (void) step();
    for (int i = 0; i < N; i++) {
        crowd[i] = peer_new();
        switch (i % 3) { /* silent; in the middle of a request; does not read its answers */
        case 1:
            say_bytes(&crowd[i], "{", 1);
            break;
        case 2:
            say(&crowd[i], "{\"method\":\"" T "Big\",\"parameters\":{\"size\":250000}}");
            break;
        }
        if (i % 20 == 0)
            (void) step();
    }
    (void) step();
    ck_assert_uint_le(control_server_clients(t.server), limits.clients);

    /* The one that waits for an answer still gets it, and is served as before. */
    ck_assert_int_eq(control_call_reply(t.kept, NULL), 0);
    hear_this(&good, "{\"parameters\":{}}");
    for (int i = 0; i < 100; i++)
        hear_echo(&good);

    for (int i = 0; i < N; i++) {
        char c;

        turned_away += recv(crowd[i].fd, &c, 1, MSG_DONTWAIT) == 1 && i % 3 != 2;
    }
    ck_assert_uint_gt(turned_away, 400);

    /* The quiet ones make room for the next. */
    busy = peer_new();
    hear_error(&busy, T "Busy");
    hear_end(&busy);
    limits.quiet_usec = 200 * USEC_PER_MSEC;
    control_server_set_limits(t.server, &limits);
    (void) linger(limits.quiet_usec);
    hear_echo(&good);
    busy = peer_new();
    hear_echo(&busy);
    hear_echo(&good);
    ck_assert_uint_le(control_server_clients(t.server), limits.clients);
    peer_done(&busy);
    peer_done(&good);
    for (int i = 0; i < N; i++)
        peer_done(&crowd[i]);
    (void) step();
    ck_assert_uint_eq(control_server_clients(t.server), 0);
}
END_TEST

START_TEST(no_descriptors) {
    const char *preload = getenv("LD_PRELOAD");
    struct rlimit old, none;
    struct peer peer = {.input = VARLINK_INPUT_INIT(4096)};

    if (preload && strstr(preload, "vgpreload"))
        return; /* valgrind has a limit of its own and closes what is above it */
    peer.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = (struct rlimit){.rlim_cur = 3, .rlim_max = old.rlim_max};
    ck_assert_int_eq(connect_fd(peer.fd), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    ck_assert_int_lt(linger(400 * USEC_PER_MSEC), 12); /* no spinning */
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
    hear_echo(&peer);
    peer_done(&peer);
}
END_TEST

/* One user without privileges takes its share and no more. */
static void greedy(void) {
    int first = -1, fd = -1;

    for (int i = 0; i < 64; i++) {
        fd = open_blocking();
        if (first < 0)
            first = fd;
        if (!strstr(ask_blocking(fd, "{\"method\":\"" T "Echo\"}"), "{\"parameters\":{}}"))
            _exit(10);
    }
    fd = open_blocking();
    if (!strstr(ask_blocking(fd, "{\"method\":\"" T "Echo\"}"), "Busy"))
        _exit(11);
    if (strcmp(ask_blocking(fd, NULL), "the end") != 0)
        _exit(12);
    (void) usleep(1100000);
    if (!strstr(ask_blocking(open_blocking(), "{\"method\":\"" T "Echo\"}"), "{\"parameters\":{}}"))
        _exit(13);
    if (strcmp(ask_blocking(first, NULL), "the end") != 0)
        _exit(14);
}

START_TEST(share_of_a_user) {
    struct peer peer = peer_new();

    if (geteuid() != 0)
        return;
    as_nobody(greedy, 65534, 65534);
    hear_echo(&peer);
    peer_done(&peer);
}
END_TEST

/* Descriptors are not even taken to a client that is not accepted yet. */
START_TEST(descriptors_are_not_wanted) {
    char echo_call[] = "{\"method\":\"" T "Echo\"}";
    struct peer peer = peer_new();
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), r;

    r = send_away(peer.fd, echo_call, sizeof echo_call, &fd, 1);
    if (closer_pass_rights(peer.fd, false) == -ENOPROTOOPT) { /* an older kernel: they are closed */
        ck_assert_int_eq(r, 0);
        hear_this(&peer, "{\"parameters\":{}}");
        peer_done(&peer);
        return;
    }
    ck_assert_int_eq(r, EPERM);
    hear_echo(&peer);
    ck_assert_int_eq(send_away(peer.fd, echo_call, sizeof echo_call, &fd, 1), EPERM);
    hear_echo(&peer);
    peer_done(&peer);
    close(fd);
}
END_TEST

/* What comes nevertheless, as on a kernel without SO_PASSRIGHTS, hangs for nobody: neither received (0), nor
 * dropped with a connection: of one who has left (1), spoke nonsense before (2), was never let in (3). */
START_TEST(descriptors_that_hang) {
    char echo_call[] = "{\"method\":\"" T "Echo\"}";
    uint64_t begun;
    struct peer peer, other = peer_new();
    int fd, far;

    hear_echo(&other);
    (void) closer_pass_rights(t.server->fd, true);
    peer = peer_new();
    fd = make_lingering(&far);
    begun = now_usec(CLOCK_MONOTONIC);
    if (_i == 2)
        say_bytes(&peer, "nonsense", 9);
    ck_assert_int_eq(send_away(peer.fd, echo_call, sizeof echo_call, &fd, 1), 0);
    if (_i == 0)
        hear_this(&peer, "{\"parameters\":{}}");
    else if (_i == 1)
        peer_done(&peer);
    else if (_i == 2) {
        hear_error(&peer, S "InvalidParameter");
        hear_end(&peer);
    }
    if (_i < 3)
        hear_echo(&other);
    else {
        peer_done(&other);
        control_server_free(TAKE_PTR(t.server));
    }
    ck_assert_uint_lt(now_usec(CLOCK_MONOTONIC) - begun, 4 * USEC_PER_SEC);
    close(far);
    if (_i < 3)
        peer_done(&other);
    peer_done(&peer);
}
END_TEST

/* One at a time for who has no privileges, and behind everybody else. */
START_TEST(unprivileged_turns) {
    struct peer crowd[8], peer = peer_new();
    unsigned before;

    hear_echo(&peer);
    if (geteuid() != 0)
        return;
    ck_assert_int_eq(seteuid(65534), 0);
    for (int i = 0; i < 8; i++)
        crowd[i] = peer_new();
    ck_assert_int_eq(seteuid(0), 0);
    (void) step();
    before = t.runs;
    for (int k = 0; k < 60; k++)
        for (int i = 0; i < 8; i++)
            say(&crowd[i], "{\"method\":\"" T "Echo\"}");
    for (int i = 0; i < 20; i++)
        ck_assert_int_gt(sd_event_run(t.event, USEC_PER_SEC), 0);
    ck_assert_uint_le(t.runs - before, 20);
    say(&peer, "{\"method\":\"" T "Who\"}");
    before = t.runs;
    for (int i = 0; i < 3; i++) {
        struct pollfd answer = {.fd = peer.fd, .events = POLLIN};

        ck_assert_int_gt(sd_event_run(t.event, USEC_PER_SEC), 0);
        if (poll(&answer, 1, 0) == 1)
            break;
        ck_assert_int_lt(i, 2); /* it is answered before them */
    }
    for (int i = 0; i < 8; i++)
        peer_done(&crowd[i]);
    peer_done(&peer);
}
END_TEST

int main(void) {
    TCase *tcase = tcase_create("server");

    tcase_add_test(tcase, turns);
    tcase_add_test(tcase, big_answer_slow_reader);
    tcase_add_test(tcase, no_reader);
    tcase_add_test(tcase, stream_overflow);
    tcase_add_loop_test(tcase, nonsense, 0, (int) ELEMENTSOF(garbage));
    tcase_add_test(tcase, oversize);
    tcase_add_test(tcase, idle_and_partial);
    tcase_add_test(tcase, stalled_crowd);
    tcase_add_test(tcase, no_descriptors);
    tcase_add_test(tcase, share_of_a_user);
    tcase_add_test(tcase, descriptors_are_not_wanted);
    tcase_add_test(tcase, unprivileged_turns);
    tcase_add_loop_test(tcase, descriptors_that_hang, 0, 4);
    return fixture_run("control-limits", tcase);
}
