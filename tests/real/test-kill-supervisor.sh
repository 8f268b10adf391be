#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# latchd is killed (SIGKILL) right before each of its steps, from its first system call on, through a start, a restart
# behind a crash with a leftover that ignores SIGTERM, a reload, and a stop. Whenever it was: the next latchd brings
# everything into order, there never are two daemons, a living daemon is kept, nobody else is touched. The same for
# `latchd exec`, for `latchctl clear`, and for latchd on its way to a new binary (reexec); and a client killed before any of its own steps leaves latchd as fit as before.
#
# LATCHD_TEST_EVERY=K takes every Kth step from a random one on (1: all of them, the default); LATCHD_TEST_CALLS=N
# sets how many random points among all system calls are tried besides; LATCHD_TEST_SEED repeats a run.
# heavy: thousands of processes, each of which takes a sanitizer a tenth of a second to begin
# shellcheck disable=SC2317 # called by their names
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require latchd latchctl
CRASH=$(tool crash-at)
# shellcheck source=tests/lib/lock-daemon.sh
. "$srcdir/tests/lib/lock-daemon.sh"

every=${LATCHD_TEST_EVERY:-1}
calls=${LATCHD_TEST_CALLS:-$((40 / every))}
seed=${LATCHD_TEST_SEED:-$((RANDOM * 32768 + RANDOM))}
RANDOM=$seed
note "seed $seed: LATCHD_TEST_SEED=$seed repeats the choice of points"
options=(--config-dir "$D/etc" --runtime-dir "$D/run")
start_innocents

# Runs latchd or latchctl so that it is killed before step N; N 0: never. Sets crash_pid (crash-at) and victim (the
# program).
crash_at() { # N [OPTION] COMMAND...
    local at=$1 option=()
    shift
    [[ $1 != --* ]] || { option=("$1") && shift; }
    [[ -z ${after-} ]] || option+=(--after "$after")
    rm -f "$T/report" "$T/victim"
    "$CRASH" --at "$at" "${option[@]}" --pid-file "$T/victim" --report "$T/report" -- "$@" >"$T/first.log" 2>&1 \
        </dev/null &
    crash_pid=$!
    until [[ -s $T/victim ]]; do nap 0.001; done
    victim=$(<"$T/victim")
}

# The first latchd's life, up to its violent end or to its last step. Sets the number of steps and the report.
live() { # N [--all]
    local main
    phase=start killed_by_us=
    crash_at "$1" ${2:+"$2"} latchd run "${options[@]}" --log-target stderr quick
    if await_ready "$T/first.log" 1 "$crash_pid" 60; then
        phase=restart
        read -r main <"$E/S.pid"
        killed_by_us=$main
        kill -KILL "$main"
        if await_ready "$T/first.log" 2 "$crash_pid" 60; then
            phase=reload
            kill -HUP "$victim" 2>/dev/null
            await_text "$T/first.log" "Ready again" "$crash_pid" 60 && phase=stop
            kill -TERM "$victim" 2>/dev/null
        fi
    fi
    await_gone "$crash_pid" 60 || die "crash-at does not end" "step $1, phase $phase"
    wait "$crash_pid"
    read -r outcome steps call <"$T/report" || die "no report" "step $1"
}

# What is there right behind the crash: the daemon that lives, if any.
look_after_crash() {
    find_living start
    survivor=${living[0]-}
}

# A new latchd, its checks, its end. Prints what is wrong.
recover_and_stop() {
    local wrong
    run_latchd "$T/second.log"
    if ! await_up "$T/second.log" "$latchd_pid" 60; then
        echo "the new latchd did not get ready within 10 s"
        kill -KILL "$latchd_pid"
        return 1
    fi
    wrong=$(check_up) || echo "$wrong"
    check_up >/dev/null
    if [[ -n $survivor && $survivor != "$up_main" && $survivor != "$killed_by_us" ]] &&
        ! journal_has "term $survivor"; then
        echo "daemon $survivor was alive, and $up_main runs now"
    fi
    if [[ $survivor == "$up_main" && $(<"$T/second.log") != *"Taken over"* && -n $survivor ]]; then
        echo "daemon $survivor was not taken over"
    fi
    kill -TERM "$latchd_pid"
    await_gone "$latchd_pid" 60 || { echo "the new latchd does not end" && kill -KILL "$latchd_pid"; }
    wait "$latchd_pid" || echo "the new latchd's exit status is $?"
    check_down ""
}

tell() { # TEXT WRONG
    fail "$1" "$2" "--- journal" "$(<"$E/journal")" "--- first" "$(<"$T/first.log")" "--- second" \
        "$(<"$T/second.log")" "--- files" "$(ls -la "$E" "$D/run")"
}

# One kill of `latchd run`. False: it has not so many steps.
try_run() { # N [--all]
    local wrong
    begin_afresh
    : >"$T/second.log"
    live "$@"
    look_after_crash
    if [[ $outcome == ended ]]; then
        wrong=$(check_down "") || { tell "latchd run unharmed ($steps steps)" "$wrong" && return 0; }
        return 1
    fi
    wrong=$(recover_and_stop)
    [[ -z $wrong ]] || tell "killed before ${2:+call }${2:-step} $steps ($call), phase $phase" "$wrong"
    tried=$((tried + 1))
}

# A daemon that `latchd exec` became, killed; its helper and its PID file are left.
leave_leftovers() {
    begin_afresh
    : >"$T/second.log"
    latchd exec "${options[@]}" --log-target stderr quick >"$T/prepare.log" 2>&1 </dev/null &
    local pid=$!
    until journal_has ready; do
        alive "$pid" || die "latchd exec does not become the daemon" "$(<"$T/prepare.log")"
        nap 0.005
    done
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null
}

try_exec() { # N
    local wrong until
    leave_leftovers
    killed_by_us=
    crash_at "$1" latchd exec "${options[@]}" --log-target stderr quick
    until [[ -s $T/report ]]; do nap 0.005; done
    read -r outcome steps call <"$T/report"
    if [[ $outcome == became ]]; then
        until=$((SECONDS + 5))
        while find_pids ready && ((${#found[@]} < 2 && SECONDS < until)); do nap 0.005; done
    fi
    look_after_crash
    wrong=$(recover_and_stop)
    [[ -z $wrong ]] || tell "exec: $outcome, step $steps ${call-}" "$wrong"
    tried=$((tried + 1))
    await_gone "$crash_pid" 5 || die "crash-at does not end"
    wait "$crash_pid"
    [[ $outcome == killed ]]
}

try_clear() { # N
    local wrong rc=0
    leave_leftovers
    killed_by_us=
    crash_at "$1" latchctl "${options[@]}" clear quick
    await_gone "$crash_pid" 60 || die "latchctl clear does not end"
    wait "$crash_pid"
    read -r outcome steps call <"$T/report"
    latchctl "${options[@]}" clear quick >"$T/second.log" 2>&1 || rc=$?
    wrong=$(
        ((rc == 0)) || echo "the second latchctl clear: exit status $rc"
        check_down S # the next daemon, having the lock, replaces its socket
    )
    look_after_crash
    [[ -n $wrong ]] || wrong=$(recover_and_stop)
    [[ -z $wrong ]] || tell "clear: $outcome, step $steps ${call-}" "$wrong"
    tried=$((tried + 1))
    [[ $outcome == killed ]]
}

# latchd replaces itself by the installed binary: whenever it is killed on the way, as the old one or the new one, the
# daemon goes on.
try_reexec() { # N
    local wrong='' after=$T/armed
    begin_afresh
    : >"$T/second.log"
    rm -f "$after"
    killed_by_us=
    crash_at "$1" latchd run "${options[@]}" --log-target stderr quick
    await_ready "$T/first.log" 1 "$crash_pid" 60 || die "latchd does not start" "$(<"$T/first.log")"
    : >"$after"
    if timeout 20 latchctl "${options[@]}" reexec quick >"$T/client.log" 2>&1; then
        find_living start
        [[ $(recorded_main) == "${living[*]}" ]] || wrong="alive is ${living[*]}, and $(recorded_main) on record"
        kill -TERM "$victim" 2>/dev/null
    fi
    await_gone "$crash_pid" 20 || die "crash-at does not end" "step $1" "$(<"$T/client.log")"
    wait "$crash_pid"
    read -r outcome steps call <"$T/report"
    look_after_crash
    [[ -n $survivor ]] || journal_has term || wrong+="the daemon did not survive it"
    if [[ $outcome == killed ]]; then wrong+=$(recover_and_stop); else wrong+=$(check_down ""); fi
    [[ -z $wrong ]] || tell "latchctl reexec: $outcome, step $steps ${call-}" "$wrong"
    tried=$((tried + 1))
    [[ $outcome == killed ]]
}

# A client, at work on the latchd that try_client's caller began.
try_client() { # N
    local wrong verb rc=0
    for verb in reload restart stop; do
        crash_at "$1" latchctl "${options[@]}" "$verb" quick
        await_gone "$crash_pid" 20 || die "latchctl $verb does not end"
        wait "$crash_pid"
        read -r outcome steps call <"$T/report"
        wrong=
        if [[ $verb == stop ]]; then
            timeout 20 latchctl "${options[@]}" stop quick >"$T/second.log" 2>&1 || wrong="the next stop: exit status $?"
            wrong+=$(check_down quick.sock)
        fi
        timeout 20 latchctl "${options[@]}" start quick >"$T/second.log" 2>&1 || wrong+="the next start: exit status $?"
        wrong+=$(check_up)
        [[ -z $wrong ]] || tell "latchctl $verb: $outcome, step $steps ${call-}" "$wrong"
        tried=$((tried + 1))
    done
    [[ $outcome == killed ]]
}

# Every step from 1 on, or every Kth from a random one on, until there are no more.
sweep() { # FUNCTION TEXT
    local n=$((1 + RANDOM % every)) before=$harness_failed
    tried=0
    while "$1" "$n"; do n=$((n + every)); done
    ((harness_failed > before)) || ok "$2: killed before each of $((n - 1)) steps$( ((every == 1)) || echo ", every $every")"
}

began=$(now_ms)
sweep try_run "latchd run"
note "$tried kills in $(($(now_ms) - began)) ms"
sweep try_exec "latchd exec"
sweep try_clear "latchctl clear"
sweep try_reexec "latchctl reexec"
begin_afresh
killed_by_us=
run_latchd "$T/first-latchd.log"
await_ready "$T/first-latchd.log" 1 "$latchd_pid" 60 || die "latchd does not start"
sweep try_client "latchctl reload, restart and stop"
kill -TERM "$latchd_pid"
await_gone "$latchd_pid" 60 || die "latchd does not end"
rc=0
wait "$latchd_pid" || rc=$?
is "$rc" 0 "behind all these clients latchd ends in good order"
is "$(check_down "")" "" "and nothing is left"

# Between two steps as well, where only time passes and facts are read.
begin_afresh
live 0 --all
total=$steps before=$harness_failed
for ((i = 0; i < calls; i++)); do
    try_run $((1 + (RANDOM * 32768 + RANDOM) % total)) --all || true
done
((harness_failed > before)) || ok "latchd run: killed at $calls random ones of its $total system calls"
# The child that is to execute the daemon is held up, for longer than anybody expects, when latchd dies.
# CALL is the step behind which it died. Sets child.
freeze() { # CALL
    local n
    for ((n = 1; n < 60; n++)); do
        begin_afresh
        crash_at "$n" --freeze-children latchd run "${options[@]}" --log-target stderr quick
        if await_ready "$T/first.log" 1 "$crash_pid" 60; then
            die "the daemon was up before there was a step $1 with a child"
        fi
        wait "$crash_pid"
        read -r outcome steps call <"$T/report"
        child=$(frozen_child)
        [[ -n $child ]] || continue
        [[ $call != "$1" ]] || return 0
        kill -KILL "$child" # not the one that was looked for
        await_gone "$child" 5
    done
    die "no step $1"
}

frozen_child() { # the copy of latchd that it left
    local pid words
    for pid in /proc/[0-9]*; do # without a fork: there may be thousands
        { mapfile -d '' -t words <"$pid/cmdline"; } 2>/dev/null || continue
        [[ "${words[*]}" != "latchd run --config-dir $D/etc "* ]] || echo "${pid#/proc/}"
    done
}

thaw_and_check() { # TEXT WRONG
    local wrong=$2
    await_up "$T/second.log" "$latchd_pid" 60 || wrong+=$'\n'"the new latchd does not get ready"
    wrong+=$(check_up)
    kill -TERM "$latchd_pid"
    await_gone "$latchd_pid" 60 || wrong+=$'\n'"the new latchd does not end"
    wrong+=$(check_down "")
    if [[ -z $wrong ]]; then ok "$1"; else tell "$1" "$wrong"; fi
}

killed_by_us=
freeze sendto
note "latchd opened the gate and died (step $steps); its child, PID $child, is stopped before it can pass"
run_latchd "$T/second.log"
nap 3
find_pids start
wrong=
[[ ${#found[@]} == 0 ]] || wrong="another daemon was started meanwhile: ${found[*]}"
kill -CONT "$child"
thaw_and_check "a child that had not executed the daemon yet is taken over, and no second one started" "$wrong"

freeze clone
note "latchd forked and died (step $steps); its child, PID $child, is stopped with copies of all descriptors"
run_latchd "$T/second.log"
nap 1
wrong=
if alive "$latchd_pid"; then
    kill -CONT "$child"
else
    # It has a copy of latchd's own lock as well.
    rc=0
    wait "$latchd_pid" || rc=$?
    is "$rc" 75 "the new latchd says: try again later"
    contains "$(<"$T/second.log")" "PID $child" "and names the child that is in the way"
    kill -CONT "$child"
    await_gone "$child" 5 || wrong="the child does not end though its latchd is dead"
    run_latchd "$T/second.log"
fi
thaw_and_check "a child that nobody recorded ends, and a new latchd starts the daemon" "$wrong"
finish
