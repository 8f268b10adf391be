#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# One service, killed again and again as soon as it is up: each death is answered by one restart, and latchd is no
# bigger afterwards than before, in memory, descriptors, children and files. With a control socket, a lock file and a
# PID file to be looked at before each start, and without.
#
# LATCHD_TEST_RESTARTS=10000 goes on for longer.
# heavy: numbers, and forks of a process that a sanitizer makes large
# shellcheck disable=SC2317 # called by their names
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require latchd latchctl jq
kills=${LATCHD_TEST_RESTARTS:-1000}
STORM=$(tool storm)
D=$T/d
mkdir -p "$D/etc" "$D/run" "$D/pid" "$D/bin"
DAEMON=$D/bin/small-daemon
cp "$(tool small-daemon)" "$DAEMON"
sanitized=
! is_sanitized || sanitized=yes
settings=("ExecStart=$DAEMON $D/pid/NAME" StandardOutput=null StandardError=null Restart=always RestartSec=0
    RestartResetSec=0)
printf '%s\n' "[Service]" "${settings[@]/NAME/plain}" >"$D/etc/plain.conf"
{
    printf '%s\n' "[Service]" "${settings[@]/NAME/locked}" "[Lock one]" "LockFile=$D/one.lock" LockStyle=flock
    printf '%s\n' "[Lock two]" "LockFile=$D/pid/two.pid" LockStyle=pidfile "[Socket three]" "ListenStream=$D/three.sock"
} >"$D/etc/locked.conf"

descriptors() { find "/proc/$latchd_pid/fd" -mindepth 1 | wc -l; }
memory_kib() { awk '$1 == "RssAnon:" { print $2 }' "/proc/$latchd_pid/status"; }
files() { find "$D/run" | sort; }
running() { in_state "$D" running "$1"; }

storm() { # NAME KILLS
    local name=$1 report=$T/report-$1 rc=0
    latchd run --config-dir "$D/etc" --runtime-dir "$D/run" --log-target stderr --log-level warning "$name" \
        >"$T/$name.log" 2>&1 </dev/null &
    latchd_pid=$!
    wait_until 20 running "$name" || die "$name does not start"
    # What the tool has at its end, it leaves to the kernel.
    ASAN_OPTIONS=${ASAN_OPTIONS-}:detect_leaks=0 "$STORM" --kills 200 --report "$report" "$DAEMON" "$D/pid/$name" || die "$name: the first 200 restarts"
    wait_until 20 running "$name"
    local descriptors_before memory_before files_before began
    descriptors_before=$(descriptors) memory_before=$(memory_kib) files_before=$(files) began=$(now_ms)
    ASAN_OPTIONS=${ASAN_OPTIONS-}:detect_leaks=0 timeout 500 "$STORM" --kills "$2" --report "$report" "$DAEMON" "$D/pid/$name" || rc=$?
    is "$rc" 0 "$name: killed $2 times, and $2 times there is a successor"
    note "$name: $((($(now_ms) - began) * 1000 / $2)) us a restart; kill to successor: $(tail -n 1 "$report")"
    wait_for 20 "$name: it runs" running "$name"
    is "$(status_of "$D" .restarts "$name")" "$(($2 + 200))" "$name: as many restarts as kills"
    is "$(descriptors)" "$descriptors_before" "$name: no descriptor was lost"
    is "$(files)" "$files_before" "$name: no file was left"
    [[ -n $sanitized ]] || at_most "$(($(memory_kib) - memory_before))" 128 "$name: no memory was lost: more KiB"
    is "$(tr -d ' ' <"/proc/$latchd_pid/task/$latchd_pid/children")" "$(main_pid "$D" "$name")" \
        "$name: one child, the daemon"
    stop_latchd
    is "$latchd_rc" 0 "$name: latchd ends"
}
storm plain "$kills"
storm locked $((kills / 4))
finish
