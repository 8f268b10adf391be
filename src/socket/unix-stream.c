/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "socket/unix-stream.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/macro.h"
#include "base/value.h"
#include "socket/sock-diag.h"

void unix_streams_done(struct unix_streams *streams) {
    for (size_t i = 0; i < streams->n; i++)
        free(streams->of[i].name);
    free(streams->of);
    *streams = (struct unix_streams){0};
}

/* An abstract name begins with a NUL byte, for which people write '@' (unix(7)). */
static int take_name(const char *payload, size_t size, struct unix_stream *stream) {
    char *name = strndup("@", 1), *whole;

    if (size > 0 && payload[0] != '\0') {
        free(name);
        name = strndup(payload, size);
    } else if (name && size > 1) {
        whole = realloc(name, size + 1);
        if (!whole) {
            free(name);
            return -ENOMEM;
        }
        name = whole;
        memcpy(name + 1, payload + 1, size - 1);
        name[size] = '\0';
        for (size_t i = 1; i < size; i++)
            if (name[i] == '\0')
                name[i] = '@';
    }
    if (!name)
        return -ENOMEM;
    value_make_printable(name);
    free(stream->name);
    stream->name = name;
    return 0;
}

static int read_attribute(unsigned type, const void *payload, size_t size, struct unix_stream *stream) {
    uint32_t numbers[SK_MEMINFO_SNDBUF + 1];

    switch (type) {
    case UNIX_DIAG_NAME:
        return take_name(payload, size, stream);
    case UNIX_DIAG_PEER:
        if (size >= sizeof numbers[0])
            memcpy(&stream->peer, payload, sizeof stream->peer);
        return 0;
    case UNIX_DIAG_RQLEN:
        /* Of a connection it is bytes (net/unix/diag.c, sk_diag_show_rqlen()). */
        if (size >= sizeof numbers[0])
            memcpy(&stream->unread_bytes, payload, sizeof stream->unread_bytes);
        return 0;
    case UNIX_DIAG_MEMINFO:
        if (size < sizeof numbers)
            return 0;
        memcpy(numbers, payload, sizeof numbers);
        stream->has_memory = true;
        stream->send_bytes = numbers[SK_MEMINFO_WMEM_ALLOC];
        stream->send_buffer_bytes = numbers[SK_MEMINFO_SNDBUF];
        return 0;
    }
    return 0;
}

static int add(struct unix_streams *streams, const struct unix_stream *stream) {
    if ((streams->n & (streams->n - 1)) == 0) { /* grows at each power of two */
        struct unix_stream *bigger =
            reallocarray(streams->of, streams->n ? streams->n * 2 : 1, sizeof *bigger);

        if (!bigger)
            return -ENOMEM;
        streams->of = bigger;
    }
    streams->of[streams->n++] = *stream;
    return 0;
}

static int take(const void *payload, size_t size, void *userdata) {
    const struct unix_diag_msg *message = payload;
    const char *bytes = (const char *) payload + sizeof *message;
    const struct nlattr *attribute;
    struct unix_stream stream;
    int r = 0;

    if (size < sizeof *message)
        return -EBADMSG;
    size -= sizeof *message;
    if (message->udiag_type == SOCK_DGRAM || message->udiag_state != TCP_ESTABLISHED)
        return 0;
    stream = (struct unix_stream){.inode = message->udiag_ino};
    while (r >= 0 && (attribute = sock_diag_next(&bytes, &size)))
        r = read_attribute(attribute->nla_type & NLA_TYPE_MASK, attribute + 1,
                           attribute->nla_len - sizeof *attribute, &stream);
    if (r >= 0)
        r = add(userdata, &stream);
    if (r < 0)
        free(stream.name);
    return r;
}

static void forget(void *userdata) {
    unix_streams_done(userdata);
}

int unix_streams_parse(const void *buffer, size_t size, struct unix_streams *streams) {
    return sock_diag_parse(buffer, size,
                           &(struct sock_diag_sink){.take = take, .forget = forget, .userdata = streams});
}

static int compare(const void *a, const void *b) {
    uint32_t x = ((const struct unix_stream *) a)->inode, y = ((const struct unix_stream *) b)->inode;

    return (x > y) - (x < y);
}

void unix_streams_sort(struct unix_streams *streams) {
    if (streams->n > 0)
        qsort(streams->of, streams->n, sizeof *streams->of, compare);
}

int unix_streams_read(struct unix_streams *ret) {
    struct unix_streams streams = {0};
    struct {
        struct nlmsghdr header;
        struct unix_diag_req request;
    } query = {
        .header = {.nlmsg_len = sizeof query,
                   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
                   .nlmsg_seq = 1},
        .request = {.sdiag_family = AF_UNIX,
                    .udiag_states = 1U << TCP_ESTABLISHED,
                    .udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_PEER | UDIAG_SHOW_RQLEN | UDIAG_SHOW_MEMINFO},
    };
    const struct nlmsghdr *const queries[] = {&query.header};
    const struct sock_diag_sink sink = {.take = take, .forget = forget, .userdata = &streams};
    int r = sock_diag_dump(queries, ELEMENTSOF(queries), &sink);

    if (r < 0) {
        unix_streams_done(&streams);
        return r;
    }
    unix_streams_sort(&streams);
    *ret = streams;
    return 0;
}

const struct unix_stream *unix_streams_find(const struct unix_streams *streams, uint32_t inode) {
    const struct unix_stream key = {.inode = inode};

    return streams->n > 0 && inode != 0 ? bsearch(&key, streams->of, streams->n, sizeof key, compare) : NULL;
}

bool unix_stream_is_full(const struct unix_stream *stream) {
    return stream->has_memory && (uint64_t) stream->send_bytes * 4 > stream->send_buffer_bytes;
}
