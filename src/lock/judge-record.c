/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* PID files, and other locks that say by their content whose they are: does that process live? */
#include "lock/judge.h"

#include <string.h>

#include "base/value.h"

/* A PID file is written after its process began. File times come from a clock that ticks every few
 * milliseconds and start times count in hundredths of a second, so "later" needs a margin. */
#define RECYCLED_MARGIN_USEC (2 * USEC_PER_SEC)

/* Two readings of when one boot began may differ by what the clock was slewed since (adjtime(3)). */
#define BOOT_MARGIN_USEC (5 * USEC_PER_SEC)

/* The wall clock was set forward after the file was made: it is in memory, so that this boot made it, and yet
 * it is older than this boot. A machine without a clock of its own begins so. */
static bool was_clock_set(const struct lock_facts *facts) {
    bool in_memory = strcmp(facts->filesystem, "tmpfs") == 0 || strcmp(facts->filesystem, "ramfs") == 0 ||
                     strcmp(facts->filesystem, "devtmpfs") == 0;

    return in_memory && facts->changed_usec > 0 &&
           facts->changed_usec + RECYCLED_MARGIN_USEC < facts->boot_usec;
}

/* After the file was written; after its owner began, where the file says so: PostgreSQL writes to it now and
 * then. */
static bool begins_after_file(const struct lock_facts *facts, const struct process_facts *process) {
    uint64_t written = facts->modified_usec;

    if (facts->record.start_usec > 0 && facts->record.start_usec + USEC_PER_SEC < written)
        written = facts->record.start_usec + USEC_PER_SEC; /* it counts seconds */
    return process->start_usec > written && process->start_usec - written > RECYCLED_MARGIN_USEC;
}

/* Emacs says when its boot began. Where that is not our boot, either the machine was started anew since, or
 * the wall clock was set forward; and if it was, the process began that much earlier by the writer's clock.
 * Later than our boot means nothing: what utmp(5) has of a boot is written some time after it. */
static bool may_be_of_this_boot(const struct lock_facts *facts, const struct process_facts *process) {
    uint64_t boot_usec = facts->record.boot_usec, later;

    if (boot_usec == 0 || facts->boot_usec <= boot_usec + BOOT_MARGIN_USEC)
        return false;
    later = facts->boot_usec - boot_usec;
    return process->start_usec <= later ||
           process->start_usec - later <= facts->modified_usec + RECYCLED_MARGIN_USEC;
}

/* The program that the process runs stands in the file's name: nsd.pid names a process of /usr/sbin/nsd. */
static bool is_named_after(const struct lock_facts *facts, const struct process_facts *process) {
    const char *base = process->exe ? strrchr(process->exe, '/') : NULL, *file = strrchr(facts->path, '/');

    return base && base[1] && strstr(file ? file : facts->path, base + 1);
}

/* It is one of the programs that write the form: what only the clock speaks against may be the owner.
 * Browsers and what is built from them are many; their link stands in a directory that is called after them.
 */
static bool writes_form(const struct lock_facts *facts, const struct process_facts *process) {
    /* clang-format off */
    static const char *const programs[RECORD_FORM_MAX][8] = {
        [RECORD_X11] = {"Xorg", "Xvfb", "Xvnc", "vnc", "Xwayland", "Xephyr", "Xnest"},
        [RECORD_POSTGRESQL] = {"postgres", "postmaster"},
        [RECORD_CHROME] = {"chrom", "electron", "brave", "edge", "opera", "vivaldi"},
        [RECORD_EMACS] = {"emacs"},
        [RECORD_MERCURIAL] = {"hg", "python", "pypy"},
        [RECORD_MOZILLA] = {"firefox", "thunderbird", "mozilla", "seamonkey"},
    };
    /* clang-format on */
    const char *const *words = programs[facts->record.form];
    const char *base = process->exe ? strrchr(process->exe, '/') : NULL;
    char stem[64];
    size_t length;

    if (!base || !base[1])
        return false;
    for (size_t i = 0; i < ELEMENTSOF(programs[0]) && words[i]; i++)
        if (strcasestr(base, words[i]))
            return true;
    length = strcspn(++base, "-. ");
    if ((facts->record.form != RECORD_CHROME && facts->record.form != RECORD_MOZILLA) || length == 0 ||
        length >= sizeof stem)
        return false;
    memcpy(stem, base, length);
    stem[length] = '\0';
    return strcasestr(facts->path, stem);
}

/* Whether that process, though it began after the file was written or though its number is another's, may be
 * the daemon. */
static bool may_be_daemon(const struct lock_facts *facts, const struct lock_context *context,
                          const struct process_facts *process) {
    if (!context->daemon_exe)
        return is_named_after(facts, process) || writes_form(facts, process);
    if (!judge_runs_program(process, context->daemon_exe))
        return false;
    /* The same program: a sister daemon is told apart by its configuration file. */
    return !context->config_file || !process->cmdline || strstr(process->cmdline, context->config_file);
}

/* Whether the shared memory that the file names is attached still: the daemon's children go on without it
 * then. Only processes that it began have it, for nobody else learns of the segment; and a second daemon
 * would ruin their data. VERDICT_STALE: nothing speaks against that. */
static struct lock_judgement judge_shm(const struct lock_facts *facts, const struct lock_context *context) {
    const struct shm_facts *shm = &facts->shm;
    struct lock_judgement nobody = judged(VERDICT_STALE, REASON_NONE);

    if (facts->record.shm_key == 0 && facts->record.shm_id == 0 && !shm->found)
        return nobody;
    if (shm->found) {
        if (shm->attached == 0)
            return nobody;
        if (facts->n_holders == 0)
            return judge_unseen(facts);
        if (context->main.pid > 0 && context->main_life == PROCESS_UNKNOWN)
            return judged(VERDICT_UNKNOWN, REASON_ACCESS_DENIED);
        if (shm->creator != facts->recorded.pid || !judge_is_dead(facts->recorded.process.life))
            return judged(VERDICT_UNKNOWN, REASON_LOCKER_DEAD);
        return (struct lock_judgement){VERDICT_ORPHANED, REASON_LEFTOVER, .daemon_gone = true};
    }
    /* It is gone, or in an IPC namespace that is not ours: there only who has it mapped shows it. */
    if (facts->n_holders > 0)
        return judged(VERDICT_UNKNOWN, REASON_LOCKER_DEAD);
    if (!facts->complete && facts->modified_usec + RECYCLED_MARGIN_USEC >= facts->boot_usec)
        return judged(VERDICT_UNKNOWN, REASON_INCOMPLETE_SCAN);
    return nobody;
}

/* What else speaks for life, where the number in a PID file looks dead: the service's main process, the
 * listener that the file guards, a process that has the number in a PID namespace of its own. */
static struct lock_judgement judge_dead_number(const struct lock_facts *facts,
                                               const struct lock_context *context,
                                               enum verdict_reason reason) {
    const struct peer_facts *peer = &facts->listener.peer;
    const struct process_facts *namesake = &facts->recorded.namesake;
    struct lock_judgement shm;

    if (judge_main_lives(context))
        return judged(VERDICT_HELD, REASON_UNLOCKED);
    if (facts->has_socket)
        switch (peer->answer) {
        case PEER_CONNECTED:
            if (judge_is_living(peer->life))
                return judged(VERDICT_HELD, peer->life == PROCESS_STOPPED ? REASON_STOPPED : REASON_UNLOCKED);
            if (!judge_is_listener_maker_dead(facts) || peer->pid != facts->recorded.pid)
                return judged(VERDICT_UNKNOWN, REASON_LOCKER_DEAD);
            break;
        case PEER_QUEUE_FULL:
            return judged(VERDICT_HELD, REASON_BUSY);
        case PEER_BOUND:
            return judged(VERDICT_HELD, REASON_NOT_LISTENING);
        case PEER_REFUSED:
            if (facts->listener.found)
                return judged(VERDICT_HELD, REASON_NOT_LISTENING);
            break;
        case PEER_UNCLEAR:
            if (peer->error != ENOENT && peer->error != ENOTSOCK) /* then it is no socket any more */
                return judged(VERDICT_UNKNOWN, peer->error == EACCES || peer->error == EPERM
                                                   ? REASON_ACCESS_DENIED
                                                   : REASON_UNCLEAR);
            break;
        default:
            if (facts->listener.listening)
                return judged(VERDICT_UNKNOWN, REASON_UNCLEAR);
        }
    shm = judge_shm(facts, context);
    if (shm.verdict != VERDICT_STALE)
        return shm;
    if (namesake->pid > 0 &&
        !(context->daemon_exe && namesake->exe && !may_be_daemon(facts, context, namesake)))
        return judged(VERDICT_UNKNOWN, REASON_OTHER_PID_NAMESPACE);
    if (facts->record.several)
        return judged(VERDICT_UNKNOWN, REASON_MAYBE_DAEMON);
    if (facts->hidden && namesake->pid == 0 && !context->daemon_exe)
        return judged(VERDICT_UNKNOWN, REASON_INCOMPLETE_SCAN);
    /* Who wrote it may live in a namespace beside ours or above, where the file is seen as well and the
     * number is another's. Whoever configured the file as a service's says that it is nobody else's; of a
     * zombie here, and a thread, we know. */
    if (!facts->initial_pid_namespace && !context->daemon_exe && reason != REASON_ZOMBIE &&
        reason != REASON_THREAD)
        return judged(VERDICT_UNKNOWN, REASON_OTHER_PID_NAMESPACE);
    return judged(VERDICT_STALE, reason);
}

/* The process is alive and began after the file was written: is it the daemon all the same (the wall clock
 * may have been set in between), or has it got the number by chance? */
static struct lock_judgement judge_recycled(const struct lock_facts *facts,
                                            const struct lock_context *context) {
    const struct process_facts *process = &facts->recorded.process;

    if (process->kernel_thread || (context->main.pid == process->pid && judge_is_dead(context->main_life)))
        return judge_dead_number(facts, context, REASON_RECYCLED);
    if (was_clock_set(facts))
        return judged(VERDICT_UNKNOWN, REASON_MAYBE_DAEMON);
    if (!process->exe)
        return judged(VERDICT_UNKNOWN, REASON_ACCESS_DENIED);
    if (may_be_daemon(facts, context, process))
        return judged(VERDICT_UNKNOWN, REASON_MAYBE_DAEMON);
    return judge_dead_number(facts, context, REASON_RECYCLED);
}

struct lock_judgement judge_record(const struct lock_facts *facts, const struct lock_context *context) {
    const struct recorded_facts *recorded = &facts->recorded;

    if (facts->size_bytes == 0)
        return judged(VERDICT_UNKNOWN, REASON_EMPTY);
    if (lock_facts_names_other_host(facts))
        return judged(VERDICT_UNKNOWN, REASON_OTHER_HOST);
    if (lock_facts_names_other_pid_namespace(facts))
        return judged(VERDICT_UNKNOWN, REASON_OTHER_PID_NAMESPACE);
    if (recorded->pid == 0)
        return judged(VERDICT_UNKNOWN, REASON_NOT_A_LOCK);
    if (context->main.pid == recorded->pid && judge_main_lives(context))
        return judged(VERDICT_HELD, context->main_life == PROCESS_STOPPED ? REASON_STOPPED : REASON_LIVE);
    if (recorded->is_self)
        return judge_dead_number(facts, context, REASON_SELF);
    switch (recorded->process.life) {
    case PROCESS_GONE:
        return judge_dead_number(facts, context, REASON_DEAD);
    case PROCESS_ZOMBIE:
        return judge_dead_number(facts, context, REASON_ZOMBIE);
    case PROCESS_ALIVE:
    case PROCESS_STOPPED:
        /* A thread that is older than the file had the number when it was written: its process may be the
         * owner. */
        if (recorded->is_thread)
            return !judge_main_lives(context) && (!begins_after_file(facts, &recorded->process) ||
                                                  may_be_daemon(facts, context, &recorded->process))
                       ? judged(VERDICT_UNKNOWN, REASON_MAYBE_DAEMON)
                       : judge_dead_number(facts, context, REASON_THREAD);
        if (may_be_of_this_boot(facts, &recorded->process) && !recorded->process.kernel_thread)
            return judged(VERDICT_UNKNOWN, REASON_MAYBE_DAEMON);
        if (begins_after_file(facts, &recorded->process) || recorded->process.kernel_thread)
            return judge_recycled(facts, context);
        return judged_held_by(recorded->process.life);
    default:
        return judged(VERDICT_UNKNOWN, REASON_ACCESS_DENIED);
    }
}
