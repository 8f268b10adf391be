/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The configurations that latchd run begins with. A child reads each of them before we do: one on a file system that
 * does not answer keeps the child, and nobody's daemon waits for it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/latchd.h"
#include "health/helper.h"
#include "runtime/state-file.h"
#include "service/config-trial.h"

struct trial {
    struct invocation *invocation;
    sd_event *event;
    struct helper *helper; /* NULL: it has ended, or could not be made */
    int first;             /* the word that it began with */
    const char *recorded;  /* that one's configuration from its record; NULL: the words' files */
    int done;              /* all words before this one are read */
    int error;             /* of the helper: 0 or -ETIMEDOUT or another; 1: it goes on */
    char line[CONFIG_TRIAL_LINE_MAX], last[CONFIG_TRIAL_LINE_MAX];
    size_t size;
};

/* The name of the service that a word stands for, or that the latchd before us served; owned by the caller. */
static char *name_of(const struct invocation *invocation, int place) {
    const char *word = json_string_value(
                   json_array_get(handover_get(invocation->handover, "services"), (size_t) place)),
               *slash, *dot;

    if (!word && place < invocation->n_words)
        word = invocation->words[place];
    if (!word)
        return NULL;
    slash = strrchr(word, '/');
    word = slash ? slash + 1 : word;
    dot = strrchr(word, '.');
    return slash && dot && strcmp(dot, ".conf") == 0 ? strndup(word, (size_t) (dot - word)) : strdup(word);
}

/* ---- the child ---- */

static void read_on_trial(const void *question, int fd, int out_fd) {
    const struct trial *trial = question;
    const struct invocation *invocation = trial->invocation;
    struct config_paths paths = options_config_paths(invocation->config_dir);
    int end = trial->recorded ? trial->first + 1 : invocation->n_words;

    (void) fd;
    config_trial_begin(out_fd, SIZE_MAX, &paths);
    for (int i = trial->first; i < end; i++) {
        if (trial->recorded) {
            _cleanup_free_ char *name = name_of(invocation, i);

            config_trial_read_recorded(name ? name : "", trial->recorded);
        } else
            config_trial_read(invocation->words[i], &paths);
        config_trial_end();
    }
}

/* ---- latchd ---- */

static void on_heard(const char *text, size_t size, void *userdata) {
    struct trial *trial = userdata;

    for (size_t i = 0; i < size; i++)
        if (text[i] == '\n') {
            trial->line[trial->size] = '\0';
            trial->done += trial->size == 0;
            memcpy(trial->last, trial->line, trial->size + 1);
            trial->size = 0;
        } else if (trial->size < sizeof trial->line - 1)
            trial->line[trial->size++] = text[i];
}

static void on_end(int error, const void *answer, size_t size, void *userdata) {
    struct trial *trial = userdata;

    (void) answer;
    (void) size;
    trial->helper = NULL;
    trial->error = error;
}

static void trial_end(struct trial *trial) {
    helper_free(trial->helper);
    trial->helper = NULL;
}

static void trial_done(struct trial *trial) {
    trial_end(trial);
    sd_event_unref(trial->event);
}

/* Without a process for it, it is read without a trial. */
static bool trial_begin(struct trial *trial, int first, const char *recorded) {
    trial_end(trial);
    trial->first = trial->done = first;
    trial->recorded = recorded;
    trial->last[0] = '\0';
    trial->size = 0;
    trial->error = 1;
    if ((!trial->event && sd_event_new(&trial->event) < 0) ||
        helper_start(trial->event, read_on_trial, trial, -EBADF, CONFIG_TRIAL_USEC, on_end, trial, &trial->helper) < 0)
        return false;
    helper_listen(trial->helper, CONFIG_TRIAL_USEC, on_heard);
    return true;
}

/* Whether that word has been read. */
static bool trial_await(struct trial *trial, int place) {
    while (trial->done <= place && trial->error == 1)
        if (sd_event_run(trial->event, UINT64_MAX) < 0)
            return true;
    return trial->done > place;
}

/* As it was: of the daemon that runs, or before the change of the program. A file that has become bad meanwhile, or
 * cannot be read, does not end anything. */
static int load_recorded(struct trial *trial, int place, bool on_trial, struct service_config **ret) {
    struct invocation *invocation = trial->invocation;
    _cleanup_free_ char *name = name_of(invocation, place), *text = NULL;

    if (!name || invocation->runtime_dir_fd < 0 ||
        state_file_read_config(invocation->runtime_dir_fd, name, &text, NULL) < 0 ||
        (on_trial && trial_begin(trial, place, text) && !trial_await(trial, place)) ||
        service_config_from_record(name, text, ret) < 0)
        return EXIT_BAD_CONFIG;
    fprintf(stderr, "latchd: service %s goes on with the configuration that it had\n", name);
    return 0;
}

/* Not bad, as far as anybody knows: it is to be tried again. */
static int load_unreadable(struct trial *trial, int place, struct service_config **ret) {
    struct invocation *invocation = trial->invocation;
    _cleanup_free_ char *reason = config_trial_describe(trial->last, trial->error == -ETIMEDOUT);
    _cleanup_err_ struct err err = {0};

    fprintf(stderr, "latchd: the configuration of service %s is not read: %s\n", invocation->words[place],
            reason ? reason : "out of memory");
    if (invocation->runtime_dir_fd < 0)
        invocation->runtime_dir_fd = latchd_open_runtime_dir(invocation, &err);
    return load_recorded(trial, place, true, ret) ? EXIT_FAILURE : 0;
}

static int load_word(struct trial *trial, int place, struct service_config **ret) {
    struct invocation *invocation = trial->invocation;
    bool readable = trial_await(trial, place);
    int code = readable ? latchd_load(invocation, invocation->words[place], ret)
                        : load_unreadable(trial, place, ret);

    if (!readable && place + 1 < invocation->n_words && !trial_begin(trial, place + 1, NULL))
        trial->done = invocation->n_words;
    if (code && readable && invocation->handover)
        code = load_recorded(trial, place, false, ret);
    return code;
}

/* Files that are good each, and go in a circle together. */
static int load_all_recorded(struct trial *trial, struct service_config **configs) {
    struct invocation *invocation = trial->invocation;

    for (int i = 0; i < invocation->n_words; i++) {
        int code;

        configs[i] = service_config_free(configs[i]);
        code = load_recorded(trial, i, false, &configs[i]);
        if (code)
            return code;
    }
    return latchd_check_order(configs, (size_t) invocation->n_words, false);
}

static int load_words(struct trial *trial, struct service_config **configs) {
    struct invocation *invocation = trial->invocation;
    int n = 0, code, worst = -1;

    if (!trial_begin(trial, 0, NULL))
        trial->done = invocation->n_words;
    for (int i = 0; i < invocation->n_words; i++) {
        code = load_word(trial, i, &configs[n]);
        if (code)
            worst = worst == EXIT_BAD_CONFIG ? worst : code;
        else if (latchd_name_is_taken(configs, n, configs[n]->name))
            return latchd_fail_usage("this service is named twice", configs[n]->name);
        else
            n++;
    }
    trial_end(trial);
    code = worst >= 0 ? worst : latchd_check_order(configs, (size_t) n, false);
    return code >= 0 && invocation->handover ? load_all_recorded(trial, configs) : code;
}

int latchd_load_all(struct invocation *invocation, struct service_config **configs) {
    struct trial trial = {.invocation = invocation};
    int code;

    if (invocation->n_words > 0) {
        code = load_words(&trial, configs);
        trial_done(&trial);
        return code;
    }
    code = latchd_load(invocation, NULL, &configs[0]);
    if (code && invocation->handover)
        code = load_recorded(&trial, 0, false, &configs[0]);
    return code ? code : latchd_check_order(configs, 1, false);
}
