/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Kills daemons at random, each generation at most once:
 *
 *     storm [--seconds S] [--kills N] [--rate PER-SECOND] [--each] --report FILE EXECUTABLE PID-FILE...
 *
 * PID-FILE is what small-daemon writes; a process is killed (SIGKILL) only while it is the one that the file
 * names, and runs EXECUTABLE with that file as its first argument. It goes on for S seconds or N kills, with
 * --each until every daemon has been killed once. The report has a line "PID-FILE KILLS" each and as its last
 * one "all KILLS MEDIAN MOST", the time from a kill to the beginning of the successor in microseconds. Fails
 * when a daemon is not succeeded within three minutes. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_USEC (180 * UINT64_C(1000000))

struct target {
    const char *file;
    pid_t killed; /* whose successor has not been seen yet; 0: none */
    uint64_t killed_usec;
    unsigned long kills;
};

struct storm {
    const char *executable;
    struct target *targets;
    size_t n;
    uint64_t *latencies;
    unsigned long kills, n_latencies, size;
};

static uint64_t now_usec(void) {
    struct timespec now;

    (void) clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
}

static bool read_target(const struct target *target, pid_t *ret_pid, uint64_t *ret_start) {
    char line[64] = "";
    int fd = open(target->file, O_RDONLY | O_CLOEXEC), pid;
    ssize_t n;

    if (fd < 0)
        return false;
    n = read(fd, line, sizeof line - 1);
    (void) close(fd);
    if (n <= 0 || sscanf(line, "%d %" SCNu64, &pid, ret_start) != 2)
        return false;
    *ret_pid = (pid_t) pid;
    return true;
}

static bool is_it(const struct storm *storm, const struct target *target, pid_t pid) {
    char path[64], text[PATH_MAX];
    size_t length;
    ssize_t n;
    int fd;

    snprintf(path, sizeof path, "/proc/%d/exe", (int) pid);
    n = readlink(path, text, sizeof text - 1);
    if (n < 0 || (text[n] = '\0', strcmp(text, storm->executable) != 0))
        return false;
    snprintf(path, sizeof path, "/proc/%d/cmdline", (int) pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        (void) close(fd);
    if (n <= 0)
        return false;
    text[n] = '\0';
    length = strlen(text) + 1;
    return (ssize_t) length < n && strcmp(text + length, target->file) == 0;
}

/* Notes how long its successor took to begin, if there is one by now. True: it can be killed (again). */
static bool look(struct storm *storm, struct target *target, pid_t *ret_pid) {
    uint64_t start;

    if (!read_target(target, ret_pid, &start))
        return false;
    if (*ret_pid == target->killed)
        return false;
    if (target->killed) {
        if (storm->n_latencies == storm->size) {
            storm->size = storm->size ? 2 * storm->size : 1024;
            storm->latencies = reallocarray(storm->latencies, storm->size, sizeof *storm->latencies);
            if (!storm->latencies)
                abort();
        }
        storm->latencies[storm->n_latencies++] =
            start > target->killed_usec ? start - target->killed_usec : 0;
        target->killed = 0;
    }
    return true;
}

static bool strike(struct storm *storm, struct target *target) {
    pid_t pid;
    int pidfd;
    bool done;

    if (!look(storm, target, &pid))
        return false;
    pidfd = (int) syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0)
        return false;
    target->killed_usec = now_usec();
    done = is_it(storm, target, pid) && syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) == 0;
    (void) close(pidfd);
    if (!done)
        return false;
    target->killed = pid;
    target->kills++;
    storm->kills++;
    return true;
}

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

    return (x > y) - (x < y);
}

static int write_report(struct storm *storm, const char *path) {
    FILE *file = fopen(path, "we");

    if (!file)
        return EXIT_FAILURE;
    for (size_t i = 0; i < storm->n; i++)
        fprintf(file, "%s %lu\n", storm->targets[i].file, storm->targets[i].kills);
    if (storm->n_latencies)
        qsort(storm->latencies, storm->n_latencies, sizeof *storm->latencies, compare);
    fprintf(file, "all %lu %" PRIu64 " %" PRIu64 "\n", storm->kills,
            storm->n_latencies ? storm->latencies[storm->n_latencies / 2] : 0,
            storm->n_latencies ? storm->latencies[storm->n_latencies - 1] : 0);
    return fclose(file) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Until everyone that was killed has a successor. */
static int await_successors(struct storm *storm) {
    uint64_t until = now_usec() + PATIENCE_USEC;
    pid_t pid;

    for (size_t i = 0; i < storm->n; i++)
        while (storm->targets[i].killed && !look(storm, &storm->targets[i], &pid)) {
            if (now_usec() > until) {
                fprintf(stderr, "storm: nobody came after PID %d of %s\n", (int) storm->targets[i].killed,
                        storm->targets[i].file);
                return EXIT_FAILURE;
            }
            (void) usleep(2000);
        }
    return EXIT_SUCCESS;
}

int main(int argc, char *argv[]) {
    static const struct option options[] = {
        {"seconds", required_argument, NULL, 's'}, {"kills", required_argument, NULL, 'k'},
        {"rate", required_argument, NULL, 'r'},    {"report", required_argument, NULL, 'o'},
        {"each", no_argument, NULL, 'e'},          {0}};
    unsigned long kills = ULONG_MAX, rate = 0;
    uint64_t begin = now_usec(), until = UINT64_MAX, last;
    const char *report = NULL;
    struct storm storm = {0};
    bool each = false;
    int c, r;

    while ((c = getopt_long(argc, argv, "+", options, NULL)) >= 0)
        switch (c) {
        case 's':
            until = begin + strtoul(optarg, NULL, 10) * 1000000;
            break;
        case 'k':
            kills = strtoul(optarg, NULL, 10);
            break;
        case 'r':
            rate = strtoul(optarg, NULL, 10);
            break;
        case 'o':
            report = optarg;
            break;
        case 'e':
            each = true;
            break;
        default:
            return 64;
        }
    if (!report || argc - optind < 2)
        return 64;
    storm.executable = argv[optind++];
    storm.n = (size_t) (argc - optind);
    storm.targets = calloc(storm.n, sizeof *storm.targets);
    if (!storm.targets)
        return EXIT_FAILURE;
    for (size_t i = 0; i < storm.n; i++)
        storm.targets[i].file = argv[optind + (int) i];
    srandom((unsigned) begin);
    if (each)
        kills = storm.n;
    last = begin;
    while (storm.kills < kills && now_usec() < until) {
        uint64_t now = now_usec();
        struct target *target = &storm.targets[each ? storm.kills : (size_t) random() % storm.n];

        if (strike(&storm, target))
            last = now;
        else if (now - last > PATIENCE_USEC)
            break;
        (void) usleep(rate ? (useconds_t) (1000000 / rate) : 200);
    }
    r = await_successors(&storm);
    if (kills != ULONG_MAX && storm.kills < kills) {
        fprintf(stderr, "storm: %lu kills, not %lu\n", storm.kills, kills);
        r = EXIT_FAILURE;
    }
    return write_report(&storm, report) == EXIT_SUCCESS ? r : EXIT_FAILURE;
}
