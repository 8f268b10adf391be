/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/kea-json.h"

#include "suite.h"

/* ---- texts in memory ---- */

/* Includes: "deep-N" includes "deep-(N-1)", "deep-0" is a number; "same" includes itself; others are given.
 */
struct shelf {
    const char *name, *text;
    size_t n_read;
};

static int read_shelf(void *context, const char *name, size_t max_bytes, char **ret_text, size_t *ret_size) {
    struct shelf *shelf = context;
    char *text = NULL;

    shelf->n_read++;
    if (strncmp(name, "deep-", 5) == 0) {
        int depth = atoi(name + 5);
        ck_assert_int_ge(
            depth > 0 ? asprintf(&text, "<?include \"deep-%d\"?>", depth - 1) : asprintf(&text, "5"), 0);
    } else if (shelf->name && strcmp(name, shelf->name) == 0)
        text = strdup(shelf->text);
    else
        return -ENOENT;
    ck_assert_ptr_nonnull(text);
    *ret_size = strlen(text);
    if (*ret_size > max_bytes) {
        free(text);
        return -E2BIG;
    }
    *ret_text = text;
    return 0;
}

/* The strict JSON without white space between the tokens, or the one problem. Owned by the caller. */
static char *expand_bytes(const char *text, size_t size, struct shelf *shelf) {
    struct shelf empty = {0};
    const struct kea_json_source source = {.read = read_shelf, .context = shelf ? shelf : &empty};
    _cleanup_kea_json_text_ struct kea_json_text expanded = {0};
    _cleanup_(config_problems_done) struct config_problems problems = {0};
    int r = kea_json_expand("main", text, size, &source, &problems, &expanded);

    if (r < 0) {
        ck_assert_int_eq(r, -EINVAL);
        ck_assert_uint_eq(problems.n, 1);
        ck_assert_ptr_null(expanded.text);
        return strdup(problems.lines[0]);
    }
    ck_assert_uint_eq(problems.n, 0);
    ck_assert_uint_eq(strlen(expanded.text), expanded.size);
    char *out = strdup(expanded.text), *p = out;
    bool quoted = false;
    for (const char *in = expanded.text; *in; in++) {
        if (*in == '"' && (in == expanded.text || in[-1] != '\\'))
            quoted = !quoted;
        if (quoted || (*in != ' ' && *in != '\n'))
            *p++ = *in;
    }
    *p = 0;
    return out;
}

static void assert_expands(const char *text, const char *expected) {
    _cleanup_free_ char *got = expand_bytes(text, strlen(text), NULL);

    ck_assert_str_eq(got, expected);
}

static const struct {
    const char *text, *expanded;
} rewritten[] = {
    {"", ""},
    {" \t\r\n", ""},
    {"{}", "{}"},
    {"# c\n{} // d\n/* e */", "{}"},
    {"{/***/}/**/", "{}"},
    {"{/* /* */}", "{}"},
    {"/* *\n/ # */[]", "[]"},
    {"# no newline", ""},
    {"{\"a\":\"http://x # /* \"}", "{\"a\":\"http://x # /* \"}"},
    {"[\"<?include x?>\"]", "[\"<?include x?>\"]"},
    {"# <?include \"x\"?>\n[]", "[]"},
    {"[1,2,]", "[1,2]"},
    {"[1,,2,,,]", "[1,2]"},
    {"{\"a\":1 , # c\n , }", "{\"a\":1}"},
    {"[true,false,null]", "[true,false,null]"},
    {"[0,-0,7,-7,007,-007,000]", "[0,-0,7,-7,7,-7,0]"},
    {"[+7,7.,.5,+.5,-.5,00.50]", "[7.0,7.0,0.5,0.5,-0.5,0.50]"},
    {"[7e3,7E+3,7.e-3,.5e1]", "[7.0e3,7.0E+3,7.0e-3,0.5e1]"},
    {"[\"\\\" \\\\ \\/ \\b\\f\\n\\r\\t \\u0041\"]", "[\"\\\" \\\\ \\/ \\b\\f\\n\\r\\t \\u0041\"]"},
    {"[\"\\u0000\\u00e9\\u00FF\\u0080\"]", "[\"\xee\xbc\x80\xee\xbf\xa9\xee\xbf\xbf\xee\xbe\x80\"]"},
    {"[\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\"]", "[\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\"]"},
    {"[\"\xe9\"]", "[\"\xee\xbf\xa9\"]"},
    {"[\"\xed\xa0\x80\"]", "[\"\xee\xbf\xad\xee\xbe\xa0\xee\xbe\x80\"]"}, /* a surrogate */
    {"[\"\xc0\x80\"]", "[\"\xee\xbf\x80\xee\xbe\x80\"]"},                 /* overlong */
    {"[\"\xe2\x82\"]", "[\"\xee\xbf\xa2\xee\xbe\x82\"]"},                 /* cut short */
    {"[\"\x7f\"]", "[\"\x7f\"]"},
};

START_TEST(test_rewritten) {
    assert_expands(rewritten[_i].text, rewritten[_i].expanded);
}
END_TEST

static const struct {
    const char *text, *place, *part;
} refused[] = {
    {",", "main:1: ", "','"},
    {"{\n,}", "main:2: ", "','"},
    {"[,1]", "main:1: ", "','"},
    {"{\"a\":,1}", "main:1: ", "','"},
    {"{}\n,\n\n", "main:2: ", "after the last value"},
    {"{}\n/* a\nb", "main:2: ", "not closed"},
    {"/*/", "main:1: ", "not closed"},
    {"/", "main:1: ", "'/'"},
    {"[\"a\nb\"]", "main:1: ", "not closed"},
    {"\n[\"a", "main:2: ", "not closed"},
    {"[\"a\\", "main:1: ", "escape"},
    {"[\"a\\\n\"]", "main:1: ", "escape"},
    {"[\"a\tb\"]", "main:1: ", "control"},
    {"[\"\\x41\"]", "main:1: ", "escape"},
    {"[\"\\u00fg\"]", "main:1: ", "escape"},
    {"[\"\\u00", "main:1: ", "escape"},
    {"[\"\\u0141\"]", "main:1: ", "\\u00ff"},
    {"[\"\\u1041\"]", "main:1: ", "\\u00ff"},
    {"[.]", "main:1: ", "'.'"},
    {"[-]", "main:1: ", "'-'"},
    {"[+]", "main:1: ", "'+'"},
    {"[-.e5]", "main:1: ", "'-.e5'"},
    {"[e5]", "main:1: ", "'e'"},
    {"[1e]", "main:1: ", "'e'"},
    {"[0x1]", "main:1: ", "'x'"},
    {"[True]", "main:1: ", "'True'"},
    {"[nullx]", "main:1: ", "'nullx'"},
    {"{a:1}", "main:1: ", "'a'"},
    {"['a']", "main:1: ", "'''"},
    {"[]\f", "main:1: ", "0x0c"},
    {"\xef\xbb\xbf{}", "main:1: ", "0xef"},
    {"<", "main:1: ", "'<'"},
    {"\n<?", "main:2: ", "an include is written"},
    {"<?xml \"a\"?>", "main:1: ", "an include is written"},
    {"<?INCLUDE \"a\"?>", "main:1: ", "an include is written"},
    {"<?include a?>", "main:1: ", "an include is written"},
    {"<?include \"\"?>", "main:1: ", "an include is written"},
    {"<?include \"a\nb\"?>", "main:1: ", "an include is written"},
    {"<?include \"a", "main:1: ", "an include is written"},
    {"<?include \"a\"", "main:1: ", "an include is written"},
    {"<?include \"a\" >", "main:1: ", "an include is written"},
    {"<?include \"a\" # b\n?>", "main:1: ", "an include is written"},
    {"{}\n<?\n include\n \"none\"?>", "main:2: ", "cannot include 'none': there is no such file"},
    {"<?include \"/none\"?>", "main:1: ", "cannot include '/none': No such file"},
    {"<?include \"main\"?>", "main:1: ", "itself"},
};

START_TEST(test_refused) {
    _cleanup_free_ char *got = expand_bytes(refused[_i].text, strlen(refused[_i].text), NULL);

    ck_assert_msg(strncmp(got, refused[_i].place, strlen(refused[_i].place)) == 0, "'%s' gives '%s'",
                  refused[_i].text, got);
    ck_assert_msg(strstr(got, refused[_i].part) != NULL, "'%s' gives '%s'", refused[_i].text, got);
}
END_TEST

START_TEST(test_nul_bytes) {
    _cleanup_free_ char *outside = expand_bytes("[]\0", 3, NULL), *string = expand_bytes("[\"\0\"]", 5, NULL),
                        *name = expand_bytes("<?include \"a\0b\"?>", 17, NULL),
                        *comment = expand_bytes("#\0\n/*\0*/[]", 10, NULL);

    ck_assert_str_eq(outside, "main:1: unexpected byte 0x00");
    ck_assert_str_eq(string, "main:1: a control character in a string");
    ck_assert_ptr_nonnull(strstr(name, "an include is written"));
    ck_assert_str_eq(comment, "[]");
}
END_TEST

/* Tokens stay apart where a comment or the end of a file stood between them. */
START_TEST(test_tokens_stay_apart) {
    struct shelf shelf = {.name = "two", .text = "2"};
    static const char text[] = "1<?include \"two\"?>3/**/4 7..2";
    const struct kea_json_source source = {.read = read_shelf, .context = &shelf};
    _cleanup_kea_json_text_ struct kea_json_text expanded = {0};
    _cleanup_(config_problems_done) struct config_problems problems = {0};

    ck_assert_int_eq(kea_json_expand("main", text, strlen(text), &source, &problems, &expanded), 0);
    ck_assert_str_eq(expanded.text, "1\n2\n3 4 7.0 0.2");
    ck_assert_uint_eq(expanded.n_lines, 3);
    ck_assert_uint_eq(expanded.n_files, 2);
    ck_assert_str_eq(expanded.files[expanded.lines[1].file], "two");
}
END_TEST

START_TEST(test_lines) {
    struct shelf shelf = {.name = "inner", .text = "# 1\n\n\"b\": # 3\n\n2,\n"};
    static const char text[] = "/*\n*/ {\n\"a\" :\n1, <?include\n\"inner\"\n?>\n\n\"c\":3\n\n}\n\n";
    static const struct kea_json_origin expected[] = {{0, 2}, {0, 3}, {0, 4}, {1, 3},
                                                      {1, 5}, {0, 8}, {0, 10}};
    const struct kea_json_source source = {.read = read_shelf, .context = &shelf, .directory = "/etc/kea"};
    _cleanup_kea_json_text_ struct kea_json_text expanded = {0};
    _cleanup_(config_problems_done) struct config_problems problems = {0};

    ck_assert_int_eq(kea_json_expand("main", text, strlen(text), &source, &problems, &expanded), 0);
    ck_assert_uint_eq(expanded.n_lines, sizeof(expected) / sizeof(expected[0]));
    for (size_t i = 0; i < expanded.n_lines; i++) {
        ck_assert_uint_eq(expanded.lines[i].file, expected[i].file);
        ck_assert_uint_eq(expanded.lines[i].line, expected[i].line);
    }
    ck_assert_str_eq(expanded.files[0], "main");
    ck_assert_str_eq(expanded.files[1], "/etc/kea/inner");
}
END_TEST

START_TEST(test_depth) {
    struct shelf shelf = {0};
    static const char eleven[] = "<?include \"deep-10\"?>", twelve[] = "<?include \"deep-11\"?>";
    _cleanup_free_ char *good = expand_bytes(eleven, strlen(eleven), &shelf);

    ck_assert_str_eq(good, "5");
    ck_assert_uint_eq(shelf.n_read, KEA_JSON_MAX_DEPTH);
    shelf.n_read = 0;
    _cleanup_free_ char *bad = expand_bytes(twelve, strlen(twelve), &shelf);
    ck_assert_uint_eq(shelf.n_read, KEA_JSON_MAX_DEPTH);
    ck_assert_str_eq(bad,
                     "deep-1:1: cannot include 'deep-0': includes are nested deeper than 11, Kea's limit");
}
END_TEST

START_TEST(test_cycle) {
    struct shelf shelf = {.name = "round", .text = "\n\n<?include \"main\"?>"};
    static const char text[] = "{\n<?include \"round\"?>}";
    _cleanup_free_ char *got = expand_bytes(text, strlen(text), &shelf);

    ck_assert_uint_eq(shelf.n_read, 1);
    ck_assert_str_eq(got,
                     "round:3: cannot include 'main': it is being read already, it includes itself through "
                     "others");
}
END_TEST

/* One file may be included often, but not without end. */
START_TEST(test_many_includes) {
    struct shelf shelf = {.name = "x", .text = ""};
    _cleanup_free_ char *text = NULL, *got = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);

    ck_assert_ptr_nonnull(file);
    for (int i = 0; i <= KEA_JSON_MAX_FILES; i++)
        fputs("<?include \"x\"?>\n", file);
    ck_assert_int_eq(fclose(file), 0);
    got = expand_bytes(text, size, &shelf);
    ck_assert_uint_eq(shelf.n_read, KEA_JSON_MAX_FILES);
    ck_assert_str_eq(got, "main:10001: cannot include 'x': there are more than 10000 includes");
}
END_TEST

/* ---- files ---- */

static char *data_path(const char *name) {
    const char *srcdir = getenv("srcdir");
    char *path;

    ck_assert_int_ge(asprintf(&path, "%s/tests/data/kea%s%s", srcdir ? srcdir : ".", *name ? "/" : "", name),
                     0);
    return path;
}

/* Reads FILE of the data; NULL and the one problem (without the directory before it), or the configuration.
 */
static struct kea_json *read_data(const char *name, char **ret_problem) {
    _cleanup_free_ char *directory = data_path(""), *path = data_path(name);
    _cleanup_(config_problems_done) struct config_problems problems = {0};
    struct kea_json *json = NULL;
    int r = kea_json_read(path, directory, &problems, &json);

    *ret_problem = NULL;
    if (r >= 0) {
        ck_assert_uint_eq(problems.n, 0);
        return json;
    }
    ck_assert_int_eq(r, -EINVAL);
    ck_assert_ptr_null(json);
    ck_assert_uint_eq(problems.n, 1);
    ck_assert_int_eq(strncmp(problems.lines[0], directory, strlen(directory)), 0);
    *ret_problem = strdup(problems.lines[0] + strlen(directory) + 1);
    return NULL;
}

static const char *const good[] = {"good-plain.conf",   "good-comments.conf", "good-commas.conf",
                                   "good-numbers.conf", "good-strings.conf",  "good-include.conf",
                                   "good-dhcp6.conf",   "good-ddns.conf",     "good-ctrl-agent.conf",
                                   "kea3-sockets.conf"};

START_TEST(test_good_files) {
    _cleanup_free_ char *problem = NULL;
    _cleanup_kea_json_ struct kea_json *json = read_data(good[_i], &problem);

    ck_assert_msg(json != NULL, "%s: %s", good[_i], problem);
    ck_assert(json_is_object(json->root));
    ck_assert_uint_eq(json_object_size(json->root), 1);
}
END_TEST

static const char *const bad[][2] = {
    {"bad-comma-first.conf", "bad-comma-first.conf:3: unexpected ','"},
    {"bad-comma-last.conf", "bad-comma-last.conf:3: unexpected ','"},
    {"bad-comma-list.conf", "bad-comma-list.conf:2: unexpected ','"},
    {"bad-comma-missing.conf", "bad-comma-missing.conf:4: syntax error: "},
    {"bad-comment-open.conf", "bad-comment-open.conf:4: the comment"},
    {"bad-string-newline.conf", "bad-string-newline.conf:3: a string is not closed"},
    {"bad-string-tab.conf", "bad-string-tab.conf:3: a control character"},
    {"bad-escape.conf", "bad-escape.conf:3: unknown escape"},
    {"bad-escape-wide.conf", "bad-escape-wide.conf:3: Kea takes"},
    {"bad-duplicate.conf", "bad-duplicate.conf:5: syntax error: duplicate object key"},
    {"bad-word.conf", "bad-word.conf:3: 'True'"},
    {"bad-number.conf", "bad-number.conf:3: '-.'"},
    {"bad-number-large.conf", "bad-number-large.conf:3: syntax error: too big integer"},
    {"bad-two.conf", "bad-two.conf:4: syntax error: end of file expected"},
    {"bad-empty.conf", "bad-empty.conf:1: syntax error: "},
    {"bad-list.conf", "bad-list.conf:1: the configuration must be a map"},
    {"bad-byte-order-mark.conf", "bad-byte-order-mark.conf:1: unexpected byte 0xef"},
    {"bad-include-missing.conf", "bad-include-missing.conf:3: cannot include 'inc/missing.json'"},
    {"bad-include-unquoted.conf", "bad-include-unquoted.conf:3: an include is written"},
    {"bad-include-cyclic.conf", "inc/cyclic-b.json:2: cannot include 'inc/cyclic-a.json'"},
    {"bad-include-relative.conf", "inc/relative.json:2: cannot include 'inner.json'"},
    {"bad-include-string.conf", "inc/string-open.json:1: a string is not closed"},
    {"bad-include-comment.conf", "inc/comment-open.json:2: the comment"},
    {"bad-in-include.conf", "inc/broken.json:3: syntax error: "},
    {"bad-behind-include.conf", "bad-behind-include.conf:5: syntax error: "},
};

START_TEST(test_bad_files) {
    _cleanup_free_ char *problem = NULL;
    _cleanup_kea_json_ struct kea_json *json = read_data(bad[_i][0], &problem);

    ck_assert_ptr_null(json);
    ck_assert_msg(strncmp(problem, bad[_i][1], strlen(bad[_i][1])) == 0, "%s", problem);
}
END_TEST

START_TEST(test_values) {
    _cleanup_free_ char *problem = NULL;
    _cleanup_kea_json_ struct kea_json *json = read_data("good-comments.conf", &problem);
    const char *link, *c, *socket;

    ck_assert_ptr_nonnull(json);
    ck_assert_int_eq(json_unpack(json->root, "{s:{s:{s:s,s:s},s:{s:s}}}", "Dhcp4", "user-context", "link",
                                 &link, "c", &c, "control-socket", "socket-name", &socket),
                     0);
    ck_assert_str_eq(link, "http://example.org/#top");
    ck_assert_str_eq(c, "/* none */ <?include \"missing\"?> # none");
    ck_assert_str_eq(socket, "/run/kea//sock#1");
}
END_TEST

static const struct {
    const char *file, *path, *where;
    unsigned line;
} places[] = {
    {"good-plain.conf", "", "good-plain.conf", 1},
    {"good-plain.conf", "Dhcp4", "good-plain.conf", 2},
    {"good-plain.conf", "Dhcp6", "good-plain.conf", 1},
    {"good-plain.conf", "Dhcp4.control-socket.socket-name", "good-plain.conf", 4},
    {"good-plain.conf", "Dhcp4.lease-database.none", "good-plain.conf", 5},
    {"good-plain.conf", "Dhcp4[0].a", "good-plain.conf", 2},
    {"good-comments.conf", "Dhcp4.control-socket", "good-comments.conf", 14},
    {"good-include.conf", "Dhcp4.interfaces-config.interfaces", "inc/interfaces.json", 1},
    {"good-include.conf", "Dhcp4.control-socket.socket-name", "inc/inner.json", 3},
    {"good-include.conf", "Dhcp4.rebind-timer", "inc/outer.json", 4},
    {"good-include.conf", "Dhcp4.valid-lifetime", "good-include.conf", 6},
    {"kea3-sockets.conf", "Dhcp4.control-sockets[0].socket-name", "kea3-sockets.conf", 5},
    {"kea3-sockets.conf", "Dhcp4.control-sockets[3].socket-name", "kea3-sockets.conf", 8},
    {"kea3-sockets.conf", "Dhcp4.control-sockets[4]", "kea3-sockets.conf", 4},
};

START_TEST(test_where) {
    _cleanup_free_ char *problem = NULL, *expected = data_path(places[_i].where);
    _cleanup_kea_json_ struct kea_json *json = read_data(places[_i].file, &problem);
    const char *file = NULL;
    unsigned line = 0;

    ck_assert_ptr_nonnull(json);
    kea_json_where(json, places[_i].path, &file, &line);
    ck_assert_str_eq(file, expected);
    ck_assert_uint_eq(line, places[_i].line);
}
END_TEST

static void assert_unreadable(const char *path, const char *directory, const char *part) {
    _cleanup_(config_problems_done) struct config_problems problems = {0};
    struct kea_json *json = NULL;

    ck_assert_int_eq(kea_json_read(path, directory, &problems, &json), -EINVAL);
    ck_assert_ptr_null(json);
    ck_assert_uint_eq(problems.n, 1);
    ck_assert_msg(strncmp(problems.lines[0], path, strlen(path)) == 0 && strstr(problems.lines[0], part),
                  "%s", problems.lines[0]);
}

START_TEST(test_unreadable) {
    char directory[] = "/tmp/test-kea-json-XXXXXX", fifo[64], large[64], includes_fifo[64];

    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(fifo, sizeof(fifo), "%s/fifo", directory);
    snprintf(large, sizeof(large), "%s/large", directory);
    snprintf(includes_fifo, sizeof(includes_fifo), "%s/includes", directory);
    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    FILE *file = fopen(large, "we");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(ftruncate(fileno(file), (off_t) KEA_JSON_MAX_BYTES + 1), 0);
    fclose(file);
    file = fopen(includes_fifo, "we");
    ck_assert_ptr_nonnull(file);
    fputs("\n<?include \"fifo\"?>", file);
    fclose(file);

    assert_unreadable("/nonexistent/kea.conf", NULL, "cannot read Kea's configuration: No such file");
    assert_unreadable(directory, NULL, "not a regular file");
    assert_unreadable("/dev/null", NULL, "not a regular file");
    assert_unreadable(fifo, NULL, "not a regular file");
    assert_unreadable(large, NULL, "larger than 64 MiB");
    assert_unreadable(includes_fifo, directory, ":2: cannot include 'fifo': it is not a regular file");
    assert_unreadable(includes_fifo, "/nonexistent", "cannot open the working directory '/nonexistent'");

    unlink(fifo);
    unlink(large);
    unlink(includes_fifo);
    ck_assert_int_eq(rmdir(directory), 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("kea-json");
    TCase *memory = tcase_create("memory"), *files = tcase_create("files");

    tcase_set_timeout(memory, 60);
    tcase_set_timeout(files, 60);
    tcase_add_loop_test(memory, test_rewritten, 0, ELEMENTSOF(rewritten));
    tcase_add_loop_test(memory, test_refused, 0, ELEMENTSOF(refused));
    tcase_add_test(memory, test_nul_bytes);
    tcase_add_test(memory, test_tokens_stay_apart);
    tcase_add_test(memory, test_lines);
    tcase_add_test(memory, test_depth);
    tcase_add_test(memory, test_cycle);
    tcase_add_test(memory, test_many_includes);
    tcase_add_loop_test(files, test_good_files, 0, ELEMENTSOF(good));
    tcase_add_loop_test(files, test_bad_files, 0, ELEMENTSOF(bad));
    tcase_add_test(files, test_values);
    tcase_add_loop_test(files, test_where, 0, ELEMENTSOF(places));
    tcase_add_test(files, test_unreadable);
    suite_add_tcase(suite, memory);
    suite_add_tcase(suite, files);

    return suite_run(suite);
}
