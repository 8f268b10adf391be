/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "exec/privileges.h"

#include <errno.h>
#include <linux/securebits.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "config/capability.h"
#include "exec/credentials.h"

#ifndef CAP_CHECKPOINT_RESTORE
#define CAP_CHECKPOINT_RESTORE 40 /* linux/capability.h, since Linux 5.9 */
#endif

#define CAP_BIT(capability) (UINT64_C(1) << (capability))

/* What every service takes, wherever it stands. */
#define ALWAYS                                                                                               \
    (CAP_BIT(CAP_KILL)         /* daemons and leftovers of other users */                                    \
     | CAP_BIT(CAP_SYS_PTRACE) /* /proc/PID/fd, maps, environ, exe of others; kcmp(2), pidfd_getfd(2) */     \
     | CAP_BIT(CAP_CHECKPOINT_RESTORE) /* /proc/PID/map_files leads to the very file that is mapped */       \
     | CAP_BIT(CAP_DAC_READ_SEARCH)    /* lock files in directories that are closed to us */                 \
     | CAP_BIT(CAP_DAC_OVERRIDE)  /* removing there; connecting to sockets of mode 0700; output files */     \
     | CAP_BIT(CAP_FOWNER)        /* removing others' files in a sticky directory */                         \
     | CAP_BIT(CAP_CHOWN)         /* what is made for a daemon belongs to its user */                        \
     | CAP_BIT(CAP_LEASE)         /* a lease on a PID file before it is removed */                           \
     | CAP_BIT(CAP_SYS_RESOURCE)) /* hard limits, OOMScoreAdjust=, prlimit(2) of other users' daemons */

/* setns(2) into the network namespace that a socket was bound in; /proc/PID/stack of a daemon that hangs. */
static bool needs_sys_admin(const struct service_config *config) {
    return config->n_sockets > 0 || config->watchdog_usec > 0;
}

/* SO_SNDBUFFORCE: the buffer to a journal that lags is as large as systemd makes it. */
static bool needs_net_admin(const struct service_config *config) {
    return config->standard_output.kind == OUTPUT_JOURNAL || config->standard_error.kind == OUTPUT_JOURNAL;
}

static uint64_t needs_effective(const struct service_config *config) {
    uint64_t need = ALWAYS;

    if (needs_sys_admin(config))
        need |= CAP_BIT(CAP_SYS_ADMIN);
    if (needs_net_admin(config))
        need |= CAP_BIT(CAP_NET_ADMIN);
    if (config->user)
        need |= CAP_BIT(CAP_SETUID);
    if (config->user || config->group || config->supplementary_groups)
        need |= CAP_BIT(CAP_SETGID);
    if (config->capability_bounding_set_set)
        need |= CAP_BIT(CAP_SETPCAP);
    if (config->nice_set)
        need |= CAP_BIT(CAP_SYS_NICE);
    for (size_t i = 0; i < config->n_sockets; i++)
        if (config->sockets[i]->owner == SOCKET_OWNER_LATCHD)
            need |= CAP_BIT(CAP_NET_BIND_SERVICE);
    return need;
}

/* Where it cannot be told, it is root's: then nothing is given up for good. */
static bool is_root_daemon(const struct service_config *config) {
    _cleanup_credentials_ struct credentials credentials = {0};
    struct service_config user_only = *config; /* nothing in it is its own */

    user_only.ambient_capabilities = 0;
    user_only.capability_bounding_set_set = false;
    if (!config->user || credentials_resolve(&user_only, &credentials, NULL) < 0)
        return true;
    return credentials.uid == 0;
}

void privileges_add(struct privileges_need *need, const struct service_config *config) {
    need->effective |= needs_effective(config);
    need->permitted |= config->ambient_capabilities;
    if (!need->root_daemon)
        need->root_daemon = is_root_daemon(config);
}

static bool is_all_root(void) {
    uid_t real, effective, saved;

    return getresuid(&real, &effective, &saved) == 0 && real == 0 && effective == 0 && saved == 0;
}

/* execve(2) gives root what it always has, and takes no account of what we had before: see privileges.h. */
static bool exec_regains(void) {
    int bits = prctl(PR_GET_SECUREBITS, 0, 0, 0, 0);

    return bits >= 0 && !(bits & SECBIT_NOROOT) && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0;
}

static uint64_t read_set(int option, unsigned long argument, bool two) {
    uint64_t set = 0;

    for (unsigned long i = 0; i < 64; i++) {
        int there = two ? prctl(option, argument, i, 0, 0) : prctl(option, i, 0, 0, 0);

        if (there < 0)
            break; /* the kernel knows no more of them */
        if (there)
            set |= CAP_BIT(i);
    }
    return set;
}

/* Those are inherited over execve(2) whatever we do, and go with the permitted ones. */
static uint64_t ambient_set(void) {
    return read_set(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, true);
}

static uint64_t bounding_set(void) {
    return read_set(PR_CAPBSET_READ, 0, false);
}

static int set_sets(const struct capability_sets *sets) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

    for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
        data[i] = (struct __user_cap_data_struct){
            .permitted = (uint32_t) (sets->permitted >> 32 * i),
            .effective = (uint32_t) (sets->effective >> 32 * i),
            .inheritable = (uint32_t) (sets->inheritable >> 32 * i),
        };
    return capset(&header, data) < 0 ? -errno : 0;
}

int privileges_keep(const struct privileges_need *need) {
    struct capability_sets sets;
    int r;

    if (!is_all_root())
        return 0;
    r = credentials_read_capabilities(&sets);
    if (r < 0)
        return r;
    if (!need->root_daemon && exec_regains())
        sets.permitted &= need->effective | need->permitted | ambient_set();
    sets.effective = sets.permitted & need->effective;
    return set_sets(&sets);
}

int privileges_suffice(const struct service_config *config, struct err *err) {
    struct privileges_need need = {0};
    struct capability_sets sets;
    uint64_t missing;
    int r;

    if (!is_all_root() || !exec_regains())
        return 0;
    r = credentials_read_capabilities(&sets);
    if (r < 0)
        return err_set(err, -r, "Failed", "cannot read latchd's own capabilities: %m");
    privileges_add(&need, config);
    missing = bounding_set() & ~sets.permitted;
    if (!need.root_daemon)
        missing &= need.effective | need.permitted;
    for (int i = 0; i < 64; i++)
        if (missing & CAP_BIT(i)) {
            char *name = capability_to_name(i);

            r = err_set(err, EPERM, "NotPermitted",
                        "service %s needs capabilities that latchd gave up at its start (%s%s): have latchd "
                        "executed again (latchctl reexec)",
                        config->name, name ? name : "?", missing & (missing - 1) ? " and more" : "");
            free(name);
            return r;
        }
    return 0;
}
