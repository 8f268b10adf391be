/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <ctype.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/strlist.h"
#include "base/text.h"
#include "base/value.h"
#include "cli/report.h"
#include "cli/supervisor.h"
#include "cli/table.h"
#include "doctor/gather.h"
#include "doctor/judge.h"
#include "runtime/main-note.h"

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
    char *limits_command, *config_why, *silence, *options, *as_root, *main_of;
};

static void patient_done(struct patient *patient) {
    service_config_free(patient->config);
    json_decref(patient->status);
    json_decref(patient->reports);
    free(patient->limits_command);
    free(patient->config_why);
    free(patient->silence);
    free(patient->options);
    free(patient->as_root);
    free(patient->main_of);
}

/* ---- what is known beforehand ---- */

static pid_t pid_of(json_t *status, const char *key) {
    return (pid_t) json_integer_value(json_object_get(status, key)); /* 0 where it is null */
}

/* The directories that latchctl was told of; NULL: of none. */
static char *describe_options(const struct cli *cli) {
    bool told = cli->runtime_dir_told && cli->runtime_dir;
    char *text;

    if (!cli->config_dir && !told)
        return NULL;
    return asprintf(&text, "%s%s%s%s%s", cli->config_dir ? "--config-dir " : "",
                    cli->config_dir ? cli->config_dir : "", cli->config_dir && told ? " " : "",
                    told ? "--runtime-dir " : "", told ? cli->runtime_dir : "") < 0
               ? NULL
               : text;
}

/* How root asks the same: root's runtime directory is another than ours. NULL: we are root. */
static char *describe_as_root(const struct cli *cli, const char *service) {
    _cleanup_free_ char *path = NULL;
    struct cli told = *cli;

    if (geteuid() == 0)
        return NULL;
    if (cli->runtime_dir && asprintf(&path, "%s/%s.sock", cli->runtime_dir, service) < 0)
        return NULL;
    told.runtime_dir_told |= path && access(path, F_OK) == 0;
    return supervisor_advise(&told, "sudo latchctl doctor", service);
}

/* A configuration that may not be read is no mistake in it. */
static void load_config(const struct cli *cli, const char *service, struct patient *patient) {
    _cleanup_err_ struct err why = {0};

    if (supervisor_load_config(cli, service, &patient->config, &why) >= 0 ||
        (why.name && strcmp(why.name, "NoService") == 0)) /* described on latchd's command line */
        return;
    patient->config_why = strdup(err_text(&why));
    patient->request.config_is_bad = why.name && strcmp(why.name, "BadConfiguration") == 0;
}

/* A shell says of a child that SIGTERM ended 128 + 15, and so do daemons that end by themselves then. */
static bool has_failed(const json_t *last_exit) {
    json_int_t status = json_integer_value(json_object_get(last_exit, "status")),
               signal = json_integer_value(json_object_get(last_exit, "signal"));

    return (status != 0 && status != 128 + SIGTERM) || (signal != 0 && signal != SIGTERM);
}

/* Exit code 0, or why it cannot be looked at, which was told. */
static int admit(const struct cli *cli, const char *service, struct patient *patient) {
    struct cli quiet = *cli;
    _cleanup_err_ struct err err = {0}, why = {0};
    json_t *last_exit, *restarts;
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
    load_config(&quiet, service, patient);
    if (supervisor_look(&quiet, service, patient->status, &patient->reports, &why) < 0)
        patient->reports = NULL;
    pid = pid_of(patient->status, "mainPid");
    if (pid > 0 && pid_of(patient->status, "supervisorPid") > 0)
        patient->limits_command = supervisor_advise(cli, "latchctl limits", service);
    patient->options = describe_options(cli);
    patient->as_root = describe_as_root(cli, service);
    last_exit = json_object_get(patient->status, "lastExit");
    restarts = json_object_get(patient->status, "restarts");
    patient->request = (struct doctor_request){
        .service = json_string_value(json_object_get(patient->status, "service")),
        .config = patient->config,
        .config_why = patient->config_why,
        .config_is_bad = patient->request.config_is_bad,
        .last_exit = json_string_value(json_object_get(last_exit, "text")),
        .last_exit_failed = has_failed(last_exit),
        .last_exit_usec = (uint64_t) json_integer_value(json_object_get(last_exit, "atUSec")),
        .restarts = json_is_integer(restarts) ? (uint64_t) json_integer_value(restarts) : DOCTOR_UNKNOWN,
        .options = patient->options,
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

/* The services whose daemon runs are known by what their supervisors wrote down. */
static char *find_service_in(const char *dir, int proc_fd, char *const *names, pid_t pid) {
    _cleanup_close_ int dir_fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -EBADF;

    for (; dir_fd >= 0 && *names; names++) {
        _cleanup_record_ struct service_record record = {0};
        _cleanup_close_ int main_fd = -EBADF;
        bool noted = false;

        (void) state_file_read(dir_fd, *names, &record, NULL);
        main_fd = main_note_find(proc_fd, dir_fd, *names, NULL, &record, &noted);
        if (main_fd >= 0 && record.main.pid == pid)
            return strdup(*names);
    }
    return NULL;
}

static char *find_service_of(const struct cli *cli, pid_t pid) {
    _cleanup_close_ int proc_fd = procfs_open();
    _cleanup_strlist_ char **names = NULL;
    _cleanup_err_ struct err err = {0};
    char *found;

    if (proc_fd < 0 || supervisor_list(cli, &names, &err) < 0 || !names)
        return NULL;
    found = find_service_in(cli->runtime_dir, proc_fd, names, pid);
    return found ? found : find_service_in(cli->system_dir, proc_fd, names, pid);
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

/* What of the evidence is worth a line, in people's words; all of it is in the JSON. */
static const struct {
    const char *key, *words;
} told_evidence[] = {
    {"pid", "PID"},
    {"recordedPid", "recorded: PID"},
    {"holderPid", "held by PID"},
    {"queueBefore", "waited before:"},
    {"asked", "asked for:"},
    {"somaxconn", "net.core.somaxconn"},
    {"soft", "soft limit"},
    {"hard", "hard limit"},
    {"fd", "fd"},
    {"function", "in the kernel's"},
    {"cpuUSec", "processor time"},
    {"childrenCpuUSec", "of children that ended"},
    {"forksPerSecond", "forks a second:"},
    {"lastExit", "last time it"},
};

/* As a word of its own. */
static bool has_word(const char *text, const char *word) {
    size_t length = strlen(word);

    for (const char *at = text; at && length > 0 && (at = strstr(at, word)); at++)
        if ((at == text || !isalnum((unsigned char) at[-1])) && !isalnum((unsigned char) at[length]))
            return true;
    return false;
}

static const char *format_evidence(const char *key, json_t *value, char buffer[static 192]) {
    size_t length = strlen(key);

    if (json_is_string(value))
        snprintf(buffer, 192, "%s", json_string_value(value));
    else if (!json_is_integer(value) || json_integer_value(value) == 0)
        return NULL;
    else if (length > 4 && strcmp(key + length - 4, "USec") == 0)
        return value_format_usec((uint64_t) json_integer_value(value), buffer);
    else
        snprintf(buffer, 192, "%lld", (long long) json_integer_value(value));
    return buffer;
}

/* What the summary has said is not said again. */
static void print_evidence(const struct cli *cli, const struct doctor_finding *finding) {
    _cleanup_text_ struct text text = {0};
    _cleanup_free_ char *line = NULL;

    for (size_t i = 0; i < ELEMENTSOF(told_evidence); i++) {
        char buffer[192];
        const char *key = told_evidence[i].key,
                   *value = format_evidence(key, json_object_get(finding->evidence, key), buffer);

        if (value && !has_word(finding->summary, value) && !has_word(finding->subject, value))
            text_add_format(&text, "%s%s %s", text.length > 0 ? ", " : "", told_evidence[i].words, value);
    }
    if (text.length == 0 || text_take(&text, &line) < 0)
        return;
    value_make_printable(line); /* a character may have been cut */
    print_text(cli, "", line);
}

static void print_finding(const struct cli *cli, const struct doctor_finding *finding) {
    const char *color = finding->severity == DOCTOR_ERROR     ? color_for_state(cli, "failed")
                        : finding->severity == DOCTOR_WARNING ? color_for_state(cli, "backoff")
                                                              : "";

    printf("  %s%-7s%s %s: %s\n", color, doctor_severity_to_string(finding->severity),
           *color ? color_reset(cli) : "", doctor_cause_to_string(finding->cause), finding->subject);
    print_text(cli, "", finding->summary ? finding->summary : "");
    print_evidence(cli, finding);
    if (finding->remedy)
        print_text(cli, "Remedy: ", finding->remedy);
}

/* Each of these has said what the supervisor says of the state. */
static bool is_state_told(const struct doctor_findings *findings) {
    static const enum doctor_cause causes[] = {DOCTOR_NO_SUPERVISOR, DOCTOR_BLOCKED, DOCTOR_CRASH_LOOP,
                                               DOCTOR_FAILED, DOCTOR_ENDED};

    for (size_t i = 0; i < ELEMENTSOF(causes); i++)
        if (doctor_findings_have(findings, causes[i]))
            return true;
    return false;
}

static void print_unseen(const struct cli *cli, const struct doctor_facts *facts, const char *as_root) {
    bool permission = false;

    for (size_t i = 0; i < facts->n_unseen; i++) {
        _cleanup_free_ char *line = NULL;

        permission |= doctor_yes(facts->unseen[i].permission);
        if (asprintf(&line, "%s: %s", facts->unseen[i].what, facts->unseen[i].why) >= 0)
            print_text(cli, "Not looked at: ", line);
    }
    if (permission && as_root)
        print_text(cli, "As root it sees all: ", as_root);
}

static int print_patient(const struct cli *cli, const struct doctor_facts *facts,
                         const struct doctor_findings *findings, const char *as_root) {
    _cleanup_free_ char *verdict = doctor_verdict(facts, findings), *seen = doctor_describe_seen(facts);
    int healthy = doctor_is_healthy(facts, findings);
    const char *color = color_for_state(cli, healthy > 0 ? "running" : healthy < 0 ? "backoff" : "failed");

    if (!verdict || !seen)
        return cli_fail(&(struct err){.number = ENOMEM});
    printf("%s%s%s\n", color, verdict, *color ? color_reset(cli) : "");
    if (facts->main_of) {
        _cleanup_free_ char *command = supervisor_advise(cli, "latchctl doctor", facts->main_of),
                            *line = NULL;

        if (command && asprintf(&line, "this is service %s: %s", facts->main_of, command) >= 0)
            print_text(cli, "", line);
    }
    if (facts->pid == 0 && facts->status_text && !is_state_told(findings))
        print_text(cli, "", facts->status_text);
    for (size_t i = 0; i < findings->n; i++)
        print_finding(cli, &findings->of[i]);
    print_text(cli, "Looked at: ", seen);
    print_unseen(cli, facts, as_root);
    return EXIT_SUCCESS;
}

/* ---- as JSON ---- */

static json_t *patient_to_json(const struct doctor_facts *facts, const struct doctor_findings *findings) {
    _cleanup_free_ char *verdict = doctor_verdict(facts, findings);
    int healthy = doctor_is_healthy(facts, findings);
    json_t *all = doctor_facts_to_json(facts), *unseen = json_incref(json_object_get(all, "unseen"));

    json_decref(all);
    return json_pack("{s:s?, s:o, s:s?, s:s?, s:o, s:s?, s:o, s:o}", "service", facts->service, "pid",
                     facts->pid > 0 ? doctor_number_to_json(facts->pid) : json_null(), "mainOf",
                     facts->main_of, "state", facts->state, "healthy",
                     healthy < 0 ? json_null() : json_boolean(healthy), "verdict", verdict, "findings",
                     doctor_findings_to_json(findings), "unseen", unseen);
}

/* ---- both ---- */

static int tell(const struct cli *cli, const struct doctor_facts *facts, const char *as_root, json_t *array,
                int *code) {
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
    return print_patient(cli, facts, &findings, as_root);
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
            r = tell(cli, &facts[i], patients[i].as_root, array, &code);
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

    int code;

    for (size_t i = 0; i < arguments->n_pids; i++) {
        pid_t pid = arguments->pids[i];

        patients[i].main_of = find_service_of(cli, pid);
        patients[i].request =
            (struct doctor_request){.pid = pid, .restarts = DOCTOR_UNKNOWN, .main_of = patients[i].main_of};
        if (geteuid() != 0 && asprintf(&patients[i].as_root, "sudo latchctl doctor --pid %d", (int) pid) < 0)
            patients[i].as_root = NULL;
    }
    code =
        examine(cli, patients, arguments->n_pids, arguments->interval_usec, arguments->facts, EXIT_SUCCESS);
    for (size_t i = 0; i < arguments->n_pids; i++)
        patient_done(&patients[i]);
    return code;
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
            "changes nothing. What it may not look at it names: as root it sees all. That a service is down, "
            "and why, is\n"
            "a finding, too.\n\n"
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
