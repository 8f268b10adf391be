/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A bounded look at who listens on a unix socket: one non-blocking connect, closed at once. A socket that is
 * not of datagrams refuses the first try by its type (EPROTOTYPE) and sees nothing of it; then the other
 * types are tried. */

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/process.h"
#include "base/strtab.h"

enum peer_answer {
    PEER_NOT_TRIED,
    PEER_CONNECTED,  /* somebody holds the listener; whether anybody will answer is another question */
    PEER_REFUSED,    /* ECONNREFUSED: no socket of whatever type is bound to this file, in any namespace; of
                        an abstract name: nobody listens, or receives, under it in this one */
    PEER_QUEUE_FULL, /* EAGAIN: a listener with backlog + 1 connections waiting */
    PEER_UNCLEAR,    /* any other errno: says nothing about life */
    PEER_BOUND,      /* a socket is bound to the file, but nobody listens on it */
    PEER_ANSWER_MAX,
    PEER_ANSWER_INVALID = -EINVAL,
};
STRTAB_DECLARE(peer_answer, enum peer_answer);

struct peer_facts {
    enum peer_answer answer;
    int error; /* positive errno of connect(2), 0 when it succeeded */
    pid_t pid; /* who called listen(2) (SO_PEERCRED, unix(7)), maybe dead; 0 not known, as of datagrams */
    uid_t uid;
    enum process_life life; /* of that process: by SO_PEERPIDFD (Linux 6.5) where there is one */
};

/* Connects to the file NAME in the directory dir_fd (an O_PATH descriptor will do; no length limit).
 * Fails only for want of resources. */
int peer_look(int proc_fd, int dir_fd, const char *name, struct peer_facts *ret);

/* The same for the file that `file_fd` (O_PATH will do) stands for. */
int peer_look_file(int proc_fd, int file_fd, struct peer_facts *ret);

/* The same for the abstract socket NAME (without its '@'). */
int peer_look_abstract(int proc_fd, const char *name, struct peer_facts *ret);

/* Who made the listener that this connected unix socket came from, in *ret as after a look. -errno. */
int peer_identify(int proc_fd, int fd, struct peer_facts *ret);

/* Closes a connection that nobody read from. Never waits: what the other side has sent into it, descriptors of files
 * that take their time to close among it, goes with it, and before Linux 6.16 nothing forbids that. Returns -EBADF. */
int peer_close(int fd);

/* Starts a non-blocking connection to dir_fd/name: returns a connected descriptor, or -errno of connect(2):
 * a unix socket's connect never is "in progress". -ENOTSOCK: the file is no socket; a link is not followed.
 */
int peer_connect(int dir_fd, const char *name);

/* The same for an absolute path, which may be a link. */
int peer_connect_path(const char *path);

/* The same for the abstract name (without its '@'). -ECONNREFUSED: nobody listens under it in this network
 * namespace. */
int peer_connect_abstract(const char *name);

/* An address of the network. */
struct peer_address {
    struct sockaddr_storage name;
    socklen_t size;
};

/* ADDRESS:PORT, [ADDRESS]:PORT, *:PORT and localhost:PORT, all without asking anybody; every address of the
 * machine (*, 0.0.0.0, ::) is reached by its loopback. -EINVAL: something else, such as a host's name. */
int peer_parse_address(const char *text, struct peer_address *ret);

/* The same as an address to bind to: there * and 0.0.0.0 are all addresses of IPv4, [::] all of IPv6. */
int peer_parse_bind_address(const char *text, struct peer_address *ret);

/* Starts a connection; *ret_connecting: it is under way, and SO_ERROR tells when the descriptor becomes writable
 * (connect(2)). -errno. */
int peer_connect_address(const struct peer_address *address, bool *ret_connecting);
