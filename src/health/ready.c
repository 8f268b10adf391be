/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "health/ready.h"

#include <jansson.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/fd.h"
#include "base/value.h"
#include "socket/peer.h"

#define RETRY_FIRST_USEC (5 * USEC_PER_MSEC)
#define RETRY_MOST_USEC (250 * USEC_PER_MSEC)
#define ANSWER_MAX (1024 * 1024)

static const char status_get[] = "{ \"command\": \"status-get\" }";

struct ready_probe {
    sd_event *event;
    const struct socket_config *config;
    void (*on_ready)(struct ready_probe *probe, uint64_t answer_usec, void *userdata);
    void *userdata;
    int fd;
    sd_event_source *io, *timer;
    uint64_t retry_usec, began_usec;
    size_t sent;
    char *answer;
    size_t answer_size;
};

static int try_once(struct ready_probe *probe);

bool ready_kea_answer_is_good(const char *text, size_t size) {
    json_t *json = json_loadb(text, size, 0, NULL),
           *first = json_is_array(json) ? json_array_get(json, 0) : json,
           *result = json_object_get(first, "result");
    bool good = json_is_integer(result) && json_integer_value(result) == 0;

    json_decref(json);
    return good;
}

static void close_connection(struct ready_probe *probe) {
    probe->io = sd_event_source_disable_unref(probe->io);
    probe->fd = fd_close(probe->fd);
    free(probe->answer);
    probe->answer = NULL;
    probe->answer_size = probe->sent = 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
    struct ready_probe *probe = userdata;

    (void) source;
    (void) usec;
    close_connection(probe);
    return try_once(probe);
}

static int arm_timer(struct ready_probe *probe, uint64_t delay_usec) {
    probe->timer = sd_event_source_disable_unref(probe->timer);
    return sd_event_add_time_relative(probe->event, &probe->timer, CLOCK_BOOTTIME, delay_usec, 1, on_timer,
                                      probe);
}

static int try_later(struct ready_probe *probe) {
    uint64_t delay = probe->retry_usec;

    close_connection(probe);
    probe->retry_usec = delay * 2 < RETRY_MOST_USEC ? delay * 2 : RETRY_MOST_USEC;
    return arm_timer(probe, delay);
}

static int content(struct ready_probe *probe) {
    uint64_t took = now_usec(CLOCK_MONOTONIC) - probe->began_usec;

    close_connection(probe);
    probe->timer = sd_event_source_disable_unref(probe->timer);
    probe->on_ready(probe, took, probe->userdata); /* may free the probe */
    return 0;
}

/* Only what ends like JSON is worth a parser's time, lest a byte at a time costs a look at everything for
 * each. */
static bool may_be_whole(const struct ready_probe *probe) {
    size_t size = probe->answer_size;

    while (size > 0 && strchr(" \t\r\n", probe->answer[size - 1]))
        size--;
    return size > 0 && (probe->answer[size - 1] == '}' || probe->answer[size - 1] == ']');
}

/* Reads until the end; Kea closes the connection behind its answer. */
static int read_answer(struct ready_probe *probe) {
    for (;;) {
        char *bigger = realloc(probe->answer, probe->answer_size + 4096);
        ssize_t n;

        if (!bigger)
            return try_later(probe);
        probe->answer = bigger;
        n = recv(probe->fd, probe->answer + probe->answer_size, 4096, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return 0;
        if (n < 0 || probe->answer_size > ANSWER_MAX)
            return try_later(probe);
        if (n > 0) {
            probe->answer_size += (size_t) n;
            /* Done as soon as it is whole, in case the other side keeps the connection. */
            if (!may_be_whole(probe) || !ready_kea_answer_is_good(probe->answer, probe->answer_size))
                continue;
            return content(probe);
        }
        return try_later(probe); /* the end came, and it was no good answer */
    }
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata) {
    struct ready_probe *probe = userdata;
    size_t size = sizeof status_get - 1;

    (void) source;
    (void) events;
    if (probe->sent < size) {
        ssize_t n = send(fd, status_get + probe->sent, size - probe->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return 0;
        if (n < 0)
            return try_later(probe);
        probe->sent += (size_t) n;
        if (probe->sent < size)
            return 0;
        return sd_event_source_set_io_events(probe->io, EPOLLIN);
    }
    return read_answer(probe);
}

static int try_once(struct ready_probe *probe) {
    int r;

    probe->began_usec = now_usec(CLOCK_MONOTONIC);
    probe->fd = peer_connect_path(probe->config->listen);
    if (probe->fd < 0)
        return try_later(probe);
    if (probe->config->probe != SOCKET_PROBE_KEA)
        return content(probe);
    r = sd_event_add_io(probe->event, &probe->io, probe->fd, EPOLLOUT, on_io, probe);
    if (r >= 0)
        r = arm_timer(probe, probe->config->probe_timeout_usec);
    return r;
}

static int on_first(sd_event_source *source, void *userdata) {
    struct ready_probe *probe = userdata;

    (void) source;
    probe->io = sd_event_source_disable_unref(probe->io);
    return try_once(probe);
}

int ready_probe_new(sd_event *event, const struct socket_config *config,
                    void (*on_ready)(struct ready_probe *probe, uint64_t answer_usec, void *userdata),
                    void *userdata, struct ready_probe **ret) {
    struct ready_probe *probe = calloc(1, sizeof *probe);
    int r;

    if (!probe)
        return -ENOMEM;
    *probe = (struct ready_probe){.event = sd_event_ref(event),
                                  .config = config,
                                  .on_ready = on_ready,
                                  .userdata = userdata,
                                  .fd = -EBADF,
                                  .retry_usec = RETRY_FIRST_USEC};
    /* From the loop, so that on_ready never is called before this function has returned. */
    r = sd_event_add_defer(event, &probe->io, on_first, probe);
    if (r < 0) {
        ready_probe_free(probe);
        return r;
    }
    *ret = probe;
    return 0;
}

void ready_probe_free(struct ready_probe *probe) {
    if (!probe)
        return;
    close_connection(probe);
    sd_event_source_disable_unref(probe->timer);
    sd_event_unref(probe->event);
    free(probe);
}
