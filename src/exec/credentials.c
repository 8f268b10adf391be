/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "exec/credentials.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/value.h"
#include "config/capability.h"

#define CAP_BIT(capability) (UINT64_C(1) << (capability))
#define DATABASE_BUFFER_MAX (16 * 1024 * 1024) /* groups of thousands of members exist */

static int out_of_memory(struct err *err) {
    return err_set(err, ENOMEM, "OutOfMemory", "cannot look up the user and groups: %m");
}

void credentials_done(struct credentials *credentials) {
    free(credentials->groups);
    free(credentials->user);
    free(credentials->home);
    free(credentials->shell);
    *credentials = (struct credentials){0};
}

int credentials_read_capabilities(struct capability_sets *ret) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

    if (capget(&header, data) < 0)
        return -errno;
    *ret = (struct capability_sets){
        .permitted = data[0].permitted | (uint64_t) data[1].permitted << 32,
        .effective = data[0].effective | (uint64_t) data[1].effective << 32,
        .inheritable = data[0].inheritable | (uint64_t) data[1].inheritable << 32,
    };
    return 0;
}

/* An id that is all digits; 65535 and 4294967295 are -1 in 16 and 32 bits, "no change" to setresuid(2). */
static bool parse_id(const char *text, uint32_t *ret) {
    uint64_t value;

    if (value_parse_u64(text, &value) < 0 || value >= UINT32_MAX || value == UINT16_MAX)
        return false;
    *ret = (uint32_t) value;
    return true;
}

/* getpwnam(3): several numbers mean that there is none, as well as 0. */
static int lookup_error(int number) {
    switch (number) {
    case 0:
    case ENOENT:
    case ESRCH:
    case EBADF:
    case EPERM:
        return -ESRCH;
    default:
        return -number;
    }
}

static int grow(char **buffer, size_t *size) {
    size_t more = *size ? *size * 2 : 4096;
    char *bigger;

    if (more > DATABASE_BUFFER_MAX)
        return -ERANGE;
    bigger = realloc(*buffer, more);
    if (!bigger)
        return -ENOMEM;
    *buffer = bigger;
    *size = more;
    return 0;
}

/* By name, or by uid where name is NULL. *ret points into *buffer. */
static int lookup_user(const char *name, uid_t uid, char **buffer, struct passwd *ret) {
    struct passwd *found;
    size_t size = 0;
    int r;

    for (;;) {
        r = grow(buffer, &size);
        if (r < 0)
            return r;
        r = name ? getpwnam_r(name, ret, *buffer, size, &found) : getpwuid_r(uid, ret, *buffer, size, &found);
        if (r == EINTR || r == ERANGE)
            continue;
        return found ? 0 : lookup_error(r);
    }
}

static int lookup_group(const char *name, gid_t *ret) {
    _cleanup_free_ char *buffer = NULL;
    struct group group, *found;
    size_t size = 0;
    int r;

    if (parse_id(name, ret))
        return 0;
    for (;;) {
        r = grow(&buffer, &size);
        if (r < 0)
            return r;
        r = getgrnam_r(name, &group, buffer, size, &found);
        if (r == EINTR || r == ERANGE)
            continue;
        if (!found)
            return lookup_error(r);
        *ret = group.gr_gid;
        return 0;
    }
}

static int resolve_group(const char *key, const char *name, gid_t *ret, struct err *err) {
    int r = lookup_group(name, ret);

    if (r == -ESRCH)
        return err_set(err, ESRCH, "BadGroup",
                       "%s=%s: there is no such group; create it, or correct the name (getent group %s)", key,
                       name, name);
    if (r < 0)
        return err_set(err, -r, "BadGroup", "%s=%s: the group cannot be looked up: %m", key, name);
    return 0;
}

static int resolve_user(const char *name, const char *group, struct credentials *c, gid_t *ret_gid,
                        struct err *err) {
    _cleanup_free_ char *buffer = NULL;
    struct passwd passwd;
    bool numeric = parse_id(name, &c->uid);
    int r = lookup_user(numeric ? NULL : name, c->uid, &buffer, &passwd);

    if (r == -ESRCH && numeric) {
        if (!group)
            return err_set(
                err, ESRCH, "BadUser",
                "User=%s: the user database has no entry for this number, so its group is not known; "
                "give Group= too",
                name);
        c->user = strdup(name);
        return c->user ? 0 : out_of_memory(err);
    }
    if (r == -ESRCH)
        return err_set(err, ESRCH, "BadUser",
                       "User=%s: there is no such user; create it, or correct the name (getent passwd %s)",
                       name, name);
    if (r < 0)
        return err_set(err, -r, "BadUser", "User=%s: the user cannot be looked up: %m", name);
    c->uid = passwd.pw_uid;
    *ret_gid = passwd.pw_gid;
    c->user = strdup(passwd.pw_name);
    c->home = strdup(passwd.pw_dir);
    c->shell = strdup(passwd.pw_shell);
    return c->user && c->home && c->shell ? 0 : out_of_memory(err);
}

int credentials_resolve_owner(const char *user, const char *group, uid_t *ret_uid, gid_t *ret_gid,
                              struct err *err) {
    _cleanup_free_ char *buffer = NULL;
    struct passwd passwd;
    uid_t uid = (uid_t) -1;
    gid_t gid = (gid_t) -1;
    int r = 0;

    if (user && !parse_id(user, &uid)) {
        r = lookup_user(user, 0, &buffer, &passwd);
        if (r == -ESRCH)
            return err_set(
                err, ESRCH, "BadUser",
                "SocketUser=%s: there is no such user; create it, or correct the name (getent passwd %s)",
                user, user);
        if (r < 0)
            return err_set(err, -r, "BadUser", "SocketUser=%s: the user cannot be looked up: %m", user);
        uid = passwd.pw_uid;
    }
    if (group)
        r = resolve_group("SocketGroup", group, &gid, err);
    if (r < 0)
        return r;
    *ret_uid = uid;
    *ret_gid = gid;
    return 0;
}

/* The groups of the user, or ours where there is no user to ask for. */
static int base_groups(struct credentials *c, gid_t gid, bool have_user) {
    if (have_user) {
        for (int n = 32;;) {
            int asked = n;
            gid_t *bigger = reallocarray(c->groups, (size_t) n, sizeof *c->groups);

            if (!bigger)
                return -ENOMEM;
            c->groups = bigger;
            if (getgrouplist(c->user, gid, c->groups, &n) >= 0) {
                c->n_groups = (size_t) n;
                return 0;
            }
            if (n <= asked) /* it names the number it needs, or it is broken */
                n = asked * 2;
            if (n > NGROUPS_MAX + 1)
                return -E2BIG;
        }
    }
    for (;;) {
        int n = getgroups(0, NULL);
        gid_t *bigger;

        if (n < 0)
            return -errno;
        bigger = reallocarray(c->groups, (size_t) n + 1, sizeof *c->groups);
        if (!bigger)
            return -ENOMEM;
        c->groups = bigger;
        n = getgroups(n, c->groups);
        if (n < 0 && errno == EINVAL)
            continue; /* more of them meanwhile */
        if (n < 0)
            return -errno;
        c->n_groups = (size_t) n;
        return 0;
    }
}

static bool has_group(const gid_t *groups, size_t n, gid_t gid) {
    for (size_t i = 0; i < n; i++)
        if (groups[i] == gid)
            return true;
    return false;
}

static int add_group(struct credentials *c, gid_t gid) {
    gid_t *bigger;

    if (has_group(c->groups, c->n_groups, gid))
        return 0;
    bigger = reallocarray(c->groups, c->n_groups + 1, sizeof *c->groups);
    if (!bigger)
        return -ENOMEM;
    c->groups = bigger;
    c->groups[c->n_groups++] = gid;
    return 0;
}

/* Whether we are in exactly these groups. The effective gid counts in both sets: the kernel looks at it
 * apart. */
static int same_groups(const struct credentials *c, bool *ret) {
    _cleanup_(credentials_done) struct credentials ours = {0};
    bool same = true;
    int r = base_groups(&ours, 0, false);

    if (r < 0)
        return r;
    for (size_t i = 0; i < c->n_groups; i++)
        same = same && (c->groups[i] == getegid() || has_group(ours.groups, ours.n_groups, c->groups[i]));
    for (size_t i = 0; i < ours.n_groups; i++)
        same = same && (ours.groups[i] == getegid() || has_group(c->groups, c->n_groups, ours.groups[i]));
    *ret = same;
    return 0;
}

static int resolve_groups(const struct service_config *config, struct credentials *c, struct err *err) {
    bool same;
    int r;

    if (!config->user && !config->supplementary_groups)
        return 0;
    r = base_groups(c, c->gid, config->user != NULL);
    if (r < 0)
        return err_set(err, -r, "BadGroup", "the groups of %s cannot be listed: %m",
                       config->user ? config->user : "latchd itself");
    for (char **name = config->supplementary_groups; name && *name; name++) {
        gid_t gid;

        r = resolve_group("SupplementaryGroups", *name, &gid, err);
        if (r < 0)
            return r;
        if (add_group(c, gid) < 0)
            return out_of_memory(err);
    }
    r = same_groups(c, &same);
    if (r < 0)
        return err_set(err, -r, "BadGroup", "latchd's own groups cannot be listed: %m");
    c->set_groups = !same;
    return 0;
}

static int resolve_ids(const struct service_config *config, struct credentials *c, struct err *err) {
    uid_t ruid, euid, suid;
    gid_t rgid, egid, sgid;
    int r;

    (void) getresuid(&ruid, &euid, &suid); /* cannot fail on good addresses */
    (void) getresgid(&rgid, &egid, &sgid);
    c->uid = euid;
    c->gid = egid;
    if (config->user) {
        r = resolve_user(config->user, config->group, c, &c->gid, err);
        if (r < 0)
            return r;
    }
    if (config->group) {
        r = resolve_group("Group", config->group, &c->gid, err);
        if (r < 0)
            return r;
    }
    if (config->user)
        c->set_uid = c->uid != ruid || c->uid != euid || c->uid != suid;
    if (config->user || config->group)
        c->set_gid = c->gid != rgid || c->gid != egid || c->gid != sgid;
    return resolve_groups(config, c, err);
}

static int refuse_capabilities(uint64_t set, int number, const char *name, const char *format_key,
                               const char *why, struct err *err) {
    _cleanup_free_ char *names = capability_set_to_names(set);

    return err_set(err, number, name, "%s=%s: %s", format_key, names ? names : "?", why);
}

/* What of the bounding set there is to drop; prctl says -1 from the first number the kernel does not know. */
static uint64_t bounding_set(void) {
    uint64_t set = 0;

    for (int i = 0; i < 64; i++) {
        int there = prctl(PR_CAPBSET_READ, i, 0, 0, 0);

        if (there < 0)
            break;
        if (there)
            set |= CAP_BIT(i);
    }
    return set;
}

static int resolve_capabilities(const struct service_config *config, const struct capability_sets *ours,
                                struct credentials *c, struct err *err) {
    uint64_t bounding = UINT64_MAX, missing;

    /* Some forty calls, which most services need not wait for. */
    if (config->capability_bounding_set_set || config->ambient_capabilities || (c->set_uid && c->uid == 0))
        bounding = bounding_set();
    c->ambient = config->ambient_capabilities;
    if (config->capability_bounding_set_set) {
        c->bounding_drop = bounding & ~config->capability_bounding_set;
        bounding &= config->capability_bounding_set;
    }
    missing = c->ambient & ~bounding;
    if (missing)
        return refuse_capabilities(
            missing, EINVAL, "BadCapabilities", "AmbientCapabilities",
            "not in the bounding set; add it to CapabilityBoundingSet=, there and in the unit "
            "that starts latchd",
            err);
    missing = c->ambient & ~ours->permitted;
    if (missing)
        return refuse_capabilities(
            missing, EPERM, "NotPermitted", "AmbientCapabilities",
            "latchd does not have it and cannot hand it on; run latchd as root, or give it "
            "this in AmbientCapabilities= of the unit that starts it",
            err);
    c->set_capabilities = c->set_uid || c->bounding_drop || c->ambient;
    if (c->set_uid && c->uid != 0) {
        c->keep_capabilities = c->ambient != 0;
        c->sets.permitted = c->sets.effective = c->sets.inheritable = c->ambient;
    } else {
        /* Root regains at exec what the bounding and inheritable sets leave it, and others only what is
         * ambient: what we keep until then is for chdir(2) and the like. */
        c->sets.permitted = ours->permitted;
        c->sets.effective = ours->permitted;
        c->sets.inheritable = (ours->inheritable & bounding) | c->ambient;
    }
    return 0;
}

static int check_permitted(const struct service_config *config, const struct capability_sets *ours,
                           const struct credentials *c, struct err *err) {
    if (c->set_uid && !(ours->effective & CAP_BIT(CAP_SETUID)))
        return err_set(
            err, EPERM, "NotPermitted",
            "User=%s: latchd runs as uid %u without CAP_SETUID and cannot become uid %u; run it as root, "
            "or leave User= out",
            config->user, (unsigned) geteuid(), (unsigned) c->uid);
    if ((c->set_gid || c->set_groups) && !(ours->effective & CAP_BIT(CAP_SETGID)))
        return err_set(
            err, EPERM, "NotPermitted",
            "%s=%s: latchd runs as uid %u without CAP_SETGID and cannot change its groups; run it as "
            "root, or leave %s out",
            config->group  ? "Group"
            : config->user ? "User"
                           : "SupplementaryGroups",
            config->group  ? config->group
            : config->user ? config->user
                           : config->supplementary_groups[0],
            (unsigned) geteuid(),
            config->group || config->user ? "Group= and SupplementaryGroups=" : "SupplementaryGroups=");
    if (c->bounding_drop && !(ours->effective & CAP_BIT(CAP_SETPCAP)))
        return err_set(
            err, EPERM, "NotPermitted",
            "CapabilityBoundingSet=: latchd runs without CAP_SETPCAP and cannot drop anything from the "
            "bounding set; run it as root, or leave CapabilityBoundingSet= out");
    return 0;
}

int credentials_resolve(const struct service_config *config, struct credentials *ret, struct err *err) {
    _cleanup_credentials_ struct credentials c = {0};
    struct capability_sets ours;
    int r = credentials_read_capabilities(&ours);

    if (r < 0)
        return err_set(err, -r, "BadCapabilities", "cannot read latchd's own capabilities: %m");
    r = resolve_ids(config, &c, err);
    if (r >= 0)
        r = resolve_capabilities(config, &ours, &c, err);
    if (r >= 0)
        r = check_permitted(config, &ours, &c, err);
    if (r < 0)
        return r;
    *ret = c;
    c = (struct credentials){0};
    return 0;
}
