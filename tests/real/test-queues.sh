#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Queues of listeners: a redis-server on a unix socket and on a TCP port that is stopped while clients come, until both
# queues are full; what latchctl shows is what the kernel says; the journal is told; and where nobody asks, nothing of it
# costs anything. It runs in a network namespace of its own.
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require jq redis-server socat ss ip unshare strace sysctl
if [[ -z ${LATCHD_TEST_NETNS-} ]]; then
    trap - EXIT
    harness_cleanup
    LATCHD_TEST_NETNS=1 exec unshare -n bash "$0"
fi
ip link set lo up

D=$T/r
mkdir -p "$D/etc" "$D/run" "$T/real"
ln -s real "$T/link" # the socket's directory is a link
PORT=7001
listen=$T/link/redis.sock

# shellcheck disable=SC2317 # called by wait_for
logged() { grep -qE -- "$1" "$D/latchd.log"; } # EXTENDED-REGULAR-EXPRESSION
field() { ctl "$D" sockets --json redis | jq -r ".[] | select(.name == \"$1\")$2"; } # SOCKET PATH
kernel_queue() { ss -Hxl | awk -v path="$T/link/redis.sock" '$5 == path { print $3, $4 + 1 }'; }
kernel_queue_tcp() { ss -Htl "sport = :$PORT" | awk '{ print $2, $3 + 1 }'; }
# shellcheck disable=SC2317 # called by wait_for
waiting() { [[ $(field "$1" .queue) == "$2" ]]; } # SOCKET N
counts() { awk '/^voluntary_ctxt/ { print $2 }' "/proc/$1/status"; } # PID
netlinks() { # PID: its sockets that are in the kernel's list of netlink sockets
    local fd n=0
    for fd in "/proc/$1/fd"/*; do
        fd=$(readlink "$fd") fd=${fd#socket:[}
        awk -v inode="${fd%]}" '$10 == inode { there = 1 } END { exit !there }' /proc/net/netlink && n=$((n + 1))
    done
    echo "$n"
}

clients=()
come() { # N ADDRESS: so many clients that stay
    local i
    for ((i = 0; i < $1; i++)); do
        socat -u "$2" /dev/null </dev/null >/dev/null 2>&1 &
        clients+=($!)
        disown $!
    done
}
go() { ((${#clients[@]} == 0)) || kill "${clients[@]}" 2>/dev/null; clients=(); }

configure() { # WARN-UNIX WARN-TCP
    cat >"$D/etc/redis.conf" <<END
[Service]
ExecStart=redis-server --port $PORT --bind 127.0.0.1 --unixsocket $listen --tcp-backlog 4 --save "" --dir $D
Type=socket
StandardOutput=null
[Socket unix]
ListenStream=$listen
LockFile=none
$1
[Socket tcp]
ListenStream=127.0.0.1:$PORT
$2
END
}

note "without a supervisor"
configure "" ""
is "$(ctl "$D" sockets --json redis | jq -c '.[] | [.name, .listening, .queue]' | xargs)" "[unix,false,null] [tcp,false,null]" \
    "nobody listens"
contains "$(ctl "$D" sockets redis)" "nobody listens there" "in words, too"

note "nobody asks, nothing happens"
start_latchd "$D" redis
wait_for 20 "redis runs" in_state "$D" running redis
redis=$(main_pid "$D" redis)
sleep 2 # what follows a start is over
before=$(counts "$latchd_pid")
sleep 2
is "$(counts "$latchd_pid")" "$before" "latchd does not wake up in two seconds"
is "$(netlinks "$latchd_pid")" 0 "it has no netlink socket open"

note "it is asked"
is "$(field unix '| [.listening, .queue, .backlog, .limit, .full, .highWater] | map(tostring) | join(" ")')" "true 0 4 5 false 0" \
    "an empty queue on a path"
is "$(field tcp '| [.listening, .queue, .backlog, .limit, .full, .highWater] | map(tostring) | join(" ")')" "true 0 4 5 false 0" \
    "and of TCP"
is "$(netlinks "$latchd_pid")" 0 "no netlink socket stays open"
sleep 1
before=$(counts "$latchd_pid")
sleep 2
is "$(counts "$latchd_pid")" "$before" "and latchd sleeps on"
contains "$(ctl "$D" sockets nosuch 2>&1)" "nosuch" "a service that is not there is named"
exits 64 "a time of no sense" ctl "$D" sockets --watch=1ms redis

note "clients come while it is stopped"
kill -STOP "$redis"
come 2 "UNIX-CONNECT:$listen"
wait_for 10 "two wait" waiting unix 2
is "$(field unix '| "\(.queue) \(.limit)"')" "$(kernel_queue)" "as the kernel says"
is "$(field unix .full)" false "it is not full"
come 5 "UNIX-CONNECT:$listen"
come 7 "TCP:127.0.0.1:$PORT"
wait_for 10 "five wait" waiting unix 5
wait_for 10 "and at the port" waiting tcp 5
sleep 0.3
is "$(field unix '| "\(.queue) \(.limit)"')" "$(kernel_queue)" "full, as the kernel says (unix)"
is "$(field tcp '| "\(.queue) \(.limit)"')" "$(kernel_queue_tcp)" "full, as the kernel says (TCP)"
is "$(field unix .full) $(field tcp .full)" "true true" "in a word"
contains "$(socat -u "UNIX-CONNECT:$listen,nonblock" /dev/null 2>&1 </dev/null)" "temporarily unavailable" \
    "the next client gets EAGAIN"
matches "$(ctl "$D" sockets redis)" "redis +unix +daemon +5 +5 +5 +now, [0-9]" "the table has it"
lacks "$(<"$D/latchd.log")" "connections wait" "without QueueWarn= the journal is told nothing"
kill -CONT "$redis"
wait_for 10 "it drains" waiting unix 0
is "$(field unix .highWater) $(field unix .full)" "5 false" "the high-water mark stays"
matches "$(field unix .fullUSec)" '^[1-9][0-9]+$' "and for how long it was full"
matches "$(ctl "$D" status redis)" "redis.sock \(unix\).*, at most 5 waited \([0-9][0-9]:[0-9][0-9]\)" "status tells it"
is "$(status_of "$D" '.sockets[0].highWater' redis)" 5 "status --json, too"
go

note "as numbers for a monitoring system"
metrics=$(ctl "$D" metrics redis)
labels="service=\"redis\",socket=\"unix\",listen=\"$listen\""
for line in 'latchd_service_state{service="redis",state="running"} 1' 'latchd_service_state{service="redis",state="failed"} 0' \
    'latchd_service_up{service="redis"} 1' 'latchd_service_restarts_total{service="redis"} 0' \
    '# TYPE latchd_service_restarts counter' "latchd_socket_queue{$labels} 0" "latchd_socket_queue_limit{$labels} 5" \
    "latchd_socket_queue_high{$labels} 5" "latchd_socket_listening{$labels} 1"; do
    is "$(grep -cxF -- "$line" <<<"$metrics")" 1 "$line"
done
is "${metrics##*$'\n'}" "# EOF" "the last line"
is "$(awk '/^#/ { next } { sub(/\{.*/, "") } $0 != last { if ($0 in seen) print; seen[$0] = 1; last = $0 }' <<<"$metrics")" "" \
    "all samples of a metric stand together"
succeeds "into a file" ctl "$D" metrics --output "$T/latchd.prom" redis
is "$(grep -c 'latchd_socket_queue{' "$T/latchd.prom") $(stat -c %a "$T/latchd.prom")" "2 644" "which is whole"
mkdir "$T/directory"
fails "what is no file is left alone" ctl "$D" metrics --output "$T/directory" redis
is "$(find "$T" -maxdepth 1 -name '.*' -printf '%f ' | tr -d '\n')" "" "nothing is left beside it"

note "watched by hand"
is "$(timeout 20 latchctl --config-dir "$D/etc" --runtime-dir "$D/run" --json sockets --watch=100ms redis |
    head -n 4 | jq -c 'map(.name)' | uniq -c | xargs)" "4 [unix,tcp]" "four looks, a line each, until nobody reads them"
latchctl --config-dir "$D/etc" --runtime-dir "$D/run" sockets -w redis >"$T/watch.txt" &
watch=$!
wait_for 10 "tables come" grep -q LIMIT "$T/watch.txt"
kill -INT "$watch"
wait "$watch"
is "$?" 0 "SIGINT ends it, well"
sleep 1
before=$(counts "$latchd_pid")
sleep 2
is "$(counts "$latchd_pid")" "$before" "after that latchd sleeps"

note "with QueueWarn="
configure "QueueWarn=60%
QueueIntervalSec=100ms" "QueueWarn=4
QueueIntervalSec=100ms"
succeeds "it counts at once" ctl "$D" reload redis
is "$(main_pid "$D" redis)" "$redis" "the daemon is the same"
kill -STOP "$redis"
come 2 "UNIX-CONNECT:$listen"
wait_for 10 "two wait" waiting unix 2
sleep 0.5
lacks "$(<"$D/latchd.log")" "connections wait" "that is below the threshold"
come 1 "UNIX-CONNECT:$listen"
wait_for 10 "the threshold is told of" logged "3 of 5 connections wait at $listen for PID $redis to take them: latchctl doctor redis"
come 2 "UNIX-CONNECT:$listen"
wait_for 10 "and that it is full" logged "5 of 5 connections wait at $listen .* it is full: clients get EAGAIN at once"
come 6 "TCP:127.0.0.1:$PORT"
wait_for 10 "that of TCP, too" logged "5 of 5 connections wait at 127.0.0.1:$PORT .* it is full: clients wait"
sleep 1
is "$(grep -c "it is full" "$D/latchd.log")" 2 "once each"
kill -CONT "$redis"
wait_for 20 "that it has drained" logged "The queue has drained at $listen; at most 5 of 5 waited, for "
wait_for 20 "that of TCP, too" logged "The queue has drained at 127.0.0.1:$PORT; at most 5 of 5 waited, for "
go
is "$(field unix .highWater)" 5 "the mark stays"

note "the daemon dies while clients wait"
kill -STOP "$redis"
come 6 "UNIX-CONNECT:$listen"
# shellcheck disable=SC2317 # called by wait_for
told_again() { (($(grep -c "connections wait at $listen" "$D/latchd.log") >= 3)); }
wait_for 20 "it is told again" told_again
kill -KILL "$redis"
wait_for 30 "it runs anew" runs_anew "$D" "$redis" redis
wait_for 20 "the end of it is told" logged "The daemon has ended, or no longer listens at $listen, where connections waited"
go
at_most "$(field unix .highWater)" 1 "the new listener begins anew, with latchd's own probe at most"

note "QueueWarn= is taken away"
configure "" ""
succeeds "it counts at once" ctl "$D" reload redis
sleep 2
before=$(counts "$latchd_pid")
sleep 2
is "$(counts "$latchd_pid")" "$before" "latchd sleeps again"
stop_latchd
is "$latchd_rc" 0 "latchd ends"

note "a listener that latchd holds"
O=$T/own
mkdir -p "$O/etc" "$O/run"
sysctl -qw net.core.somaxconn=8 || die "the limit of this network namespace can be set"
cat >"$O/etc/own.conf" <<END
[Service]
ExecStart=sleep 1000
StandardOutput=null
Restart=always
[Socket s]
ListenStream=$O/s.sock
Owner=latchd
Backlog=100
QueueWarn=50%
QueueIntervalSec=100ms
END
start_latchd "$O" own
wait_for 20 "it runs" in_state "$O" running own
own=$(main_pid "$O" own)
is "$(ctl "$O" sockets --json own | jq -c '.[0] | [.backlog, .limit, .configuredBacklog, .somaxconn, .remark]')" \
    '[8,9,100,8,"Backlog= was cut to net.core.somaxconn"]' "its backlog was cut, and that is told"
come 10 "UNIX-CONNECT:$O/s.sock"
wait_for 20 "its queue is full" grep -q "9 of 9 connections wait at $O/s.sock .* it is full" "$O/latchd.log"
kill -KILL "$own"
wait_for 20 "another daemon is there" runs_anew "$O" "$own" own
sleep 0.5
is "$(ctl "$O" sockets --json own | jq -c '.[0] | [.queue, .highWater, .full]')" '[9,9,true]' "the same clients wait on"
lacks "$(<"$O/latchd.log")" "where connections waited" "and nothing has ended"
go
stop_latchd

note "many services: one look for all"
M=$T/many
mkdir -p "$M/etc" "$M/run"
names=()
for i in $(seq 30); do
    names+=("s$i")
    cat >"$M/etc/s$i.conf" <<END
[Service]
ExecStart=$(tool answer-daemon) $M/s$i.sock echo
Type=socket
StandardOutput=null
[Socket s]
ListenStream=$M/s$i.sock
LockFile=none
QueueWarn=80%
QueueIntervalSec=500ms
END
done
detach_latchd "$M" "${names[@]}"
# shellcheck disable=SC2317 # called by wait_for
all_run() { (($(ctl "$M" list --json | jq '[.[] | select(.state == "running")] | length') == 30)); }
wait_for 30 "all run" all_run
timeout -s INT 2.2 strace -qq -e trace=socket -o "$M/strace.txt" -p "$latchd_pid"
looks=$(grep -c NETLINK_SOCK_DIAG "$M/strace.txt")
matches "$looks" '^[1-5]$' "at most a look each 500 ms, for all thirty services"
is "$(ctl "$M" sockets --json | jq '[.[] | select(.listening and .queue == 0)] | length')" 30 "each one's queue is known"
kill -TERM "$latchd_pid"
succeeds "latchd ends" wait_until 20 gone "$latchd_pid"

note "a socket on a file system that does not answer"
F=$T/far
mkdir -p "$F/etc" "$F/run" "$F/place"
cat >"$F/etc/far.conf" <<END
[Service]
ExecStart=sleep 1000
StandardOutput=null
[Socket s]
ListenStream=$F/place/s.sock
LockFile=none
QueueWarn=1
QueueIntervalSec=100ms
END
start_latchd "$F" far
wait_for 20 "it runs" in_state "$F" running far
is "$(ctl "$F" sockets --json far | jq -c '.[0].listening')" false "nobody listens"
"$(tool hanging-fs)" hang "$F/place" >"$T/hanging.out" 2>"$T/hanging.log" &
disown $!
if wait_until 10 grep -q ready "$T/hanging.out"; then
    sleep 0.5
    is "$(ctl "$F" sockets --json far | jq -c '.[0] | [.name, .listening, .queue]')" '["s",null,null]' "latchd does not wait for it"
    kill -TERM "$latchd_pid"
    wait_until 20 gone "$latchd_pid"
    is "$(ctl "$F" sockets --json far | jq -c '.[0] | [.name, .listening, .queue]')" '["s",null,null]' "nor does latchctl"
else
    note "no FUSE here"
    stop_latchd
fi

finish
