/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kind-kea-fixture.h"
#include "suite.h"

/* ---- the fixtures ---- */

static const struct {
    const char *file, *process, *sockets[3], *base;
    enum service_type type;
    bool leases;
} fixtures[] = {
    {"good-plain.conf", "kea-dhcp4", {"/run/kea/kea4-ctrl-socket"}, "good-plain", SERVICE_TYPE_SOCKET, true},
    {"good-comments.conf", "kea-dhcp4", {"/run/kea//sock#1"}, "good-comments", SERVICE_TYPE_SOCKET, true},
    {"good-commas.conf", "kea-dhcp4", {"/run/kea/commas"}, "good-commas", SERVICE_TYPE_SOCKET, true},
    {"good-include.conf", "kea-dhcp4", {"/run/kea/included"}, "good-include", SERVICE_TYPE_SOCKET, true},
    {"good-numbers.conf", "kea-dhcp4", {NULL}, "good-numbers", SERVICE_TYPE_SIMPLE, true},
    {"good-dhcp6.conf", "kea-dhcp6", {"/run/kea/kea6-ctrl-socket"}, "good-dhcp6", SERVICE_TYPE_SOCKET, false},
    {"good-ddns.conf",
     "kea-dhcp-ddns",
     {"/run/kea/kea-ddns-ctrl-socket"},
     "good-ddns",
     SERVICE_TYPE_SOCKET,
     false},
    {"good-ctrl-agent.conf", "kea-ctrl-agent", {NULL}, "good-ctrl-agent", SERVICE_TYPE_SIMPLE, false},
    {"kea3-sockets.conf",
     "kea-dhcp4",
     {"/run/kea/first", "/run/kea/second"},
     "kea3-sockets",
     SERVICE_TYPE_SOCKET,
     false},
};

/* Once with the daemon in ExecStart=, once with a command that says nothing: the configuration tells then. */
START_TEST(test_fixtures) {
    const char *srcdir = getenv("srcdir");
    bool told = _i % 2;
    size_t i = (size_t) _i / 2, n = 0;
    _cleanup_free_ char *path = NULL, *directory = NULL, *pidfile = NULL;

    ck_assert_int_ge(asprintf(&path, "%s/tests/data/kea", srcdir ? srcdir : "."), 0);
    directory = realpath(path, NULL);
    ck_assert_ptr_nonnull(directory);
    ck_assert_int_ge(asprintf(&config->config_file, "%s/%s", directory, fixtures[i].file), 0);
    config->working_directory = strdup(directory);
    set_environment("KEA_PIDFILE_DIR=@", NULL);
    if (told)
        set_command(fixtures[i].process, "-c", config->config_file, NULL);
    else
        set_command("/opt/start-kea", NULL);
    assert_read();

    for (; fixtures[i].sockets[n]; n++)
        assert_socket(n, n > 0 ? "control2" : "control", fixtures[i].sockets[n]);
    ck_assert_uint_eq(config->n_sockets, n);
    ck_assert_int_ge(asprintf(&pidfile, "@/%s.%s.pid", fixtures[i].base, fixtures[i].process), 0);
    assert_pidfile(pidfile);
    ck_assert_int_eq(config->type, fixtures[i].type);
    ck_assert_uint_eq(n_orphans(), fixtures[i].leases);
    ck_assert_uint_eq(config->n_locks, 1 + (size_t) fixtures[i].leases);
    if (fixtures[i].leases)
        assert_helper_pidfile("lfc", "/var/lib/kea/kea-leases4.csv.pid", config->orphan_allow[0]);
}
END_TEST

/* ---- the command line ---- */

#define PLAIN "{ \"Dhcp4\": { \"control-socket\": { \"socket-type\": \"unix\", \"socket-name\": \"@/s\" } } }"

static const char *const commands[][8] = {
    {"kea-dhcp4", "-c", "@/kea.conf"},
    {"/usr/sbin/kea-dhcp4", "-c@/kea.conf"},
    {"kea-dhcp4", "-d", "-c", "@/kea.conf"},
    {"kea-dhcp4", "-dc@/kea.conf"},
    {"kea-dhcp4", "-dc", "@/kea.conf"},
    {"kea-dhcp4", "-p", "-c", "-c", "@/kea.conf"},
    {"kea-dhcp4", "-c", "@/other.conf", "-c", "@/kea.conf"},
    {"kea-dhcp4", "-c", "@/kea.conf", "--", "-c", "@/other.conf"},
    {"/usr/bin/env", "-c", "@/other.conf", "kea-dhcp4", "-c", "@/kea.conf"},
    {"kea-dhcp4", "-p67", "-c", "@/kea.conf", "-P", "68"},
};

START_TEST(test_config_file_from_command) {
    const char *const *c = commands[_i];

    write_file("@/kea.conf", PLAIN);
    set_command(c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], NULL);
    set_environment("KEA_PIDFILE_DIR=@", NULL);
    assert_read();
    assert_text(config->config_file, "@/kea.conf");
    assert_pidfile("@/kea.kea-dhcp4.pid");
}
END_TEST

START_TEST(test_config_file_relative) {
    write_file("@/kea.conf", PLAIN);
    set_command("kea-dhcp4", "-c", "kea.conf", NULL);
    config->working_directory = strdup(scratch);
    assert_read();
    assert_text(config->config_file, "@/kea.conf");
}
END_TEST

START_TEST(test_config_file_relative_to_nothing) {
    set_command("kea-dhcp4", "-c", "kea.conf", NULL);
    assert_refused("/etc/latchd/kea4.conf: ExecStart=", "-c kea.conf, which is relative");
}
END_TEST

START_TEST(test_config_file_missing) {
    if (_i == 0)
        set_command("kea-dhcp4", NULL);
    else if (_i == 1)
        set_command("kea-dhcp4", "-c", NULL);
    else if (_i == 2)
        set_command("sh", "-c", "@/kea.conf", NULL);
    else if (_i == 3)
        set_command("kea-dhcp4", "-c", "${KEA_CONF}", NULL);
    assert_refused("/etc/latchd/kea4.conf: ", "needs ConfigFile=");
}
END_TEST

START_TEST(test_config_file_differs) {
    write_file("@/kea.conf", PLAIN);
    write_file("@/other.conf", PLAIN);
    set_command("kea-dhcp4", "-c", "@/other.conf", NULL);
    config->config_file = expand("@/kea.conf");
    assert_refused("/etc/latchd/kea4.conf: ConfigFile=@/kea.conf", "-c @/other.conf");
}
END_TEST

/* The PID file is named after what Kea is told. */
START_TEST(test_config_file_by_another_name) {
    _cleanup_free_ char *link = expand("@/link.v2");

    write_file("@/kea.conf", PLAIN);
    ck_assert_int_eq(symlink("kea.conf", link), 0);
    set_command("kea-dhcp4", "-c", "@/link.v2", NULL);
    set_environment("KEA_PIDFILE_DIR=@", NULL);
    config->config_file = expand("@/kea.conf");
    assert_read();
    assert_pidfile("@/link.kea-dhcp4.pid");
}
END_TEST

START_TEST(test_config_file_from_a_variable) {
    write_file("@/kea.conf", PLAIN);
    set_command("kea-dhcp4", "-c", "$KEA_CONF", NULL);
    set_environment("KEA_PIDFILE_DIR=@", NULL);
    config->config_file = expand("@/kea.conf");
    assert_read();
    assert_pidfile("@/kea.kea-dhcp4.pid");
}
END_TEST

START_TEST(test_config_file_with_a_dollar) {
    write_file("@/k$a.conf", PLAIN);
    set_command("kea-dhcp4", "-c", "@/k$$a.conf", NULL);
    assert_read();
    assert_text(config->config_file, "@/k$a.conf");
}
END_TEST

/* ---- the PID file: what kea-dhcp4 2.2.0 was seen to do ---- */

static const char *const pid_names[][2] = {
    {"kea.conf", "kea"},
    {"kea.conf.test", "kea.conf"},
    {".hidden.conf", ".hidden"},
    {"noext", "noext"},
    {"a.", "a"},
    {"sp ace.conf", "sp ace"},
    {"a..b", "a."},
    {"..x", "."},
    {"d.x/noext", "noext"},
};

START_TEST(test_pidfile_name) {
    _cleanup_free_ char *file = NULL, *expected = NULL;

    make_directory("@/d.x");
    ck_assert_int_ge(asprintf(&file, "@/%s", pid_names[_i][0]), 0);
    ck_assert_int_ge(asprintf(&expected, "@/pid/%s.kea-dhcp4.pid", pid_names[_i][1]), 0);
    write_file(file, PLAIN);
    set_command("kea-dhcp4", "-c", file, NULL);
    set_environment("KEA_PIDFILE_DIR=@/pid//", NULL);
    assert_read();
    assert_pidfile(expected);
}
END_TEST

START_TEST(test_pidfile_without_name) {
    write_file("@/.hidden", PLAIN);
    set_command("kea-dhcp4", "-c", "@/.hidden", NULL);
    assert_refused("/etc/latchd/kea4.conf: ", "'.hidden'");
    ck_assert_uint_eq(config->n_sockets, 1);
}
END_TEST

START_TEST(test_pidfile_directory) {
    static const char *const rows[][3] = {
        {"KEA_PIDFILE_DIR=", "@", "/kea.kea-dhcp4.pid"},
        {"KEA_PIDFILE_DIR=/", "@", "/kea.kea-dhcp4.pid"},
        {"KEA_PIDFILE_DIR=run", "@", "@/run/kea.kea-dhcp4.pid"},
        {"KEA_PIDFILE_DIR=run", NULL, NULL},
    };

    write_file("@/kea.conf", PLAIN);
    set_command("kea-dhcp4", "-c", "@/kea.conf", NULL);
    set_environment(rows[_i][0], NULL);
    config->working_directory = rows[_i][1] ? expand(rows[_i][1]) : NULL;
    if (rows[_i][2]) {
        assert_read();
        assert_pidfile(rows[_i][2]);
    } else
        assert_refused("/etc/latchd/kea4.conf: KEA_PIDFILE_DIR=run is relative", "");
}
END_TEST

START_TEST(test_pidfile_directory_not_set) {
    struct stat st;
    const char *expected = stat("/run/kea", &st) < 0 && stat("/var/run/kea", &st) >= 0
                               ? "/var/run/kea/kea.kea-dhcp4.pid"
                               : "/run/kea/kea.kea-dhcp4.pid";

    write_file("@/kea.conf", PLAIN);
    set_command("@/sbin/kea-dhcp4", "-c", "@/kea.conf", NULL);
    if (_i == 1) {
        make_directory("@/var");
        make_directory("@/var/run");
        make_directory("@/var/run/kea");
        expected = "@/var/run/kea/kea.kea-dhcp4.pid";
    }
    assert_read();
    assert_pidfile(expected);
}
END_TEST

/* ---- what the administrator wrote wins ---- */

START_TEST(test_own_sections_win) {
    struct socket_config *other, *mine;
    struct lock_config *pidfile;

    make_directory("@/run");
    _cleanup_free_ char *link = expand("@/var-run");
    ck_assert_int_eq(symlink("run", link), 0);
    write_file("@/kea.conf", "{ \"Dhcp4\": { \"control-sockets\": ["
                             "  { \"socket-type\": \"unix\", \"socket-name\": \"@/run/a\" },"
                             "  { \"socket-type\": \"unix\", \"socket-name\": \"@/run/b\" } ] } }");
    set_command("kea-dhcp4", "-c", "@/kea.conf", NULL);
    set_environment("KEA_PIDFILE_DIR=@/run", NULL);
    other = add_socket("control", "@/run/other");
    mine = add_socket("mine", "@/var-run/b");
    mine->probe = SOCKET_PROBE_NONE;
    mine->lock_none = true;
    mine->probe_interval_usec = 7;
    pidfile = service_config_add_lock(config, "kea");
    pidfile->path = expand("@/var-run/kea.kea-dhcp4.pid");
    pidfile->style = LOCK_STYLE_NONE;
    config->type = SERVICE_TYPE_NOTIFY;
    config->type_set = true;
    assert_read();

    ck_assert_uint_eq(config->n_sockets, 3);
    ck_assert_ptr_eq(config->sockets[0], other);
    assert_text(other->listen, "@/run/other");
    assert_text(mine->listen, "@/var-run/b");
    ck_assert_int_eq(mine->probe, SOCKET_PROBE_NONE);
    ck_assert_ptr_null(mine->lock.path);
    ck_assert_uint_eq(mine->probe_interval_usec, 7);
    assert_socket(2, "control2", "@/run/a");
    ck_assert_uint_eq(config->n_locks, 2); /* and that of kea-lfc */
    ck_assert_ptr_null(pidfile->helper);
    assert_text(pidfile->path, "@/var-run/kea.kea-dhcp4.pid");
    ck_assert_int_eq(pidfile->style, LOCK_STYLE_NONE);
    ck_assert_int_eq(config->type, SERVICE_TYPE_NOTIFY);
}
END_TEST

START_TEST(test_own_section_is_completed) {
    struct socket_config *mine;

    write_file("@/kea.conf", PLAIN);
    set_command("kea-dhcp4", "-c", "@/kea.conf", NULL);
    mine = add_socket("mine", "@/s");
    mine->probe = SOCKET_PROBE_INVALID;
    service_config_add_lock(config, "pidfile")->path = expand("@/another.pid");
    assert_read();
    ck_assert_uint_eq(config->n_sockets, 1);
    assert_text(mine->lock.path, "@/s.lock");
    ck_assert_int_eq(mine->probe, SOCKET_PROBE_KEA);
    ck_assert_uint_eq(config->n_locks, 3);
    ck_assert_str_eq(config->locks[1]->name, "pidfile2");
    ck_assert_str_eq(config->locks[2]->name, "lfc");
}
END_TEST

START_TEST(test_own_section_cannot_own) {
    write_file("@/kea.conf", PLAIN);
    set_command("kea-dhcp4", "-c", "@/kea.conf", NULL);
    add_socket("mine", "@/s")->owner = SOCKET_OWNER_LATCHD;
    assert_refused("/etc/latchd/kea4.conf: [Socket mine]: Owner=latchd", "@/s");
}
END_TEST

#define RELATIVE                                                                                             \
    "{ \"Dhcp4\": {\n \"control-socket\": { \"socket-type\": \"unix\", \"socket-name\": \"k4\" } } }"

START_TEST(test_relative_socket) {
    write_file("@/kea.conf", RELATIVE);
    set_command("kea-dhcp4", "-c", "@/kea.conf", NULL);
    config->working_directory = strdup(scratch);
    if (_i == 0)
        assert_refused("@/kea.conf:2: Dhcp4.control-socket.socket-name is 'k4', a relative path",
                       "ListenStream=");
    else if (_i == 1) {
        set_environment("KEA_CONTROL_SOCKET_DIR=@/run/", NULL);
        assert_read();
        assert_socket(0, "control", "@/run/k4");
    } else if (_i == 2) {
        add_socket("mine", "@/somewhere/k4");
        assert_read();
        ck_assert_uint_eq(config->n_sockets, 1);
        ck_assert_int_eq(config->type, SERVICE_TYPE_SOCKET);
    } else {
        add_socket("mine", "@/somewhere/k4");
        add_socket("yours", "@/elsewhere/k4");
        assert_refused("@/kea.conf:2: ", "relative path");
    }
}
END_TEST

/* ---- kea-lfc ---- */

static const struct {
    const char *text;
    bool leases;
} databases[] = {
    {"{ \"Dhcp4\": {} }", true},
    {"{ \"Dhcp6\": {} }", true},
    {"{ \"Dhcp4\": { \"lease-database\": { \"type\": \"memfile\" } } }", true},
    {"{ \"Dhcp4\": { \"lease-database\": { \"type\": \"memfile\", \"persist\": true } } }", true},
    {"{ \"Dhcp4\": { \"lease-database\": { \"type\": \"memfile\", \"persist\": false } } }", false},
    {"{ \"Dhcp4\": { \"lease-database\": { \"type\": \"postgresql\", \"persist\": true } } }", false},
    {"{ \"DhcpDdns\": {} }", false},
    {"{ \"Control-agent\": {} }", false},
};

START_TEST(test_helper_needed) {
    write_file("@/kea.conf", databases[_i].text);
    config->config_file = expand("@/kea.conf");
    set_environment("KEA_LFC_EXECUTABLE=@/my-lfc", NULL);
    assert_read();
    ck_assert_uint_eq(n_orphans(), databases[_i].leases);
    ck_assert_uint_eq(config->n_locks, 1 + (size_t) databases[_i].leases);
    if (databases[_i].leases) {
        assert_text(config->orphan_allow[0], "@/my-lfc");
        assert_helper_pidfile("lfc",
                              strstr(databases[_i].text, "Dhcp6") ? "/var/lib/kea/kea-leases6.csv.pid"
                                                                  : "/var/lib/kea/kea-leases4.csv.pid",
                              "@/my-lfc");
    }
}
END_TEST

/* Where kea-lfc's PID file is: beside the lease file. */
#define LEASES(section, name) "{ \"" section "\": { \"lease-database\": { \"type\": \"memfile\"" name " } } }"

static const struct {
    const char *text, *variable, *working_directory, *expected; /* NULL: that cannot be told */
} lease_files[] = {
    {LEASES("Dhcp4", ""), NULL, NULL, "/var/lib/kea/kea-leases4.csv.pid"},
    {LEASES("Dhcp6", ""), NULL, "@", "/var/lib/kea/kea-leases6.csv.pid"},
    {LEASES("Dhcp4", ", \"name\": \"\""), NULL, NULL, "/var/lib/kea/kea-leases4.csv.pid"},
    {LEASES("Dhcp4", ", \"name\": \"/srv/a.csv\""), NULL, NULL, "/srv/a.csv.pid"},
    {LEASES("Dhcp4", ", \"name\": \"/srv/a.csv\""), "KEA_DHCP_DATA_DIR=/srv/b", NULL, "/srv/a.csv.pid"},
    {LEASES("Dhcp4", ", \"name\": \"a.csv\""), NULL, "@", "@/a.csv.pid"},
    {LEASES("Dhcp4", ", \"name\": \"a.csv\""), NULL, NULL, NULL},
    {LEASES("Dhcp4", ", \"name\": \"/srv/\xff.csv\""), NULL, NULL, NULL},
    {LEASES("Dhcp4", ""), "KEA_DHCP_DATA_DIR=/srv/b", NULL, "/srv/b/kea-leases4.csv.pid"},
    {LEASES("Dhcp4", ""), "KEA_DHCP_DATA_DIR=", NULL, "/var/lib/kea/kea-leases4.csv.pid"},
    {"{ \"Dhcp6\": { \"data-directory\": \"/srv/c\" } }", NULL, NULL, "/srv/c/kea-leases6.csv.pid"},
    {"{ \"Dhcp6\": { \"data-directory\": \"c\" } }", NULL, "@", "@/c/kea-leases6.csv.pid"},
};

START_TEST(test_helper_pidfile) {
    write_file("@/kea.conf", lease_files[_i].text);
    config->config_file = expand("@/kea.conf");
    if (lease_files[_i].working_directory)
        config->working_directory = expand(lease_files[_i].working_directory);
    set_environment("KEA_LFC_EXECUTABLE=/opt/lfc", lease_files[_i].variable, NULL);
    assert_read();
    ck_assert_uint_eq(n_orphans(), 1); /* it may be left over all the same */
    ck_assert_uint_eq(config->n_locks, lease_files[_i].expected ? 2 : 1);
    if (lease_files[_i].expected)
        assert_helper_pidfile("lfc", lease_files[_i].expected, "/opt/lfc");
}
END_TEST

START_TEST(test_helper_pidfile_has_a_section) {
    write_file("@/kea.conf", LEASES("Dhcp4", ", \"name\": \"@/a.csv\""));
    config->config_file = expand("@/kea.conf");
    set_environment("KEA_LFC_EXECUTABLE=/opt/lfc", "KEA_PIDFILE_DIR=@", NULL);
    service_config_add_lock(config, "cleanup")->path = expand("@/a.csv.pid");
    config->locks[0]->style = LOCK_STYLE_PIDFILE;
    assert_read();
    ck_assert_uint_eq(config->n_locks, 2);
    ck_assert_str_eq(config->locks[0]->name, "cleanup");
    assert_text(config->locks[0]->helper, "/opt/lfc");
    ck_assert_ptr_null(config->locks[1]->helper);
}
END_TEST

START_TEST(test_helper_pidfile_name_is_taken) {
    write_file("@/kea.conf", LEASES("Dhcp4", ""));
    config->config_file = expand("@/kea.conf");
    set_environment("KEA_LFC_EXECUTABLE=/opt/lfc", NULL);
    service_config_add_lock(config, "lfc")->path = expand("@/other.pid");
    assert_read();
    assert_helper_pidfile("lfc2", "/var/lib/kea/kea-leases4.csv.pid", "/opt/lfc");
}
END_TEST

START_TEST(test_helper_found) {
    _cleanup_free_ char *link = expand("@/bin/kea-dhcp4"), *target = expand("@/sbin/kea-dhcp4"),
                        *own = expand("@/own-lfc"), *own_target = expand("@/sbin/kea-lfc");

    make_directory("@/sbin");
    make_directory("@/bin");
    write_file("@/kea.conf", PLAIN);
    write_file("@/sbin/kea-dhcp4", "");
    ck_assert_int_eq(symlink(target, link), 0);
    if (_i < 3)
        write_file("@/sbin/kea-lfc", "");
    set_command(_i == 0 ? "@/sbin/kea-dhcp4" : "@/bin/kea-dhcp4", "-c", "@/kea.conf", NULL);
    if (_i == 2) {
        ck_assert_int_eq(symlink(own_target, own), 0);
        set_environment("KEA_LFC_EXECUTABLE=@/own-lfc", NULL);
    }
    assert_read();
    ck_assert_uint_eq(n_orphans(), 1);
    if (_i < 3)
        assert_text(config->orphan_allow[0], "@/sbin/kea-lfc");
    else {
        _cleanup_free_ char *installed = realpath("/usr/sbin/kea-lfc", NULL);
        ck_assert_str_eq(config->orphan_allow[0], installed ? installed : "/usr/sbin/kea-lfc");
    }
    assert_helper_pidfile("lfc", "/var/lib/kea/kea-leases4.csv.pid", config->orphan_allow[0]);
}
END_TEST

START_TEST(test_helper_set_wrongly) {
    write_file("@/kea.conf", PLAIN);
    set_command("kea-dhcp4", "-c", "@/kea.conf", NULL);
    set_environment(_i == 0 ? "KEA_LFC_EXECUTABLE=" : "KEA_LFC_EXECUTABLE=kea-lfc", NULL);
    if (_i == 0)
        assert_read();
    else
        assert_refused("/etc/latchd/kea4.conf: KEA_LFC_EXECUTABLE=kea-lfc", "absolute");
    ck_assert_uint_eq(n_orphans(), 0);
    ck_assert_uint_eq(config->n_locks, 1);
}
END_TEST

/* ---- which socket, which section ---- */

START_TEST(test_several_sections) {
    write_file("@/kea.conf", "{ \"Dhcp4\": { \"control-socket\": 1 }, \"Dhcp6\": { \"control-socket\":"
                             "{ \"socket-type\": \"unix\", \"socket-name\": \"@/six\" } } }");
    set_command("kea-dhcp6", "-c", "@/kea.conf", NULL);
    set_environment("KEA_PIDFILE_DIR=@", NULL);
    assert_read();
    assert_socket(0, "control", "@/six");
    assert_pidfile("@/kea.kea-dhcp6.pid");
}
END_TEST

START_TEST(test_same_socket_twice) {
    write_file("@/kea.conf",
               "{ \"Dhcp4\": { \"control-socket\": { \"socket-type\": \"unix\", \"socket-name\": \"@/s\" },"
               "\"control-sockets\": [ { \"socket-type\": \"unix\", \"socket-name\": \"@/s\" } ] } }");
    set_command("kea-dhcp4", "-c", "@/kea.conf", NULL);
    assert_read();
    ck_assert_uint_eq(config->n_sockets, 1);
}
END_TEST

/* ---- other kinds ---- */

START_TEST(test_other_kinds) {
    static const enum service_kind unsupported[] = {SERVICE_KIND_POSTGRESQL, SERVICE_KIND_MYSQL,
                                                    SERVICE_KIND_X11};
    static const char *const names[] = {"Kind=postgresql", "Kind=mysql", "Kind=x11"};

    config->kind = SERVICE_KIND_GENERIC;
    assert_read();
    ck_assert_uint_eq(config->n_sockets + config->n_locks, 0);
    for (size_t i = 0; i < ELEMENTSOF(unsupported); i++) {
        config->kind = unsupported[i];
        ck_assert_int_eq(kind_read(config, NULL, &problems), -EINVAL);
        ck_assert_uint_eq(problems.n, i + 1);
        assert_problem("/etc/latchd/kea4.conf: ", names[i]);
    }
    assert_problem("/etc/latchd/kea4.conf: ",
                   "is not supported by this version of latchd; use Kind=generic with "
                   "[Socket] and [Lock] sections");
    ck_assert_ptr_null(kind_find(SERVICE_KIND_MAX));
    ck_assert_ptr_null(kind_find(SERVICE_KIND_INVALID));
    ck_assert_ptr_nonnull(kind_find(SERVICE_KIND_KEA)->summary);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("kind-kea");
    TCase *tests = tcase_create("all");

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, test_fixtures, 0, 2 * ELEMENTSOF(fixtures));
    tcase_add_loop_test(tests, test_config_file_from_command, 0, ELEMENTSOF(commands));
    tcase_add_test(tests, test_config_file_relative);
    tcase_add_test(tests, test_config_file_relative_to_nothing);
    tcase_add_loop_test(tests, test_config_file_missing, 0, 5);
    tcase_add_test(tests, test_config_file_differs);
    tcase_add_test(tests, test_config_file_by_another_name);
    tcase_add_test(tests, test_config_file_from_a_variable);
    tcase_add_test(tests, test_config_file_with_a_dollar);
    tcase_add_loop_test(tests, test_pidfile_name, 0, ELEMENTSOF(pid_names));
    tcase_add_test(tests, test_pidfile_without_name);
    tcase_add_loop_test(tests, test_pidfile_directory, 0, 4);
    tcase_add_loop_test(tests, test_pidfile_directory_not_set, 0, 2);
    tcase_add_test(tests, test_own_sections_win);
    tcase_add_test(tests, test_own_section_is_completed);
    tcase_add_test(tests, test_own_section_cannot_own);
    tcase_add_loop_test(tests, test_relative_socket, 0, 4);
    tcase_add_loop_test(tests, test_helper_needed, 0, ELEMENTSOF(databases));
    tcase_add_loop_test(tests, test_helper_pidfile, 0, ELEMENTSOF(lease_files));
    tcase_add_test(tests, test_helper_pidfile_has_a_section);
    tcase_add_test(tests, test_helper_pidfile_name_is_taken);
    tcase_add_loop_test(tests, test_helper_found, 0, 4);
    tcase_add_loop_test(tests, test_helper_set_wrongly, 0, 2);
    tcase_add_test(tests, test_several_sections);
    tcase_add_test(tests, test_same_socket_twice);
    tcase_add_test(tests, test_other_kinds);
    suite_add_tcase(suite, tests);

    return suite_run(suite);
}
