/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Configurations with mistakes, each of which is told with its place. */

#include "config-fixture.h"
#include "suite.h"

/* What stands in line 3 and on, and what is said about it behind the file's name. */
static const struct {
    const char *text, *said;
} mistakes[] = {
    {"RestartSecs=1", "3: unknown key 'RestartSecs' in [Service]; did you mean 'RestartSec'?"},
    {"restartsec=1", "3: unknown key 'restartsec' in [Service]; did you mean 'RestartSec'?"},
    {"LimtiNOFILE=1", "3: unknown key 'LimtiNOFILE' in [Service]; did you mean 'LimitNOFILE'?"},
    {"Backlog=1", "3: unknown key 'Backlog' in [Service]; it belongs into [Socket NAME]"},
    {"LockStyle=flock",
     "3: unknown key 'LockStyle' in [Service]; it belongs into [Socket NAME] or [Lock NAME]"},
    {"MUsak=1", "3: unknown key 'MUsak' in [Service]; did you mean 'UMask'?"},
    {"Xyzzy=1", "3: unknown key 'Xyzzy' in [Service]"},
    {"[Sevice]\nX=1\nY=2", "3: unknown section [Sevice]; did you mean [Service]?"},
    {"[Install]\nX=1", "3: unknown section [Install]; there are [Service], [Socket NAME] and [Lock NAME]"},
    {"[Service x]\nX=1", "3: [Service x]: this section takes no name"},
    {"[Socket]\nX=1", "3: [Socket] needs a name: [Socket NAME]"},
    {"[Lock a/b]\nX=1",
     "3: [Lock a/b]: a name consists of letters, digits and _.@:- and does not begin with a dot"},
    {"nonsense", "3: neither KEY=VALUE nor [SECTION] nor a comment: 'nonsense'"},
    {"RestartSec=5q", "3: RestartSec=5q: expected a time such as 5s, 200ms, 1min 30s or infinity"},
    {"\n# x\nRestart=often", "5: Restart=often: expected no, on-failure, on-abnormal or always"},
    {"Type=forking", "3: Type=forking: expected simple, notify or socket"},
    {"Kind=named", "3: Kind=named: expected generic, kea, dovecot, postgresql, mysql or x11"},
    {"OrphanPolicy=x", "3: OrphanPolicy=x: expected terminate, wait or fail"},
    {"KillSignal=KILLS", "3: KillSignal=KILLS: expected a signal such as SIGHUP, 15 or RTMIN+3"},
    {"StartLimitBurst=-1", "3: StartLimitBurst=-1: expected a number"},
    {"ClientLimit=many", "3: ClientLimit=many: expected a number"},
    {"UMask=0999", "3: UMask=0999: expected an octal mode from 0 to 0777"},
    {"NoNewPrivileges=maybe", "3: NoNewPrivileges=maybe: expected yes or no"},
    {"Nice=20", "3: Nice=20: expected a number from -20 to 19"},
    {"OOMScoreAdjust=1001", "3: OOMScoreAdjust=1001: expected a number from -1000 to 1000"},
    {"WorkingDirectory=var", "3: WorkingDirectory=var: expected an absolute path"},
    {"ConfigFile=./x", "3: ConfigFile=./x: expected an absolute path"},
    {"EnvironmentFile=-x", "3: EnvironmentFile=-x: expected an absolute path"},
    {"EnvironmentFile=/etc", "3: EnvironmentFile=/etc: Is a directory"},
    {"EnvironmentFile=/nowhere/x", "3: EnvironmentFile=/nowhere/x: No such file or directory"},
    {"StandardOutput=tty",
     "3: StandardOutput=tty: expected journal, inherit, null, file:PATH or append:PATH"},
    {"StandardError=file:x", "3: StandardError=file:x: expected an absolute path"},
    {"After=a/b", "3: After=a/b: 'a/b': expected the name of a service"},
    {"Requires=db x", "3: Requires=db x: 'x': that is this service itself"},
    {"Requires=a/b db x", "3: Requires=a/b db x: 'a/b': expected the name of a service\n"
                          "admin/x.conf:3: Requires=a/b db x: 'x': that is this service itself"},
    {"After=a/b db", "3: After=a/b db: 'a/b': expected the name of a service"},
    {"OrphanAllow=/a b", "3: OrphanAllow=/a b: 'b': expected the absolute path of an executable"},
    {"Environment=1A=x", "3: Environment=1A=x: '1A=x': expected NAME=VALUE; a value with blanks is quoted, "
                         "\"NAME=one two\""},
    {"Environment=A=one two",
     "3: Environment=A=one two: 'two': expected NAME=VALUE; a value with blanks is quoted, "
     "\"NAME=one two\""},
    {"Environment=\"A=one", "3: Environment=\"A=one: a double quote is not closed"},
    {"AmbientCapabilities=CAP_FLY",
     "3: AmbientCapabilities=CAP_FLY: 'CAP_FLY' is no capability; they are named like "
     "CAP_NET_ADMIN"},
    {"AmbientCapabilities=CAP_CHOWN,CAP_KILL",
     "3: AmbientCapabilities=CAP_CHOWN,CAP_KILL: 'CAP_CHOWN,CAP_KILL' is no "
     "capability; they are named like CAP_NET_ADMIN"},
    {"CapabilityBoundingSet=CAP_FLY CAP_KILL CAP_SWIM",
     "3: CapabilityBoundingSet=CAP_FLY CAP_KILL CAP_SWIM: 'CAP_FLY' is no capability; they are named like "
     "CAP_NET_ADMIN\nadmin/x.conf:3: CapabilityBoundingSet=CAP_FLY CAP_KILL CAP_SWIM: 'CAP_SWIM' is no "
     "capability; "
     "they are named like CAP_NET_ADMIN"},
    {"AmbientCapabilities=CAP_KILL CAP_CHOWN\nCapabilityBoundingSet=CAP_CHOWN",
     "3: AmbientCapabilities=cap_kill: not in CapabilityBoundingSet=; add it there, or leave it out here"},
    {"CapabilityBoundingSet=~CAP_KILL CAP_CHOWN\nAmbientCapabilities=CAP_KILL CAP_CHOWN",
     "4: AmbientCapabilities=cap_chown cap_kill: not in CapabilityBoundingSet=; add it there, or leave it "
     "out here"},
    {"User=nobody-at-all", "3: User=nobody-at-all: there is no such user"},
    {"User=4294967295", "3: User=4294967295: no user has this number"},
    {"Group=nogroup-at-all", "3: Group=nogroup-at-all: there is no such group"},
    {"SupplementaryGroups=root\nSupplementaryGroups=none-such",
     "4: SupplementaryGroups=none-such: there is no such group"},
    {"ExecReload=bin/x",
     "3: ExecReload=bin/x: expected the executable's absolute path, or its name to be found in "
     "PATH"},
    {"ExecReload=-/bin/true",
     "3: ExecReload=-/bin/true: the prefix '-' before the executable is not supported"},
    {"ExecReload=$X y", "3: ExecReload=$X y: the executable cannot come from a variable"},
    {"ExecReload=\"\" y", "3: ExecReload=\"\" y: the name of the executable is empty"},
    {"ExecReload=/bin/x\\q",
     "3: ExecReload=/bin/x\\q: an unknown escape (a backslash itself is written \\\\)"},
    {"ExecReload=/nowhere/x", "3: ExecReload=: /nowhere/x: No such file or directory"},
    {"ExecReload=/etc", "3: ExecReload=: /etc is no regular file"},
    {"ExecReload=/etc/passwd", "3: ExecReload=: /etc/passwd is not executable: Permission denied"},
    {"RestartSec=5s\nRestartMaxDelaySec=1s",
     "4: RestartMaxDelaySec= is below RestartSec=, the delay it is to bound"},
    {"Type=socket", "3: Type=socket, but there is no [Socket NAME] that could answer"},
    {"[Socket s]\nProbe=none", "3: ListenStream= is missing in [Socket s]"},
    {"[Socket s]\nListenStream=@a\nListenStream=", "5: ListenStream= is missing in [Socket s]"},
    {"[Socket s]\nListenStream=run/x",
     "4: ListenStream=run/x: expected an absolute path, @NAME or HOST:PORT"},
    {"[Socket s]\nListenStream=host:0",
     "4: ListenStream=host:0: expected an absolute path, @NAME or HOST:PORT"},
    {"[Socket s]\nListenStream=::1:80",
     "4: ListenStream=::1:80: expected an absolute path, @NAME or HOST:PORT"},
    {"[Socket s]\nListenStream=[::g]:80",
     "4: ListenStream=[::g]:80: expected an absolute path, @NAME or HOST:PORT"},
    {"[Socket s]\nListenStream=@", "4: ListenStream=@: expected an absolute path, @NAME or HOST:PORT"},
    {"[Socket s]\nListenStream=host:80\nOwner=latchd",
     "4: ListenStream=host:80: with Owner=latchd it is an address and a port, such as 127.0.0.1:80, [::1]:80 "
     "or *:80; no "
     "name is looked up"},
    {"[Socket s]\nListenStream=/s\nOwner=latchd\nLockStyle=posix",
     "6: LockStyle=posix: what latchd takes itself is flock, ofd or none (a posix lock is lost with any "
     "descriptor of the "
     "file, and the others lock nothing)"},
    {"[Socket s]\nListenStream=@s\nOwner=latchd\nProbe=connect",
     "6: Probe=connect: latchd itself listens there, so that a connection says nothing of the daemon; leave "
     "Probe= out"},
    {"[Socket a:b]\nListenStream=@s\nOwner=latchd", "5: [Socket a:b]: with Owner=latchd the name goes to the "
                                                    "daemon in LISTEN_FDNAMES: at most 200 printable ASCII "
                                                    "characters, and no colon"},
    {"[Socket a]\nListenStream=@s\nOwner=latchd\n[Socket b]\nListenStream=@s\nOwner=latchd",
     "7: ListenStream=@s: another [Socket] of Owner=latchd listens there"},
    {"[Socket a]\nListenStream=/s\nOwner=latchd\nLockFile=/l\n[Lock b]\nLockFile=/l",
     "6: LockFile=/l: with Owner=latchd it is latchd's alone, and another section names it, too; "
     "LockFile=none, or another "
     "file"},
    {"Type=socket\n[Socket s]\nListenStream=@s\nOwner=latchd",
     "3: Type=socket, but every [Socket NAME] has Probe=none (Owner=latchd means that); use Type=notify or "
     "Type=simple"},
    {"[Socket s]\nListenStream=@s\nSocketUser=nobody-at-all",
     "5: SocketUser=nobody-at-all: there is no such user"},
    {"[Socket s]\nListenStream=@s\nLockFile=x", "5: LockFile=x: expected an absolute path"},
    {"[Socket s]\nListenStream=@s\nProbeTimeoutSec=0",
     "5: ProbeTimeoutSec= is 0: no daemon could answer in that time"},
    {"[Socket s]\nListenStream=@s\nProbeIntervalSec=99ms",
     "5: ProbeIntervalSec= is below 100ms: nobody would have another use for the daemon"},
    {"[Socket s]\nListenStream=@s\nQueueIntervalSec=9ms",
     "5: QueueIntervalSec= is below 10ms: latchd would do little else"},
    {"[Socket s]\nListenStream=@s\nQueueIntervalSec=0",
     "5: QueueIntervalSec= is below 10ms: latchd would do little else"},
    {"[Socket s]\nListenStream=@s\nQueueWarn=101%",
     "5: QueueWarn=101%: expected a number of connections, or a percentage from 1% to 100%"},
    {"[Socket s]\nListenStream=@s\nQueueWarn=0%",
     "5: QueueWarn=0%: expected a number of connections, or a percentage from 1% to 100%"},
    {"[Socket s]\nListenStream=@s\nQueueWarn=%",
     "5: QueueWarn=%: expected a number of connections, or a percentage from 1% to 100%"},
    {"[Socket s]\nListenStream=@s\nQueueWarn=4294967296",
     "5: QueueWarn=4294967296: expected a number of connections, or a percentage from 1% to 100%"},
    {"[Socket s]\nListenStream=@s\nBacklog=0", "5: Backlog=0: expected a number above 0"},
    {"[Socket s]\nListenStream=@s\nSendBuffer=2G",
     "5: SendBuffer=2G: expected a size below 2G, such as 65536 or 64K"},
    {"[Lock l]\nLockStyle=pidfile", "3: LockFile= is missing in [Lock l]"},
    {"[Lock l]\nLockFile=/l\nLockStyle=fcntl",
     "5: LockStyle=fcntl: expected flock, posix, ofd, pidfile, symlink or none"},
};

START_TEST(test_mistakes) {
    char expected[512];

    snprintf(expected, sizeof expected, "admin/x.conf:%s\n", mistakes[_i].said);
    ck_assert_str_eq(load_bad(mistakes[_i].text), expected);
}
END_TEST

START_TEST(test_limit_mistakes) {
    static const char *const bad[] = {
        "LimitNOFILE=20:10", "LimitNOFILE=many", "LimitNOFILE=5:", "LimitNOFILE=:5",
        "LimitNPROC=auto",   "LimitNOFILE=-1",   "LimitCORE=5X",   "LimitNICE=41",
        "LimitCPU=5q",       "LimitNPROC=1:2:3", "LimitRTTIME=x"};

    for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
        char expected[64];

        snprintf(expected, sizeof expected, "admin/x.conf:3: %s", bad[i]);
        if (strncmp(load_bad(bad[i]), expected, strlen(expected)) != 0)
            ck_abort_msg("%s: %s", bad[i], complaints());
        ck_assert_uint_eq(problems.n, 1);
    }
    ck_assert_ptr_nonnull(strstr(load_bad(bad[0]), "soft limit is above the hard"));
}
END_TEST

/* All of them are found at once, and what could be read of the values does not hide any. */
START_TEST(test_many_mistakes) {
    put("admin/x.conf", "Early=1\n[Service]\nUMask=x\n\nTypo=1\n[Nowhere]\nA=1\n[Socket s]\nBacklog=x\n");
    ck_assert_int_eq(load("x"), -EINVAL);
    ck_assert_str_eq(
        complaints(),
        "admin/x.conf:1: an assignment before the first [SECTION]: 'Early=1'\n"
        "admin/x.conf:3: UMask=x: expected an octal mode from 0 to 0777\n"
        "admin/x.conf:5: unknown key 'Typo' in [Service]; did you mean 'Type'?\n"
        "admin/x.conf:6: unknown section [Nowhere]; there are [Service], [Socket NAME] and [Lock NAME]\n"
        "admin/x.conf:9: Backlog=x: expected a number above 0\n"
        "admin/x.conf: ExecStart= is missing in [Service]\n"
        "admin/x.conf:8: ListenStream= is missing in [Socket s]\n");
    ck_assert_ptr_nonnull(strstr(err.message, "(and 6 more)"));

    /* A value that was refused is not missing as well. */
    put("admin/x.conf", "[Service]\nExecStart=x/y\n[Socket s]\nListenStream=x\n[Lock l]\nLockFile=x\n");
    ck_assert_int_eq(load("x"), -EINVAL);
    ck_assert_uint_eq(problems.n, 3);
    put("admin/x.conf", "[Service]\n" RUN "ExecStart=\n");
    ck_assert_int_eq(load("x"), -EINVAL);
    ck_assert_str_eq(complaints(), "admin/x.conf:3: ExecStart= is missing in [Service]\n");
    put("admin/x.conf", "[Service]\nExecStart=no-such-program-at-all\n");
    ck_assert_int_eq(load("x"), -EINVAL);
    ck_assert_ptr_nonnull(strstr(complaints(), "admin/x.conf:2: ExecStart=: "));
    ck_assert_ptr_nonnull(strstr(complaints(), "no-such-program-at-all"));
    /* The PATH is the daemon's. */
    put("admin/x.conf", "[Service]\nExecStart=true\nEnvironment=PATH=/nowhere\n");
    ck_assert_int_eq(load("x"), -EINVAL);
    put("admin/x.conf", "[Service]\nExecStart=true\nEnvironment=PATH=/nowhere:/bin\n");
    ck_assert_int_eq(load("x"), 0);
}
END_TEST

START_TEST(test_long_listen) {
    char text[200] = "[Service]\n" RUN "[Socket s]\nListenStream=/";
    size_t used = strlen(text);

    memset(text + used, 'a', 106);
    load_good(text);
    text[used + 106] = 'a';
    put("admin/x.conf", text);
    ck_assert_int_eq(load("x"), -EINVAL);
    ck_assert_ptr_nonnull(strstr(complaints(), ": 108 bytes, but a socket's address takes at most 107"));
}
END_TEST

START_TEST(test_option_mistakes) {
    static const struct config_option options[] = {
        {"lock", "/run/a:flok"},
        {"lock", "a"},
        {"socket", "x"},
        {"limit", "NOFILE"},
        {"limit", "NOFLIE=5"},
        {"limit", "FOO=1"},
        {"limit", "nofile=2:1"},
        {"user", "nobody-at-all"},
        {"set", "RestartSecs=1"},
        {"set", "Nice"},
        {"colour", "red"},
        {"type", ""},
        {"set", "Description=a\nb"},
    };
    static const char *const expected[] = {
        "--lock: LockStyle=flok: expected flock, ",
        "--lock: LockFile=a: expected an absolute path",
        "--socket: ListenStream=x: expected ",
        "--limit: 'NOFILE': expected NAME=SOFT[:HARD]",
        "--limit: unknown limit 'NOFLIE'; did you mean 'NOFILE'?",
        "--limit: unknown limit 'FOO'; there are CPU, ",
        "--limit: LimitNOFILE=2:1: the soft limit is above",
        "--set: unknown key 'RestartSecs'; did you mean 'RestartSec'?",
        "--set: 'Nice': expected KEY=VALUE",
        "--colour: there is no such option",
        "--type: the value is empty",
        "--set: Description=a?b: a control character in the value",
        "--user: User=nobody-at-all: there is no such user",
    };
    char *argv[] = {(char[]){"true"}, NULL}, *relative[] = {(char[]){"./x"}, NULL},
         *odd[] = {(char[]){"/x/.y"}, NULL};

    ck_assert_int_eq(from_options(options, ELEMENTSOF(options), argv), -EBADMSG);
    ck_assert_uint_eq(problems.n, ELEMENTSOF(expected));
    for (size_t i = 0; i < problems.n; i++)
        if (strncmp(problems.lines[i], expected[i], strlen(expected[i])) != 0)
            ck_abort_msg("%s\ninstead of\n%s", problems.lines[i], expected[i]);

    ck_assert_int_eq(from_options(NULL, 0, NULL), -EINVAL);
    ck_assert_ptr_nonnull(strstr(complaints(), "ExecStart= is missing"));
    ck_assert_int_eq(from_options(NULL, 0, relative), -EBADMSG);
    ck_assert_str_eq(complaints(),
                     "command: './x': expected the executable's absolute path, or its name to be found in "
                     "PATH\n");
    ck_assert_int_eq(from_options(NULL, 0, odd), -EBADMSG);
    ck_assert_ptr_nonnull(strstr(complaints(), "--name: '.y' cannot be a service's name"));
    ck_assert_int_eq(from_options(NULL, 0, argv), 0);
    ck_assert_str_eq(config->name, "true");
}
END_TEST

START_TEST(test_broken_bytes) {
    ck_assert_str_eq(load_bad("Description=caf\xe9\n[So\x1b[31mcket x]\n"),
                     "admin/x.conf:3: bytes that are not UTF-8\n"
                     "admin/x.conf:4: a bracket inside the section header: '[So?[31mcket x'\n");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("config-mistakes");
    TCase *tcase = tcase_create("config");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, test_mistakes, 0, (int) ELEMENTSOF(mistakes));
    tcase_add_test(tcase, test_limit_mistakes);
    tcase_add_test(tcase, test_many_mistakes);
    tcase_add_test(tcase, test_long_listen);
    tcase_add_test(tcase, test_option_mistakes);
    tcase_add_test(tcase, test_broken_bytes);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
