/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "service/service-limits.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/value.h"
#include "exec/limits-check.h"
#include "exec/limits-facts.h"
#include "exec/limits-set.h"
#include "service/family.h"
#include "service/service.h"

/* The check and the count are for people and for the next start: they wait until a crowd of services that
 * start at once is up, and until the daemon has opened its files. */
#define LOOK_AFTER_USEC (500 * USEC_PER_MSEC)
#define LOOK_ACCURACY_USEC (250 * USEC_PER_MSEC)
#define STACK_BYTES (64 * 1024) /* less than the kernel maps at once (setup_arg_pages() in fs/exec.c) */
#define LOOKS_A_TURN 16         /* of the loop: others want their turn */

struct change {
    bool set;
    rlim_t soft, hard;
    uid_t by;
};

struct service_limits {
    struct limits_warnings found; /* by the last check, of whatever generation */
    struct change *changes;       /* one a limit; NULL: none since the start */
    uint64_t look_usec;           /* CLOCK_MONOTONIC: when the daemon is to be looked at; 0: it is not */
};

struct service_limits *service_limits_free(struct service_limits *limits) {
    if (!limits)
        return NULL;
    limits_warnings_done(&limits->found);
    free(limits->changes);
    free(limits);
    return NULL;
}

static struct service_limits *limits_of(struct service *service) {
    if (!service->limits)
        service->limits = calloc(1, sizeof *service->limits);
    return service->limits;
}

static bool is_running(const struct service *service) {
    return service_state_has_main(service->state) && service->main_pidfd >= 0;
}

uint64_t service_limits_open_files(const struct service *service) {
    return service->record.open_files > RLIMITS_STDIO ? service->record.open_files : RLIMITS_STDIO;
}

static void plan_wanted(const struct service *service, struct rlimits_planned *ret) {
    const struct rlimits_need need = {.client_limit = service->config->client_limit,
                                      .open_files = service_limits_open_files(service)};

    (void) rlimits_plan_wanted(service->config->limits, &need, service->manager->proc_fd, ret, NULL);
}

/* ---- after the start ---- */

static void report_mismatch(struct service *service, const struct rlimits_mismatch *mismatch) {
    const struct rlimits_planned *planned = service_record_limits(&service->record);
    const char *name = rlimit_to_name(mismatch->resource);
    struct event_scope scope = service_scope(service);
    char wanted[RLIMIT_FORMAT_MAX], real[RLIMIT_FORMAT_MAX];
    struct event_fields fields = {.n = 0};
    int pid = (int) service->record.main.pid;

    rlimit_format(planned->of[mismatch->resource].soft, planned->of[mismatch->resource].hard, wanted);
    rlimit_format(mismatch->soft, mismatch->hard, real);
    event_field_add(&fields, "LATCHD_MAIN_PID", "%d", pid);
    event_field_set(&fields, "LATCHD_LIMIT", name);
    event_field_set(&fields, "LATCHD_CONFIGURED", wanted);
    event_field_set(&fields, "LATCHD_EFFECTIVE", real);
    event_emit(
        service->manager->log, EVENT_LIMIT_MISMATCH, &scope, fields.fields, fields.n,
        service->main_is_child
            ? "Limit%s=%s was set, but PID %d runs with %s"
            : "Limit%s=%s was set by an earlier latchd, and PID %d runs with %s by now: it changed that "
              "by itself, or somebody did by prlimit",
        name, wanted, pid, real);
}

/* What runs is compared with what was asked for: the kernel may have had its own mind. */
static void verify(struct service *service) {
    struct rlimits_mismatch mismatches[RLIMIT_NLIMITS];
    int n;

    if (!service->record.limits_known) {
        struct rlimits_planned wanted;

        plan_wanted(service, &wanted);
        service_record_set_limits(&service->record, &wanted);
    }
    if (!service->record.limits) /* nothing was asked for: nothing to read */
        return;
    n = rlimits_verify(service->manager->proc_fd, service->record.main.pid, service->record.limits,
                       mismatches);
    for (int i = 0; i < n; i++)
        report_mismatch(service, &mismatches[i]);
}

static int gather(const struct service *service, struct limits_facts *ret) {
    const struct service_config *config = service->config;
    struct limits_facts facts = {
        .pid = service->record.main.pid,
        .nofile_automatic = config->limits[RLIMIT_NOFILE].automatic,
        .client_limit = config->client_limit,
        .open_files = service_limits_open_files(service),
        .sockets = config->sockets,
        .n_sockets = config->n_sockets,
        .user = config->user,
    };
    struct proc_limit limits[RLIMIT_NLIMITS];
    int proc_fd = service->manager->proc_fd, r;
    struct limits_owner owner;

    r = procfs_read_limits(proc_fd, facts.pid, limits);
    if (r >= 0)
        r = limits_read_owner(proc_fd, facts.pid, &owner);
    if (r < 0)
        return r;
    facts.nofile_soft = limits[RLIMIT_NOFILE].soft;
    facts.nproc_soft = limits[RLIMIT_NPROC].soft;
    facts.nproc_counts = !owner.exempt;
    facts.uid = owner.uid;
    if (config->n_sockets > 0)
        facts.somaxconn = limits_read_somaxconn(proc_fd);
    if (facts.nproc_counts)
        r = limits_count_tasks_if_tight(proc_fd, owner.uid, facts.nproc_soft, &facts.user_tasks);
    if (r >= 0)
        r = limits_read_pids(proc_fd, facts.pid, &facts.pids);
    if (r < 0)
        return r;
    *ret = facts;
    return 0;
}

static void report_warning(struct service *service, const struct limits_warning *warning) {
    struct event_scope scope = service_scope(service);
    struct event_fields fields = {.n = 0};

    event_field_add(&fields, "LATCHD_MAIN_PID", "%d", (int) service->record.main.pid);
    event_field_set(&fields, "LATCHD_LIMIT", warning->limit);
    event_field_set(&fields, "LATCHD_SUBJECT", *warning->subject ? warning->subject : NULL);
    event_field_add(&fields, "LATCHD_NEEDED", "%" PRIu64, warning->needed);
    event_field_add(&fields, "LATCHD_EFFECTIVE", "%" PRIu64, warning->available);
    event_emit(service->manager->log, EVENT_LIMIT_SHORT, &scope, fields.fields, fields.n, "%s",
               warning->text);
}

static int find_warnings(const struct service *service, struct limits_warnings *ret) {
    struct limits_facts facts = {0};
    int r = gather(service, &facts);

    if (r >= 0)
        r = limits_check(&facts, ret);
    limits_facts_done(&facts);
    return r;
}

/* What was found before is not told again. */
static void check(struct service *service) {
    struct limits_warnings warnings;

    if (find_warnings(service, &warnings) < 0)
        return; /* it has just ended */
    for (size_t i = 0; i < warnings.n; i++)
        if (!limits_warnings_have(&service->limits->found, &warnings.of[i]))
            report_warning(service, &warnings.of[i]);
    limits_warnings_done(&service->limits->found);
    service->limits->found = warnings;
}

/* Of an adopted daemon the descriptors of its clients could not be told from the others: a count from its
 * beginning, if there is one, is better. */
static bool wants_count(const struct service *service) {
    return service->config->client_limit > 0 && service->state == SERVICE_RUNNING &&
           (service->main_is_child || service->record.open_files == 0);
}

static void look(struct service *service) {
    if (!is_running(service))
        return;
    if (wants_count(service)) {
        uint64_t n = limits_count_descriptors(service->manager->proc_fd, service->record.main.pid);

        if (n > 0)
            service->record.open_files = n;
    }
    check(service);
}

/* What the stack was deepest for lies below what is in use now, and is never read again. A function by
 * itself: its frame is small, and the lowest, and a page more is left to whom it calls. */
static __attribute__((noinline)) void give_back_stack(void) {
    size_t page = (size_t) sysconf(_SC_PAGESIZE);
    char *here = __builtin_frame_address(0), *end = here - (uintptr_t) here % page - page;

    (void) madvise(end - STACK_BYTES, STACK_BYTES, MADV_DONTNEED);
}

/* What a start took for a moment (lists of all processes, buffers of directories) is several times as much as
 * what stays. Later starts find room in what has been freed. */
static void give_back(struct manager *manager) {
    if (manager->settled)
        return;
    manager->settled = true;
    (void) malloc_trim(0);
    give_back_stack();
}

static int on_look(sd_event_source *source, uint64_t usec, void *userdata) {
    uint64_t now = now_usec(CLOCK_MONOTONIC), next = USEC_INFINITY;
    struct manager *manager = userdata;
    unsigned looks = 0;

    (void) usec;
    for (size_t i = 0; i < manager->n_services; i++) {
        struct service_limits *limits = manager->services[i]->limits;

        if (!limits || limits->look_usec == 0)
            continue;
        if (limits->look_usec <= now && looks < LOOKS_A_TURN) {
            limits->look_usec = 0;
            looks++;
            look(manager->services[i]);
        } else if (limits->look_usec < next)
            next = limits->look_usec;
    }
    if (next == USEC_INFINITY) {
        give_back(manager);
        return 0;
    }
    (void) sd_event_source_set_time(source, next);
    return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* One timer for all services: of one each, their memory would stay behind in gaps of the heap. */
static void look_in_a_moment(struct service *service) {
    uint64_t at = now_usec(CLOCK_MONOTONIC) + LOOK_AFTER_USEC;
    struct service_limits *limits = limits_of(service);
    struct manager *manager = service->manager;
    int enabled;

    if (!limits)
        return;
    limits->look_usec = at;
    if (!manager->limits_source) {
        if (sd_event_add_time(manager->event, &manager->limits_source, CLOCK_MONOTONIC, at,
                              LOOK_ACCURACY_USEC, on_look, manager) >= 0)
            (void) sd_event_source_set_priority(manager->limits_source, SD_EVENT_PRIORITY_IDLE);
        return;
    }
    if (sd_event_source_get_enabled(manager->limits_source, &enabled) >= 0 && enabled == SD_EVENT_OFF) {
        (void) sd_event_source_set_time(manager->limits_source, at);
        (void) sd_event_source_set_enabled(manager->limits_source, SD_EVENT_ONESHOT);
    } /* else it is due before this one, and finds it */
}

void service_limits_executed(struct service *service) {
    if (service->limits) {
        free(service->limits->changes);
        service->limits->changes = NULL;
    }
    verify(service);
    look_in_a_moment(service);
}

void service_limits_ready(struct service *service) {
    if (service->config->client_limit > 0)
        look_in_a_moment(service);
}

/* ---- for people ---- */

static json_t *limit_value(uint64_t value) {
    return value == UINT64_MAX ? json_string("infinity") : json_integer((json_int_t) value);
}

static json_t *row_to_json(const struct limits_row *row, bool running) {
    _cleanup_free_ char *remark = NULL;
    bool attention = false;

    if (running && limits_remark(row, &attention, &remark) < 0)
        return NULL;
    /* clang-format off */
    return json_pack("{s:o, s:o, s:o, s:o, s:s, s:b, s:s?}",
                     "configured", row->planned ? json_pack("[o, o]", limit_value(row->planned_soft),
                                                            limit_value(row->planned_hard)) : json_null(),
                     "soft", running ? limit_value(row->soft) : json_null(),
                     "hard", running ? limit_value(row->hard) : json_null(),
                     "used", row->used == UINT64_MAX ? json_null() : json_integer((json_int_t) row->used),
                     "unit", limits_unit(row->resource),
                     "attention", attention,
                     "remark", remark);
    /* clang-format on */
}

static struct limits_row make_row(const struct service *service, int resource,
                                  const struct rlimits_planned *planned) {
    struct limits_row row = {.resource = resource,
                             .planned = planned->of[resource].set,
                             .planned_soft = planned->of[resource].soft,
                             .planned_hard = planned->of[resource].hard,
                             .used = UINT64_MAX};
    const struct change *change =
        service->limits && service->limits->changes ? &service->limits->changes[resource] : NULL;

    if (change && change->set) {
        row.changed = true;
        row.changed_soft = change->soft;
        row.changed_hard = change->hard;
        row.changed_by = change->by;
    }
    return row;
}

json_t *service_limits_to_json(const struct service *service, bool all) {
    bool running = is_running(service);
    pid_t pid = service->record.main.pid;
    struct rlimits_planned planned = *service_record_limits(&service->record);
    struct proc_limit limits[RLIMIT_NLIMITS];
    uint64_t used[RLIMIT_NLIMITS], tasks = 0;
    struct limits_owner owner = {0};
    json_t *json = json_object();

    if (running && (procfs_read_limits(service->manager->proc_fd, pid, limits) < 0 ||
                    limits_read_use(service->manager->proc_fd, pid, &owner, used) < 0))
        running = false; /* it has just ended */
    if (!running && !all)
        return json;
    if (!running)
        plan_wanted(service, &planned);
    else if (all && limits_count_tasks(service->manager->proc_fd, owner.uid, &tasks) >= 0 && tasks > 0)
        used[RLIMIT_NPROC] = tasks;
    for (int i = 0; i < RLIMIT_NLIMITS; i++) {
        struct limits_row row = make_row(service, i, &planned);

        if (running) {
            row.soft = limits[i].soft;
            row.hard = limits[i].hard;
            row.used = used[i];
            row.exempt = i == RLIMIT_NPROC && owner.exempt;
            row.may_raise = owner.may_raise;
        }
        json_object_set_new(json, rlimit_to_name(i), row_to_json(&row, running));
    }
    return json;
}

static json_t *warnings_to_json(const struct limits_warnings *warnings) {
    json_t *array = json_array();

    for (size_t i = 0; i < warnings->n; i++)
        json_array_append_new(array, json_string(warnings->of[i].text));
    return array;
}

json_t *service_limits_warnings_to_json(const struct service *service, bool now) {
    struct limits_warnings warnings = {0};
    json_t *array;

    if (!is_running(service))
        return json_array();
    if (!now)
        return service->limits ? warnings_to_json(&service->limits->found) : json_array();
    (void) find_warnings(service, &warnings);
    array = warnings_to_json(&warnings);
    limits_warnings_done(&warnings);
    return array;
}

/* ---- on request ---- */

static void report_change(struct service *service, const struct limits_request *request, int resource,
                          const char *before, const char *after, size_t others) {
    struct event_scope scope = service_scope(service);
    struct event_fields fields = {.n = 0};
    const char *name = rlimit_to_name(resource);
    char more[64] = "";

    if (others > 0)
        snprintf(more, sizeof more, " and of %zu more processes", others);
    event_field_add(&fields, "LATCHD_MAIN_PID", "%d", (int) service->record.main.pid);
    event_field_set(&fields, "LATCHD_LIMIT", name);
    event_field_set(&fields, "LATCHD_BEFORE", before);
    event_field_set(&fields, "LATCHD_EFFECTIVE", after);
    event_field_add(&fields, "LATCHD_CLIENT_PID", "%d", (int) request->client_pid);
    event_field_add(&fields, "LATCHD_CLIENT_UID", "%u", (unsigned) request->client_uid);
    event_emit(service->manager->log, EVENT_LIMIT_CHANGED, &scope, fields.fields, fields.n,
               "%s of PID %d%s changed from %s to %s until its next start, asked for by PID %d of uid %u",
               name, (int) service->record.main.pid, more, before, after, (int) request->client_pid,
               (unsigned) request->client_uid);
}

static void remember_change(struct service *service, int resource, const struct rlimit *set, uid_t by) {
    struct service_limits *limits = limits_of(service);

    if (!limits)
        return;
    if (!limits->changes)
        limits->changes = calloc(RLIMIT_NLIMITS, sizeof *limits->changes);
    if (limits->changes)
        limits->changes[resource] =
            (struct change){.set = true, .soft = set->rlim_cur, .hard = set->rlim_max, .by = by};
}

static void note(json_t *done, int resource, pid_t pid, const char *before, const char *after) {
    json_array_append_new(done, json_pack("{s:s, s:i, s:s, s:s}", "limit", rlimit_to_name(resource), "pid",
                                          (int) pid, "before", before, "after", after));
}

/* Those of the daemon's descendants that have its limit as it was before: what one of them was given apart,
 * it keeps. One that ends meanwhile, or may not be changed, is passed over. */
static size_t change_family(const struct service *service, const struct family *family, int resource,
                            const struct rlimit *before, const struct rlimit *wanted, json_t *done) {
    int proc_fd = service->manager->proc_fd;
    size_t n = 0;

    for (size_t i = 0; i < family->n; i++) {
        char from[RLIMIT_FORMAT_MAX], to[RLIMIT_FORMAT_MAX];
        struct proc_limit limits[RLIMIT_NLIMITS];
        struct process_id id;
        struct rlimit old;
        _cleanup_close_ int pidfd = process_pin(proc_fd, family->of[i].pid, &id);

        if (family->of[i].pid == service->record.main.pid || pidfd < 0 ||
            id.start_ticks != family->of[i].start_ticks || procfs_read_limits(proc_fd, id.pid, limits) < 0 ||
            limits[resource].soft != before->rlim_cur || limits[resource].hard != before->rlim_max ||
            limits_change(id.pid, pidfd, resource, wanted, &old, NULL) < 0)
            continue;
        note(done, resource, id.pid, rlimit_format(old.rlim_cur, old.rlim_max, from),
             rlimit_format(wanted->rlim_cur, wanted->rlim_max, to));
        n++;
    }
    return n;
}

static int prepare(const struct service *service, const struct limits_request *request,
                   struct rlimit wanted[static RLIMIT_NLIMITS], struct err *err) {
    struct proc_limit limits[RLIMIT_NLIMITS];
    struct rlimits_system system;
    int proc_fd = service->manager->proc_fd, r;

    if (!is_running(service))
        return err_set(
            err, ESRCH, "NotRunning",
            "service %s does not run: there is no process whose limits could be changed; what it starts "
            "with is Limit...= in its configuration",
            service->config->name);
    r = procfs_read_limits(proc_fd, service->record.main.pid, limits);
    if (r == -ESRCH)
        return err_set(err, ESRCH, "NotRunning", "PID %d has just ended", (int) service->record.main.pid);
    if (r >= 0)
        r = rlimits_read_system(proc_fd, &system);
    if (r < 0)
        return err_set(err, -r, "Failed", "cannot read the limits that are in force: %m");
    for (int i = 0; i < RLIMIT_NLIMITS && r >= 0; i++)
        if (request->asked[i].set)
            r = limits_prepare_change(i, &request->asked[i], limits[i].hard, &system, &wanted[i], err);
    return r;
}

int service_limits_change(struct service *service, const struct limits_request *request, json_t **ret,
                          struct err *err) {
    _cleanup_family_ struct family family = {0};
    struct rlimit wanted[RLIMIT_NLIMITS], before;
    json_t *done;
    int r = prepare(service, request, wanted, err);

    if (r >= 0 && request->all)
        r = family_read(service->manager->proc_fd, service->record.main.pid, &family);
    if (r < 0)
        return err && err->name ? r
                                : err_set(err, -r, "Failed", "cannot look for the daemon's processes: %m");
    done = json_array();
    for (int i = 0; i < RLIMIT_NLIMITS && r >= 0; i++) {
        char from[RLIMIT_FORMAT_MAX], to[RLIMIT_FORMAT_MAX];
        size_t others = 0;

        if (!request->asked[i].set)
            continue;
        r = limits_change(service->record.main.pid, service->main_pidfd, i, &wanted[i], &before, err);
        if (r < 0)
            break;
        rlimit_format(before.rlim_cur, before.rlim_max, from);
        rlimit_format(wanted[i].rlim_cur, wanted[i].rlim_max, to);
        remember_change(service, i, &wanted[i], request->client_uid);
        note(done, i, service->record.main.pid, from, to);
        if (request->all)
            others = change_family(service, &family, i, &before, &wanted[i], done);
        report_change(service, request, i, from, to, others);
    }
    if (r < 0) {
        json_decref(done);
        return r;
    }
    *ret = done;
    return 0;
}
