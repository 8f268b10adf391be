#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Kea's PID file, and kea-lfc's, name what is no Kea: a zombie, a process that got the number later, a thread, latchd
# itself. Kea alone refuses to start for each; under latchd it comes up at once, and whoever has the number lives on.
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require jq unshare nsenter
require_kea

D=$T/kea
P=$D/pid/kea.kea-dhcp4.pid
make_kea "$D" 100

old_file() { # TEXT [PATH]: written two days ago, as a file is that outlived a reboot
    printf '%s\n' "$1" >"${2:-$P}"
    touch -d '2 days ago' "${2:-$P}"
}

plain_kea_refuses() { # WHY
    start_plain_kea "$D"
    wait_until 5 gone "$kea_pid" || die "a plain Kea refuses: $1"
    matches "$(tail -n 5 "$D/plain.log")" 'already running|lease file cleanup is in progress' "a plain Kea refuses: $1"
}

comes_up() { # WHY [VICTIM]: who has the number
    local ticks=""
    [[ -n ${2-} ]] && ticks=$(start_ticks "$2")
    start_latchd "$D"
    wait_for 10 "under latchd it comes up: $1" in_state "$D" running
    is "$(<"$P")" "$(main_pid "$D")" "the PID file names Kea now"
    [[ -z ${2-} ]] || is "$(start_ticks "$2")" "$ticks" "PID $2 is still who it was"
    stop_latchd
}

note "a zombie"
# shellcheck disable=SC2016 # what becomes of the shell never reaps its child, which does not end before: the shell would
sh -c 'while grep -qx sh /proc/$$/comm; do sleep 0.02; done & echo $! >"$1"; exec sleep 300' sh "$T/zombie" &
wait_until 5 test -s "$T/zombie"
zombie=$(<"$T/zombie")
wait_until 5 zombie "$zombie" || die "PID $zombie is a zombie"
echo "$zombie" >"$P"
plain_kea_refuses "a zombie"
rc=0
latchctl probe "$P" >"$T/probe" || rc=$?
is "$rc" 3 "probe says stale"
contains "$(<"$T/probe")" zombie "and why"
comes_up "a zombie" "$zombie"
contains "$(<"$D/latchd.log")" "Removed $P" "latchd says what it removed"

note "a process that began later"
sleep 300 &
innocent=$!
old_file "$innocent"
plain_kea_refuses "an innocent process"
comes_up "an innocent process" "$innocent"

note "a thread"
"$(tool oddity)" thread >"$T/tid" &
leader=$!
wait_until 5 test -s "$T/tid"
thread=$(<"$T/tid")
old_file "$thread"
isnt "$thread" "$leader" "it is not the process itself"
plain_kea_refuses "a thread"
comes_up "a thread"
succeeds "the thread lives" test -e "/proc/$leader/task/$thread"

note "kea-lfc's PID file"
old_file "$innocent" "$D/leases.csv.pid"
plain_kea_refuses "an innocent process for kea-lfc"
ticks=$(start_ticks "$innocent")
comes_up "an innocent process for kea-lfc" "$innocent"

note "no such process"
old_file "$(awk '{ print $1 - 1 }' /proc/sys/kernel/pid_max)"
comes_up "no such process"

note "PID 1 of a container, after a restart"
old_file 1
cat >"$T/container" <<END
exec latchd run $(latchd_options "$D" | tr '\n' ' ') kea >>"$D/latchd.log" 2>&1
END
unshare --pid --fork --mount-proc --kill-child=KILL sh "$T/container" </dev/null &
outside=$!
wait_for 10 "it comes up: PID 1 is latchd itself" in_state "$D" running
isnt "$(<"$P")" 1 "the PID file names Kea now"
inside=$(status_of "$D" .mainPid)
is "$(<"$P")" "$inside" "by its number in the container"
init=$(<"/proc/$outside/task/$outside/children")
kill -TERM "${init% }"
wait "$outside"
is "$?" 0 "latchd as PID 1 ends with 0"

note "a number that was really given out again, in a container"
old_file 77
cat >"$T/container" <<END
echo 76 >/proc/sys/kernel/ns_last_pid
sleep 300 &
echo \$! >"$T/recycled"
exec latchd run $(latchd_options "$D" | tr '\n' ' ') kea >>"$D/latchd.log" 2>&1
END
unshare --pid --fork --mount-proc --kill-child=KILL sh "$T/container" </dev/null &
outside=$!
wait_for 10 "it comes up: the number is another's" in_state "$D" running
is "$(<"$T/recycled")" 77 "that was the number"
init=$(<"/proc/$outside/task/$outside/children")
is "$(nsenter -p -m -t "${init% }" cat /proc/77/comm)" sleep "who has it lives"
kill -TERM "${init% }"
wait "$outside"

note "an empty PID file: being written, or the trace of a full disk"
: >"$P"
start_latchd "$D"
wait_for 10 "the service is blocked" in_state "$D" blocked
contains "$(status_of "$D" .statusText)" "$P" "statusText names the file"
matches "$(status_of "$D" .statusText)" 'empty|nothing' "and says what is wrong"
sleep 1
succeeds "the file is left alone" test -e "$P"
rm "$P"
wait_for 10 "it starts by itself once the file is gone" in_state "$D" running
stop_latchd

# Not "stopped", which it is before its latchd is there, too.
# shellcheck disable=SC2317 # called by its name
decided() { in_state "$D" running || in_state "$D" blocked || in_state "$D" failed; }

note "what is no PID"
for text in 'hello' '-1' '0' '99999999999999999999' $'12\n13\n14 and a poem'; do
    printf '%s' "$text" >"$P"
    start_latchd "$D"
    wait_until 60 decided || fail "a PID file with '${text//$'\n'/ }'" "$(status_of "$D" .state)"
    kill -TERM "$latchd_pid"
    wait "$latchd_pid"
    is "$?" 0 "a PID file with '${text//$'\n'/ }': no harm"
    rm -f "$P"
done
finish
