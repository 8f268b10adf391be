/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "runtime/handover.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/closer.h"
#include "base/fd.h"

#define HANDOVER_BYTES_MAX ((size_t) 64 << 20)
#define FIRST_FD 3 /* behind the standard ones */
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

struct handover {
    json_t *fds, *values; /* name → number, name → value */
    bool received;
};

int handover_new(struct handover **ret) {
    struct handover *handover = calloc(1, sizeof *handover);

    if (handover) {
        handover->fds = json_object();
        handover->values = json_object();
    }
    if (!handover || !handover->fds || !handover->values) {
        handover_free(handover);
        return -ENOMEM;
    }
    *ret = handover;
    return 0;
}

struct handover *handover_free(struct handover *handover) {
    const char *name;
    json_t *number;

    if (!handover)
        return NULL;
    if (handover->received)
        json_object_foreach(handover->fds, name, number) fd_close((int) json_integer_value(number));
    json_decref(handover->fds);
    json_decref(handover->values);
    free(handover);
    return NULL;
}

struct handover *handover_drop(struct handover *handover, struct closer **closer) {
    const char *name;
    json_t *number;
    void *next;

    if (!handover || !handover->received)
        return handover_free(handover);
    json_object_foreach_safe(handover->fds, next, name, number) {
        int fd = (int) json_integer_value(number);

        if (closer_close(closer, &fd, 1) >= 0)
            (void) json_object_del(handover->fds, name);
    }
    return handover_free(handover);
}

static int put(json_t *object, const char *name, json_t *value) {
    if (value && json_object_get(object, name)) {
        json_decref(value);
        return -EEXIST;
    }
    return value && json_object_set_new(object, name, value) == 0 ? 0 : -ENOMEM;
}

int handover_put_fd(struct handover *handover, const char *name, int fd) {
    return put(handover->fds, name, json_integer(fd));
}

int handover_put(struct handover *handover, const char *name, json_t *value) {
    return put(handover->values, name, value);
}

int handover_pack(struct handover *handover) {
    _cleanup_close_ int fd = memfd_create("latchd-handover", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    _cleanup_free_ char *text = NULL;
    json_t *json;
    int r;

    if (fd < 0)
        return -errno;
    json = json_pack("{s:i, s:i, s:O, s:O}", "schema", HANDOVER_SCHEMA, "pid", (int) getpid(), "fds",
                     handover->fds, "values", handover->values);
    text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    if (!text)
        return -ENOMEM;
    if (strlen(text) >= HANDOVER_BYTES_MAX) /* the successor would not take it, and there is no way back */
        return -EFBIG;
    r = fd_write_all(fd, text, strlen(text));
    if (r < 0)
        return r;
    if (fcntl(fd, F_ADD_SEALS, SEALS) < 0)
        return -errno;
    return TAKE_FD(fd);
}

int handover_release(struct handover *handover, int memfd, bool keep) {
    const char *name;
    json_t *number;
    int r = fd_set_cloexec(memfd, !keep);

    json_object_foreach(handover->fds, name, number) {
        int one = fd_set_cloexec((int) json_integer_value(number), !keep);

        r = r < 0 ? r : one;
    }
    if (r < 0 && keep)
        (void) handover_release(handover, memfd, false);
    return r;
}

static int compare_ints(const void *a, const void *b) {
    int x = *(const int *) a, y = *(const int *) b;

    return x < y ? -1 : x > y;
}

/* Each number is an open descriptor above standard error, and stands there once: with two names it would be
 * closed twice. */
static int check_fds(json_t *fds, int memfd) {
    _cleanup_free_ int *numbers = calloc(json_object_size(fds) + 1, sizeof *numbers);
    const char *name;
    json_t *number;
    size_t n = 0;

    if (!numbers)
        return -ENOMEM;
    json_object_foreach(fds, name, number) {
        json_int_t fd = json_is_integer(number) ? json_integer_value(number) : -1;

        if (fd < FIRST_FD || fd > INT_MAX || fd == memfd || fcntl((int) fd, F_GETFD) < 0)
            return -EBADMSG;
        numbers[n++] = (int) fd;
    }
    qsort(numbers, n, sizeof *numbers, compare_ints);
    for (size_t i = 1; i < n; i++)
        if (numbers[i] == numbers[i - 1])
            return -EBADMSG;
    return 0;
}

int handover_receive(int memfd, struct handover **ret, struct err *err) {
    _cleanup_close_ int fd = memfd;
    _cleanup_free_ char *text = NULL;
    struct handover *handover;
    json_t *json, *fds, *values, *number;
    json_int_t schema, pid;
    const char *name;
    size_t size;
    int r = fcntl(fd, F_GET_SEALS);

    if (r < 0 || (r & SEALS) != SEALS)
        return err_set(err, EBADMSG, "BadHandover",
                       "descriptor %d, which " HANDOVER_VARIABLE
                       "= names, is no sealed memory file: it is for "
                       "latchctl reexec alone",
                       memfd);
    r = lseek(fd, 0, SEEK_SET) < 0 ? -errno : fd_read_all(fd, HANDOVER_BYTES_MAX, &text, &size);
    if (r < 0)
        return err_set(err, -r, "BadHandover", "what the latchd before handed over cannot be read: %s",
                       strerror(-r));
    json = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    if (!json ||
        json_unpack(json, "{s:I, s:I, s:o, s:o}", "schema", &schema, "pid", &pid, "fds", &fds, "values",
                    &values) != 0 ||
        schema != HANDOVER_SCHEMA || pid != getpid() || !json_is_object(fds) || !json_is_object(values) ||
        check_fds(fds, fd) < 0) {
        json_decref(json);
        return err_set(err, EBADMSG, "BadHandover",
                       "what the latchd before handed over is damaged, or meant for another process");
    }
    handover = calloc(1, sizeof *handover);
    if (!handover) {
        json_decref(json);
        return err_set(err, ENOMEM, "Failed", "out of memory");
    }
    handover->fds = json_incref(fds);
    handover->values = json_incref(values);
    handover->received = true;
    json_decref(json);
    json_object_foreach(handover->fds, name, number)(void)
        fd_set_cloexec((int) json_integer_value(number), true);
    *ret = handover;
    return 0;
}

int handover_take_fd(struct handover *handover, const char *name) {
    json_t *number = handover ? json_object_get(handover->fds, name) : NULL;
    int fd;

    if (!number)
        return -ENOENT;
    fd = (int) json_integer_value(number);
    (void) json_object_del(handover->fds, name);
    return fd;
}

json_t *handover_get(const struct handover *handover, const char *name) {
    return handover ? json_object_get(handover->values, name) : NULL;
}
