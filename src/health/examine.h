/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Gathers evidence of what a process does, beside the loop: its state and its processor time at both ends of
 * a second; what may not be read without a risk of waiting (its stack, its system call, its input and output,
 * whose readers wait for a lock that execve(2) holds) is read by a child process with a deadline. */

#include <systemd/sd-event.h>

#include "base/process.h"
#include "health/judge.h"

struct examination;

/* Called from the loop, once, with symptom, chances and misses left as they were given; the examination is
 * freed behind it. */
typedef void (*examine_done_t)(const struct health_evidence *evidence, void *userdata);

/* proc_fd is borrowed for as long as it lasts. socket_path: the unix socket (a path or @name) whose queue is
 * wanted, or NULL. */
int examine_start(sd_event *event, int proc_fd, pid_t pid, const char *socket_path,
                  const struct health_evidence *begin, examine_done_t done, void *userdata,
                  struct examination **ret);
void examine_cancel(struct examination *examination); /* NULL is fine */

/* A look of now that waits for nothing: state, tracer, frozen, threads. For `latchctl status`. */
void examine_glance(int proc_fd, pid_t pid, struct health_evidence *evidence);
