/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The Varlink framing under libFuzzer: the first byte chooses how the rest is cut into pieces and how tight
 * the limits are. Whatever is taken out goes through the output queue in short writes and must come back the
 * same. */

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "varlink/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Sends a message through a pair of queues. */
static void round_trip(const json_t *message, size_t piece) {
    struct varlink_output output = VARLINK_OUTPUT_INIT(1 << 20);
    struct varlink_input input = VARLINK_INPUT_INIT(1 << 20);
    json_t *same = NULL;
    const char *text;
    size_t size;

    assert(varlink_output_append(&output, message) == 0);
    while ((text = varlink_output_peek(&output, &size))) {
        if (size > piece)
            size = piece;
        assert(varlink_input_feed(&input, text, size) == (ssize_t) size);
        varlink_output_consume(&output, size);
    }
    assert(varlink_input_take(&input, &same) == 1);
    assert(json_equal(same, message));
    json_decref(same);
    assert(varlink_input_take(&input, &same) == 0);
    varlink_input_done(&input);
    varlink_output_done(&output);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct varlink_input input;
    size_t piece, at = 1;
    int r = 0;

    if (size == 0)
        return 0;
    piece = 1 + data[0] % 32;
    input = VARLINK_INPUT_INIT(data[0] & 0x80 ? 64 : 1 << 16);

    while (at < size && r >= 0) {
        size_t rest = size - at < piece ? size - at : piece;
        ssize_t fed = varlink_input_feed(&input, data + at, rest);
        json_t *message;

        assert(fed >= 0 && (size_t) fed <= rest);
        assert((size_t) fed == rest || varlink_input_full(&input));
        assert(varlink_input_pending(&input) <= input.max_bytes);
        at += (size_t) fed;
        for (;;) {
            bool ready = varlink_input_ready(&input);

            r = varlink_input_take(&input, &message);
            if (r <= 0) {
                assert(!ready || r == -EBADMSG || r == -ENOMEM);
                break;
            }
            assert(ready && json_is_object(message));
            round_trip(message, piece);
            json_decref(message);
        }
        assert(r != 0 || !varlink_input_full(&input));
    }
    if (r == -EBADMSG || r == -EMSGSIZE) {
        json_t *message;

        assert(!varlink_input_ready(&input));
        assert(varlink_input_take(&input, &message) == r);
    }
    varlink_input_done(&input);
    return 0;
}
