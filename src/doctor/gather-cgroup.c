/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cgroup.h"
#include "base/fd.h"
#include "base/value.h"
#include "doctor/gather-parts.h"

#define TEXT_MAX (64 * 1024)
#define DEPTH_MAX 32

/* Version 1 has no word for "no limit": the largest number of pages (PAGE_COUNTER_MAX,
 * include/linux/page_counter.h). */
#define NO_LIMIT_V1 (UINT64_C(1) << 60)

/* Where a field comes from: a file that is a number, or the number behind a word in it. `unit_nsec`: of
 * nanoseconds. */
static const struct source {
    const char *controller; /* of version 1; NULL: version 2 */
    const char *file, *word;
    size_t offset;
    bool unit_nsec;
} sources[] = {
#define SOURCE(controller, file, word, field)                                                                \
    { controller, file, word, offsetof(struct doctor_cgroup, field), false }
    SOURCE(NULL, "pids.current", NULL, pids),
    SOURCE(NULL, "pids.max", NULL, pids_max),
    SOURCE(NULL, "pids.events", "max", pids_refused_in_all),
    SOURCE(NULL, "memory.current", NULL, memory_bytes),
    SOURCE(NULL, "memory.high", NULL, memory_high_bytes),
    SOURCE(NULL, "memory.max", NULL, memory_max_bytes),
    SOURCE(NULL, "memory.events", "high", memory_high_hits),
    SOURCE(NULL, "memory.events", "max", memory_max_hits),
    SOURCE(NULL, "memory.events", "oom_kill", oom_kills_in_all),
    SOURCE(NULL, "cpu.stat", "nr_throttled", throttled),
    SOURCE(NULL, "cpu.stat", "throttled_usec", throttled_usec),
    SOURCE("pids", "pids.current", NULL, pids),
    SOURCE("pids", "pids.max", NULL, pids_max),
    SOURCE("pids", "pids.events", "max", pids_refused_in_all),
    SOURCE("memory", "memory.usage_in_bytes", NULL, memory_bytes),
    SOURCE("memory", "memory.limit_in_bytes", NULL, memory_max_bytes),
    SOURCE("memory", "memory.failcnt", NULL, memory_max_hits),
    SOURCE("memory", "memory.oom_control", "oom_kill", oom_kills_in_all),
    SOURCE("cpu", "cpu.stat", "nr_throttled", throttled),
    {"cpu", "cpu.stat", "throttled_time", offsetof(struct doctor_cgroup, throttled_usec), true},
#undef SOURCE
};

static const char *const controllers[] = {NULL, "pids", "memory", "cpu"};

/* Counters that only ever grow. */
static const size_t counters[] = {
    offsetof(struct doctor_cgroup, memory_high_hits), offsetof(struct doctor_cgroup, memory_max_hits),
    offsetof(struct doctor_cgroup, throttled), offsetof(struct doctor_cgroup, throttled_usec)};

static uint64_t *field_of(struct doctor_cgroup *cgroup, size_t offset) {
    return (void *) ((char *) cgroup + offset);
}

static bool is_same_controller(const char *a, const char *b) {
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* The number behind a word that begins a line; without a word, the whole text. */
static uint64_t parse(char *text, const char *word) {
    uint64_t value;

    if (word) {
        size_t length = strlen(word);

        while (text && (strncmp(text, word, length) != 0 || text[length] != ' ')) {
            text = strchr(text, '\n');
            text = text ? text + 1 : NULL;
        }
        if (!text)
            return DOCTOR_UNKNOWN;
        text += length + 1;
    }
    if (strncmp(text, "max", 3) == 0)
        return DOCTOR_INFINITY;
    return sscanf(text, "%" SCNu64, &value) == 1 ? value : DOCTOR_UNKNOWN;
}

uint64_t doctor_parse_pressure(const char *text) {
    double stalled;

    return sscanf(text, "some avg10=%lf", &stalled) == 1 && stalled >= 0 ? (uint64_t) (stalled + 0.5)
                                                                         : DOCTOR_UNKNOWN;
}

static bool fill(int fd, const char *controller, struct doctor_cgroup *cgroup) {
    _cleanup_free_ char *pressure = NULL;
    bool any = false;

    for (size_t i = 0; i < ELEMENTSOF(sources); i++) {
        const struct source *source = &sources[i];
        _cleanup_free_ char *text = NULL;
        uint64_t value;

        if (!is_same_controller(source->controller, controller) ||
            fd_read_file_at(fd, source->file, TEXT_MAX, &text, NULL) < 0)
            continue;
        value = parse(text, source->word);
        if (!doctor_known(value))
            continue;
        if (source->unit_nsec)
            value /= NSEC_PER_USEC;
        if (controller && value >= NO_LIMIT_V1 && value < DOCTOR_INFINITY)
            value = DOCTOR_INFINITY;
        *field_of(cgroup, source->offset) = value;
        any = true;
    }
    if (!controller && fd_read_file_at(fd, "memory.pressure", TEXT_MAX, &pressure, NULL) >= 0)
        cgroup->memory_stalled_percent = doctor_parse_pressure(pressure);
    return any;
}

static int add_cgroup(int mount_fd, const char *path, const char *controller, struct doctor_facts *facts) {
    _cleanup_close_ int fd =
        openat(mount_fd, *path ? path : ".", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct doctor_cgroup *cgroup;

    if (fd < 0)
        return 0; /* another cgroup namespace's */
    cgroup = doctor_add(facts, cgroups);
    if (!cgroup)
        return -ENOMEM;
    if (!fill(fd, controller, cgroup)) {
        facts->n_cgroups--;
        return 0;
    }
    if (asprintf(&cgroup->path, "/%s", path) < 0) {
        cgroup->path = NULL;
        return -ENOMEM;
    }
    value_make_printable(cgroup->path);
    cgroup->controller = controller ? strdup(controller) : NULL;
    return controller && !cgroup->controller ? -ENOMEM : 0;
}

/* The root of the whole tree has none of the files; the root of a cgroup namespace (a container's) may. */
static int walk_up(int proc_fd, pid_t pid, const char *controller, struct doctor_facts *facts) {
    _cleanup_close_ int mount_fd = -EBADF;
    _cleanup_free_ char *path = NULL;
    int r = cgroup_find(proc_fd, pid, controller, &mount_fd, &path);

    if (r < 0)
        return r;
    if (strncmp(path, "..", 2) == 0) /* it is outside of our cgroup namespace (cgroup_namespaces(7)) */
        return -ENOENT;
    for (int depth = 0; depth < DEPTH_MAX; depth++) {
        char *slash = strrchr(path, '/');

        r = add_cgroup(mount_fd, path, controller, facts);
        if (r < 0 || !*path)
            return r;
        *(slash ? slash : path) = '\0';
    }
    return 0;
}

int doctor_gather_cgroups(int proc_fd, pid_t pid, struct doctor_facts *facts) {
    bool any = false;

    for (size_t i = 0; i < ELEMENTSOF(controllers); i++) {
        int r = walk_up(proc_fd, pid, controllers[i], facts);

        if (r == -ENOMEM)
            return r;
        any |= r >= 0;
    }
    if (!any)
        doctor_unseen_because(facts, "its cgroups", "none is mounted here that it is in");
    return 0;
}

static const struct doctor_cgroup *find(const struct doctor_facts *facts,
                                        const struct doctor_cgroup *cgroup) {
    for (size_t i = 0; i < facts->n_cgroups; i++)
        if (strcmp(facts->cgroups[i].path, cgroup->path) == 0 &&
            is_same_controller(facts->cgroups[i].controller, cgroup->controller))
            return &facts->cgroups[i];
    return NULL;
}

static uint64_t since(uint64_t now, uint64_t before) {
    return doctor_known(now) && doctor_known(before) && now >= before ? now - before : DOCTOR_UNKNOWN;
}

void doctor_cgroups_since(struct doctor_facts *facts, const struct doctor_facts *before) {
    for (size_t i = 0; i < facts->n_cgroups; i++) {
        struct doctor_cgroup *cgroup = &facts->cgroups[i];
        const struct doctor_cgroup *then = find(before, cgroup);

        for (size_t j = 0; j < ELEMENTSOF(counters); j++) {
            uint64_t *counter = field_of(cgroup, counters[j]), earlier = DOCTOR_UNKNOWN;

            if (then)
                memcpy(&earlier, (const char *) then + counters[j], sizeof earlier);
            *counter = since(*counter, earlier);
        }
        cgroup->pids_refused =
            then ? since(cgroup->pids_refused_in_all, then->pids_refused_in_all) : DOCTOR_UNKNOWN;
        cgroup->oom_kills = then ? since(cgroup->oom_kills_in_all, then->oom_kills_in_all) : DOCTOR_UNKNOWN;
    }
}
