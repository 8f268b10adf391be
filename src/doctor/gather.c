/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor/gather.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/cgroup.h"
#include "base/deadline.h"
#include "base/fd.h"
#include "base/procfs.h"
#include "base/value.h"
#include "doctor/gather-parts.h"
#include "exec/limits-facts.h"

#define TEXT_MAX 4096

/* How often the main process's children are counted between the looks. */
#define BIRTH_LOOKS 20

struct subject {
    const struct doctor_request *request;
    struct doctor_facts *facts, before;
    struct family_sweep threads;
    struct doctor_births births;
};

void doctor_look_done(struct doctor_look *look) {
    family_sweep_done(&look->processes);
    unix_table_done(&look->unix_sockets);
    unix_streams_done(&look->unix_streams);
    inet_table_done(&look->inet_sockets);
}

int doctor_look(int proc_fd, struct doctor_look *ret) {
    struct doctor_look look = {0};
    struct stat st;
    int r = family_sweep_read(proc_fd, &look.processes);

    if (r < 0)
        return r;
    look.unix_error = unix_table_read(&look.unix_sockets);
    look.streams_error = unix_streams_read(&look.unix_streams);
    look.inet_error = inet_table_read(INET_ALL, &look.inet_sockets);
    if (fstatat(proc_fd, "self/ns/net", &st, 0) == 0)
        look.network = st.st_ino;
    *ret = look;
    return 0;
}

static uint64_t read_number(int proc_fd, const char *path) {
    _cleanup_free_ char *text = NULL;
    uint64_t value;

    return fd_read_file_at(proc_fd, path, TEXT_MAX, &text, NULL) >= 0 && sscanf(text, "%" SCNu64, &value) == 1
               ? value
               : DOCTOR_UNKNOWN;
}

static void gather_machine(int proc_fd, struct doctor_facts *facts) {
    _cleanup_free_ char *load = NULL, *pressure = NULL;
    uint64_t tasks;
    int r;

    facts->somaxconn = read_number(proc_fd, "sys/net/core/somaxconn");
    facts->threads_max = read_number(proc_fd, "sys/kernel/threads-max");
    facts->pid_max = read_number(proc_fd, "sys/kernel/pid_max");
    if (fd_read_file_at(proc_fd, "loadavg", TEXT_MAX, &load, NULL) >= 0 &&
        sscanf(load, "%*s %*s %*s %*u/%" SCNu64, &tasks) == 1)
        facts->machine_tasks = tasks;
    r = fd_read_file_at(proc_fd, "pressure/memory", TEXT_MAX, &pressure, NULL);
    if (r >= 0)
        facts->memory_stalled_percent = doctor_parse_pressure(pressure);
    else if (r == -EOPNOTSUPP || r == -ENOENT)
        doctor_unseen_because(facts, "memory pressure",
                              "this kernel does not measure it (psi=1 on its command line)");
    else
        doctor_unseen(facts, "memory pressure", -r);
}

static int copy_text(const char *text, char **ret) {
    *ret = text ? strdup(text) : NULL;
    if (*ret)
        value_make_printable(*ret); /* what is no UTF-8 is no JSON either */
    return text && !*ret ? -ENOMEM : 0;
}

/* Of which user's processes RLIMIT_NPROC counts, and how many there are: counted only where it may be tight.
 */
static void gather_user(int proc_fd, pid_t pid, struct doctor_facts *facts) {
    struct passwd entry, *found = NULL;
    struct proc_limit limits[16];
    struct limits_owner owner;
    uint64_t tasks = 0;
    char buffer[2048];

    if (limits_read_owner(proc_fd, pid, &owner) < 0 || procfs_read_limits(proc_fd, pid, limits) < 0)
        return;
    facts->uid = owner.uid;
    facts->nproc_counts = !owner.exempt;
    facts->nproc_soft = limits[RLIMIT_NPROC].soft == UINT64_MAX ? DOCTOR_INFINITY : limits[RLIMIT_NPROC].soft;
    facts->nproc_hard = limits[RLIMIT_NPROC].hard == UINT64_MAX ? DOCTOR_INFINITY : limits[RLIMIT_NPROC].hard;
    if (getpwuid_r(owner.uid, &entry, buffer, sizeof buffer, &found) == 0 && found)
        (void) copy_text(found->pw_name, &facts->user);
    if (!owner.exempt &&
        limits_count_tasks_if_tight(proc_fd, owner.uid, limits[RLIMIT_NPROC].soft, &tasks) >= 0 && tasks > 0)
        facts->user_tasks = tasks;
}

static void gather_unit(int proc_fd, pid_t pid, struct doctor_facts *facts) {
    _cleanup_free_ char *cgroup = NULL;
    char unit[128] = "";

    if (procfs_read_cgroup(proc_fd, pid, &cgroup) >= 0)
        cgroup_unit(cgroup, unit, sizeof unit);
    if (*unit)
        facts->unit = strdup(unit);
}

static int describe(const struct doctor_request *request, struct doctor_facts *facts) {
    const struct service_config *config = request->config;
    uint64_t now = now_usec(CLOCK_REALTIME);

    facts->pid = (uint64_t) request->pid;
    facts->supervised = request->supervised;
    if (request->supervisor_pid > 0)
        facts->supervisor_pid = (uint64_t) request->supervisor_pid;
    facts->restarts = request->service ? request->restarts : DOCTOR_UNKNOWN;
    if (request->last_exit_usec > 0 && request->last_exit_usec <= now)
        facts->last_exit_ago_usec = now - request->last_exit_usec;
    if (request->last_exit)
        facts->last_exit_failed = request->last_exit_failed;
    if (copy_text(request->service, &facts->service) < 0 || copy_text(request->state, &facts->state) < 0 ||
        copy_text(request->status_text, &facts->status_text) < 0 ||
        copy_text(request->last_exit, &facts->last_exit) < 0 ||
        copy_text(request->config_is_bad ? request->config_why : NULL, &facts->config_error) < 0 ||
        copy_text(request->options, &facts->options) < 0 ||
        copy_text(request->main_of, &facts->main_of) < 0 ||
        copy_text(request->limits_command, &facts->limits_command) < 0 ||
        copy_text(request->supervisor_silence, &facts->supervisor_silence) < 0 ||
        copy_text(config ? service_kind_to_string(config->kind) : NULL, &facts->kind) < 0 ||
        copy_text(config ? config->file : NULL, &facts->config_file) < 0)
        return -ENOMEM;
    if (!config && request->config_why)
        doctor_unseen_because(facts, "what its configuration tells", request->config_why);
    return doctor_gather_locks(request->reports, facts);
}

static int look_first(int proc_fd, const struct doctor_look *look, struct subject *subject) {
    pid_t pid = subject->request->pid;
    int r = describe(subject->request, subject->facts);

    if (r < 0 || pid == 0)
        return r;
    r = doctor_gather_processes(proc_fd, look, pid, &subject->before);
    if (r >= 0)
        r = doctor_gather_cgroups(proc_fd, pid, &subject->before);
    doctor_threads_begin(proc_fd, pid, &subject->threads);
    doctor_births_look(proc_fd, pid, &subject->births);
    return r;
}

static bool is_same(const struct doctor_facts *a, const struct doctor_facts *b) {
    return a->n_processes > 0 && b->n_processes > 0 &&
           a->processes[0].start_ticks == b->processes[0].start_ticks;
}

static int look_again(int proc_fd, const struct doctor_look *before, const struct doctor_look *look,
                      struct subject *subject) {
    struct doctor_facts *facts = subject->facts;
    pid_t pid = subject->request->pid;
    int r = 0;

    gather_machine(proc_fd, facts);
    if (pid > 0) {
        r = doctor_gather_processes(proc_fd, look, pid, facts);
        if (r < 0)
            return r;
        facts->ended = !is_same(&subject->before, facts);
        if (facts->ended)
            return 0;
        doctor_processes_since(facts, &subject->before);
        doctor_threads_end(proc_fd, &subject->threads, &facts->processes[0]);
        facts->processes[0].new_children = doctor_births_end(&subject->births);
        gather_user(proc_fd, pid, facts);
        gather_unit(proc_fd, pid, facts);
        r = doctor_gather_cgroups(proc_fd, pid, facts);
        if (r < 0)
            return r;
        doctor_cgroups_since(facts, &subject->before);
    }
    r = doctor_gather_sockets(proc_fd, subject->request, before, look, facts);
    return r < 0 ? r : doctor_gather_dovecot(proc_fd, subject->request, before, look, facts);
}

/* Until the interval is over, whatever signals come; counts children meanwhile. Returns how long it was. */
static uint64_t pass_time(int proc_fd, struct subject *subjects, size_t n, uint64_t interval_usec) {
    uint64_t began = now_usec(CLOCK_MONOTONIC), end = deadline_after(interval_usec), left;

    while ((left = deadline_left(end)) > 0) {
        uint64_t step = interval_usec / BIRTH_LOOKS;

        deadline_sleep(left < step ? left : step);
        for (size_t i = 0; i < n; i++)
            if (subjects[i].request->pid > 0)
                doctor_births_look(proc_fd, subjects[i].request->pid, &subjects[i].births);
    }
    return now_usec(CLOCK_MONOTONIC) - began;
}

static int gather(int proc_fd, struct subject *subjects, size_t n, uint64_t interval_usec,
                  struct doctor_facts *facts, struct doctor_look *before, struct doctor_look *look,
                  pid_t *ret_missing) {
    uint64_t passed;
    int r = doctor_look(proc_fd, before);

    for (size_t i = 0; i < n && r >= 0; i++) {
        pid_t pid = subjects[i].request->pid;

        if (pid > 0 && !subjects[i].request->service && !family_sweep_find(&before->processes, pid)) {
            *ret_missing = pid;
            return -ESRCH;
        }
        r = look_first(proc_fd, before, &subjects[i]);
    }
    if (r < 0)
        return r;
    passed = pass_time(proc_fd, subjects, n, interval_usec);
    r = doctor_look(proc_fd, look);
    for (size_t i = 0; i < n && r >= 0; i++) {
        facts[i].interval_usec = passed;
        r = look_again(proc_fd, before, look, &subjects[i]);
    }
    return r < 0 ? r : doctor_gather_peers(proc_fd, look, facts, n);
}

int doctor_gather(const struct doctor_request *requests, size_t n, uint64_t interval_usec,
                  struct doctor_facts **ret, pid_t *ret_missing) {
    _cleanup_free_ struct subject *subjects = calloc(n + 1, sizeof *subjects);
    struct doctor_facts *facts = calloc(n + 1, sizeof *facts);
    struct doctor_look before = {0}, look = {0};
    _cleanup_close_ int proc_fd = procfs_open();
    int r = proc_fd < 0 ? proc_fd : !subjects || !facts ? -ENOMEM : 0;

    if (r < 0) {
        free(facts);
        return r;
    }
    for (size_t i = 0; i < n; i++) {
        doctor_facts_init(&facts[i]);
        doctor_facts_init(&subjects[i].before);
        subjects[i].request = &requests[i];
        subjects[i].facts = &facts[i];
    }
    r = gather(proc_fd, subjects, n, interval_usec, facts, &before, &look, ret_missing);
    doctor_look_done(&before);
    doctor_look_done(&look);
    for (size_t i = 0; i < n; i++) {
        doctor_facts_done(&subjects[i].before);
        family_sweep_done(&subjects[i].threads);
        (void) doctor_births_end(&subjects[i].births);
    }
    if (r < 0) {
        doctor_facts_free_array(facts, n);
        return r;
    }
    *ret = facts;
    return 0;
}

void doctor_facts_free_array(struct doctor_facts *facts, size_t n) {
    for (size_t i = 0; facts && i < n; i++)
        doctor_facts_done(&facts[i]);
    free(facts);
}
