/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Names of capabilities, by libcap, which is loaded when the first one is asked for: few configurations name
 * any, and the clients read configurations too. */

#include <linux/capability.h>
#include <stdint.h>

#define ALL_CAPABILITIES (UINT64_MAX >> (63 - CAP_LAST_CAP))

/* *ret has this capability's bit set. -EINVAL: there is none of that name; -ENOPKG: libcap is not installed.
 */
int capability_from_name(const char *name, uint64_t *ret);

/* "cap_kill"; the caller frees it. NULL: out of memory, or no libcap. */
char *capability_to_name(int capability);

/* The names of all in a set, for a message; as above. */
char *capability_set_to_names(uint64_t set);
