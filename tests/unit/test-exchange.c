/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/deadline.h"
#include "base/fd.h"
#include "base/value.h"
#include "socket/exchange.h"

#include "suite.h"

#define SOON (150 * USEC_PER_MSEC)
#define LONG (20 * USEC_PER_SEC)
#define BIG ((size_t) 3 << 20) /* of which no buffer holds the tenth part */

static int ours;
static pid_t child;

/* What was passed on, in what pieces and how slowly. */
static char *passed;
static size_t n_passed, passed_room, pass_at_once;
static useconds_t pass_pause;
static int pass_error; /* once pass_error_at bytes were taken */
static size_t pass_error_at;

static ssize_t pass(void *userdata, const char *bytes, size_t size) {
    (void) userdata;
    if (pass_error && n_passed >= pass_error_at)
        return -pass_error;
    if (pass_pause)
        (void) usleep(pass_pause);
    if (pass_at_once && size > pass_at_once)
        size = pass_at_once;
    if (pass_error && size > pass_error_at - n_passed)
        size = pass_error_at - n_passed;
    if (n_passed + size >= passed_room) {
        passed = realloc(passed, passed_room = 2 * (n_passed + size) + 1);
        ck_assert_ptr_nonnull(passed);
    }
    memcpy(passed + n_passed, bytes, size);
    passed[n_passed += size] = '\0';
    return (ssize_t) size;
}

static void shrink(int fd) {
    int bytes = 4096;

    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes), 0);
}

/* The other end runs `daemon` in a process of its own; what that holds in its hands is small. */
static void begin(void (*daemon)(int fd)) {
    int ends[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    shrink(ends[0]);
    shrink(ends[1]);
    ours = ends[0];
    ck_assert_int_eq(fd_set_nonblock(ours, true), 0);
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        close(ours);
        (void) signal(SIGPIPE, SIG_IGN);
        daemon(ends[1]);
        _exit(0);
    }
    close(ends[1]);
}

static void set_up(void) {
    ours = -EBADF;
    child = 0;
    n_passed = passed_room = pass_at_once = pass_error_at = 0;
    pass_pause = 0;
    pass_error = 0;
}

static void tear_down(void) {
    fd_close(ours);
    free(passed);
    passed = NULL;
    if (child > 0) {
        (void) kill(child, SIGKILL);
        (void) waitpid(child, NULL, 0);
    }
}

static void daemon_was_content(void) {
    int status;

    ours = fd_close(ours);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    child = 0;
    ck_assert_int_eq(status, 0);
}

static struct exchange_result run_text(const char *text, size_t size, bool json, bool half_close,
                                       uint64_t usec) {
    struct exchange exchange = {
        .text = text,
        .size = size,
        .json = json,
        .half_close = half_close,
        .deadline_usec = deadline_after(usec),
        .pass = pass,
        .pass_fd = -EBADF,
    };
    struct exchange_result result;

    exchange_run(&exchange, ours, &result);
    ck_assert_uint_eq(result.passed_bytes, n_passed);
    return result;
}

static struct exchange_result run(const char *text, bool json, bool half_close, uint64_t usec) {
    return run_text(text, strlen(text), json, half_close, usec);
}

static uint64_t processor_usec(void) {
    struct rusage usage;

    ck_assert_int_eq(getrusage(RUSAGE_SELF, &usage), 0);
    return (uint64_t) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * USEC_PER_SEC +
           (uint64_t) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void ended(const struct exchange_result *result, enum exchange_end end) {
    ck_assert_msg(result->end == end, "%s, not %s; error %d, %llu of it passed",
                  exchange_end_to_string(result->end), exchange_end_to_string(end), result->error,
                  (unsigned long long) result->passed_bytes);
}

/* ---- daemons ---- */

static void say(int fd, const char *text) {
    if (write(fd, text, strlen(text)) != (ssize_t) strlen(text))
        _exit(3);
}

static void hear(int fd, const char *text) {
    char bytes[256];
    size_t size = 0;
    ssize_t n;

    while (size < strlen(text) && (n = read(fd, bytes + size, strlen(text) - size)) > 0)
        size += (size_t) n;
    if (size != strlen(text) || memcmp(bytes, text, size) != 0)
        _exit(4);
}

static void hear_end(int fd) {
    char byte;

    if (read(fd, &byte, 1) != 0)
        _exit(5);
}

static void answer_json_and_stay(int fd) {
    static const char answer[] = " {\"a\": [1, \"]}\"]}";

    hear(fd, "list");
    for (size_t i = 0; answer[i]; i++) {
        if (write(fd, answer + i, 1) != 1)
            _exit(3);
        (void) usleep(200);
    }
    hear_end(fd);
}

static void answer_after_end(int fd) {
    hear(fd, "list");
    hear_end(fd);
    say(fd, "a\nb\n");
}

static void answer_while_open(int fd) {
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};

    hear(fd, "list");
    if (poll(&pollfd, 1, 50) != 0) /* that is the end, or more */
        _exit(6);
    say(fd, "ok");
}

/* Reads nothing until its answer is taken, and that fits into no buffer. */
static void answer_first(int fd) {
    static char bytes[BIG];
    size_t n = 0;

    memset(bytes, 'x', sizeof bytes);
    for (ssize_t r; n < sizeof bytes; n += (size_t) r)
        if ((r = write(fd, bytes + n, sizeof bytes - n)) < 0)
            _exit(3);
    for (n = 0;;) {
        ssize_t r = read(fd, bytes, sizeof bytes);

        if (r <= 0)
            break;
        n += (size_t) r;
    }
    if (n != BIG)
        _exit(5);
}

static void never_read(int fd) {
    (void) fd;
    (void) pause();
}

static void read_only(int fd) {
    char bytes[4096];

    while (read(fd, bytes, sizeof bytes) > 0)
        ;
    (void) pause();
}

static void read_little_and_close(int fd) {
    char bytes[1000];

    (void) !read(fd, bytes, sizeof bytes);
}

static void end_in_the_middle(int fd) {
    hear(fd, "list");
    say(fd, "{\"a\": [1, ");
}

static void end_with_text_unread(int fd) {
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};

    (void) poll(&pollfd, 1, 10000);
    say(fd, "{\"a\": ");
}

static void end_at_once(int fd) {
    hear(fd, "list");
}

static void end_with_a_number(int fd) {
    hear(fd, "list");
    say(fd, "42");
}

static void answer_no_json(int fd) {
    hear(fd, "list");
    say(fd, "ERR unknown\n");
    say(fd, "command {}\n");
}

static void answer_and_stay(int fd) {
    hear(fd, "list");
    say(fd, "[1, 2");
    (void) pause();
}

/* Says that it has said all, and goes on reading. */
static void finish_and_read_on(int fd) {
    char bytes[4096];
    size_t size = 0;
    ssize_t n;

    say(fd, "done");
    (void) shutdown(fd, SHUT_WR);
    while ((n = read(fd, bytes, sizeof bytes)) > 0) {
        size += (size_t) n;
        (void) usleep(100);
    }
    if (size != BIG)
        _exit(5);
}

static void send_without_end(int fd) {
    char bytes[4096] = "x";

    while (write(fd, bytes, sizeof bytes) > 0)
        ;
}

static void send_much_and_close(int fd) {
    char bytes[6000] = "x";

    (void) !write(fd, bytes, sizeof bytes);
}

/* ---- */

START_TEST(test_json_ends_itself) {
    struct exchange_result result;

    begin(answer_json_and_stay);
    result = run("list", true, true, LONG);
    ended(&result, EXCHANGE_ANSWERED);
    ck_assert_str_eq(passed, " {\"a\": [1, \"]}\"]}");
    ck_assert_uint_lt(result.took_usec, LONG / 2);
    ck_assert(!result.finished);
    daemon_was_content();
}
END_TEST

START_TEST(test_half_close) {
    struct exchange_result result;

    begin(answer_after_end);
    result = run("list", false, true, LONG);
    ended(&result, EXCHANGE_ANSWERED);
    ck_assert_str_eq(passed, "a\nb\n");
    ck_assert_uint_eq(result.sent_bytes, 4);
    ck_assert_uint_eq(result.received_bytes, 4);
    ck_assert(result.finished);
    daemon_was_content();
}
END_TEST

START_TEST(test_kept_open) {
    struct exchange_result result;

    begin(answer_while_open);
    result = run("list", false, false, LONG);
    ended(&result, EXCHANGE_ANSWERED);
    ck_assert_str_eq(passed, "ok");
    daemon_was_content();
}
END_TEST

/* Megabytes both ways at once, each side unable to go on without the other. */
START_TEST(test_both_ways) {
    struct exchange_result result;
    char *text = malloc(BIG);

    ck_assert_ptr_nonnull(text);
    memset(text, 'y', BIG);
    begin(answer_first);
    pass_at_once = 1000; /* whoever takes it, takes little at a time */
    result = run_text(text, BIG, false, true, LONG);
    ended(&result, EXCHANGE_ANSWERED);
    ck_assert_uint_eq(result.sent_bytes, BIG);
    ck_assert_uint_eq(n_passed, BIG);
    for (size_t i = 0; i < BIG; i++)
        ck_assert_int_eq(passed[i], 'x');
    free(text);
    daemon_was_content();
}
END_TEST

/* It took so much as its buffer holds, and not more; nobody waits for longer than the deadline, nor spins. */
START_TEST(test_never_reads) {
    struct exchange_result result;
    char *text = calloc(1, BIG);
    uint64_t before;

    begin(never_read);
    before = processor_usec();
    result = run_text(text, BIG, true, true, 4 * SOON);
    ended(&result, EXCHANGE_SILENT);
    ck_assert_uint_gt(result.sent_bytes, 0);
    ck_assert_uint_lt(result.sent_bytes, BIG / 2);
    ck_assert_uint_lt(processor_usec() - before, SOON);
    ck_assert_uint_ge(result.took_usec, 3 * SOON);
    ck_assert_uint_lt(result.took_usec, LONG / 2);
    free(text);
}
END_TEST

START_TEST(test_silent) {
    struct exchange_result result;

    begin(read_only);
    result = run("list", _i == 1, true, SOON);
    ended(&result, EXCHANGE_SILENT);
    ck_assert_uint_eq(result.sent_bytes, 4);
    ck_assert_uint_eq(result.received_bytes, 0);
    ck_assert_uint_ge(result.took_usec, SOON);
}
END_TEST

/* Closed in the middle of the command: it is no answer, whatever came. */
START_TEST(test_takes_part) {
    struct exchange_result result;
    char *text = calloc(1, BIG);

    begin(read_little_and_close);
    result = run_text(text, BIG, _i == 1, true, LONG);
    ended(&result, EXCHANGE_RESET);
    ck_assert_int_eq(result.error, ECONNRESET);
    ck_assert_uint_lt(result.sent_bytes, BIG);
    free(text);
}
END_TEST

static const struct {
    void (*daemon)(int fd);
    bool json;
    enum exchange_end end;
    const char *passed;
} ends[] = {
    {end_in_the_middle, true, EXCHANGE_CLOSED, "{\"a\": [1, "},
    {end_in_the_middle, false, EXCHANGE_ANSWERED, "{\"a\": [1, "},
    {end_with_text_unread, true, EXCHANGE_RESET, "{\"a\": "},
    {end_with_text_unread, false, EXCHANGE_RESET, "{\"a\": "},
    {end_at_once, true, EXCHANGE_CLOSED, NULL},
    {end_at_once, false, EXCHANGE_ANSWERED, NULL},
    {end_with_a_number, true, EXCHANGE_ANSWERED, "42"},
    {answer_no_json, true, EXCHANGE_NOT_JSON, "ERR unknown\ncommand {}\n"},
    {answer_no_json, false, EXCHANGE_ANSWERED, "ERR unknown\ncommand {}\n"},
};

START_TEST(test_ends) {
    struct exchange_result result;

    begin(ends[_i].daemon);
    result = run("list", ends[_i].json, true, LONG);
    ended(&result, ends[_i].end);
    ck_assert_pstr_eq(passed, ends[_i].passed);
    ck_assert_uint_eq(result.received_bytes, n_passed);
}
END_TEST

START_TEST(test_partial) {
    struct exchange_result result;

    begin(answer_and_stay);
    result = run("list", _i == 1, true, SOON);
    ended(&result, EXCHANGE_PARTIAL);
    ck_assert_str_eq(passed, "[1, 2");
    ck_assert_uint_ge(result.took_usec, SOON);
}
END_TEST

START_TEST(test_finished_but_reads) {
    struct exchange_result result;
    char *text = calloc(1, BIG);

    begin(finish_and_read_on);
    result = run_text(text, BIG, false, true, LONG);
    ended(&result, EXCHANGE_ANSWERED);
    ck_assert_str_eq(passed, "done");
    ck_assert_uint_eq(result.sent_bytes, BIG);
    free(text);
    daemon_was_content();
}
END_TEST

START_TEST(test_endless) {
    struct exchange_result result;

    begin(send_without_end);
    pass_pause = 5000; /* the daemon is faster: there is something whenever it is looked */
    result = run("", false, true, SOON);
    ended(&result, EXCHANGE_PARTIAL);
    ck_assert_uint_lt(result.took_usec, LONG / 2);
}
END_TEST

/* Nobody takes the answer: in the end that is said, and until then nothing is received beyond one piece; nor
 * does anybody spin, be the connection hung up or not. */
START_TEST(test_stuck) {
    struct exchange_result result;
    struct exchange exchange = {.text = "", .pass = pass};
    char bytes[4096] = "";
    int ends_of_pipe[2];
    uint64_t before;

    ck_assert_int_eq(pipe2(ends_of_pipe, O_CLOEXEC | O_NONBLOCK), 0);
    while (write(ends_of_pipe[1], bytes, sizeof bytes) > 0)
        ;
    begin(_i == 0 ? send_without_end : send_much_and_close);
    pass_error = EAGAIN;
    pass_error_at = 1000;
    exchange.pass_fd = ends_of_pipe[1];
    exchange.deadline_usec = deadline_after(4 * SOON);
    before = processor_usec();
    exchange_run(&exchange, ours, &result);
    ended(&result, EXCHANGE_STUCK);
    ck_assert_uint_lt(processor_usec() - before, SOON);
    ck_assert_uint_eq(result.passed_bytes, 1000);
    ck_assert_uint_gt(result.received_bytes, 1000);
    ck_assert_uint_le(result.received_bytes, 1000 + 65536);
    ck_assert_uint_ge(result.took_usec, 3 * SOON);
    close(ends_of_pipe[0]);
    close(ends_of_pipe[1]);
}
END_TEST

START_TEST(test_refused) {
    struct exchange_result result;

    begin(send_without_end);
    pass_error = EPIPE;
    pass_error_at = 5000;
    result = run("", false, true, LONG);
    ended(&result, EXCHANGE_REFUSED);
    ck_assert_int_eq(result.error, EPIPE);
    ck_assert_uint_eq(result.passed_bytes, 5000);
    ck_assert_uint_lt(result.took_usec, LONG / 2);
}
END_TEST

/* What is there counts, however late it is looked at. */
START_TEST(test_late) {
    struct exchange_result result;
    int ends_of_pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends_of_pair), 0);
    ours = ends_of_pair[0];
    ck_assert_int_eq(write(ends_of_pair[1], "all of it", 9), 9);
    ck_assert_int_eq(shutdown(ends_of_pair[1], SHUT_WR), 0);
    result = run("list", false, true, 0);
    ended(&result, EXCHANGE_ANSWERED);
    ck_assert_str_eq(passed, "all of it");
    close(ends_of_pair[1]);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("exchange");
    TCase *tcase = tcase_create("exchange");

    tcase_set_timeout(tcase, 40);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, test_json_ends_itself);
    tcase_add_test(tcase, test_half_close);
    tcase_add_test(tcase, test_kept_open);
    tcase_add_test(tcase, test_both_ways);
    tcase_add_test(tcase, test_never_reads);
    tcase_add_loop_test(tcase, test_silent, 0, 2);
    tcase_add_loop_test(tcase, test_takes_part, 0, 2);
    tcase_add_loop_test(tcase, test_ends, 0, ELEMENTSOF(ends));
    tcase_add_loop_test(tcase, test_partial, 0, 2);
    tcase_add_test(tcase, test_finished_but_reads);
    tcase_add_test(tcase, test_endless);
    tcase_add_loop_test(tcase, test_stuck, 0, 2);
    tcase_add_test(tcase, test_refused);
    tcase_add_test(tcase, test_late);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
