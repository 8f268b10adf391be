/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor/finding.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/value.h"
#include "doctor/facts.h"

static const char *const cause_names[DOCTOR_CAUSE_MAX] = {
#define X(name, text) [DOCTOR_##name] = text,
    DOCTOR_CAUSES(X)
#undef X
};
STRTAB_DEFINE(doctor_cause, enum doctor_cause, cause_names, DOCTOR_CAUSE_INVALID)

static const char *const severity_names[DOCTOR_SEVERITY_MAX] = {
    [DOCTOR_ERROR] = "error", [DOCTOR_WARNING] = "warning", [DOCTOR_HINT] = "hint"};
STRTAB_DEFINE(doctor_severity, enum doctor_severity, severity_names, DOCTOR_SEVERITY_INVALID)

void doctor_findings_done(struct doctor_findings *findings) {
    for (size_t i = 0; i < findings->n; i++) {
        free(findings->of[i].subject);
        free(findings->of[i].summary);
        free(findings->of[i].remedy);
        json_decref(findings->of[i].evidence);
    }
    free(findings->of);
    *findings = (struct doctor_findings){0};
}

struct doctor_finding *doctor_find(struct doctor_findings *findings, enum doctor_cause cause,
                                   enum doctor_severity severity, json_t *evidence,
                                   const char *subject_format, ...) {
    struct doctor_finding *bigger = reallocarray(findings->of, findings->n + 1, sizeof *bigger);
    char *subject = NULL;
    va_list args;
    int r;

    va_start(args, subject_format);
    r = vasprintf(&subject, subject_format, args);
    va_end(args);
    if (bigger)
        findings->of = bigger;
    if (!bigger || r < 0 || !evidence) {
        json_decref(evidence);
        if (r >= 0)
            free(subject);
        findings->failed = true;
        return NULL;
    }
    value_make_printable(subject);
    bigger[findings->n] = (struct doctor_finding){
        .cause = cause, .severity = severity, .subject = subject, .evidence = evidence};
    return &bigger[findings->n++];
}

_printf_(2, 0) static void append(char **text, const char *format, va_list args) {
    char *added = NULL, *whole = NULL;

    if (vasprintf(&added, format, args) < 0)
        return;
    value_make_printable(added);
    if (*text && asprintf(&whole, "%s; %s", *text, added) >= 0) {
        free(added);
        added = whole;
    }
    free(*text);
    *text = added;
}

void doctor_say(struct doctor_finding *finding, const char *format, ...) {
    va_list args;

    if (!finding)
        return;
    va_start(args, format);
    append(&finding->summary, format, args);
    va_end(args);
}

void doctor_advise(struct doctor_finding *finding, const char *format, ...) {
    va_list args;

    if (!finding)
        return;
    va_start(args, format);
    append(&finding->remedy, format, args);
    va_end(args);
}

static int compare(const struct doctor_finding *a, const struct doctor_finding *b) {
    return a->severity != b->severity ? (int) a->severity - (int) b->severity
                                      : (int) a->cause - (int) b->cause;
}

/* By insertion: those that are alike stay in the order in which they were found. */
void doctor_findings_sort(struct doctor_findings *findings) {
    for (size_t i = 1; i < findings->n; i++) {
        struct doctor_finding moved = findings->of[i];
        size_t j = i;

        for (; j > 0 && compare(&findings->of[j - 1], &moved) > 0; j--)
            findings->of[j] = findings->of[j - 1];
        findings->of[j] = moved;
    }
}

bool doctor_findings_have(const struct doctor_findings *findings, enum doctor_cause cause) {
    for (size_t i = 0; i < findings->n; i++)
        if (findings->of[i].cause == cause)
            return true;
    return false;
}

json_t *doctor_findings_to_json(const struct doctor_findings *findings) {
    json_t *array = json_array();

    for (size_t i = 0; array && i < findings->n; i++) {
        const struct doctor_finding *finding = &findings->of[i];

        if (json_array_append_new(array, json_pack("{s:s, s:s, s:s, s:s?, s:O, s:s?}", "cause",
                                                   doctor_cause_to_string(finding->cause), "severity",
                                                   doctor_severity_to_string(finding->severity), "subject",
                                                   finding->subject, "summary", finding->summary, "evidence",
                                                   finding->evidence, "remedy", finding->remedy)) < 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

const char *doctor_count(uint64_t number, char buffer[static DOCTOR_COUNT_MAX]) {
    if (number == DOCTOR_UNKNOWN)
        return "unknown";
    if (number == DOCTOR_INFINITY)
        return "no limit";
    snprintf(buffer, DOCTOR_COUNT_MAX, "%" PRIu64, number);
    return buffer;
}

json_t *doctor_number_to_json(uint64_t number) {
    return number == DOCTOR_UNKNOWN    ? json_null()
           : number == DOCTOR_INFINITY ? json_string("infinity")
                                       : json_integer((json_int_t) number);
}
