/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

/* The systemd unit (or scope, or slice) that a cgroup path names last; "" when there is none. */
const char *cgroup_unit(const char *cgroup, char *buffer, size_t size);
