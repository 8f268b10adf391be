/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Kind=kea: the PID file, and kea-lfc with its own. See kind-kea.c for where Kea keeps what. */
#include "config/kind-kea-reader.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

/* ---- the PID file ---- */

/* The administrator's own section for that file, if there is one. */
static struct lock_config *find_lock(const struct service_config *config, const char *path) {
    for (size_t i = 0; i < config->n_locks; i++)
        if (config->locks[i]->path && kind_same_place(config->locks[i]->path, path))
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
static int default_pid_directory(const struct kea_reader *reader, char **ret) {
    const char *fallback =
        !is_directory("/run/kea") && is_directory("/var/run/kea") ? "/var/run/kea" : "/run/kea";

    if (reader->executable && reader->executable[0] == '/') {
        const char *end = kind_base_name(reader->executable);
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

static int pid_directory(struct kea_reader *reader, char **ret) {
    _cleanup_free_ char *written = service_config_getenv(reader->config, "KEA_PIDFILE_DIR");
    int r;

    if (!written)
        return default_pid_directory(reader, ret);
    if (!*written) { /* Kea puts "/" behind it */
        *ret = TAKE_PTR(written);
        return 0;
    }
    r = kea_reader_resolve(reader, written, ret);
    return r == -ENOENT
               ? service_mistake(reader,
                                 "KEA_PIDFILE_DIR=%s is relative to a working directory that is not known: "
                                 "write an absolute path, or WorkingDirectory=",
                                 written)
               : r;
}

int kea_reader_read_pidfile(struct kea_reader *reader) {
    struct service_config *config = reader->config;
    const char *base =
        kind_base_name(reader->config_argument ? reader->config_argument : config->config_file);
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
    r = kind_join(directory, file, &path);
    if (r < 0)
        return r;

    if (find_lock(config, path))
        return 0;
    kind_choose_name(config, "pidfile", sizeof(name), name);
    lock = service_config_add_lock(config, name);
    if (!lock)
        return -ENOMEM;
    lock->style = LOCK_STYLE_PIDFILE;
    lock->path = TAKE_PTR(path);
    return 0;
}

/* ---- kea-lfc ---- */

/* Leases in a file are Kea's default. *ret_name is the file's name as written, NULL where none is. */
static int keeps_lease_file(struct kea_reader *reader, bool *ret, const char **ret_name) {
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
    r = kea_reader_read_string(reader, path, database, "type", &type);
    if (r < 0)
        return r;
    if (persist && !json_is_boolean(persist)) {
        snprintf(path, sizeof(path), "%s.lease-database.persist", reader->daemon->section);
        return kea_mistake(reader, path, "%s must be true or false", path);
    }
    *ret = strcmp(type, "memfile") == 0 && !json_is_false(persist);
    if (*ret && json_object_get(database, "name"))
        return kea_reader_read_string(reader, path, database, "name", ret_name);
    return 0;
}

/* While the process that LEASEFILE.pid names is alive, Kea refuses to start ("unable to load leases from
 * files while the lease file cleanup is in progress"; Memfile_LeaseMgr::loadLeasesFromFiles()), and it goes
 * by kill(pid, 0): a number that was given out again is in the way for good. */
static int guard_lease_file(struct kea_reader *reader, const char *helper, const char *lease_file) {
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
    if (kea_reader_has_odd_bytes(file))
        return 0;
    r = kea_reader_resolve(reader, file, &path);
    if (r < 0)
        return r == -ENOENT ? 0 : r; /* relative to a directory that is not known */
    lock = find_lock(reader->config, path);
    if (!lock) {
        kind_choose_name(reader->config, "lfc", sizeof(name), name);
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
static int allow_executable(struct kea_reader *reader, const char *path, const char *lease_file) {
    _cleanup_free_ char *resolved = realpath(path, NULL);
    int r = service_config_allow_orphan(reader->config, resolved ? resolved : path);

    return r < 0 ? r : guard_lease_file(reader, resolved ? resolved : path, lease_file);
}

int kea_reader_read_helper(struct kea_reader *reader) {
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
    if (asprintf(&beside, "%.*skea-lfc", (int) (kind_base_name(daemon) - daemon), daemon) < 0) {
        beside = NULL;
        return -ENOMEM;
    }
    return allow_executable(reader, access(beside, F_OK) < 0 ? "/usr/sbin/kea-lfc" : beside, lease_file);
}
