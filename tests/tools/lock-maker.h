/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the parts of lock-maker share. */

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

struct maker {
    char **steps; /* what is left to do */
    int report;   /* to lock-maker */
    int file, socket, pair[2];
    int type; /* of sockets */
    char *path;
    pid_t helper;
    bool ends; /* at `end`; else it stays */
    int done;  /* tells who waits at `helper`; -1: who waits is lock-maker itself */
};

static void die(const char *what) {
    fprintf(stderr, "lock-maker: %s: %s\n", what, strerror(errno));
    _exit(EXIT_FAILURE);
}

static void must(bool ok, const char *what) {
    if (!ok)
        die(what);
}
