/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files service-notify*.c share: what is known of what the daemon told by sd_notify(3). */

#include "base/closer.h"
#include "notify/message.h"
#include "notify/sender.h"
#include "notify/socket.h"
#include "service/service-internal.h"

struct service_notify {
    struct notify_socket socket;
    struct closer *closer;   /* of what is sent to this service: what hangs counts against no other one */
    sd_event_source *reopen; /* while that is so */
    bool rights_refused;     /* nobody may send descriptors until less of it hangs */
    sd_event_source *source;
    sd_event_source *resume;    /* while descriptors that hang keep us from taking more */
    sd_event_source *tell;      /* a status that is still to be told of */
    sd_event_source *stopping;  /* by itself: when its time to end is over */
    uint64_t told_usec;         /* CLOCK_BOOTTIME */
    uint64_t extended_usec;     /* CLOCK_BOOTTIME: until then systemd was asked to wait */
    uint64_t complained_usec;   /* CLOCK_BOOTTIME; 0: never */
    unsigned uncomplained;      /* what was ignored since, without a word */
    enum notify_phase phase;    /* what it said last */
    uint64_t reload_asked_usec; /* CLOCK_MONOTONIC; 0: it reloads by itself, or does not */
    bool reload_announced;      /* this reload, by RELOADING=1 */
    bool announces_reloads;     /* it did so before */
    bool has_errno, has_exit_status;
    int error_number, exit_status;
};

/* What was ignored: one event a minute at most, for as much as may be ignored in it. */
void service_notify_complain(struct service *service, const struct notify_datagram *datagram, const char *fmt,
                             ...) _printf_(3, 4);

/* -- service-notify-follow.c -- */

/* Somebody whose word counts has said that. family: as that was told. */
void service_notify_apply(struct service *service, struct notify_datagram *datagram,
                          const struct notify_family *family, const struct notify_message *message);
