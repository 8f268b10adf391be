#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What test-kill-supervisor.sh does with a quick daemon at every step, at the interesting ones with a real Kea: latchd is
# killed around the fork, the state file, the gate and exec, while it waits for Kea, in the recovery behind a crash of
# Kea with kea-lfc at work, and in the stop. The next latchd has exactly one Kea, with its lock and all its leases.
# heavy: kills at every step; what is done behind them, the other tests do as well
# shellcheck disable=SC2317 # called by their names
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require jq latchd latchctl
require_kea

leases=100000
D=$T/kea
L=$D/kea.sock.lock
make_kea "$D" "$leases" OrphanGraceSec=0 RestartSec=50ms
CRASH=$(tool crash-at)
tool unix-call >/dev/null
watch_keas "$D"

ready_lines() { grep -c 'Ready: PID' "$1"; } # LOG
ready_times() { (($(ready_lines "$1") >= $2)) || gone "$crash_pid"; } # LOG N

# The first latchd, killed by force at the Nth call of that name, or (call "idle") once Kea is up.
live() { # N CALL [--behind]
    local main
    phase=start killed=''
    : >"$D/first.log"
    rm -f "$T/report"
    # shellcheck disable=SC2046 # no path of a test has blanks
    "$CRASH" --at "$1" --call "$2" ${3+"$3"} --pid-file "$T/victim" --report "$T/report" -- \
        latchd run $(latchd_options "$D") kea >"$D/first.log" 2>&1 </dev/null &
    crash_pid=$!
    wait_until 30 ready_times "$D/first.log" 1 || die "Kea does not get ready"
    if [[ $2 == idle ]]; then
        kill -KILL "$(<"$T/victim")"
        wait "$crash_pid" 2>/dev/null
        return
    fi
    gone "$crash_pid" || {
        phase=restart
        main=$(main_pid "$D")
        wait_until 20 lfc_pid_of "$D" || die "kea-lfc does not run"
        kill -KILL "$main"
        killed=$main
        wait_until 40 ready_times "$D/first.log" 2 || die "Kea does not get ready again"
    }
    gone "$crash_pid" || {
        phase=stop
        kill -TERM "$(<"$T/victim")"
        wait_until 20 gone "$crash_pid" || die "latchd does not stop"
    }
    wait "$crash_pid"
}

round() { # TEXT N CALL [--behind]
    local text=$1 survivor main before=$harness_failed try
    shift
    # Where kea-lfc ends before latchd comes to it, there is a step less.
    for try in 1 2 3 4; do
        live "$@"
        [[ $2 != idle ]] || break
        read -r outcome _ <"$T/report"
        [[ $outcome != killed ]] || break
        ((try < 4)) || { fail "$text" "latchd made no such step: $(<"$T/report")" "$(<"$D/first.log")" && return; }
    done
    survivor=$(keas_of "$D")
    : >"$D/latchd.log"
    start_latchd "$D"
    wait_until 40 in_state "$D" running || fail "$text, in phase $phase: running again" "$(<"$D/latchd.log")"
    main=$(main_pid "$D")
    [[ $(keas_of "$D") == "$main" ]] || fail "$text: one Kea" "latchd's: $main" "there are: $(keas_of "$D")"
    holds "$main" "$L" || fail "$text: it holds its lock" "holders: $(holders_of "$L")"
    kea_answers "$D" "$main" || fail "$text: it answers"
    [[ $(leases_in_kea "$D") == "$leases" ]] || fail "$text: it has all leases" "found: $(leases_in_kea "$D")"
    [[ $(jq .mainPid "$D/run/kea.state") == "$main" ]] || fail "$text: it is on record" "$(<"$D/run/kea.state")"
    # A Kea that lived and was not being stopped is kept.
    if [[ -n $survivor && $survivor != "$killed" && $phase != stop && $survivor != "$main" ]]; then
        fail "$text: the living Kea is kept" "it was $survivor, now runs $main"
    fi
    stop_latchd
    ((latchd_rc == 0)) || fail "$text: stopped in good order" "exit status $latchd_rc"
    [[ -z $(keas_of "$D") ]] || fail "$text: no Kea is left" "$(keas_of "$D")"
    lock_is_free "$L" || fail "$text: nobody has the lock" "holders: $(holders_of "$L")"
    no_file "$D/kea.sock" || fail "$text: no socket is left"
    no_file "$D/run/kea.sock" || fail "$text: no control socket of latchd is left"
    ((harness_failed > before)) || ok "killed $text (phase $phase${survivor:+, Kea alive})"
}

round "before the fork" 1 clone
round "behind the fork" 1 clone --behind
round "before the state file is replaced" 2 renameat
round "before the gate opens" 1 sendto
round "behind the gate" 1 sendto --behind
round "behind its first question to Kea, which loads its leases" 1 connect --behind
round "when all is quiet" 0 idle
round "before the leftover's SIGTERM" 1 pidfd_send_signal
round "behind the leftover's SIGTERM" 1 pidfd_send_signal --behind
round "before the second fork" 2 clone
round "behind the second state file" 3 renameat --behind
round "before Kea's SIGTERM" 2 pidfd_send_signal
round "behind Kea's SIGTERM" 2 pidfd_send_signal --behind
round "at its very end" 1 exit_group
is "$(keas_at_once "$D")" 1 "never there were two Keas at a time"
finish
