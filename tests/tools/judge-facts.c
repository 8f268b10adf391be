/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Judges anew what `latchctl probe --facts` printed, which stands on its standard input: a line for each,
 * "VERDICT REASON". */

#include <stdio.h>
#include <stdlib.h>

#include "lock/verdict.h"

static int judge(json_t *element) {
    _cleanup_lock_facts_ struct lock_facts facts = {0};
    struct lock_judgement judgement;
    const char *where = NULL;
    int r = lock_facts_from_json(json_object_get(element, "facts"), &facts, &where);

    if (r < 0) {
        fprintf(stderr, "judge-facts: these are no facts: %s\n", where ? where : "out of memory");
        return r;
    }
    judgement = lock_judge(&facts, NULL);
    printf("%s %s\n", verdict_to_string(judgement.verdict), verdict_reason_to_string(judgement.reason));
    return 0;
}

int main(void) {
    json_error_t error;
    json_t *all = json_loadf(stdin, 0, &error), *element;
    int code = EXIT_SUCCESS;
    size_t i;

    if (!json_is_array(all)) {
        fprintf(stderr, "judge-facts: no array: line %d: %s\n", error.line, error.text);
        json_decref(all);
        return EXIT_FAILURE;
    }
    json_array_foreach(all, i, element) if (judge(element) < 0) code = EXIT_FAILURE;
    json_decref(all);
    return code;
}
