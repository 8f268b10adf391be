/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What daemons write into lock files, PID files and symbolic links to say whose they are. Parsing is pure and
 * total. The forms, and where they come from:
 *
 *   plain       digits, a line ending or a blank behind them; more may follow ("812\n", dockerd, MySQL's
 *               SOCKET.lock: sql/conn_handler/socket_connection.cc)
 *   x11         .X99-lock: the PID in ten columns and a line ending, eleven bytes (os/utils.c, LockServer())
 *   postgresql  lines: PID (negative: a stand-alone backend's), data directory, start time (seconds), port,
 *               socket directory, addresses, key and id of shared memory, status (miscinit.c,
 *               CreateLockFile(); pidfile.h)
 *   chrome      link SingletonLock to HOST-PID (process_singleton_posix.cc); the last minus divides, hosts
 * may contain one emacs       link .#NAME to USER@HOST.PID or USER@HOST.PID:BOOT, BOOT in seconds
 * (filelock.c) mercurial   link lock, wlock to HOST:PID or HOST/NAMESPACE:PID, NAMESPACE the inode number of
 * the PID namespace, in hexadecimal (lock.py) mozilla     link lock to ADDRESS:PID or ADDRESS:+PID
 * (nsProfileLock.cpp)
 *
 * Emacs and Mercurial write a regular file with the same text where the file system has no links. Any link
 * may point to a file that is called web-12: what its form leaves open the link's name decides, and what is
 * not exactly one of the forms is none. */

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/strtab.h"

enum record_form {
    RECORD_NONE, /* no owner stands there */
    RECORD_PLAIN,
    RECORD_X11,
    RECORD_POSTGRESQL,
    RECORD_CHROME,
    RECORD_EMACS,
    RECORD_MERCURIAL,
    RECORD_MOZILLA,
    RECORD_FORM_MAX,
    RECORD_FORM_INVALID = -EINVAL,
};
STRTAB_DECLARE(record_form, enum record_form);

#define LOCK_HOST_MAX (HOST_NAME_MAX + 1)

struct lock_record {
    enum record_form form;
    pid_t pid;                /* 0: none */
    bool several;             /* it is the first of several numbers, and any of them may be a PID */
    char host[LOCK_HOST_MAX]; /* "": none is named. An address with RECORD_MOZILLA */
    uint64_t pid_namespace;   /* its inode number; 0: none is named */
    uint64_t boot_usec;       /* when the writer's boot began, by its wall clock; 0: not said */
    uint64_t start_usec;      /* when the owner began, by its wall clock; 0: not said */
    char socket_path[108];    /* the socket that its owner listens on (X11, PostgreSQL); "": not said */
    uint64_t shm_key, shm_id; /* PostgreSQL's shared memory; 0: not said */
};

/* Of a regular file: `path` is its path (the name helps to tell the form, and X's socket stands in a
 * directory beside it), `content` its first bytes. */
void lock_record_parse(const char *path, const char *content, struct lock_record *ret);

/* Of a symbolic link: its target. */
void lock_record_parse_link(const char *path, const char *target, struct lock_record *ret);

/* The same of a link that somebody said is a lock, whatever its name is. */
void lock_record_parse_lock_link(const char *target, struct lock_record *ret);

/* True when nothing but the owner stands in the content: no other text begins with a number by chance. */
bool lock_record_is_bare(const char *content);

/* The lock file that guards a socket: PATH.lock, but for X's DIR/.X11-unix/X99 it is DIR/.X99-lock. Owned by
 * the caller; NULL when memory runs out. */
char *lock_guard_path(const char *socket_path);

/* True when the file's name speaks of a lock or a PID. */
bool lock_name_tells(const char *path);
