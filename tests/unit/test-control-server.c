/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control-fixture.h"

START_TEST(socket_file) {
    struct control_server *second;
    struct err err = {0};
    struct stat st;

    ck_assert_int_eq(fstatat(t.dir_fd, NAME, &st, AT_SYMLINK_NOFOLLOW), 0);
    ck_assert(S_ISSOCK(st.st_mode));
    ck_assert_uint_eq(st.st_mode & 07777, 0666);

    /* The second takes the name; the first lets it have it. */
    ck_assert_int_eq(control_server_new(t.event, t.dir_fd, NAME, &interface, &t, &second, &err), 0);
    control_server_free(t.server);
    t.server = second;
    ck_assert(exists(NAME));
    struct peer peer = peer_new();
    hear_echo(&peer);
    peer_done(&peer);
    control_server_free(TAKE_PTR(t.server));
    ck_assert(!exists(NAME));

    /* A file of another kind stays. */
    close(openat(t.dir_fd, NAME, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    ck_assert_int_eq(control_server_new(t.event, t.dir_fd, NAME, &interface, &t, &second, &err), -EEXIST);
    ck_assert_str_eq(err.name, "Failed");
    ck_assert(exists(NAME));
    err_done(&err);
}
END_TEST

START_TEST(service_interface) {
    struct peer peer = peer_new();
    json_t *message;

    say(&peer, "{\"method\":\"" S "GetInfo\"}");
    hear_this(
        &peer,
        "{\"parameters\":{\"vendor\":\"latchd\",\"product\":\"latchd\",\"version\":\"1.2\",\"url\":\"\","
        "\"interfaces\":[\"org.varlink.service\",\"org.example.test\"]}}");
    say(&peer,
        "{\"method\":\"" S "GetInterfaceDescription\",\"parameters\":{\"interface\":\"org.example.test\"}}");
    hear_this(&peer,
              "{\"parameters\":{\"description\":\"interface org.example.test\\nmethod Echo() -> ()\\n\"}}");
    say(&peer, "{\"method\":\"" S
               "GetInterfaceDescription\",\"parameters\":{\"interface\":\"org.varlink.service\"}}");
    message = hear(&peer);
    ck_assert_ptr_nonnull(
        strstr(json_string_value(json_object_get(json_object_get(message, "parameters"), "description")),
               "interface org.varlink.service\n"));
    json_decref(message);
    say(&peer, "{\"method\":\"" S "GetInterfaceDescription\",\"parameters\":{\"interface\":\"a.b\"}}");
    hear_this(&peer, "{\"error\":\"" S "InterfaceNotFound\",\"parameters\":{\"interface\":\"a.b\"}}");
    say(&peer, "{\"method\":\"" S "GetInterfaceDescription\"}");
    hear_this(&peer, "{\"error\":\"" S "InvalidParameter\",\"parameters\":{\"parameter\":\"interface\"}}");
    say(&peer, "{\"method\":\"org.example.Echo\"}");
    hear_this(&peer, "{\"error\":\"" S "InterfaceNotFound\",\"parameters\":{\"interface\":\"org.example\"}}");
    say(&peer, "{\"method\":\"" T "Ech\"}");
    hear_this(&peer, "{\"error\":\"" S "MethodNotFound\",\"parameters\":{\"method\":\"" T "Ech\"}}");
    say(&peer, "{\"method\":\"" T "Echo\",\"parameters\":[]}");
    hear_this(&peer, "{\"error\":\"" S "InvalidParameter\",\"parameters\":{\"parameter\":\"parameters\"}}");
    say(&peer, "{\"method\":\"" T "Echo\",\"parameters\":null}");
    hear_this(&peer, "{\"parameters\":{}}");
    say(&peer, "{\"method\":\"" T "Echo\",\"upgrade\":true}");
    hear_this(&peer, "{\"error\":\"" S "MethodNotImplemented\",\"parameters\":{\"method\":\"" T "Echo\"}}");
    hear_echo(&peer);
    peer_done(&peer);
}
END_TEST

START_TEST(answers) {
    struct peer peer = peer_new();

    say(&peer, "{\"method\":\"" T "Stream\",\"more\":true}");
    for (int i = 0; i < 3; i++) {
        char text[64];

        (void) snprintf(text, sizeof(text), "{\"parameters\":{\"n\":%d},\"continues\":true}", i);
        hear_this(&peer, text);
    }
    hear_this(&peer, "{\"parameters\":{\"n\":3}}");
    say(&peer, "{\"method\":\"" T "Stream\"}");
    hear_this(&peer, "{\"error\":\"" T "NotMore\",\"parameters\":{\"message\":\"ask for more\",\"n\":0}}");
    ck_assert_int_eq(t.stream_result, -EINVAL);
    say(&peer, "{\"method\":\"" T "Twice\"}");
    hear_this(&peer, "{\"parameters\":{}}");
    say(&peer, "{\"method\":\"" T "Forget\"}");
    hear_error(&peer, T "Failed");
    say(&peer, "{\"method\":\"" T "Forget\",\"parameters\":{\"result\":-5}}");
    hear_this(&peer, "{\"error\":\"" T "Failed\",\"parameters\":{\"message\":\"Input/output error\"}}");
    hear_echo(&peer);
    peer_done(&peer);
}
END_TEST

START_TEST(byte_by_byte) {
    static const char text[] = "{\"method\":\"" T "Echo\",\"parameters\":{\"n\":7}}";
    struct peer peer = peer_new();

    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < sizeof(text); i++) {
            ck_assert_uint_eq(t.runs, (unsigned) round);
            say_bytes(&peer, text + i, 1);
            (void) step();
        }
        ck_assert_uint_eq(t.runs, (unsigned) round + 1);
        hear_this(&peer, "{\"parameters\":{\"n\":7}}");
    }
    peer_done(&peer);
}
END_TEST

START_TEST(pipelining) {
    enum { N = 20000 };
    struct peer peer = peer_new();

    /* In order, those that want no answer left out, and somebody else has a turn in between. */
    for (int i = 0; i < N; i++) {
        char text[128];

        (void) snprintf(text, sizeof(text), "{\"method\":\"" T "Echo\",\"parameters\":{\"n\":%d}%s}", i,
                        i % 3 == 0 ? ",\"oneway\":true" : "");
        say(&peer, text);
    }
    struct peer other = peer_new();
    hear_echo(&other);
    for (int i = 0; i < N; i++) {
        char text[64];

        (void) snprintf(text, sizeof(text), "{\"parameters\":{\"n\":%d}}", i);
        if (i % 3 != 0)
            hear_this(&peer, text);
    }
    ck_assert_uint_eq(t.runs, N + 1);
    peer_done(&peer);
    peer_done(&other);
}
END_TEST

START_TEST(late_answer) {
    struct peer peer = peer_new(), other = peer_new();

    say(&peer, "{\"method\":\"" T "Keep\"}");
    say(&peer, "{\"method\":\"" T "Echo\",\"parameters\":{\"n\":1}}");
    hear_echo(&other);
    ck_assert_uint_eq(t.runs, 1); /* the second waits for its turn */
    ck_assert_int_eq(linger(50 * USEC_PER_MSEC), 0);
    ck_assert(control_call_is_connected(t.kept));
    ck_assert_int_eq(control_call_reply(t.kept, json_pack("{s:s}", "late", "yes")), 0);
    ck_assert_uint_eq(t.runs, 1); /* and does not run within the answer to the first */
    hear_this(&peer, "{\"parameters\":{\"late\":\"yes\"}}");
    hear_this(&peer, "{\"parameters\":{\"n\":1}}");
    control_call_unref(TAKE_PTR(t.kept));

    /* Whoever lets go without an answer has answered. */
    say(&peer, "{\"method\":\"" T "Keep\"}");
    (void) step();
    control_call_unref(TAKE_PTR(t.kept));
    hear_error(&peer, T "Failed");
    ck_assert_uint_eq(t.gone, 0);
    peer_done(&peer);
    peer_done(&other);
}
END_TEST

START_TEST(client_dies) {
    char spaces[5000];
    struct peer peer = peer_new();

    say(&peer, "{\"method\":\"" T "Keep\"}");
    (void) step();
    ck_assert_ptr_nonnull(t.kept);
    peer_done(&peer);
    (void) step();
    ck_assert_uint_eq(t.gone, 1);
    ck_assert_uint_eq(control_server_clients(t.server), 0);
    ck_assert_int_eq(control_call_reply(t.kept, json_object()), -ENOTCONN);
    ck_assert_uint_eq(control_call_peer(t.kept)->uid, getuid());
    control_call_unref(TAKE_PTR(t.kept));

    /* Dead with full buffers on both sides. */
    peer = peer_new();
    say(&peer, "{\"method\":\"" T "Keep\"}");
    memset(spaces, ' ', sizeof(spaces));
    do
        (void) step();
    while (send(peer.fd, spaces, sizeof(spaces), MSG_NOSIGNAL) > 0);
    ck_assert_ptr_nonnull(t.kept);
    peer_done(&peer);
    (void) step();
    ck_assert_uint_eq(t.gone, 2);
    ck_assert_uint_eq(control_server_clients(t.server), 0);
    ck_assert_int_eq(linger(50 * USEC_PER_MSEC), 0);
}
END_TEST

START_TEST(half_closed) {
    struct peer peer = peer_new();

    /* As "printf … | nc -NU" does it. */
    say(&peer, "{\"method\":\"" T "Keep\"}");
    say(&peer, "{\"method\":\"" T "Echo\"}");
    ck_assert_int_eq(shutdown(peer.fd, SHUT_WR), 0);
    (void) step();
    ck_assert_int_eq(linger(50 * USEC_PER_MSEC), 0);
    ck_assert_uint_eq(t.gone, 0);
    ck_assert_int_eq(control_call_reply(t.kept, NULL), 0);
    hear_this(&peer, "{\"parameters\":{}}");
    hear_this(&peer, "{\"parameters\":{}}");
    hear_end(&peer);
    ck_assert_uint_eq(control_server_clients(t.server), 0);

    /* Said, and gone at once: it was said. What was only asked has nobody left to hear the answer. */
    t.runs = 0;
    peer = peer_new();
    for (int i = 0; i < 100; i++) {
        say(&peer, "{\"method\":\"" T "Change\",\"oneway\":true}");
        say(&peer, "{\"method\":\"" T "Echo\"}");
    }
    say_bytes(&peer, "{", 1);
    peer_done(&peer);
    (void) step();
    ck_assert_uint_eq(t.runs, 100);
    ck_assert_uint_eq(control_server_clients(t.server), 0);
}
END_TEST

static void not_permitted(void) {
    int fd = open_blocking();
    const char *answer = ask_blocking(fd, "{\"method\":\"" T "Change\"}");

    if (!strstr(answer, "\"" T "NotPermitted\"") || !strstr(answer, "uid 65534"))
        _exit(5);
    if (!strstr(ask_blocking(fd, "{\"method\":\"" T "Echo\"}"), "{\"parameters\":{}}"))
        _exit(6);
    if (!strstr(ask_blocking(fd, "{\"method\":\"" T "Who\"}"), "\"privileged\":false"))
        _exit(7);
}

static void permitted(void) {
    int fd = open_blocking();

    if (!strstr(ask_blocking(fd, "{\"method\":\"" T "Change\"}"), "{\"parameters\":{}}"))
        _exit(8);
    if (!strstr(ask_blocking(fd, "{\"method\":\"" T "Who\"}"), "\"privileged\":true"))
        _exit(9);
}

START_TEST(privileges) {
    struct peer peer = peer_new();
    struct group *group;

    say(&peer, "{\"method\":\"" T "Change\"}");
    hear_this(&peer, "{\"parameters\":{}}");
    peer_done(&peer);
    ck_assert_uint_eq(t.runs, 1);
    if (geteuid() != 0) {
        fprintf(stderr, "not root: the privileges of other users are not tested\n");
        return;
    }
    as_nobody(not_permitted, 65534, 65534);
    interface.admin_group = "no-such-group-here";
    as_nobody(not_permitted, 65534, 65534);
    group = getgrnam("daemon");
    ck_assert_ptr_nonnull(group);
    interface.admin_group = "daemon";
    as_nobody(not_permitted, 65534, 65534);
    as_nobody(permitted, group->gr_gid, 65534);
    as_nobody(permitted, 65534, group->gr_gid);
}
END_TEST

START_TEST(end_in_method) {
    struct peer peer = peer_new(), other = peer_new(), waiting = peer_new();

    say(&waiting, "{\"method\":\"" T "Keep\"}");
    (void) step();
    say(&peer, "{\"method\":\"" T "End\"}");
    say(&peer, "{\"method\":\"" T "Echo\"}");
    say(&other, "{\"method\":\"" T "Echo\"}");
    (void) step();
    ck_assert_ptr_null(t.server);
    ck_assert_uint_eq(t.gone, 1);
    ck_assert(!exists(NAME));
    hear_end(&peer);
    peer_done(&other);
    peer_done(&waiting);
    ck_assert_int_eq(control_call_reply(t.kept, NULL), -ENOTCONN);
}
END_TEST

int main(void) {
    TCase *tcase = tcase_create("server");

    tcase_add_test(tcase, socket_file);
    tcase_add_test(tcase, service_interface);
    tcase_add_test(tcase, answers);
    tcase_add_test(tcase, byte_by_byte);
    tcase_add_test(tcase, pipelining);
    tcase_add_test(tcase, late_answer);
    tcase_add_test(tcase, client_dies);
    tcase_add_test(tcase, half_closed);
    tcase_add_test(tcase, privileges);
    tcase_add_test(tcase, end_in_method);
    return fixture_run("control-server", tcase);
}
