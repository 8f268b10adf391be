/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* watch-processes EXECUTABLE TEXT: until it gets SIGTERM, counts every few milliseconds the living processes
 * of an executable (a path without symbolic links) whose command line contains TEXT, without the children of
 * such a process: those are on their way to another program. Then prints "MOST LOOKS", the largest number
 * seen at once and how often it looked. */

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAUSE_USEC 4000
#define FOUND_MAX 64

static volatile sig_atomic_t ended;

static void on_term(int signal) {
    (void) signal;
    ended = 1;
}

static ssize_t read_file(const char *pid, const char *name, char *buffer, size_t size) {
    char path[NAME_MAX + 32];
    ssize_t n;
    int fd;

    snprintf(path, sizeof(path), "/proc/%s/%s", pid, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    n = read(fd, buffer, size - 1);
    (void) close(fd);
    if (n >= 0)
        buffer[n] = '\0';
    return n;
}

/* Returns whether it is one, and its parent. Zombies have no executable. */
static int is_one(const char *pid, const char *executable, const char *text, int *ret_parent) {
    char path[NAME_MAX + 32], target[PATH_MAX], line[8192], stat[1024];
    const char *close_parenthesis;
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/%s/exe", pid);
    n = readlink(path, target, sizeof(target) - 1);
    if (n < 0)
        return 0;
    target[n] = '\0';
    n = strcmp(target, executable) == 0 ? read_file(pid, "cmdline", line, sizeof(line)) : -1;
    if (n <= 0 || !memmem(line, (size_t) n, text, strlen(text)) ||
        read_file(pid, "stat", stat, sizeof(stat)) <= 0)
        return 0;
    close_parenthesis = strrchr(stat, ')');
    return close_parenthesis && sscanf(close_parenthesis + 1, " %*c %d", ret_parent) == 1;
}

static int count(const char *executable, const char *text) {
    int pids[FOUND_MAX], parents[FOUND_MAX], n = 0, number = 0;
    DIR *proc = opendir("/proc");
    struct dirent *entry;

    if (!proc)
        return 0;
    while (n < FOUND_MAX && (entry = readdir(proc)))
        if (isdigit((unsigned char) entry->d_name[0]) && is_one(entry->d_name, executable, text, &parents[n]))
            pids[n++] = atoi(entry->d_name);
    (void) closedir(proc);
    for (int i = 0; i < n; i++) {
        int child = 0;

        for (int j = 0; j < n; j++)
            child |= parents[i] == pids[j];
        number += !child;
    }
    return number;
}

int main(int argc, char *argv[]) {
    int most = 0;
    long looks = 0;

    if (argc != 3) {
        fprintf(stderr, "usage: watch-processes EXECUTABLE TEXT\n");
        return 64;
    }
    (void) signal(SIGTERM, on_term);
    while (!ended) {
        int number = count(argv[1], argv[2]);

        /* Seen twice in a row: a child may have lost its parent while we looked. */
        if (number > most) {
            int again = count(argv[1], argv[2]);

            most = again < number ? (again > most ? again : most) : number;
        }
        looks++;
        (void) usleep(PAUSE_USEC);
    }
    printf("%d %ld\n", most, looks);
    return fflush(stdout) == 0 ? 0 : 1;
}
