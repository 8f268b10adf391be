/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the parts of trace_process() share. Each part returns as trace_process() does. */

#include "probe/trace.h"

struct trace {
    int proc_fd;
    pid_t pid;
    const struct holder_target *targets;
    size_t n;
    trace_found_t *found;
    void *userdata;
};

/* A socket of the process, whose queue carries descriptors. */
struct trace_socket {
    pid_t tid; /* whose table it is in */
    int fd;
    ino_t inode;
};

/* A ring of io_uring; `info_path` is its fdinfo below proc_fd (trace-ring.c). */
int trace_ring(const struct trace *trace, const char *info_path, int fd);

/* trace-flight.c */
int trace_flight(const struct trace *trace, const struct trace_socket *sockets, size_t n);

/* How many descriptors are in flight to a socket, by the text of its fdinfo; to a listener: in connections
 * that wait to be accepted (net/unix/af_unix.c, unix_show_fdinfo()). */
unsigned trace_count_in_flight(const char *fdinfo);

/* Whether the process is in the same namespace of that kind ("mnt", "ipc") as we are: 1, 0 or -errno. */
int trace_same_namespace(const struct trace *trace, const char *kind);

/* What a failed look (a negative errno) means for the result. */
int trace_error(int error);

/* stat(2) without asking a file server (statx(2)); the fields that identify a file. */
int trace_stat_at(int dir_fd, const char *path, int flags, struct stat *ret);
