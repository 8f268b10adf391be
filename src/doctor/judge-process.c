/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What keeps the processes of the service from serving: they are stopped, busy, or blocked. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "doctor/judge.h"

#define BUSY_PERCENT 90
#define FORKS_PER_SECOND 50 /* of so many on the main process is worth a word once it is busy in part */
#define FORKING_PERCENT 50

static bool is(const char *text, const char *word) {
    return text && strcmp(text, word) == 0;
}

static const char *comm_of(const struct doctor_process *process) {
    return process->comm ? process->comm : "?";
}

/* ---- stopped ---- */

enum stop { RUNS, STOPPED, TRACED, FROZEN };

static enum stop how_stopped(const struct doctor_process *process) {
    return doctor_yes(process->frozen) ? FROZEN
           : is(process->state, "T")   ? STOPPED
           : is(process->state, "t")   ? TRACED
                                       : RUNS;
}

static void advise_going_on(struct doctor_finding *finding, const struct doctor_facts *facts,
                            const struct doctor_process *process, enum stop how) {
    if (how == FROZEN)
        doctor_advise(finding, "systemctl thaw %s, or echo 0 >cgroup.freeze in its cgroup",
                      doctor_unit(facts));
    else if (how == TRACED)
        doctor_advise(finding, "let the debugger go on or detach: grep TracerPid /proc/%" PRIu64 "/status",
                      process->pid);
    else
        doctor_advise(finding, "kill -CONT %" PRIu64, process->pid);
}

static void judge_supervisor(const struct doctor_facts *facts, struct doctor_findings *findings) {
    struct doctor_finding *finding;

    if (!facts->supervisor_silence)
        return;
    finding = doctor_find(findings, DOCTOR_SUPERVISOR_SILENT, DOCTOR_WARNING, json_object(), "latchd of %s",
                          facts->service ? facts->service : "the service");
    doctor_say(finding, "latchd, the service's supervisor, does not answer: %s", facts->supervisor_silence);
    doctor_advise(
        finding,
        "latchctl probe NAME.lock in its runtime directory names its PID: latchctl doctor --pid PID");
}

void doctor_judge_state(const struct doctor_facts *facts, struct doctor_findings *findings) {
    static const char *const words[] = {
        [STOPPED] = "is stopped by a signal (SIGSTOP or its kin)",
        [TRACED] = "is stopped by a debugger",
        [FROZEN] = "is frozen by its cgroup",
    };
    const struct doctor_process *main = doctor_main(facts), *first = NULL;
    size_t n = 0;

    judge_supervisor(facts, findings);
    for (size_t i = 0; main && i < facts->n_processes; i++)
        if (how_stopped(&facts->processes[i]) != RUNS) {
            first = first ? first : &facts->processes[i];
            n++;
        }
    if (!first)
        return;
    struct doctor_finding *finding =
        doctor_find(findings, DOCTOR_STOPPED,
                    first == main || n + 1 >= facts->n_processes ? DOCTOR_ERROR : DOCTOR_WARNING,
                    json_pack("{s:o, s:s?, s:b, s:I, s:o}", "pid", doctor_number_to_json(first->pid), "state",
                              first->state, "frozen", doctor_yes(first->frozen), "stopped", (json_int_t) n,
                              "processes", doctor_number_to_json(facts->family)),
                    "PID %" PRIu64 " (%s)", first->pid, comm_of(first));
    doctor_say(finding, "PID %" PRIu64 " (%s), %s, %s: nobody answers what waits for it", first->pid,
               comm_of(first), first == main ? "the main process" : "a process of the service",
               words[how_stopped(first)]);
    if (n > 1)
        doctor_say(finding, "%zu of %s processes of the service are", n, COUNT(facts->family));
    advise_going_on(finding, facts, first, how_stopped(first));
}

/* ---- busy ---- */

static bool somebody_waits(const struct doctor_facts *facts) {
    for (size_t i = 0; i < facts->n_listeners; i++)
        if (doctor_known(facts->listeners[i].queue) && facts->listeners[i].queue > 0)
            return true;
    return false;
}

static uint64_t per_second(const struct doctor_facts *facts, uint64_t number) {
    return doctor_known(number) && doctor_known(facts->interval_usec) && facts->interval_usec > 0
               ? number * 1000000 / facts->interval_usec
               : DOCTOR_UNKNOWN;
}

static uint64_t at_most_all(uint64_t percent) { /* processor time is counted in ticks */
    return doctor_known(percent) && percent > 100 ? 100 : percent;
}

static void advise_busy(struct doctor_finding *finding, const struct doctor_process *main, uint64_t busy,
                        uint64_t delayed, bool is_forking) {
    if (doctor_known(delayed) && delayed > busy)
        doctor_advise(
            finding,
            "find who else uses the processors (top, systemd-cgtop): the machine has too few of them "
            "for all that wants to run, or CPUWeight= of the service's unit is low");
    else if (is_forking)
        doctor_advise(finding, "have it fork less: processes that serve more than one client, and some made "
                               "beforehand");
    else
        doctor_advise(finding,
                      "see at what: perf top -p %" PRIu64 ", or strace -c -f -p %" PRIu64
                      "; then spread its work on more processes, or give it less",
                      main->pid, main->pid);
}

/* A thread that could run all the time, whether or not it got a processor. */
void doctor_judge_busy(const struct doctor_facts *facts, struct doctor_findings *findings) {
    const struct doctor_process *main = doctor_main(facts);
    struct doctor_finding *finding;
    uint64_t busy, delayed, wanted, forks;
    bool is_forking;

    if (!main)
        return;
    busy = doctor_share(facts, doctor_known(main->busiest_usec) ? main->busiest_usec : main->cpu_usec);
    delayed = doctor_share(facts, main->delayed_usec);
    wanted = at_most_all(doctor_known(busy) && doctor_known(delayed) ? busy + delayed : busy);
    forks = per_second(facts, main->new_children);
    is_forking = doctor_known(forks) && forks >= FORKS_PER_SECOND;
    busy = at_most_all(busy);
    if (!doctor_known(wanted) || (wanted < BUSY_PERCENT && !(is_forking && wanted >= FORKING_PERCENT)))
        return;
    finding = doctor_find(
        findings, DOCTOR_MAIN_BUSY,
        wanted >= BUSY_PERCENT && somebody_waits(facts) ? DOCTOR_ERROR : DOCTOR_WARNING,
        json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "pid", doctor_number_to_json(main->pid),
                  "percent", doctor_number_to_json(busy), "delayedPercent", doctor_number_to_json(delayed),
                  "cpuUSec", doctor_number_to_json(main->cpu_usec), "busiestThreadUSec",
                  doctor_number_to_json(main->busiest_usec), "delayedUSec",
                  doctor_number_to_json(main->delayed_usec), "childrenCpuUSec",
                  doctor_number_to_json(main->children_cpu_usec), "forksPerSecond",
                  doctor_number_to_json(forks), "intervalUSec", doctor_number_to_json(facts->interval_usec)),
        "PID %" PRIu64 " (%s)", main->pid, comm_of(main));
    doctor_say(finding,
               "the main process, PID %" PRIu64 " (%s), kept %sa processor busy for %" PRIu64 " %% of %s ms",
               main->pid, comm_of(main),
               doctor_known(main->threads) && main->threads > 1 ? "with one of its threads " : "", busy,
               COUNT(facts->interval_usec / 1000));
    if (doctor_known(delayed) && delayed > 0)
        doctor_say(finding, "for %" PRIu64 " %% it could have run and got no processor",
                   at_most_all(delayed));
    if (doctor_known(forks) && forks > 0)
        doctor_say(finding, "it forked at least %s times a second", COUNT(forks));
    advise_busy(finding, main, busy, delayed, is_forking);
}

/* ---- blocked ---- */

enum block { BLOCK_NONE, BLOCK_LOCK, BLOCK_WRITE, BLOCK_CONNECT, BLOCK_DISK, BLOCK_MAX };

/* Where the kernel waits for the answer of a file system: of a process in user space (fs/fuse/dev.c), of
 * another machine (net/sunrpc, fs/smb/client, net/ceph), of a disk. Beginnings of names. */
static bool waits_for_files(const char *function) {
    static const char *const beginnings[] = {"request_wait_answer", "fuse_", "rpc_wait", "nfs",
                                             "wait_for_response",   "cifs_", "ceph_",    "io_",
                                             "folio_wait",          "jbd2_"};

    for (size_t i = 0; function && i < ELEMENTSOF(beginnings); i++)
        if (strncmp(function, beginnings[i], strlen(beginnings[i])) == 0 &&
            strncmp(function, "io_cqring", 9) != 0)
            return true;
    return false;
}

/* By what the first thread waits in. Both looks found it there; that it waits in poll(2) or read(2) says
 * nothing: so does who has nothing to do. */
static enum block how_blocked(const struct doctor_process *process) {
    static const char *const writing[] = {"write", "writev", "sendto", "sendmsg", "sendfile"};

    if (how_stopped(process) != RUNS)
        return BLOCK_NONE;
    if (process->waits_in && (is(process->waits_call, "flock") ||
                              (is(process->waits_call, "fcntl") && doctor_known(process->lock_holder))))
        return BLOCK_LOCK;
    for (size_t i = 0; process->waits_in && i < ELEMENTSOF(writing); i++)
        if (is(process->waits_call, writing[i]) && !is(process->state, "D"))
            return BLOCK_WRITE;
    if (process->waits_in && is(process->waits_call, "connect"))
        return BLOCK_CONNECT;
    if (is(process->state, "D") && is(process->state_before, "D"))
        return BLOCK_DISK;
    return waits_for_files(process->waits_in) ? BLOCK_DISK : BLOCK_NONE;
}

/* Who has the other end of what it writes to, where that is known. */
static void tell_reader(struct doctor_finding *finding, const struct doctor_facts *facts,
                        const struct doctor_process *process) {
    for (size_t i = 0; i < facts->n_connections; i++) {
        const struct doctor_connection *connection = &facts->connections[i];

        if (connection->pid != process->pid || connection->fd != process->waits_fd ||
            !doctor_known(connection->peer_pid))
            continue;
        doctor_say(finding, "that is PID %" PRIu64 " (%s)", connection->peer_pid,
                   connection->peer_comm ? connection->peer_comm : "?");
        doctor_advise(finding, "have PID %" PRIu64 " read, or end it", connection->peer_pid);
        doctor_advise(finding, "a server does better with O_NONBLOCK and poll(2)");
        return;
    }
    doctor_advise(finding, "have who has the other end of it read, or close it");
    doctor_advise(finding, "a server does better with O_NONBLOCK and poll(2)");
}

static void tell_block(const struct doctor_facts *facts, struct doctor_finding *finding,
                       const struct doctor_process *process, enum block how) {
    const char *place = process->waits_in ? process->waits_in : "an unknown place";
    const char *file = process->waits_file ? process->waits_file : "a descriptor";

    switch (how) {
    case BLOCK_LOCK:
        doctor_say(finding, "PID %" PRIu64 " (%s) waits for the lock of %s (%s)%s", process->pid,
                   comm_of(process), file, process->waits_call,
                   doctor_known(process->lock_holder) ? "" : ", and who has it is not known");
        if (doctor_known(process->lock_holder)) {
            doctor_say(finding, "PID %" PRIu64 " (%s) took it", process->lock_holder,
                       process->lock_holder_comm ? process->lock_holder_comm : "dead, or handed it on");
            doctor_advise(finding, "see what PID %" PRIu64 " does: latchctl doctor --pid %" PRIu64,
                          process->lock_holder, process->lock_holder);
        }
        if (process->waits_file && process->waits_file[0] == '/')
            doctor_advise(finding, "who holds it: latchctl probe %s", process->waits_file);
        break;
    case BLOCK_WRITE:
        doctor_say(finding,
                   "PID %" PRIu64 " (%s) waits in %s on fd %" PRIu64 " (%s): who is to read that does not",
                   process->pid, comm_of(process), process->waits_call, process->waits_fd, file);
        tell_reader(finding, facts, process);
        break;
    case BLOCK_CONNECT:
        doctor_say(finding,
                   "PID %" PRIu64 " (%s) waits in connect on fd %" PRIu64 " (%s), in the kernel's %s",
                   process->pid, comm_of(process), process->waits_fd, file, place);
        doctor_advise(finding,
                      "see whether the queue that it connects to is full: latchctl probe --all, ss -xl");
        break;
    default:
        doctor_say(finding, "PID %" PRIu64 " (%s) %s in the kernel's %s, at both looks%s%s", process->pid,
                   comm_of(process),
                   is(process->state, "D") ? "is in an uninterruptible sleep (D)" : "waits for a file system",
                   place, process->waits_call ? ", called by " : "",
                   process->waits_call ? process->waits_call : "");
        if (process->waits_file)
            doctor_say(finding, "of %s", process->waits_file);
        doctor_advise(finding,
                      "see what it waits for, as root: cat /proc/%" PRIu64
                      "/stack; a disk, a file system on the network or in a process, or a child of vfork(2)",
                      process->pid);
    }
}

static void judge_block(const struct doctor_facts *facts, enum block how, struct doctor_findings *findings) {
    const struct doctor_process *main = doctor_main(facts), *first = NULL;
    struct doctor_finding *finding;
    size_t n = 0, workers;

    for (size_t i = 0; i < facts->n_processes; i++)
        if (how_blocked(&facts->processes[i]) == how) {
            first = first ? first : &facts->processes[i];
            n++;
        }
    if (!first)
        return;
    workers = facts->n_processes - 1;
    finding = doctor_find(
        findings, DOCTOR_WORKERS_BLOCKED, first == main || n >= workers ? DOCTOR_ERROR : DOCTOR_WARNING,
        json_pack("{s:o, s:s?, s:s?, s:s?, s:o, s:s?, s:o, s:I, s:o}", "pid",
                  doctor_number_to_json(first->pid), "state", first->state, "function", first->waits_in,
                  "call", first->waits_call, "fd", doctor_number_to_json(first->waits_fd), "file",
                  first->waits_file, "lockHolder", doctor_number_to_json(first->lock_holder), "blocked",
                  (json_int_t) n, "processes", doctor_number_to_json(facts->family)),
        "PID %" PRIu64 " (%s)", first->pid, comm_of(first));
    if (n > 1)
        doctor_say(finding, "%zu of %s processes are blocked in the same way", n, COUNT(facts->family));
    tell_block(facts, finding, first, how);
}

void doctor_judge_blocked(const struct doctor_facts *facts, struct doctor_findings *findings) {
    for (enum block how = BLOCK_LOCK; doctor_main(facts) && how < BLOCK_MAX; how++)
        judge_block(facts, how, findings);
}
