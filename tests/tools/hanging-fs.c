/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* hanging-fs answer|hang|hang-open DIRECTORY [TYPE]: a fake of a file server, as the kernel's FUSE interface
 * has it (linux/fuse.h, Documentation/filesystems/fuse.rst). Mounts itself at DIRECTORY, type fuse or
 * fuse.TYPE; says "ready" on standard output when the kernel has greeted it; SIGTERM and SIGINT unmount it.
 * It has byte-range locks of its own, of which this machine's kernel knows nothing.
 *
 *   answer     answers everything
 *   hang       answers the greeting, and nothing more
 *   hang-open  as `answer`, but who opens or reads a file waits for ever
 *
 * Its files: free.lock (nobody's), held.lock (a lock that process 4711 of nowhere holds), a.pid (content
 * "4711\n"), held.pid (both), link (to "elsewhere:4711"), sock (a socket), fifo, dir. */

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define REQUEST_MAX (128 * 1024)
#define STRANGER 4711

static const struct node {
    const char *name;
    mode_t mode;
    const char *content;
    bool held;
} nodes[] = {
    {"/", S_IFDIR | 0755, "", false},
    {"free.lock", S_IFREG | 0644, "", false},
    {"held.lock", S_IFREG | 0644, "", true},
    {"a.pid", S_IFREG | 0644, "4711\n", false},
    {"held.pid", S_IFREG | 0644, "4711\n", true},
    {"link", S_IFLNK | 0777, "elsewhere:4711", false},
    {"sock", S_IFSOCK | 0755, "", false},
    {"fifo", S_IFIFO | 0644, "", false},
    {"dir", S_IFDIR | 0755, "", false},
};

#define N_NODES (sizeof nodes / sizeof nodes[0])

static volatile sig_atomic_t ended;

static void end(int signal) {
    (void) signal;
    ended = 1;
}

static void reply(int fd, uint64_t unique, int error, const void *data, size_t size) {
    struct fuse_out_header header = {
        .len = (uint32_t) (sizeof header + size), .error = error, .unique = unique};
    struct iovec parts[] = {{&header, sizeof header}, {(void *) (uintptr_t) data, size}};

    if (writev(fd, parts, 2) < 0 && errno != ENOENT) /* ENOENT: who asked has been killed meanwhile */
        warn("answering");
}

/* Node numbers count from 1, which is the root (FUSE_ROOT_ID). */
static struct fuse_attr attributes_of(uint64_t number) {
    const struct node *node = &nodes[number - 1];

    return (struct fuse_attr){.ino = number,
                              .size = strlen(node->content),
                              .mode = node->mode,
                              .nlink = 1,
                              .mtime = 1000000000,
                              .ctime = 1000000000};
}

static void answer_greeting(int fd, const struct fuse_in_header *header) {
    struct fuse_init_out out = {.major = FUSE_KERNEL_VERSION,
                                .minor = 31,
                                .flags = FUSE_POSIX_LOCKS,
                                .max_write = 4096,
                                .max_readahead = 4096};

    reply(fd, header->unique, 0, &out, sizeof out);
    puts("ready");
    fflush(stdout);
}

static void answer_lookup(int fd, const struct fuse_in_header *header, const char *name) {
    for (size_t i = 1; i < N_NODES && header->nodeid == FUSE_ROOT_ID; i++)
        if (strcmp(nodes[i].name, name) == 0) {
            struct fuse_entry_out out = {.nodeid = i + 1, .attr = attributes_of(i + 1)};

            reply(fd, header->unique, 0, &out, sizeof out);
            return;
        }
    reply(fd, header->unique, -ENOENT, NULL, 0);
}

static void answer_lock_query(int fd, const struct fuse_in_header *header, const struct fuse_lk_in *in) {
    struct fuse_lk_out out = {.lk = {.type = F_UNLCK}};

    if (nodes[header->nodeid - 1].held)
        out.lk = (struct fuse_file_lock){.end = INT64_MAX, .type = F_WRLCK, .pid = STRANGER};
    else
        out.lk = (struct fuse_file_lock){.start = in->lk.start, .end = in->lk.end, .type = F_UNLCK};
    reply(fd, header->unique, 0, &out, sizeof out);
}

static void answer_read(int fd, const struct fuse_in_header *header, const struct fuse_read_in *in) {
    const char *content = nodes[header->nodeid - 1].content;
    size_t length = strlen(content), offset = in->offset < length ? in->offset : length;

    reply(fd, header->unique, 0, content + offset, length - offset < in->size ? length - offset : in->size);
}

static void answer(int fd, const struct fuse_in_header *header, bool no_opening) {
    const void *in = header + 1;

    if (header->nodeid > N_NODES)
        return reply(fd, header->unique, -ESTALE, NULL, 0);
    switch (header->opcode) {
    case FUSE_LOOKUP:
        return answer_lookup(fd, header, in);
    case FUSE_GETATTR:
        return reply(fd, header->unique, 0, &(struct fuse_attr_out){.attr = attributes_of(header->nodeid)},
                     sizeof(struct fuse_attr_out));
    case FUSE_OPEN:
    case FUSE_OPENDIR:
        if (!no_opening)
            reply(fd, header->unique, 0, &(struct fuse_open_out){0}, sizeof(struct fuse_open_out));
        return;
    case FUSE_READ:
        return answer_read(fd, header, in);
    case FUSE_READLINK:
        return reply(fd, header->unique, 0, nodes[header->nodeid - 1].content,
                     strlen(nodes[header->nodeid - 1].content));
    case FUSE_GETLK:
        return answer_lock_query(fd, header, in);
    case FUSE_SETLK:
        return reply(fd, header->unique,
                     nodes[header->nodeid - 1].held && ((const struct fuse_lk_in *) in)->lk.type != F_UNLCK
                         ? -EAGAIN
                         : 0,
                     NULL, 0);
    case FUSE_STATFS:
        return reply(fd, header->unique, 0, &(struct fuse_statfs_out){.st = {.bsize = 4096, .namelen = 255}},
                     sizeof(struct fuse_statfs_out));
    case FUSE_READDIR:
    case FUSE_FLUSH:
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
        return reply(fd, header->unique, 0, NULL, 0);
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT:
        return; /* they want no answer */
    default:
        reply(fd, header->unique, -ENOSYS, NULL, 0);
    }
}

int main(int argc, char *argv[]) {
    static char request[REQUEST_MAX] __attribute__((aligned(8)));
    const struct sigaction action = {.sa_handler = end}; /* without SA_RESTART: read(2) is to end */
    const struct fuse_in_header *header = (const void *) request;
    char options[128], type[32];
    bool hang, no_opening;
    int fd;

    if (argc < 3)
        errx(EXIT_FAILURE, "usage: hanging-fs answer|hang|hang-open DIRECTORY [TYPE]");
    hang = strcmp(argv[1], "hang") == 0;
    no_opening = strcmp(argv[1], "hang-open") == 0;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        err(EXIT_FAILURE, "/dev/fuse");
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fd);
    snprintf(type, sizeof type, "fuse%s%s", argc > 3 ? "." : "", argc > 3 ? argv[3] : "");
    if (mount("hanging-fs", argv[2], type, MS_NODEV | MS_NOSUID, options) < 0)
        err(EXIT_FAILURE, "mounting it at %s", argv[2]);
    while (!ended) {
        ssize_t n = read(fd, request, sizeof request);

        if (n < 0 && errno == ENODEV) /* unmounted by somebody else */
            return EXIT_SUCCESS;
        if (n < 0 && errno != EINTR && errno != ENOENT)
            err(EXIT_FAILURE, "reading the kernel's request");
        if (n < 0)
            continue;
        if (header->opcode == FUSE_INIT)
            answer_greeting(fd, header);
        else if (!hang)
            answer(fd, header, no_opening);
    }
    (void) umount2(argv[2], MNT_DETACH);
    return EXIT_SUCCESS;
}
