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

#include "config/kind.h"

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

struct kea_daemon {
    const char *section, *process;
    char lease_family; /* '4' or '6', as in the lease file's default name; 0: it has no leases */
    bool has_peers; /* "control-sockets" as a map names other daemons' sockets */
};

static const struct kea_daemon daemons[] = {
    {.section = "Dhcp4", .process = "kea-dhcp4", .lease_family = '4'},
    {.section = "Dhcp6", .process = "kea-dhcp6", .lease_family = '6'},
    {.section = "DhcpDdns", .process = "kea-dhcp-ddns"},
    {.section = "Control-agent", .process = "kea-ctrl-agent", .has_peers = true},
};

struct reader {
    struct service_config *config;
    struct config_problems *problems;
    struct kea_json *json;
    const char *executable;          /* the word of ExecStart= that is the daemon; NULL: none is */
    const struct kea_daemon *daemon; /* the executable's, then that of the section; NULL: not known */
    char *config_argument;           /* the last -c FILE; NULL: none, or it comes from a variable */
    json_t *section;
    size_t n_sockets;
};

static void reader_done(struct reader *reader) {
    kea_json_free(reader->json);
    free(reader->config_argument);
}

/* A mistake in the service's own configuration. */
#define service_mistake(reader, ...)                                                                         \
    config_problems_add((reader)->problems, kind_place((reader)->config), 0, __VA_ARGS__)

/* A mistake in Kea's, at the value that stands at `path`. */
#define kea_mistake(reader, path, ...)                                                                       \
    ({                                                                                                       \
        const char *file_;                                                                                   \
        unsigned line_;                                                                                      \
        kea_json_where((reader)->json, (path), &file_, &line_);                                              \
        config_problems_add((reader)->problems, file_, line_, __VA_ARGS__);                                  \
    })

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static int join(const char *directory, const char *name, char **ret) {
    size_t length = strlen(directory);

    while (length > 0 && directory[length - 1] == '/')
        length--;
    return asprintf(ret, "%.*s/%s", (int) length, directory, name) < 0 ? -ENOMEM : 0;
}

/* Makes a path of the daemon's absolute. -ENOENT: it is relative and the working directory is not known. */
static int resolve(const struct reader *reader, const char *path, char **ret) {
    if (path[0] != '/')
        return reader->config->working_directory ? join(reader->config->working_directory, path, ret)
                                                 : -ENOENT;
    *ret = strdup(path);
    return *ret ? 0 : -ENOMEM;
}

/* Two names of one place: the same text, or the same last name in the same directory (/run and /var/run). */
static bool same_place(const char *a, const char *b) {
    struct stat in[2];
    const char *paths[2] = {a, b};

    if (strcmp(a, b) == 0)
        return true;
    if (a[0] != '/' || b[0] != '/' || strcmp(base_name(a), base_name(b)) != 0)
        return false;
    for (size_t i = 0; i < 2; i++) {
        _cleanup_free_ char *directory = strndup(paths[i], (size_t) (base_name(paths[i]) - paths[i]));
        if (!directory || stat(directory, &in[i]) < 0)
            return false;
    }
    return stat_same_inode(&in[0], &in[1]);
}

/* ---- the command line ---- */

static const struct kea_daemon *find_process(const char *name) {
    for (size_t i = 0; i < ELEMENTSOF(daemons); i++)
        if (strcmp(daemons[i].process, name) == 0)
            return &daemons[i];
    return NULL;
}

static int read_command(struct reader *reader) {
    for (char **word = reader->config->exec_start; word && *word; word++) {
        reader->daemon = find_process(base_name(*word));
        if (!reader->daemon)
            continue;
        reader->executable = *word;
        int r = kea_options_config_file(word + 1, &reader->config_argument);
        return r < 0 && r != -ENOENT ? r : 0;
    }
    return 0;
}

static int find_config_file(struct reader *reader) {
    struct service_config *config = reader->config;
    _cleanup_free_ char *path = NULL;
    struct stat ours, theirs;
    int r;

    if (!reader->config_argument)
        return config->config_file
                   ? 0
                   : service_mistake(reader, "Kind=kea needs ConfigFile=, or ExecStart= with a Kea "
                                             "daemon and -c FILE");
    r = resolve(reader, reader->config_argument, &path);
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

static int choose_section(struct reader *reader) {
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

static bool name_is_taken(const struct service_config *config, const char *name) {
    for (size_t i = 0; i < config->n_sockets; i++)
        if (strcmp(config->sockets[i]->name, name) == 0)
            return true;
    for (size_t i = 0; i < config->n_locks; i++)
        if (strcmp(config->locks[i]->name, name) == 0)
            return true;
    return false;
}

/* STEM, or STEM2, STEM3, ... */
static void choose_name(const struct service_config *config, const char *stem, size_t size,
                        char ret[static size]) {
    snprintf(ret, size, "%s", stem);
    for (unsigned i = 2; name_is_taken(config, ret); i++)
        snprintf(ret, size, "%s%u", stem, i);
}

/* Settings of the administrator's own section stay as they are. */
static int complete_socket(struct reader *reader, struct socket_config *socket) {
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

static int guard_socket(struct reader *reader, const char *path) {
    struct service_config *config = reader->config;
    struct socket_config *socket;
    char name[32];

    reader->n_sockets++;
    for (size_t i = 0; i < config->n_sockets; i++)
        if (config->sockets[i]->listen && same_place(config->sockets[i]->listen, path))
            return complete_socket(reader, config->sockets[i]);

    choose_name(config, "control", sizeof(name), name);
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
static int resolve_socket(const struct reader *reader, const char *name, char **ret) {
    const struct service_config *config = reader->config;
    _cleanup_free_ char *directory = NULL;
    const char *found = NULL;

    if (name[0] == '/') {
        *ret = strdup(name);
        return *ret ? 0 : -ENOMEM;
    }
    directory = service_config_getenv(config, "KEA_CONTROL_SOCKET_DIR");
    if (directory && directory[0] == '/')
        return join(directory, name, ret);
    for (size_t i = 0; i < config->n_sockets; i++) {
        const char *listen = config->sockets[i]->listen;
        if (!listen || listen[0] != '/' || strcmp(base_name(listen), base_name(name)) != 0)
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

/* Bytes that are no UTF-8, and NUL: see KEA_JSON_BYTE_BASE. U+EF00 to U+EFFF are ee bc 80 to ee bf bf. */
static bool has_odd_bytes(const char *text) {
    for (const unsigned char *p = (const unsigned char *) text; *p; p++)
        if (p[0] == 0xee && p[1] >= 0xbc)
            return true;
    return false;
}

/* A string below the map at `path`; absent or not a string is a mistake. */
static int read_string(struct reader *reader, const char *path, json_t *map, const char *key,
                       const char **ret) {
    json_t *value = json_object_get(map, key);
    char whole[96];

    snprintf(whole, sizeof(whole), "%s.%s", path, key);
    if (!value)
        return kea_mistake(reader, path, "%s has no '%s'", path, key);
    if (!json_is_string(value))
        return kea_mistake(reader, whole, "%s must be a string", whole);
    *ret = json_string_value(value);
    return 0;
}

static int read_socket(struct reader *reader, const char *path, json_t *map) {
    _cleanup_free_ char *socket = NULL;
    const char *type, *name;
    char where[96];
    int r;

    if (!json_is_object(map))
        return kea_mistake(reader, path, "%s must be a map", path);
    r = read_string(reader, path, map, "socket-type", &type);
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
    r = read_string(reader, path, map, "socket-name", &name);
    if (r < 0)
        return r;
    snprintf(where, sizeof(where), "%s.socket-name", path);
    if (!*name)
        return kea_mistake(reader, where, "%s is empty", where);
    if (has_odd_bytes(name))
        return kea_mistake(reader, where,
                           "%s has bytes that are no UTF-8, or NUL: latchd cannot guard such a path", where);
    r = resolve_socket(reader, name, &socket);
    if (r == -ENOENT)
        return kea_mistake(
            reader, where,
            "%s is '%.200s', a relative path: Kea up to 2.6 looks for it in its working directory, Kea "
            "3 in a directory of its own; make it absolute, or say where it is by a [Socket] section "
            "with ListenStream=/.../%.120s",
            where, name, base_name(name));
    if (r < 0)
        return r;
    if (strlen(socket) > SOCKET_PATH_MAX)
        return kea_mistake(reader, where,
                           "%s is %zu bytes long, but a socket's path has at most %zu: choose a shorter "
                           "one",
                           where, strlen(socket), SOCKET_PATH_MAX);
    return guard_socket(reader, socket);
}

static int read_sockets(struct reader *reader) {
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

/* ---- the PID file ---- */

/* The administrator's own section for that file, if there is one. */
static struct lock_config *find_lock(const struct service_config *config, const char *path) {
    for (size_t i = 0; i < config->n_locks; i++)
        if (config->locks[i]->path && same_place(config->locks[i]->path, path))
            return config->locks[i];
    return NULL;
}

static bool is_directory(const char *path) {
    struct stat st;

    return stat(path, &st) >= 0 && S_ISDIR(st.st_mode);
}

/* What is compiled in cannot be asked for: PREFIX/var/run/kea for a Kea installed to PREFIX (upstream's
 * default), /run/kea (Debian) and /var/run/kea for those of distributions. Kea makes none of them, so the one
 * that exists is it. */
static int default_pid_directory(const struct reader *reader, char **ret) {
    const char *fallback =
        !is_directory("/run/kea") && is_directory("/var/run/kea") ? "/var/run/kea" : "/run/kea";

    if (reader->executable && reader->executable[0] == '/') {
        const char *end = base_name(reader->executable);
        size_t length = (size_t) (end - reader->executable);
        if (length > strlen("/sbin/") && memcmp(end - strlen("/sbin/"), "/sbin/", strlen("/sbin/")) == 0) {
            _cleanup_free_ char *path = NULL;
            if (asprintf(&path, "%.*s/var/run/kea", (int) (length - strlen("/sbin/")), reader->executable) <
                0) {
                path = NULL;
                return -ENOMEM;
            }
            if (is_directory(path)) {
                *ret = TAKE_PTR(path);
                return 0;
            }
        }
    }
    *ret = strdup(fallback);
    return *ret ? 0 : -ENOMEM;
}

static int pid_directory(struct reader *reader, char **ret) {
    _cleanup_free_ char *written = service_config_getenv(reader->config, "KEA_PIDFILE_DIR");
    int r;

    if (!written)
        return default_pid_directory(reader, ret);
    if (!*written) { /* Kea puts "/" behind it */
        *ret = TAKE_PTR(written);
        return 0;
    }
    r = resolve(reader, written, ret);
    return r == -ENOENT
               ? service_mistake(reader,
                                 "KEA_PIDFILE_DIR=%s is relative to a working directory that is not known: "
                                 "write an absolute path, or WorkingDirectory=",
                                 written)
               : r;
}

static int read_pidfile(struct reader *reader) {
    struct service_config *config = reader->config;
    const char *base = base_name(reader->config_argument ? reader->config_argument : config->config_file);
    const char *dot = strrchr(base, '.');
    _cleanup_free_ char *directory = NULL, *path = NULL;
    struct lock_config *lock;
    char name[32];
    int length = dot ? (int) (dot - base) : (int) strlen(base);
    int r;

    if (length == 0)
        return service_mistake(
            reader,
            "Kea cannot make the name of its PID file from that of its configuration, '%s', and "
            "does not start: give the file a name like kea.conf",
            base);
    r = pid_directory(reader, &directory);
    if (r < 0)
        return r;
    _cleanup_free_ char *file = NULL;
    if (asprintf(&file, "%.*s.%s.pid", length, base, reader->daemon->process) < 0) {
        file = NULL;
        return -ENOMEM;
    }
    r = join(directory, file, &path);
    if (r < 0)
        return r;

    if (find_lock(config, path))
        return 0;
    choose_name(config, "pidfile", sizeof(name), name);
    lock = service_config_add_lock(config, name);
    if (!lock)
        return -ENOMEM;
    lock->style = LOCK_STYLE_PIDFILE;
    lock->path = TAKE_PTR(path);
    return 0;
}

/* ---- kea-lfc ---- */

/* Leases in a file are Kea's default. *ret_name is the file's name as written, NULL where none is. */
static int keeps_lease_file(struct reader *reader, bool *ret, const char **ret_name) {
    json_t *database = json_object_get(reader->section, "lease-database");
    json_t *persist = json_object_get(database, "persist");
    const char *type;
    char path[64];
    int r;

    snprintf(path, sizeof(path), "%s.lease-database", reader->daemon->section);
    *ret_name = NULL;
    if (!database) {
        *ret = true;
        return 0;
    }
    if (!json_is_object(database))
        return kea_mistake(reader, path, "%s must be a map", path);
    r = read_string(reader, path, database, "type", &type);
    if (r < 0)
        return r;
    if (persist && !json_is_boolean(persist)) {
        snprintf(path, sizeof(path), "%s.lease-database.persist", reader->daemon->section);
        return kea_mistake(reader, path, "%s must be true or false", path);
    }
    *ret = strcmp(type, "memfile") == 0 && !json_is_false(persist);
    if (*ret && json_object_get(database, "name"))
        return read_string(reader, path, database, "name", ret_name);
    return 0;
}

/* While the process that LEASEFILE.pid names is alive, Kea refuses to start ("unable to load leases from files
 * while the lease file cleanup is in progress"; Memfile_LeaseMgr::loadLeasesFromFiles()), and it goes by
 * kill(pid, 0): a number that was given out again is in the way for good. */
static int guard_lease_file(struct reader *reader, const char *helper, const char *lease_file) {
    _cleanup_free_ char *file = NULL, *path = NULL, *from_environment = NULL;
    const char *directory = json_string_value(json_object_get(reader->section, "data-directory"));
    struct lock_config *lock;
    char name[32];
    int r;

    if (!directory) /* of Kea 3 */
        directory = from_environment = service_config_getenv(reader->config, "KEA_DHCP_DATA_DIR");
    if (lease_file && *lease_file)
        r = asprintf(&file, "%s.pid", lease_file);
    else
        r = asprintf(&file, "%s/kea-leases%c.csv.pid", directory && *directory ? directory : "/var/lib/kea",
                     reader->daemon->lease_family);
    if (r < 0) {
        file = NULL;
        return -ENOMEM;
    }
    if (has_odd_bytes(file))
        return 0;
    r = resolve(reader, file, &path);
    if (r < 0)
        return r == -ENOENT ? 0 : r; /* relative to a directory that is not known */
    lock = find_lock(reader->config, path);
    if (!lock) {
        choose_name(reader->config, "lfc", sizeof(name), name);
        lock = service_config_add_lock(reader->config, name);
        if (!lock)
            return -ENOMEM;
        lock->style = LOCK_STYLE_PIDFILE;
        lock->path = TAKE_PTR(path);
    }
    if (!lock->helper)
        lock->helper = strdup(helper);
    return lock->helper ? 0 : -ENOMEM;
}

/* kea-lfc is installed beside its daemon. The path is resolved, as /proc/PID/exe will show it. */
static int allow_executable(struct reader *reader, const char *path, const char *lease_file) {
    _cleanup_free_ char *resolved = realpath(path, NULL);
    int r = service_config_allow_orphan(reader->config, resolved ? resolved : path);

    return r < 0 ? r : guard_lease_file(reader, resolved ? resolved : path, lease_file);
}

static int read_helper(struct reader *reader) {
    _cleanup_free_ char *written = NULL, *beside = NULL, *resolved = NULL;
    const char *lease_file = NULL;
    bool needed = false;
    int r = reader->daemon->lease_family ? keeps_lease_file(reader, &needed, &lease_file) : 0;

    if (r < 0 || !needed)
        return r;
    written = service_config_getenv(reader->config, "KEA_LFC_EXECUTABLE");
    if (written && !*written)
        return 0; /* Kea then runs nothing */
    if (written && written[0] != '/')
        return service_mistake(reader, "KEA_LFC_EXECUTABLE=%s must be an absolute path", written);
    if (written)
        return allow_executable(reader, written, lease_file);

    if (!reader->executable || reader->executable[0] != '/')
        return allow_executable(reader, "/usr/sbin/kea-lfc", lease_file);
    resolved = realpath(reader->executable, NULL);
    const char *daemon = resolved ? resolved : reader->executable;
    if (asprintf(&beside, "%.*skea-lfc", (int) (base_name(daemon) - daemon), daemon) < 0) {
        beside = NULL;
        return -ENOMEM;
    }
    return allow_executable(reader, access(beside, F_OK) < 0 ? "/usr/sbin/kea-lfc" : beside, lease_file);
}

/* ---- */

int kind_kea_read(struct service_config *config, struct config_problems *problems) {
    static int (*const steps[])(struct reader *) = {read_sockets, read_pidfile, read_helper};
    _cleanup_(reader_done) struct reader reader = {.config = config, .problems = problems};
    int result = 0;

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
