/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "exec/exec-stage.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/value.h"
#include "config/capability.h"
#include "exec/exec-child.h"

static const char *const exec_stage_names[] = {
    [EXEC_STAGE_GATE] = "gate",
    [EXEC_STAGE_SIGNALS] = "signals",
    [EXEC_STAGE_SESSION] = "session",
    [EXEC_STAGE_OOM] = "oom",
    [EXEC_STAGE_NICE] = "nice",
    [EXEC_STAGE_STDIO] = "stdio",
    [EXEC_STAGE_DESCRIPTORS] = "descriptors",
    [EXEC_STAGE_RLIMITS] = "rlimits",
    [EXEC_STAGE_BOUNDING] = "bounding",
    [EXEC_STAGE_GROUPS] = "groups",
    [EXEC_STAGE_USER] = "user",
    [EXEC_STAGE_CAPABILITIES] = "capabilities",
    [EXEC_STAGE_AMBIENT] = "ambient",
    [EXEC_STAGE_NO_NEW_PRIVILEGES] = "no-new-privileges",
    [EXEC_STAGE_WORKING_DIRECTORY] = "working-directory",
    [EXEC_STAGE_UMASK] = "umask",
    [EXEC_STAGE_EXEC] = "exec",
};
static_assert(ELEMENTSOF(exec_stage_names) == EXEC_STAGE_MAX, "a stage needs a name");
STRTAB_DEFINE(exec_stage, enum exec_stage, exec_stage_names, EXEC_STAGE_INVALID)

#define EXPLAIN_MAX 512

/* "setting LimitNOFILE=65536": what was tried. */
static void write_tried(const struct exec_plan *plan, const struct exec_status *status,
                        char buffer[static EXPLAIN_MAX]) {
    const struct credentials *credentials = plan->credentials;
    const char *user = credentials && credentials->user ? credentials->user : "the user";
    const char *limit = rlimit_to_name(status->detail);
    char text[RLIMIT_FORMAT_MAX];
    char *capability;

    switch ((enum exec_stage) status->stage) {
    case EXEC_STAGE_GATE:
        strcpy(buffer, "closing latchd's own descriptors in the child");
        return;
    case EXEC_STAGE_SIGNALS:
        strcpy(buffer, "resetting the signals");
        return;
    case EXEC_STAGE_SESSION:
        strcpy(buffer, "making a session of its own (setsid)");
        return;
    case EXEC_STAGE_OOM:
        snprintf(buffer, EXPLAIN_MAX, "setting OOMScoreAdjust=%d", plan->oom_score_adjust);
        return;
    case EXEC_STAGE_NICE:
        snprintf(buffer, EXPLAIN_MAX, "setting Nice=%d", plan->nice);
        return;
    case EXEC_STAGE_STDIO:
    case EXEC_STAGE_DESCRIPTORS:
        if (status->detail < 0) {
            strcpy(buffer, "keeping latchd's other descriptors from it");
            return;
        }
        snprintf(buffer, EXPLAIN_MAX, "preparing its descriptor %d%s", status->detail,
                 status->detail == 0   ? " (standard input)"
                 : status->detail == 1 ? " (StandardOutput=)"
                 : status->detail == 2 ? " (StandardError=)"
                                       : " (a passed socket)");
        return;
    case EXEC_STAGE_RLIMITS:
        if (!limit || !plan->rlimits)
            break;
        snprintf(buffer, EXPLAIN_MAX, "setting Limit%s=%s", limit,
                 rlimit_format(plan->rlimits->of[status->detail].soft, plan->rlimits->of[status->detail].hard,
                               text));
        return;
    case EXEC_STAGE_BOUNDING:
    case EXEC_STAGE_AMBIENT:
        capability = capability_to_name(status->detail);
        snprintf(buffer, EXPLAIN_MAX,
                 status->stage == EXEC_STAGE_BOUNDING
                     ? "dropping %s from the bounding set (CapabilityBoundingSet=)"
                     : "handing on %s (AmbientCapabilities=)",
                 capability ? capability : "a capability");
        free(capability);
        return;
    case EXEC_STAGE_GROUPS:
        if (!credentials)
            break;
        snprintf(buffer, EXPLAIN_MAX, "taking on the groups of %s (gid %u, and %zu supplementary)", user,
                 (unsigned) credentials->gid, credentials->set_groups ? credentials->n_groups : 0);
        return;
    case EXEC_STAGE_USER:
        if (!credentials)
            break;
        snprintf(buffer, EXPLAIN_MAX, "becoming User=%s (uid %u)", user, (unsigned) credentials->uid);
        return;
    case EXEC_STAGE_CAPABILITIES:
        strcpy(buffer, "setting its capabilities");
        return;
    case EXEC_STAGE_NO_NEW_PRIVILEGES:
        strcpy(buffer, "setting NoNewPrivileges=yes");
        return;
    case EXEC_STAGE_WORKING_DIRECTORY:
        snprintf(buffer, EXPLAIN_MAX, "changing to WorkingDirectory=%s",
                 plan->working_directory ? plan->working_directory : "");
        return;
    case EXEC_STAGE_UMASK:
        snprintf(buffer, EXPLAIN_MAX, "setting UMask=%04o", (unsigned) plan->umask);
        return;
    case EXEC_STAGE_EXEC:
        strcpy(buffer, "executing it");
        return;
    case EXEC_STAGE_MAX:
    case EXEC_STAGE_INVALID:
        break;
    }
    snprintf(buffer, EXPLAIN_MAX, "step %d", status->stage);
}

/* The word behind "#!" of a script; -ENOEXEC where there is none. */
static int read_interpreter(const char *path, char **ret) {
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    char line[256], *word; /* BINPRM_BUF_SIZE: the kernel reads no more of it */
    ssize_t n;

    if (fd < 0)
        return -errno;
    n = read(fd, line, sizeof line - 1);
    if (n < 0)
        return -errno;
    line[n] = '\0';
    if (strncmp(line, "#!", 2) != 0)
        return -ENOEXEC;
    word = line + 2 + strspn(line + 2, " \t");
    word[strcspn(word, " \t\n")] = '\0';
    value_make_printable(word);
    *ret = strdup(word);
    return *ret ? 0 : -ENOMEM;
}

static void write_exec_advice(const struct exec_plan *plan, int error, char buffer[static EXPLAIN_MAX]) {
    char correct[64] = "", or_correct[72] = "";
    const struct credentials *credentials = plan->credentials;
    _cleanup_free_ char *interpreter = NULL;
    struct stat st;
    int r;

    if (plan->key) {
        snprintf(correct, sizeof correct, "correct %s", plan->key);
        snprintf(or_correct, sizeof or_correct, ", or %s", correct);
    }
    switch (error) {
    case ENOENT:
        if (stat(plan->executable, &st) < 0) {
            snprintf(buffer, EXPLAIN_MAX, "there is no such file; install the program%s", or_correct);
            return;
        }
        r = read_interpreter(plan->executable, &interpreter);
        if (r < 0)
            strcpy(buffer,
                   "the file is there, but the dynamic loader it needs is not; install the program for this "
                   "architecture");
        else if (strchr(interpreter, '\r') || strchr(interpreter, '?'))
            snprintf(
                buffer, EXPLAIN_MAX,
                "the interpreter \"%s\" of its #! line does not exist; correct the line (Windows line ends?)",
                interpreter);
        else
            snprintf(buffer, EXPLAIN_MAX,
                     "the interpreter \"%s\" of its #! line does not exist; install it, or correct the line",
                     interpreter);
        return;
    case EACCES:
        if (stat(plan->executable, &st) == 0 && !S_ISREG(st.st_mode))
            snprintf(buffer, EXPLAIN_MAX, "it is not a regular file; %s",
                     plan->key ? correct : "install the program in its place");
        else if (stat(plan->executable, &st) == 0 && !(st.st_mode & 0111))
            snprintf(buffer, EXPLAIN_MAX, "it is not marked executable; chmod +x it%s", or_correct);
        else if (credentials && credentials->set_uid)
            snprintf(buffer, EXPLAIN_MAX,
                     "User=%s may not execute it; see the modes of the file, of its interpreter and of the "
                     "directories above (namei -l), and whether it is mounted noexec",
                     credentials->user ? credentials->user : "?");
        else
            strcpy(buffer,
                   "see the modes of the file, of its interpreter and of the directories above (namei -l), "
                   "and whether it is mounted noexec");
        return;
    case ENOEXEC:
        strcpy(buffer,
               "it is not a program the kernel can run; a script needs a first line such as #!/bin/sh, a "
               "binary the right architecture");
        return;
    case EAGAIN:
        snprintf(buffer, EXPLAIN_MAX,
                 "user %s already has more processes than LimitNPROC= allows; raise it, or end "
                 "some of them",
                 credentials && credentials->user ? credentials->user : "that it runs as");
        return;
    case E2BIG:
        strcpy(buffer,
               "arguments and environment are too long for LimitSTACK= (a quarter of it is for them)");
        return;
    case ENOMEM:
        strcpy(buffer, "there is not enough memory for it; raise LimitAS=, LimitDATA= or the cgroup's limit");
        return;
    case ETXTBSY:
        strcpy(buffer, "somebody has it open for writing; try again when its installation is complete");
        return;
    case ELOOP:
        snprintf(buffer, EXPLAIN_MAX, "its symbolic links lead in a circle; install the program%s",
                 or_correct);
        return;
    default:
        strcpy(buffer, "see execve(2)");
    }
}

/* What to do; may leave the buffer empty. */
static void write_advice(const struct exec_plan *plan, const struct exec_status *status,
                         char buffer[static EXPLAIN_MAX]) {
    const char *limit = rlimit_to_name(status->detail);

    *buffer = '\0';
    switch (status->stage) {
    case EXEC_STAGE_SESSION:
        strcpy(buffer, "a process that leads its group cannot; start latchd from a service manager");
        break;
    case EXEC_STAGE_OOM:
        if (status->error == EACCES || status->error == EPERM)
            strcpy(buffer,
                   "lowering it takes CAP_SYS_RESOURCE; give latchd that, or set OOMScoreAdjust= in the unit "
                   "that starts latchd");
        else
            strcpy(buffer, "see that /proc is mounted and writable for latchd");
        break;
    case EXEC_STAGE_NICE:
        strcpy(buffer,
               "a value below latchd's own takes CAP_SYS_NICE or LimitNICE=; give latchd that, or set Nice= "
               "in the unit that starts latchd");
        break;
    case EXEC_STAGE_STDIO:
    case EXEC_STAGE_DESCRIPTORS:
        if (status->error == EMFILE || status->error == EINVAL)
            strcpy(buffer,
                   "latchd's own limit of open files is too small for it; raise LimitNOFILE= in the unit "
                   "that starts latchd");
        else if (status->error == ENOSYS)
            strcpy(buffer, "close_range(2) is missing (Linux 5.9) or forbidden by a seccomp filter");
        break;
    case EXEC_STAGE_GATE:
        strcpy(buffer, "close_range(2) is missing (Linux 5.9) or forbidden by a seccomp filter");
        break;
    case EXEC_STAGE_RLIMITS:
        snprintf(
            buffer, EXPLAIN_MAX,
            "a hard limit is raised only with CAP_SYS_RESOURCE%s; give latchd that, set Limit%s= in the unit "
            "that starts latchd, or lower Limit%s=",
            status->detail == RLIMIT_NOFILE ? ", and never above fs.nr_open" : "", limit ? limit : "",
            limit ? limit : "");
        break;
    case EXEC_STAGE_GROUPS:
        strcpy(buffer, status->error == EINVAL
                           ? "this user namespace has no such group; add it to the gid map"
                           : "that takes CAP_SETGID; run latchd as root, or leave User=, Group= "
                             "and SupplementaryGroups= out");
        break;
    case EXEC_STAGE_USER:
        strcpy(buffer, status->error == EINVAL ? "this user namespace has no such user; add it to the uid map"
                       : status->error == EAGAIN
                           ? "the user has as many processes as LimitNPROC= allows; raise it"
                           : "that takes CAP_SETUID; run latchd as root, or leave User= out");
        break;
    case EXEC_STAGE_BOUNDING:
        strcpy(buffer, "that takes CAP_SETPCAP; run latchd as root, or leave CapabilityBoundingSet= out");
        break;
    case EXEC_STAGE_CAPABILITIES:
    case EXEC_STAGE_AMBIENT:
        strcpy(buffer,
               "latchd can hand on only what it has itself and what its bounding set and secure bits let "
               "through; see AmbientCapabilities= and CapabilityBoundingSet=, here and in the unit that "
               "starts latchd");
        break;
    case EXEC_STAGE_WORKING_DIRECTORY:
        if (status->error == ENOENT)
            strcpy(buffer, "create the directory, or correct WorkingDirectory=");
        else if (status->error == ENOTDIR)
            strcpy(buffer, "it is not a directory; correct WorkingDirectory=");
        else if (status->error == EACCES)
            snprintf(buffer, EXPLAIN_MAX,
                     "user %s may not enter it; correct the modes on the way there (namei -l), or "
                     "WorkingDirectory=",
                     plan->credentials && plan->credentials->user ? plan->credentials->user
                                                                  : "that it runs as");
        break;
    case EXEC_STAGE_EXEC:
        write_exec_advice(plan, status->error, buffer);
        break;
    default:
        break;
    }
}

/* A step that wants a capability, as opposed to a file that may not be executed or a directory that may not
 * be entered: the same name as where that was seen before the fork (rlimits_plan(), credentials_resolve()).
 */
static const char *error_name(const struct exec_status *status) {
    if (status->error != EPERM && status->error != EACCES)
        return "ExecFailed";
    switch (status->stage) {
    case EXEC_STAGE_OOM:
    case EXEC_STAGE_NICE:
    case EXEC_STAGE_RLIMITS:
    case EXEC_STAGE_BOUNDING:
    case EXEC_STAGE_GROUPS:
    case EXEC_STAGE_USER:
    case EXEC_STAGE_CAPABILITIES:
    case EXEC_STAGE_AMBIENT:
        return "NotPermitted";
    default:
        return "ExecFailed";
    }
}

int exec_stage_explain(const struct exec_plan *plan, const struct exec_status *status, struct err *err) {
    char tried[EXPLAIN_MAX], advice[EXPLAIN_MAX];

    write_tried(plan, status, tried);
    write_advice(plan, status, advice);
    return err_set(err, status->error, error_name(status), "cannot start \"%s\": %s failed: %s%s%s",
                   plan->shown_as ? plan->shown_as : plan->executable, tried, strerror(status->error), *advice ? "; " : "", advice);
}
