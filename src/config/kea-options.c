/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config/kea-options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* -c, -t, -p and -P take an argument, in a word of its own or not; other letters may stand before them. */
static const char *find_config_argument(char *const words[]) {
    const char *found = NULL;

    for (; *words && strcmp(*words, "--") != 0; words++) {
        if ((*words)[0] != '-')
            continue;
        for (const char *letter = *words + 1; *letter; letter++) {
            if (!strchr("ctpP", *letter))
                continue;
            const char *argument = letter[1] ? letter + 1 : words[1];
            if (*letter == 'c')
                found = argument;
            if (!letter[1] && argument)
                words++;
            break;
        }
    }
    return found;
}

/* Words of ExecStart= still have their variables in them, and $$ for a dollar sign. -ENOENT: a variable. */
static int unescape_dollars(const char *word, char **ret) {
    char *text = strdup(word), *out = text;

    if (!text)
        return -ENOMEM;
    for (const char *p = word; *p; p++) {
        if (*p == '$' && *++p != '$') {
            free(text);
            return -ENOENT;
        }
        *out++ = *p;
    }
    *out = 0;
    *ret = text;
    return 0;
}

int kea_options_config_file(char *const words[], char **ret) {
    const char *argument = find_config_argument(words);
    int r = argument ? unescape_dollars(argument, ret) : 0;

    return r < 0 ? r : argument != NULL;
}
