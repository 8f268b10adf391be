#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Who holds Kea's lock need not be Kea's: a process may have been handed the descriptor, may call itself kea-lfc, may
# carry the service's name. Without proof it is never signalled; latchd waits, names it, and starts when it has ended.
# Nor does latchd believe what others left at the lock's path or in its runtime directory.
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require jq setpriv
require_kea

D=$T/kea
L=$D/kea.sock.lock
make_kea "$D" 100
oddity=$(tool oddity)
mkdir "$T/elsewhere"
cp "$(command -v sleep)" "$T/elsewhere/kea-lfc"
cp "$(command -v sleep)" "$T/elsewhere/bystander"

# Whether $holder has the lock's descriptor by now, in its table or in a socket.
# shellcheck disable=SC2317 # called through wait_until
has_it() { fd_of "$holder" "$L" || grep -qs 'scm_fds:.*[1-9]' "/proc/$holder/fdinfo"/*; }

# Kea under latchd dies while somebody else has its lock too.
survives() { # WHAT BEGIN: BEGIN gets Kea's PID and the lock's descriptor in it, and sets holder
    local what=$1 begin=$2 main ticks
    note "$what"
    start_latchd "$D"
    wait_for 10 "Kea is up" in_state "$D" running
    main=$(main_pid "$D")
    "$begin" "$main" "$(fd_of "$main" "$L")"
    wait_until 5 has_it || die "PID $holder got the descriptor"
    disown "$holder"
    ticks=$(start_ticks "$holder")
    kill -KILL "$main"
    wait_for 10 "the service is blocked" in_state "$D" blocked
    text=$(status_of "$D" .statusText)
    contains "$text" "$L" "statusText names the lock"
    sleep 1 # five times the grace time
    is "$(start_ticks "$holder")" "$ticks" "PID $holder was not signalled"
    in_state "$D" blocked || fail "it is still blocked"
    is "$(count_keas "$D")" 0 "no Kea runs meanwhile"
    succeeds "the lock file is there" test -e "$L"
    exits 1 "latchctl clear refuses" ctl "$D" clear kea
    is "$(start_ticks "$holder")" "$ticks" "after that too PID $holder lives"
    grep -q 'Sent SIG' "$D/latchd.log" && fail "no signal was sent" "$(grep 'Sent SIG' "$D/latchd.log")"
    kill -KILL "$holder"
    wait_for 8 "it starts once the holder has ended" in_state "$D" running
    stop_latchd
    : >"$D/latchd.log"
}

# shellcheck disable=SC2317 # called by name
{
    handed() { "$oddity" take "$1" "$2" "$T/elsewhere/bystander" 300 & holder=$!; }
    called_kea_lfc() { "$oddity" take "$1" "$2" "$T/elsewhere/kea-lfc" 300 & holder=$!; }
    with_our_name() { LATCHD_SERVICE=kea "$oddity" take "$1" "$2" "$T/elsewhere/bystander" 300 & holder=$!; }
    in_flight() { "$oddity" in-flight "$1" "$2" >"$T/flying" & holder=$!; wait_until 5 test -s "$T/flying"; }
    of_another_user() {
        chmod 755 "$T/elsewhere"
        LATCHD_SERVICE=kea INVOCATION_ID=$(status_of "$D" .invocationId) "$oddity" take "$1" "$2" \
            setpriv --reuid=65534 --regid=65534 --clear-groups "$T/elsewhere/bystander" 300 &
        holder=$!
    }
}
survives "a bystander who was handed the descriptor" handed
contains "$text" "PID $holder" "statusText named it"
contains "$text" "OrphanAllow=" "and said what to do"
survives "somebody called kea-lfc, from another path" called_kea_lfc
contains "$text" "PID $holder" "statusText named it"
survives "somebody with LATCHD_SERVICE=kea in the environment" with_our_name
contains "$text" "PID $holder" "statusText named it"
survives "another user's process, with our name and invocation id" of_another_user
contains "$text" "PID $holder" "statusText named it"
survives "a descriptor in flight, in nobody's table" in_flight

note "what lies at the lock's path is no lock"
odd_path() { # WHAT
    start_latchd "$D"
    wait_for 10 "$1: the service is blocked" in_state "$D" blocked
    matches "$(status_of "$D" .statusText)" "$L.*(not-a-lock|not a|no regular)" "$1: statusText says what is wrong"
    sleep 0.3
}
rm -f "$L"
touch "$T/elsewhere/precious"
ln -s "$T/elsewhere/precious" "$L"
odd_path "a symbolic link"
succeeds "the link is left alone" test -L "$L"
rm "$L"
wait_for 8 "it starts once the link is gone" in_state "$D" running
stop_latchd
is "$(stat -c %s "$T/elsewhere/precious")" 0 "what the link pointed to is as it was"
rm -f "$L"
mkfifo "$L"
odd_path "a FIFO"
succeeds "the FIFO is left alone" test -p "$L"
rm "$L"
wait_for 8 "it starts once the FIFO is gone" in_state "$D" running
stop_latchd
rm -f "$L"
mkdir "$L"
odd_path "a directory"
rmdir "$L"
wait_for 8 "it starts once the directory is gone" in_state "$D" running
stop_latchd

note "runtime directories that others can write to"
refused_directory() { # WHAT
    local rc=0
    timeout 10 latchd run --config-dir "$D/etc" --runtime-dir "$D/bad" --log-target stderr kea >"$T/refused" 2>&1 || rc=$?
    is "$rc" 77 "$1: exit code 77"
    is "$(wc -l <"$T/refused")" 1 "$1: one line"
    contains "$(<"$T/refused")" "$D/bad" "$1: it names the directory"
    rc=0
    timeout 10 latchd exec --config-dir "$D/etc" --runtime-dir "$D/bad" --log-target stderr kea >"$T/refused" 2>&1 ||
        rc=$?
    is "$rc" 77 "$1: latchd exec too"
}
mkdir "$D/bad"
chown 65534 "$D/bad"
refused_directory "owned by another user"
chown 0 "$D/bad"
chmod 1777 "$D/bad"
refused_directory "writable by everybody"
chmod 775 "$D/bad"
refused_directory "writable by a group"
is "$(count_keas "$D")" 0 "no Kea was started"

note "a forged state file"
sleep 300 &
innocent=$!
ticks=$(start_ticks "$innocent")
forge() { # OWNER
    jq -n --argjson pid "$innocent" --argjson ticks "$ticks" --arg boot "$(</proc/sys/kernel/random/boot_id)" '{schema: 1,
        service: "kea", generation: 3, invocationId: "0123456789abcdef0123456789abcdef", mainPid: $pid,
        startTicks: $ticks, bootId: $boot, supervisorPid: 1, sinceUSec: 1, restarts: 0}' >"$D/run/kea.state"
    chown "$1" "$D/run/kea.state"
}
for owner in 0 65534; do
    rm -f "$D/run/kea.state"
    forge "$owner"
    start_latchd "$D"
    wait_for 15 "owned by $owner: Kea is up" in_state "$D" running
    isnt "$(main_pid "$D")" "$innocent" "the process that it names is not taken for Kea"
    matches "$(<"$D/latchd.log")" "not taken for its daemon|not ours|no regular file of ours" "latchd says so"
    stop_latchd
    is "$(start_ticks "$innocent")" "$ticks" "nor was it signalled"
    : >"$D/latchd.log"
done
# Named as the service's dead main process it would be a licence to end leftovers, if it were believed.
for text in '' '{' '[]' '{"schema": 1}' 'null'; do
    printf '%s' "$text" >"$D/run/kea.state"
    start_latchd "$D"
    wait_until 15 in_state "$D" running || fail "a state file of '$text': Kea is up"
    stop_latchd
    is "$latchd_rc" 0 "a state file of '$text': no harm"
done
rm -f "$D/run/kea.state"
ln -s "$T/elsewhere/precious" "$D/run/kea.state"
start_latchd "$D"
wait_for 15 "a link in place of the state file: Kea is up" in_state "$D" running
stop_latchd
is "$(stat -c %s "$T/elsewhere/precious")" 0 "what the link pointed to is as it was"
finish
