/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Somebody removes or replaces the file of a socket or lock while latchd has it: that is noticed, told, and mended as
 * far as nothing of anybody else's is touched.
 *
 * The inodes themselves are watched, not their directories: the kernel tells of a lost link as of a change of
 * attributes (fsnotify_link_count() in include/linux/fsnotify.h), and whatever else happens beside them, in /tmp or /run,
 * wakes nobody up. */
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>

#include "base/fd.h"
#include "base/value.h"
#include "lock/describe.h"
#include "owned/owned.h"
#include "probe/probe.h"

#define INODE_EVENTS (IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF | IN_DONT_FOLLOW)
#define DIRECTORY_EVENTS (IN_DELETE | IN_MOVED_FROM | IN_ONLYDIR)

/* Who removes the path again and again costs us so much, and no more. */
#define LOOKS_USEC USEC_PER_SEC
#define LOOKS_MOST 20
#define LOOKS_AT_ONCE 3
#define TOLD_USEC (60 * USEC_PER_SEC)
#define TOLD_MOST 5

void owned_unwatch(struct owned_socket *own) {
    own->socket_watch = sd_event_source_disable_unref(own->socket_watch);
    own->lock_watch = sd_event_source_disable_unref(own->lock_watch);
    own->directory_watch = sd_event_source_disable_unref(own->directory_watch);
    own->lock_directory_watch = sd_event_source_disable_unref(own->lock_directory_watch);
}

static int on_inotify(sd_event_source *source, const struct inotify_event *event, void *userdata) {
    struct owned *owned = userdata;

    (void) source;
    (void) event;
    owned->on_change(owned->userdata);
    return 0;
}

/* Without a watch (fs.inotify.max_user_watches) it is looked at before the next start only. */
static sd_event_source *begin(struct owned *owned, const char *path, uint32_t events) {
    sd_event_source *source = NULL;

    if (sd_event_add_inotify(owned->event, &source, path, events, on_inotify, owned) < 0)
        return NULL;
    (void) sd_event_source_set_ratelimit(source, LOOKS_USEC, LOOKS_MOST);
    return source;
}

static sd_event_source *begin_directory(struct owned *owned, const char *path) {
    _cleanup_free_ char *directory = strdup(path);

    if (!directory)
        return NULL;
    *(strrchr(directory, '/') + (strrchr(directory, '/') == directory)) = '\0';
    return begin(owned, directory, DIRECTORY_EVENTS);
}

/* Only while something else stands there. */
static void follow_directory(struct owned *owned, bool wanted, const char *path, sd_event_source **watch) {
    if (!wanted)
        *watch = sd_event_source_disable_unref(*watch);
    else if (!*watch)
        *watch = begin_directory(owned, path);
}

/* By either of its names: the path may be gone again by now. */
static sd_event_source *begin_inode(struct owned *owned, const struct socket_config *socket) {
    _cleanup_free_ char *beside = listener_beside(socket->listen);
    sd_event_source *source = beside ? begin(owned, beside, INODE_EVENTS) : NULL;

    return source ? source : begin(owned, socket->listen, INODE_EVENTS);
}

/* Something of ours whose file can go. */
static bool has_file(const struct owned_socket *own) {
    return own->fd >= 0 && own->place.inode != 0;
}

void owned_watch(struct owned *owned, const struct service_config *config) {
    for (size_t i = 0; owned->event && i < owned->n; i++) {
        struct owned_socket *own = &owned->sockets[i];
        const struct socket_config *socket = config->sockets[i];

        if (has_file(own) && !own->socket_watch)
            own->socket_watch = begin_inode(owned, socket);
        if (own->lock_fd >= 0 && !own->lock_displaced && !own->lock_watch)
            own->lock_watch = begin(owned, socket->lock.path, INODE_EVENTS);
        follow_directory(owned, own->sight != LISTENER_OURS, socket->listen, &own->directory_watch);
        follow_directory(owned, own->lock_displaced, socket->lock.path, &own->lock_directory_watch);
    }
}

/* ---- what is there instead ---- */

static __attribute__((noinline)) void tell_displaced(const struct owned_host *host, const struct socket_config *socket,
                                                     const char *path, const char *reason) {
    struct event_fields fields = {.n = 0};

    event_field_set(&fields, "LATCHD_PATH", path);
    event_field_set(&fields, "LATCHD_SOCKET", socket->listen);
    event_field_set(&fields, "LATCHD_REASON", reason);
    event_emit(host->log, EVENT_SOCKET_DISPLACED, &host->scope, fields.fields, fields.n,
               "%s is no longer what latchd made: %s", path, reason);
}

/* A socket in the words of `latchctl probe`: who has it. */
static char *describe_socket(const char *path) {
    struct probe_request request = {.path = path, .style = LOCK_STYLE_INVALID};
    struct lock_context context = {0};
    struct lock_judgement judgement;
    struct lock_facts *facts;
    char *text;

    if (lock_probe(&request, 1, &facts) < 0)
        return NULL;
    judgement = lock_judge(facts, &context);
    text = lock_describe(facts, &context, &judgement);
    lock_facts_free_array(facts, 1);
    return text;
}

static char *describe(const char *path) {
    struct stat st;

    if (lstat(path, &st) < 0)
        return NULL;
    if (S_ISSOCK(st.st_mode))
        return describe_socket(path);
    return strdup(S_ISDIR(st.st_mode)   ? "a directory"
                  : S_ISLNK(st.st_mode) ? "a symbolic link"
                  : S_ISREG(st.st_mode) ? "a regular file"
                                        : "no socket");
}

static void displaced(const struct owned_host *host, const struct socket_config *socket, struct owned_socket *own) {
    _cleanup_free_ char *found = NULL, *reason = NULL;

    if (own->sight == LISTENER_OTHER)
        return;
    own->sight = LISTENER_OTHER;
    found = describe(socket->listen);
    if (asprintf(&reason,
                 "something else stands there (%s) and is left alone. The daemon's clients do not reach it by this path; "
                 "latchd puts its socket back when the path is free",
                 found ? found : "it cannot be looked at") >= 0)
        tell_displaced(host, socket, socket->listen, reason);
}

static void gone(const struct owned_host *host, const struct socket_config *socket, struct owned_socket *own) {
    _cleanup_free_ char *reason = NULL;

    own->socket_watch = sd_event_source_disable_unref(own->socket_watch);
    if (own->sight == LISTENER_REMOVED)
        return;
    own->sight = LISTENER_REMOVED;
    if (asprintf(&reason,
                 "it was removed, and latchd's name for it beside it as well, so that no link can bring it back. The "
                 "daemon goes on with who is connected; latchctl restart %s makes the socket anew",
                 host->config->name) >= 0)
        tell_displaced(host, socket, socket->listen, reason);
}

/* So many lines a minute, and no more: who removes it in a loop does not fill the journal. */
static bool may_tell(struct owned_socket *own) {
    uint64_t now = now_usec(CLOCK_BOOTTIME);

    if (own->told == 0 || now - own->told_usec >= TOLD_USEC) {
        own->told_usec = now;
        own->told = 0;
    }
    if (own->told >= TOLD_MOST)
        return false;
    own->told++;
    return true;
}

static void restored(const struct owned_host *host, struct owned_socket *own, const char *path,
                     const char *what) {
    struct event_fields fields = {.n = 0};
    char times[64] = "";

    own->restored++;
    if (!may_tell(own))
        return;
    if (own->restored > 1)
        snprintf(times, sizeof times, ", %u times since this was told last,", own->restored);
    event_field_set(&fields, "LATCHD_SOCKET", path);
    event_emit(host->log, EVENT_SOCKET_RESTORED, &host->scope, fields.fields, fields.n,
               "%s had been removed or replaced%s and %s", path, times, what);
    own->restored = 0;
}

static void check_socket(const struct owned_host *host, const struct socket_config *socket,
                         struct owned_socket *own) {
    enum listener_sight sight = listener_look(socket->listen, &own->place);
    int r;

    if (sight == LISTENER_OURS) {
        own->sight = LISTENER_OURS;
        (void) listener_keep_beside(socket->listen, &own->place);
        return;
    }
    if (sight == LISTENER_UNSEEN)
        return;
    r = sight == LISTENER_REMOVED ? listener_restore(socket->listen, &own->place) : -EEXIST;
    if (r == 0) {
        own->sight = LISTENER_OURS;
        restored(host, own, socket->listen, "stands again; no connection was lost");
    } else if (r == -ESTALE)
        gone(host, socket, own);
    else if (r == -EEXIST)
        displaced(host, socket, own);
}

static void check_lock(const struct owned_host *host, const struct socket_config *socket, struct owned_socket *own) {
    _cleanup_err_ struct err err = {0};
    int fd;

    if (lock_hold_is_at(own->lock_fd, socket->lock.path)) {
        own->lock_displaced = false;
        return;
    }
    own->lock_watch = sd_event_source_disable_unref(own->lock_watch);
    fd = lock_hold(socket->lock.path, socket->lock.style, &err);
    if (fd >= 0) {
        fd_close(own->lock_fd);
        own->lock_fd = fd;
        own->lock_displaced = own->stored = false;
        restored(host, own, socket->lock.path, "is there and locked again");
    } else if (!own->lock_displaced) {
        own->lock_displaced = true;
        tell_displaced(host, socket, socket->lock.path, err_text(&err));
    }
}

static bool is_in_place(const struct owned_socket *own, const struct socket_config *socket) {
    return (!has_file(own) || own->sight != LISTENER_OURS ||
            listener_look(socket->listen, &own->place) == LISTENER_OURS) &&
           (own->lock_fd < 0 || own->lock_displaced || lock_hold_is_at(own->lock_fd, socket->lock.path));
}

/* What went before the watch was there is looked for behind it. */
void owned_check(struct owned *owned, const struct owned_host *host) {
    bool in_place = false;

    for (unsigned look = 0; look < LOOKS_AT_ONCE && !in_place; look++) {
        for (size_t i = 0; i < owned->n; i++) {
            if (has_file(&owned->sockets[i]))
                check_socket(host, host->config->sockets[i], &owned->sockets[i]);
            if (owned->sockets[i].lock_fd >= 0)
                check_lock(host, host->config->sockets[i], &owned->sockets[i]);
        }
        owned_watch(owned, host->config);
        in_place = true;
        for (size_t i = 0; i < owned->n; i++)
            in_place &= is_in_place(&owned->sockets[i], host->config->sockets[i]);
    }
}
