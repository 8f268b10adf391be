/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What "doveconf -a" of Dovecot 2.3.19 printed (tests/data/dovecot), and what it never would. */

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "config/dovecot-conf.h"

#include "suite.h"

static struct dovecot_conf conf;
static struct err err;

static void setup(void) {
    conf = (struct dovecot_conf){0};
    err = (struct err){0};
}

static void teardown(void) {
    dovecot_conf_done(&conf);
    err_done(&err);
}

static void read_recorded(const char *name) {
    const char *srcdir = getenv("srcdir");
    _cleanup_free_ char *path = NULL, *text = NULL;
    size_t size;
    int r;

    ck_assert_int_ge(asprintf(&path, "%s/tests/data/dovecot/%s", srcdir ? srcdir : ".", name), 0);
    ck_assert_int_eq(fd_read_file_at(AT_FDCWD, path, 1 << 20, &text, &size), 0);
    r = dovecot_conf_parse(text, size, &conf, &err);
    ck_assert_msg(r == 0, "%s", err_text(&err));
}

static const struct dovecot_service *service(const char *name) {
    const struct dovecot_service *found = dovecot_conf_find(&conf, name);

    ck_assert_msg(found != NULL, "no service %s", name);
    return found;
}

static const struct dovecot_listener *listener(const char *of, const char *name) {
    const struct dovecot_service *found = service(of);

    for (size_t i = 0; i < found->n_listeners; i++)
        if (strcmp(found->listeners[i].name, name) == 0)
            return &found->listeners[i];
    ck_abort_msg("service %s has no listener %s", of, name);
}

START_TEST(plain) {
    const char *whose = "?";

    read_recorded("default.txt");
    ck_assert_str_eq(conf.version, "2.3.19.1");
    ck_assert_str_eq(conf.base_dir, "/run/dovecot");
    ck_assert_str_eq(conf.libexec_dir, "/usr/lib/dovecot");
    ck_assert_str_eq(conf.listen, "*, ::");
    ck_assert_str_eq(conf.protocols, " imap"); /* in quotes */
    ck_assert_uint_eq(conf.default_client_limit, 1000);
    ck_assert_uint_eq(conf.default_process_limit, 100);
    ck_assert_uint_eq(dovecot_conf_needed_files(&conf, &whose), 1000);
    ck_assert_ptr_null(whose);

    ck_assert_ptr_null(dovecot_conf_find(&conf, "pop3")); /* is not in protocols */
    ck_assert_ptr_null(dovecot_conf_find(&conf, "lmtp"));
    ck_assert_uint_eq(service("imap")->process_limit, 1024);
    ck_assert_uint_eq(service("imap")->client_limit, 1);
    ck_assert_str_eq(service("imap")->executable, "/usr/lib/dovecot/imap");
    ck_assert_uint_eq(service("imap-login")->process_limit, 100); /* written as 0 */
    ck_assert_uint_eq(service("imap-login")->client_limit, 1);    /* 1000, but service_count = 1 */
    ck_assert_uint_eq(service("imap-login")->service_count, 1);
    ck_assert_str_eq(service("imap-login")->type, "login");
    ck_assert_uint_eq(service("auth")->client_limit, 1000);
    ck_assert_uint_eq(service("auth")->process_limit, 1);
    ck_assert_str_eq(service("auth")->arguments, "");
    ck_assert_str_eq(service("auth-worker")->executable, "/usr/lib/dovecot/auth");
    ck_assert_str_eq(service("auth-worker")->arguments, "-w");
    ck_assert_uint_eq(listener("imap-login", "imap")->port, 143);
    ck_assert(!listener("imap-login", "imap")->ssl);
    ck_assert(listener("imap-login", "imaps")->ssl);
    ck_assert_uint_eq(listener("imap", "/run/dovecot/login/imap")->mode, 0666);
    ck_assert(!listener("imap", "/run/dovecot/login/imap")->is_inet);
}
END_TEST

START_TEST(mailhost) {
    const char *whose = NULL;

    read_recorded("mailhost.txt");
    ck_assert_str_eq(conf.base_dir, "/run/mail/dovecot");
    ck_assert_str_eq(conf.ssl, "required");
    ck_assert_uint_eq(dovecot_conf_needed_files(&conf, &whose), 12000);
    ck_assert_str_eq(whose, "auth");
    ck_assert_uint_eq(service("imap-login")->client_limit, 1000);
    ck_assert_uint_eq(service("imap-login")->process_limit, 500);
    ck_assert_uint_eq(service("imap-login")->process_min_avail, 4);
    ck_assert_uint_eq(service("imap")->client_limit, 10);
    ck_assert_uint_eq(service("imap")->service_count, 100);
    ck_assert_uint_eq(listener("imap-login", "imap")->port, 0);
    ck_assert_str_eq(listener("imap-login", "imaps")->address, "*");
    ck_assert_str_eq(listener("imap-login", "with blank")->address, "localhost");
    ck_assert_uint_eq(listener("lmtp", "/var/spool/postfix/private/dovecot-lmtp")->mode, 0600);
    ck_assert_uint_eq(listener("lmtp", "/srv/odd name")->mode, 0);
    ck_assert_uint_eq(listener("auth", "/run/mail/dovecot/auth-master")->mode, 0);
    ck_assert_ptr_null(dovecot_conf_find(&conf, "pop3")); /* has no executable */
    service("pop3-login");
}
END_TEST

#define FRAME                                                                                                \
    "base_dir = /run/d\nlibexec_dir = /usr/lib/d\ndefault_client_limit = 10\ndefault_process_limit = 7\n"

START_TEST(backlog) {
    static const struct {
        const char *limits;
        uint64_t backlog;
    } cases[] = {
        {"client_limit = 3\nprocess_limit = 5\n", 15},
        {"client_limit = 1\nprocess_limit = 1\n", 4},
        {"", 70},
        {"client_limit = 0\nprocess_limit = 0\nservice_count = 1\n", 7},
        {"client_limit = 4294967290\nprocess_limit = 4294967290\n", INT_MAX},
        {"client_limit = unlimited\nprocess_limit = 2\n", INT_MAX},
    };
    _cleanup_free_ char *text = NULL;
    int size = asprintf(&text, FRAME "service a {\nexecutable = a\n%s}\n", cases[_i].limits);

    ck_assert_int_eq(dovecot_conf_parse(text, (size_t) size, &conf, &err), 0);
    ck_assert_uint_eq(dovecot_service_backlog(service("a")), cases[_i].backlog);
}
END_TEST

/* Names in quotes, values that look like sections, sections that look like values, a file without its last
 * newline. */
START_TEST(odd_but_good) {
    static const char text[] =
        FRAME "service \"a \\\"b\\\" {\" {\n\texecutable = x -w  -y\n"
              "  extra = {\n  other \"name = {\" {\n    client_limit = 99\n    deeper {\n"
              "      client_limit = 98\n    }\n  }\n  client_limit = 2\n\n  \n}\r\n# end";

    ck_assert_msg(dovecot_conf_parse(text, strlen(text), &conf, &err) == 0, "%s", err_text(&err));
    ck_assert_uint_eq(conf.n_services, 1);
    ck_assert_uint_eq(service("a \"b\" {")->client_limit, 2);
    ck_assert_str_eq(conf.services[0].executable, "/usr/lib/d/x");
    ck_assert_str_eq(conf.services[0].arguments, "-w  -y");
}
END_TEST

static const struct {
    const char *text, *complaint;
} bad[] = {
    {"", "no configuration of Dovecot"},
    {"Hello, world\n", "line 1 of what Dovecot tells"},
    {"base_dir = /run/d\n", "no configuration of Dovecot"},
    {FRAME, "no configuration of Dovecot"},
    {"base_dir = run\nlibexec_dir = /l\nservice a {\n}\n", "no configuration of Dovecot"},
    {"base_dir = /run\nlibexec_dir = /l\nservice a {\n}\n", "no default_client_limit"},
    {FRAME "service a {\nexecutable = a\n", "still open"},
    {FRAME "}\n", "line 5 of what Dovecot tells of its configuration closes"},
    {FRAME "service a {\nexecutable = a\nclient_limit = many\n}\n", "line 7"},
    {FRAME "service a {\nexecutable = a\nclient_limit = -1\n}\n", "no number"},
    {FRAME "service a {\nexecutable = a\nclient_limit = 99999999999999999999\n}\n", "no number"},
    {FRAME "service a {\nexecutable = a\ninet_listener b {\nport = 65536\n}\n}\n", "no number"},
    {FRAME "service a {\nexecutable = a\nunix_listener b {\nmode = 0668\n}\n}\n", "no number"},
    {FRAME "service a {\nexecutable = a\n\033[2J\n}\n", "neither a setting"},
};

START_TEST(refused) {
    ck_assert_int_eq(dovecot_conf_parse(bad[_i].text, strlen(bad[_i].text), &conf, &err), -EBADMSG);
    ck_assert_msg(strstr(err_text(&err), bad[_i].complaint) != NULL, "%s", err_text(&err));
    ck_assert_ptr_null(strchr(err_text(&err), '\033'));
}
END_TEST

START_TEST(refused_bytes) {
    static const char text[] = "base_dir = /a\0b\n";
    static char many[1 << 16];
    size_t size;

    ck_assert_int_eq(dovecot_conf_parse(text, sizeof text - 1, &conf, &err), -EBADMSG);
    memset(many, '{', sizeof many);
    ck_assert_int_eq(dovecot_conf_parse(many, sizeof many, &conf, &err), -EBADMSG);
    for (size = 0; size + 4 < sizeof many; size += 4)
        memcpy(many + size, "a {\n", 4); /* as deep as one likes */
    ck_assert_int_eq(dovecot_conf_parse(many, size, &conf, &err), -EBADMSG);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("dovecot-conf");
    TCase *tests = tcase_create("all");

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, plain);
    tcase_add_test(tests, mailhost);
    tcase_add_loop_test(tests, backlog, 0, 6);
    tcase_add_test(tests, odd_but_good);
    tcase_add_loop_test(tests, refused, 0, ELEMENTSOF(bad));
    tcase_add_test(tests, refused_bytes);
    suite_add_tcase(suite, tests);

    return suite_run(suite);
}
