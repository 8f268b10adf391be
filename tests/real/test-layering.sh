#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Floors and effects (doc/STYLE.md): a room of src/ includes only lower floors and itself, and what reaches out of
# the process (a signal, a file removed, an execution, a fork, an exit, output) stands only where this file says.
# At its end it plants breaches, and what only looks like one, in a tree of the same rooms and fails unless it
# tells them apart.
# heavy: it reads the sources
set -euo pipefail
shopt -s nullglob

srcdir=${srcdir:-$(cd "$(dirname "$0")/../.." && pwd)}

# Each line: the rooms of one floor, the lowest first.
floors='base
socket journal varlink
lock
probe
config
exec
runtime
recovery health notify owned doctor
service
control
cli'

# effect|functions (an extended regular expression)
effects='signal|kill|killpg|tkill|tgkill|pidfd_send_signal|sigqueue|rt_sigqueueinfo|rt_tgsigqueueinfo|pthread_kill
remove|unlink|unlinkat|remove|rmdir|rename|renameat|renameat2
execute|execl|execle|execlp|execv|execve|execvp|execvpe|execveat|fexecve|posix_spawn|posix_spawnp|system|popen
fork|fork|vfork|_Fork|clone|clone3|forkpty|daemon
exit|exit|_exit|_Exit|quick_exit|exit_group|errx|verr|verrx
print|printf|vprintf|puts|putchar|perror|warnx|vwarnx'

# effect file: reason. cli/* stands for every file of the room. A line for a file that no longer
# needs it is an error.
allowed='signal exec/terminate.c: the one place that signals processes
signal probe/remote.c: its own child, which waits for a file system
remove probe/clear.c: the one place that removes the lock of another
remove recovery/own-cgroup.c: the cgroups that it made itself, once they are empty
remove base/fd.c: its own temporary file, which it renames into place
remove socket/listener.c: the sockets that it made itself, each compared before it goes
remove control/server.c: its own control socket, under its own lock
remove notify/socket.c: its own notification socket, under its own lock
execute exec/exec-child.c: the one place that becomes another program
execute exec/reexec.c: latchd becomes its successor
execute cli/cmd-control.c: systemctl starts a service that no supervisor runs
fork exec/birth.c: the one place that makes the processes of services
fork probe/trace-flight.c: a child of its own looks at what strangers sent to strangers
exit probe/trace-flight.c: that child ends itself
fork health/helper.c: a child of its own reads what may let it wait, beside the loop
exit health/helper.c: that child ends
fork probe/remote.c: a child looks at what may let it wait for ever
exit probe/remote.c: that child ends
exit exec/exec-child.c: the child ends itself when it could not become the daemon
exit cli/*: programs exit
print journal/event.c: events go to standard error where there is no journal
print cli/*: programs print'

# strip SRC DIR: copies of the C files in SRC, with comments blanked and strings and character constants emptied but for
# those of #include lines; line numbers stay.
strip() {
    local src=$1 dir=$2 rooms=("$1"/*/) files=("$1"/*/*.[ch] "$1"/*/*.def)
    mkdir -p "${rooms[@]/#"$src"/$dir}"
    awk -v src="$src/" -v dir="$dir/" '
    FNR == 1 { close(copy); copy = dir substr(FILENAME, length(src) + 1); comment = 0; quote = "" }
    {
        if (!comment && quote == "" && ($0 ~ /^[ \t]*#[ \t]*include/ || $0 !~ /["\047\/]/)) { print >copy; next }
        out = ""
        n = length($0)
        for (i = 1; i <= n; i++) {
            c = substr($0, i, 1)
            two = substr($0, i, 2)
            if (comment) { if (two == "*/") { comment = 0; i++ } continue }
            if (quote != "") {
                if (c == "\\") i++
                else if (c == quote) { quote = ""; out = out c }
                continue
            }
            if (two == "/*") { comment = 1; out = out " "; i++; continue }
            if (two == "//") break
            if (c == "\"" || c == "\047") quote = c
            out = out c
        }
        print out >copy
    }' "${files[@]}"
}

# grep_in DIR EXPRESSION: ROOM/FILE:LINE:TEXT of each line that matches.
grep_in() {
    cd "$1" || exit
    grep -HnE -- "$2" */* || (($? == 1))
}

# check_includes SRC STRIPPED: a line for each include that the floors forbid.
check_includes() {
    local src=$1 stripped=$2 file room other line number floor rooms
    declare -A level=()
    floor=0
    while read -r -a rooms; do
        for room in "${rooms[@]}"; do level[$room]=$floor; done
        floor=$((floor + 1))
    done <<<"$floors"
    for file in "$src"/*; do
        [[ -n ${level[${file##*/}]-} ]] || echo "src/${file##*/}: stands on no floor"
    done
    while IFS=: read -r file number line; do
        room=${file%%/*}
        other=${line#*\"} other=${other%%\"*}
        case $other in
        */*)
            other=${other%%/*}
            if [[ -z ${level[$other]-} ]]; then
                echo "$file:$number: includes $other/, which is no room of src/"
            elif [[ $other != "$room" ]] && ((${level[$other]} >= ${level[$room]-0})); then
                echo "$file:$number: $room/ includes $other/, which is not below it"
            fi
            ;;
        *) echo "$file:$number: \"$other\" is not written from src/" ;;
        esac
    done < <(grep_in "$stripped" '^[[:space:]]*#[[:space:]]*include[[:space:]]*"')
}

# A regular expression for a use of one of the functions: a call by name, not of a member (x.kill(), x->kill()) nor
# of another_kill(); an address taken (= kill, &kill); the bare system call; a standard stream.
uses() {
    local taken=$1 word
    for word in system remove daemon clone; do # words that are good names for variables
        taken=${taken//|$word|/|}
        taken=${taken%"|$word"}
    done
    printf '%s' "(^|[^A-Za-z0-9_.>])($1)[[:space:]]*\\(|\\b(SYS|__NR)_($1)\\b|(=|&)[[:space:]]*($taken)[[:space:]]*[,;)]"
    [[ $1 != *perror* ]] || printf '%s' '|\b(stdout|stderr|STDERR_FILENO)\b'
}

# check_effects STRIPPED [all]: a line for each effect outside its place and, of all files, for each needless permission.
check_effects() {
    local stripped=$1 file effect functions number line needed="" permit
    while IFS='|' read -r effect functions; do
        while IFS=: read -r file number line; do
            permit=$(permission "$effect" "$file")
            if [[ -n $permit ]]; then
                needed+="$permit"$'\n'
            else
                echo "$file:$number: $effect: ${line#"${line%%[![:space:]]*}"}"
            fi
        done < <(grep_in "$stripped" "$(uses "$functions")")
    done <<<"$effects"
    [[ ${2-} == all ]] || return 0
    while IFS= read -r permit; do
        permit=${permit%%:*}
        [[ $permit == *'*' ]] && continue
        grep -qxF -- "$permit" <<<"$needed" || echo "allowed without need in $0: $permit"
    done <<<"$allowed"
}

permission() { # EFFECT FILE: prints the line of `allowed` that permits it
    local line place
    while IFS= read -r line; do
        place=${line%%:*}
        # shellcheck disable=SC2053 # the place may be a pattern
        [[ ${place%% *} == "$1" && $2 == ${place#* } ]] && printf '%s\n' "$place"
    done <<<"$allowed"
    return 0
}

# check SRC [all]
check() {
    local stripped
    stripped=$(mktemp -d "$scratch/XXXXXX")
    strip "$1" "$stripped"
    check_includes "$1" "$stripped"
    check_effects "$stripped" "${@:2}"
}

self_check() {
    local copy=$1 failed=0 room
    for room in $floors; do mkdir -p "$copy/src/$room"; done
    plant() { # FILE TEXT EXPECTED
        local file=$copy/src/$1 found
        printf '%s\n' "$2" >"$file"
        found=$(check "$copy/src")
        if [[ $3 == innocent ]]; then
            if grep -q "^${1//./\\.}:" <<<"$found"; then echo "self-check: $1: taken for a breach: $2"; failed=1; fi
        elif ! grep -q "^${1//./\\.}:[0-9]*: .*$3" <<<"$found"; then
            echo "self-check: $1: not seen: $2"
            failed=1
        fi
        rm "$file"
    }
    plant base/planted.c '#include "lock/facts.h"' 'base/ includes lock/'
    plant lock/planted.h '#  include "config/config.h"' 'lock/ includes config/'
    plant socket/planted.c '#include "journal/event.h"' 'socket/ includes journal/'
    plant service/planted.c '#include "cli/verb.h"' 'service/ includes cli/'
    plant lock/planted.c '#include "facts.h"' 'not written from src/'
    plant lock/planted.c '#include "nowhere/facts.h"' 'no room of src/'
    plant lock/planted.c 'void f(void) { (void) kill(1, 9); }' 'signal: '
    plant lock/planted.c 'void f(void) { syscall(SYS_pidfd_send_signal, 1, 9, 0, 0); }' 'signal: '
    plant control/planted.c 'int (*f)(const char *) = unlink;' 'remove: '
    plant lock/planted.c 'void f(void) { (void) unlinkat (3, "x", 0); }' 'remove: '
    plant socket/planted.c 'void f(void) { if (!rename("a", "b")) return; }' 'remove: '
    plant service/planted.c 'void f(void) { execve("/bin/true", 0, 0); }' 'execute: '
    plant cli/planted.c 'void f(void) { if (system("true")) return; }' 'execute: '
    plant journal/planted.c 'void f(void) { if (!fork()) return; }' 'fork: '
    plant varlink/planted.c 'void f(void) { exit(1); }' 'exit: '
    plant lock/planted.c 'void f(void) { printf("x"); }' 'print: '
    plant lock/planted.c 'void f(void) { fputs("x", stderr); }' 'print: '
    plant lock/planted.c '#include "lock/facts.h"' innocent
    plant lock/planted.c '#include "base/err.h"' innocent
    plant lock/planted.c '/* kill(1, 9); */ // unlink("x")' innocent
    plant lock/planted.c '/* a comment of
 * two lines: unlink("x") */' innocent
    plant lock/planted.c 'const char *f = "kill(1, 9) \" fork()";' innocent
    plant lock/planted.c 'void f(struct ops *o) { o->kill(1); o->ops.unlink(2); may_kill(3); }' innocent
    plant lock/planted.c 'void f(int kill) { if (kill) return; }' innocent
    plant lock/planted.c 'void f(FILE *file, int *ret) { int system = 1; fprintf(file, "x"); *ret = system; }' innocent
    return "$failed"
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
result=0
found=$(check "$srcdir/src" all)
if [[ -n $found ]]; then
    printf '%s\n' "$found" >&2
    result=1
fi
self_check "$scratch/planted" >&2 || result=1
# latchctl starts fast because it leaves libsystemd to those verbs that need it.
if [[ -n ${builddir-} && -x $builddir/latchctl ]] &&
    readelf --dynamic "$builddir/latchctl" | grep 'NEEDED.*libsystemd'; then
    echo "latchctl is linked to libsystemd" >&2
    result=1
fi
((result)) || echo "PASS: $(find "$srcdir/src" -name '*.[ch]' | wc -l) files keep to their floors"
exit "$result"
