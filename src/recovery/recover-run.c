/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Recovery for those who have no event loop: what it works for, read from a state file, and all its rounds. */
#include "recovery/recover.h"

#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/value.h"
#include "exec/credentials.h"
#include "runtime/main-note.h"

/* The user that the daemon runs as: ours when none is configured, (uid_t) -1 when who it is cannot be told.
 */
static uid_t daemon_uid(const struct service_config *config) {
    _cleanup_credentials_ struct credentials credentials = {0};

    if (!config->user)
        return geteuid();
    return credentials_resolve(config, &credentials, NULL) >= 0 ? credentials.uid : (uid_t) -1;
}

void recovery_host_init(struct recovery_host *host, const struct service_config *config,
                        const struct service_record *record, int proc_fd, struct event_log *log) {
    const char *invocation_id = record->invocation_id[0] ? record->invocation_id : NULL;

    *host = (struct recovery_host){
        .config = config,
        .known = {.life = PROCESS_UNKNOWN},
        .leftover =
            {
                .service = config->name,
                .invocation_id = invocation_id,
                .self = getpid(),
                .uid = daemon_uid(config),
                .helpers = config->orphan_allow,
            },
        .log = log,
        .scope = {.service = config->name, .generation = record->generation, .invocation_id = invocation_id},
        .proc_fd = proc_fd,
    };
}

int recovery_check_proc(int proc_fd, struct err *err) {
    struct proc_status status;
    char self[32], ours[32];
    ssize_t n = readlinkat(proc_fd, "self", self, sizeof self - 1);
    int r = 0;

    snprintf(ours, sizeof ours, "%d", (int) getpid());
    self[n > 0 ? n : 0] = '\0';
    if (strcmp(self, ours) == 0)
        r = procfs_read_status(proc_fd, getpid(), &status);
    if (strcmp(self, ours) != 0 || r < 0 || status.ns_depth != 1)
        return err_set(
            err, EXDEV, "Failed",
            "/proc belongs to another PID namespace, so that nothing can be told of any process: mount it "
            "anew (mount -t proc proc /proc)");
    return 0;
}

int recovery_host_init_offline(struct recovery_host *host, const struct service_config *config,
                               int runtime_dir_fd, int proc_fd, struct event_log *log,
                               struct service_record *record, struct err *err) {
    _cleanup_free_ char *daemon_exe = service_find_daemon_exe(config);
    _cleanup_close_ int running = -EBADF;
    bool noted = false;
    const char *lost;
    int r = recovery_check_proc(proc_fd, err);

    if (r < 0)
        return r;
    *record = (struct service_record){0};
    r = state_file_read(runtime_dir_fd, config->name, record, err);
    lost = r == -ENOENT ? "missing" : r < 0 ? "damaged" : "one of no daemon";
    if (r < 0 && r != -ENOENT && r != -EBADMSG)
        return r;
    err_done(err);
    running = main_note_find(proc_fd, runtime_dir_fd, config->name, daemon_exe, record, &noted);
    if (running >= 0)
        return err_set(err, EBUSY, "Held", "service %s runs already: PID %d, begun by latchd", config->name,
                       (int) record->main.pid);
    if (running < 0 && running != -ESRCH && running != -EBADMSG && running != -ENODATA)
        return err_set(err, -running, "Failed",
                       "cannot tell whether PID %d still is the daemon of service %s: %m",
                       (int) record->main.pid, config->name);
    if (running == -EBADMSG)
        record->main = (struct process_id){0};
    recovery_host_init(host, config, record, proc_fd, log);
    if (running == -ENODATA) {
        host->unrecorded = (struct unrecorded){.id = record->main, .record = UNRECORDED_OTHER_MARKS};
        record->main = (struct process_id){0};
        return 0;
    }
    host->known.id = record->main;
    if (record->main.pid > 0)
        host->known.life = process_look(proc_fd, &record->main);
    if (!record->invocation_id[0] &&
        unrecorded_find(proc_fd, runtime_dir_fd, config, daemon_exe, host->leftover.uid, NULL, &host->unrecorded.id))
        host->unrecorded.record = lost;
    return 0;
}

static int run(struct recovery *recovery, const struct recovery_host *host, struct err *err) {
    uint64_t patient_until_usec = now_usec(CLOCK_BOOTTIME) + host->patience_usec;

    for (;;) {
        struct pollfd wait = {.fd = recovery->wait_fd, .events = POLLIN};
        struct timespec timeout = {0};
        enum recover_outcome outcome;
        uint64_t next_usec, now;
        int r;

        r = recovery_step(recovery, host, &outcome, &next_usec, NULL, err);
        if (r < 0)
            return r;
        if (outcome == RECOVERY_CLEAR || (outcome == RECOVERY_WORKING && host->dry_run))
            return 0;
        now = now_usec(CLOCK_BOOTTIME);
        if (outcome == RECOVERY_BLOCKED) {
            if (now >= patient_until_usec)
                return -EBUSY;
            if (next_usec > patient_until_usec)
                next_usec = patient_until_usec;
        }
        if (next_usec <= now)
            continue;
        timeout.tv_sec = (time_t) ((next_usec - now) / USEC_PER_SEC);
        timeout.tv_nsec = (long) ((next_usec - now) % USEC_PER_SEC * NSEC_PER_USEC);
        if (ppoll(&wait, 1, next_usec == USEC_INFINITY ? NULL : &timeout, NULL) < 0 && errno != EINTR)
            return err_set(err, errno, "Failed", "cannot wait for leftovers of %s: %m", host->config->name);
    }
}

/* Nobody has kept an eye on what was left: it is found by its marks. */
int recovery_run(struct recovery *recovery, const struct recovery_host *host, struct err *err) {
    struct recovery_host own = *host;
    int r;

    if (!own.leftovers) {
        own.leftovers = leftovers_new();
        own.places.marks = true;
    }
    if (!own.leftovers)
        return err_set(err, ENOMEM, "Failed", "out of memory");
    r = run(recovery, &own, err);
    if (!host->leftovers)
        leftovers_free(own.leftovers);
    return r;
}
