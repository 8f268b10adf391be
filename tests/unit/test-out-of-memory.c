/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A whole life of a service (start, crash, restart, reload, stop), again and again, with another allocation
 * failing each time: nothing crashes, nothing is stuck, there never are two daemons, and it comes up as soon
 * as there is memory.
 *
 * LATCHD_TEST_POINTS=N: so many of them, evenly spread; LATCHD_TEST_POINT=N: the Nth allocation alone, with
 * LATCHD_TEST_IN_A_ROW=M and those behind it. */

#include "service-fixture.h"

/* Allocations between here and there count; number `fail_at` of them fails. */
static struct {
    bool counting;
    unsigned long n, fail_at, fail_n; /* fail_n: how many in a row */
} memory;

static bool refused(void) {
    if (!memory.counting)
        return false;
    memory.n++;
    return memory.fail_at && memory.n >= memory.fail_at && memory.n < memory.fail_at + memory.fail_n;
}

#if defined __SANITIZE_ADDRESS__
#define INSTRUMENTED 1
#elif defined __has_feature
#if __has_feature(address_sanitizer)
#define INSTRUMENTED 1
#endif
#endif

#ifdef INSTRUMENTED
/* The sanitizer has the allocator: what our own objects and jansson call is what can be refused (ld(1),
 * --wrap). */
#define REAL(name) __real_##name
#define OURS(name) __wrap_##name
#else
/* All libraries' calls come here (malloc(3), "Replacing malloc" in glibc's manual). */
#define REAL(name) __libc_##name
#define OURS(name) name
#endif

void *REAL(malloc)(size_t size);
void *REAL(calloc)(size_t n, size_t size);
void *REAL(realloc)(void *old, size_t size);
void *OURS(malloc)(size_t size);
void *OURS(calloc)(size_t n, size_t size);
void *OURS(realloc)(void *old, size_t size);

/* A place for a debugger's breakpoint. */
static __attribute__((noinline)) void *no_memory(void) {
    errno = ENOMEM;
    return NULL;
}

void *OURS(malloc)(size_t size) {
    return refused() ? no_memory() : REAL(malloc)(size);
}

void *OURS(calloc)(size_t n, size_t size) {
    return refused() ? no_memory() : REAL(calloc)(n, size);
}

void *OURS(realloc)(void *old, size_t size) {
    return refused() ? no_memory() : REAL(realloc)(old, size);
}

#ifdef INSTRUMENTED
char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);
int __real_vasprintf(char **ret, const char *format, va_list ap);
int __wrap_vasprintf(char **ret, const char *format, va_list ap);
int __wrap_asprintf(char **ret, const char *format, ...);
void *__real_reallocarray(void *old, size_t n, size_t size);
void *__wrap_reallocarray(void *old, size_t n, size_t size);

char *__wrap_strdup(const char *text) {
    return refused() ? no_memory() : __real_strdup(text);
}

int __wrap_vasprintf(char **ret, const char *format, va_list ap) {
    return refused() ? (no_memory(), -1) : __real_vasprintf(ret, format, ap);
}

int __wrap_asprintf(char **ret, const char *format, ...) {
    va_list ap;
    int r;

    va_start(ap, format);
    r = __wrap_vasprintf(ret, format, ap);
    va_end(ap);
    return r;
}

void *__wrap_reallocarray(void *old, size_t n, size_t size) {
    return refused() ? no_memory() : __real_reallocarray(old, n, size);
}

static void *malloc_for_jansson(size_t size) {
    return OURS(malloc)(size);
}
#endif

static unsigned long environment_number(const char *name, unsigned long otherwise) {
    const char *text = getenv(name);

    return text && *text ? strtoul(text, NULL, 10) : otherwise;
}

/* As manager_run() does it: want of memory ends no loop. */
static void turn_short_of_memory(void) {
    int r;

    memory.counting = true;
    r = sd_event_run(t.manager->event, 5 * MSEC);
    memory.counting = false;
    ck_assert_msg(r >= 0 || r == -ENOMEM, "the loop breaks: %s", strerror(-r));
}

static void tell(struct service *service, enum service_event event) {
    memory.counting = true;
    service_handle(service, event);
    memory.counting = false;
}

static unsigned living_daemons(void) {
    _cleanup_free_ char *text = NULL;
    unsigned n = 0;

    if (fd_read_file_at(AT_FDCWD, in("starts"), 1 << 20, &text, NULL) < 0)
        return 0;
    for (char *rest = text, *line; (line = strsep(&rest, "\n"));)
        n += *line && is_alive((pid_t) atoi(line));
    return n;
}

#define go_on_until(what, condition)                                                                         \
    do {                                                                                                     \
        uint64_t until_ = now_usec(CLOCK_MONOTONIC) + PATIENCE;                                              \
                                                                                                             \
        while (!(condition)) {                                                                               \
            ck_assert_msg(                                                                                   \
                now_usec(CLOCK_MONOTONIC) < until_,                                                          \
                "allocation %lu (%lu in a row, %lu so far) failed: never %s; it is %s, PID %d, %u daemons",  \
                memory.fail_at, memory.fail_n, memory.n, what, service_state_to_string(service->state),      \
                (int) service->record.main.pid, living_daemons());                                           \
            turn_short_of_memory();                                                                          \
            ck_assert_msg(living_daemons() <= 1, "allocation %lu failed: two daemons", memory.fail_at);      \
        }                                                                                                    \
    } while (0)

static bool is_up(struct service *service, pid_t not_pid) {
    pid_t pid = service->record.main.pid;

    return service->state == SERVICE_RUNNING && pid != not_pid && is_alive(pid) && living_daemons() == 1 &&
           read_pid("starts") == pid;
}

static void live(struct service *service) {
    pid_t first;

    tell(service, SERVICE_ON_START);
    go_on_until("up", is_up(service, 0));
    first = service->record.main.pid;
    ck_assert_int_eq(kill(first, SIGKILL), 0);
    go_on_until("up again", is_up(service, first));
    tell(service, SERVICE_ON_RELOAD);
    go_on_until("reloaded", is_up(service, first));
    first = service->record.main.pid;
    tell(service, SERVICE_ON_RESTART);
    go_on_until("restarted", is_up(service, first));
    tell(service, SERVICE_ON_STOP);
    go_on_until("down", service_is_down(service));
    ck_assert_uint_eq(living_daemons(), 0);
    ck_assert_msg(lock_is_free("l"), "allocation %lu failed: the lock is still taken", memory.fail_at);
}

#define DAEMON "exec 9<>@/l; flock -n 9 || exit 9; trap '' HUP; echo $$ >>@/starts; exec sleep 100"

/* A round with allocation number `at` failing, and `n` - 1 more behind it. Returns how many there were. */
static unsigned long one_life(struct service *service, unsigned long at, unsigned long n) {
    (void) unlink(in("starts"));
    memory.n = 0;
    memory.fail_at = at;
    memory.fail_n = n;
    service->history = (struct restart_history){0};
    live(service);
    memory.fail_at = 0;
    return memory.n;
}

START_TEST(every_allocation_fails_once) {
    unsigned long points = environment_number("LATCHD_TEST_POINTS", 100),
                  point = environment_number("LATCHD_TEST_POINT", 0), total, tried = 0;
    unsigned descriptors;
    struct service *service;

#ifdef INSTRUMENTED
    json_set_alloc_funcs(malloc_for_jansson, free);
#endif
    service = add_service("a", DAEMON, "lock @/l:flock", "lock @/p:pidfile", "Restart=always",
                          "RestartSec=1ms", "RestartMaxDelaySec=20ms", "TimeoutStopSec=20s", NULL);
    total = one_life(service, 0, 0);
    ck_assert_uint_gt(total, 100);
    descriptors = count_descriptors();
    srandom((unsigned) getpid());
    if (point)
        (void) one_life(service, point, environment_number("LATCHD_TEST_IN_A_ROW", 1));
    else
        for (double at = 1 + (double) (random() % 1000) / 1000 * (double) total / (double) points;
             at <= (double) total; at += (double) total / (double) points, tried++) {
            /* Now one fails, now a few in a row: who tries again at once is refused again. */
            (void) one_life(service, (unsigned long) at, tried % 3 == 2 ? 7 : 1);
            ck_assert_msg(count_descriptors() == descriptors,
                          "allocation %lu failed: %u descriptors, %u before", (unsigned long) at,
                          count_descriptors(), descriptors);
        }
    printf("%lu allocations, %lu of them failed\n", total, tried);
}
END_TEST

int main(void) {
    TCase *tests = tcase_create("out-of-memory");

    tcase_add_test(tests, every_allocation_fails_once);
    return run_suite("out-of-memory", tests);
}
