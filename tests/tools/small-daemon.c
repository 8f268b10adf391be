/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A daemon that costs next to nothing, for tests with a thousand of them or with thousands of restarts:
 *
 *     small-daemon FILE [ignore]
 *
 * It writes "PID START" into FILE (one line of fixed length in one write, START being CLOCK_MONOTONIC in
 * microseconds at its beginning) and sleeps until it is ended. With "ignore" it ignores SIGTERM. */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LIFE_SECONDS 600 /* no test forgets us for longer */

int main(int argc, char *argv[]) {
    struct timespec now;
    char line[64];
    int fd, n;

    (void) clock_gettime(CLOCK_MONOTONIC, &now);
    (void) alarm(LIFE_SECONDS);
    if (argc < 2)
        return 64;
    if (argc > 2 && strcmp(argv[2], "ignore") == 0)
        (void) signal(SIGTERM, SIG_IGN);
    fd = open(argv[1], O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    n = snprintf(line, sizeof line, "%10d %20" PRIu64 "\n", (int) getpid(),
                 (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000);
    if (fd < 0 || pwrite(fd, line, (size_t) n, 0) != n)
        return 1;
    (void) close(fd);
    for (;;)
        (void) pause();
}
