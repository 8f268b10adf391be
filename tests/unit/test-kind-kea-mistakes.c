/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kind-kea-fixture.h"
#include "suite.h"

/* ---- mistakes in Kea's configuration ---- */

#define SOCKET(value) "{\n\"Dhcp4\": {\n\"control-socket\":\n" value " } }"
#define PATH_106                                                                                             \
    "/0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"  \
    "01234"

static const struct {
    const char *process, *text, *place, *part;
} mistakes[] = {
    {"kea-dhcp4", "{ \"Dhcp4\": {\n} ]", "@/kea.conf:2: ", "syntax error"},
    {"kea-dhcp4", "{}", "@/kea.conf:1: ", "but nothing"},
    {NULL, "{ \"Dhcp\": {}, \"Logging\": 1 }", "@/kea.conf:1: ", "but 'Dhcp', 'Logging'"},
    {NULL, "{ \"Dhcp4\": {}, \"X\": 1, \"Dhcp6\": {} }",
     "@/kea.conf:1: ", "several daemons ('Dhcp4', 'Dhcp6')"},
    {"kea-dhcp6", "{ \"Dhcp4\": {}, \"X\": 1 }", "@/kea.conf:1: ",
     "starts kea-dhcp6, which needs 'Dhcp6', but this "
     "configures 'Dhcp4'"},
    {"kea-dhcp4", "{\n\"Dhcp4\":\n[] }", "@/kea.conf:3: ", "Dhcp4 must be a map"},
    {"kea-dhcp4", SOCKET("null"), "@/kea.conf:4: ", "Dhcp4.control-socket must be a map"},
    {"kea-dhcp4", SOCKET("{ \"socket-name\": \"/s\" }"),
     "@/kea.conf:4: ", "Dhcp4.control-socket has no 'socket-type'"},
    {"kea-dhcp4", SOCKET("{ \"socket-type\": \"unix\" }"),
     "@/kea.conf:4: ", "Dhcp4.control-socket has no 'socket-name'"},
    {"kea-dhcp4", SOCKET("{ \"socket-type\": \"unix\",\n\"socket-name\": 1 }"),
     "@/kea.conf:5: ", "Dhcp4.control-socket.socket-name must be a string"},
    {"kea-dhcp4", SOCKET("{ \"socket-type\": {} }"),
     "@/kea.conf:4: ", "Dhcp4.control-socket.socket-type must be a string"},
    {"kea-dhcp4", SOCKET("{ \"socket-type\": \"UNIX\" }"),
     "@/kea.conf:4: ", "Dhcp4.control-socket.socket-type is 'UNIX'"},
    {"kea-dhcp4", SOCKET("{ \"socket-type\": \"unix\", \"socket-name\": \"\" }"),
     "@/kea.conf:4: ", "is empty"},
    {"kea-dhcp4", SOCKET("{ \"socket-type\": \"unix\", \"socket-name\": \"/a\\u0000\" }"),
     "@/kea.conf:4: ", "no UTF-8"},
    {"kea-dhcp4", SOCKET("{ \"socket-type\": \"unix\", \"socket-name\": \"/\xff\" }"),
     "@/kea.conf:4: ", "no UTF-8"},
    {"kea-dhcp4", SOCKET("{ \"socket-type\": \"unix\",\n\n\"socket-name\": \"" PATH_106 "67\" }"),
     "@/kea.conf:6: ", "is 108 bytes long, but a socket's path has at most 107"},
    {"kea-dhcp4", "{\n\"Dhcp4\": { \"control-sockets\": {} } }",
     "@/kea.conf:2: ", "Dhcp4.control-sockets must be a list"},
    {"kea-dhcp4", "{ \"Dhcp4\": { \"control-sockets\": [\n{ \"socket-type\": \"http\" },\n5 ] } }",
     "@/kea.conf:3: ", "Dhcp4.control-sockets[1] must be a map"},
    {"kea-dhcp4", "{ \"Dhcp4\": { \"lease-database\": 1 } }",
     "@/kea.conf:1: ", "Dhcp4.lease-database must be a map"},
    {"kea-dhcp4", "{ \"Dhcp4\": { \"lease-database\": {} } }",
     "@/kea.conf:1: ", "Dhcp4.lease-database has no 'type'"},
    {"kea-dhcp4", "{ \"Dhcp4\": { \"lease-database\": { \"type\": 1 } } }",
     "@/kea.conf:1: ", "Dhcp4.lease-database.type must be a string"},
    {"kea-dhcp4", "{ \"Dhcp4\": { \"lease-database\": { \"type\": \"memfile\", \"persist\": 1 } } }",
     "@/kea.conf:1: ", "Dhcp4.lease-database.persist must be true or false"},
    {"kea-ctrl-agent", "{ \"Control-agent\": { \"control-sockets\": 5 } }",
     "@/kea.conf:1: ", "Control-agent.control-sockets must be a list"},
};

START_TEST(test_mistakes) {
    write_file("@/kea.conf", mistakes[_i].text);
    set_command(mistakes[_i].process ? mistakes[_i].process : "/opt/start", "-c", "@/kea.conf", NULL);
    config->config_file = expand("@/kea.conf");
    assert_refused(mistakes[_i].place, mistakes[_i].part);
}
END_TEST

START_TEST(test_all_mistakes_are_found) {
    write_file("@/.kea", "{ \"Dhcp4\": {\n\"control-socket\": {},\n\"control-sockets\": [ 1,\n2 ],\n"
                         "\"lease-database\": [] } }");
    set_command("kea-dhcp4", "-c", "@/.kea", NULL);
    ck_assert_int_eq(kind_read(config, NULL, &problems), -EINVAL);
    ck_assert_uint_eq(problems.n, 5);
    assert_problem("@/.kea:2: ", "'socket-type'");
    assert_problem("@/.kea:3: ", "[0]");
    assert_problem("@/.kea:4: ", "[1]");
    assert_problem("@/.kea:5: ", "lease-database");
    assert_problem("/etc/latchd/kea4.conf: ", "PID file");
}
END_TEST

START_TEST(test_no_such_file) {
    set_command("kea-dhcp4", "-c", "@/kea.conf", NULL);
    assert_refused("@/kea.conf: cannot read", "No such file");
}
END_TEST

START_TEST(test_longest_path) {
    write_file("@/kea.conf", SOCKET("{ \"socket-type\": \"unix\", \"socket-name\": \"" PATH_106 "6\" }"));
    set_command("kea-dhcp4", "-c", "@/kea.conf", NULL);
    assert_read();
    ck_assert_uint_eq(strlen(config->sockets[0]->listen), 107);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("kind-kea-mistakes");
    TCase *tests = tcase_create("all");

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, test_mistakes, 0, ELEMENTSOF(mistakes));
    tcase_add_test(tests, test_all_mistakes_are_found);
    tcase_add_test(tests, test_no_such_file);
    tcase_add_test(tests, test_longest_path);
    suite_add_tcase(suite, tests);

    return suite_run(suite);
}
