/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What stands on file systems that may let us wait: seen by a child process (remote.h), within a deadline. */
#include "probe/gather.h"

#include <stdio.h>
#include <string.h>

#include "base/value.h"
#include "probe/remote.h"

void gather_remote_done(struct prober *prober) {
    if (!prober->cache)
        mount_table_done(&prober->mounts);
    free(prober->mounts_silent);
}

int gather_mounts(struct prober *prober) {
    int r;

    if (prober->mounts_read)
        return 0;
    r = prober->cache ? mount_cache_read(&prober->cache->mounts, prober->proc_fd, prober->cache->at_once,
                                         &prober->mounts)
                      : mount_table_read(prober->proc_fd, &prober->mounts);
    if (gather_is_scarcity(r))
        return r;
    prober->mounts_silent = calloc(prober->mounts.n ? prober->mounts.n : 1, sizeof *prober->mounts_silent);
    if (!prober->mounts_silent)
        return -ENOMEM;
    prober->mounts_error = r;
    prober->mounts_read = true;
    return 0;
}

int gather_mount_of_fd(struct prober *prober, int fd, struct mount_facts *ret) {
    int r = gather_mounts(prober);

    return r < 0 ? r : mount_of_fd_in(&prober->mounts, prober->proc_fd, fd, ret);
}

int gather_is_near(struct prober *prober, const char *path) {
    const struct mount_row *mount;
    int r = gather_mounts(prober);

    return r < 0 ? r : remote_find_way(&prober->mounts, path, &mount) == REMOTE_WAY_LOCAL;
}

/* `verb` says what happened: nobody asked, or nobody answered. */
static int give_up(struct lock_facts *facts, int error, const char *verb, const struct mount_row *mount) {
    _cleanup_free_ char *subject = NULL, *point = mount ? strdup(mount->point) : NULL;

    facts->remote = true;
    if (mount) {
        if (!point)
            return -ENOMEM;
        value_make_printable(point);
        memcpy(facts->filesystem, mount->facts.type, sizeof facts->filesystem);
    }
    if ((mount ? asprintf(&subject, "%s the file system %s at %s", verb, mount->facts.type, point)
               : asprintf(&subject, "%s the file system behind %s", verb, facts->path)) < 0)
        return -ENOMEM;
    return gather_give_up(facts, error, subject);
}

/* What was given up once is not waited for again. */
static bool *silence_of(struct prober *prober, const struct mount_row *mount) {
    return mount ? &prober->mounts_silent[mount - prober->mounts.rows] : NULL;
}

static int take_regular(struct prober *prober, const struct probe_request *request, struct lock_facts *facts,
                        const struct mount_row *mount, const struct remote_answer *answer) {
    const struct mount_facts facts_of_mount =
        mount ? mount->facts : (struct mount_facts){.device = facts->device};
    int r;

    if (answer->error == 0) {
        char *content = strndup(answer->content, answer->content_length);

        if (!content)
            return -ENOMEM;
        gather_content_text(facts, content);
    }
    facts->kind = gather_regular_kind(facts, request->style, facts->path);
    facts->server_arbitrates = mount && remote_is_arbitrated(mount);
    r = gather_remote_families(prober, facts, &facts_of_mount, answer->range_error, &answer->range);
    if (r < 0)
        return r;
    if (answer->error != 0) {
        r = gather_give_up(facts, answer->error, "opening it for reading");
        if (r < 0)
            return r;
    }
    return lock_facts_is_held(facts) || request->effort == PROBE_COMPLETE
               ? gather_add_target(prober, facts, HOLDER_TARGET_FILE, facts->device, facts->inode)
               : 0;
}

/* A socket's file may be anywhere: who listens is in this machine's kernel. Nobody connects, for the way to
 * the file is the server's. */
static int take_socket(struct prober *prober, struct lock_facts *facts, const struct mount_row *mount) {
    const struct unix_socket *socket;
    int r = gather_sockets(prober);

    if (r < 0)
        return r;
    facts->kind = PATH_KIND_SOCKET;
    facts->has_socket = true;
    socket = unix_table_find(&prober->sockets, mount ? mount->facts.device : facts->device, facts->inode);
    return socket && !socket->connected ? gather_listener(prober, facts, socket) : 0;
}

static int take_link(struct lock_facts *facts, enum lock_style style, const struct remote_answer *answer) {
    char target[LOCK_LINK_MAX + 1];

    snprintf(target, sizeof target, "%.*s", (int) answer->content_length, answer->content);
    return gather_link_target(facts, style, target);
}

static int take_answer(struct prober *prober, const struct probe_request *request, struct lock_facts *facts,
                       const struct remote_answer *answer) {
    const struct mount_row *mount =
        answer->mount_id < 0 ? NULL : mount_find_id(&prober->mounts, answer->mount_id);

    facts->remote = true;
    if (mount)
        memcpy(facts->filesystem, mount->facts.type, sizeof facts->filesystem);
    else if (answer->magic != 0)
        snprintf(facts->filesystem, sizeof facts->filesystem, "%#llx", (unsigned long long) answer->magic);
    if (answer->step == REMOTE_STEP_OPEN)
        return answer->error == -ENOENT || answer->error == -ENOTDIR
                   ? 0
                   : gather_give_up(facts, answer->error, "opening it");
    if (answer->step == REMOTE_STEP_STAT)
        return gather_give_up(facts, answer->error, "looking at it");
    gather_stat(facts, &answer->st);
    switch (answer->st.st_mode & S_IFMT) {
    case S_IFSOCK:
        return take_socket(prober, facts, mount);
    case S_IFREG:
        return take_regular(prober, request, facts, mount, answer);
    case S_IFLNK:
        return answer->error != 0 ? gather_give_up(facts, answer->error, "reading the link")
                                  : take_link(facts, request->style, answer);
    default:
        return 0;
    }
}

int gather_remote(struct prober *prober, const struct probe_request *request, struct lock_facts *facts) {
    const struct mount_row *mount = NULL;
    struct remote_answer answer;
    enum remote_way way;
    bool *silent;
    int r = gather_mounts(prober);

    if (r < 0)
        return r;
    way = request->by_fd ? remote_find_way_of_fd(&prober->mounts, request->fd, &mount)
                         : remote_find_way(&prober->mounts, request->path, &mount);
    if (way == REMOTE_WAY_LOCAL && prober->mounts_error == 0)
        return 0;
    if (way != REMOTE_WAY_FAR)
        mount = NULL;
    if (request->remote_timeout_usec == 0) {
        if (way != REMOTE_WAY_FAR)
            return 0;
        r = give_up(facts, -EREMOTE, "not asking", mount);
        return r < 0 ? r : 1;
    }
    if (!request->by_fd && request->path[0] && request->path[strlen(request->path) - 1] == '/') {
        r = gather_give_up(facts, -EISDIR, "the path ends in a slash");
        return r < 0 ? r : 1;
    }
    silent = silence_of(prober, mount);
    r = silent && *silent ? -ETIMEDOUT
                          : remote_ask(&prober->mounts, request->by_fd ? NULL : request->path, request->fd,
                                       request->remote_timeout_usec, &answer);
    if (r == -ETIMEDOUT && silent)
        *silent = true;
    if (r >= 0 && answer.local)
        return 0;
    if (r < 0)
        r = give_up(facts, r, r == -ETIMEDOUT ? "waiting for" : "asking", mount);
    else
        r = take_answer(prober, request, facts, &answer);
    return r < 0 ? r : 1;
}
