/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What NAME.state says of a service beyond its daemon's identity, to and fro. */
#include <string.h>
#include <time.h>

#include "base/value.h"
#include "runtime/main-note.h"
#include "service/service-internal.h"

/* What it is to be when another latchd comes. latchd's own end is no wish of anybody's that the service be
 * down: the next one starts it. */
static void fill_wishes(struct service *service) {
    struct service_record *record = &service->record;
    bool ending = service->manager->stopping;

    /* What is down for want of another service comes up with that, under the next latchd as well. */
    record->stays_down =
        !ending && !service_order_is_unmet(service) &&
        (service->down_wanted || service->state == SERVICE_STOPPED || service->state == SERVICE_FAILED);
    record->ended_by_itself = record->stays_down && service->ended_by_itself && service_is_down(service);
    record->unmet = !ending && service_order_is_unmet(service) && service_is_down(service);
    record->start_again =
        service->state == SERVICE_STOPPING && (service->start_again || (ending && !service->down_wanted));
    record->end_is_failure = service->state == SERVICE_STOPPING && service->end_is_failure;
}

static void fill_exit(struct service *service) {
    struct service_record *record = &service->record;
    const struct exit_status *last = &service->last_exit;

    record->exit_usec = service->last_exit_usec;
    record->exit_known = last->known;
    record->exit_unexecuted = last->failed_to_execute;
    record->exit_code = last->known ? (uint64_t) last->code : 0;
    record->exit_status = last->known ? (uint64_t) last->status : 0;
}

static void fill_record(struct service *service) {
    struct service_record *record = &service->record;

    snprintf(record->state, sizeof record->state, "%s", service_state_to_string(service->state));
    snprintf(record->state_boot_id, sizeof record->state_boot_id, "%s", service->manager->boot_id);
    record->state_since_usec = service->state_since_usec;
    record->state_until_usec = service->timer ? service->timer_until_usec : 0;
    record->restarts_in_a_row = service->history.in_a_row;
    record->limit_window_usec = service->history.window_start_usec;
    record->limit_starts = service->history.in_window;
    fill_wishes(service);
    fill_exit(service);
}

int service_write_record(struct service *service, struct err *err) {
    service->record_dirty = false;
    fill_record(service);
    return state_file_write(service->manager->runtime_dir_fd, service->config->name, &service->record, err);
}

int service_note_main(struct service *service) {
    int r = main_note_write(service->manager->runtime_dir_fd, service->config->name, &service->record);

    if (r < 0)
        event_debug(service->manager->log, "%s: cannot write who the daemon is to %s.lock: %s",
                    service->config->name, service->config->name, strerror(-r));
    return r;
}

void service_flush_record(struct service *service) {
    _cleanup_err_ struct err err = {0};

    if (!service->record_dirty || service->record_foreign)
        return;
    if (!service->config_text && service_config_record(service->config, &service->config_text) >= 0)
        service->record.config = service->config_text;
    if (service_write_record(service, &err) >= 0)
        return;
    service->record_dirty = true; /* until it changes again */
    event_debug(service->manager->log, "%s: %s", service->config->name, err_text(&err));
}

int service_hand_over(struct service *service, struct handover *handover) {
    char name[300];
    int r;

    snprintf(name, sizeof name, "lock:%s", service->config->name);
    r = handover_put_fd(handover, name, service->lock_fd);
    if (r >= 0)
        r = service_notify_hand_over(service, handover);
    if (r >= 0)
        r = service_sockets_hand_over(service, handover);
    return r < 0 ? r : service_store_hand_over(service, handover);
}

void service_note_change(struct service *service) {
    service->record_dirty = true;
    manager_record_later(service->manager);
}

/* All that is not there yet, or not from this boot, stays as it is in a fresh service. */
void service_restore(struct service *service) {
    const struct service_record *record = &service->record;
    uint64_t now = now_usec(CLOCK_BOOTTIME);

    service->last_exit_usec = record->exit_usec;
    if (record->exit_usec > 0)
        service->last_exit = (struct exit_status){.known = record->exit_known,
                                                  .failed_to_execute = record->exit_unexecuted,
                                                  .code = (int) record->exit_code,
                                                  .status = (int) record->exit_status};
    if (strcmp(record->state_boot_id, service->manager->boot_id) != 0) {
        state_record_forget_state(&service->record);
        return;
    }
    service->down_wanted = record->stays_down;
    service->start_again = record->start_again;
    service->end_is_failure = record->end_is_failure;
    service->history.in_a_row =
        record->restarts_in_a_row > UINT32_MAX ? UINT32_MAX : (unsigned) record->restarts_in_a_row;
    if (record->limit_window_usec <= now && record->limit_starts <= UINT32_MAX) {
        service->history.window_start_usec = record->limit_window_usec;
        service->history.in_window = (unsigned) record->limit_starts;
        /* A window in which nothing is counted any more: see restart_delay(). */
        service->backoff_limited = record->limit_window_usec > 0 && record->limit_starts == 0;
    }
}

/* No later than its configuration lets it: the file may be forged. */
uint64_t service_end_of_timer(const struct service *service, uint64_t most_usec) {
    uint64_t now = now_usec(CLOCK_BOOTTIME), until = service->record.state_until_usec,
             latest = most_usec >= USEC_INFINITY - now ? USEC_INFINITY : now + most_usec;

    return until == 0 || until > latest ? latest : until;
}
