/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The service as latchd has it: down and why, without a supervisor, or with a configuration that cannot be
 * read. */
#include <inttypes.h>
#include <string.h>

#include "base/value.h"
#include "doctor/judge.h"

/* A daemon that runs just now is in a crash loop all the same, if it ended so often, and so lately. */
#define LOOP_RESTARTS 3
#define LOOP_USEC (60 * USEC_PER_SEC)

static bool is(const char *text, const char *word) {
    return text && strcmp(text, word) == 0;
}

static bool runs(const struct doctor_facts *facts) {
    return doctor_known(facts->pid) && facts->pid > 0 && !doctor_yes(facts->ended);
}

static struct doctor_finding *find(const struct doctor_facts *facts, enum doctor_cause cause,
                                   enum doctor_severity severity, struct doctor_findings *findings) {
    return doctor_find(findings, cause, severity,
                       json_pack("{s:s?, s:o, s:o, s:s?, s:o}", "state", facts->state, "pid",
                                 runs(facts) ? doctor_number_to_json(facts->pid) : json_null(), "restarts",
                                 doctor_number_to_json(facts->restarts), "lastExit", facts->last_exit,
                                 "lastExitAgoUSec", doctor_number_to_json(facts->last_exit_ago_usec)),
                       "%s", facts->service);
}

static void advise_logs(const struct doctor_facts *facts, struct doctor_finding *finding) {
    doctor_advise_command(finding, facts, "its messages", "latchctl logs");
}

/* ---- nobody supervises it ---- */

static void judge_unsupervised(const struct doctor_facts *facts, struct doctor_findings *findings) {
    struct doctor_finding *finding;
    bool alive = runs(facts);

    if (facts->supervised != 0 || facts->supervisor_silence)
        return;
    finding = find(facts, DOCTOR_NO_SUPERVISOR, alive ? DOCTOR_WARNING : DOCTOR_ERROR, findings);
    if (alive)
        doctor_say(finding,
                   "no latchd supervises it, and its daemon, PID %" PRIu64
                   ", goes on: nobody starts it again when it ends",
                   facts->pid);
    else
        doctor_say(finding, "no latchd supervises it, and no daemon of it was found");
    if (facts->config_error)
        doctor_advise(finding, "mend its configuration first");
    if (!facts->config_file && !facts->config_error) {
        doctor_advise(finding,
                      "it has no configuration file: put it back, or give the same latchd run command "
                      "again, if it was described there");
        return;
    }
    doctor_advise_command(finding, facts, alive ? "latchd takes the daemon over" : "to bring it up",
                          alive ? "latchd run" : "latchctl start");
    if (alive && !facts->options)
        doctor_advise(finding, "as a unit: systemctl start latchd@%s", facts->service);
}

/* ---- its configuration ---- */

static void judge_configuration(const struct doctor_facts *facts, struct doctor_findings *findings) {
    struct doctor_finding *finding;

    if (!facts->config_error)
        return;
    finding = find(facts, DOCTOR_CONFIGURATION, runs(facts) ? DOCTOR_WARNING : DOCTOR_ERROR, findings);
    doctor_say(finding, "%s", facts->config_error);
    doctor_say(finding, runs(facts)
                            ? "the daemon runs with what was read before, and its next start would fail"
                            : "it cannot be started with it");
    doctor_advise_command(finding, facts, "every mistake, with its line", "latchd check");
}

/* ---- down ---- */

/* What the supervisor says, but for the command at its end, which the remedy has as well, with our
 * directories. */
static void say_status(const struct doctor_facts *facts, struct doctor_finding *finding, const char *lead,
                       const char *otherwise) {
    const char *text = facts->status_text ? facts->status_text
                       : facts->last_exit ? facts->last_exit
                                          : otherwise,
               *end = NULL;

    for (const char *at = text; (at = strstr(at, "; ")); at++)
        end = at;
    doctor_say(finding, "%s%.*s", lead,
               (int) (end && strstr(end, "latchctl start ") ? (size_t) (end - text) : strlen(text)), text);
}

static void judge_blocked(const struct doctor_facts *facts, struct doctor_findings *findings) {
    struct doctor_finding *finding = find(facts, DOCTOR_BLOCKED, DOCTOR_ERROR, findings);

    say_status(facts, finding, "its start waits: ", "somebody is in the way");
    doctor_advise_command(finding, facts, "the start goes on by itself when that is gone; who it is",
                          "latchctl probe");
}

static void judge_back_off(const struct doctor_facts *facts, struct doctor_findings *findings) {
    struct doctor_finding *finding = find(facts, DOCTOR_CRASH_LOOP, DOCTOR_ERROR, findings);

    if (doctor_known(facts->restarts) && facts->restarts > 1)
        doctor_say(finding, "the daemon did not come up, or not stay up, %s times so far",
                   COUNT(facts->restarts));
    say_status(facts, finding, "", "how is not known");
    advise_logs(facts, finding);
    doctor_advise_command(finding, facts, "once mended, at once", "latchctl start");
}

static void judge_loop(const struct doctor_facts *facts, struct doctor_findings *findings) {
    char ago[VALUE_FORMAT_MAX];
    struct doctor_finding *finding;

    if (!doctor_known(facts->restarts) || facts->restarts < LOOP_RESTARTS || !facts->last_exit ||
        !doctor_yes(facts->last_exit_failed) || !doctor_known(facts->last_exit_ago_usec) ||
        facts->last_exit_ago_usec > LOOP_USEC)
        return;
    finding = find(facts, DOCTOR_CRASH_LOOP, DOCTOR_WARNING, findings);
    doctor_say(finding, "the daemon was started again %s times, and %s last %s ago", COUNT(facts->restarts),
               facts->last_exit,
               value_format_usec(facts->last_exit_ago_usec / USEC_PER_SEC * USEC_PER_SEC, ago));
    advise_logs(facts, finding);
}

static void judge_failed(const struct doctor_facts *facts, struct doctor_findings *findings) {
    struct doctor_finding *finding = find(facts, DOCTOR_FAILED, DOCTOR_ERROR, findings);

    say_status(facts, finding, "latchd does not start it again: ", "it failed");
    advise_logs(facts, finding);
    doctor_advise_command(finding, facts, "once mended", "latchctl start");
}

static void judge_stopped(const struct doctor_facts *facts, struct doctor_findings *findings) {
    struct doctor_finding *finding = facts->status_text
                                         ? find(facts, DOCTOR_ENDED, DOCTOR_WARNING, findings)
                                         : find(facts, DOCTOR_STOPPED_BY_REQUEST, DOCTOR_HINT, findings);

    if (facts->status_text) {
        say_status(facts, finding, "", "");
        advise_logs(facts, finding);
    } else
        doctor_say(finding, "it does not run because somebody asked for that");
    doctor_advise_command(finding, facts, "to bring it up", "latchctl start");
}

void doctor_judge_service(const struct doctor_facts *facts, struct doctor_findings *findings) {
    static const struct {
        const char *state;
        doctor_judge_fn judge;
    } states[] = {
        {"blocked", judge_blocked}, {"backoff", judge_back_off}, {"failed", judge_failed},
        {"stopped", judge_stopped}, {"starting", judge_loop},    {"running", judge_loop},
    };

    if (!facts->service)
        return;
    judge_unsupervised(facts, findings);
    judge_configuration(facts, findings);
    for (size_t i = 0; doctor_yes(facts->supervised) && i < ELEMENTSOF(states); i++)
        if (is(facts->state, states[i].state))
            states[i].judge(facts, findings);
}
