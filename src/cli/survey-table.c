/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/survey-table.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/value.h"
#include "cli/table.h"
#include "lock/describe.h"
#include "base/cgroup.h"
#include "probe/survey.h"

#define CELL_MAX 160

enum column {
    COLUMN_VERDICT,
    COLUMN_REASON,
    COLUMN_KIND,
    COLUMN_MODE,
    COLUMN_HOLDER,
    COLUMN_RECORDED,
    COLUMN_WAITERS,
    COLUMN_QUEUE,
    COLUMN_UNIT,
    COLUMN_PATH,
    COLUMN_MAX,
};

/* Whose holders are told: the listener that stood at the path once, where that is what it is about. */
static const struct lock_facts *subject_of(const struct lock_facts *facts) {
    return facts->kind == PATH_KIND_ABSENT && facts->n_displaced > 0 ? &facts->displaced[0] : facts;
}

/* "flock write, posix read" */
static void format_modes(const struct lock_facts *facts, char cell[static CELL_MAX]) {
    size_t used = 0;

    cell[0] = '\0';
    for (enum lock_family f = 0; f < LOCK_FAMILY_MAX; f++) {
        const char *mode = "";

        if (facts->families[f] != FAMILY_HELD)
            continue;
        for (size_t i = 0; i < facts->n_claims; i++)
            if (facts->claims[i].family == f && !facts->claims[i].waiting) {
                mode = facts->claims[i].shared ? " read" : " write";
                if (!facts->claims[i].shared)
                    break;
            }
        used += (size_t) snprintf(cell + used, CELL_MAX - used, "%s%s%s", used ? ", " : "",
                                  lock_family_to_string(f), mode);
    }
}

/* The one that the record names rather than others; how many more there are. */
static const struct holder_facts *format_holder(const struct lock_facts *facts, char cell[static CELL_MAX]) {
    const struct holder_facts *holder = lock_facts_find_holder(facts, facts->recorded.pid);

    cell[0] = '\0';
    if (!holder && facts->n_holders > 0)
        holder = &facts->holders[0];
    if (!holder)
        return NULL;
    snprintf(cell, CELL_MAX, facts->n_holders > 1 ? "%s[%d] +%zu" : "%s[%d]", holder->process.comm,
             (int) holder->process.pid, facts->n_holders - 1);
    return holder;
}

static void format_recorded(const struct lock_facts *facts, char cell[static CELL_MAX]) {
    enum process_life life = facts->recorded.process.life;

    cell[0] = '\0';
    if (facts->recorded.pid > 0)
        snprintf(cell, CELL_MAX, "%d%s", (int) facts->recorded.pid,
                 life == PROCESS_GONE     ? " (gone)"
                 : life == PROCESS_ZOMBIE ? " (zombie)"
                                          : "");
}

static unsigned count_waiters(const struct lock_facts *facts) {
    unsigned n = 0;

    for (size_t i = 0; i < facts->n_claims; i++)
        n += facts->claims[i].waiting;
    return n;
}

static int add_row(const struct cli *cli, struct table *table, const struct survey_item *item) {
    const struct lock_facts *facts = subject_of(&item->facts);
    const char *verdict = verdict_to_string(item->judgement.verdict);
    char modes[CELL_MAX], held_by[CELL_MAX], recorded[CELL_MAX], waiters[16] = "", queue[32] = "",
                                                                 unit[128] = "";
    const struct holder_facts *holder;
    _cleanup_free_ char *path = NULL;
    int r;

    format_modes(facts, modes);
    if (facts->has_socket && facts->kind == PATH_KIND_SOCKET)
        snprintf(modes, sizeof modes, "listening");
    holder = format_holder(facts, held_by);
    format_recorded(facts, recorded);
    if (count_waiters(facts) > 0)
        snprintf(waiters, sizeof waiters, "%u", count_waiters(facts));
    if (facts->listener.found && facts->listener.listening &&
        (facts->listener.queue > 0 || facts->listener.backlog > 0)) /* of datagrams none is told */
        snprintf(queue, sizeof queue, "%" PRIu32 "/%" PRIu64, facts->listener.queue,
                 (uint64_t) facts->listener.backlog + 1);
    if (holder)
        cgroup_unit(holder->process.cgroup, unit, sizeof unit);
    if (asprintf(&path, "%s%s%s%s%s", facts->path, facts->unlinked ? " (deleted)" : "",
                 item->path_note ? " (" : "", item->path_note ? item->path_note : "",
                 item->path_note ? ")" : "") < 0)
        return -ENOMEM;
    value_make_printable(path);
    r = table_add(table, (const char *const[COLUMN_MAX]){
                             [COLUMN_VERDICT] = verdict,
                             [COLUMN_REASON] = verdict_reason_to_string(item->judgement.reason),
                             [COLUMN_KIND] = path_kind_to_string(facts->kind),
                             [COLUMN_MODE] = *modes ? modes : NULL,
                             [COLUMN_HOLDER] = *held_by ? held_by : NULL,
                             [COLUMN_RECORDED] = *recorded ? recorded : NULL,
                             [COLUMN_WAITERS] = *waiters ? waiters : NULL,
                             [COLUMN_QUEUE] = *queue ? queue : NULL,
                             [COLUMN_UNIT] = *unit ? unit : NULL,
                             [COLUMN_PATH] = path,
                         });
    if (r >= 0)
        table_set_color(table, COLUMN_VERDICT, color_for_verdict(cli, verdict));
    return r;
}

static int print_table(const struct cli *cli, const struct lock_survey *survey) {
    /* clang-format off */
    static const char *const columns[COLUMN_MAX] = {
        [COLUMN_VERDICT] = "VERDICT", [COLUMN_REASON] = "REASON", [COLUMN_KIND] = "KIND", [COLUMN_MODE] = "MODE",
        [COLUMN_HOLDER] = "HOLDER", [COLUMN_RECORDED] = "RECORDED", [COLUMN_WAITERS] = "WAITERS",
        [COLUMN_QUEUE] = "QUEUE", [COLUMN_UNIT] = "UNIT", [COLUMN_PATH] = "PATH",
    };
    /* clang-format on */
    static const size_t missable[] = {COLUMN_UNIT, COLUMN_RECORDED, COLUMN_WAITERS, COLUMN_QUEUE,
                                      COLUMN_MODE, COLUMN_KIND,     COLUMN_REASON};
    struct table *table = table_new(cli, columns, COLUMN_MAX);
    int r = table ? 0 : -ENOMEM;

    if (table)
        table_set_missable(table, missable, ELEMENTSOF(missable));
    for (size_t i = 0; r >= 0 && i < survey->n; i++)
        r = add_row(cli, table, &survey->items[i]);
    if (table && table_print(table) != EXIT_SUCCESS && r >= 0)
        r = -EIO;
    return r < 0 ? cli_fail(&(struct err){.number = -r}) : EXIT_SUCCESS;
}

static int print_json(const struct lock_survey *survey) {
    json_t *reports = json_array();

    for (size_t i = 0; i < survey->n; i++) {
        const struct survey_item *item = &survey->items[i];
        json_t *report = lock_report_to_json(&item->facts, NULL, &item->judgement, NULL);

        if (report)
            json_object_set_new(report, "pathNote",
                                item->path_note ? json_string(item->path_note) : json_null());
        if (json_array_append_new(reports, report) < 0) {
            json_decref(reports);
            return cli_fail(&(struct err){.number = ENOMEM});
        }
    }
    return cli_print_json(reports);
}

/* What the listing cannot have shown. */
static void tell_limits(const struct lock_survey *survey) {
    if (survey->rows_hidden)
        fputs(
            "latchctl: the kernel's list of locks is not whole in this PID namespace; shown are the locks of "
            "the processes that it has\n",
            stderr);
    if (survey->sockets_unknown)
        fputs("latchctl: the kernel's table of unix sockets could not be read: no listeners are shown\n",
              stderr);
    if (survey->unreadable > 0 && (geteuid() != 0 || survey->unreadable > 1))
        fprintf(stderr, "latchctl: %u of %u processes could not be read%s\n", survey->unreadable,
                survey->processes,
                geteuid() == 0 ? "" : "; as root all of them can be: sudo latchctl probe --all");
    if (survey->locks_unseen > 0)
        fprintf(stderr,
                "latchctl: %u lock%s that nobody was seen to hold: shown as MAJOR:MINOR:INODE of the file\n",
                survey->locks_unseen, survey->locks_unseen == 1 ? "" : "s");
}

int survey_table_run(const struct cli *cli) {
    _cleanup_lock_survey_ struct lock_survey survey = {0};
    int r = lock_survey_read(&survey);

    if (r < 0)
        return cli_fail(&(struct err){.number = -r});
    r = cli->json ? print_json(&survey) : print_table(cli, &survey);
    fflush(stdout);
    tell_limits(&survey);
    return r;
}
