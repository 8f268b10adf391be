/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Runs a fuzz target over recorded inputs without libFuzzer, so that `make check` keeps what fuzzing once
 * found. Each input goes in whole, cut off after every byte (a peer that dies in the middle of a message) and
 * with every byte inverted in turn. Called replay-NAME without arguments, it takes the files of
 * tests/fuzz/corpus/NAME. */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Cutting and inverting is quadratic in the input's length: longer ones only go in whole. */
#define MUTATE_MAX_BYTES ((size_t) 2048)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy of exactly this size on the heap, so that a read past its end is seen by ASan and valgrind. */
static void run_copy(const uint8_t *data, size_t size) {
    uint8_t *copy = malloc(size > 0 ? size : 1);
    if (!copy)
        abort();
    if (size > 0)
        memcpy(copy, data, size);
    (void) LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void run_mutations(uint8_t *data, size_t size) {
    for (size_t n = 0; n < size; n++)
        run_copy(data, n);
    for (size_t i = 0; i < size; i++) {
        data[i] ^= 0xff;
        run_copy(data, size);
        data[i] ^= 0xff;
    }
}

static int run_file(const char *path) {
    FILE *file = fopen(path, "re");
    uint8_t *data = NULL;
    size_t size = 0, room = 0, n;

    if (!file) {
        fprintf(stderr, "cannot open %s: %s\n", path, strerror(errno));
        return -errno;
    }
    do {
        if (size == room) {
            uint8_t *more = realloc(data, room += 65536);
            if (!more)
                abort();
            data = more;
        }
        n = fread(data + size, 1, room - size, file);
        size += n;
    } while (n > 0);
    if (ferror(file)) {
        fprintf(stderr, "cannot read %s\n", path);
        fclose(file);
        free(data);
        return -EIO;
    }
    fclose(file);

    run_copy(data, size);
    if (size <= MUTATE_MAX_BYTES)
        run_mutations(data, size);
    free(data);
    return 0;
}

/* Returns the number of files run, or -errno. */
static int run_path(const char *path) {
    struct dirent **entries;
    struct stat st;
    int n, r = 0, files = 0;

    if (stat(path, &st) < 0) {
        r = -errno;
        fprintf(stderr, "cannot find %s: %s\n", path, strerror(-r));
        return r;
    }
    if (!S_ISDIR(st.st_mode)) {
        r = run_file(path);
        return r < 0 ? r : 1;
    }

    n = scandir(path, &entries, NULL, alphasort);
    if (n < 0) {
        r = -errno;
        fprintf(stderr, "cannot read %s: %s\n", path, strerror(-r));
        return r;
    }
    for (int i = 0; i < n; i++) {
        char *name = NULL;
        if (r >= 0 && entries[i]->d_name[0] != '.') {
            if (asprintf(&name, "%s/%s", path, entries[i]->d_name) < 0)
                abort();
            r = run_file(name);
            files++;
        }
        free(name);
        free(entries[i]);
    }
    free(entries);
    return r < 0 ? r : files;
}

int main(int argc, char **argv) {
    const char *srcdir = getenv("srcdir");
    const char *name = strrchr(argv[0], '/');
    char *corpus = NULL;
    int files = 0;

    if (argc < 2) {
        name = name ? name + 1 : argv[0];
        if (strncmp(name, "replay-", strlen("replay-")) != 0) {
            fprintf(stderr, "usage: %s FILE|DIRECTORY...\n", argv[0]);
            return EXIT_FAILURE;
        }
        name += strlen("replay-");
        if (asprintf(&corpus, "%s/tests/fuzz/corpus/%s", srcdir ? srcdir : ".", name) < 0)
            abort();
        files = run_path(corpus);
        free(corpus);
    }
    for (int i = 1; i < argc && files >= 0; i++) {
        int n = run_path(argv[i]);
        files = n < 0 ? n : files + n;
    }
    if (files < 0)
        return EXIT_FAILURE;
    if (files == 0) {
        fprintf(stderr, "no inputs\n");
        return EXIT_FAILURE;
    }
    printf("%d inputs\n", files);
    return EXIT_SUCCESS;
}
