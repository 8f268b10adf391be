#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# latchd as a container's init, PID 1 of a PID namespace with a /proc of its own: it reaps whatever ends there, passes
# signals on to the one service's daemon, stops it in good order, and ends with its status.
# heavy: thousands of orphans to reap, from a process that a sanitizer makes large
# shellcheck disable=SC2016,SC2317 # scripts for other shells; functions that wait_for calls
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require latchd latchctl unshare nsenter setpriv

options=(--runtime-dir "$T/run" --log-target stderr)

# contain LOG LATCHD-ARGUMENTS...: sets outer_pid (unshare, whose exit status is latchd's) and init_pid (latchd, as it
# is seen from here).
contain() {
    local log=$1
    shift
    : >"$log"
    unshare --pid --fork --mount-proc --kill-child latchd run "${options[@]}" "$@" >>"$log" 2>&1 </dev/null &
    outer_pid=$!
    wait_until 20 find_init_or_its_end || die "latchd starts as PID 1" "$(<"$log")"
}

find_init() {
    init_pid=$(cat "/proc/$outer_pid/task/$outer_pid/children" 2>/dev/null)
    init_pid=${init_pid// /}
    [[ -n $init_pid && $(cmdline "$init_pid") == latchd* ]]
}

find_init_or_its_end() { find_init || gone "$outer_pid"; }

# ends_with STATUS TEXT: unshare hands the status on.
ends_with() {
    local rc=0
    wait_until 30 gone "$outer_pid" || { fail "$2" "it does not end" "$(tail -5 "$log")"; return 1; }
    wait "$outer_pid" || rc=$?
    is "$rc" "$1" "$2" || tail -5 "$log"
}

said() { grep -q -- "$1" "$log"; }              # TEXT
wrote() { [[ -e $T/words ]] && grep -qx -- "$1" "$T/words"; } # LINE
ready() { said 'Ready: PID'; }
is_up() { latchctl --runtime-dir "$T/run" status "$1"; } # SERVICE
lives() { # PID TEXT
    if alive "$1"; then ok "$2"; else fail "$2" "$(tail -5 "$log")"; fi
}
zombies() { # how many of the namespace's processes are dead and not reaped
    nsenter -t "$init_pid" -p -m sh -c 'cat /proc/[0-9]*/stat 2>/dev/null' | sed 's/.*) //' | grep -c '^Z'
}
no_zombies() { [[ $(zombies) == 0 ]]; }

# A daemon that writes down what signals it gets; it ends by status 3 on SIGTERM.
cat >"$T/daemon" <<END
#!/bin/bash
trap 'echo TERM >>"$T/words"; exit 3' TERM
for s in USR1 USR2 QUIT HUP WINCH ALRM RTMIN+5; do trap "echo \$s >>'$T/words'" "\$s"; done
echo up >>"$T/words"
while :; do sleep 1000 & wait; done
END
chmod +x "$T/daemon"
log=$T/latchd.log

echo "# the daemon's end is the container's"
contain "$log" --name one --restart no -- /bin/sh -c 'exit 7'
ends_with 7 "a daemon that exits with 7 and stays down: latchd exits with 7"
contain "$log" --name one --set RestartSec=10ms --set StartLimitBurst=2 --set StartLimitIntervalSec=infinity -- /bin/sh -c 'exit 9'
ends_with 9 "one that failed too often, and is never started again: its last status"
grep -q 'StartLimitIntervalSec=infinity): not started again by itself' "$log" || fail "latchd says why" "$(tail -5 "$log")"
contain "$log" --name one -- /bin/true
ends_with 0 "one that is done, with Restart=on-failure: 0"
contain "$log" --name one --restart no -- /bin/sh -c 'kill -KILL $$'
ends_with 137 "one that is killed by SIGKILL: 137"
contain "$log" --name one --restart no -- /bin/sh -c 'kill -TERM $$'
ends_with 143 "one that is killed by SIGTERM, which nobody asked latchd for: 143"
printf '#!/nowhere/at/all\n' >"$T/gone"
chmod +x "$T/gone"
contain "$log" --name one --restart no -- "$T/gone"
ends_with 1 "one that cannot be executed: 1"
mkdir -p "$T/etc"
contain "$log" --name one --restart no -- /bin/sh -c 'sleep 1000'
wait_for 20 "a service that runs" ready
latchctl --runtime-dir "$T/run" stop one
sleep 0.3
lives "$init_pid" "after latchctl stop latchd stays: the service may be started again"
succeeds "and is started again" latchctl --runtime-dir "$T/run" start one
kill -TERM "$init_pid"
ends_with 0 "SIGTERM then stops it; the daemon ended as it was asked to: 0"

echo "# signals"
rm -f "$T/words"
contain "$log" --name one -- "$T/daemon"
wait_for 20 "the daemon is up" wrote up
for signal in USR1 USR2 QUIT WINCH ALRM RTMIN+5; do
    kill -s "$signal" "$init_pid"
    wait_for 20 "SIG$signal is passed on" wrote "$signal"
done
contains "$(<"$log")" "SIGUSR1 from outside passed on to PID" "and that is told, with who sent it"
kill -s HUP "$init_pid"
wait_for 20 "SIGHUP makes the daemon reload" wrote HUP
nsenter -t "$init_pid" -p -m sh -c 'kill -TSTP 1; kill -KILL 1; kill -STOP 1; kill -CONT 1'
succeeds "SIGKILL, SIGSTOP and their like from inside do nothing" is_up one
rm "$T/words"
kill -TERM "$init_pid"
ends_with 3 "SIGTERM stops the daemon, and its own status, 3, is the end's"
succeeds "it was asked by KillSignal=" wrote TERM
for signal in INT PWR RTMIN+3; do
    rm -f "$T/words"
    contain "$log" --name one -- "$T/daemon"
    wait_for 20 "up" wrote up
    kill -s "$signal" "$init_pid"
    ends_with 3 "SIG$signal stops it, too"
done
contain "$log" --name one --set TimeoutStopSec=500ms -- /bin/sh -c 'trap "" TERM; echo up; while :; do sleep 1000; done'
wait_for 20 "a daemon that does not obey" ready
sleep 0.3
kill -TERM "$init_pid"
ends_with 137 "is killed in the end: 137"

echo "# reaping"
rm -f "$T/words"
contain "$log" --name one -- "$T/daemon"
wait_for 20 "the daemon is up" wrote up
nsenter -t "$init_pid" -p -m sh -c 'for i in 1 2 3 4 5; do (sleep 0.2 &) ; done'
wait_for 20 "orphans of a shell that was executed in the container are reaped" no_zombies
# A storm: thousands of orphans, and latchd answers meanwhile.
nsenter -t "$init_pid" -p -m sh -c 'i=0; while [ $i -lt 2000 ]; do (: & :); i=$((i + 1)); done' &
storm=$!
answered=0
while alive "$storm"; do
    is_up one >/dev/null && answered=$((answered + 1))
    sleep 0.1
done
isnt "$answered" 0 "amid thousands of orphans latchd answers"
wait_for 30 "and none of them is left" no_zombies
# All that ended while it was stopped are one SIGCHLD.
kill -STOP "$init_pid"
nsenter -t "$init_pid" -p -m sh -c 'i=0; while [ $i -lt 700 ]; do (sleep 0.5 &); i=$((i + 1)); done'
many_zombies() { (($(zombies) >= 700)); } # all: one that ends later is another SIGCHLD
wait_for 30 "orphans by the hundred end while it is stopped" many_zombies
kill -CONT "$init_pid"
wait_for 30 "they are all reaped when it goes on" no_zombies
main=$(latchctl --json --runtime-dir "$T/run" status one | grep -o '"mainPid": *[0-9]*' | grep -o '[0-9]*$')
nsenter -t "$init_pid" -p -m kill -KILL "$main"
was_ready_twice() { [[ $(grep -c 'Ready: PID' "$log") == 2 ]]; }
wait_for 20 "a daemon that is killed is started again" was_ready_twice
kill -TERM "$init_pid"
wait_until 30 gone "$outer_pid" || fail "it ends"
wait "$outer_pid"

echo "# several services"
cat >"$T/etc/a.conf" <<END
[Service]
ExecStart=$T/daemon
END
cp "$T/etc/a.conf" "$T/etc/b.conf"
rm -f "$T/words"
contain "$log" --config-dir "$T/etc" a b
wait_for 20 "a service" is_up a
wait_for 20 "and another" is_up b
kill -s USR1 "$init_pid"
wait_for 20 "a signal that does not say whom it means goes to nobody, and that is told" said 'SIGUSR1 from outside goes to nobody'
fails "neither daemon got it" wrote USR1
kill -TERM "$init_pid"
ends_with 0 "their statuses are not latchd's: 0"

echo "# /proc"
out=$(unshare --pid --fork --mount sh -c 'mount -t tmpfs none /proc
    exec latchd run --name one --runtime-dir "$1/run" --log-target stderr -- /bin/true' sh "$T" 2>&1)
is "$?" 1 "without /proc it ends with 1"
contains "$out" "there is no /proc" "and says so"
out=$(unshare --pid --fork latchd run --name one "${options[@]}" -- /bin/true 2>&1)
matches "$out" '/proc' "with the /proc of another PID namespace: $out"

echo "# without privileges"
chmod 777 "$T"
mkdir -m 777 "$T/user"
out=$(setpriv --reuid=65534 --regid=65534 --clear-groups unshare --user --map-root-user --pid --fork --mount-proc \
    latchd run --name one --restart no --runtime-dir "$T/user/run" --log-target stderr -- /bin/sh -c 'exit 5' 2>&1)
is "$?" 5 "in a user namespace of its own: the daemon's status" || note "$out"

echo "# not PID 1"
rm -f "$T/words"
latchd run "${options[@]}" --name one --restart no -- "$T/daemon" >"$log" 2>&1 &
pid=$!
wait_for 20 "the daemon is up" wrote up
kill -USR1 "$pid"
wait_for 20 "SIGUSR1 is passed on there, too" wrote USR1
kill -KILL "$(latchctl --json --runtime-dir "$T/run" status one | grep -o '"mainPid": *[0-9]*' | grep -o '[0-9]*$')"
wait_for 20 "the daemon fails for good" said 'Failed: .*Restart=[a-z-]* does not restart it; once mended: latchctl start '
sleep 0.2
lives "$pid" "and latchd stays: a unit's wrapper is started and stopped by systemd"
kill -TERM "$pid"
wait "$pid"
is "$?" 0 "until it is told to end"
finish
