/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "probe/try.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#define FLOCK_TRIES 3
#define FLOCK_PAUSE_USEC 1000

/* Whether a flock could be had: both kinds are tried, for a shared one keeps only exclusive ones out. Another
 * prober may be trying at the same moment, so what is refused is asked for again. */
static enum family_state try_flock(int fd) {
    enum family_state state = FAMILY_UNKNOWN;

    for (unsigned i = 0; i < FLOCK_TRIES && state != FAMILY_FREE; i++) {
        if (i > 0)
            (void) usleep(FLOCK_PAUSE_USEC);
        if (flock(fd, LOCK_SH | LOCK_NB) == 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
            state = FAMILY_FREE;
        else
            state = errno == EWOULDBLOCK ? FAMILY_HELD : FAMILY_UNKNOWN;
        (void) flock(fd, LOCK_UN);
    }
    return state;
}

/* Asks the kernel itself, through `fd`, about what the list may hide. */
void lock_try_families(struct lock_facts *facts, int fd) {
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    facts->tried = true;
    if (facts->families[LOCK_FAMILY_FLOCK] != FAMILY_HELD)
        facts->families[LOCK_FAMILY_FLOCK] = try_flock(fd);
    /* fcntl(2): an OFD query conflicts with POSIX locks of everybody, our own process included, and with
     * other descriptions' OFD locks; l_pid is -1 for the latter. It takes nothing. */
    if (fcntl(fd, F_OFD_GETLK, &range) < 0)
        return;
    if (range.l_type == F_UNLCK) {
        for (enum lock_family f = LOCK_FAMILY_POSIX; f <= LOCK_FAMILY_OFD; f++)
            if (facts->families[f] != FAMILY_HELD)
                facts->families[f] = FAMILY_FREE;
    } else
        facts->families[range.l_pid == -1 ? LOCK_FAMILY_OFD : LOCK_FAMILY_POSIX] = FAMILY_HELD;
}
