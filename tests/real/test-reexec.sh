#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# latchctl reexec: the supervisor is replaced in place. Same process, same daemons, no lock free and no client refused
# for a moment; what was under way goes on; a program that cannot take over is refused.
# shellcheck disable=SC2317,SC2016 # called by their names; texts of scripts
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require latchd latchctl jq socat flock prlimit

D=$T/d
mkdir -p "$D/etc" "$D/run" "$D/bin"
cp "$builddir/latchd" "$D/bin/latchd"
sleeper=$D/bin/sleeper # known from everybody else's
cp "$(command -v sleep)" "$sleeper"

service() { # NAME LINES...
    local name=$1
    shift
    { printf '[Service]\nStandardOutput=null\n'; printf '%s\n' "$@"; } >"$D/etc/$name.conf"
}

run_latchd() { # SERVICE...
    prlimit --nofile=512: "$D/bin/latchd" run --config-dir "$D/etc" --runtime-dir "$D/run" --log-target stderr "$@" >>"$D/latchd.log" 2>&1 \
        </dev/null &
    latchd_pid=$!
    wait_until 20 test -S "$D/run/$1.sock" || die "latchd does not come up"
}

count_fds() { find "/proc/$latchd_pid/fd" -mindepth 1 | wc -l; }
ready() { in_state "$D" running "$1"; }

service one "ExecStart=$sleeper 1000" Restart=always RestartSec=10ms
service two "ExecStart=$sleeper 1001" Restart=always RestartSec=10ms
service waits "ExecStart=/bin/false" Restart=always RestartSec=40s
service stubborn "ExecStart=/bin/sh -c 'trap \"\" TERM; while :; do sleep 0.1; done'" TimeoutStopSec=60s
service down "ExecStart=$sleeper 1002"
service slow "ExecStart=$sleeper 1003" ExecReload="/bin/sleep 4"
run_latchd one two waits stubborn down slow
for name in one two stubborn down; do wait_for 20 "$name is up" ready "$name"; done
wait_for 20 "waits waits" in_state "$D" backoff waits
succeeds "down is stopped" ctl "$D" stop down
ctl "$D" stop --no-block stubborn
wait_for 10 "stubborn does not go" in_state "$D" stopping stubborn

echo "# everything stays"
main_one=$(main_pid "$D" one) main_two=$(main_pid "$D" two) main_stubborn=$(main_pid "$D" stubborn)
since=$(status_of "$D" .sinceUSec one)
until_before=$(jq .stateUntilUSec "$D/run/waits.state")
out=$(ctl "$D" reexec) || fail "reexec succeeds" "$out"
is "$(grep -c "PID $latchd_pid is latchd" <<<"$out")" 1 "six services, one supervisor: it is replaced once"
is "$(main_pid "$D" one) $(main_pid "$D" two)" "$main_one $main_two" "the daemons stay"
is "$(status_of "$D" .generation one) $(status_of "$D" .supervisorPid one)" "1 $latchd_pid" "no start, the same process"
is "$(status_of "$D" .sinceUSec one)" "$since" "it runs since when it ran"
is "$(ps -o ppid= -p "$main_one" | tr -d ' ')" "$latchd_pid" "they are its children still"
is "$(tr '\0' ' ' <"/proc/$latchd_pid/cmdline")" \
    "$D/bin/latchd run --config-dir $D/etc --runtime-dir $D/run --log-target stderr one two waits stubborn down slow " \
    "its command line is as it was"
is "$(tr '\0' '\n' <"/proc/$main_one/environ" | grep -c HANDOVER)" 0 "and its daemons hear nothing of it"
in_state "$D" backoff waits && is "$(jq .stateUntilUSec "$D/run/waits.state")" "$until_before" \
    "a delay goes on, with its rest"
in_state "$D" stopping stubborn && is "$(main_pid "$D" stubborn)" "$main_stubborn" "a stop goes on"
in_state "$D" stopped down && ok "what was stopped stays so"
contains "$(<"$D/latchd.log")" "has taken the place of the latchd" "the journal says so"

service_files() { awk '/^Max open files/ { print $4 }' "/proc/$(main_pid "$D" two)/limits"; }
is "$(service_files)" 512 "a daemon has the descriptors that latchd began with"
ctl "$D" restart two
is "$(service_files)" 512 "and so it has when started by the successor, whatever latchd raised for itself"

echo "# children are waited for, and their status known"
kill -KILL "$main_one"
wait_for 20 "a daemon that dies afterwards is started again" runs_anew "$D" "$main_one" one
is "$(status_of "$D" .lastExit.signal one)" 9 "with its exit status known"
for ((i = 0; i < 8; i++)); do
    main_one=$(main_pid "$D" one)
    ctl "$D" reexec one >/dev/null &
    reexec=$!
    # at another moment of the change each time
    sleep "0.0$((i * 4 % 10))$((RANDOM % 10))"
    kill -KILL "$main_one"
    wait "$reexec" || fail "reexec while the daemon dies"
    wait_until 20 runs_anew "$D" "$main_one" one || { fail "a daemon that dies at the change comes back" && break; }
    [[ $(status_of "$D" .lastExit.signal one) == 9 ]] || { fail "its status is known" "$(status_of "$D" .lastExit one)" && break; }
    [[ $(pgrep -xcf "$sleeper 1000") == 1 ]] || { fail "there is one daemon" "$(pgrep -xf "$sleeper 1000")" && break; }
done
((i < 8)) || ok "eight daemons that died around the change came back, one at a time"

echo "# a client in the middle of a request"
mkfifo "$D/to"
exec {hold}<>"$D/to"
socat -t 20 "UNIX-CONNECT:$D/run/two.sock" - <"$D/to" >"$D/answers" &
client=$!
printf '{"method":"io.latchd.Supervisor.GetStatus","parameters":{"locks":false}}\0{"method":"io.lat' >&"$hold"
wait_until 10 grep -q supervisorPid "$D/answers"
succeeds "replaced with a client connected" ctl "$D" reexec two
printf 'chd.Supervisor.GetStatus","parameters":{"locks":false}}\0' >&"$hold"
two_answers() { [[ $(tr '\0' '\n' <"$D/answers" | grep -c supervisorPid) == 2 ]]; }
wait_for 10 "its request, begun before, is answered after" two_answers
exec {hold}>&-
kill "$client"
ctl "$D" start stubborn >"$D/waiting" 2>&1 &
waiting=$!
sleep 0.3
succeeds "replaced while a call waits" ctl "$D" reexec one
rc=0
wait "$waiting" || rc=$?
is "$rc" 1 "who waited for a service gets an answer"
contains "$(<"$D/waiting")" "ask again" "that says to ask again"
is "$(jq .startAgain "$D/run/stubborn.state")" true "and what it asked for is remembered"

echo "# fifty times, with somebody at the lock and at the socket all the time"
# Whoever waits in the kernel has the lock in the moment in which it is free.
flock "$D/run/two.lock" touch "$D/stolen" &
thief=$!
(
    n=0
    while [[ ! -e $D/enough ]]; do
        answer=$(status_of "$D" .supervisorPid two 2>&1)
        [[ $answer == "$latchd_pid" ]] || echo "$answer" >>"$D/refused"
        n=$((n + 1))
    done
    echo "$n" >"$D/asked"
) &
asker=$!
main_two=$(main_pid "$D" two)
ctl "$D" reexec >/dev/null
before=$(count_fds)
for ((i = 0; i < 50; i++)); do
    ctl "$D" reexec two >/dev/null || { fail "reexec $i" && break; }
done
touch "$D/enough"
wait "$asker"
alive "$thief" && kill "$thief"
is "$i" 50 "replaced fifty times"
is "$(main_pid "$D" two)" "$main_two" "the daemon is the same"
if no_file "$D/stolen"; then ok "the lock was never free"; else fail "the lock was never free"; fi
if [[ ! -e $D/refused ]]; then ok "none of $(<"$D/asked") clients was refused"; else fail "no client is refused" "$(sort "$D/refused" | uniq -c)"; fi
at_most "$(count_fds)" $((before + 2)) "no more descriptors are open than before"

echo "# a program that cannot take over"
refused() { # TEXT WHAT-IS-SAID
    local out rc=0
    out=$(ctl "$D" reexec two 2>&1) || rc=$?
    is "$rc" 1 "$1: refused"
    contains "$out" "$2" "  and said why"
    lacks "$out" "ExecStart=" "  of latchd, which no key names"
    alive "$latchd_pid" && is "$(main_pid "$D" two) $(status_of "$D" .supervisorPid two)" "$main_two $latchd_pid" \
        "  all goes on"
}
install_program() { # the text of a script
    printf '#!/bin/sh\n%s\n' "$1" >"$D/bin/new"
    chmod 755 "$D/bin/new"
    mv "$D/bin/new" "$D/bin/latchd"
}
setsid "$sleeper" 3001 </dev/null >/dev/null 2>&1 &
bystander=$!
rm "$D/bin/latchd"
refused "a missing program" "No such file or directory; there is no such file; install the program"
install_program 'exit 0'
refused "a program that says nothing" "not one that can take over"
install_program 'echo "latchd: unknown command: $1" >&2; exit 64'
refused "an older version" "unknown command: handover-check"
install_program 'echo latchd-handover 99'
refused "a version that hands over otherwise" "latchd-handover 99"
install_program "$sleeper 3000 & echo \$! >$D/left; (setsid -f true); echo latchd-handover 1; exit 1"
refused "a program that leaves something behind" "not one that can take over"
wait_for 10 "what it left is gone" gone "$(<"$D/left")"
printf '\177ELF' >"$D/bin/new" && chmod 755 "$D/bin/new" && mv "$D/bin/new" "$D/bin/latchd"
refused "a broken program" "cannot be executed"
install_program "setsid -f $sleeper 3000; env -i setsid $sleeper 3000 & exec $sleeper 3000"
(
    wait_until 9 eval '[[ $(pgrep -cxf "$sleeper 3000") == 3 ]]' && touch "$D/three"
) &
refused "a program that hangs" "did not answer within"
succeeds "and goes into three sessions" test -e "$D/three"
is "$(pgrep -cxf "$sleeper 3000")" 0 "and nothing is left of it"
succeeds "nobody else was ended" alive "$bystander"
is "$(grep -c "latchd goes on as it is" "$D/latchd.log")" 7 "the journal tells of each"

echo "# another program in its place while a reload holds up the change"
slow_change() { # COMMAND: what happens between the trial and the change; sets slow_rc, slow_out
    ctl "$D" reload --no-block slow >/dev/null || fail "a reload begins"
    (sleep 1.5 && eval "$1") &
    slow_rc=0
    slow_out=$(ctl "$D" reexec two 2>&1) || slow_rc=$?
    wait $!
}
cp "$builddir/latchd" "$D/bin/new" && mv "$D/bin/new" "$D/bin/latchd"
slow_change "install_program 'exit 0'"
is "$slow_rc" 0 "what was tried is executed" || note "$slow_out"
alive "$latchd_pid" && is "$(main_pid "$D" two) $(status_of "$D" .supervisorPid two)" "$main_two $latchd_pid" \
    "and not what was not"
is "$(cat "/proc/$latchd_pid/comm")" latchd "it has its name"
refused "where it comes from it knows" "not one that can take over"
install_program "exec $builddir/latchd \"\$@\""
slow_change "install_program 'exit 0'"
is "$slow_rc" 1 "a script that has changed is not executed"
contains "$slow_out" "another one than was tried" "  and said why"
install_program "exec $builddir/latchd \"\$@\""
succeeds "one that has not is" ctl "$D" reexec two
is "$(main_pid "$D" two) $(status_of "$D" .supervisorPid two)" "$main_two $latchd_pid" "all goes on"

echo "# the file of a service has become bad"
cp "$builddir/latchd" "$D/bin/new" && mv "$D/bin/new" "$D/bin/latchd"
echo "Nonsense=1" >>"$D/etc/two.conf"
rm "$D/etc/one.conf"
succeeds "replaced all the same" ctl "$D" reexec two
is "$(main_pid "$D" two)" "$main_two" "the daemon goes on with the configuration that it had"
kill -KILL "$main_two"
wait_for 20 "and is started again by that" runs_anew "$D" "$main_two" two
kill -KILL "$main_stubborn" # it would have its minute
stop_latchd
is "$latchd_rc" 0 "it ends as ever"
finish
