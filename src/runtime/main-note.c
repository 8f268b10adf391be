/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "runtime/main-note.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/value.h"

/* One write(2) into one page: it is there as a whole, or not at all, whenever latchd is killed. */
#define NOTE_SIZE 256
#define NOTE_FORMAT                                                                                          \
    "latchd 1 pid=%d start=%" PRIu64 " boot=%s session=%" PRIu64 " generation=%" PRIu64                      \
    " invocation=%s noted=%" PRIu64
#define NOTE_SCAN                                                                                            \
    "latchd 1 pid=%d start=%" SCNu64 " boot=%36[0-9a-f-] session=%" SCNu64 " generation=%" SCNu64            \
    " invocation=%32[0-9a-f] noted=%" SCNu64 "%n"

/* NAME.state follows the note of a start within milliseconds. A latchd that comes this long after one that
 * was killed in between finds the daemon up, as far as one can tell. */
#define FOLLOWS_USEC (10 * USEC_PER_SEC)

static int open_lock(int runtime_dir_fd, const char *service, int flags) {
    char name[NAME_MAX + 1];
    int fd;

    if (snprintf(name, sizeof name, "%s.lock", service) >= (int) sizeof name)
        return -ENAMETOOLONG;
    fd = openat(runtime_dir_fd, name, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int main_note_write(int runtime_dir_fd, const char *service, struct service_record *record) {
    _cleanup_close_ int fd = open_lock(runtime_dir_fd, service, O_WRONLY);
    char note[NOTE_SIZE];
    int n;

    record->main_usec = now_usec(CLOCK_BOOTTIME);
    if (fd < 0)
        return fd;
    n = snprintf(note, sizeof note, NOTE_FORMAT, (int) record->main.pid, record->main.start_ticks,
                 record->main.boot_id, record->session, record->generation, record->invocation_id,
                 record->main_usec);
    if (n < 0 || n >= NOTE_SIZE)
        return -EOVERFLOW;
    memset(note + n, ' ', sizeof note - (size_t) n);
    note[sizeof note - 1] = '\n';
    if (pwrite(fd, note, sizeof note, 0) != (ssize_t) sizeof note)
        return errno ? -errno : -EIO;
    return 0;
}

int main_note_read(int runtime_dir_fd, const char *service, struct service_record *ret) {
    _cleanup_close_ int fd = open_lock(runtime_dir_fd, service, O_RDONLY);
    struct service_record record = {0};
    char note[NOTE_SIZE + 1];
    struct stat st;
    int pid, end = 0;
    ssize_t n;

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (st.st_uid != 0 && st.st_uid != geteuid()))
        return -ENODATA;
    n = pread(fd, note, NOTE_SIZE, 0);
    if (n != NOTE_SIZE || note[NOTE_SIZE - 1] != '\n')
        return -ENODATA;
    note[NOTE_SIZE - 1] = '\0';
    if (sscanf(note, NOTE_SCAN, &pid, &record.main.start_ticks, record.main.boot_id, &record.session,
               &record.generation, record.invocation_id, &record.main_usec, &end) != 7 ||
        pid <= 0 || strlen(record.main.boot_id) != 36 || strlen(record.invocation_id) != 32 ||
        strspn(note + end, " ") != strlen(note + end))
        return -ENODATA;
    record.main.pid = pid;
    *ret = record;
    return 0;
}

static void name_noted(struct service_record *record, const struct service_record *note) {
    bool same_generation = strcmp(record->invocation_id, note->invocation_id) == 0,
         just_started = !same_generation && note->generation == record->generation + 1 &&
                        now_usec(CLOCK_BOOTTIME) < note->main_usec + FOLLOWS_USEC;

    if (!same_generation) /* what else there is was said of another one */
        state_record_forget_state(record);
    if (just_started) {
        snprintf(record->state, sizeof record->state, "starting");
        snprintf(record->state_boot_id, sizeof record->state_boot_id, "%s", note->main.boot_id);
        record->restarts++;
    }
    record->main = note->main;
    record->main_usec = note->main_usec;
    record->session = note->session;
    record->leads_session = false;
    if (note->generation > record->generation)
        record->generation = note->generation;
    memcpy(record->invocation_id, note->invocation_id, sizeof record->invocation_id);
}

static bool is_gone(int r) {
    return r == -ESRCH || r == -EBADMSG;
}

int main_note_find(int proc_fd, int runtime_dir_fd, const char *service, const char *daemon_exe,
                   struct service_record *record, bool *ret_noted) {
    struct service_record note;
    bool noted = main_note_read(runtime_dir_fd, service, &note) >= 0,
         newer = noted && record->main_usec > 0 && note.main_usec > record->main_usec;
    int r = -ESRCH, by_record;

    if (newer)
        r = state_file_find_main(proc_fd, service, &note, daemon_exe);
    if (is_gone(r)) {
        by_record = state_file_find_main(proc_fd, service, record, daemon_exe);
        if (!is_gone(by_record) || newer || !noted || process_id_equal(&note.main, &record->main))
            return by_record;
        r = state_file_find_main(proc_fd, service, &note, daemon_exe);
        if (is_gone(r))
            return by_record;
    }
    name_noted(record, &note);
    *ret_noted = true;
    return r;
}
