/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <ctype.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/strlist.h"
#include "base/value.h"
#include "cli/report.h"
#include "cli/supervisor.h"
#include "cli/table.h"
#include "doctor/gather.h"
#include "doctor/judge.h"

#define DEFAULT_INTERVAL_USEC USEC_PER_SEC
#define WIDTH_MIN 60
#define INDENT 10
#define PIDS_MAX 64

enum { OPT_PID = 2048, OPT_TIME, OPT_FACTS };

/* One that is looked at, and what has to live as long as the request. */
struct patient {
    struct doctor_request request;
    struct service_config *config;
    json_t *status, *reports;
    char *limits_command, *silence, *config_why;
};

static void patient_done(struct patient *patient) {
    service_config_free(patient->config);
    json_decref(patient->status);
    json_decref(patient->reports);
    free(patient->limits_command);
    free(patient->silence);
    free(patient->config_why);
}

/* ---- what is known beforehand ---- */

static pid_t pid_of(json_t *status, const char *key) {
    return (pid_t) json_integer_value(json_object_get(status, key)); /* 0 where it is null */
}

/* Exit code 0, or why it cannot be looked at, which was told. */
static int admit(const struct cli *cli, const char *service, struct patient *patient) {
    struct cli quiet = *cli;
    _cleanup_err_ struct err err = {0}, why = {0};
    pid_t pid;
    int r;

    quiet.quiet_problems = true;
    r = supervisor_status(&quiet, service, true, &patient->status, &err);
    if (r < 0 && err.name && strcmp(err.name, "Timeout") == 0) {
        patient->silence = strdup(err_text(&err));
        r = supervisor_status_alone(&quiet, service, &patient->status, &err);
    }
    if (r < 0) {
        bool unknown = err.name && strcmp(err.name, "NoService") == 0;
        int code = cli_fail(&err);

        return unknown ? EXIT_LSB_NO_SERVICE : code;
    }
    if (supervisor_load_config(&quiet, service, &patient->config, &why) < 0 &&
        !(why.name && strcmp(why.name, "NoService") == 0)) /* described on latchd's command line */
        patient->config_why = strdup(err_text(&why));
    err_done(&why);
    if (supervisor_look(&quiet, service, patient->status, &patient->reports, &why) < 0)
        patient->reports = NULL;
    pid = pid_of(patient->status, "mainPid");
    if (pid > 0 && pid_of(patient->status, "supervisorPid") > 0)
        patient->limits_command = supervisor_advise(cli, "latchctl limits", service);
    patient->request = (struct doctor_request){
        .service = json_string_value(json_object_get(patient->status, "service")),
        .config = patient->config,
        .config_why = patient->config_why,
        .state = json_string_value(json_object_get(patient->status, "state")),
        .status_text = json_string_value(json_object_get(patient->status, "statusText")),
        .supervised = pid_of(patient->status, "supervisorPid") > 0,
        .supervisor_pid = pid_of(patient->status, "supervisorPid"),
        .limits_command = patient->limits_command,
        .supervisor_silence = patient->silence,
        .pid = pid > 0 ? pid : pid_of(patient->status, "unsupervisedPid"),
        .reports = patient->reports,
    };
    return EXIT_SUCCESS;
}

/* ---- for people ---- */

/* Words on as many lines as it takes, all of them indented. Into a file or a pipe: on one line, as a command
 * has to be. */
static void print_text(const struct cli *cli, const char *lead, const char *text) {
    struct winsize size;
    size_t width = SIZE_MAX, column = INDENT + strlen(lead);

    if (cli->terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        width = size.ws_col < WIDTH_MIN ? WIDTH_MIN : size.ws_col;
    printf("%*s%s", INDENT, "", lead);
    while (*text) {
        size_t length = strcspn(text, " ");

        if (column > INDENT + strlen(lead) && column + length + 1 > width) {
            printf("\n%*s", INDENT + (int) strlen(lead), "");
            column = INDENT + strlen(lead);
        } else if (column > INDENT + strlen(lead)) {
            putchar(' ');
            column++;
        }
        printf("%.*s", (int) length, text);
        column += length;
        text += length;
        text += strspn(text, " ");
    }
    putchar('\n');
}

/* "queueBefore" is "queue before". */
static void add_words(const char *key, char *text, size_t size) {
    size_t n = strlen(text);

    for (; *key && strcmp(key, "USec") != 0 && n + 2 < size; key++) {
        if (isupper((unsigned char) *key))
            text[n++] = ' ';
        text[n++] = (char) tolower((unsigned char) *key);
    }
    text[n] = '\0';
}

static bool ends_in(const char *key, const char *end) {
    size_t n = strlen(key), m = strlen(end);

    return n >= m && strcasecmp(key + n - m, end) == 0;
}

static void print_evidence(const struct cli *cli, json_t *evidence) {
    const char *key;
    char line[2048] = "";
    json_t *value;

    json_object_foreach(evidence, key, value) {
        char number[DOCTOR_COUNT_MAX], *at;

        if (json_is_null(value) || strlen(line) > sizeof line - 256)
            continue;
        if (*line)
            strcat(line, ", ");
        add_words(key, line, strlen(line) + 64);
        at = line + strlen(line);
        if (json_is_string(value))
            snprintf(at, 192, " %s", json_string_value(value));
        else if (json_is_boolean(value))
            snprintf(at, 192, " %s", json_is_true(value) ? "yes" : "no");
        else if (ends_in(key, "USec"))
            snprintf(at, 192, " %s", value_format_usec((uint64_t) json_integer_value(value), number));
        else if (ends_in(key, "pid") || ends_in(key, "uid") || ends_in(key, "holder"))
            snprintf(at, 192, " %lld", (long long) json_integer_value(value));
        else
            snprintf(at, 192, " %s", doctor_count((uint64_t) json_integer_value(value), number));
    }
    value_make_printable(line); /* a character may have been cut */
    if (*line)
        print_text(cli, "", line);
}

static void print_finding(const struct cli *cli, const struct doctor_finding *finding) {
    const char *color = finding->severity == DOCTOR_ERROR     ? color_for_state(cli, "failed")
                        : finding->severity == DOCTOR_WARNING ? color_for_state(cli, "backoff")
                                                              : "";

    printf("  %s%-7s%s %s: %s\n", color, doctor_severity_to_string(finding->severity),
           *color ? color_reset(cli) : "", doctor_cause_to_string(finding->cause), finding->subject);
    print_text(cli, "", finding->summary ? finding->summary : "");
    print_evidence(cli, finding->evidence);
    if (finding->remedy)
        print_text(cli, "Remedy: ", finding->remedy);
}

static int print_patient(const struct cli *cli, const struct doctor_facts *facts,
                         const struct doctor_findings *findings) {
    _cleanup_free_ char *verdict = doctor_verdict(facts, findings), *seen = doctor_describe_seen(facts);
    int healthy = doctor_is_healthy(facts, findings);
    const char *color = color_for_state(cli, healthy > 0 ? "running" : healthy < 0 ? "backoff" : "failed");

    if (!verdict || !seen)
        return cli_fail(&(struct err){.number = ENOMEM});
    printf("%s%s%s\n", color, verdict, *color ? color_reset(cli) : "");
    if (facts->pid == 0 && facts->status_text)
        print_text(cli, "", facts->status_text);
    for (size_t i = 0; i < findings->n; i++)
        print_finding(cli, &findings->of[i]);
    print_text(cli, "Looked at: ", seen);
    for (size_t i = 0; i < facts->n_unseen; i++) {
        _cleanup_free_ char *line = NULL;

        if (asprintf(&line, "%s: %s", facts->unseen[i].what, facts->unseen[i].why) >= 0)
            print_text(cli, "Not looked at: ", line);
    }
    return EXIT_SUCCESS;
}

/* ---- as JSON ---- */

static json_t *patient_to_json(const struct doctor_facts *facts, const struct doctor_findings *findings) {
    _cleanup_free_ char *verdict = doctor_verdict(facts, findings);
    int healthy = doctor_is_healthy(facts, findings);
    json_t *all = doctor_facts_to_json(facts), *unseen = json_incref(json_object_get(all, "unseen"));

    json_decref(all);
    return json_pack("{s:s?, s:o, s:s?, s:o, s:s?, s:o, s:o}", "service", facts->service, "pid",
                     facts->pid > 0 ? doctor_number_to_json(facts->pid) : json_null(), "state", facts->state,
                     "healthy", healthy < 0 ? json_null() : json_boolean(healthy), "verdict", verdict,
                     "findings", doctor_findings_to_json(findings), "unseen", unseen);
}

/* ---- both ---- */

static int tell(const struct cli *cli, const struct doctor_facts *facts, json_t *array, int *code) {
    _cleanup_doctor_findings_ struct doctor_findings findings = {0};
    int healthy;

    if (doctor_judge(facts, &findings) < 0)
        return cli_fail(&(struct err){.number = ENOMEM});
    healthy = doctor_is_healthy(facts, &findings);
    if (healthy == 0)
        *code = EXIT_FOUND;
    else if (healthy < 0 && *code == EXIT_SUCCESS)
        *code = EXIT_NOT_PERMITTED;
    if (array)
        return json_array_append_new(array, patient_to_json(facts, &findings)) < 0
                   ? cli_fail(&(struct err){.number = ENOMEM})
                   : EXIT_SUCCESS;
    return print_patient(cli, facts, &findings);
}

static int examine(const struct cli *cli, struct patient *patients, size_t n, uint64_t interval_usec,
                   bool show_facts, int code) {
    struct doctor_request requests[n + 1];
    struct doctor_facts *facts = NULL;
    json_t *array = cli->json || show_facts ? json_array() : NULL;
    pid_t missing = 0;
    int r;

    for (size_t i = 0; i < n; i++)
        requests[i] = patients[i].request;
    r = doctor_gather(requests, n, interval_usec, &facts, &missing);
    if (r < 0) {
        _cleanup_err_ struct err err = {0};

        json_decref(array);
        if (r == -ESRCH && missing > 0)
            (void) err_set(&err, ESRCH, "Failed", "there is no process %d", (int) missing);
        else
            (void) err_set(&err, -r, "Failed", "cannot look at processes: %m");
        return cli_fail(&err);
    }
    r = EXIT_SUCCESS;
    for (size_t i = 0; i < n && r == EXIT_SUCCESS; i++)
        if (show_facts)
            json_array_append_new(array, doctor_facts_to_json(&facts[i]));
        else
            r = tell(cli, &facts[i], array, &code);
    doctor_facts_free_array(facts, n);
    if (array && r == EXIT_SUCCESS)
        r = cli_print_json(array);
    else
        json_decref(array);
    if (r == EXIT_SUCCESS && fflush(stdout) != 0)
        r = EXIT_FAILURE;
    return r == EXIT_SUCCESS ? code : r;
}

struct arguments {
    pid_t pids[PIDS_MAX];
    size_t n_pids;
    uint64_t interval_usec;
    bool facts;
};

static int read_time(const char *text, uint64_t *ret) {
    uint64_t usec;

    if (value_parse_usec(text, &usec) < 0 || usec < DOCTOR_INTERVAL_MIN_USEC ||
        usec > DOCTOR_INTERVAL_MAX_USEC)
        return cli_fail_usage(&command_doctor, "--time wants a time from 100ms to 60s", text);
    *ret = usec;
    return EXIT_SUCCESS;
}

static int run_services(const struct cli *cli, char *const named[], const struct arguments *arguments) {
    _cleanup_strlist_ char **names = NULL;
    _cleanup_err_ struct err err = {0};
    struct patient *patients;
    size_t n = 0;
    int code = EXIT_SUCCESS;

    if (supervisor_choose(cli, named, &names, &err) < 0)
        return cli_fail(&err);
    patients = calloc(strlist_length(names) + 1, sizeof *patients);
    if (!patients)
        return cli_fail(&(struct err){.number = ENOMEM});
    for (char **name = names; name && *name; name++) {
        int one = admit(cli, *name, &patients[n]);

        if (one == EXIT_SUCCESS)
            n++;
        else
            patient_done(&patients[n]), patients[n] = (struct patient){0}, code = code ? code : one;
    }
    if (n > 0 || cli->json || arguments->facts)
        code = examine(cli, patients, n, arguments->interval_usec, arguments->facts, code);
    for (size_t i = 0; i < n; i++)
        patient_done(&patients[i]);
    free(patients);
    return code;
}

static int run_pids(const struct cli *cli, const struct arguments *arguments) {
    struct patient patients[PIDS_MAX] = {0};

    for (size_t i = 0; i < arguments->n_pids; i++)
        patients[i].request.pid = arguments->pids[i];
    return examine(cli, patients, arguments->n_pids, arguments->interval_usec, arguments->facts,
                   EXIT_SUCCESS);
}

static int run(struct cli *cli, int argc, char *argv[]) {
    static const struct option options[] = {CLI_OPTIONS,
                                            {"pid", required_argument, NULL, OPT_PID},
                                            {"time", required_argument, NULL, OPT_TIME},
                                            {"facts", no_argument, NULL, OPT_FACTS},
                                            {0}};
    struct arguments arguments = {.interval_usec = DEFAULT_INTERVAL_USEC};
    int c, r;

    while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
        if (c == OPT_FACTS)
            arguments.facts = true;
        else if (c == OPT_TIME) {
            if ((r = read_time(optarg, &arguments.interval_usec)) != EXIT_SUCCESS)
                return r;
        } else if (c == OPT_PID) {
            if (arguments.n_pids == PIDS_MAX ||
                value_parse_pid(optarg, &arguments.pids[arguments.n_pids++]) < 0)
                return cli_fail_usage(&command_doctor, "--pid wants a process's number", optarg);
        } else if ((r = cli_option(cli, &command_doctor, c, optarg)) >= 0)
            return r;
    }
    if (arguments.n_pids > 0 && optind < argc)
        return cli_fail_usage(&command_doctor, "--pid goes without a service", argv[optind]);
    return arguments.n_pids > 0 ? run_pids(cli, &arguments) : run_services(cli, argv + optind, &arguments);
}

const struct command command_doctor = {
    .name = "doctor",
    .arguments = "[SERVICE...]",
    .summary = "which of the causes of \"Resource temporarily unavailable\" is at work, and what to do",
    .help = "Looks twice, a second apart, at the locks, the listeners and their queues, the limits, the "
            "processes, the\n"
            "connections and the cgroups of the services (all there are, if none is named), or of any "
            "process, and tells "
            "what\n"
            "it found, the likeliest cause first, with figures and the remedy. It connects to nobody, "
            "signals nobody and\n"
            "changes nothing. What it may not look at it names: as root it sees all.\n\n"
            "      --pid PID          look at this process and its descendants instead; may be repeated\n"
            "      --time TIME        between the two looks: 100ms to 60s (1s)\n"
            "      --facts            print as JSON what was seen and nothing that follows from it, for a "
            "report\n\n"
            "Exit status: 0 nothing found; 8 something found; 1 failure; 4 no such service; 64 usage; 77 "
            "nothing found, "
            "but\n"
            "not all could be looked at without more rights.\n",
    .run = run,
};
