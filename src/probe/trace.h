/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Holders that no descriptor table shows. An open file description outlives its last descriptor while memory
 * is mapped through it, while a ring of io_uring has it registered, and while a message that carries it
 * (SCM_RIGHTS, unix(7)) waits in a socket. All that is looked for one process at a time, and only where a
 * lock is held by nobody who was seen: it costs a hundred times what a descriptor costs. */

#include "probe/holder.h"

/* What trace_process() could not see of a process, as bits. Of both the scan is incomplete. */
enum trace_result {
    TRACE_UNREADABLE = 1 << 0, /* it refused, or the kernel does not tell that of it */
    TRACE_UNSEEN = 1 << 1,     /* descriptors are in flight in its sockets that cannot be looked at */
};

/* Called for each find: `target` is an index; `fd` the ring's number, the socket's that it is in flight in,
 * -1 for a mapping; `families` what the description is known to hold. Of one in flight that was seen; of a
 * mapping and a ring it cannot be: there all are false, and who has it is one of those who may hold the lock
 * (enum holder_via). Neither keeps a POSIX lock, which ends with any close(2) of the file (fcntl(2)). The
 * same find may be told twice. A negative return ends the tracing and becomes its result. */
typedef int trace_found_t(void *userdata, size_t target, pid_t pid, enum holder_via via, int fd,
                          const bool families[static LOCK_FAMILY_MAX]);

/* Returns bits of enum trace_result, 0 when all was seen, -errno for want of resources; a process that has
 * ended has nothing. Without state: threads may trace at once. `proc_fd` has to show our own PID namespace
 * for what is in flight to be seen. */
int trace_process(int proc_fd, pid_t pid, const struct holder_target *targets, size_t n, trace_found_t *found,
                  void *userdata);

/* Mapped files and attached shared memory alone: one read, and what shared memory needs, which no descriptor
 * ever stands for. The same results. */
int trace_maps(int proc_fd, pid_t pid, const struct holder_target *targets, size_t n, trace_found_t *found,
               void *userdata);
