/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One question to one control socket, bounded in time: Probe=connect is content with a connection, Probe=kea
 * asks
 * {"command": "status-get"} and waits for an answer with result 0 (the Kea Administrator Reference Manual,
 * "Management API"). Paths, abstract names and HOST:PORT; a host's name is looked up by a child process.
 * Nothing here ever blocks. */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/strtab.h"
#include "config/config.h"

enum ask_outcome {
    ASK_PENDING, /* the callback will tell */
    ASK_ANSWERED,
    ASK_ABSENT,    /* nothing stands at that path */
    ASK_REFUSED,   /* nobody listens, or the connection was not wanted (errno) */
    ASK_FULL,      /* EAGAIN: the listener's queue is full (unix(7)) */
    ASK_BAD,       /* what came was no good answer, or the connection was closed before one */
    ASK_NO_ANSWER, /* the time is over */
    ASK_FAILED,    /* we ourselves lack something: says nothing about the daemon */
    ASK_OUTCOME_MAX,
    ASK_OUTCOME_INVALID = -EINVAL,
};
STRTAB_DECLARE(ask_outcome, enum ask_outcome);

struct ask;

struct ask_result {
    enum ask_outcome outcome;
    int error;          /* positive errno, 0: none */
    uint64_t took_usec; /* from connect to the last byte of the answer */
};

/* Called from the loop. The question is over; the ask may be freed there, or asked again. */
typedef void (*ask_done_t)(struct ask *ask, const struct ask_result *result, void *userdata);

/* config is borrowed: its path, its probe and its time. */
int ask_new(sd_event *event, const struct socket_config *config, ask_done_t done, void *userdata,
            struct ask **ret);
void ask_free(struct ask *ask); /* NULL is fine */

/* Asks; a question that is under way is dropped. Returns what is known at once, or ASK_PENDING. Only then
 * `done` is called. */
struct ask_result ask_begin(struct ask *ask);
void ask_cancel(struct ask *ask);
bool ask_is_pending(const struct ask *ask);

/* True for an answer of Kea that says success: {"result": 0, ...}, or a list that begins with one. */
bool ask_kea_answer_is_good(const char *text, size_t size);
