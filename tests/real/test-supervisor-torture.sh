#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Half a minute of violence: latchd is killed and started again, its daemon is killed, several clients at once start,
# stop, restart and clear, all at random. At no time there are two daemons or is a lock lost (the daemons tell), nobody
# else is touched, and at the end one start brings everything into order.
#
# LATCHD_TEST_SECONDS sets how long; LATCHD_TEST_SEED repeats the choices (not their timing).
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
# shellcheck source=tests/lib/lock-daemon.sh
. "$srcdir/tests/lib/lock-daemon.sh"
require_root
require latchd latchctl

seconds=${LATCHD_TEST_SECONDS:-30}
seed=${LATCHD_TEST_SEED:-$((RANDOM * 32768 + RANDOM))}
note "seed $seed"
until_usec=$((${EPOCHREALTIME/[.,]/} + seconds * 1000000))
time_left() { ((${EPOCHREALTIME/[.,]/} < until_usec)); }
# Between 0 and 0.25 s, mostly short.
rest() { nap "0.$(printf %03d $((RANDOM % (1 + RANDOM % 250))))"; }

start_innocents
: >"$E/journal"
: >"$T/kills"
: >"$T/calls"

# Keeps a latchd running, as systemd would, and kills it at random; some it asks to end.
supervisor() {
    RANDOM=$((seed + 1))
    local n=0 rc
    while time_left; do
        run_latchd "$T/latchd-$((n++)).log"
        rest
        rest
        if ((RANDOM % 4)); then kill -KILL "$latchd_pid"; else kill -TERM "$latchd_pid"; fi 2>/dev/null
        await_gone "$latchd_pid" 60 || { echo "latchd $latchd_pid does not end" && kill -KILL "$latchd_pid"; } >>"$T/kills"
        rc=0
        wait "$latchd_pid" || rc=$?
        case $rc in
        0 | 137) ;;
        143) # fine before it minds signals: then it has not begun to serve
            [[ $(<"$T/latchd-$((n - 1)).log") != *"serves 1 service"* ]] || echo "exit status $rc" ;;
        75) # fine while a child of the one before is on its way
            [[ $(<"$T/latchd-$((n - 1)).log") == *"served by another latchd already"* ]] || echo "exit status $rc" ;;
        *) echo "latchd-$((n - 1)): exit status $rc" ;;
        esac >>"$T/kills"
    done
    echo "$n" >"$T/supervisors"
}

# Kills the daemon, whatever it does just then; the PID is its own word, from the journal.
killer() {
    RANDOM=$((seed + 2))
    local n=0
    while time_left; do
        rest
        find_living start
        ((${#living[@]})) || continue
        [[ $(readlink "/proc/${living[-1]}/exe") == "$LD" ]] && kill -KILL "${living[-1]}" 2>/dev/null
        n=$((n + 1))
    done
    echo "$n" >"$T/daemons"
}

client() { # NUMBER
    RANDOM=$((seed + 10 + $1))
    local verbs=(restart stop start clear restart start status) verb n=0 rc
    while time_left; do
        verb=${verbs[RANDOM % ${#verbs[@]}]}
        rc=0
        timeout -k 1 20 latchctl --config-dir "$D/etc" --runtime-dir "$D/run" "$verb" quick >"$T/client-$1.log" 2>&1 || rc=$?
        case $rc in
        0 | 1 | 3) ;; # done; refused or interrupted; not running
        *) echo "latchctl $verb: exit status $rc: $(<"$T/client-$1.log")" >>"$T/calls" ;;
        esac
        n=$((n + 1))
        ((RANDOM % 3)) || rest
    done
    echo "$n" >"$T/client-$1"
}

supervisor 2>"$T/supervisor.log" &
jobs=($!)
killer 2>"$T/killer.log" &
jobs+=($!)
for number in 1 2 3; do
    client "$number" &
    jobs+=($!)
done
for job in "${jobs[@]}"; do
    await_gone "$job" $((seconds + 40)) || die "job $job does not come to its end"
    wait "$job"
done
find_pids start
note "$(<"$T/supervisors") latchd, ${#found[@]} daemons, $(<"$T/daemons") of them killed, calls of the clients:" \
    "$(<"$T/client-1") $(<"$T/client-2") $(<"$T/client-3")"
is "$(<"$T/kills")" "" "every latchd ended as it should"
is "$(<"$T/calls")" "" "every call came back in good order"
is "$(no_outrage)" "" "never two daemons, none refused by what was in its way, no lock or socket lost"

run_latchd "$T/last.log"
# The last thing that a client got done may have been a stop, which lasts.
wait_until 20 ctl "$D" start quick
if await_up "$T/last.log" "$latchd_pid" 60; then ok "one more latchd: ready"; else fail "one more latchd: ready" \
    "$(<"$T/last.log")"; fi
is "$(check_up)" "" "one daemon, which holds its lock and is on record; one helper; the innocents live"
kill -TERM "$latchd_pid"
rc=0
wait "$latchd_pid" || rc=$?
is "$rc" 0 "it ends in good order"
is "$(check_down "")" "" "nothing is left"

# Asked to end, latchd ends: a client that wants a restart meanwhile does not keep it.
run_latchd "$T/last.log"
await_ready "$T/last.log" 1 "$latchd_pid" 60 || die "latchd does not get ready" "$(<"$T/last.log")"
read -r main <"$E/S.pid"
kill -STOP "$main" # it takes its time
kill -TERM "$latchd_pid"
wait_until 5 grep -q "Stopping PID $main" "$T/last.log" || die "latchd does not stop it" "$(<"$T/last.log")"
timeout 20 latchctl --config-dir "$D/etc" --runtime-dir "$D/run" restart quick >"$T/client.log" 2>&1 &
client_pid=$!
await_gone "$client_pid" 1 # refused at once; or it waits
kill -CONT "$main"
if await_gone "$latchd_pid" 15; then ok "latchd ends though a restart is asked for meanwhile"; else
    fail "latchd ends though a restart is asked for meanwhile" "$(<"$T/last.log")"
    kill -KILL "$latchd_pid"
fi
rc=0
wait "$client_pid" || rc=$?
is "$rc" 1 "whoever asked is told that it was not done"
is "$(check_down "")" "" "and nothing is left"
finish
