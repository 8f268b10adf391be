/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "varlink/wire.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "base/macro.h"

#define FIRST_BYTES ((size_t) 4096)

/* Doubles *size, within max, until it is at least `wanted`. */
static int grow(char **data, size_t *size, size_t wanted, size_t max) {
    size_t target = *size > 0 ? *size : FIRST_BYTES;
    char *fresh;

    while (target < wanted)
        target *= 2;
    if (target > max)
        target = max;
    fresh = realloc(*data, target);
    if (!fresh)
        return -ENOMEM;
    *data = fresh;
    *size = target;
    return 0;
}

void varlink_input_done(struct varlink_input *input) {
    free(input->data);
    *input = VARLINK_INPUT_INIT(input->max_bytes);
}

int varlink_input_reserve(struct varlink_input *input, char **ret, size_t *ret_size) {
    int r;

    if (varlink_input_full(input))
        return 0;
    if (input->end == input->size) {
        if (input->start > 0) {
            memmove(input->data, input->data + input->start, varlink_input_pending(input));
            input->end -= input->start;
            input->scanned -= input->start;
            input->start = 0;
        }
        /* Less than half of it free: moving alone would have to be done again soon. */
        if (input->size < input->max_bytes && input->end >= input->size / 2) {
            r = grow(&input->data, &input->size, input->end + 1, input->max_bytes);
            if (r < 0)
                return r;
        }
    }
    *ret = input->data + input->end;
    *ret_size = input->size - input->end;
    return 1;
}

void varlink_input_commit(struct varlink_input *input, size_t size) {
    assert(size <= input->size - input->end);
    input->end += size;
}

ssize_t varlink_input_feed(struct varlink_input *input, const void *data, size_t size) {
    size_t taken = 0;

    while (taken < size) {
        size_t room;
        char *to;
        int r;

        r = varlink_input_reserve(input, &to, &room);
        if (r < 0)
            return r;
        if (r == 0)
            break;
        if (room > size - taken)
            room = size - taken;
        memcpy(to, (const char *) data + taken, room);
        varlink_input_commit(input, room);
        taken += room;
    }
    return (ssize_t) taken;
}

/* The NUL that ends the first message, or NULL. Looks at each byte once. */
static const char *find_end(struct varlink_input *input) {
    const char *nul;

    if (input->scanned == input->end)
        return NULL;
    nul = memchr(input->data + input->scanned, 0, input->end - input->scanned);
    input->scanned = nul ? (size_t) (nul - input->data) : input->end;
    return nul;
}

bool varlink_input_ready(struct varlink_input *input) {
    return !input->broken && find_end(input);
}

int varlink_input_take(struct varlink_input *input, json_t **ret) {
    json_error_t error;
    json_t *message;
    const char *nul;

    if (input->broken)
        return input->broken;
    nul = find_end(input);
    if (!nul)
        return varlink_input_full(input) ? (input->broken = -EMSGSIZE) : 0;

    message = json_loadb(input->data + input->start, (size_t) (nul - input->data) - input->start,
                         JSON_REJECT_DUPLICATES, &error);
    if (!message && json_error_code(&error) == json_error_out_of_memory)
        return -ENOMEM;
    if (!json_is_object(message)) {
        json_decref(message);
        return input->broken = -EBADMSG;
    }

    input->start = ++input->scanned;
    if (input->start == input->end)
        varlink_input_done(input); /* somebody who is silent costs nothing */
    *ret = message;
    return 1;
}

void varlink_output_done(struct varlink_output *output) {
    free(output->data);
    *output = VARLINK_OUTPUT_INIT(output->max_bytes);
}

struct append {
    struct varlink_output *output;
    size_t bytes; /* of this message, with those that found no room */
    int error;
};

static int append_bytes(const char *data, size_t size, void *userdata) {
    struct append *append = userdata;
    struct varlink_output *output = append->output;

    append->bytes += size;
    if (append->bytes > output->max_bytes) {
        append->error = -EMSGSIZE;
        return -1;
    }
    if (append->error == 0 && size > output->max_bytes - varlink_output_pending(output))
        append->error = -ENOBUFS; /* only counts from here on: would it fit into an empty queue? */
    if (append->error < 0)
        return 0;
    if (size > output->size - output->end) {
        append->error = grow(&output->data, &output->size, output->end + size, 2 * output->max_bytes);
        if (append->error < 0)
            return -1;
    }
    memcpy(output->data + output->end, data, size);
    output->end += size;
    return 0;
}

int varlink_output_append(struct varlink_output *output, const json_t *message) {
    struct append append = {.output = output};
    size_t end;

    if (!json_is_object(message))
        return -EINVAL;
    /* Only when at least as much is free as has to be moved: at most twice the limit is allocated. */
    if (output->start > 0 && output->start >= varlink_output_pending(output)) {
        memmove(output->data, output->data + output->start, varlink_output_pending(output));
        output->end -= output->start;
        output->start = 0;
    }
    end = output->end;
    if (json_dump_callback(message, append_bytes, &append, JSON_COMPACT) < 0 && append.error == 0)
        append.error = -EINVAL;
    if (append.error == 0 || append.error == -ENOBUFS)
        (void) append_bytes("", 1, &append);
    if (append.error < 0) {
        output->end = end;
        if (output->start == end)
            varlink_output_done(output);
    }
    return append.error;
}

const char *varlink_output_peek(const struct varlink_output *output, size_t *ret_size) {
    if (varlink_output_pending(output) == 0)
        return NULL;
    *ret_size = varlink_output_pending(output);
    return output->data + output->start;
}

int varlink_output_restore(struct varlink_output *output, const char *data, size_t size) {
    if (size > output->max_bytes)
        return -EMSGSIZE;
    if (size == 0)
        return 0;
    output->data = malloc(size);
    if (!output->data)
        return -ENOMEM;
    memcpy(output->data, data, size);
    output->start = 0;
    output->end = output->size = size;
    return 0;
}

void varlink_output_consume(struct varlink_output *output, size_t size) {
    assert(size <= varlink_output_pending(output));
    output->start += size;
    if (output->start == output->end)
        varlink_output_done(output);
}
