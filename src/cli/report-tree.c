/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/report-tree.h"

#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "base/value.h"
#include "cli/report.h"
#include "cli/smartcols.h"
#include "cli/table.h"

enum column {
    COLUMN_WHO,
    COLUMN_PID,
    COLUMN_USER,
    COLUMN_SINCE,
    COLUMN_ROLE,
    COLUMN_HOW,
    COLUMN_RELATION,
    COLUMN_COMMAND,
    COLUMN_MAX,
};

/* clang-format off */
static const struct {
    const char *name;
    int flags;
} columns[COLUMN_MAX] = {
    [COLUMN_WHO]      = {"WHO",      SCOLS_FL_TREE},
    [COLUMN_PID]      = {"PID",      SCOLS_FL_RIGHT},
    [COLUMN_USER]     = {"USER",     0},
    [COLUMN_SINCE]    = {"SINCE",    0},
    [COLUMN_ROLE]     = {"ROLE",     0},
    [COLUMN_HOW]      = {"HOW",      0},
    [COLUMN_RELATION] = {"RELATION", 0},
    [COLUMN_COMMAND]  = {"COMMAND",  SCOLS_FL_TRUNC},
};
/* clang-format on */

#define TREE_INDENT 3    /* "├─ " */
#define COMMAND_LEAST 12 /* less of a command line tells nothing */

struct tree {
    const struct cli *cli;
    struct libscols_table *table;
    size_t width[COLUMN_MAX]; /* of the widest cell in characters; 0: all are empty */
    bool failed;              /* memory ran out; whoever fills in need not look */
    json_t *reports, *report;
};

static long long number(json_t *object, const char *key) {
    return (long long) json_integer_value(json_object_get(object, key));
}

static bool is_true(json_t *object, const char *key) {
    return json_is_true(json_object_get(object, key));
}

static void note_width(struct tree *tree, enum column column, const char *text, size_t indent) {
    size_t width = indent;

    for (; *text; text++)
        width += ((unsigned char) *text & 0xc0) != 0x80; /* what goes on a UTF-8 character is none */
    if (width > tree->width[column])
        tree->width[column] = width;
}

static struct libscols_line *add_line(struct tree *tree, struct libscols_line *parent, const char *who) {
    struct libscols_line *line = tree->failed ? NULL : scols.table_new_line(tree->table, parent);
    size_t indent = 0;

    if (!line || scols.line_set_data(line, COLUMN_WHO, who) < 0)
        tree->failed = true;
    for (; parent; parent = scols.line_get_parent(parent))
        indent += TREE_INDENT;
    note_width(tree, COLUMN_WHO, who, indent);
    return line;
}

static void set_cell(struct tree *tree, struct libscols_line *line, enum column column, const char *text) {
    if (tree->failed || !text || !text[0])
        return;
    note_width(tree, column, text, 0);
    if (scols.line_set_data(line, column, text) < 0)
        tree->failed = true;
}

/* The text is released; NULL when it could not be made. */
static void set_cell_text(struct tree *tree, struct libscols_line *line, enum column column,
                          struct text *text) {
    _cleanup_free_ char *cell = NULL;

    if (text_take(text, &cell) < 0)
        tree->failed = true;
    set_cell(tree, line, column, cell);
}

static void set_color(struct tree *tree, struct libscols_line *line, enum column column, const char *color) {
    if (!tree->failed && tree->cli->color && color)
        (void) scols.cell_set_color(scols.line_get_cell(line, column), color);
}

static void set_user(struct tree *tree, struct libscols_line *line, long long uid) {
    struct passwd entry, *found = NULL;
    char buffer[2048], digits[24];

    if (uid < 0)
        return;
    snprintf(digits, sizeof digits, "%lld", uid);
    if (getpwuid_r((uid_t) uid, &entry, buffer, sizeof buffer, &found) != 0 || !found)
        found = NULL;
    set_cell(tree, line, COLUMN_USER, found ? found->pw_name : digits);
}

/* The time of day when it is today, else the date and the minute. */
static void set_since(struct tree *tree, struct libscols_line *line, uint64_t usec) {
    time_t then = (time_t) (usec / USEC_PER_SEC), now = time(NULL);
    struct tm tm, today;
    char when[32];

    if (usec == 0 || !localtime_r(&then, &tm) || !localtime_r(&now, &today))
        return;
    if (strftime(when, sizeof when,
                 tm.tm_year == today.tm_year && tm.tm_yday == today.tm_yday ? "%H:%M:%S" : "%Y-%m-%d %H:%M",
                 &tm) > 0)
        set_cell(tree, line, COLUMN_SINCE, when);
}

static void add_words(struct text *text, const char *word) {
    if (word[0])
        text_add_format(text, "%s%s", text->length > 0 ? ", " : "", word);
}

static const char *life_in_words(json_t *process) {
    const char *life = report_text(process, "life");

    if (is_true(process, "frozen"))
        return "frozen";
    if (strcmp(life, "gone") == 0)
        return "dead";
    if (strcmp(life, "zombie") == 0)
        return "dead (zombie)";
    if (strcmp(life, "stopped") == 0)
        return "stopped";
    return strcmp(life, "unknown") == 0 ? "not readable" : "";
}

/* Number, user, time and command line; its state comes with how it holds. */
static void set_process(struct tree *tree, struct libscols_line *line, json_t *process) {
    const char *command = report_text(process, "cmdline");
    char digits[24];

    snprintf(digits, sizeof digits, "%lld", number(process, "pid"));
    set_cell(tree, line, COLUMN_PID, digits);
    if (json_is_integer(json_object_get(process, "uid")))
        set_user(tree, line, number(process, "uid"));
    set_since(tree, line, (uint64_t) number(process, "startUSec"));
    set_cell(tree, line, COLUMN_COMMAND, command[0] ? command : report_text(process, "exe"));
}

static struct libscols_line *add_process(struct tree *tree, struct libscols_line *parent, json_t *process) {
    const char *comm = report_text(process, "comm");
    struct libscols_line *line = add_line(tree, parent, comm[0] ? comm : "?");

    if (line)
        set_process(tree, line, process);
    return line;
}

static void add_more(struct tree *tree, struct libscols_line *parent, long long n) {
    char who[48];

    if (n <= 0)
        return;
    snprintf(who, sizeof who, "and %lld more", n);
    (void) add_line(tree, parent, who);
}

/* By what it keeps the lock alive. */
static void add_means(struct text *text, json_t *holder) {
    const char *via = report_text(holder, "via");
    long long fd = number(holder, "fd");

    if (strcmp(via, "maps") == 0)
        add_words(text, json_array_size(json_object_get(holder, "holds")) ? "mapped" : "attached memory");
    else if (strcmp(via, "io_uring") == 0)
        add_words(text, "io_uring");
    else if (strcmp(via, "in-flight") == 0)
        add_words(text, "in flight");
    if (fd < 0)
        return;
    text_add_format(text, "%sfd %lld", text->length > 0 ? ", " : "", fd);
    if (number(holder, "tid") > 0 && number(holder, "tid") != number(holder, "pid"))
        text_add_format(text, " of thread %lld", number(holder, "tid"));
}

/* Whether the holder shares its lock of that family with others: a POSIX lock is the process's, and its row
 * has its PID; an flock on a file is shared by all who have one or by nobody; OFD locks name nobody, so only
 * what is true of all of them is (proc_locks(5)). */
static bool is_shared(json_t *report, json_t *holder, const char *family) {
    json_t *claims = json_object_get(report, "claims"), *claim;
    bool any = false;
    size_t i;

    json_array_foreach(claims, i, claim) {
        if (strcmp(report_text(claim, "family"), family) != 0 || is_true(claim, "waiting") ||
            (strcmp(family, "posix") == 0 && number(claim, "pid") != number(holder, "pid")))
            continue;
        if (!is_true(claim, "shared"))
            return false;
        any = true;
    }
    return any;
}

static bool is_listening(json_t *report) {
    return is_true(json_object_get(report, "listener"), "listening");
}

static void set_how(struct tree *tree, struct libscols_line *line, json_t *report, json_t *holder) {
    json_t *holds = json_object_get(holder, "holds");
    _cleanup_text_ struct text text = {0};

    for (size_t i = 0; i < json_array_size(holds); i++) {
        const char *family = json_string_value(json_array_get(holds, i));

        add_words(&text, family);
        if (is_shared(report, holder, family))
            text_add(&text, " shared");
    }
    if (is_true(holder, "listener"))
        add_words(&text, is_listening(report) ? "listener" : "socket");
    add_means(&text, holder);
    add_words(&text, life_in_words(holder));
    set_cell_text(tree, line, COLUMN_HOW, &text);
}

/* What else it has of what was asked for. A process is the same if number and start are. */
static void add_elsewhere(struct tree *tree, struct text *text, json_t *process) {
    json_t *report, *other;
    size_t i, k;

    json_array_foreach(tree->reports, i, report) {
        if (report == tree->report)
            continue;
        json_array_foreach(json_object_get(report, "holders"), k, other) {
            if (number(other, "pid") != number(process, "pid") ||
                number(other, "startTicks") != number(process, "startTicks"))
                continue;
            text_add_format(text, "%sholds %s", text->length > 0 ? ", " : "", report_text(report, "path"));
            break;
        }
    }
}

static void set_relation(struct tree *tree, struct libscols_line *line, json_t *holder) {
    json_t *relation = json_object_get(holder, "relation");
    const char *unit = report_text(holder, "unit");
    _cleanup_text_ struct text text = {0};

    for (size_t i = 0; i < json_array_size(relation); i++)
        add_words(&text, json_string_value(json_array_get(relation, i)));
    add_words(&text, unit);
    add_elsewhere(tree, &text, holder);
    set_cell_text(tree, line, COLUMN_RELATION, &text);
}

static void add_holders(struct tree *tree, struct libscols_line *root, json_t *report) {
    static const struct {
        const char *role, *color;
    } colors[] = {{"main", "green"}, {"leftover", "red"}, {"other", "brown"}};
    json_t *holders = json_object_get(report, "holders"), *holder;
    struct libscols_line *section;
    size_t i;

    if (json_array_size(holders) == 0)
        return;
    section = add_line(tree, root, "held by");
    json_array_foreach(holders, i, holder) {
        struct libscols_line *line = add_process(tree, section, holder);
        const char *role = report_text(holder, "role");

        if (!line)
            return;
        set_cell(tree, line, COLUMN_ROLE, role);
        for (size_t k = 0; k < ELEMENTSOF(colors); k++)
            if (strcmp(role, colors[k].role) == 0) {
                set_color(tree, line, COLUMN_WHO, colors[k].color);
                set_color(tree, line, COLUMN_ROLE, colors[k].color);
            }
        set_how(tree, line, report, holder);
        set_relation(tree, line, holder);
    }
}

/* The number is another machine's, or another PID namespace's: what has it here is somebody else. */
static bool is_record_foreign(json_t *report) {
    json_t *record = json_object_get(report, "record");
    long long namespace = number(record, "pidNamespace");

    return strcmp(report_text(report, "reason"), "other-host") == 0 ||
           (namespace > 0 && namespace != number(report, "pidNamespace"));
}

/* Who has named itself in the file, and how, or whom the kernel names. */
static void add_recorded(struct tree *tree, struct libscols_line *root, json_t *report) {
    static const struct {
        const char *form, *words;
    } forms[] = {
        {"plain", "PID in the file"},  {"x11", "X server's lock"}, {"postgresql", "PostgreSQL's lock file"},
        {"chrome", "Chrome's link"},   {"emacs", "Emacs' link"},   {"mercurial", "Mercurial's lock"},
        {"mozilla", "Mozilla's link"},
    };
    json_t *recorded = json_object_get(report, "recorded"), *record = json_object_get(report, "record"),
           *process = json_object_get(recorded, "process"), *namesake = json_object_get(recorded, "namesake");
    const char *form = report_text(record, "form"), *host = report_text(record, "host");
    _cleanup_text_ struct text text = {0};
    struct libscols_line *line;
    bool foreign;

    if (!json_is_object(recorded) && !json_is_object(record))
        return;
    line = add_line(tree, root, "recorded");
    if (!line)
        return;
    foreign = is_record_foreign(report);
    if (foreign)
        process = NULL;
    if (process)
        set_process(tree, line, process);
    else {
        char digits[24];

        snprintf(digits, sizeof digits, "%lld", number(record, "pid"));
        set_cell(tree, line, COLUMN_PID, digits);
    }
    if (is_true(recorded, "isThread"))
        add_words(&text, "a thread's number");
    if (is_true(recorded, "isSelf"))
        add_words(&text, "the observer's own number");
    if (process)
        add_words(&text, life_in_words(process));
    for (size_t i = 0; i < ELEMENTSOF(forms); i++)
        if (strcmp(form, forms[i].form) == 0)
            add_words(&text, forms[i].words);
    if (!form[0])
        add_words(&text, strcmp(report_text(report, "kind"), "socket") == 0 ? "called listen"
                                                                            : "in the kernel's list");
    if (host[0])
        text_add_format(&text, ", on %s", host);
    else if (foreign)
        add_words(&text, "in another PID namespace");
    set_cell_text(tree, line, COLUMN_HOW, &text);
    if (json_is_object(namesake)) {
        line = add_process(tree, line, namesake);
        if (line)
            set_cell(tree, line, COLUMN_HOW, "in a PID namespace of its own");
    }
}

static long long count_waiting_claims(json_t *report) {
    json_t *claims = json_object_get(report, "claims"), *claim;
    long long n = 0;
    size_t i;

    json_array_foreach(claims, i, claim) n += is_true(claim, "waiting");
    return n;
}

static void add_waiters(struct tree *tree, struct libscols_line *root, json_t *report) {
    json_t *waiters = json_object_get(report, "waiters"), *waiter;
    long long waiting = count_waiting_claims(report);
    struct libscols_line *section;
    size_t i;

    if (json_array_size(waiters) == 0 && waiting == 0)
        return;
    section = add_line(tree, root, "waiting for it");
    json_array_foreach(waiters, i, waiter) {
        struct libscols_line *line = add_process(tree, section, waiter);

        if (!line)
            return;
        set_cell(tree, line, COLUMN_HOW, "waits");
        set_relation(tree, line, waiter);
    }
    add_more(tree, section, waiting - (long long) json_array_size(waiters));
}

static bool is_among(json_t *processes, json_t *process) {
    json_t *other;
    size_t i;

    json_array_foreach(processes, i, other) if (number(other, "pid") == number(process, "pid")) return true;
    return false;
}

/* Who waits has it open as well, and has been told of. */
static void add_openers(struct tree *tree, struct libscols_line *root, json_t *report) {
    json_t *openers = json_object_get(report, "openers"), *opener;
    long long left = number(report, "openersTotal");
    struct libscols_line *section = NULL;
    size_t i;

    json_array_foreach(openers, i, opener) {
        _cleanup_text_ struct text text = {0};
        struct libscols_line *line;

        left--;
        if (is_among(json_object_get(report, "waiters"), opener))
            continue;
        if (!section)
            section = add_line(tree, root, "merely open in");
        line = add_process(tree, section, opener);
        if (!line)
            return;
        add_words(&text, "no lock");
        add_means(&text, opener);
        set_cell_text(tree, line, COLUMN_HOW, &text);
        set_relation(tree, line, opener);
    }
    if (section)
        add_more(tree, section, left);
}

static void add_queue(struct tree *tree, struct libscols_line *root, json_t *report) {
    _cleanup_text_ struct text text = {0};
    struct libscols_line *line;

    if (!json_is_integer(json_object_get(report, "queue")) || !is_listening(report) ||
        (number(report, "queue") == 0 && number(report, "backlog") == 0)) /* of datagrams none is told */
        return;
    line = add_line(tree, root, "queue");
    text_add_format(&text, "%lld of %lld waiting", number(report, "queue"),
                    number(report, "backlog") + 1); /* one more than the backlog may */
    if (line)
        set_cell_text(tree, line, COLUMN_HOW, &text);
}

/* What kind of thing it is, and how it locks. */
static void set_kind(struct tree *tree, struct libscols_line *line, json_t *report) {
    json_t *families = json_object_get(report, "families"), *state;
    _cleanup_text_ struct text text = {0};
    const char *family;

    json_object_foreach(families, family, state) if (strcmp(json_string_value(state), "held") == 0)
        text_add_format(&text, "%s%s", text.length > 0 ? ", " : "locked by ", family);
    if (report_text(report, "filesystem")[0])
        text_add_format(&text, "%son %s", text.length > 0 ? ", " : "", report_text(report, "filesystem"));
    set_cell_text(tree, line, COLUMN_HOW, &text);
    if (json_is_integer(json_object_get(report, "uid")) && number(report, "inode") > 0)
        set_user(tree, line, number(report, "uid"));
    set_since(tree, line, (uint64_t) number(report, "modifiedUSec"));
}

static const char *kind_in_words(json_t *report) {
    static const struct {
        const char *kind, *words;
    } kinds[] = {{"absent", "no file"}, {"lock", "lock file"}, {"pidfile", "PID file"}, {"socket", "socket"}};
    const char *kind = report_text(report, "kind");

    if (strcmp(kind, "lock") == 0 && (number(report, "mode") & S_IFMT) == S_IFLNK)
        return "symbolic link";
    for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
        if (strcmp(kind, kinds[i].kind) == 0)
            return kinds[i].words;
    return "file";
}

static void add_file(struct tree *tree, struct libscols_line *line, json_t *report) {
    set_kind(tree, line, report);
    add_recorded(tree, line, report);
    add_holders(tree, line, report);
    add_waiters(tree, line, report);
    add_openers(tree, line, report);
    add_queue(tree, line, report);
}

/* Of a socket the kernel tells only that its file does not stand there any more. */
static const char *fate_in_words(json_t *displaced) {
    if (is_true(displaced, "unlinked"))
        return "removed, was here";
    return strcmp(report_text(displaced, "kind"), "socket") == 0 ? "removed or renamed, was here"
                                                                 : "renamed, was here";
}

static void add_displaced(struct tree *tree, struct libscols_line *root, json_t *report) {
    json_t *displaced = json_object_get(report, "displaced"), *other;
    size_t i;

    json_array_foreach(displaced, i, other) {
        struct libscols_line *line = add_line(tree, root, fate_in_words(other));

        if (!line)
            return;
        add_file(tree, line, other);
        if (!is_true(other, "unlinked") && strcmp(report_text(other, "kind"), "socket") != 0)
            set_cell(tree, line, COLUMN_COMMAND, report_text(other, "path"));
    }
}

/* Sets up columns and, in front of them, the lines of the tree: with a blank behind, as people read it. */
static int init_table(struct tree *tree) {
    struct libscols_symbols *symbols;
    bool plain;
    int r = 0;

    tree->table = scols.new_table();
    symbols = scols.new_symbols();
    if (!tree->table || !symbols) {
        scols.unref_symbols(symbols);
        return -ENOMEM;
    }
    for (size_t i = 0; i < COLUMN_MAX; i++)
        if (!scols.table_new_column(tree->table, columns[i].name, 0, columns[i].flags))
            r = -ENOMEM;
    scols.table_enable_colors(tree->table, tree->cli->color);
    plain = !report_is_utf8();
    if (scols.symbols_set_branch(symbols, plain ? "|- " : "├─ ") < 0 ||
        scols.symbols_set_right(symbols, plain ? "`- " : "└─ ") < 0 ||
        scols.symbols_set_vertical(symbols, plain ? "|  " : "│  ") < 0 ||
        scols.table_set_symbols(tree->table, symbols) < 0)
        r = -ENOMEM;
    scols.unref_symbols(symbols);
    return r;
}

static int hide(struct tree *tree, enum column column) {
    struct libscols_column *data = scols.table_get_column(tree->table, column);

    tree->width[column] = 0;
    return scols.column_set_flags(data, scols.column_get_flags(data) | SCOLS_FL_HIDDEN) < 0 ? -ENOMEM : 0;
}

/* How wide the table is, with no more of the command line than tells something. */
static size_t least_width(const struct tree *tree) {
    size_t width = 0;

    for (size_t i = 0; i < COLUMN_MAX; i++) {
        size_t title = strlen(columns[i].name), cell = tree->width[i];

        if (cell == 0)
            continue;
        if (i == COLUMN_COMMAND && cell > COMMAND_LEAST)
            cell = COMMAND_LEAST;
        width += (cell > title ? cell : title) + 1;
    }
    return width;
}

/* Columns with nothing in them are left out; on a narrow terminal also those that can be missed. */
static int print(struct tree *tree) {
    static const enum column missable[] = {COLUMN_COMMAND, COLUMN_SINCE, COLUMN_USER, COLUMN_ROLE,
                                           COLUMN_RELATION};
    struct winsize window;

    for (size_t i = 0; i < COLUMN_MAX; i++)
        if (tree->width[i] == 0 && hide(tree, (enum column) i) < 0)
            return -ENOMEM;
    if (tree->cli->terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0)
        for (size_t i = 0; i < ELEMENTSOF(missable) && least_width(tree) > window.ws_col; i++)
            if (hide(tree, missable[i]) < 0)
                return -ENOMEM;
    return scols.print_table(tree->table);
}

int report_tree_print(const struct cli *cli, json_t *reports, size_t index) {
    struct tree tree = {.cli = cli, .reports = reports, .report = json_array_get(reports, index)};
    struct libscols_line *root;
    int r = smartcols_load();

    if (r < 0)
        return r;
    r = init_table(&tree);

    if (r >= 0) {
        root = add_line(&tree, NULL, kind_in_words(tree.report));
        if (root) {
            add_file(&tree, root, tree.report);
            add_displaced(&tree, root, tree.report);
        }
        r = tree.failed                      ? -ENOMEM
            : !scols.line_has_children(root) ? 0 /* the sentence above has said it */
                                             : print(&tree);
    }
    scols.unref_table(tree.table);
    return r < 0 ? -ENOMEM : 0;
}
