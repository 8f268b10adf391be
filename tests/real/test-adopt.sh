#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# latchd is killed (SIGKILL) in each state of a service; the next one goes on with what was under way. The daemons are
# no children of it: how they end it knows from the kernel.
# shellcheck disable=SC2317 # called by their names
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require latchd latchctl jq

D=$T/d
mkdir -p "$D/etc" "$D/run" "$D/bin"
sleeper=$D/bin/sleeper
cp "$(command -v sleep)" "$sleeper"

service() { # NAME LINES...
    local name=$1
    shift
    { printf '[Service]\nStandardOutput=null\nRestartSec=10ms\n'; printf '%s\n' "$@"; } >"$D/etc/$name.conf"
}

service runs "ExecStart=$sleeper 1000" Restart=on-failure
service clean "ExecStart=/bin/sh -c 'trap \"exit 0\" USR1; trap \"exit 3\" USR2; while :; do $sleeper 0.05; done'" \
    Restart=on-failure
service late "ExecStart=$sleeper 1001" Type=socket Restart=no TimeoutStartSec=25s "[Socket s]" "ListenStream=$D/late" \
    LockFile=none
service waits "ExecStart=/bin/false" Restart=always RestartSec=60s
service stubborn "ExecStart=/bin/sh -c 'trap \"\" TERM; while :; do $sleeper 0.1; done'" TimeoutStopSec=25s
service down "ExecStart=$sleeper 1002"
service fails "ExecStart=/bin/false" Restart=no
service unseen "ExecStart=$sleeper 1003" Restart=on-failure
all=(runs clean late waits stubborn down fails unseen)


detach_latchd "$D" "${all[@]}"
for name in runs clean stubborn down unseen; do wait_for 60 "$name is up" in_state "$D" running "$name"; done
wait_for 60 "waits waits" in_state "$D" backoff waits
wait_for 60 "fails has failed" in_state "$D" failed fails
wait_for 60 "late is starting" in_state "$D" starting late
succeeds "down is stopped" ctl "$D" stop down
ctl "$D" stop --no-block stubborn
wait_for 10 "stubborn is stopping" in_state "$D" stopping stubborn
written() { [[ $(jq -r .state "$D/run/$1.state") == "$2" ]]; }
wait_for 5 "all is written down" written down stopped
for pair in "waits backoff" "late starting" "fails failed" "stubborn stopping" "runs running"; do
    # shellcheck disable=SC2086 # two words
    wait_until 5 written $pair || fail "$pair is written down"
done
declare -A main since
for name in "${all[@]}"; do
    main[$name]=$(main_pid "$D" "$name")
    since[$name]=$(status_of "$D" .sinceUSec "$name")
done
until_before=$(jq .stateUntilUSec "$D/run/waits.state")

echo "# killed in every state, and one daemon with it"
kill_latchd
kill -KILL "${main[unseen]}"
wait_until 10 gone "${main[unseen]}"
for name in runs clean late stubborn; do alive "${main[$name]}" || fail "$name lives on without latchd"; done
detach_latchd "$D" "${all[@]}"
wait_for 60 "the next latchd is up" in_state "$D" running runs
is "$(main_pid "$D" runs) $(status_of "$D" .sinceUSec runs) $(status_of "$D" .generation runs)" \
    "${main[runs]} ${since[runs]} 1" "running: the same daemon, since when it ran"
in_state "$D" starting late && is "$(main_pid "$D" late) $(status_of "$D" .sinceUSec late)" \
    "${main[late]} ${since[late]}" "starting: it goes on"
in_state "$D" stopping stubborn && is "$(main_pid "$D" stubborn)" "${main[stubborn]}" "stopping: it goes on"
in_state "$D" backoff waits && is "$(jq .stateUntilUSec "$D/run/waits.state")" "$until_before" \
    "waiting for the next try: for the rest of it"
in_state "$D" stopped down && ok "stopped on request: it stays so"
in_state "$D" failed fails && ok "failed, and to be left down: it stays so"
wait_for 60 "ended unwatched: started again" runs_anew "$D" "${main[unseen]}" unseen
is "$(grep -c "^latchd\[unseen\]: PID ${main[unseen]} ended while no latchd watched" "$D/latchd.log")" 1 "and told of once"
is "$(status_of "$D" .lastExit.code unseen)" null "how it ended is not known"
wait_for 60 "starting: its time is over when it would have been" in_state "$D" failed late
wait_for 60 "stopping: SIGKILL comes when it would have come" in_state "$D" stopped stubborn
is "$(grep -c "\[stubborn\]: Starting" "$D/latchd.log")" 1 "and it is not started again"

echo "# the exit status of a daemon that is not our child"
ppid() { ps -o ppid= -p "$1" | tr -d ' '; }
isnt "$(ppid "${main[clean]}")" "$latchd_pid" "it has another parent"
knows_status() { # the kernel tells since Linux 6.15
    local major minor
    IFS=. read -r major minor _ < <(uname -r)
    ((major > 6 || (major == 6 && ${minor%%[!0-9]*} >= 15)))
}
if knows_status; then
    kill -USR2 "${main[clean]}"
    wait_for 60 "exit 3 is a failure: started again" runs_anew "$D" "${main[clean]}" clean
    is "$(status_of "$D" .lastExit.status clean)" 3 "its status is known"
    main[clean]=$(main_pid "$D" clean)
    kill_latchd
    detach_latchd "$D" "${all[@]}"
    wait_for 60 "taken over once more" in_state "$D" running clean
    sleep 0.3 # its shell has its traps by now
    kill -USR1 "${main[clean]}"
    wait_for 60 "exit 0 is none: it stays down" in_state "$D" stopped clean
    is "$(status_of "$D" .lastExit.status clean)" 0 "its status is known"
    kill -TERM "${main[runs]}"
    wait_for 60 "nor is SIGTERM" in_state "$D" stopped runs
    is "$(status_of "$D" .lastExit.signal runs)" 15 "its signal is known"
else
    note "this kernel does not tell"
fi

echo "# latchd and its daemon die together, again and again: it does not get quicker than latchd alone would be"
succeeds "unseen is restarted" ctl "$D" restart unseen
wait_until 5 written unseen running
before=$(jq '.restartsInARow // 0' "$D/run/unseen.state")
for ((i = 1; i <= 4; i++)); do
    last=$(main_pid "$D" unseen)
    kill_latchd
    kill -KILL "$last"
    wait_until 10 gone "$last"
    detach_latchd "$D" "${all[@]}"
    wait_until 60 runs_anew "$D" "$last" unseen || fail "round $i: it comes back"
    wait_until 5 written unseen running
done
is "$(jq .restartsInARow "$D/run/unseen.state")" $((before + 4)) "the delays grow from one latchd to the next"

echo "# records that are none"
kill_latchd
last=$(jq .mainPid "$D/run/unseen.state")
jq '.schema = 2' "$D/run/unseen.state" >"$D/new" && cp "$D/new" "$D/run/unseen.state"
rm "$D/run/down.state" && mkdir -p "$D/run/down.state/in" && mkfifo "$D/run/fifo" && mv "$D/run/fifo" "$D/run/waits.state"
ln -sf /etc/passwd "$D/run/fails.state"
detach_latchd "$D" "${all[@]}"
wait_for 60 "a later version's: the service is left alone" in_state "$D" failed unseen
contains "$(ctl "$D" status unseen)" "newer latchd" "and the reason is told"
alive "$last" && ok "its daemon is not touched"
is "$(jq .schema "$D/run/unseen.state")" 2 "nor is the file"
wait_for 60 "a directory in its place: started" in_state "$D" running down
[[ -d $D/run/.down.state.aside/in ]] && is "$(jq -r .service "$D/run/down.state")" down "and moved aside"
wait_for 60 "a FIFO: started" in_state "$D" backoff waits
wait_for 60 "a link: started" in_state "$D" failed fails
is "$(grep -c root: /etc/passwd)" "$(grep -c ^root: /etc/passwd)" "and not written through"
kill -KILL "$last"
kill -TERM "$latchd_pid"
wait_for 60 "it ends as ever" gone "$latchd_pid"
finish
