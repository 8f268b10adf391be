/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A shared library that is loaded when it is first needed. Every library that a program is linked with costs
 * each of its starts, and a supervisor's memory: what is rarely used is better not linked. */

#include <stddef.h>

struct library_function {
    const char *name;
    void *place; /* of a pointer to this function: set by library_load() */
};

/* Loads `file` ("libNAME.so.N"), which stays loaded until dlclose(*ret_handle); ret_handle may be NULL: for
 * as long as the process lives. Returns -ENOPKG, and in *ret_why what the dynamic linker says (borrowed, good
 * until the next call), where there is none or it lacks one of the functions. */
int library_load(const char *file, const struct library_function *functions, size_t n, void **ret_handle,
                 const char **ret_why);
