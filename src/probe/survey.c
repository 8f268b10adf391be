/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "probe/survey.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mount.h"
#include "probe/bound-name.h"
#include "probe/gather.h"
#include "probe/locked-files.h"
#include "probe/probe.h"
#include "probe/process-facts.h"
#include "socket/unix-diag.h"

#define SPARE_DESCRIPTORS 128 /* for lock_probe(), whose threads have some open each */

struct surveyor {
    int proc_fd;
    struct locked_files files;
    struct unix_table sockets;
    struct mount_table mounts;
    struct lock_survey survey;
};

/* What one request to lock_probe() is about. */
struct subject {
    struct locked_file *file;         /* or */
    const struct unix_socket *socket; /* a listener */
};

static void surveyor_done(struct surveyor *surveyor) {
    fd_close(surveyor->proc_fd);
    locked_files_done(&surveyor->files);
    unix_table_done(&surveyor->sockets);
    mount_table_done(&surveyor->mounts);
    lock_survey_done(&surveyor->survey);
}

void lock_survey_done(struct lock_survey *survey) {
    for (size_t i = 0; i < survey->n; i++)
        lock_facts_done(&survey->items[i].facts);
    free(survey->items);
    *survey = (struct lock_survey){0};
}

/* ---- descriptors ---- */

/* The hard limit is ours to use. Returns how many descriptors may be opened still. */
static size_t raise_limit(int proc_fd, struct rlimit *ret_before) {
    _cleanup_closedir_ DIR *dir = NULL;
    struct rlimit limit = {.rlim_cur = 1024, .rlim_max = 1024};
    size_t used = SPARE_DESCRIPTORS;

    (void) getrlimit(RLIMIT_NOFILE, &limit);
    *ret_before = limit;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        limit.rlim_cur = ret_before->rlim_cur;
    if (fd_open_dir_at(proc_fd, "self/fd", &dir) >= 0)
        while (readdir(dir))
            used++;
    return limit.rlim_cur > used ? limit.rlim_cur - used : 1;
}

/* ---- what may hang ---- */

static bool is_device_remote(const struct surveyor *surveyor, dev_t device) {
    const struct mount_row *mount =
        surveyor->mounts.any_remote ? mount_find_device(&surveyor->mounts, device) : NULL;

    return mount && mount_type_is_remote(mount->facts.type);
}

/* By the text alone: another mount namespace's path may lead anywhere here. */
static bool is_path_remote(const struct surveyor *surveyor, const char *path) {
    const struct mount_row *mount =
        surveyor->mounts.any_remote ? mount_find_path(&surveyor->mounts, path) : NULL;

    return mount && (mount_type_is_remote(mount->facts.type) || mount_type_is_automatic(mount->facts.type));
}

/* ---- results ---- */

/* Takes the facts over; judges them. */
static int add_item(struct lock_survey *survey, struct lock_facts *facts, const char *path_note) {
    if ((survey->n & (survey->n - 1)) == 0) { /* grows at each power of two */
        struct survey_item *bigger =
            reallocarray(survey->items, survey->n ? survey->n * 2 : 1, sizeof *survey->items);

        if (!bigger)
            return -ENOMEM;
        survey->items = bigger;
    }
    survey->items[survey->n++] =
        (struct survey_item){.facts = *facts, .path_note = path_note, .judgement = lock_judge(facts, NULL)};
    *facts = (struct lock_facts){0};
    return 0;
}

/* What all facts of this observer share. */
static void set_observer(const struct surveyor *surveyor, struct lock_facts *facts) {
    facts->initial_pid_namespace = procfs_in_initial_pid_namespace(surveyor->proc_fd);
    (void) procfs_read_pid_namespace(surveyor->proc_fd, 0, &facts->pid_namespace);
    (void) procfs_read_boot_id(surveyor->proc_fd, facts->boot_id);
    facts->boot_usec = procfs_ticks_to_realtime_usec(0);
    if (gethostname(facts->host, sizeof facts->host - 1) < 0)
        facts->host[0] = '\0';
}

/* Who shows the lock, if that process is still there. */
static int set_holder(const struct surveyor *surveyor, const struct locked_file *file,
                      struct lock_facts *facts) {
    struct holder_facts holder = {.via = VIA_FD, .tid = file->tid, .fd = file->number};
    char path[64];
    int r;

    if (file->pid == 0)
        return 0;
    r = process_facts_read(surveyor->proc_fd, file->pid, &holder.process);
    if (r < 0)
        return r;
    snprintf(path, sizeof path, "%d/task/%d/fd/%d", (int) file->pid, (int) file->tid, file->number);
    if (holder.process.life == PROCESS_GONE || holder.process.life == PROCESS_ZOMBIE ||
        faccessat(surveyor->proc_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0) {
        process_facts_done(&holder.process);
        return 0;
    }
    memcpy(holder.families, file->families, sizeof holder.families);
    facts->holders = malloc(sizeof *facts->holders);
    if (!facts->holders) {
        process_facts_done(&holder.process);
        return -ENOMEM;
    }
    facts->holders[0] = holder;
    facts->n_holders = 1;
    return 0;
}

static int set_scan(const struct locked_files *files, struct lock_facts *facts) {
    facts->unreadable = calloc(LOCK_UNREADABLE_MAX, sizeof *facts->unreadable);
    if (!facts->unreadable)
        return -ENOMEM;
    memcpy(facts->unreadable, files->unreadable, sizeof files->unreadable);
    facts->n_unreadable = files->n_unreadable;
    facts->unreadable_total = files->unreadable_total;
    facts->processes = files->processes;
    facts->scanned = true;
    facts->complete = files->unreadable_total == 0 && files->saw_init;
    return 0;
}

static char *name_unseen(const struct surveyor *surveyor, const struct locked_file *file) {
    const struct mount_row *mount = mount_find_device(&surveyor->mounts, file->device);
    char *name;
    int r = asprintf(&name, "%u:%u:%lu%s%s%s", major(file->device), minor(file->device),
                     (unsigned long) file->inode, mount ? " (below " : "", mount ? mount->point : "",
                     mount ? ")" : "");

    return r < 0 ? NULL : name;
}

/* The lock by what the kernel's list and its holder's descriptor say, without a look at the file. */
static int describe_file(const struct surveyor *surveyor, const struct locked_file *file,
                         struct lock_facts *facts) {
    const struct mount_row *mount = mount_find_device(&surveyor->mounts, file->device);
    int r;

    facts->kind = PATH_KIND_LOCK;
    facts->device = file->device;
    facts->inode = file->inode;
    facts->unlinked = file->path && file->unlinked;
    facts->path = file->path ? strdup(file->path) : name_unseen(surveyor, file);
    facts->claims = calloc(file->n_claims ? file->n_claims : 1, sizeof *facts->claims);
    if (!facts->path || !facts->claims)
        return -ENOMEM;
    if (mount) {
        memcpy(facts->filesystem, mount->facts.type, sizeof facts->filesystem);
        facts->remote = mount_type_is_remote(mount->facts.type);
    }
    for (size_t i = 0; i < file->n_claims; i++) {
        facts->claims[facts->n_claims++] = file->claims[i];
        if (!file->claims[i].waiting)
            facts->families[file->claims[i].family] = FAMILY_HELD;
    }
    for (enum lock_family f = 0; f < LOCK_FAMILY_MAX; f++)
        if (file->families[f])
            facts->families[f] = FAMILY_HELD;
    for (size_t i = 0; i < file->n_claims && facts->recorded.pid == 0; i++)
        if (!file->claims[i].waiting && file->claims[i].pid > 0)
            facts->recorded.pid = file->claims[i].pid;
    if (facts->recorded.pid > 0) {
        r = process_facts_read(surveyor->proc_fd, facts->recorded.pid, &facts->recorded.process);
        if (r < 0)
            return r;
    }
    set_observer(surveyor, facts);
    r = set_holder(surveyor, file, facts);
    return r < 0 ? r : set_scan(&surveyor->files, facts);
}

static int add_described(struct surveyor *surveyor, const struct locked_file *file) {
    _cleanup_lock_facts_ struct lock_facts facts = {0};
    int r = describe_file(surveyor, file, &facts);

    return r < 0 ? r : add_item(&surveyor->survey, &facts, NULL);
}

/* `facts`, by lock_probe(), are about the file as it is now. */
static int add_file(struct surveyor *surveyor, const struct subject *subject, struct lock_facts *facts) {
    const struct locked_file *file = subject->file;
    struct statx stx;

    if (statx(file->fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &stx) < 0)
        return 0;
    if (facts->inode != stx.stx_ino || facts->device != makedev(stx.stx_dev_major, stx.stx_dev_minor))
        return add_described(surveyor, file); /* it was renamed just now, or cannot be reached there */
    if (!lock_facts_is_held(facts)) {
        if (file->pid == 0 || facts->error != 0 || lock_facts_any_family(facts, FAMILY_UNKNOWN))
            return add_described(surveyor, file);
        return 0; /* dropped meanwhile */
    }
    facts->unlinked = file->unlinked;
    return add_item(&surveyor->survey, facts, NULL);
}

#define NOTE_AWAY "removed or renamed"

/* The listener's file is gone from the path: that is so of the path what displaced files are of one. */
static int add_lost_listener(struct surveyor *surveyor, struct lock_facts *facts) {
    _cleanup_lock_facts_ struct lock_facts path = {.kind = PATH_KIND_ABSENT, .complete = facts->complete};
    struct lock_facts *displaced;
    int r;

    set_observer(surveyor, &path);
    path.path = strdup(facts->path);
    if (!path.path)
        return -ENOMEM;
    r = gather_add_displaced(&path, &displaced);
    if (r < 0)
        return r;
    lock_facts_done(displaced);
    *displaced = *facts;
    *facts = (struct lock_facts){0};
    path.scanned = displaced->scanned;
    path.processes = displaced->processes;
    path.unreadable_total = displaced->unreadable_total;
    return add_item(&surveyor->survey, &path, NOTE_AWAY);
}

static int add_listener(struct surveyor *surveyor, const struct subject *subject, struct lock_facts *facts) {
    _cleanup_free_ char *path = NULL;
    const char *note = NULL;
    int r;

    if (!facts->listener.found)
        return 0; /* closed meanwhile */
    if (!subject->socket->has_file || !subject->socket->name ||
        is_path_remote(surveyor, subject->socket->name))
        return add_item(&surveyor->survey, facts, NULL);
    r = bound_name_look(surveyor->proc_fd, subject->socket, facts, &path);
    if (r < 0)
        return r;
    switch ((enum bound_name) r) {
    case BOUND_NAME_LOST:
        return add_lost_listener(surveyor, facts);
    case BOUND_NAME_AWAY:
        note = NOTE_AWAY;
        break;
    case BOUND_NAME_UNCLEAR:
        note = subject->socket->name[0] == '/' ? NULL : "relative";
        break;
    default:
        break;
    }
    if (path) {
        free(facts->path);
        facts->path = TAKE_PTR(path);
    }
    return add_item(&surveyor->survey, facts, note);
}

/* ---- a round: as many files as there is room for ---- */

/* By its path if that leads to the very file, for then lock_probe() sees what stands beside it as well. */
static bool leads_to(const struct surveyor *surveyor, const struct locked_file *file) {
    struct stat by_path, by_fd;

    return !file->unlinked && file->path[0] == '/' && !is_path_remote(surveyor, file->path) &&
           fstatat(AT_FDCWD, file->path, &by_path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) == 0 &&
           fstat(file->fd, &by_fd) == 0 && stat_same_inode(&by_path, &by_fd);
}

static void request_file(const struct surveyor *surveyor, struct locked_file *file, struct subject *subject,
                         struct probe_request *request) {
    *subject = (struct subject){.file = file};
    *request = (struct probe_request){.path = file->path,
                                      .by_fd = !leads_to(surveyor, file),
                                      .fd = file->fd,
                                      .style = LOCK_STYLE_INVALID,
                                      .effort = PROBE_SETTLE};
}

static void request_listener(const struct unix_socket *socket, struct subject *subject,
                             struct probe_request *request) {
    *subject = (struct subject){.socket = socket};
    *request = (struct probe_request){.path = socket->name ? socket->name : "(no name)",
                                      .socket_inode = socket->inode,
                                      .style = LOCK_STYLE_INVALID,
                                      .effort = PROBE_SETTLE,
                                      .no_connect = true};
}

static int probe_subjects(struct surveyor *surveyor, const struct subject *subjects,
                          const struct probe_request *requests, size_t n) {
    struct lock_facts *facts;
    int r;

    if (n == 0)
        return 0;
    r = lock_probe(requests, n, &facts);
    if (r < 0)
        return r;
    for (size_t i = 0; r >= 0 && i < n; i++)
        r = subjects[i].file ? add_file(surveyor, &subjects[i], &facts[i])
                             : add_listener(surveyor, &subjects[i], &facts[i]);
    lock_facts_free_array(facts, n);
    return r;
}

static int survey_round(struct surveyor *surveyor, size_t room, bool listeners) {
    struct locked_files *files = &surveyor->files;
    _cleanup_free_ struct probe_request *requests = NULL;
    _cleanup_free_ struct subject *subjects = NULL;
    size_t n = 0, max;
    int r;

    r = locked_files_open(surveyor->proc_fd, files, room);
    if (r < 0)
        return r;
    max = files->n + surveyor->sockets.n + 1;
    requests = calloc(max, sizeof *requests);
    subjects = calloc(max, sizeof *subjects);
    if (!requests || !subjects)
        return -ENOMEM;
    for (size_t i = 0; i < files->n; i++) {
        struct locked_file *file = files->files[i];

        if (file->fd < 0)
            continue;
        if (!is_device_remote(surveyor, file->device)) {
            request_file(surveyor, file, &subjects[n], &requests[n]);
            n++;
        } else { /* a look may hang */
            r = add_described(surveyor, file);
            if (r < 0)
                return r;
        }
    }
    for (size_t i = 0; listeners && i < surveyor->sockets.n; i++)
        if (surveyor->sockets.sockets[i].listening) {
            request_listener(&surveyor->sockets.sockets[i], &subjects[n], &requests[n]);
            n++;
        }
    r = probe_subjects(surveyor, subjects, requests, n);
    for (size_t i = 0; i < files->n; i++)
        if (files->files[i]->fd >= 0) {
            locked_file_close(files->files[i]);
            files->files[i]->done = true;
        }
    return r;
}

/* What the list had and nobody showed: in the list still, or it was dropped meanwhile. */
static int add_unseen(struct surveyor *surveyor) {
    _cleanup_locked_files_ struct locked_files now = {0};
    bool any = false;
    int r;

    for (size_t i = 0; i < surveyor->files.n; i++)
        any |= !surveyor->files.files[i]->done;
    if (!any)
        return 0;
    r = locked_files_read(surveyor->proc_fd, &now);
    for (size_t i = 0; r >= 0 && i < surveyor->files.n; i++) {
        const struct locked_file *file = surveyor->files.files[i];

        if (file->done || !locked_files_has(&now, file->device, file->inode))
            continue;
        surveyor->survey.locks_unseen++;
        r = add_described(surveyor, file);
    }
    return r;
}

static int compare_items(const void *a, const void *b) {
    const struct survey_item *x = a, *y = b;

    return strcmp(x->facts.path, y->facts.path);
}

static int survey_all(struct surveyor *surveyor, size_t room) {
    bool listeners = true;
    int r = locked_files_read(surveyor->proc_fd, &surveyor->files);

    if (r < 0)
        return r;
    r = unix_table_read(&surveyor->sockets);
    if (gather_is_scarcity(r))
        return r;
    surveyor->survey.sockets_unknown = r < 0;
    r = mount_table_read(surveyor->proc_fd, &surveyor->mounts);
    if (gather_is_scarcity(r))
        return r;
    do {
        r = survey_round(surveyor, room, listeners);
        listeners = false;
    } while (r >= 0 && surveyor->files.more);
    if (r >= 0)
        r = add_unseen(surveyor);
    surveyor->survey.rows_hidden = surveyor->files.rows_hidden;
    surveyor->survey.processes = surveyor->files.processes;
    surveyor->survey.unreadable = surveyor->files.unreadable_total;
    return r;
}

int lock_survey_read(struct lock_survey *ret) {
    _cleanup_(surveyor_done) struct surveyor surveyor = {.proc_fd = procfs_open()};
    struct rlimit before;
    size_t room;
    int r;

    if (surveyor.proc_fd < 0)
        return surveyor.proc_fd;
    room = raise_limit(surveyor.proc_fd, &before);
    r = survey_all(&surveyor, room);
    (void) setrlimit(RLIMIT_NOFILE, &before);
    if (r < 0)
        return r;
    qsort(surveyor.survey.items, surveyor.survey.n, sizeof *surveyor.survey.items, compare_items);
    *ret = surveyor.survey;
    surveyor.survey = (struct lock_survey){0};
    return 0;
}
