/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Kind=kea: kea-dhcp4, kea-dhcp6, kea-dhcp-ddns and kea-ctrl-agent.
 *
 * Where Kea keeps what, tried with 2.2.0 (Debian) and, for 3.x, from its documentation:
 * - a control socket S is bound by the daemon after it has locked S.lock with flock(2);
 * - the PID file is DIR/BASE.PROCESS.pid: DIR is $KEA_PIDFILE_DIR, else compiled in; BASE is the name of the
 *   configuration file as -c has it, without its directories and its last extension ("kea.conf.new" gives
 *   "kea.conf"; a name like ".conf", of which nothing is left, Kea refuses);
 * - with leases in files a DHCP server runs kea-lfc now and then, $KEA_LFC_EXECUTABLE or the one it was
 *   installed with, and hands it all of its descriptors; kea-lfc's own PID file is LEASEFILE.pid. */

#include "config/kind-kea-reader.h"

#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "config/kea-json.h"
#include "config/kea-options.h"

#define SOCKET_PATH_MAX (sizeof(((struct sockaddr_un *) NULL)->sun_path) - 1) /* 107, see unix(7) */

static const struct kea_daemon daemons[] = {
    {.section = "Dhcp4", .process = "kea-dhcp4", .lease_family = '4'},
    {.section = "Dhcp6", .process = "kea-dhcp6", .lease_family = '6'},
    {.section = "DhcpDdns", .process = "kea-dhcp-ddns"},
    {.section = "Control-agent", .process = "kea-ctrl-agent", .has_peers = true},
};

static void reader_done(struct kea_reader *reader) {
    kea_json_free(reader->json);
    free(reader->config_argument);
}

/* ---- the command line ---- */

static const struct kea_daemon *find_process(const char *name) {
    for (size_t i = 0; i < ELEMENTSOF(daemons); i++)
        if (strcmp(daemons[i].process, name) == 0)
            return &daemons[i];
    return NULL;
}

static int read_command(struct kea_reader *reader) {
    for (char **word = reader->config->exec_start; word && *word; word++) {
        reader->daemon = find_process(kind_base_name(*word));
        if (!reader->daemon)
            continue;
        reader->executable = *word;
        int r = kea_options_config_file(word + 1, &reader->config_argument);
        return r < 0 && r != -ENOENT ? r : 0;
    }
    return 0;
}

static int find_config_file(struct kea_reader *reader) {
    struct service_config *config = reader->config;
    _cleanup_free_ char *path = NULL;
    struct stat ours, theirs;
    int r;

    if (!reader->config_argument)
        return config->config_file
                   ? 0
                   : service_mistake(reader, "Kind=kea needs ConfigFile=, or ExecStart= with a Kea "
                                             "daemon and -c FILE");
    r = kea_reader_resolve(reader, reader->config_argument, &path);
    if (r == -ENOENT)
        return service_mistake(
            reader,
            "ExecStart= has -c %s, which is relative to a working directory that is not known: "
            "write an absolute path, or WorkingDirectory=",
            reader->config_argument);
    if (r < 0)
        return r;
    if (!config->config_file) {
        config->config_file = TAKE_PTR(path);
        return 0;
    }
    if (strcmp(path, config->config_file) == 0 ||
        (stat(path, &ours) >= 0 && stat(config->config_file, &theirs) >= 0 &&
         stat_same_inode(&ours, &theirs)))
        return 0;
    return service_mistake(reader,
                           "ConfigFile=%s, but ExecStart= starts Kea with -c %s: they must be the same file",
                           config->config_file, path);
}

/* ---- whose configuration it is ---- */

/* "'A', 'B'": the names of all top-level members, or only of the daemons' sections. */
static int list_sections(const json_t *root, bool daemons_only, char **ret) {
    char *text = strdup("");
    const char *key;
    json_t *value;

    json_object_foreach((json_t *) (uintptr_t) root, key, value) {
        bool known = false;
        for (size_t i = 0; i < ELEMENTSOF(daemons); i++)
            known = known || strcmp(daemons[i].section, key) == 0;
        if (!text || (daemons_only && !known))
            continue;
        char *longer;
        int r = asprintf(&longer, "%s%s'%.40s'", text, *text ? ", " : "", key);
        free(text);
        text = r < 0 ? NULL : longer;
    }
    *ret = text;
    return text ? 0 : -ENOMEM;
}

static int choose_section(struct kea_reader *reader) {
    const struct kea_daemon *only = NULL;
    _cleanup_free_ char *names = NULL;
    json_t *root = reader->json->root;
    size_t n = 0;
    int r;

    for (size_t i = 0; i < ELEMENTSOF(daemons); i++)
        if (json_object_get(root, daemons[i].section)) {
            only = &daemons[i];
            n++;
        }
    r = list_sections(root, n > 0, &names);
    if (r < 0)
        return r;
    if (n == 0)
        return kea_mistake(reader, "",
                           "this configures no daemon of Kea: it has none of Dhcp4, Dhcp6, DhcpDdns and "
                           "Control-agent, but %s",
                           *names ? names : "nothing");
    if (!reader->daemon && n > 1)
        return kea_mistake(reader, "",
                           "this configures several daemons (%s), and ExecStart= does not tell which: "
                           "its program must be kea-dhcp4, kea-dhcp6, kea-dhcp-ddns or kea-ctrl-agent",
                           names);
    if (!reader->daemon)
        reader->daemon = only;
    reader->section = json_object_get(root, reader->daemon->section);
    if (!reader->section)
        return kea_mistake(reader, "", "ExecStart= starts %s, which needs '%s', but this configures %s",
                           reader->daemon->process, reader->daemon->section, names);
    if (!json_is_object(reader->section))
        return kea_mistake(reader, reader->daemon->section, "%s must be a map", reader->daemon->section);
    return 0;
}

/* ---- control sockets ---- */

/* Settings of the administrator's own section stay as they are. */
static int complete_socket(struct kea_reader *reader, struct socket_config *socket) {
    if (socket->owner == SOCKET_OWNER_LATCHD)
        return service_mistake(
            reader,
            "[Socket %s]: Owner=latchd cannot work for %s: Kea locks and binds its control sockets "
            "by itself; write Owner=daemon",
            socket->name, socket->listen);
    if ((int) socket->probe < 0 || socket->probe >= SOCKET_PROBE_MAX)
        socket->probe = SOCKET_PROBE_KEA;
    if (!socket->lock.path && !socket->lock_none &&
        asprintf(&socket->lock.path, "%s.lock", socket->listen) < 0) {
        socket->lock.path = NULL;
        return -ENOMEM;
    }
    return 0;
}

static int guard_socket(struct kea_reader *reader, const char *path) {
    struct service_config *config = reader->config;
    struct socket_config *socket;
    char name[32];

    reader->n_sockets++;
    for (size_t i = 0; i < config->n_sockets; i++)
        if (config->sockets[i]->listen && kind_same_place(config->sockets[i]->listen, path))
            return complete_socket(reader, config->sockets[i]);

    kind_choose_name(config, "control", sizeof(name), name);
    socket = service_config_add_socket(config, name);
    if (!socket)
        return -ENOMEM;
    socket->owner = SOCKET_OWNER_DAEMON;
    socket->probe = SOCKET_PROBE_KEA;
    socket->lock.style = LOCK_STYLE_FLOCK;
    socket->listen = strdup(path);
    return socket->listen ? complete_socket(reader, socket) : -ENOMEM;
}

/* Kea up to 2.6 takes a relative name below its working directory, Kea 3 below $KEA_CONTROL_SOCKET_DIR, which
 * only it knows, or a compiled-in directory: only evidence tells. -ENOENT: there is none. */
static int resolve_socket(const struct kea_reader *reader, const char *name, char **ret) {
    const struct service_config *config = reader->config;
    _cleanup_free_ char *directory = NULL;
    const char *found = NULL;

    if (name[0] == '/') {
        *ret = strdup(name);
        return *ret ? 0 : -ENOMEM;
    }
    directory = service_config_getenv(config, "KEA_CONTROL_SOCKET_DIR");
    if (directory && directory[0] == '/')
        return kind_join(directory, name, ret);
    for (size_t i = 0; i < config->n_sockets; i++) {
        const char *listen = config->sockets[i]->listen;
        if (!listen || listen[0] != '/' || strcmp(kind_base_name(listen), kind_base_name(name)) != 0)
            continue;
        if (found)
            return -ENOENT;
        found = listen;
    }
    if (!found)
        return -ENOENT;
    *ret = strdup(found);
    return *ret ? 0 : -ENOMEM;
}

static int read_socket(struct kea_reader *reader, const char *path, json_t *map) {
    _cleanup_free_ char *socket = NULL;
    const char *type, *name;
    char where[96];
    int r;

    if (!json_is_object(map))
        return kea_mistake(reader, path, "%s must be a map", path);
    r = kea_reader_read_string(reader, path, map, "socket-type", &type);
    if (r < 0)
        return r;
    if (strcmp(type, "http") == 0 || strcmp(type, "https") == 0)
        return 0; /* since Kea 2.7; there is no file to guard */
    if (strcmp(type, "unix") != 0) {
        snprintf(where, sizeof(where), "%s.socket-type", path);
        return kea_mistake(reader, where,
                           "%s is '%.40s', but only 'unix' (and 'http', 'https' since Kea 2.7) exist", where,
                           type);
    }
    r = kea_reader_read_string(reader, path, map, "socket-name", &name);
    if (r < 0)
        return r;
    snprintf(where, sizeof(where), "%s.socket-name", path);
    if (!*name)
        return kea_mistake(reader, where, "%s is empty", where);
    if (kea_reader_has_odd_bytes(name))
        return kea_mistake(reader, where,
                           "%s has bytes that are no UTF-8, or NUL: latchd cannot guard such a path", where);
    r = resolve_socket(reader, name, &socket);
    if (r == -ENOENT)
        return kea_mistake(
            reader, where,
            "%s is '%.200s', a relative path: Kea up to 2.6 looks for it in its working directory, Kea "
            "3 in a directory of its own; make it absolute, or say where it is by a [Socket] section "
            "with ListenStream=/.../%.120s",
            where, name, kind_base_name(name));
    if (r < 0)
        return r;
    if (strlen(socket) > SOCKET_PATH_MAX)
        return kea_mistake(reader, where,
                           "%s is %zu bytes long, but a socket's path has at most %zu: choose a shorter "
                           "one",
                           where, strlen(socket), SOCKET_PATH_MAX);
    return guard_socket(reader, socket);
}

static int read_sockets(struct kea_reader *reader) {
    json_t *single = json_object_get(reader->section, "control-socket");
    json_t *list = json_object_get(reader->section, "control-sockets");
    int result = 0, r;
    char path[64];

    if (single) {
        snprintf(path, sizeof(path), "%s.control-socket", reader->daemon->section);
        result = read_socket(reader, path, single);
    }
    if (!list || (json_is_object(list) && reader->daemon->has_peers))
        return result;
    if (!json_is_array(list)) {
        snprintf(path, sizeof(path), "%s.control-sockets", reader->daemon->section);
        r = kea_mistake(reader, path, "%s must be a list", path);
        return r;
    }
    for (size_t i = 0; i < json_array_size(list) && result != -ENOMEM; i++) {
        snprintf(path, sizeof(path), "%s.control-sockets[%zu]", reader->daemon->section, i);
        r = read_socket(reader, path, json_array_get(list, i));
        if (r < 0)
            result = r;
    }
    return result;
}

/* ---- */

int kind_kea_read(struct service_config *config, config_run_t run, struct config_problems *problems) {
    static int (*const steps[])(struct kea_reader *) = {read_sockets, kea_reader_read_pidfile,
                                                        kea_reader_read_helper};
    _cleanup_(reader_done) struct kea_reader reader = {.config = config, .problems = problems};
    int result = 0;

    (void) run; /* Kea's configuration is a file that can be read */
    int r = read_command(&reader);
    if (r >= 0)
        r = find_config_file(&reader);
    if (r >= 0)
        r = kea_json_read(config->config_file, config->working_directory, problems, &reader.json);
    if (r >= 0)
        r = choose_section(&reader);
    if (r < 0)
        return r;
    for (size_t i = 0; i < ELEMENTSOF(steps); i++) {
        r = steps[i](&reader);
        if (r == -ENOMEM)
            return r;
        if (r < 0)
            result = r;
    }
    if (!config->type_set)
        config->type = reader.n_sockets > 0 ? SERVICE_TYPE_SOCKET : SERVICE_TYPE_SIMPLE;
    return result;
}
