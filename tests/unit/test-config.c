/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Configurations that are good: defaults, values, files, options. */

#include "config-fixture.h"

#include <signal.h>

#include "base/value.h"
#include "config/config-keys.h"

#include "suite.h"

START_TEST(test_defaults) {
    load_good("[Service]\n" RUN);
    ck_assert_str_eq(config->name, "x");
    ck_assert_ptr_nonnull(strstr(config->file, "/admin/x.conf"));
    ck_assert_int_eq(config->kind, SERVICE_KIND_GENERIC);
    ck_assert_int_eq(config->type, SERVICE_TYPE_SIMPLE);
    ck_assert(!config->type_set);
    ck_assert_int_eq(config->reload_signal, SIGHUP);
    ck_assert_int_eq(config->kill_signal, SIGTERM);
    ck_assert_uint_eq(config->timeout_start_usec, 90 * USEC_PER_SEC);
    ck_assert_uint_eq(config->timeout_stop_usec, 90 * USEC_PER_SEC);
    ck_assert_int_eq(config->restart, RESTART_ON_FAILURE);
    ck_assert_uint_eq(config->restart_usec, 100 * USEC_PER_MSEC);
    ck_assert_uint_eq(config->restart_max_delay_usec, 30 * USEC_PER_SEC);
    ck_assert_uint_eq(config->restart_reset_usec, 60 * USEC_PER_SEC);
    ck_assert_uint_eq(config->start_limit_burst, 0);
    ck_assert_uint_eq(config->umask, 0022);
    ck_assert(!config->capability_bounding_set_set && !config->nice_set && !config->oom_score_adjust_set);
    ck_assert_int_eq(config->standard_output.kind, OUTPUT_JOURNAL);
    ck_assert_int_eq(config->standard_error.kind, OUTPUT_JOURNAL);
    ck_assert_int_eq(config->orphan_policy, ORPHAN_TERMINATE);
    ck_assert_uint_eq(config->orphan_grace_usec, 2 * USEC_PER_SEC);
    ck_assert_uint_eq(config->orphan_kill_usec, 5 * USEC_PER_SEC);
    ck_assert_uint_eq(config->watchdog_usec, 0);
    for (size_t i = 0; i < RLIMIT_NLIMITS; i++)
        ck_assert(!config->limits[i].set);
    ck_assert_uint_eq(config->n_sockets + config->n_locks, 0);
}
END_TEST

/* A good value for each type of key, and what the dump says of it. */
static const struct {
    const char *key, *value, *dumped; /* dumped NULL: the value itself */
} samples[] = {
    {"Description", "100%% good  daemon", NULL},
    {"Kind", "generic", NULL},
    {"ConfigFile", "/etc/%n.json", "/etc/x.json"},
    {"ExecStart", "/bin/echo \"a b\" $X ${Y} %% %n", "/bin/echo \"a b\" $X ${Y} %% x"},
    {"ExecReload", "/bin/kill -HUP $MAINPID", NULL},
    {"ReloadSignal", "USR1", "SIGUSR1"},
    {"KillSignal", "RTMIN+3", NULL},
    {"TimeoutStartSec", "1min 30s", "90s"},
    {"TimeoutStopSec", "0", "infinity"},
    {"Type", "simple", NULL},
    {"Restart", "on-abnormal", NULL},
    {"RestartSec", "1500us", NULL},
    {"RestartMaxDelaySec", "2min", NULL},
    {"RestartResetSec", "infinity", NULL},
    {"StartLimitBurst", "7", NULL},
    {"StartLimitIntervalSec", "5", "5s"},
    {"User", "root", NULL},
    {"Group", "0", NULL},
    {"SupplementaryGroups", "root 12345", NULL},
    {"CapabilityBoundingSet", "CAP_NET_ADMIN CAP_CHOWN", "cap_chown cap_net_admin"},
    {"AmbientCapabilities", "cap_net_raw", NULL},
    {"NoNewPrivileges", "true", "yes"},
    {"UMask", "077", "0077"},
    {"WorkingDirectory", "/", NULL},
    {"Environment", "A=1 \"B=two words\"", "A=1\nEnvironment=\"B=two words\""},
    {"EnvironmentFile", "-/nowhere/%i%n", "-/nowhere/x"},
    {"OOMScoreAdjust", "-500", NULL},
    {"Nice", "-5", NULL},
    {"StandardOutput", "append:/var/log/%n.log", "append:/var/log/x.log"},
    {"StandardError", "null", NULL},
    {"SyslogIdentifier", "me", NULL},
    {"WatchdogSec", NULL, NULL},
    {"LimitCPU", "1min:infinity", "60:infinity"},
    {"LimitFSIZE", "1G", "1073741824"},
    {"LimitDATA", "infinity", NULL},
    {"LimitSTACK", "8M:16M", "8388608:16777216"},
    {"LimitCORE", "0", NULL},
    {"LimitRSS", "1K", "1024"},
    {"LimitNOFILE", "auto", NULL},
    {"LimitAS", "2T", "2199023255552"},
    {"LimitNPROC", "100:200", NULL},
    {"LimitMEMLOCK", "64K", "65536"},
    {"LimitLOCKS", "5", NULL},
    {"LimitSIGPENDING", "6", NULL},
    {"LimitMSGQUEUE", "800K", "819200"},
    {"LimitNICE", "-10:-20", "30:40"},
    {"LimitRTPRIO", "99", NULL},
    {"LimitRTTIME", "200ms:300000", "200000:300000"},
    {"ClientLimit", "1000", NULL},
    {"OrphanPolicy", "wait", NULL},
    {"OrphanGraceSec", "1s", NULL},
    {"OrphanKillSec", "3s", NULL},
    {"After", "db queue@1", NULL},
    {"Requires", "db", NULL},
    {"OrphanAllow", "/usr/sbin/kea-lfc '/opt/a b'", "/usr/sbin/kea-lfc \"/opt/a b\""},
    {"ListenStream", "/run/%n.sock", "/run/x.sock"},
    {"Owner", "daemon", NULL},
    {"SocketMode", "0600", NULL},
    {"SocketUser", "root", NULL},
    {"SocketGroup", "root", NULL},
    {"Backlog", "128", NULL},
    {"SendBuffer", "64K", "65536"},
    {"ReceiveBuffer", "1M", "1048576"},
    {"LockFile", "/run/lock/%n.lock", "/run/lock/x.lock"},
    {"LockStyle", "posix", NULL},
    {"Probe", "kea", NULL},
    {"ProbeIntervalSec", NULL, NULL},
    {"ProbeTimeoutSec", "250ms", NULL},
    {"QueueWarn", "80%", NULL},
    {"QueueIntervalSec", "250ms", NULL},
};

static char *dump(void) {
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);

    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(service_config_dump(config, file), 0);
    fclose(file);
    return text;
}

static size_t find_sample(const char *key) {
    size_t i = 0;

    while (i < ELEMENTSOF(samples) && strcmp(samples[i].key, key) != 0)
        i++;
    if (i == ELEMENTSOF(samples))
        ck_abort_msg("%s= has no sample in this test", key);
    return i;
}

/* Every key of the table: parsed, dumped, read back from the dump, and reset by an empty value. */
START_TEST(test_every_key) {
    static const char *const headers[] = {"[Service]\n", "[Socket s]\n", "[Lock l]\n"};

    for (size_t k = 0; k < config_n_keys; k++) {
        const struct config_key *key = &config_keys[k];
        size_t i = find_sample(key->name);
        bool is_start = strcmp(key->name, "ExecStart") == 0,
             is_listen = strcmp(key->name, "ListenStream") == 0,
             is_lock = key->section == CONFIG_SECTION_LOCK && strcmp(key->name, "LockFile") == 0,
             takes_empty = key->type->takes_empty;
        _cleanup_free_ char *text = NULL, *line = NULL, *first = NULL, *again = NULL, *plain = NULL,
                            *reset = NULL, *base = NULL;

        ck_assert(*key->help && strlen(key->help) < 90);
        if (!samples[i].value)
            continue;
        ck_assert_int_ge(
            asprintf(&base, "[Service]\n%s%s%s%s", is_start ? "" : RUN, headers[key->section],
                     key->section == CONFIG_SECTION_SOCKET && !is_listen ? "ListenStream=@s\n" : "",
                     key->section == CONFIG_SECTION_LOCK && !is_lock ? "LockFile=/l\n" : ""),
            0);
        ck_assert_int_ge(asprintf(&text, "%s%s=%s\n", base, key->name, samples[i].value), 0);
        load_good(text);
        first = dump();
        ck_assert_int_ge(
            asprintf(&line, "\n%s=%s\n", key->name, samples[i].dumped ? samples[i].dumped : samples[i].value),
            0);
        if (!strstr(first, line))
            ck_abort_msg("not dumped:%sbut:\n%s", line, first);
        load_good(first);
        again = dump();
        ck_assert_str_eq(first, again);

        if (is_start || is_listen || is_lock || takes_empty)
            continue;
        load_good(base);
        plain = dump();
        free(TAKE_PTR(line));
        ck_assert_int_ge(asprintf(&line, "%s%s=\n", text, key->name), 0);
        load_good(line);
        reset = dump();
        ck_assert_str_eq(plain, reset);
    }
}
END_TEST

START_TEST(test_values) {
    load_good("[Service]\n" RUN
              "Type=simple\nStandardOutput=file:/o\nRestartSec=60s\nLimitNOFILE=5\nLimitCPU=1500ms\n"
              "TimeoutStartSec=infinity\nWatchdogSec=0\nNice=+3\nOOMScoreAdjust=0\n"
              "[Socket a]\nListenStream=/run/a\n[Lock p]\nLockFile=/p.pid\nLockStyle=pidfile\n"
              "[Socket b]\nListenStream=@b\n[Socket c]\nListenStream=[::1]:80\nLockFile=/c\nLockFile=none\n"
              "[Socket a]\nProbe=none\n");
    ck_assert(config->type_set);
    ck_assert_int_eq(config->standard_error.kind, OUTPUT_FILE);
    ck_assert_str_eq(config->standard_error.path, "/o");
    ck_assert_uint_eq(config->restart_max_delay_usec, 60 * USEC_PER_SEC);
    ck_assert(config->limits[RLIMIT_NOFILE].set && config->limits[RLIMIT_NOFILE].hard == 5);
    ck_assert(config->limits[RLIMIT_CPU].soft == 2);
    ck_assert_uint_eq(config->timeout_start_usec, USEC_INFINITY);
    ck_assert_uint_eq(config->watchdog_usec, 0);
    ck_assert(config->nice_set && config->nice == 3 && config->oom_score_adjust_set);

    ck_assert_uint_eq(config->n_sockets, 3);
    ck_assert_str_eq(config->sockets[0]->name, "a");
    ck_assert_str_eq(config->sockets[0]->lock.path, "/run/a.lock");
    ck_assert_str_eq(config->sockets[0]->lock.name, "a");
    ck_assert_int_eq(config->sockets[0]->lock.style, LOCK_STYLE_FLOCK);
    ck_assert_int_eq(config->sockets[0]->probe, SOCKET_PROBE_NONE);
    ck_assert_int_eq(config->sockets[0]->backlog, 4096);
    ck_assert_ptr_null(config->sockets[1]->lock.path);
    ck_assert_int_eq(config->sockets[1]->probe, SOCKET_PROBE_CONNECT);
    ck_assert_ptr_null(config->sockets[2]->lock.path);
    ck_assert(config->sockets[2]->lock_none);
    ck_assert_uint_eq(config->n_locks, 1);
    ck_assert_str_eq(config->locks[0]->path, "/p.pid");
    ck_assert_int_eq(config->locks[0]->style, LOCK_STYLE_PIDFILE);
}
END_TEST

START_TEST(test_lists_and_resets) {
    load_good("[Service]\nExecStart=/bin/false\nExecStart=\nExecStart=/bin/true a\nEnvironment=A=1 "
              "B=2\nEnvironment=\n"
              "Environment=C=3\nEnvironment='D=4 5' \"E=\\x41\\s\"\nOrphanAllow=/a\nOrphanAllow=/b /c\n"
              "LimitNOFILE=5\nLimitNOFILE=\nKillSignal=INT\nKillSignal=\nType=socket\nType=\n"
              "CapabilityBoundingSet=CAP_CHOWN\nCapabilityBoundingSet=CAP_KILL\nCapabilityBoundingSet=~CAP_"
              "CHOWN\n");
    ck_assert_str_eq(words(config->exec_start), "</bin/true><a>");
    ck_assert_str_eq(words(config->environment), "<C=3><D=4 5><E=A >");
    ck_assert_str_eq(words(config->orphan_allow), "</a></b></c>");
    ck_assert(!config->limits[RLIMIT_NOFILE].set);
    ck_assert_int_eq(config->kill_signal, SIGTERM);
    ck_assert(!config->type_set);
    ck_assert_uint_eq(config->capability_bounding_set, UINT64_C(1) << CAP_KILL);

    load_good("[Service]\n" RUN "CapabilityBoundingSet=CAP_KILL\nCapabilityBoundingSet=\n");
    ck_assert(config->capability_bounding_set_set);
    ck_assert_uint_eq(config->capability_bounding_set, 0);
    load_good("[Service]\n" RUN "CapabilityBoundingSet=\nCapabilityBoundingSet=~\n");
    ck_assert_uint_eq(config->capability_bounding_set, UINT64_MAX >> (63 - CAP_LAST_CAP));
    load_good("[Service]\n" RUN "CapabilityBoundingSet=~CAP_CHOWN\n");
    ck_assert_uint_eq(config->capability_bounding_set, (UINT64_MAX >> (63 - CAP_LAST_CAP)) & ~UINT64_C(1));
}
END_TEST

START_TEST(test_continuation_and_length) {
    _cleanup_free_ char *text = malloc(400 * 1024);
    char *p = stpcpy(text, "[Service]\nExecStart=/bin/true \\\n# comment\n  one \\\n  two\nDescription=");

    memset(p, 'd', 100 * 1024);
    p = stpcpy(p + 100 * 1024, "\nEnvironment=");
    for (unsigned i = 0; i < 10000; i++)
        p += sprintf(p, "V%u=%u ", i, i);
    stpcpy(p, "\nBogus=1\n");
    put("admin/x.conf", text);
    ck_assert_int_eq(load("x"), -EINVAL);
    ck_assert_str_eq(complaints(), "admin/x.conf:8: unknown key 'Bogus' in [Service]\n");
    strcpy(p, "\n");
    load_good(text);
    ck_assert_str_eq(words(config->exec_start), "</bin/true><one><two>");
    ck_assert_uint_eq(strlen(config->description), 100 * 1024);
    ck_assert_uint_eq(strlist_length(config->environment), 10000);
    ck_assert_str_eq(config->environment[9999], "V9999=9999");
}
END_TEST

START_TEST(test_dropins) {
    put("vendor/x.conf", "[Service]\n" RUN "Description=vendor\nEnvironment=A=main\n");
    put("vendor/x.conf.d/10-a.conf", "[Service]\nEnvironment=B=vendor10\nDescription=ten\n");
    put("vendor/x.conf.d/30-c.conf", "[Service]\nEnvironment=C=vendor30\n");
    put("admin/x.conf.d/20-b.conf", "[Service]\nEnvironment=D=admin20\nDescription=twenty\n");
    put("admin/x.conf.d/30-c.conf", "[Service]\nEnvironment=C=admin30\n");
    put("admin/x.conf.d/.hidden.conf", "nonsense");
    put("admin/x.conf.d/40-not", "nonsense");
    ck_assert_int_eq(load("x"), 0);
    ck_assert_str_eq(words(config->environment), "<A=main><B=vendor10><D=admin20><C=admin30>");
    ck_assert_str_eq(config->description, "twenty");
    ck_assert_ptr_nonnull(strstr(config->file, "/vendor/x.conf"));

    /* The administrator's main file replaces the vendor's; a mistake in a drop-in is told as the drop-in's.
     */
    put("admin/x.conf", "[Service]\nExecStart=/bin/false\n");
    put("vendor/x.conf.d/50-bad.conf", "\n[Service]\nUMask=9\n" RUN);
    ck_assert_int_eq(load("x"), -EINVAL);
    ck_assert_uint_eq(problems.n, 2);
    ck_assert_ptr_nonnull(
        strstr(complaints(), "vendor/x.conf.d/50-bad.conf:3: UMask=9: expected an octal mode"));
    ck_assert_ptr_nonnull(strstr(complaints(),
                                 "vendor/x.conf.d/50-bad.conf:4: ExecStart=/bin/true: there is a command "
                                 "already (/tmp/"));
    ck_assert_ptr_nonnull(strstr(complaints(), "admin/x.conf:2), and there can be one only"));
    paths.vendor_dir = NULL;
    ck_assert_int_eq(load("x"), 0);
    ck_assert_str_eq(words(config->environment), "<D=admin20><C=admin30>");
}
END_TEST

START_TEST(test_files) {
    char path[200];
    _cleanup_strlist_ char **names = NULL, **none = NULL;

    ck_assert_int_eq(load("nothing"), -ENOENT);
    ck_assert_str_eq(err.name, "NotFound");
    ck_assert_ptr_nonnull(strstr(err.message, admin));
    ck_assert_ptr_nonnull(strstr(err.message, vendor));
    ck_assert_uint_eq(problems.n, 0);

    put("somewhere/my.conf", "[Service]\n" RUN);
    put("somewhere/my.conf.d/1.conf", "[Service]\nDescription=beside\n");
    snprintf(path, sizeof path, "%s/somewhere/my.conf", directory);
    ck_assert_int_eq(load(path), 0);
    ck_assert_str_eq(config->name, "my");
    ck_assert_str_eq(config->file, path);
    ck_assert_str_eq(config->description, "beside");
    snprintf(path, sizeof path, "%s/somewhere/none.conf", directory);
    ck_assert_int_eq(load(path), -ENOENT);
    snprintf(path, sizeof path, "%s/somewhere/", directory);
    ck_assert_int_eq(load(path), -EINVAL);

    put("vendor/t@.conf", "[Service]\n" RUN "Description=%n:%i\n");
    put("vendor/t@.conf.d/1.conf", "[Service]\nUMask=1\n");
    put("admin/t@own.conf", "[Service]\n" RUN "Description=own %i\n");
    ck_assert_int_eq(load("t@a@b"), 0);
    ck_assert_str_eq(config->description, "t@a@b:a@b");
    ck_assert_uint_eq(config->umask, 1);
    ck_assert_int_eq(load("t@own"), 0);
    ck_assert_str_eq(config->description, "own own");
    ck_assert_int_eq(load("t@"), -EINVAL);

    ck_assert_int_eq(load(".hidden"), -EINVAL);
    ck_assert_int_eq(load("a b"), -EINVAL);
    ck_assert_int_eq(load(""), -EINVAL);

    put("admin/b.conf", "");
    put("vendor/b.conf", "");
    put("vendor/a.conf", "");
    put("vendor/masked.conf", "");
    put("admin/no", "");
    put("admin/a b.conf", "");
    make_directory(strcat(strcpy(path, admin), "/dir.conf"));
    ck_assert_int_eq(symlink("/dev/null", strcat(strcpy(path, admin), "/masked.conf")), 0);
    ck_assert_int_eq(service_config_list(&paths, &names), 0);
    ck_assert_str_eq(words(names), "<a><b><t@own>");
    ck_assert_int_eq(load("masked"), -ENOENT);
    ck_assert_ptr_nonnull(strstr(err.message, "masked"));
    paths = (struct config_paths){.admin_dir = "/nowhere/at/all"};
    ck_assert_int_eq(service_config_list(&paths, &none), 0);
    ck_assert_ptr_null(none[0]);
}
END_TEST

START_TEST(test_specifiers) {
    setenv("HOME", "/home/of test", 1);
    setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
    load_good("[Service]\nExecStart=/bin/echo %h %t%% %n\nConfigFile=%h/x\n");
    ck_assert_str_eq(config->exec_start[1], "/home/of test");
    ck_assert_str_eq(config->exec_start[2], geteuid() == 0 ? "/run%" : "/run/user/7%");
    ck_assert_str_eq(config->exec_start[3], "x");
    ck_assert_str_eq(config->config_file, "/home/of test/x");
    ck_assert_str_eq(
        load_bad("Description=%z\nConfigFile=/a%\nEnvironment=A=%q\n"),
        "admin/x.conf:3: Description=%z: '%z' is no specifier; there are %n, %i, %h, %t and %% for a "
        "percent sign\n"
        "admin/x.conf:4: ConfigFile=/a%: a percent sign at the end (itself it is written %%)\n"
        "admin/x.conf:5: Environment=A=%q: '%q' is no specifier; there are %n, %i, %h, %t and %% for a "
        "percent sign\n");
}
END_TEST

START_TEST(test_options) {
    static const struct config_option options[] = {
        {"name", "mine"},
        {"lock", "/run/a.pid:pidfile"},
        {"lock", "/run/b/a.pid"},
        {"lock", "/run/odd:x/y"},
        {"socket", "/run/%n.sock"},
        {"limit", "nofile=10:20"},
        {"user", "root"},
        {"group", "root"},
        {"kind", "generic"},
        {"config-file", "/c"},
        {"environment", "A='x y' %n"},
        {"environment", "B=2"},
        {"type", "socket"},
        {"restart", "always"},
        {"set", "Description=of %n"},
        {"set", "Nice = 5 "},
    };
    char *argv[] = {(char[]){"/bin/echo"}, (char[]){"$HOME"},  (char[]){"a b"},
                    (char[]){"%n"},        (char[]){"${X}$$"}, NULL};
    _cleanup_strlist_ char **expanded = NULL;
    _cleanup_free_ char *text = NULL;

    ck_assert_int_eq(from_options(options, ELEMENTSOF(options), argv), 0);
    ck_assert_str_eq(config->name, "mine");
    ck_assert_ptr_null(config->file);
    ck_assert_uint_eq(config->n_locks, 3);
    ck_assert_str_eq(config->locks[0]->name, "a.pid");
    ck_assert_str_eq(config->locks[0]->path, "/run/a.pid");
    ck_assert_int_eq(config->locks[0]->style, LOCK_STYLE_PIDFILE);
    ck_assert_str_eq(config->locks[1]->name, "a.pid-2");
    ck_assert_int_eq(config->locks[1]->style, LOCK_STYLE_FLOCK);
    ck_assert_str_eq(config->locks[2]->path, "/run/odd:x/y");
    ck_assert_str_eq(config->sockets[0]->listen, "/run/%n.sock");
    ck_assert_str_eq(config->sockets[0]->lock.path, "/run/%n.sock.lock");
    ck_assert(config->limits[RLIMIT_NOFILE].soft == 10 && config->limits[RLIMIT_NOFILE].hard == 20);
    ck_assert_str_eq(words(config->environment), "<A='x y' %n><B=2>");
    ck_assert_int_eq(config->type, SERVICE_TYPE_SOCKET);
    ck_assert_int_eq(config->restart, RESTART_ALWAYS);
    ck_assert_str_eq(config->description, "of mine");
    ck_assert_int_eq(config->nice, 5);
    /* The arguments have been through a shell: nothing in them is expanded any more. */
    ck_assert_int_eq(service_config_expand_argv(config->exec_start, config->environment, &expanded), 0);
    ck_assert_str_eq(words(expanded), "</bin/echo><$HOME><a b><%n><${X}$$>");
    text = dump();
    put("admin/mine.conf", text);
    ck_assert_int_eq(load("mine"), 0);
    free(text);
    text = dump();
    ck_assert_ptr_nonnull(strstr(text, "ExecStart=/bin/echo $$HOME \"a b\" %%n $${X}$$$$\n"));
}
END_TEST

START_TEST(test_build_by_kind) {
    struct socket_config *socket;

    load_good("[Service]\n" RUN "[Socket s]\nListenStream=@s\n");
    ck_assert_ptr_eq(service_config_add_socket(config, "s"), config->sockets[0]);
    socket = service_config_add_socket(config, "t");
    ck_assert_ptr_nonnull(socket);
    ck_assert_uint_eq(config->n_sockets, 2);
    ck_assert_int_eq(socket->backlog, 4096);
    ck_assert_ptr_nonnull(service_config_add_lock(config, "l"));
    ck_assert_ptr_eq(service_config_add_lock(config, "l"), config->locks[0]);
    ck_assert_int_eq(service_config_allow_orphan(config, "/x"), 0);
    ck_assert_int_eq(service_config_allow_orphan(config, "/x"), 0);
    ck_assert_str_eq(words(config->orphan_allow), "</x>");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("config");
    TCase *tcase = tcase_create("config");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, test_defaults);
    tcase_add_test(tcase, test_every_key);
    tcase_add_test(tcase, test_values);
    tcase_add_test(tcase, test_lists_and_resets);
    tcase_add_test(tcase, test_continuation_and_length);
    tcase_add_test(tcase, test_dropins);
    tcase_add_test(tcase, test_files);
    tcase_add_test(tcase, test_specifiers);
    tcase_add_test(tcase, test_options);
    tcase_add_test(tcase, test_build_by_kind);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
