/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Varlink's framing: a message is one JSON object and the NUL byte after it
 * (https://varlink.org/Method-Call). Two bounded queues, without sockets: bytes come in and messages are
 * taken out, messages are appended and bytes go out. Both start empty and cost no memory until they are used.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <jansson.h>

#define VARLINK_INPUT_BYTES_CLIENT ((size_t) 16 << 20)  /* an answer, to latchctl */
#define VARLINK_OUTPUT_BYTES_CLIENT ((size_t) 16 << 20) /* a request */

struct varlink_input {
    char *data;
    size_t start, end; /* data[start..end) was received and not yet taken */
    size_t scanned;    /* data[start..scanned) holds no NUL */
    size_t size;       /* allocated */
    size_t max_bytes;  /* of one message with its NUL, and of what is held at a time */
    int broken;        /* -errno once the stream can no longer be understood */
};

#define VARLINK_INPUT_INIT(max)                                                                              \
    (struct varlink_input) {                                                                                 \
        .max_bytes = (max)                                                                                   \
    }

/* Releases the memory and forgets what was in it; the limit stays. */
void varlink_input_done(struct varlink_input *input);

/* Room to read into, at *ret, of *ret_size bytes. Returns 1; 0 when the input is full (take something, or
 * give up: varlink_input_take() says which); -ENOMEM. What was read is then reported by
 * varlink_input_commit(). */
int varlink_input_reserve(struct varlink_input *input, char **ret, size_t *ret_size);
void varlink_input_commit(struct varlink_input *input, size_t size);

/* The same by copying: returns how many of the bytes were taken in, fewer than size when the input is full,
 * -ENOMEM. */
ssize_t varlink_input_feed(struct varlink_input *input, const void *data, size_t size);

static inline size_t varlink_input_pending(const struct varlink_input *input) {
    return input->end - input->start;
}
static inline bool varlink_input_full(const struct varlink_input *input) {
    return varlink_input_pending(input) >= input->max_bytes;
}

/* Whether a whole message waits. False for a broken stream. */
bool varlink_input_ready(struct varlink_input *input);

/* The next message, always an object; the caller owns it. Returns 1; 0 when none is complete; -EMSGSIZE when
 * it is longer than the limit; -EBADMSG when it is no JSON object (duplicate keys and more than 2048 levels
 * of nesting included); -ENOMEM. After -EMSGSIZE and -EBADMSG the stream is broken: the same is returned for
 * ever. */
int varlink_input_take(struct varlink_input *input, json_t **ret);

struct varlink_output {
    char *data;
    size_t start, end; /* data[start..end) has still to be sent */
    size_t size;       /* allocated */
    size_t max_bytes;  /* of what is held at a time */
};

#define VARLINK_OUTPUT_INIT(max)                                                                             \
    (struct varlink_output) {                                                                                \
        .max_bytes = (max)                                                                                   \
    }

void varlink_output_done(struct varlink_output *output);

/* Puts a message (borrowed) and its NUL behind what waits. Whole or not at all: -ENOBUFS when there is no
 * room now, -EMSGSIZE when there never will be, -EINVAL when it is no object, -ENOMEM. */
int varlink_output_append(struct varlink_output *output, const json_t *message);

static inline size_t varlink_output_pending(const struct varlink_output *output) {
    return output->end - output->start;
}

/* What to write next; valid until the queue is changed. NULL when nothing waits. */
const char *varlink_output_peek(const struct varlink_output *output, size_t *ret_size);

/* Puts back what had waited in another process. The output is empty. 0, -EMSGSIZE, -ENOMEM. */
int varlink_output_restore(struct varlink_output *output, const char *data, size_t size);

/* The first size bytes went out: a short write is gone on with from there. */
void varlink_output_consume(struct varlink_output *output, size_t size);
