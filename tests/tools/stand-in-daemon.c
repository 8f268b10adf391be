/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A stand-in for kea-dhcp4, for machines without it: it guards its control socket and writes its PID file as
 * Kea 2.2 does, mistakes included, and answers status-get. It knows nothing of DHCP.
 *
 *     stand-in-daemon -c FILE      FILE: Kea's configuration, of which "socket-name" is read
 *
 * KEA_PIDFILE_DIR says where the PID file is (needed), KEA_LFC_EXECUTABLE what to run as the helper (this
 * program again by default), STAND_IN_LFC_SECONDS how long the helper works (default 20, 0: no helper). */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define HELPER_NAME "stand-in-lfc"

static volatile sig_atomic_t stopping;

static void on_signal(int number) {
    if (number != SIGHUP)
        stopping = 1;
}

__attribute__((format(printf, 2, 3))) static void say(const char *level, const char *format, ...) {
    struct timespec now;
    char when[32];
    va_list args;

    clock_gettime(CLOCK_REALTIME, &now);
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", localtime(&now.tv_sec));
    printf("%s.%03ld %-5s [stand-in.dhcp4/%d] ", when, now.tv_nsec / 1000000, level, (int) getpid());
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    (void) fflush(stdout);
}

/* The text between the quotes behind "KEY":, without regard to anything else in the file. */
static char *read_setting(const char *file, const char *key) {
    char text[65536], quoted[64], *at, *end;
    FILE *stream = fopen(file, "re");
    size_t n = stream ? fread(text, 1, sizeof text - 1, stream) : 0;

    if (stream)
        (void) fclose(stream);
    text[n] = '\0';
    snprintf(quoted, sizeof quoted, "\"%s\"", key);
    at = strstr(text, quoted);
    at = at ? strchr(at + strlen(quoted), ':') : NULL;
    at = at ? strchr(at, '"') : NULL;
    end = at ? strchr(at + 1, '"') : NULL;
    return end ? strndup(at + 1, (size_t) (end - at - 1)) : NULL;
}

/* DIR/BASE.kea-dhcp4.pid, BASE being the file's name without directories and extension. */
static char *pid_file_path(const char *directory, const char *file) {
    const char *slash = strrchr(file, '/'), *base = slash ? slash + 1 : file, *dot = strrchr(base, '.');
    char *path;

    if (asprintf(&path, "%s/%.*s.kea-dhcp4.pid", directory, dot ? (int) (dot - base) : (int) strlen(base),
                 base) < 0)
        exit(EXIT_FAILURE);
    return path;
}

/* Kea's rule: whoever kill(pid, 0) reaches, has it. That this is no proof is the point. */
static int write_pid_file(const char *path) {
    FILE *stream = fopen(path, "re");
    int pid = 0;

    if (stream) {
        if (fscanf(stream, "%d", &pid) == 1 && pid > 0 && kill(pid, 0) == 0) {
            say("FATAL",
                "DHCP4_ALREADY_RUNNING kea-dhcp4 already running? Daemon::createPIDFile: PID: %d exists, PID "
                "file: %s",
                pid, path);
            (void) fclose(stream);
            return -1;
        }
        (void) fclose(stream);
    }
    stream = fopen(path, "we");
    if (!stream || fprintf(stream, "%d\n", (int) getpid()) < 0 || fclose(stream) != 0) {
        say("FATAL", "cannot write %s: %m", path);
        return -1;
    }
    return 0;
}

static int commit_failed(const char *what, const char *path) {
    say("ERROR", "DHCP4_PARSER_COMMIT_FAIL parser failed to commit changes: %s, %s, : %m", what, path);
    return -1;
}

/* As Kea does: the lock is not closed on exec, nor is the listener, so that every child inherits both. */
static int open_socket(const char *path, const char *lock_path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int lock_fd = open(lock_path, O_RDONLY | O_CREAT, 0600); /* kept until the end */
    int fd;

    if (lock_fd < 0)
        return commit_failed("cannot create socket lockfile", lock_path);
    if (flock(lock_fd, LOCK_EX | LOCK_NB) < 0)
        return commit_failed("cannot lock socket lockfile", lock_path);
    (void) unlink(path);
    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return commit_failed("cannot bind socket", path);
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *) &address, sizeof address) < 0 || listen(fd, 4096) < 0)
        return commit_failed("cannot bind socket", path);
    return fd;
}

/* A bare fork and exec, nothing closed: this is how the lock outlives the daemon. */
static void start_helper(void) {
    const char *program = getenv("KEA_LFC_EXECUTABLE"), *seconds = getenv("STAND_IN_LFC_SECONDS");
    pid_t pid;

    seconds = seconds ? seconds : "20";
    if (atoi(seconds) <= 0)
        return;
    pid = fork();
    if (pid == 0) {
        execl(program && *program ? program : "/proc/self/exe", HELPER_NAME, seconds, (char *) NULL);
        _exit(127);
    }
    if (pid > 0)
        say("INFO", "DHCPSRV_MEMFILE_LFC_EXECUTE executing Lease File Cleanup (%s, process %d)", HELPER_NAME,
            (int) pid);
}

static int run_helper(const char *seconds) {
    struct timespec rest = {.tv_sec = atoi(seconds)};

    (void) prctl(PR_SET_NAME, HELPER_NAME);
    while (nanosleep(&rest, &rest) < 0 && errno == EINTR)
        ;
    return EXIT_SUCCESS;
}

static void answer(int listener, time_t started) {
    struct timeval patience = {.tv_sec = 5};
    char command[4096];
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return;
    (void) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    n = recv(fd, command, sizeof command - 1, 0);
    command[n > 0 ? n : 0] = '\0';
    if (strstr(command, "\"status-get\""))
        dprintf(fd, "{ \"arguments\": { \"pid\": %d, \"uptime\": %ld }, \"result\": 0 }", (int) getpid(),
                (long) (time(NULL) - started));
    else if (n > 0)
        dprintf(fd, "{ \"result\": 2, \"text\": \"a stand-in knows only status-get\" }");
    close(fd);
}

static void serve(int listener) {
    struct pollfd poll_fd = {.fd = listener, .events = POLLIN};
    time_t started = time(NULL);
    sigset_t none;

    sigemptyset(&none);
    while (!stopping)
        if (ppoll(&poll_fd, 1, NULL, &none) > 0)
            answer(listener, started);
}

/* From the lock to the end. Signals arrive only while poll waits, and none gets lost before it. */
static int run_daemon(const char *socket_path, const char *lock_path) {
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal};
    int listener;
    sigset_t mask;

    sigemptyset(&mask);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        sigaddset(&mask, signals[i]);
        sigaction(signals[i], &action, NULL);
    }
    listener = open_socket(socket_path, lock_path);
    if (listener < 0)
        return EXIT_FAILURE;
    signal(SIGCHLD, SIG_IGN); /* helpers are not waited for */
    start_helper();
    sigprocmask(SIG_BLOCK, &mask, NULL);
    say("INFO", "DHCP4_STARTED a stand-in for the Kea DHCPv4 server is up");
    serve(listener);

    (void) unlink(socket_path);
    (void) unlink(lock_path);
    return EXIT_SUCCESS;
}

static int configure_and_run(const char *file) {
    char *socket_path = read_setting(file, "socket-name"), *lock_path = NULL;
    int status = EXIT_FAILURE;

    if (!socket_path)
        say("ERROR", "DHCP4_CONFIG_LOAD_FAIL configuration error using file: %s, reason: no socket-name",
            file);
    else if (asprintf(&lock_path, "%s.lock", socket_path) >= 0)
        status = run_daemon(socket_path, lock_path);
    free(lock_path);
    free(socket_path);
    return status;
}

int main(int argc, char *argv[]) {
    const char *directory = getenv("KEA_PIDFILE_DIR");
    int status = EXIT_FAILURE;
    char *pid_file;

    if (argc == 2 && strcmp(argv[0], HELPER_NAME) == 0)
        return run_helper(argv[1]);
    if (argc != 3 || strcmp(argv[1], "-c") != 0 || !directory || !*directory) {
        fputs("Usage: KEA_PIDFILE_DIR=DIR stand-in-daemon -c FILE\n", stderr);
        return 64;
    }
    say("INFO", "DHCP4_STARTING a stand-in for the Kea DHCPv4 server is starting");
    pid_file = pid_file_path(directory, argv[2]);
    if (write_pid_file(pid_file) >= 0) {
        status = configure_and_run(argv[2]);
        (void) unlink(pid_file);
        say("INFO", "DHCP4_SHUTDOWN server shutdown");
    }
    free(pid_file);
    return status;
}
