/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Who the daemon is, a second time: a line in NAME.lock, which nobody ever removes, while NAME.state may be lost,
 * damaged or put back from somewhere. Written by the holder of that lock, in place, so that a full file system does
 * not keep it from what it knows. */

#include <stdbool.h>

#include "runtime/state-file.h"

/* To be called whenever record->main has changed, before NAME.state is written; sets record->main_usec. -ENOENT: there
 * is no NAME.lock. -errno: what was noted before stands, and a daemon that is not there any more is no harm. */
int main_note_write(int runtime_dir_fd, const char *service, struct service_record *record);

/* *ret has the daemon's identity, and what goes with it: generation, invocation id, session. -ENODATA: nothing is
 * noted (there is no file, one of somebody else, or one that an older latchd made). */
int main_note_read(int runtime_dir_fd, const char *service, struct service_record *ret);

/* As state_file_find_main(), for the daemon that a record names; where that one is gone, or is none, or the note is
 * newer, for the one that is noted. *record is a record as it was read, or empty; it names that daemon then, and
 * *ret_noted is set. */
int main_note_find(int proc_fd, int runtime_dir_fd, const char *service, const char *daemon_exe,
                   struct service_record *record, bool *ret_noted);
