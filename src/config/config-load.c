/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Where configurations lie: the main file, the drop-ins, and the list of all services. */

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

#include "base/fd.h"
#include "base/strlist.h"
#include "config/config-build.h"

#define SUFFIX ".conf"
#define FILE_BYTES_MAX (16U * 1024 * 1024)

/* What belongs to one service. */
struct location {
    char *name;
    char *file;
    char **dropin_directories; /* of equally named files, that of the first directory counts */
};

static void location_done(struct location *location) {
    free(location->name);
    free(location->file);
    location->dropin_directories = strlist_free(location->dropin_directories);
}

/* "NAME" of "NAME.conf"; NULL where it is not of that form, hidden, or memory ran out. */
static char *without_suffix(const char *file_name) {
    size_t length = strlen(file_name);

    if (*file_name == '.' || length <= strlen(SUFFIX) ||
        strcmp(file_name + length - strlen(SUFFIX), SUFFIX) != 0)
        return NULL;
    return strndup(file_name, length - strlen(SUFFIX));
}

/* "foo@" of "foo@bar", whose file serves every instance that has none of its own; "" without an '@'. */
static char *template_of(const char *name) {
    const char *at = strchr(name, '@');

    return strndup(name, at ? (size_t) (at + 1 - name) : 0);
}

/* The service's own name, and that of its template. */
static int name_candidates(const char *service, char ***ret) {
    _cleanup_strlist_ char **names = NULL;
    char *template = template_of(service);
    int r;

    if (!template)
        return -ENOMEM;
    r = strlist_append(&names, NULL, strdup(service));
    if (r >= 0 && *template)
        r = strlist_append(&names, NULL, template);
    else
        free(template);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(names);
    return 0;
}

/* A name: looked for in both directories, then as an instance of a template. Errors of stat(2) other than
 * that there is no such file end the search: what the administrator wrote may be behind them. */
static int locate_by_name(const char *service, const struct config_paths *paths, struct location *location,
                          struct err *err) {
    const char *const directories[] = {paths->admin_dir, paths->vendor_dir};
    _cleanup_strlist_ char **names = NULL;
    int r = name_candidates(service, &names);

    if (r < 0)
        return r;
    location->name = strdup(service);
    if (!location->name)
        return -ENOMEM;
    for (char **name = names; *name; name++)
        for (size_t i = 0; i < ELEMENTSOF(directories) && !location->file; i++) {
            _cleanup_free_ char *file = NULL;
            struct stat st;

            if (!directories[i])
                continue;
            if (asprintf(&file, "%s/%s" SUFFIX, directories[i], *name) < 0) {
                file = NULL;
                return -ENOMEM;
            }
            if (stat(file, &st) == 0) {
                if (S_ISCHR(st.st_mode)) /* a link to /dev/null, as systemd masks units */
                    return err_set(
                        err, ENOENT, "NotFound",
                        "service '%s' is masked: %s leads to a device; remove that link to unmask it",
                        service, file);
                location->file = TAKE_PTR(file);
            } else if (errno != ENOENT && errno != ENOTDIR)
                return err_set(err, errno, "CannotRead", "cannot look for %s: %m", file);
        }
    if (!location->file)
        return err_set(err, ENOENT, "NotFound",
                       "there is no service '%s': no %s" SUFFIX
                       " in %s%s%s; write one there, or give a file's path "
                       "(with a slash in it)",
                       service, service, paths->admin_dir, paths->vendor_dir ? " or " : "",
                       paths->vendor_dir ? paths->vendor_dir : "");
    for (size_t i = 0; i < ELEMENTSOF(directories); i++)
        for (char **name = names; *name && directories[i]; name++) {
            r = strlist_append_format(&location->dropin_directories, "%s/%s" SUFFIX ".d", directories[i],
                                      *name);
            if (r < 0)
                return r;
        }
    return 0;
}

/* A path: that file, whatever its suffix. */
static int locate_by_path(const char *path, struct location *location) {
    const char *base = strrchr(path, '/') + 1;

    location->name = without_suffix(base);
    if (!location->name)
        location->name = strdup(base);
    location->file = strdup(path);
    if (!location->name || !location->file)
        return -ENOMEM;
    return strlist_append_format(&location->dropin_directories, "%s.d", path);
}

/* Names and paths of the drop-ins, by name. */
struct dropins {
    struct dropin {
        char *name, *path;
    } * items;
    size_t n;
};

static void dropins_done(struct dropins *dropins) {
    for (size_t i = 0; i < dropins->n; i++) {
        free(dropins->items[i].name);
        free(dropins->items[i].path);
    }
    free(dropins->items);
}

static int compare_dropins(const void *a, const void *b) {
    return strcmp(((const struct dropin *) a)->name, ((const struct dropin *) b)->name);
}

static int dropins_add(struct dropins *dropins, const char *directory, const char *name) {
    struct dropin *bigger, item = {0};

    for (size_t i = 0; i < dropins->n; i++)
        if (strcmp(dropins->items[i].name, name) == 0)
            return 0;
    bigger = reallocarray(dropins->items, dropins->n + 1, sizeof *bigger);
    if (!bigger)
        return -ENOMEM;
    dropins->items = bigger;
    item.name = strdup(name);
    if (!item.name)
        return -ENOMEM;
    if (asprintf(&item.path, "%s/%s", directory, name) < 0) {
        free(item.name);
        return -ENOMEM;
    }
    dropins->items[dropins->n++] = item;
    return 0;
}

/* Calls `found` with each file name of the form NAME.conf. A directory that is not there is empty. */
static int for_each_file(const char *directory, int (*found)(void *userdata, const char *file_name),
                         void *userdata) {
    _cleanup_closedir_ DIR *dir = NULL;
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
    dir = fdopendir(fd);
    if (!dir) {
        fd_close(fd);
        return -ENOMEM;
    }
    for (;;) {
        _cleanup_free_ char *name = NULL;
        struct dirent *entry;
        int r;

        errno = 0;
        entry = readdir(dir);
        if (!entry)
            return -errno;
        name = without_suffix(entry->d_name);
        if (!name)
            continue;
        r = found(userdata, entry->d_name);
        if (r < 0)
            return r;
    }
}

struct dropin_search {
    struct dropins *dropins;
    const char *directory;
};

static int on_dropin(void *userdata, const char *file_name) {
    struct dropin_search *search = userdata;

    return dropins_add(search->dropins, search->directory, file_name);
}

/* What nobody writes configurations in is not read: a FIFO would be an empty one. */
static int read_text(const struct config_builder *builder, const char *path, char **ret, size_t *ret_size) {
    struct stat st;

    if (builder->touching)
        builder->touching("", path);
    if (stat(path, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) /* of which open(2) says what is to be said */
        return -ENOTSUP;
    return fd_read_file_at(AT_FDCWD, path, FILE_BYTES_MAX, ret, ret_size);
}

static const char *explain(int error) {
    return error == -E2BIG     ? "it is larger than 16 MiB"
           : error == -ENOTSUP ? "it is no regular file"
                               : strerror(-error);
}

/* A file or directory of drop-ins that is there but cannot be read is a mistake: it would be left out unseen.
 */
static int unreadable(struct config_builder *builder, const char *path, int error) {
    int r;

    if (error == -ENOMEM)
        return error;
    r = config_problems_add(builder->problems, path, 0, "cannot be read: %s", explain(error));
    return r == -EINVAL ? 0 : r;
}

static int read_dropins(struct config_builder *builder, char *const *directories) {
    _cleanup_(dropins_done) struct dropins dropins = {0};
    int r = 0;

    for (; *directories; directories++) {
        struct dropin_search search = {&dropins, *directories};

        r = for_each_file(*directories, on_dropin, &search);
        if (r < 0)
            r = unreadable(builder, *directories, r);
        if (r < 0)
            return r;
    }
    if (dropins.n > 0)
        qsort(dropins.items, dropins.n, sizeof *dropins.items, compare_dropins);
    for (size_t i = 0; i < dropins.n && r >= 0; i++) {
        _cleanup_free_ char *text = NULL;
        size_t size;

        r = read_text(builder, dropins.items[i].path, &text, &size);
        if (r >= 0)
            r = config_builder_read(builder, dropins.items[i].path, text, size);
        else
            r = unreadable(builder, dropins.items[i].path, r);
    }
    return r;
}

/* The name has been found, and is to become the name of files in the runtime directory. */
static int check_name(struct config_problems *problems, const char *service, const char *name) {
    size_t length = strlen(name);

    if (!config_name_is_valid(name))
        return config_problems_add(
            problems, service, 0,
            "'%.200s' cannot be a service's name: at most 200 letters, digits and _.@:-, no "
            "dot first",
            name);
    if (name[length - 1] == '@')
        return config_problems_add(problems, service, 0,
                                   "'%s' is a template; name an instance of it, such as %s1", name, name);
    return 0;
}

/* It is looked for before it is read. */
static void touch_main_file(const struct config_builder *builder, const char *service, const char *directory) {
    char path[PATH_MAX];

    if (!builder->touching)
        return;
    snprintf(path, sizeof path, "%s%s%s%s", directory ? directory : "", directory ? "/" : "", service,
             directory ? ".conf" : "");
    builder->touching("", path);
}

static int load(const char *service, const struct config_paths *paths, struct config_builder *builder,
                struct err *err) {
    _cleanup_(location_done) struct location location = {0};
    _cleanup_free_ char *text = NULL;
    bool is_path = strchr(service, '/') != NULL;
    size_t size;
    int r;

    touch_main_file(builder, service, is_path ? NULL : paths->admin_dir);
    if (is_path)
        r = locate_by_path(service, &location);
    else {
        r = check_name(builder->problems, service, service);
        if (r >= 0)
            r = locate_by_name(service, paths, &location, err);
    }
    if (r >= 0 && is_path)
        r = check_name(builder->problems, service, location.name);
    if (r < 0)
        return r;
    r = read_text(builder, location.file, &text, &size);
    if (r == -ENOENT)
        return err_set(err, ENOENT, "NotFound", "there is no configuration file %s", location.file);
    if (r < 0)
        return err_set(err, -r, "CannotRead", "cannot read the configuration file %s: %s", location.file,
                       explain(r));

    r = config_builder_start(builder, location.name);
    if (r < 0)
        return r;
    builder->config->file = TAKE_PTR(location.file);
    r = config_builder_read(builder, builder->config->file, text, size);
    if (r >= 0)
        r = read_dropins(builder, location.dropin_directories);
    return r < 0 ? r : config_builder_finish(builder);
}

int service_config_load(const char *service, const struct config_paths *paths,
                        struct config_problems *problems, struct service_config **ret, struct err *err) {
    _cleanup_(config_problems_done) struct config_problems own = {0};
    _cleanup_(config_builder_done) struct config_builder builder = {
        .problems = problems ? problems : &own, .touching = paths->touching, .run = paths->run};
    size_t before = builder.problems->n, found;
    int r = load(service, paths, &builder, err);

    found = builder.problems->n - before;
    if (found > 0 && r != -ENOMEM) {
        const char *first = builder.problems->lines[before];

        return found == 1 ? err_set(err, EINVAL, "BadConfiguration", "%s", first)
                          : err_set(err, EINVAL, "BadConfiguration", "%s (and %zu more)", first, found - 1);
    }
    if (r == -ENOMEM)
        return err_set(err, ENOMEM, "OutOfMemory", "cannot load service '%s': %m", service);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(builder.config);
    return 0;
}

struct list_search {
    const char *directory;
    char ***names;
    char ***masked;
};

static int on_main_file(void *userdata, const char *file_name) {
    struct list_search *search = userdata;
    _cleanup_free_ char *name = without_suffix(file_name), *path = NULL;
    struct stat st;

    if (!name)
        return -ENOMEM;
    if (!config_name_is_valid(name) || name[strlen(name) - 1] == '@' ||
        strlist_contains(*search->names, name) || strlist_contains(*search->masked, name))
        return 0;
    if (asprintf(&path, "%s/%s", search->directory, file_name) < 0) {
        path = NULL;
        return -ENOMEM;
    }
    if (stat(path, &st) < 0)
        return 0; /* a dangling link, or it has just gone */
    if (S_ISCHR(st.st_mode))
        return strlist_append(search->masked, NULL, TAKE_PTR(name));
    return S_ISREG(st.st_mode) ? strlist_append(search->names, NULL, TAKE_PTR(name)) : 0;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *) a, *(char *const *) b);
}

int service_config_list(const struct config_paths *paths, char ***ret) {
    const char *const directories[] = {paths->admin_dir, paths->vendor_dir};
    _cleanup_strlist_ char **names = NULL, **masked = NULL;

    for (size_t i = 0; i < ELEMENTSOF(directories); i++) {
        struct list_search search = {directories[i], &names, &masked};
        int r = directories[i] ? for_each_file(directories[i], on_main_file, &search) : 0;

        if (r < 0)
            return r;
    }
    if (!names) {
        names = calloc(1, sizeof *names);
        if (!names)
            return -ENOMEM;
    }
    qsort(names, strlist_length(names), sizeof *names, compare_names);
    *ret = TAKE_PTR(names);
    return 0;
}
