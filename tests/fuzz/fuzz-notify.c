/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Any bytes are a notification, maybe a bad one; what is taken from it keeps to its bounds. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "notify/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct notify_message m;

    if (notify_message_parse((const char *) data, size, &m) < 0)
        return 0;
    if (size > NOTIFY_MESSAGE_MAX + 1 || memchr(data, '\0', size > 0 ? size - 1 : 0))
        abort();
    if (strnlen(m.status, sizeof m.status) == sizeof m.status || (!m.has_status && m.status[0]))
        abort();
    for (const char *p = m.status; *p; p++)
        if ((unsigned char) *p < ' ' || *p == 0x7f)
            abort();
    if (m.fd_name[0] && !notify_fd_name_is_valid(m.fd_name))
        abort();
    if (m.main_pid < 0 || m.error_number < 0 || m.exit_status < 0 || m.exit_status > 255 ||
        (unsigned) m.phase > NOTIFY_PHASE_STOPPING)
        abort();
    return 0;
}
