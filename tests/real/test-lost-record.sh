#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A daemon of which nothing speaks but latchd's own record: it has no environment, runs another program than
# ExecStart= names, and leads no session. Whatever becomes of latchd and of NAME.state, there never are two of it, and
# nobody else's process is touched.
# shellcheck disable=SC2317 # called by their names
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require latchd latchctl jq

D=$T/d
mkdir -p "$D/etc" "$D/run" "$D/bin"
sleeper=$D/bin/sleeper
cp "$(command -v sleep)" "$sleeper"
notifier=$(tool notify-daemon)

service() { # NAME LINES...
    local name=$1
    shift
    { printf '[Service]\nStandardOutput=null\nRestartSec=10ms\n'; printf '%s\n' "$@"; } >"$D/etc/$name.conf"
}

service alone "ExecStart=/bin/sh -c 'exec env -i $sleeper 1001'"
service led "ExecStart=/bin/sh -c 'exec env -i $sleeper 1002'"
service named Type=notify "ExecStart=/bin/sh -c 'env -i $sleeper 1003 & exec $notifier daemon $D/named'"
mkdir "$D/named"
mkfifo "$D/named/orders"
exec {orders}<>"$D/named/orders"
all=(alone led named)

pid_of() { pids_of_command "$sleeper" "$1"; } # SECONDS-OF-THE-SLEEPER
count() { pid_of "$1" | wc -l; }
# The daemon names another process than its own, and ends.
name_main() {
    wait_for 20 "the other process is there" some 1003
    printf 'say MAINPID=%s\\nREADY=1\nbarrier\nexit 0\n' "$(pid_of 1003)" >&"$orders"
}
some() { (($(count "$1") > 0)); }
seconds_of() { case $1 in alone) echo 1001 ;; led) echo 1002 ;; named) echo 1003 ;; esac; }

exec_alone() { # replaces the shell
    exec latchd exec --config-dir "$D/etc" --runtime-dir "$D/run" --log-target stderr alone >>"$D/exec.log" 2>&1 </dev/null
}
try_alone() { timeout 20 bash -c "$(declare -f exec_alone); D=$D exec_alone"; }

echo "# latchd exec, and then latchd exec and latchd run again"
(exec_alone) &
exec_pid=$!
disown "$exec_pid"
wait_for 10 "the daemon is there" some 1001
is "$(pid_of 1001)" "$exec_pid" "as the process that latchd exec was"
exits 75 "latchd exec starts none beside it" try_alone
is "$(count 1001)" 1 "one daemon"
contains "$(ctl "$D" status alone)" "PID $exec_pid" "latchctl status knows it"
detach_latchd "$D" "${all[@]}"
name_main
for name in "${all[@]}"; do wait_for 20 "$name is up" in_state "$D" running "$name"; done
for name in "${all[@]}"; do is "$(count "$(seconds_of "$name")")" 1 "$name: one daemon"; done
is "$(main_pid "$D" alone)" "$exec_pid" "what latchd exec began is taken over"
is "$(main_pid "$D" named)" "$(pid_of 1003)" "MAINPID= counts"
declare -A main
for name in "${all[@]}"; do main[$name]=$(main_pid "$D" "$name"); done

same_daemons() { # TEXT
    local name
    for name in "${all[@]}"; do
        wait_for 20 "$1: $name is up" in_state "$D" running "$name"
        is "$(main_pid "$D" "$name"), $(count "$(seconds_of "$name")")" "${main[$name]}, 1" "$1: $name is the same daemon, and the only one"
    done
}

echo "# latchd is killed"
kill_latchd
detach_latchd "$D" "${all[@]}"
same_daemons "killed"

echo "# and the records are lost"
kill_latchd
rm "$D"/run/*.state
exits 75 "lost: latchd exec starts none beside it" try_alone
detach_latchd "$D" "${all[@]}"
same_daemons "lost"

echo "# or damaged"
kill_latchd
for name in "${all[@]}"; do head -c 100 "$D/run/$name.state" >"$T/cut" && cp "$T/cut" "$D/run/$name.state"; done
detach_latchd "$D" "${all[@]}"
same_daemons "damaged"
is "$(grep -c "is damaged: not used" "$D/latchd.log")" 3 "which is told"

echo "# the record is older than the daemon"
kill_latchd
cp "$D/run/named.state" "$T/named.state"
jq '.mainPid = 0 | .startTicks = 0 | .bootId = "" | del(.mainUSec)' "$T/named.state" >"$D/run/named.state"
detach_latchd "$D" "${all[@]}"
same_daemons "older"

echo "# stopped, they end, and nothing is taken for them any more"
for name in "${all[@]}"; do
    succeeds "$name is stopped" ctl "$D" stop "$name"
    wait_for 10 "$name has ended" gone "${main[$name]}"
done
kill_latchd
rm "$D"/run/*.state
"$sleeper" 2000 </dev/null >/dev/null 2>&1 &
innocent=$!
disown "$innocent"
detach_latchd "$D" "${all[@]}"
name_main
for name in "${all[@]}"; do wait_for 20 "$name is started anew" in_state "$D" running "$name"; done

echo "# a record that names somebody else"
kill_latchd
for name in "${all[@]}"; do main[$name]=$(jq .mainPid "$D/run/$name.state"); done
jq --argjson pid "$innocent" --argjson ticks "$(start_ticks "$innocent")" '.mainPid = $pid | .startTicks = $ticks |
    del(.session) | del(.leadsSession)' "$D/run/led.state" >"$T/forged" && cp "$T/forged" "$D/run/led.state"
detach_latchd "$D" "${all[@]}"
same_daemons "forged"
contains "$(<"$D/latchd.log")" "led.state names PID $innocent, but led.lock says that the daemon is PID ${main[led]}" \
    "which is told"

echo "# both are lost: nothing tells of the daemon any more, but for the one that carries our marks"
kill_latchd
printf x >"$D/run/led.lock"
rm "$D/run/led.state"
kill -KILL "${main[led]}"
detach_latchd "$D" "${all[@]}"
wait_for 20 "a note that is none" in_state "$D" running led
is "$(count 1002)" 1 "is no obstacle"
kill -TERM "$latchd_pid"
wait_for 20 "latchd ends" gone "$latchd_pid"

echo "# a daemon with marks of its own"
other=0123456789abcdef0123456789abcdef
service marked "ExecStart=/bin/sh -c 'INVOCATION_ID=$other exec $sleeper 1004'"
detach_latchd "$D" marked
wait_for 20 "it is up" in_state "$D" running marked
marked=$(main_pid "$D" marked)
kill_latchd
detach_latchd "$D" marked
wait_for 20 "it is not taken over" in_state "$D" blocked marked
contains "$(ctl "$D" status marked)" "PID $marked" "nor is anything started beside it"
is "$(count 1004)" 1 "one daemon"
ctl "$D" stop marked >/dev/null
alive "$marked" && ok "a stop leaves it alone"
ctl "$D" start --no-block marked
kill_latchd
detach_latchd "$D" marked
wait_for 20 "so it is for the latchd after that" in_state "$D" blocked marked
exits 75 "and for latchd exec" timeout 20 latchd exec --config-dir "$D/etc" --runtime-dir "$D/run" marked
kill -KILL "$marked"
wait_for 20 "when it has ended, the service starts" in_state "$D" running marked
kill -TERM "$latchd_pid"
wait_for 20 "latchd ends" gone "$latchd_pid"
alive "$innocent" && ok "nobody else was touched"
finish
