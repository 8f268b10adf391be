#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# latchd exec: makes the way free, sets limits and rights, and becomes Kea; `latchd run` can take it over later. Then
# what the rights are under User= and AmbientCapabilities=, and what is said when Kea cannot be executed.
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require jq setpriv
require_kea

D=$T/kea
L=$D/kea.sock.lock
make_kea "$D" "$KEA_LEASES" LimitNOFILE=1234:5678 LimitCORE=0 OOMScoreAdjust=321 Nice=3 UMask=0027
# shellcheck disable=SC2046 # no path of a test has blanks
as_kea() { exec latchd exec $(latchd_options "$D") kea; }
limit() { awk -v name="$2" 'index($0, name) == 1 { sub(name, ""); print $1, $2 }' "/proc/$1/limits"; } # PID NAME
status_line() { awk -v name="$2:" '$1 == name { print $2 }' "/proc/$1/status"; } # PID NAME

note "over a dead Kea and its kea-lfc"
start_plain_kea "$D"
wait_for 30 "a plain Kea answers" kea_answers "$D" "$kea_pid"
wait_for 20 "kea-lfc runs" lfc_pid_of "$D"
lfc=$(lfc_pid_of "$D")
kill -KILL "$kea_pid" # and not waited for: with that much memory it takes its time to die
as_kea >>"$D/latchd.log" 2>&1 </dev/null &
pid=$!
disown "$pid"
wait_for 40 "latchd exec became Kea, with the same PID" kea_answers "$D" "$pid"
is "$(readlink "/proc/$pid/exe")" "$KEA" "its executable is Kea's"
succeeds "the old kea-lfc has ended" wait_until 5 gone "$lfc"
is "$(leases_in_kea "$D")" "$KEA_LEASES" "no lease is lost"
is "$(limit "$pid" 'Max open files')" "1234 5678" "LimitNOFILE= is set"
is "$(limit "$pid" 'Max core file size')" "0 0" "LimitCORE= is set"
is "$(<"/proc/$pid/oom_score_adj")" 321 "OOMScoreAdjust= is set"
is "$(awk '{ sub(/.*\) /, ""); print $17 }' "/proc/$pid/stat")" 3 "Nice= is set"
is "$(status_line "$pid" Umask)" 0027 "UMask= is set"
is "$(find "/proc/$pid/fd" -lname "$D/run*" -printf '%l\n')" "" "Kea has no descriptor of latchd's"
is "$(for process in $(harness_processes); do readlink "/proc/$process/exe"; done | grep -c '/latchd$')" 0 \
    "no latchd is left behind"
contains "$(tr '\0' '\n' <"/proc/$pid/environ")" "LATCHD_SERVICE=kea" "the environment names the service"

note "a second one"
rc=0
(as_kea) >"$T/second" 2>&1 </dev/null || rc=$?
is "$rc" 75 "a second latchd exec: 75"
contains "$(<"$T/second")" "PID $pid" "it names the running Kea"
is "$(wc -l <"$T/second")" 1 "in one line"

note "a supervisor takes it over"
start_latchd "$D"
wait_for 10 "the service is running" in_state "$D" running
is "$(main_pid "$D")" "$pid" "with the Kea that ran"
is "$(status_of "$D" .restarts)" 0 "nothing was restarted"
kill -KILL "$pid"
wait_for 40 "killed, it is started again" runs_anew "$D" "$pid"
is "$(limit "$(main_pid "$D")" 'Max open files')" "1234 5678" "with the same limits"
is "$(leases_in_kea "$D")" "$KEA_LEASES" "and all leases"
stop_latchd
is "$(count_keas "$D")" 0 "stopped with it"
wait_until 20 lock_is_free "$L" || fail "the lock is free in the end" "$(holders_of "$L")"

if id _kea >/dev/null 2>&1; then
    note "User= and capabilities"
    R=$T/rights
    make_kea "$R" "$KEA_LEASES" User=_kea 'AmbientCapabilities=CAP_NET_BIND_SERVICE CAP_NET_RAW' \
        'CapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_NET_RAW' NoNewPrivileges=yes
    chown -R _kea "$R" && chown -R 0 "$R/run" "$R/etc"
    start_latchd "$R"
    wait_for 30 "Kea is up" in_state "$R" running
    pid=$(main_pid "$R")
    uid=$(id -u _kea)
    is "$(awk '$1 == "Uid:" { print $2, $3, $4, $5 }' "/proc/$pid/status")" "$uid $uid $uid $uid" "it runs as _kea"
    gid=$(id -g _kea)
    is "$(awk '$1 == "Gid:" { print $2, $3, $4, $5 }' "/proc/$pid/status")" "$gid $gid $gid $gid" "and its group"
    mask=$(printf '%016x' $((1 << 10 | 1 << 13))) # linux/capability.h
    for set in CapInh CapPrm CapEff CapBnd CapAmb; do
        is "$(status_line "$pid" $set)" "$mask" "$set is exactly CAP_NET_BIND_SERVICE and CAP_NET_RAW"
    done
    is "$(status_line "$pid" NoNewPrivs)" 1 "NoNewPrivileges= is set"
    is "$(status_line "$pid" Seccomp)" "$(status_line $$ Seccomp)" "nothing else was changed"
    wait_for 20 "kea-lfc runs" lfc_pid_of "$R"
    lfc=$(lfc_pid_of "$R")
    is "$(awk '$1 == "Uid:" { print $3 }' "/proc/$lfc/status")" "$uid" "as _kea too"
    # Both die: the next latchd meets an orphan that is no child of its own.
    kill -KILL "$latchd_pid"
    wait "$latchd_pid" 2>/dev/null
    kill -KILL "$pid"
    start_latchd "$R"
    wait_for 40 "the next latchd brings Kea up" runs_anew "$R" "$pid"
    contains "$(<"$R/latchd.log")" "PID $lfc" "it recognised kea-lfc as a leftover"
    succeeds "the old kea-lfc has ended" wait_until 5 gone "$lfc"
    is "$(awk '$1 == "Uid:" { print $3 }' "/proc/$(main_pid "$R")/status")" "$uid" "Kea runs as _kea again"
    is "$(leases_in_kea "$R")" "$KEA_LEASES" "no lease is lost"
    stop_latchd
else
    note "there is no user _kea: rights are not tried"
fi

note "what cannot be executed"
E=$T/errors
make_kea "$E" 10
cp "$E/etc/kea.conf" "$T/good.conf"
cp "$KEA" "$T/own-kea"
ordered() { # SERVICE-LINES...
    {
        cat "$T/good.conf"
        printf '%s\n' "$@"
    } >"$E/etc/kea.conf"
    : >"$E/latchd.log"
}
exec_says() { # WHAT EXIT-CODE PATTERN
    local rc=0
    # shellcheck disable=SC2046
    timeout 20 latchd exec $(latchd_options "$E") kea >"$T/out" 2>&1 </dev/null || rc=$?
    is "$rc" "$2" "$1: latchd exec ends with $2"
    matches "$(<"$T/out")" "$3" "$1: and says what and why"
}
# shellcheck disable=SC2317 # called through wait_until
says() { # PATTERN: statusText stays in a file; between two tries it says nothing
    status_of "$E" .statusText >"$T/text.now"
    [[ $(<"$T/text.now") =~ $1 ]]
}
cannot() { # WHAT PATTERN: latchd runs, and its Kea does not
    wait_until 5 says "$2" || fail "$1: it could not be started" "$(status_of "$E" .state)"
    matches "$(<"$T/text.now")" "$2" "$1: statusText says what and why"
    matches "$(<"$E/latchd.log")" "$2" "$1: so does the log"
    is "$(count_keas "$E")" 0 "$1: no Kea runs"
    local rc=0
    ctl "$E" start kea >"$T/out" 2>&1 || rc=$?
    is "$rc" 1 "$1: latchctl start fails"
    matches "$(<"$T/out")" "$2" "$1: and says what and why"
}
mistaken() { # WHAT PATTERN SERVICE-LINES...: a mistake that shows before anything runs
    local what=$1 pattern=$2 verb rc
    shift 2
    ordered "$@"
    for verb in run check; do
        rc=0
        # shellcheck disable=SC2046
        timeout 20 latchd "$verb" $(latchd_options "$E") kea >"$T/out" 2>&1 </dev/null || rc=$?
        is "$rc" 78 "$what: latchd $verb ends with 78"
        matches "$(<"$T/out")" "$E/etc/kea.conf:[0-9]+: .*$pattern" "$what: FILE:LINE: what and why"
    done
    exec_says "$what" 78 "$pattern"
}
mistaken "a missing binary" "$T/no-such" ExecStart= "ExecStart=$T/no-such-kea -c $E/kea.conf"
printf 'no program\n' >"$T/text"
mistaken "a file without x" "$T/text" ExecStart= "ExecStart=$T/text -c $E/kea.conf"
mistaken "a working directory that is not there" "$T/no-such" "WorkingDirectory=$T/no-such"
mistaken "a user that is not there" nosuchuser User=nosuchuser

chmod 755 "$T/text"
ordered ExecStart= "ExecStart=$T/text -c $E/kea.conf"
start_latchd "$E"
cannot "a file that is no program" "$T/text.*Exec format error"
stop_latchd
is "$latchd_rc" 0 "latchd ends with 0"
exec_says "a file that is no program" 1 "$T/text.*Exec format error"

ordered LimitNOFILE=99999999999
start_latchd "$E"
cannot "a limit out of reach" "LimitNOFILE=99999999999.*fs.nr_open"
stop_latchd
exec_says "a limit out of reach" 1 "LimitNOFILE=99999999999.*fs.nr_open"
is "$(count_keas "$E")" 0 "no Kea was started"

ordered ExecStart= "ExecStart=$T/own-kea -c $E/kea.conf" RestartMaxDelaySec=300ms
KEA=$T/own-kea
start_latchd "$E"
wait_for 10 "a Kea of its own file is up" in_state "$E" running
pid=$(main_pid "$E")
mv "$T/own-kea" "$T/upgraded-kea"
kill -KILL "$pid"
cannot "the binary has gone meanwhile" "$T/own-kea.*No such file"
mv "$T/upgraded-kea" "$T/own-kea"
wait_for 10 "it comes up by itself once the binary is back" in_state "$E" running
stop_latchd
finish
