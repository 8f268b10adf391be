/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A new configuration for a service that has one: read again, put to use as far as it counts at once, and the
 * rest kept for the next start. Until then the old one stays for what the running daemon has of it. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "base/value.h"
#include "config/config-compare.h"
#include "exec/privileges.h"
#include "service/service-internal.h"
#include "service/service-queues.h"

/* One slot a socket, for each of the configurations. */
static int resize(struct service *service, const struct service_config *config) {
    struct ready_probe **probes = calloc(config->n_sockets + 1, sizeof(struct ready_probe *));
    uint64_t *answer_usec = calloc(config->n_sockets + 1, sizeof *answer_usec);

    if (!probes || !answer_usec) {
        free(probes);
        free(answer_usec);
        return -ENOMEM;
    }
    service_end_probes(service);
    free(service->probes);
    free(service->answer_usec);
    service_queues_free(service);
    service->probes = probes;
    service->answer_usec = answer_usec;
    return 0;
}

/* NAME.state names the configuration that the daemon was started with. */
static void forget_text(struct service *service) {
    service->record.config = NULL;
    free(service->config_text);
    service->config_text = NULL;
    service_note_change(service);
}

static char *join(char *const *words, const char *between) {
    _cleanup_text_ struct text text = {0};
    char *joined;

    for (char *const *word = words; word && *word; word++) {
        text_add(&text, word == words ? "" : between);
        text_add(&text, *word);
    }
    return text_take(&text, &joined) < 0 ? NULL : joined;
}

static void tell_changes(struct service *service, const char *when, const struct config_changes *changes) {
    _cleanup_free_ char *live = join(changes->live, ", "), *later = join(changes->later, ", "), *text = NULL;
    struct event_fields fields = {.n = 0};
    bool runs = service->main_pidfd >= 0;

    event_field_set(&fields, "LATCHD_LIVE", live && *live ? live : "nothing");
    event_field_set(&fields, "LATCHD_LATER", later && *later ? later : "nothing");
    if (live && later &&
        asprintf(&text, "%s%s%s%s%s%s%s%s%s", when, changes->live ? "; counts at once: " : "", live,
                 changes->later ? "; counts from the next start" : "",
                 changes->later && runs ? " (latchctl restart " : "",
                 changes->later && runs ? service->config->name : "", changes->later && runs ? ")" : "",
                 changes->later ? ": " : "", later) >= 0)
        service_emit(service, EVENT_CONFIG_RELOADED, &fields, text);
}

int service_reject_config(struct service *service, char *const *lines, const char *otherwise, struct err *err) {
    _cleanup_free_ char *all = join(lines, "\n");
    const char *reason = all && *all ? all : otherwise;
    struct event_fields fields = {.n = 0};
    _cleanup_free_ char *text = NULL;

    event_field_set(&fields, "LATCHD_REASON", reason);
    if (asprintf(&text, "The old configuration is kept, and the daemon not told to reload: %s", reason) >= 0)
        service_emit(service, EVENT_CONFIG_REJECTED, &fields, text);
    return err_set(
        err, EINVAL, "BadConfiguration",
        "the configuration of service %s has mistakes; the old one is kept, and the daemon was not "
        "told to reload\n%s",
        service->config->name, reason);
}

static int load(struct service *service, struct service_config **ret, struct err *err) {
    _cleanup_err_ struct err why = {0};
    struct config_problems problems = {0};
    int r = service_config_load(service->config_word, &service->manager->config_paths, &problems, ret, &why);

    if (r == -ENOMEM)
        r = err_set(err, ENOMEM, "Failed", "out of memory");
    else if (r < 0)
        r = service_reject_config(service, problems.lines, err_text(&why), err);
    config_problems_done(&problems);
    return r;
}

/* What latchd gave up at its start it gets back only by being executed again. */
static int check_privileges(struct service *service, const struct service_config *fresh, struct err *err) {
    _cleanup_err_ struct err why = {0};

    if (privileges_suffice(fresh, &why) >= 0)
        return 0;
    (void) service_reject_config(service, NULL, err_text(&why), NULL);
    return err_set(err, why.number, why.name,
                   "the old configuration is kept, and the daemon was not told to reload: %s",
                   err_text(&why));
}

/* The timer that runs goes by the new time, counted from when the old one began. */
static void adjust_timer(struct service *service, uint64_t start_before_usec, uint64_t stop_before_usec) {
    const struct service_config *config = service->config;
    uint64_t before, after, begun;

    if (service->state == SERVICE_STARTING || service->state == SERVICE_RELOADING) {
        before = start_before_usec;
        after = config->timeout_start_usec;
    } else if (service->state == SERVICE_STOPPING) {
        before = stop_before_usec;
        after = config->timeout_stop_usec;
    } else {
        if (service->state == SERVICE_RECOVERING) /* what is waited for there may be another thing now */
            (void) service_arm_timer(service, 0);
        return;
    }
    if (before == after)
        return;
    begun = service->timer && before != USEC_INFINITY && service->timer_until_usec > before
                ? service->timer_until_usec - before
                : now_usec(CLOCK_BOOTTIME);
    (void) service_arm_timer_at(service, after >= USEC_INFINITY - begun ? USEC_INFINITY : begun + after);
}

/* Exchanges what counts at once, among it who comes before whom. *fresh stays the caller's on failure. */
static int put_to_use(struct service *service, struct service_config *fresh, struct err *err) {
    struct service_config *older = service->next_config;
    _cleanup_err_ struct err why = {0};

    if (older)
        service_config_swap_live(service->config, older);
    service_config_swap_live(service->config, fresh);
    if (manager_plan_order(service->manager, &why) >= 0)
        return 0;
    service_config_swap_live(service->config, fresh);
    if (older)
        service_config_swap_live(service->config, older);
    (void) manager_plan_order(service->manager, NULL);
    return service_reject_config(service, NULL, err_text(&why), err);
}

int service_read_config(struct service *service, struct config_changes *ret, struct err *err) {
    _cleanup_config_changes_ struct config_changes changes = {0};
    _cleanup_config_ struct service_config *fresh = NULL;
    uint64_t start_usec = service->config->timeout_start_usec, stop_usec = service->config->timeout_stop_usec;
    int r;

    *ret = (struct config_changes){0};
    if (!service->config_word)
        return 0; /* described by options: there is no file */
    r = load(service, &fresh, err);
    if (r < 0)
        return r;
    if (strcmp(fresh->name, service->config->name) != 0)
        return service_reject_config(service, NULL, "the file describes a service of another name", err);
    r = check_privileges(service, fresh, err);
    if (r < 0)
        return r;
    if (service_config_compare(service->config, fresh, &changes) < 0)
        return err_set(err, ENOMEM, "Failed", "out of memory");
    if (!changes.live && !changes.later && !service->next_config)
        return 0;
    r = put_to_use(service, fresh, err);
    if (r < 0)
        return r;
    service_config_free(service->next_config);
    service->next_config = NULL;
    if (changes.later)
        service->next_config = TAKE_PTR(fresh);
    manager_give_up_privileges(service->manager);
    forget_text(service);
    adjust_timer(service, start_usec, stop_usec);
    service_health_config_changed(service);
    service_queues_follow(service);
    tell_changes(service, "The configuration was read again", &changes);
    *ret = changes;
    changes = (struct config_changes){0};
    return 0;
}

void service_switch_config(struct service *service) {
    struct service_config *next = service->next_config;

    if (!next || resize(service, next) < 0)
        return; /* the old one does for one more start */
    service_config_swap_live(service->config, next);
    service_sockets_switch(service, next);
    service->next_config = NULL;
    service_config_free(service->config);
    service->config = next;
    service_health_switch_config(service);
    forget_text(service);
    (void) manager_plan_order(service->manager, NULL); /* its names moved */
}

void service_restore_config(struct service *service) {
    _cleanup_config_changes_ struct config_changes changes = {0};
    _cleanup_config_ struct service_config *recorded = NULL;
    _cleanup_free_ char *text = NULL;

    if (!service->record.state[0] ||
        state_file_read_config(service->manager->runtime_dir_fd, service->config->name, &text, NULL) < 0 ||
        service_config_from_record(service->config->name, text, &recorded) < 0 ||
        service_config_compare(recorded, service->config, &changes) < 0 || !changes.later ||
        resize(service, recorded) < 0)
        return;
    service_config_swap_live(recorded, service->config);
    service->next_config = service->config;
    service->config = TAKE_PTR(recorded);
    (void) manager_plan_order(service->manager, NULL);
    tell_changes(service, "The configuration has changed since the daemon was started", &changes);
}
