/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/value.h"
#include "health/ask.h"
#include "health/ready.h"

#include "suite.h"

#define GOOD "{ \"arguments\": { \"pid\": 1 }, \"result\": 0 }"
#define BAD "{ \"result\": 1, \"text\": \"no\" }"
#define PATIENCE (20 * USEC_PER_SEC)
#define MSEC USEC_PER_MSEC

/* What a server does with a connection. */
enum manner {
    ANSWER,
    REFUSE,
    HALF,
    CLOSE_AT_ONCE,
    CLOSE_UNREAD,
    SILENT,
    KEEP_OPEN,
    BYTES,
    LATE,
    FLOOD,
    STRING_FLOOD,
    LIST_FLOOD
};

struct client {
    int fd;
    enum manner manner;
    size_t sent;
    char request[256];
    size_t size;
    sd_event_source *io, *timer;
};

#define CLIENTS 1200

static struct {
    sd_event *event;
    char directory[64], path[96];
    int listen_fd;
    sd_event_source *listener;
    enum manner manners[8]; /* of the connections, in order; the last one is that of all others */
    size_t n_manners;
    struct client clients[CLIENTS];
    size_t n_clients;
    unsigned ready;
    uint64_t answer_usec;
    struct path_watcher *watcher;
    struct ready_probe *probe;
    struct socket_config config;
    bool keep_probe; /* on_ready does not free it */
} t;

static void end_client(struct client *client) {
    client->io = sd_event_source_disable_unref(client->io);
    client->timer = sd_event_source_disable_unref(client->timer);
    client->fd = fd_close(client->fd);
}

static void say(struct client *client, const char *text, size_t size) {
    ssize_t n = send(client->fd, text, size, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (n > 0)
        client->sent += (size_t) n;
}

static int on_client_timer(sd_event_source *source, uint64_t usec, void *userdata) {
    struct client *client = userdata;

    (void) source;
    (void) usec;
    if (client->manner == LATE) {
        say(client, GOOD, strlen(GOOD));
        end_client(client);
        return 0;
    }
    say(client, &GOOD[client->sent], 1); /* a byte at a time, each in a turn of the loop of its own */
    if (client->sent < strlen(GOOD)) {
        (void) sd_event_source_set_time_relative(client->timer, MSEC);
        return sd_event_source_set_enabled(client->timer, SD_EVENT_ONESHOT);
    }
    return 0;
}

static void answer_later(struct client *client, uint64_t usec) {
    if (!client->timer)
        ck_assert_int_ge(sd_event_add_time_relative(t.event, &client->timer, CLOCK_MONOTONIC, usec, 1,
                                                    on_client_timer, client),
                         0);
}

/* As much as it takes, of something that never becomes an answer. */
static void flood(struct client *client) {
    char block[65536];
    ssize_t n;

    memset(block, 'x', sizeof block);
    if (client->manner == STRING_FLOOD && client->sent == 0)
        say(client, "{ \"text\": \"", 11);
    if (client->manner == LIST_FLOOD) { /* every piece of it ends as an answer would */
        for (size_t i = 0; i < sizeof block; i += 4)
            memcpy(block + i, ", []", 4);
        if (client->sent == 0)
            say(client, "[ []", 4);
    }
    while ((n = send(client->fd, block + client->sent % 4, sizeof block - client->sent % 4,
                     MSG_NOSIGNAL | MSG_DONTWAIT)) > 0)
        client->sent += (size_t) n;
    if (n < 0 && errno != EAGAIN)
        end_client(client);
}

static int on_client(sd_event_source *source, int fd, uint32_t events, void *userdata) {
    struct client *client = userdata;
    ssize_t n =
        recv(fd, client->request + client->size, sizeof client->request - 1 - client->size, MSG_DONTWAIT);

    (void) source;
    (void) events;
    if (n > 0)
        client->size += (size_t) n;
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        end_client(client);
        return 0;
    }
    if (!strchr(client->request, '}'))
        return 0;
    switch (client->manner) {
    case ANSWER:
        say(client, GOOD, strlen(GOOD));
        end_client(client);
        break;
    case REFUSE:
        say(client, BAD, strlen(BAD));
        end_client(client);
        break;
    case HALF:
        say(client, GOOD, strlen(GOOD) / 2);
        end_client(client);
        break;
    case CLOSE_AT_ONCE:
        end_client(client);
        break;
    case KEEP_OPEN:
        say(client, GOOD "\n", strlen(GOOD) + 1);
        break;
    case BYTES:
        answer_later(client, MSEC);
        break;
    case LATE:
        answer_later(client, 300 * MSEC);
        break;
    case FLOOD:
    case STRING_FLOOD:
    case LIST_FLOOD:
        flood(client);
        if (client->io)
            (void) sd_event_source_set_io_events(client->io, EPOLLIN | EPOLLOUT);
        break;
    default:
        break;
    }
    return 0;
}

static int on_listener(sd_event_source *source, int fd, uint32_t events, void *userdata) {
    struct client *client = &t.clients[t.n_clients];

    (void) source;
    (void) events;
    (void) userdata;
    ck_assert_uint_lt(t.n_clients, CLIENTS);
    *client = (struct client){.fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)};
    ck_assert_int_ge(client->fd, 0);
    client->manner = t.manners[t.n_clients < t.n_manners ? t.n_clients : t.n_manners - 1];
    t.n_clients++;
    if (client->manner == CLOSE_UNREAD)
        client->fd = fd_close(client->fd);
    else
        ck_assert_int_ge(sd_event_add_io(t.event, &client->io, client->fd, EPOLLIN, on_client, client), 0);
    return 0;
}

static void serve(size_t n, const enum manner *manners) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    memcpy(t.manners, manners, n * sizeof *manners);
    t.n_manners = n;
    strcpy(address.sun_path, t.path);
    t.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_ge(t.listen_fd, 0);
    ck_assert_int_eq(bind(t.listen_fd, (struct sockaddr *) &address, sizeof address), 0);
    ck_assert_int_eq(listen(t.listen_fd, 2000), 0);
    ck_assert_int_ge(sd_event_add_io(t.event, &t.listener, t.listen_fd, EPOLLIN, on_listener, NULL), 0);
}
static void listen_at(const struct sockaddr *address, socklen_t size, enum manner manner) {
    t.manners[0] = manner;
    t.n_manners = 1;
    t.listen_fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_ge(t.listen_fd, 0);
    ck_assert_int_eq(bind(t.listen_fd, address, size), 0);
    ck_assert_int_eq(listen(t.listen_fd, 2000), 0);
    ck_assert_int_ge(sd_event_add_io(t.event, &t.listener, t.listen_fd, EPOLLIN, on_listener, NULL), 0);
}

#define SERVE(...)                                                                                           \
    serve(sizeof((enum manner[]){__VA_ARGS__}) / sizeof(enum manner), (enum manner[]){__VA_ARGS__})

static void set_up(void) {
    struct rlimit files = {.rlim_cur = 8192, .rlim_max = 8192};

    (void) setrlimit(RLIMIT_NOFILE, &files);
    memset(&t, 0, sizeof t);
    t.listen_fd = -EBADF;
    strcpy(t.directory, "/tmp/test-ready.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(t.directory));
    snprintf(t.path, sizeof t.path, "%s/s", t.directory);
    ck_assert_int_ge(sd_event_new(&t.event), 0);
    ck_assert_int_ge(path_watcher_new(t.event, NULL, NULL, &t.watcher), 0);
    t.config = (struct socket_config){.name = (char *) "s",
                                      .listen = t.path,
                                      .probe = SOCKET_PROBE_KEA,
                                      .probe_timeout_usec = 5 * USEC_PER_SEC};
}

static void tear_down(void) {
    ready_probe_free(t.probe);
    path_watcher_free(t.watcher);
    for (size_t i = 0; i < t.n_clients; i++)
        end_client(&t.clients[i]);
    sd_event_source_disable_unref(t.listener);
    t.listen_fd = fd_close(t.listen_fd);
    sd_event_unref(t.event);
    (void) unlink(t.path);
    ck_assert_int_eq(rmdir(t.directory), 0);
}

static void on_ready(struct ready_probe *probe, uint64_t answer_usec, void *userdata) {
    ck_assert_ptr_eq(userdata, &t);
    t.ready++;
    t.answer_usec = answer_usec;
    if (t.keep_probe)
        return;
    ready_probe_free(probe);
    if (t.probe == probe)
        t.probe = NULL;
}

static void begin(void) {
    ck_assert_int_eq(ready_probe_new(t.event, t.watcher, &t.config, on_ready, &t, &t.probe), 0);
    ck_assert_uint_eq(t.ready, 0); /* never before it returned */
}

/* Runs the loop for some time, or until ready. Returns how often it woke. */
static unsigned linger(uint64_t usec, bool until_ready) {
    uint64_t until = now_usec(CLOCK_MONOTONIC) + usec, now;
    unsigned n = 0;

    while (!(until_ready && t.ready > 0) && (now = now_usec(CLOCK_MONOTONIC)) < until) {
        int r = sd_event_run(t.event, until - now);

        ck_assert_int_ge(r, 0);
        n += r > 0;
    }
    return n;
}

static void expect_ready(void) {
    (void) linger(PATIENCE, true);
    ck_assert_uint_eq(t.ready, 1);
    (void) linger(50 * MSEC, false);
    ck_assert_uint_eq(t.ready, 1); /* once */
}

START_TEST(answers) {
    static const struct {
        const char *text;
        bool good;
    } rows[] = {
        {GOOD, true},
        {"[ " GOOD " ]", true},
        {"[ " GOOD ", " BAD " ]", true},
        {" \n" GOOD "\n\n", true},
        {"{\"result\":0}", true},
        {BAD, false},
        {"[ " BAD ", " GOOD " ]", false},
        {"", false},
        {"[]", false},
        {"{}", false},
        {"0", false},
        {"null", false},
        {"[0]", false},
        {"[[" GOOD "]]", false},
        {"{\"result\":\"0\"}", false},
        {"{\"result\":0.0}", false},
        {"{\"result\":false}", false},
        {"{\"result\":null}", false},
        {"{\"Result\":0}", false},
        {"{\"result\":0", false},
        {"{\"result\":0} x", false},
        {"{\"result\":0}{\"result\":0}", false},
        {"{\"result\":-0}", true},
        {"{\"result\":\xff}", false},
    };

    for (size_t i = 0; i < ELEMENTSOF(rows); i++)
        ck_assert_msg(ask_kea_answer_is_good(rows[i].text, strlen(rows[i].text)) == rows[i].good, "%s",
                      rows[i].text);
    ck_assert(!ask_kea_answer_is_good("{\"result\":0}\0", 13)); /* something behind the end */
    ck_assert(!ask_kea_answer_is_good(NULL, 0));
}
END_TEST

START_TEST(connected) {
    t.config.probe = SOCKET_PROBE_CONNECT;
    SERVE(SILENT);
    begin();
    expect_ready();
    ck_assert_uint_eq(t.n_clients, 1);
}
END_TEST

START_TEST(answered) {
    json_t *request;

    SERVE(ANSWER);
    begin();
    expect_ready();
    ck_assert_uint_eq(t.n_clients, 1);
    request = json_loads(t.clients[0].request, 0, NULL);
    ck_assert_str_eq(json_string_value(json_object_get(request, "command")), "status-get");
    ck_assert_uint_eq(json_object_size(request), 1);
    json_decref(request);
}
END_TEST

/* What is no good answer is asked again. */
START_TEST(tried_again) {
    static const enum manner firsts[] = {REFUSE, HALF, CLOSE_AT_ONCE, CLOSE_UNREAD};

    uint64_t before = now_usec(CLOCK_MONOTONIC);

    SERVE(firsts[_i], firsts[_i], ANSWER);
    begin();
    expect_ready();
    ck_assert_uint_eq(t.n_clients, 3);
    ck_assert_uint_lt(now_usec(CLOCK_MONOTONIC) - before,
                      t.config.probe_timeout_usec); /* without waiting it out */
}
END_TEST

/* Neither that the connection stays open, nor in how many pieces the answer comes, is anything to wait for.
 */
START_TEST(whole_as_soon_as_it_is_whole) {
    SERVE(_i == 0 ? KEEP_OPEN : BYTES);
    begin();
    expect_ready();
    ck_assert_uint_eq(t.n_clients, 1);
    ck_assert_uint_lt(t.answer_usec, t.config.probe_timeout_usec);
    if (_i == 1)
        ck_assert_uint_ge(t.answer_usec, (strlen(GOOD) - 1) * MSEC);
}
END_TEST

START_TEST(slow) {
    SERVE(LATE);
    begin();
    expect_ready();
    ck_assert_uint_eq(t.n_clients, 1);
    ck_assert_uint_ge(t.answer_usec, 300 * MSEC);
}
END_TEST

/* A try ends when its time is over; the next one is made. It sleeps in between. */
START_TEST(never) {
    unsigned wakes;

    t.config.probe_timeout_usec = 200 * MSEC;
    SERVE(SILENT, SILENT, ANSWER);
    begin();
    wakes = linger(150 * MSEC, false);
    ck_assert_uint_le(wakes, 12);
    ck_assert_uint_eq(t.n_clients, 1);
    expect_ready();
    ck_assert_uint_eq(t.n_clients, 3);
    ck_assert_int_lt(t.clients[0].fd, 0); /* the old ones were closed */
    ck_assert_int_lt(t.clients[1].fd, 0);
}
END_TEST

/* A daemon that sends without end costs a bounded time and memory, however it is put, and is asked again. */
START_TEST(endless) {
    struct rusage usage;
    uint64_t spent;

    t.config.probe_timeout_usec = 60 * USEC_PER_SEC;
    SERVE(FLOOD + (enum manner) _i, ANSWER);
    begin();
    expect_ready();
    ck_assert_uint_eq(t.n_clients, 2);
    ck_assert_uint_lt(t.clients[0].sent, 2 << 20);
    ck_assert_int_eq(getrusage(RUSAGE_SELF, &usage), 0);
    spent = (uint64_t) usage.ru_utime.tv_sec * USEC_PER_SEC + (uint64_t) usage.ru_utime.tv_usec;
    ck_assert_uint_lt(spent, USEC_PER_SEC); /* each byte is looked at once */
}
END_TEST

/* Nothing wakes up while nothing happens, and nothing is left open when it is over. */
START_TEST(appears_late) {
    begin();
    (void) linger(20 * MSEC, false); /* the first look */
    ck_assert(!path_watcher_is_idle(t.watcher));
    ck_assert_uint_eq(linger(600 * MSEC, false), 0);
    ck_assert_uint_eq(t.ready, 0);
    SERVE(ANSWER);
    expect_ready();
    ck_assert(path_watcher_is_idle(t.watcher));
}
END_TEST

/* Where there are no watches it is looked for by the clock, with pauses. */
START_TEST(appears_late_unwatched) {
    unsigned wakes;

    path_watcher_free(t.watcher);
    t.watcher = NULL;
    begin();
    wakes = linger(600 * MSEC, false);
    ck_assert_uint_eq(t.ready, 0);
    ck_assert_uint_ge(wakes, 3);  /* it tries */
    ck_assert_uint_le(wakes, 20); /* and pauses */
    SERVE(ANSWER);
    expect_ready();
}
END_TEST

/* A directory that is not there yet, two levels deep. */
START_TEST(directory_appears_late) {
    char one[80], two[88];

    snprintf(one, sizeof one, "%s/a", t.directory);
    snprintf(two, sizeof two, "%s/a/b", t.directory);
    snprintf(t.path, sizeof t.path, "%s/a/b/s", t.directory);
    begin();
    (void) linger(20 * MSEC, false);
    ck_assert_uint_eq(linger(200 * MSEC, false), 0);
    ck_assert_int_eq(mkdir(one, 0755), 0);
    ck_assert_int_eq(mkdir(two, 0755), 0);
    (void) linger(50 * MSEC, false);
    ck_assert_uint_eq(linger(200 * MSEC, false), 0);
    SERVE(ANSWER);
    expect_ready();
    ck_assert_int_eq(unlink(t.path), 0);
    ck_assert_int_eq(rmdir(two), 0);
    ck_assert_int_eq(rmdir(one), 0);
}
END_TEST

/* A rename into place is an appearance, too. */
START_TEST(renamed_into_place) {
    char final[96];

    strcpy(final, t.path);
    snprintf(t.path, sizeof t.path, "%s/other", t.directory);
    SERVE(ANSWER);
    t.config.listen = final;
    begin();
    (void) linger(50 * MSEC, false);
    ck_assert_uint_eq(t.ready, 0);
    ck_assert_int_eq(rename(t.path, final), 0);
    expect_ready();
    strcpy(t.path, final);
}
END_TEST

START_TEST(abstract) {
    static const char name[] = "@latchd-test-ready-%d";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char listen_name[64];

    snprintf(listen_name, sizeof listen_name, name, (int) getpid());
    memcpy(address.sun_path + 1, listen_name + 1, strlen(listen_name) - 1);
    t.config.listen = listen_name;
    begin();
    (void) linger(50 * MSEC, false);
    ck_assert_uint_eq(t.ready, 0);
    listen_at((const struct sockaddr *) &address,
              (socklen_t) (offsetof(struct sockaddr_un, sun_path) + strlen(listen_name)), ANSWER);
    expect_ready();
}
END_TEST

/* 127.0.0.1:PORT, localhost:PORT, *:PORT, [::1]:PORT, and a name that somebody has to be asked for. */
START_TEST(inet) {
    static const char *const hosts[] = {"127.0.0.1", "localhost", "*", "ip6-or-four", "[::1]"};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    socklen_t size = sizeof six;
    char where[300], host[200];

    snprintf(host, sizeof host, "%s", hosts[_i]);
    if (_i == 3)
        ck_assert_int_eq(gethostname(host, sizeof host), 0);
    if (_i == 4) {
        listen_at((const struct sockaddr *) &six, sizeof six, ANSWER);
        ck_assert_int_eq(getsockname(t.listen_fd, (struct sockaddr *) &six, &size), 0);
        snprintf(where, sizeof where, "%s:%u", host, ntohs(six.sin6_port));
    } else {
        if (_i == 3)
            four.sin_addr.s_addr = htonl(INADDR_ANY);
        listen_at((const struct sockaddr *) &four, sizeof four, ANSWER);
        size = sizeof four;
        ck_assert_int_eq(getsockname(t.listen_fd, (struct sockaddr *) &four, &size), 0);
        snprintf(where, sizeof where, "%s:%u", host, ntohs(four.sin_port));
    }
    t.config.listen = where;
    begin();
    expect_ready();
    ck_assert_uint_eq(t.n_clients, 1);
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}
END_TEST

/* A socket that nobody listens on any more, and then somebody does. */
START_TEST(left_behind) {
    SERVE(ANSWER);
    t.listener = sd_event_source_disable_unref(t.listener);
    t.listen_fd = fd_close(t.listen_fd);
    begin();
    (void) linger(100 * MSEC, false);
    ck_assert_uint_eq(t.ready, 0);
    ck_assert_int_eq(unlink(t.path), 0);
    SERVE(ANSWER);
    expect_ready();
}
END_TEST

START_TEST(not_a_socket) {
    close(open(t.path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    begin();
    (void) linger(100 * MSEC, false);
    ck_assert_uint_eq(t.ready, 0);
    ck_assert_int_eq(unlink(t.path), 0);
    SERVE(ANSWER);
    expect_ready();
}
END_TEST

/* It need not be freed from within on_ready. */
START_TEST(kept) {
    t.keep_probe = true;
    SERVE(ANSWER);
    begin();
    expect_ready();
    ck_assert_uint_eq(t.n_clients, 1);
}
END_TEST

static unsigned count_descriptors(void) {
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    ck_assert_ptr_nonnull(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

/* A thousand at a time, freed in whatever state they are. */
START_TEST(freed_midway) {
    enum { N = 1000 };
    static struct ready_probe *probes[N];
    unsigned before;

    SERVE(SILENT);
    (void) linger(MSEC, false);
    before = count_descriptors();
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(ready_probe_new(t.event, t.watcher, &t.config, on_ready, &t, &probes[i]), 0);
    for (int i = 0; i < N; i++) {
        if (i % 3 == 0)
            ck_assert_int_ge(sd_event_run(t.event, 0), 0);
        if (i % 2 == 0) {
            ready_probe_free(probes[i]);
            probes[i] = NULL;
        }
    }
    for (uint64_t until = now_usec(CLOCK_MONOTONIC) + PATIENCE; t.n_clients < N / 2;) {
        ck_assert_uint_lt(now_usec(CLOCK_MONOTONIC), until);
        (void) linger(MSEC, false);
    }
    for (int i = 0; i < N; i++)
        ready_probe_free(probes[i]);
    (void) linger(100 * MSEC, false);
    for (size_t i = 0; i < t.n_clients; i++) /* the server sees all of them go */
        for (uint64_t until = now_usec(CLOCK_MONOTONIC) + PATIENCE; t.clients[i].fd >= 0;) {
            ck_assert_uint_lt(now_usec(CLOCK_MONOTONIC), until);
            (void) linger(MSEC, false);
        }
    ck_assert_uint_le(count_descriptors(), before + 2); /* the loop's timers */
    ck_assert_uint_eq(t.ready, 0);
    ready_probe_free(NULL);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("ready");
    TCase *tests = tcase_create("all");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 100);
    tcase_add_test(tests, answers);
    tcase_add_test(tests, connected);
    tcase_add_test(tests, answered);
    tcase_add_loop_test(tests, tried_again, 0, 4);
    tcase_add_loop_test(tests, whole_as_soon_as_it_is_whole, 0, 2);
    tcase_add_test(tests, slow);
    tcase_add_test(tests, never);
    tcase_add_loop_test(tests, endless, 0, 3);
    tcase_add_test(tests, appears_late);
    tcase_add_test(tests, appears_late_unwatched);
    tcase_add_test(tests, directory_appears_late);
    tcase_add_test(tests, renamed_into_place);
    tcase_add_test(tests, abstract);
    tcase_add_loop_test(tests, inet, 0, 5);
    tcase_add_test(tests, left_behind);
    tcase_add_test(tests, not_a_socket);
    tcase_add_test(tests, kept);
    tcase_add_test(tests, freed_midway);
    suite_add_tcase(suite, tests);

    return suite_run(suite);
}
