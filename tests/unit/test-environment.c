/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config/environment.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"

#include "suite.h"

static char file[64], service_name[] = "x";

static void setup(void) {
    strcpy(file, "/tmp/latchd-test-environment.XXXXXX");
    int fd = mkstemp(file);

    ck_assert_int_ge(fd, 0);
    close(fd);
}

static void teardown(void) {
    ck_assert(unlink(file) == 0 || errno == ENOENT);
}

static void put(const char *text, size_t size) {
    FILE *stream = fopen(file, "we");

    ck_assert_ptr_nonnull(stream);
    ck_assert_uint_eq(fwrite(text, 1, size, stream), size);
    ck_assert_int_eq(fclose(stream), 0);
}

static const char *words(char *const *list) {
    static char text[2048];
    size_t used = 0;

    text[0] = '\0';
    for (; list && *list; list++)
        used += (size_t) snprintf(text + used, sizeof text - used, "<%s>", *list);
    return text;
}

static const char *parse(const char *text) {
    _cleanup_strlist_ char **list = NULL;

    ck_assert_int_eq(environment_parse_file(text, &list), 0);
    return words(list);
}

START_TEST(test_file) {
    ck_assert_str_eq(parse(""), "");
    ck_assert_str_eq(parse("A=1\n\n# B=2\n ; C=3\n  D = four five  \nE=\nF"), "<A=1><D=four five><E=>");
    ck_assert_str_eq(parse("A=1\r\nB=\"x\"\r\n"), "<A=1><B=x>");
    ck_assert_str_eq(parse("A=1\nB=2\nA=3"), "<A=3><B=2>");
    ck_assert_str_eq(parse("export A=1\n1B=2\n-=3\nnonsense\n=4\nC=5"), "<C=5>");
    ck_assert_str_eq(parse("A='a \\ $b\"'\nB=\"a \\\" \\$ \\` \\\\ \\n 'c'\"\nC=x\"y\"'z'"),
                     "<A=a \\ $b\"><B=a \" $ ` \\ \\n 'c'><C=x\"y\"'z'>");
    ck_assert_str_eq(parse("A='a'\"b\" 'c' d\nB='two\nlines'\nC=\"x\\\ny\""), "<A=abcd><B=two\nlines><C=xy>");
    ck_assert_str_eq(parse("A=one\\\n two\\ \nB=a\\nb\\\\\nC=x\\"), "<A=one two ><B=anb\\><C=x>");
    ck_assert_str_eq(parse("A=#no comment # none\nB=' \nC=2"), "<A=#no comment # none><B= \nC=2>");
}
END_TEST

/* A configuration with nothing but an environment. */
static struct service_config with(char **environment, char **files) {
    return (struct service_config){
        .name = service_name, .environment = environment, .environment_file = files};
}

START_TEST(test_build) {
    char *inherited[] = {(char[]){"HOME=/h"},
                         (char[]){"NOTIFY_SOCKET=@n"},
                         (char[]){"WATCHDOG_USEC=5"},
                         (char[]){"WATCHDOG_PID=5"},
                         (char[]){"LISTEN_FDS=1"},
                         (char[]){"LISTEN_PID=1"},
                         (char[]){"LISTEN_FDNAMES=a"},
                         (char[]){"INVOCATION_ID=f"},
                         (char[]){"JOURNAL_STREAM=8:1"},
                         (char[]){"LATCHD_SERVICE=o"},
                         (char[]){"A=inherited"},
                         (char[]){"LISTENER=kept"},
                         (char[]){"NOTIFY_SOCKETS=k"},
                         NULL};
    char *environment[] = {(char[]){"A=unit"}, (char[]){"B=unit"}, (char[]){"C=first"}, (char[]){"C=second"},
                           NULL};
    char *files[] = {(char[]){"-/nowhere/at/all"}, file, NULL};
    struct service_config config = with(environment, files);
    _cleanup_strlist_ char **list = NULL;
    _cleanup_err_ struct err err = {0};

    put("B=file\nD=file\n", 14);
    ck_assert_int_eq(service_config_build_environment(&config, inherited, &list, &err), 0);
    ck_assert_str_eq(words(list),
                     "<HOME=/h><A=unit><LISTENER=kept><NOTIFY_SOCKETS=k><B=file><C=second><D=file>");
    list = strlist_free(list);
    ck_assert_int_eq(service_config_build_environment(&config, NULL, &list, NULL), 0);
    ck_assert_str_eq(words(list), "<A=unit><B=file><C=second><D=file>");
}
END_TEST

START_TEST(test_build_fails) {
    char *files[] = {file, NULL};
    struct service_config config = with(NULL, files), empty = with(NULL, NULL);
    _cleanup_strlist_ char **list = NULL;
    _cleanup_err_ struct err err = {0};

    put("A=1\0B=2", 7);
    ck_assert_int_eq(service_config_build_environment(&config, NULL, &list, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.message, file));
    teardown();
    ck_assert_int_eq(service_config_build_environment(&config, NULL, &list, &err), -ENOENT);
    ck_assert_str_eq(err.name, "CannotRead");
    ck_assert_ptr_nonnull(strstr(err.message, file));
    ck_assert_ptr_null(list);
    ck_assert_int_eq(service_config_build_environment(&empty, NULL, &list, &err), 0);
    ck_assert_ptr_nonnull(list);
    ck_assert_ptr_null(list[0]);
}
END_TEST

START_TEST(test_getenv) {
    char *environment[] = {(char[]){"A=unit"}, (char[]){"AB=longer"}, NULL};
    char *files[] = {(char[]){"/nowhere/at/all"}, file, NULL};
    struct service_config config = with(environment, files);
    _cleanup_free_ char *a = NULL, *b = NULL, *own = NULL;

    setenv("OWN_OF_TEST", "own", 1);
    setenv("NOTIFY_SOCKET", "@x", 1);
    unsetenv("MISSING_OF_TEST");
    put("A=file\n", 7);
    a = service_config_getenv(&config, "A");
    ck_assert_str_eq(a, "file");
    b = service_config_getenv(&config, "AB");
    ck_assert_str_eq(b, "longer");
    own = service_config_getenv(&config, "OWN_OF_TEST");
    ck_assert_str_eq(own, "own");
    ck_assert_ptr_null(service_config_getenv(&config, "MISSING_OF_TEST"));
    ck_assert_ptr_null(service_config_getenv(&config, "NOTIFY_SOCKET"));
}
END_TEST

START_TEST(test_expand) {
    static const struct {
        const char *word, *expanded;
    } cases[] = {
        {"$ONE", "<one>"},
        {"$TWO", "<two><words>"},
        {"$QUOTED", "<a b><c>"},
        {"$EMPTY", ""},
        {"$UNSET", ""},
        {"${TWO}", "<two words>"},
        {"${UNSET}", "<>"},
        {"a${ONE}b${TWO}", "<aonebtwo words>"},
        {"a$ONE", "<a$ONE>"},
        {"$ONE/b", "<$ONE/b>"},
        {"$$ONE", "<$ONE>"},
        {"$${ONE}", "<${ONE}>"},
        {"$", "<$>"},
        {"${", "<${>"},
        {"${ONE", "<${ONE>"},
        {"${1}", "<${1}>"},
        {"$1", "<$1>"},
        {"", "<>"},
        {"100%", "<100%>"},
        {"${NESTED}", "<${ONE}>"},
    };
    char *environment[] = {(char[]){"ONE=one"}, (char[]){"TWO=two words"}, (char[]){"QUOTED='a b' c"},
                           (char[]){"EMPTY="},  (char[]){"NESTED=${ONE}"}, NULL};

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        char executable[] = "/bin/${ONE}$$", *word = strdup(cases[i].word), expected[128];
        char *argv[] = {executable, word, NULL};
        _cleanup_strlist_ char **list = NULL;

        snprintf(expected, sizeof expected, "</bin/${ONE}$$>%s", cases[i].expanded);
        ck_assert_int_eq(service_config_expand_argv(argv, environment, &list), 0);
        ck_assert_str_eq(words(list), expected);
        free(word);
    }
}
END_TEST

START_TEST(test_expand_executable) {
    char *argv[] = {(char[]){"$ONE"}, (char[]){"$ONE"}, NULL}, *environment[] = {(char[]){"ONE=one"}, NULL};
    _cleanup_strlist_ char **list = NULL;

    ck_assert_int_eq(service_config_expand_argv(argv, environment, &list), 0);
    ck_assert_str_eq(words(list), "<$ONE><one>");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("environment");
    TCase *tcase = tcase_create("environment");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_file);
    tcase_add_test(tcase, test_build);
    tcase_add_test(tcase, test_build_fails);
    tcase_add_test(tcase, test_getenv);
    tcase_add_test(tcase, test_expand);
    tcase_add_test(tcase, test_expand_executable);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
