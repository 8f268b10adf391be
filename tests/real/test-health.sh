#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Daemons that do not answer, told apart: a Kea that somebody stopped, a redis-server busy with a loop, one that
# deadlocks, and a latchd that was itself stopped.
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require jq redis-server redis-cli systemd-notify flock
require_kea

# shellcheck disable=SC2317 # called by wait_for
health() { status_of "$1" ".health$2" "$3"; }             # DIR PATH SERVICE
# shellcheck disable=SC2317 # called by wait_for
is_health() { [[ $(health "$1" .verdict "$2") == "$3" ]]; } # DIR SERVICE VERDICT
# shellcheck disable=SC2317 # called by wait_for
logged() { grep -qE -- "$2" "$1/latchd.log"; }              # DIR EXTENDED-REGULAR-EXPRESSION

# Makes DIR/daemon a service that has to say that it lives, and is not started again for a while when it did not.
watched() { # DIR SERVICE WATCHDOG-TIME
    chmod 755 "$1/daemon"
    cat >"$1/etc/$2.conf" <<END
[Service]
ExecStart=$1/daemon
WatchdogSec=$3
Restart=on-failure
RestartSec=50s
RestartMaxDelaySec=50s
StandardOutput=null
END
}

note "a Kea that is asked from time to time"
K=$T/kea
make_kea "$K" 2000 Type=socket
cat >>"$K/etc/kea.conf" <<END
[Socket control]
ListenStream=$K/kea.sock
ProbeIntervalSec=500ms
ProbeTimeoutSec=1s
END
start_latchd "$K"
wait_for 30 "Kea runs" in_state "$K" running
kea=$(main_pid "$K")
wait_for 20 "it is healthy" is_health "$K" kea healthy
matches "$(status_of "$K" '.sockets[0].answerUSec')" '^[0-9]+$' "its answer time is known"

note "it is stopped by SIGSTOP"
kill -STOP "$kea"
wait_for 30 "status says so" is_health "$K" kea stopped
contains "$(ctl "$K" status kea)" "SIGSTOP" "and in words"
sleep 4
is "$(main_pid "$K")" "$kea" "it is the same Kea"
succeeds "which lives" alive "$kea"
is "$(grep -c 'is stopped' "$K/latchd.log")" 1 "that was told once"
lacks "$(<"$K/latchd.log")" "hangs" "nobody takes it for hung"
kill -CONT "$kea"
wait_for 30 "it is healthy again" is_health "$K" kea healthy
succeeds "and Kea answers" kea_answers "$K" "$kea"
wait_for 10 "that was told, too" logged "$K" 'well again'
stop_latchd
is "$latchd_rc" 0 "latchd ends"

note "a daemon that deadlocks"
D=$T/dead
mkdir -p "$D/etc" "$D/run"
: >"$D/lock"
exec 8<"$D/lock"
flock 8 # what it waits for in vain
cat >"$D/daemon" <<END
#!/bin/sh
for i in 1 2 3 4 5; do systemd-notify WATCHDOG=1; sleep 0.2; done
exec flock $D/lock true
END
watched "$D" dead 2s
start_latchd "$D" dead
wait_for 20 "it runs" in_state "$D" running dead
pid=$(main_pid "$D" dead)
wait_for 60 "it is ended, and will be started again" in_state "$D" backoff dead
succeeds "it is gone" gone "$pid"
is "$(status_of "$D" .lastExit.signal dead)" 6 "by SIGABRT"
is "$(health "$D" .lastHang.symptom dead)" no-watchdog "status keeps what was missed"
is "$(health "$D" .lastHang.evidence.state dead)" S "its state"
isnt "$(health "$D" .lastHang.evidence.wchan dead)" null "where it slept"
contains "$(health "$D" .lastHang.evidence.stack dead)" lock "its stack shows that it waits for the lock"
contains "$(ctl "$D" status dead)" "Last hang" "in words, too"
stop_latchd

note "redis-server in a loop without end"
R=$T/redis
mkdir -p "$R/etc" "$R/run"
cat >"$R/daemon" <<END
#!/bin/sh
(while :; do
    [ "\$(timeout 1 redis-cli -s $R/redis.sock ping 2>/dev/null)" = PONG ] && systemd-notify WATCHDOG=1
    sleep 0.3
done) &
exec redis-server --port 0 --unixsocket $R/redis.sock --save "" --lua-time-limit 0 --dir $R
END
watched "$R" redis 3s
start_latchd "$R" redis
wait_for 20 "it runs" in_state "$R" running redis
redis=$(main_pid "$R" redis)
wait_for 20 "it answers" test -S "$R/redis.sock"
sleep 4
lacks "$(<"$R/latchd.log")" "is busy" "no sign of anything"
timeout 30 redis-cli -s "$R/redis.sock" eval 'while true do end' 0 >/dev/null 2>&1 &
wait_for 30 "it is told to be busy" is_health "$R" redis busy
succeeds "it lives" alive "$redis"
wait_for 60 "after three times more time it is ended" in_state "$R" backoff redis
is "$(grep -c 'is busy' "$R/latchd.log")" 3 "it was told three times"
contains "$(<"$R/latchd.log")" "Ending PID $redis with SIGABRT" "by SIGABRT"
# redis-server catches it to write a report, in which it may crash once more.
matches "$(status_of "$R" .lastExit.signal redis)" "^(6|11)$" "which it dies of"
stop_latchd

note "latchd itself is stopped for longer than WatchdogSec="
L=$T/late
mkdir -p "$L/etc" "$L/run"
printf '#!/bin/sh\nwhile :; do systemd-notify WATCHDOG=1; sleep 0.3; done\n' >"$L/daemon"
watched "$L" late 2s
start_latchd "$L" late
wait_for 20 "it runs" in_state "$L" running late
pid=$(main_pid "$L" late)
kill -STOP "$latchd_pid"
sleep 6
kill -CONT "$latchd_pid"
sleep 3
is "$(main_pid "$L" late)" "$pid" "the daemon is the same"
lacks "$(<"$L/latchd.log")" "hangs" "and was not blamed"
stop_latchd

finish
