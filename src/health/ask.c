/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "health/ask.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/closer.h"
#include "base/fd.h"
#include "base/json-follow.h"
#include "base/value.h"
#include "health/helper.h"
#include "socket/peer.h"

#define ANSWER_MAX (128 * 1024) /* Kea's has a few thousand bytes */
#define PIECE_MAX (16 * 1024)
#define ADDRESSES_MAX 8

static const char status_get[] = "{ \"command\": \"status-get\" }";

static const char *const ask_outcome_names[ASK_OUTCOME_MAX] = {
    [ASK_PENDING] = "pending", [ASK_ANSWERED] = "answered",   [ASK_ABSENT] = "absent",
    [ASK_REFUSED] = "refused", [ASK_FULL] = "queue-full",     [ASK_BAD] = "bad-answer",
    [ASK_FAILED] = "failed",   [ASK_NO_ANSWER] = "no-answer",
};
STRTAB_DEFINE(ask_outcome, enum ask_outcome, ask_outcome_names, ASK_OUTCOME_INVALID)

/* Where HOST:PORT is. */
struct addresses {
    struct peer_address list[ADDRESSES_MAX];
    size_t n, next;
};

struct ask {
    sd_event *event;
    const struct socket_config *config;
    ask_done_t done;
    void *userdata;
    int fd;
    sd_event_source *io, *timer;
    uint64_t began_usec, due_usec; /* CLOCK_MONOTONIC */
    bool connecting, extended;
    struct helper *resolver;
    struct closer *closer;       /* of what comes along with the answer */
    struct addresses *addresses; /* NULL: not HOST:PORT, or not looked up yet */
    size_t sent;
    char *answer;
    size_t answer_size;
    struct json_follow *follow; /* over the answer; NULL: nothing of it has come */
};

bool ask_kea_answer_is_good(const char *text, size_t size) {
    json_t *json = json_loadb(text, size, 0, NULL),
           *first = json_is_array(json) ? json_array_get(json, 0) : json,
           *result = json_object_get(first, "result");
    bool good = json_is_integer(result) && json_integer_value(result) == 0;

    json_decref(json);
    return good;
}

static void close_connection(struct ask *ask) {
    ask->io = sd_event_source_disable_unref(ask->io);
    ask->fd = closer_close_socket(&ask->closer, ask->fd);
    free(ask->answer);
    free(ask->follow);
    ask->answer = NULL;
    ask->follow = NULL;
    ask->answer_size = ask->sent = 0;
    ask->connecting = false;
}

void ask_cancel(struct ask *ask) {
    close_connection(ask);
    ask->timer = sd_event_source_disable_unref(ask->timer);
    helper_free(ask->resolver);
    ask->resolver = NULL;
}

bool ask_is_pending(const struct ask *ask) {
    return ask->timer != NULL;
}

static struct ask_result result_of(const struct ask *ask, enum ask_outcome outcome, int error) {
    return (struct ask_result){
        .outcome = outcome, .error = error, .took_usec = now_usec(CLOCK_MONOTONIC) - ask->began_usec};
}

static void finish(struct ask *ask, struct ask_result result) {
    ask_cancel(ask);
    if (result.outcome != ASK_ANSWERED && ask->addresses) { /* a name may mean another address by now */
        free(ask->addresses);
        ask->addresses = NULL;
    }
    ask->done(ask, &result, ask->userdata); /* may free it */
}

static void finish_with(struct ask *ask, enum ask_outcome outcome, int error) {
    finish(ask, result_of(ask, outcome, error));
}

/* One piece a turn of the loop: whoever sends without end does not keep the others, nor the time that is set
 * to it, waiting. It is followed to its end, in case the other side keeps the connection (Kea closes it).
 * True: the question is over, and the ask may be gone. */
static bool read_answer(struct ask *ask) {
    char *bigger = realloc(ask->answer, ask->answer_size + PIECE_MAX);
    enum json_follow_state state;
    ssize_t n;

    if (bigger)
        ask->answer = bigger;
    if (!ask->follow)
        ask->follow = calloc(1, sizeof *ask->follow);
    if (!bigger || !ask->follow) {
        finish_with(ask, ASK_FAILED, ENOMEM);
        return true;
    }
    n = closer_receive(&ask->closer, ask->fd, ask->answer + ask->answer_size, PIECE_MAX);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) { /* the end came, and it was no answer */
        finish_with(ask, ASK_BAD, n < 0 ? errno : 0);
        return true;
    }
    (void) json_follow_feed(ask->follow, ask->answer + ask->answer_size, (size_t) n);
    state = ask->follow->state;
    ask->answer_size += (size_t) n;
    if (ask->answer_size > ANSWER_MAX)
        finish_with(ask, ASK_BAD, EMSGSIZE);
    else if (state == JSON_FOLLOW_WHOLE && ask_kea_answer_is_good(ask->answer, ask->answer_size))
        finish_with(ask, ASK_ANSWERED, 0);
    else if (state == JSON_FOLLOW_WHOLE || state == JSON_FOLLOW_BAD)
        finish_with(ask, ASK_BAD, 0);
    else
        return false;
    return true;
}

/* What connect(2) says, as an outcome. */
static enum ask_outcome outcome_of(int error) {
    switch (error) {
    case ENOENT:
    case ENOTDIR:
        return ASK_ABSENT;
    case EAGAIN:
        return ASK_FULL;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
    case EADDRNOTAVAIL: /* our own ports are used up (connect(2)) */
        return ASK_FAILED;
    default:
        return ASK_REFUSED;
    }
}

static struct ask_result connect_next(struct ask *ask);

/* Connected: that is all, or the question goes out. */
static struct ask_result connected(struct ask *ask) {
    if (ask->config->probe != SOCKET_PROBE_KEA)
        return result_of(ask, ASK_ANSWERED, 0);
    return result_of(ask, ASK_PENDING, 0);
}

static void on_connected(struct ask *ask) {
    struct ask_result result;
    socklen_t size = sizeof(int);
    int error = 0;

    if (getsockopt(ask->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    ask->connecting = false;
    if (error == 0)
        result = connected(ask);
    else {
        close_connection(ask);
        result = ask->addresses->next < ask->addresses->n ? connect_next(ask)
                                                          : result_of(ask, outcome_of(error), error);
    }
    if (result.outcome != ASK_PENDING)
        finish(ask, result);
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata) {
    struct ask *ask = userdata;
    size_t size = sizeof status_get - 1;

    (void) source;
    (void) events;
    if (ask->connecting) {
        on_connected(ask);
        return 0;
    }
    if (ask->sent < size) {
        ssize_t n = send(fd, status_get + ask->sent, size - ask->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return 0;
        if (n < 0) {
            finish_with(ask, ASK_BAD, errno);
            return 0;
        }
        ask->sent += (size_t) n;
        if (ask->sent < size)
            return 0;
        return sd_event_source_set_io_events(ask->io, EPOLLIN);
    }
    (void) read_answer(ask);
    return 0;
}

/* Time is over. If we come late ourselves (stopped, without processor), or with us the daemon did, it gets
 * the time once more: only what it did while we looked is held against it. */
static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
    struct ask *ask = userdata;
    uint64_t now = now_usec(CLOCK_MONOTONIC), timeout = ask->config->probe_timeout_usec;

    (void) source;
    (void) usec;
    if (ask->fd >= 0 && !ask->connecting && ask->sent == sizeof status_get - 1 && read_answer(ask))
        return 0;
    if (!ask->extended && now - ask->due_usec > timeout / 4 + 100 * USEC_PER_MSEC) {
        ask->extended = true;
        ask->due_usec = now + timeout;
        (void) sd_event_source_set_time(ask->timer, ask->due_usec);
        return sd_event_source_set_enabled(ask->timer, SD_EVENT_ONESHOT);
    }
    finish_with(ask, ASK_NO_ANSWER, ETIMEDOUT);
    return 0;
}

static int arm_timer(struct ask *ask) {
    int r;

    if (ask->timer)
        return 0;
    ask->extended = false;
    if (__builtin_add_overflow(ask->began_usec, ask->config->probe_timeout_usec, &ask->due_usec))
        ask->due_usec = USEC_INFINITY;
    r = sd_event_add_time(ask->event, &ask->timer, CLOCK_MONOTONIC, ask->due_usec, 1, on_timer, ask);
    if (r >= 0) /* an answer that is there counts, however late we look */
        r = sd_event_source_set_priority(ask->timer, SD_EVENT_PRIORITY_NORMAL + 5);
    return r;
}

/* A connection, or one that is on its way. */
static struct ask_result watch(struct ask *ask, int fd, bool connecting) {
    int r;

    ask->fd = fd;
    ask->connecting = connecting;
    if (!connecting && ask->config->probe != SOCKET_PROBE_KEA) {
        struct ask_result result = connected(ask);

        ask_cancel(ask);
        return result;
    }
    r = sd_event_add_io(ask->event, &ask->io, fd, EPOLLOUT, on_io, ask);
    if (r >= 0)
        r = arm_timer(ask);
    if (r >= 0)
        return result_of(ask, ASK_PENDING, 0);
    ask_cancel(ask);
    return result_of(ask, ASK_FAILED, -r);
}

static struct ask_result give_up(struct ask *ask, int error) {
    struct ask_result result = result_of(ask, outcome_of(error), error);

    ask_cancel(ask);
    return result;
}

/* ---- HOST:PORT ---- */

static struct ask_result connect_next(struct ask *ask) {
    int error = EADDRNOTAVAIL;

    while (ask->addresses->next < ask->addresses->n) {
        bool connecting;
        int fd = peer_connect_address(&ask->addresses->list[ask->addresses->next++], &connecting);

        if (fd >= 0)
            return watch(ask, fd, connecting);
        error = -fd;
    }
    return give_up(ask, error);
}

/* In a child: a name server may let one wait. */
static void resolve(const void *question, int fd, int out_fd) {
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    char host[256], *colon;
    struct addrinfo *list;
    size_t n = 0;

    (void) fd;
    snprintf(host, sizeof host, "%s", (const char *) question);
    colon = strrchr(host, ':');
    if (!colon)
        return;
    *colon = '\0';
    if (getaddrinfo(host, colon + 1, &hints, &list) != 0)
        return;
    for (struct addrinfo *info = list; info && n < ADDRESSES_MAX; info = info->ai_next, n++) {
        struct peer_address address = {.size = info->ai_addrlen};

        if (info->ai_addrlen > sizeof address.name)
            continue;
        memcpy(&address.name, info->ai_addr, info->ai_addrlen);
        (void) fd_write_all(out_fd, &address, sizeof address);
    }
}

static void on_resolved(int error, const void *answer, size_t size, void *userdata) {
    struct ask *ask = userdata;
    size_t n = size / sizeof(struct peer_address);
    struct ask_result result;

    ask->resolver = NULL;
    if (n == 0) {
        finish_with(ask, ASK_FAILED, error ? -error : EHOSTUNREACH);
        return;
    }
    ask->addresses = calloc(1, sizeof *ask->addresses);
    if (!ask->addresses) {
        finish_with(ask, ASK_FAILED, ENOMEM);
        return;
    }
    ask->addresses->n = n < ADDRESSES_MAX ? n : ADDRESSES_MAX;
    memcpy(ask->addresses->list, answer, ask->addresses->n * sizeof(struct peer_address));
    result = connect_next(ask);
    if (result.outcome != ASK_PENDING)
        finish(ask, result);
}

/* A number needs nobody; a name is looked up for each question that the last address did not answer. */
static struct ask_result begin_inet(struct ask *ask) {
    const char *listen = ask->config->listen, *colon = strrchr(listen, ':');
    struct peer_address address;
    char six[32];
    int r;

    if (!ask->addresses && peer_parse_address(listen, &address) >= 0) {
        ask->addresses = calloc(1, sizeof *ask->addresses);
        if (!ask->addresses)
            return result_of(ask, ASK_FAILED, ENOMEM);
        ask->addresses->list[0] = address;
        ask->addresses->n = 1;
        snprintf(six, sizeof six, "[::1]%s", colon);
        if ((strncmp(listen, "localhost:", 10) == 0 || *listen == '*') &&
            peer_parse_address(six, &ask->addresses->list[1]) >= 0)
            ask->addresses->n = 2;
    }
    if (ask->addresses) {
        ask->addresses->next = 0;
        return connect_next(ask);
    }
    r = arm_timer(ask);
    if (r >= 0)
        r = helper_start(ask->event, resolve, listen, -EBADF, ask->config->probe_timeout_usec, on_resolved,
                         ask, &ask->resolver);
    if (r >= 0)
        return result_of(ask, ASK_PENDING, 0);
    ask_cancel(ask);
    return result_of(ask, ASK_FAILED, -r);
}

struct ask_result ask_begin(struct ask *ask) {
    const char *listen = ask->config->listen;
    int fd;

    ask_cancel(ask);
    ask->began_usec = now_usec(CLOCK_MONOTONIC);
    if (*listen != '/' && *listen != '@')
        return begin_inet(ask);
    fd = *listen == '@' ? peer_connect_abstract(listen + 1) : peer_connect_path(listen);
    return fd < 0 ? give_up(ask, -fd) : watch(ask, fd, false);
}

int ask_new(sd_event *event, const struct socket_config *config, ask_done_t done, void *userdata,
            struct ask **ret) {
    struct ask *ask = calloc(1, sizeof *ask);

    if (!ask)
        return -ENOMEM;
    *ask = (struct ask){
        .event = sd_event_ref(event), .config = config, .done = done, .userdata = userdata, .fd = -EBADF};
    *ret = ask;
    return 0;
}

void ask_free(struct ask *ask) {
    if (!ask)
        return;
    ask_cancel(ask);
    closer_free(ask->closer);
    free(ask->addresses);
    sd_event_unref(ask->event);
    free(ask);
}
