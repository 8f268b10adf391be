/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A descriptor for a daemon's standard output or error: each line becomes an entry of journald with that
 * SYSLOG_IDENTIFIER (made one printable line) and priority, unless the line begins with "<PRIORITY>". The
 * descriptor is blocking, as programs expect, but connecting never blocks: -EAGAIN when journald takes no
 * connection now. -ENOENT or -ECONNREFUSED where there is no journal. */
int stream_open(const char *identifier, int priority);
int stream_open_at(const char *socket_path, const char *identifier, int priority);
