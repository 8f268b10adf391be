/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "health/examine.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mount.h"
#include "base/value.h"
#include "health/helper.h"
#include "probe/freezer.h"
#include "socket/unix-diag.h"

#define WINDOW_USEC USEC_PER_SEC
#define PATIENCE_USEC (3 * USEC_PER_SEC) /* the child's: it has to sleep for the window, too */

struct examination {
    sd_event *event;
    int proc_fd;
    pid_t pid;
    struct health_evidence evidence;
    uint64_t began_usec, began_cpu_usec; /* CLOCK_MONOTONIC */
    struct helper *helper;
    sd_event_source *timer; /* where no child could be made */
    examine_done_t done;
    void *userdata;
};

/* The child tells each thing by itself, so that what came before it had to wait is not lost. */
enum finding_kind {
    FINDING_TRACER,
    FINDING_QUEUE,
    FINDING_WCHAN,
    FINDING_IO,
    FINDING_SYSCALL,
    FINDING_STACK
};

struct finding {
    enum finding_kind kind;
    uint32_t size; /* of the bytes behind it */
};

struct question {
    pid_t pid;
    const char *socket_path;
};

static int read_text(int proc_fd, pid_t pid, const char *name, char **ret) {
    char path[64];

    snprintf(path, sizeof path, "%d/%s", (int) pid, name);
    return fd_read_file_at(proc_fd, path, 16384, ret, NULL);
}

/* utime and stime of the whole thread group, fields 14 and 15 of /proc/PID/stat (proc(5)). */
static int read_cpu(int proc_fd, pid_t pid, uint64_t *ret_usec) {
    _cleanup_free_ char *text = NULL;
    unsigned long long user, system;
    const char *close;
    int r = read_text(proc_fd, pid, "stat", &text);

    if (r < 0)
        return r;
    close = strrchr(text, ')');
    if (!close ||
        sscanf(close + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system) != 2)
        return -EBADMSG;
    *ret_usec = procfs_ticks_to_boottime_usec(user + system);
    return 0;
}

/* ---- the child ---- */

static void tell(int out_fd, enum finding_kind kind, const void *data, size_t size) {
    struct finding finding = {.kind = kind, .size = (uint32_t) size};

    (void) fd_write_all(out_fd, &finding, sizeof finding);
    (void) fd_write_all(out_fd, data, size);
}

static void tell_text(int proc_fd, pid_t pid, const char *name, size_t max, int out_fd,
                      enum finding_kind kind) {
    _cleanup_free_ char *text = NULL;
    size_t size;

    if (read_text(proc_fd, pid, name, &text) < 0)
        return;
    size = strlen(text);
    tell(out_fd, kind, text, size < max ? size : max - 1);
}

/* All bytes that it read and wrote, files in memory and sockets included. */
static bool read_io(int proc_fd, pid_t pid, uint64_t *ret) {
    _cleanup_free_ char *text = NULL;
    unsigned long long in, out;

    if (read_text(proc_fd, pid, "io", &text) < 0 || sscanf(text, "rchar: %llu\nwchar: %llu", &in, &out) != 2)
        return false;
    *ret = in + out;
    return true;
}

static void tell_tracer(int proc_fd, pid_t pid, int out_fd) {
    _cleanup_free_ char *text = NULL;
    const char *row;
    int tracer;

    if (read_text(proc_fd, pid, "status", &text) < 0)
        return;
    row = strstr(text, "\nTracerPid:");
    if (row && sscanf(row, "\nTracerPid: %d", &tracer) == 1)
        tell(out_fd, FINDING_TRACER, &tracer, sizeof tracer);
}

static const struct unix_socket *find_listener(const struct unix_table *table, int proc_fd,
                                               const char *path) {
    struct stat st;
    struct mount_facts mount;
    int fd;
    const struct unix_socket *found = NULL;

    if (*path == '@')
        return unix_table_find_name(table, path);
    fd = open(path, O_PATH | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0 && mount_of_fd(proc_fd, fd, &mount) >= 0)
        found = unix_table_find(table, mount.device, st.st_ino);
    fd_close(fd);
    return found;
}

static void tell_queue(int proc_fd, const char *path, int out_fd) {
    _cleanup_unix_table_ struct unix_table table = {0};
    const struct unix_socket *socket;
    uint32_t figures[2];

    if (!path || (*path != '/' && *path != '@') || unix_table_read(&table) < 0)
        return;
    socket = find_listener(&table, proc_fd, path);
    if (!socket || !socket->listening)
        return;
    figures[0] = socket->queue;
    figures[1] = socket->backlog;
    tell(out_fd, FINDING_QUEUE, figures, sizeof figures);
}

/* What waits for nothing first. */
static void look(const void *data, int proc_fd, int out_fd) {
    const struct question *question = data;
    uint64_t before, after, began = now_usec(CLOCK_MONOTONIC), passed;
    bool known;

    tell_tracer(proc_fd, question->pid, out_fd);
    tell_queue(proc_fd, question->socket_path, out_fd);
    tell_text(proc_fd, question->pid, "wchan", 64, out_fd, FINDING_WCHAN);
    known = read_io(proc_fd, question->pid, &before);
    passed = now_usec(CLOCK_MONOTONIC) - began;
    if (passed < WINDOW_USEC)
        (void) usleep((useconds_t) (WINDOW_USEC - passed));
    if (known && read_io(proc_fd, question->pid, &after)) {
        uint64_t moved = after - before;

        tell(out_fd, FINDING_IO, &moved, sizeof moved);
    }
    tell_text(proc_fd, question->pid, "syscall", 128, out_fd, FINDING_SYSCALL);
    tell_text(proc_fd, question->pid, "stack", HEALTH_STACK_MAX, out_fd, FINDING_STACK);
}

/* ---- the parent ---- */

static void take_text(char *to, size_t room, const char *from, size_t size) {
    if (size >= room)
        size = room - 1;
    memcpy(to, from, size);
    to[size] = '\0';
    while (size > 0 && to[size - 1] == '\n')
        to[--size] = '\0';
}

static void take(struct health_evidence *evidence, const struct finding *finding, const char *data) {
    uint32_t figures[2];
    int tracer;

    switch (finding->kind) {
    case FINDING_TRACER:
        memcpy(&tracer, data, sizeof tracer);
        evidence->tracer = tracer;
        break;
    case FINDING_QUEUE:
        memcpy(figures, data, sizeof figures);
        evidence->queue_known = true;
        evidence->queue = figures[0];
        evidence->backlog = figures[1];
        break;
    case FINDING_WCHAN:
        take_text(evidence->wchan, sizeof evidence->wchan, data, finding->size);
        if (strcmp(evidence->wchan, "0") == 0)
            evidence->wchan[0] = '\0';
        break;
    case FINDING_IO:
        memcpy(&evidence->io_bytes, data, sizeof evidence->io_bytes);
        evidence->io_known = true;
        break;
    case FINDING_SYSCALL:
        take_text(evidence->syscall, sizeof evidence->syscall, data, finding->size);
        break;
    case FINDING_STACK:
        take_text(evidence->stack, sizeof evidence->stack, data, finding->size);
        break;
    }
}

static void take_all(struct health_evidence *evidence, const char *answer, size_t size) {
    struct finding finding;

    while (size >= sizeof finding) {
        memcpy(&finding, answer, sizeof finding);
        if (size - sizeof finding < finding.size)
            return; /* cut off in the middle of it */
        take(evidence, &finding, answer + sizeof finding);
        answer += sizeof finding + finding.size;
        size -= sizeof finding + finding.size;
    }
}

void examine_cancel(struct examination *examination) {
    if (!examination)
        return;
    helper_free(examination->helper);
    sd_event_source_disable_unref(examination->timer);
    sd_event_unref(examination->event);
    free(examination);
}

void examine_glance(int proc_fd, pid_t pid, struct health_evidence *evidence) {
    struct proc_stat stat;

    evidence->seen = procfs_read_stat(proc_fd, pid, &stat) >= 0;
    if (!evidence->seen)
        return;
    evidence->state = stat.state;
    evidence->threads = stat.threads;
    evidence->frozen = freezer_has(proc_fd, pid);
}

static void conclude(struct examination *examination) {
    struct health_evidence *evidence = &examination->evidence;
    examine_done_t done = examination->done;
    void *userdata = examination->userdata;
    struct health_evidence found;
    uint64_t cpu_usec = 0;

    examine_glance(examination->proc_fd, examination->pid, evidence);
    evidence->seen &= read_cpu(examination->proc_fd, examination->pid, &cpu_usec) >= 0;
    evidence->window_usec = now_usec(CLOCK_MONOTONIC) - examination->began_usec;
    evidence->cpu_usec = cpu_usec > examination->began_cpu_usec ? cpu_usec - examination->began_cpu_usec : 0;
    found = *evidence;
    examine_cancel(examination);
    done(&found, userdata);
}

static void on_answer(int error, const void *answer, size_t size, void *userdata) {
    struct examination *examination = userdata;

    (void) error; /* what came is what we have */
    examination->helper = NULL;
    take_all(&examination->evidence, answer, size);
    conclude(examination);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
    (void) source;
    (void) usec;
    conclude(userdata);
    return 0;
}

int examine_start(sd_event *event, int proc_fd, pid_t pid, const char *socket_path,
                  const struct health_evidence *begin, examine_done_t done, void *userdata,
                  struct examination **ret) {
    struct question question = {.pid = pid, .socket_path = socket_path};
    struct examination *examination = calloc(1, sizeof *examination);
    int r;

    if (!examination)
        return -ENOMEM;
    *examination = (struct examination){.event = sd_event_ref(event),
                                        .proc_fd = proc_fd,
                                        .pid = pid,
                                        .evidence = {.symptom = begin->symptom,
                                                     .chances = begin->chances,
                                                     .misses = begin->misses,
                                                     .was_stopped = begin->was_stopped},
                                        .began_usec = now_usec(CLOCK_MONOTONIC),
                                        .done = done,
                                        .userdata = userdata};
    (void) read_cpu(proc_fd, pid, &examination->began_cpu_usec);
    r = helper_start(event, look, &question, proc_fd, PATIENCE_USEC, on_answer, examination,
                     &examination->helper);
    if (r < 0) /* no process to be had: state and processor time tell enough to judge by */
        r = sd_event_add_time_relative(event, &examination->timer, CLOCK_MONOTONIC, WINDOW_USEC, 1, on_timer,
                                       examination);
    if (r < 0) {
        examine_cancel(examination);
        return r;
    }
    *ret = examination;
    return 0;
}
