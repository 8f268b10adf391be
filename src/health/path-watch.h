/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Tells when a path may have appeared, without looking at it again and again: inotify(7) on its directory, or
 * on the nearest parent that exists already. One inotify instance for all watches of a manager, which is
 * there only while there is a watch: an idle supervisor has none, and no limit is used up. Mounts, which
 * inotify does not tell of, are seen by /proc/self/mountinfo (proc(5): poll(2) gives POLLPRI). */

#include <stdbool.h>
#include <systemd/sd-event.h>

struct path_watcher;
struct path_watch;

/* on_limit (may be NULL) is called once: the kernel gives no more watches (max_user_instances,
 * max_user_watches of inotify(7)), or none at all; `error` is a negative errno. */
int path_watcher_new(sd_event *event, void (*on_limit)(int error, void *userdata), void *userdata,
                     struct path_watcher **ret);
void path_watcher_free(struct path_watcher *watcher); /* after its watches */

/* on_change is called from the loop each time something happened that may have made the absolute path appear:
 * look whether it is there. It may free the watch. Begin the watch first and then look: nothing is missed.
 * -ENOSPC, -EMFILE: no more watches; -ENOTSUP: what is on the way cannot be watched for it (a dangling link,
 * a directory that may not be read): look by the clock then. */
int path_watch_new(struct path_watcher *watcher, const char *path, void (*on_change)(void *userdata),
                   void *userdata, struct path_watch **ret);
void path_watch_free(struct path_watch *watch); /* NULL is fine */

/* What was on the way has gone, and what is there now cannot be watched: look by the clock. */
bool path_watch_is_blind(const struct path_watch *watch);

/* No inotify instance is open. */
bool path_watcher_is_idle(const struct path_watcher *watcher);
