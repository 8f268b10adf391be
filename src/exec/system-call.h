/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* System calls of a child that shares the supervisor's memory (see birth.h). glibc's wrappers write errno,
 * which in such a child is the supervisor's own, and setresuid(2) among them wants every thread to follow.
 * These return a negative errno, as the kernel has it, and touch nothing else. */

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Whether that is so here. The conventions are the kernel's: syscall(2), "Architecture calling conventions".
 */
#if (defined __x86_64__ && defined __LP64__) || defined __aarch64__
#define SYSTEM_CALL_IS_BARE 1
#else
#define SYSTEM_CALL_IS_BARE 0
#endif

#if defined __x86_64__ && defined __LP64__
static inline long system_call_of(long number, long a, long b, long c, long d, long e) {
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    long result;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined __aarch64__
static inline long system_call_of(long number, long a, long b, long c, long d, long e) {
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;

    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory", "cc");
    return x0;
}
#else
static inline long system_call_of(long number, long a, long b, long c, long d, long e) {
    long result = syscall(number, a, b, c, d, e);

    return result < 0 ? -errno : result;
}
#endif

/* system_call(SYS_name, up to five arguments) */
#define SYSTEM_CALL_6(number, a, b, c, d, e, ...)                                                            \
    system_call_of((long) (number), (long) (a), (long) (b), (long) (c), (long) (d), (long) (e))
#define system_call(...) SYSTEM_CALL_6(__VA_ARGS__, 0, 0, 0, 0, 0, 0)

/* Where the first of that name takes ids of 16 bits. */
#ifdef SYS_setresuid32
#define SYSTEM_CALL_SETRESUID SYS_setresuid32
#define SYSTEM_CALL_SETRESGID SYS_setresgid32
#define SYSTEM_CALL_SETGROUPS SYS_setgroups32
#else
#define SYSTEM_CALL_SETRESUID SYS_setresuid
#define SYSTEM_CALL_SETRESGID SYS_setresgid
#define SYSTEM_CALL_SETGROUPS SYS_setgroups
#endif
