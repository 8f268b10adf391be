/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/call.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"

/* O_NONBLOCK belongs to the open file description, which others may have as well (open(2)): a pipe or
 * terminal is opened once more for it. Where that is not allowed it is asked, before each write, whether
 * there is room: then a pipe takes PIPE_BUF bytes (pipe(7)). */
void call_output_open(struct call_output *output, bool terminal) {
    struct stat st;

    *output = (struct call_output){.fd = STDOUT_FILENO, .opened_fd = -EBADF, .terminal = terminal};
    if (fstat(STDOUT_FILENO, &st) < 0)
        return;
    output->socket = S_ISSOCK(st.st_mode);
    if (!S_ISFIFO(st.st_mode) && !S_ISCHR(st.st_mode))
        return;
    output->opened_fd = open("/proc/self/fd/1", O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (output->opened_fd >= 0)
        output->fd = output->opened_fd;
    else
        output->paced = true;
}

static ssize_t write_some(const struct call_output *output, const char *bytes, size_t size) {
    struct pollfd pollfd = {.fd = output->fd, .events = POLLOUT};
    ssize_t n;

    if (output->paced) {
        if (poll(&pollfd, 1, 0) == 0)
            return -EAGAIN;
        size = size < PIPE_BUF ? size : PIPE_BUF;
    }
    /* The signal of a broken pipe comes of a socket as well, unless it was turned off. */
    n = output->socket ? send(output->fd, bytes, size, MSG_DONTWAIT) : write(output->fd, bytes, size);
    return n < 0 ? -errno : n;
}

/* Whether the byte behind these may stand on a terminal: line feeds and tabs, and no other control character,
 * of those beyond ASCII neither (U+0080 to U+009F, which are C2 80 to C2 9F). */
static bool is_harmless(char before, char c) {
    unsigned char byte = (unsigned char) c;

    if (byte < 0x20)
        return c == '\n' || c == '\t';
    return byte != 0x7f && !((unsigned char) before == 0xc2 && byte >= 0x80 && byte < 0xa0);
}

ssize_t call_output_pass(void *userdata, const char *bytes, size_t size) {
    struct call_output *output = userdata;
    char shown[4096], last = output->last;
    ssize_t n;

    if (output->terminal) {
        size = size < sizeof shown ? size : sizeof shown;
        for (size_t i = 0; i < size; i++) {
            shown[i] = is_harmless(last, bytes[i]) ? bytes[i] : '?';
            last = bytes[i];
        }
        n = write_some(output, shown, size);
    } else
        n = write_some(output, bytes, size);
    if (n > 0)
        output->last = bytes[n - 1];
    return n;
}

void call_output_close(struct call_output *output) {
    if (output->terminal && output->last && output->last != '\n')
        (void) write_some(output, "\n", 1);
    output->opened_fd = fd_close(output->opened_fd);
}
