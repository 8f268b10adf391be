#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Two latchd are started at the very same time for one service, thirty times: on nothing, on what a crash left, and on
# a daemon that lives. One serves, the other says who does, and exits with 75 ("try again later").
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
# shellcheck source=tests/lib/lock-daemon.sh
. "$srcdir/tests/lib/lock-daemon.sh"
require_root
require latchd latchctl
start_innocents

# A latchd with its daemon, killed. The daemon stays.
leave_daemon() {
    run_latchd "$T/before.log"
    await_ready "$T/before.log" 1 "$latchd_pid" 60 || die "the service does not start" "$(<"$T/before.log")"
    kill -KILL "$latchd_pid"
    wait "$latchd_pid" 2>/dev/null
    read -r left <"$E/S.pid"
}

for ((round = 0; round < 30; round++)); do
    begin_afresh
    left='' what=nothing
    case $((round % 3)) in
    1) leave_daemon && what="a living daemon" ;;
    2)
        leave_daemon && what="what a crash left"
        kill -KILL "$left"
        left=
        ;;
    esac
    run_latchd "$T/a.log"
    a=$latchd_pid
    run_latchd "$T/b.log"
    b=$latchd_pid
    began=$SECONDS
    while alive "$a" && alive "$b"; do
        ((SECONDS - began < 60)) || die "round $round: neither of two latchds ends" "$(<"$T/a.log")" "$(<"$T/b.log")"
        nap 0.01
    done
    if alive "$a"; then winner=$a loser=$b log=a loser_log=b; else winner=$b loser=$a log=b loser_log=a; fi
    wrong=$(await_up "$T/$log.log" "$winner" 60 || echo "the one that serves does not get ready")
    rc=0
    wait "$loser" || rc=$?
    ((rc == 75)) || wrong+=$'\n'"the other one's exit status is $rc, not 75"
    [[ $(<"$T/$loser_log.log") == *"PID $winner"* ]] || wrong+=$'\n'"the other one does not name PID $winner"
    wrong+=$(check_up)
    check_up >/dev/null
    [[ -z $left || $up_main == "$left" ]] || wrong+=$'\n'"daemon $left was alive, and $up_main runs"
    kill -TERM "$winner"
    rc=0
    wait "$winner" || rc=$?
    ((rc == 0)) || wrong+=$'\n'"the exit status of the one that served is $rc"
    wrong+=$(check_down "")
    [[ -z $wrong ]] || fail "round $round, on $what" "$wrong" "--- a" "$(<"$T/a.log")" "--- b" "$(<"$T/b.log")" \
        "--- journal" "$(<"$E/journal")"
done
((harness_failed)) || ok "thirty times two at once: one serves, the other exits with 75 and names it"
finish
