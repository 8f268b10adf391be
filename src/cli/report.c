/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/report.h"

#include <string.h>
#include <time.h>

#include "base/value.h"
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

static void print_families(json_t *holder) {
    json_t *holds = json_object_get(holder, "holds");
    const char *separator = "";

    for (size_t i = 0; i < json_array_size(holds); i++) {
        printf("%s%s", separator, json_string_value(json_array_get(holds, i)));
        separator = ", ";
    }
    if (json_is_true(json_object_get(holder, "listener")))
        printf("%slistening socket", separator);
}

static void print_holder(json_t *holder, bool last) {
    char when[VALUE_FORMAT_MAX];
    json_int_t fd = json_integer_value(json_object_get(holder, "fd"));

    printf("  %s %s PID %lld (%s", last ? "└─" : "├─", report_text(holder, "comm"),
           (long long) json_integer_value(json_object_get(holder, "pid")), report_text(holder, "role"));
    if (report_text(holder, "unit")[0])
        printf(", unit %s", report_text(holder, "unit"));
    printf("), since %s, holds ",
           value_format_time((uint64_t) json_integer_value(json_object_get(holder, "startUSec")), when));
    print_families(holder);
    if (json_array_size(json_object_get(holder, "holds")) > 0)
        printf(" by descriptor %lld", (long long) fd);
    printf("\n  %s    %s\n", last ? " " : "│", report_text(holder, "cmdline"));
}

static void print_recorded(json_t *report) {
    json_t *recorded = json_object_get(report, "recorded"), *process = json_object_get(recorded, "process");
    const char *life = report_text(process, "life");

    if (!json_is_object(recorded))
        return;
    printf("  recorded  PID %lld: ", (long long) json_integer_value(json_object_get(report, "recordedPid")));
    if (strcmp(life, "gone") == 0)
        puts("no such process");
    else if (strcmp(life, "zombie") == 0)
        puts("dead, a zombie");
    else
        printf("%s, %s\n", life, report_text(process, "cmdline"));
}

void report_print(const struct cli *cli, json_t *report) {
    json_t *holders = json_object_get(report, "holders"), *queue = json_object_get(report, "queue");
    const char *verdict = report_text(report, "verdict"), *reason = report_text(report, "reason");
    size_t n = json_array_size(holders);

    printf("%s: %s%s%s", report_text(report, "path"), color_for_verdict(cli, verdict), verdict,
           color_reset(cli));
    if (strcmp(reason, "none") != 0)
        printf(" (%s)", reason);
    printf("\n  %s\n", report_text(report, "summary"));
    print_recorded(report);
    if (n > 0)
        puts("  held by");
    for (size_t i = 0; i < n; i++)
        print_holder(json_array_get(holders, i), i + 1 == n);
    if (json_is_integer(queue))
        printf("  queue     %lld of %lld connections wait\n", (long long) json_integer_value(queue),
               (long long) json_integer_value(json_object_get(report, "backlog")));
    if (json_is_true(json_object_get(report, "scanned")) &&
        json_is_false(json_object_get(report, "complete")))
        printf("  not seen  %lld of %lld processes could not be read (PID %lld first)\n",
               (long long) json_integer_value(json_object_get(report, "unreadableTotal")),
               (long long) json_integer_value(json_object_get(report, "processes")),
               (long long) json_integer_value(json_array_get(json_object_get(report, "unreadable"), 0)));
    printf("  advice    %s\n", report_text(report, "advice"));
}
