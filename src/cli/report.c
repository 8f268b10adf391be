/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/report.h"

#include <langinfo.h>
#include <string.h>

#include "cli/report-tree.h"
#include "cli/table.h"
#include "lock/verdict.h"

const char *report_text(json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

int report_exit_code(json_t *report) {
    enum verdict verdict = verdict_from_string(report_text(report, "verdict"));

    return verdict_exit_code(verdict >= 0 ? verdict : VERDICT_UNKNOWN);
}

bool report_is_utf8(void) {
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

/* What was not looked at, or could not be, and who could. */
static void print_unseen(json_t *report) {
    const char *unseen = report_text(report, "unseen");

    if (unseen[0])
        printf("not seen: %s\n", unseen);
    if (json_is_true(json_object_get(report, "tried")))
        puts("tried: the lock itself, for a moment: the kernel's list of locks is not the whole truth here");
    if (strcmp(report_text(report, "effort"), "quick") == 0)
        puts("quick: the likely holders only were looked at; without --quick every process is");
}

int report_print(const struct cli *cli, json_t *reports, size_t index) {
    json_t *report = json_array_get(reports, index);
    const char *verdict = report_text(report, "verdict"), *reason = report_text(report, "reason");
    int r;

    printf("%s%s: %s%s%s", index > 0 ? "\n" : "", report_text(report, "path"),
           color_for_verdict(cli, verdict), verdict, color_reset(cli));
    if (strcmp(reason, "none") != 0)
        printf(" (%s)", reason);
    printf("\n  %s\n", report_text(report, "summary"));
    r = report_tree_print(cli, reports, index);
    print_unseen(report);
    printf("advice: %s\n", report_text(report, "advice"));
    return r;
}
