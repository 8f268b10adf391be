#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A Kea that somebody started by hand lives: latchd says so, names it and leaves it alone; when it ends latchd's own
# Kea starts at once. And two latchds for one service: the second gives way.
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require jq
require_kea

D=$T/kea
L=$D/kea.sock.lock
make_kea "$D" 2000
watch_keas "$D"
start_plain_kea "$D"
hand=$kea_pid
wait_for 20 "a Kea started by hand answers" kea_answers "$D" "$hand"
ticks=$(start_ticks "$hand")

# shellcheck disable=SC2317 # called through succeeds
untouched() { [[ $(start_ticks "$hand") == "$ticks" ]] && kea_answers "$D" "$hand" && holds "$hand" "$L"; }

note "latchd exec"
rc=0
# shellcheck disable=SC2046 # no path of a test has blanks
timeout 20 latchd exec $(latchd_options "$D") kea >"$T/exec" 2>&1 </dev/null || rc=$?
is "$rc" 75 "exits with 75: held, try again later"
contains "$(grep '^latchd: ' "$T/exec")" "PID $hand" "one line says who is in the way"
is "$(grep -c '^latchd: ' "$T/exec")" 1 "and it is one line"
succeeds "Kea is untouched" untouched

note "latchctl probe and clear"
rc=0
ctl "$D" probe "$L" >"$T/probe" || rc=$?
is "$rc" 5 "probe says held"
contains "$(<"$T/probe")" "$hand" "by whom"
exits 1 "clear refuses" ctl "$D" clear kea
exits 1 "clear by path refuses" ctl "$D" clear "$L"
exits 1 "clear of the PID file refuses" ctl "$D" clear "$D/pid/kea.kea-dhcp4.pid"
succeeds "the lock file is there" test -e "$L"
succeeds "the PID file is there" test -e "$D/pid/kea.kea-dhcp4.pid"
succeeds "Kea is untouched" untouched

note "latchd run"
start_latchd "$D"
wait_for 10 "the service is blocked" in_state "$D" blocked
contains "$(status_of "$D" .statusText)" "PID $hand" "statusText names the one in the way"
is "$(status_of "$D" .mainPid)" null "there is no main process"
rc=0
ctl "$D" status kea >"$T/status" || rc=$?
is "$rc" 3 "status: not running"
contains "$(<"$T/status")" "PID $hand" "status in words names it as well"
rc=0
ctl "$D" start kea >"$T/start" 2>&1 || rc=$?
is "$rc" 1 "latchctl start fails"
contains "$(<"$T/start")" "PID $hand" "and names the one in the way"
rc=0
ctl "$D" restart kea >"$T/start" 2>&1 || rc=$?
is "$rc" 1 "so does latchctl restart"
sleep 2
succeeds "Kea is untouched" untouched
at_most "$(grep -c 'in the way' "$D/latchd.log")" 3 "the log says it once a try that was asked for, not again and again"

note "a second latchd"
rc=0
# shellcheck disable=SC2046
timeout 20 latchd run $(latchd_options "$D") kea >"$T/second" 2>&1 </dev/null || rc=$?
is "$rc" 75 "latchd run: 75"
contains "$(<"$T/second")" "PID $latchd_pid" "it names the first one"
rc=0
# shellcheck disable=SC2046
timeout 20 latchd exec $(latchd_options "$D") kea >"$T/second" 2>&1 </dev/null || rc=$?
is "$rc" 75 "latchd exec: 75"
contains "$(<"$T/second")" "PID $latchd_pid" "it names the first one as well"
in_state "$D" blocked || fail "the first one goes on as before"

note "the Kea by hand ends"
kill -TERM "$hand"
wait_until 20 gone "$hand" || die "Kea obeys SIGTERM"
ended=$(now_ms)
wait_until 5 some_kea "$D" || die "a new Kea starts"
at_most $(($(now_ms) - ended)) 4000 "the new Kea started at once (ms)"
wait_for 20 "the service is running" in_state "$D" running
main=$(main_pid "$D")
succeeds "Kea answers, and it is latchd's" kea_answers "$D" "$main"
isnt "$main" "$hand" "it is another process"
is "$(status_of "$D" .restarts)" 0 "that was no restart"

note "SIGSTOP: a stopped Kea is a living one"
stop_latchd
start_plain_kea "$D"
hand=$kea_pid
wait_for 20 "a Kea started by hand answers" kea_answers "$D" "$hand"
kill -STOP "$hand"
ticks=$(start_ticks "$hand")
rc=0
ctl "$D" probe "$L" >"$T/probe" || rc=$?
is "$rc" 5 "probe says held"
contains "$(<"$T/probe")" "stopped" "and that it is stopped"
start_latchd "$D"
wait_for 10 "the service is blocked" in_state "$D" blocked
contains "$(status_of "$D" .statusText)" "stopped" "statusText says that it is stopped"
sleep 1
kill -CONT "$hand"
succeeds "Kea is untouched" untouched
kill -KILL "$hand"
wait_for 20 "once it is killed, the service runs" in_state "$D" running
stop_latchd
is "$latchd_rc" 0 "latchd ends with 0"
is "$(keas_at_once "$D")" 1 "never two Keas at once"
finish
