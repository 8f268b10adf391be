#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# latchctl doctor, of real daemons that are sick in one way each: it names that cause first, with the kernel's figures,
# and of a healthy one it finds nothing. It connects to nobody and changes nothing.
# shellcheck disable=SC2317 # called by their names
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require latchd latchctl jq redis-server redis-cli setpriv strace ss python3
sick=$(tool sick-daemon)

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
D=$T/d
mkdir -p "$D/etc" "$D/run"
service() { # NAME COMMAND LINES...
    {
        printf '[Service]\nExecStart=%s\nStandardOutput=append:%s/%s.out\nRestart=no\n' "$2" "$D" "$1"
        shift 2
        (($# == 0)) || printf '%s\n' "$@"
    } >"$D/etc/$1.conf"
}

# doctor CODE TEXT ARGUMENT...: sets out (JSON) and checks the exit code.
doctor() {
    local code=$1 text=$2 rc=0
    shift 2
    out=$(ctl "$D" doctor --json "$@" 2>"$T/err") || rc=$?
    is "$rc" "$code" "$text: exit code $code" || printf '%s\n' "$out" "$(<"$T/err")" | sed 's/^/    /'
}
causes() { jq -r '[.[0].findings[].cause] | join(" ")' <<<"$out"; }
first() { jq -r ".[0].findings[0] | $1" <<<"$out"; }                                      # FILTER
of_cause() { jq -r "first(.[0].findings[] | select(.cause == \"$1\")) | $2" <<<"$out"; }     # CAUSE FILTER

# Runs in the background, sets pid, and waits until it says that it is ready.
patient() { # ARGUMENT... of sick-daemon
    "$sick" "$@" >"$T/patient.out" 2>"$T/patient.log" </dev/null &
    pid=$!
    disown "$pid"
    pids+=("$pid")
    wait_until 10 grep -q ready "$T/patient.out" || die "sick-daemon $* is ready"
}
doctor_cleanup() {
    local rc=$? dir
    (exit "$rc")
    harness_cleanup
    for dir in /sys/fs/cgroup{,/*}/latchd-doctor-$$; do
        [[ ! -d $dir ]] || wait_until 5 rmdir "$dir"
    done
    return "$rc"
}
trap doctor_cleanup EXIT
cure() {
    kill -KILL "${pids[@]}" 2>/dev/null
    pids=()
}
pids=()
cgroup_with() { # FILE: makes a cgroup that has it, where one can be made: sets G
    local mount
    G=""
    while read -r mount; do
        mkdir "$mount/latchd-doctor-$$" 2>/dev/null || continue
        if [[ -w $mount/latchd-doctor-$$/$1 ]]; then
            G=$mount/latchd-doctor-$$
            return
        fi
        rmdir "$mount/latchd-doctor-$$"
    done < <(awk '$3 ~ /^cgroup2?$/ { print $2 }' /proc/self/mounts)
    note "no cgroup with $1 can be made here"
    return 1
}

service redis "$(command -v redis-server) --port 0 --unixsocket $D/redis.sock --save '' --tcp-backlog 8" Type=socket \
    '[Socket control]' "ListenStream=$D/redis.sock" LockFile=none ProbeIntervalSec=1h
service files "$sick files $D/files.sock" LimitNOFILE=64:4096 '[Socket control]' "ListenStream=$D/files.sock" LockFile=none \
    Probe=none
service busy "$sick busy $D/busy.sock" '[Socket control]' "ListenStream=$D/busy.sock" LockFile=none Probe=none
service down "$sick idle" '[Lock l]' "LockFile=$D/down.pid" LockStyle=pidfile

note "a redis that is well"
start_latchd "$D" redis
wait_for 20 "redis is running" in_state "$D" running redis
redis=$(main_pid "$D" redis)
before=$(redis-cli -s "$D/redis.sock" info stats | sed -n 's/^total_connections_received:\([0-9]*\).*/\1/p')
doctor 0 "healthy" redis
is "$(redis-cli -s "$D/redis.sock" info stats | sed -n 's/^total_connections_received:\([0-9]*\).*/\1/p')" $((before + 1)) \
    "redis has seen no connection of the doctor's"
is "$(jq -c '.[0] | [.service, .pid, .healthy, .findings]' <<<"$out")" "[\"redis\",$redis,true,[]]" "nothing is found"
ctl "$D" doctor --time=200ms redis >"$T/text"
is "$(head -n 1 "$T/text")" "redis (PID $redis): nothing found" "the verdict is the first line"
contains "$(<"$T/text")" "queue of $D/redis.sock: 0 of 9" "and what was looked at follows"
lacks "$(<"$T/text")" $'\033' "no colours but on a terminal"
doctor 0 "by its PID" --pid "$redis"
is "$(jq -r '.[0] | "\(.service) \(.pid)"' <<<"$out")" "null $redis" "it is no service then"
# Who is traced is not asked for leaks: LeakSanitizer traces, too.
ASAN_OPTIONS=${ASAN_OPTIONS-}:detect_leaks=0 strace -f -qq -e trace=connect,kill,tkill,tgkill,pidfd_send_signal,write,unlink,unlinkat -o "$T/trace" \
    latchctl doctor --pid "$redis" --time=100ms >/dev/null
is "$(grep -vE 'write\(1|nscd|exited' "$T/trace")" "" "it connects to nobody, signals nobody, removes nothing"

note "stopped, with clients until its queue is full"
kill -STOP "$redis"
patient crowd "$D/redis.sock" 20
is "$(<"$T/patient.out")" "ready connected 9" "the queue takes its backlog and one more"
doctor 8 "stopped" redis
is "$(first .cause)" stopped "that it is stopped comes first"
is "$(first .severity)" error "as an error"
is "$(first .remedy)" "kill -CONT $redis" "with the remedy"
is "$(of_cause queue-full .evidence.queue)" 9 "the queue's length"
is "$(of_cause queue-full .evidence.backlog)" 8 "its backlog"
contains "$(of_cause queue-full .summary)" "9 connections wait on $D/redis.sock, where 9 can" "in words"
ctl "$D" doctor redis >"$T/text"
is "$(head -n 1 "$T/text")" "redis (PID $redis): stopped, and 1 finding more" "the verdict's line"
contains "$(<"$T/text")" "Remedy: kill -CONT $redis" "the remedy stands there"
cure
kill -CONT "$redis"
wait_until 5 redis-cli -s "$D/redis.sock" ping
doctor 0 "going on again" redis
stop_latchd

note "a supervisor that does not answer, and a daemon that lives without one"
start_latchd "$D" redis
wait_for 20 "redis is running" in_state "$D" running redis
redis=$(main_pid "$D" redis)
kill -STOP "$latchd_pid"
doctor 8 "stopped latchd" redis
is "$(causes)" supervisor-silent "that is found"
is "$(jq '.[0].pid' <<<"$out")" "$redis" "and the daemon all the same"
disown "$latchd_pid"
kill -KILL "$latchd_pid"
wait_until 5 gone "$latchd_pid"
doctor 8 "unsupervised" redis
is "$(jq -r '.[0] | "\(.pid) \(.verdict)"' <<<"$out")" "$redis redis (PID $redis, unsupervised): no-supervisor" "it is found"
is "$(first '"\(.severity) \(.remedy)"')" \
    "warning latchd takes the daemon over: latchd run --config-dir $D/etc --runtime-dir $D/run redis" "with the remedy"
kill -KILL "$redis"
wait_until 5 gone "$redis"
doctor 8 "dead, and its socket left" redis
is "$(causes)" "no-supervisor socket-stale" "the socket is in the way"
is "$(first .severity)" error "and nobody starts it"

note "a lock that a dead daemon's helper holds"
mkdir "$D/bin" "$D/quick"
cp "$(tool lock-daemon)" "$D/bin/lock-daemon"
cp "$D/bin/lock-daemon" "$D/bin/lock-helper"
service quick "$D/bin/lock-daemon $D/quick $D/bin/lock-helper" Type=socket "OrphanAllow=$D/bin/lock-helper" \
    OrphanPolicy=fail '[Socket control]' "ListenStream=$D/quick/S" '[Lock pid]' "LockFile=$D/quick/S.pid" LockStyle=pidfile
start_latchd "$D" quick
wait_for 10 "the daemon with the helper runs" in_state "$D" running quick
quick=$(main_pid "$D" quick)
wait_for 10 "the helper has inherited its lock" sh -c "[ \$(grep -ls '^lock:.*FLOCK' /proc/[0-9]*/fdinfo/* |
    xargs grep -l ':$(stat -c %i "$D/quick/S.lock") ' | wc -l) = 2 ]"
doctor 0 "while the daemon lives" quick
kill -KILL "$quick"
wait_until 10 sh -c "! [ -d /proc/$quick ]"
doctor 8 "once it is dead" quick
is "$(first .cause)" lock-orphaned "its helper keeps the lock"
is "$(first .subject)" "$D/quick/S.lock" "which"
helper=$(first .evidence.holderPid)
is "$(tr '\0' ' ' <"/proc/$helper/cmdline" | cut -d' ' -f1)" "$D/bin/lock-helper" "and who it is"
stop_latchd
kill -KILL "$helper"

note "no main process"
doctor 8 "no service" down
is "$(jq -c '.[0] | [.service, .pid, .state, [.findings[].cause]]' <<<"$out")" '["down",null,"stopped",["no-supervisor"]]' \
    "it does not run, and nothing is in its way"
echo 4194000 >"$D/down.pid"
doctor 8 "a PID file that a dead one left" down
is "$(causes)" "no-supervisor lock-stale" "is found"
rm "$D/down.pid"

note "a service that is down, and why"
remedies() { jq -r '[.[0].findings[].remedy] | join("; ")' <<<"$out"; }
words() { # ACTION...: as they have to be typed
    echo "latchctl $1 --config-dir $D/etc --runtime-dir $D/run $2"
}
service crash "/bin/sh -c 'exit 3'" Restart=always RestartSec=1min
sed -i '/^Restart=no/d' "$D/etc/crash.conf"
start_latchd "$D" crash
wait_for 10 "the daemon is to be started again" in_state "$D" backoff crash
doctor 8 "it does not stay up" crash
is "$(first '"\(.cause) \(.severity)"')" "crash-loop error" "that is found"
contains "$(first .summary)" "exited with status 3; next try" "how it ended, and when it is tried again"
contains "$(remedies)" "$(words logs crash)" "where its messages are"
ctl "$D" stop crash >/dev/null
doctor 8 "stopped" crash
is "$(first '"\(.cause) \(.severity) \(.remedy)"')" "stopped-by-request hint to bring it up: $(words start crash)" "on request"
stop_latchd
service fails "/bin/sh -c 'exit 3'"
start_latchd "$D" fails
wait_for 10 "it has failed" in_state "$D" failed fails
doctor 8 "failed" fails
is "$(first '"\(.cause) \(.severity)"')" "failed error" "that is found"
stop_latchd
service ends "/bin/sh -c 'sleep 0.1'"
start_latchd "$D" ends
wait_until 10 grep -q "Stays down" "$D"/*.log
doctor 8 "ended" ends
is "$(first '"\(.cause) \(.severity)"')" "ended warning" "by itself"
stop_latchd
service waits "$sick idle" '[Lock l]' "LockFile=$D/waits.lock"
flock "$D/waits.lock" sleep 1000 &
locker=$!
disown "$locker"
pids+=("$locker")
wait_until 5 fails "locked" flock -n "$D/waits.lock" true
start_latchd "$D" waits
wait_for 10 "somebody is in the way" in_state "$D" blocked waits
doctor 8 "blocked" waits
is "$(first '"\(.cause) \(.severity)"')" "blocked error" "that is found"
contains "$(first .summary)" "PID $locker" "with who it is"
read -r -a children <"/proc/$locker/task/$locker/children"
pids+=("${children[@]}")
cure
wait_for 10 "then it runs" in_state "$D" running waits
waits=$(main_pid "$D" waits)
doctor 0 "by its PID" --pid "$waits"
is "$(jq -r '.[0].mainOf' <<<"$out")" waits "which service that is is told"
contains "$(ctl "$D" doctor --time=100ms --pid "$waits")" "this is service waits: $(words doctor waits)" "and how to ask for it"
echo "NoSuchKey=1" >>"$D/etc/waits.conf"
doctor 8 "mistakes in its configuration" waits
is "$(causes) $(first .severity)" "configuration lock-held warning" "while it runs, and has not taken its lock"
contains "$(first .remedy)" "latchd check --config-dir $D/etc --runtime-dir $D/run waits" "who lists them"
ctl "$D" stop waits >/dev/null 2>&1
doctor 8 "and once it is down" waits
is "$(first '"\(.cause) \(.severity)"')" "configuration error" "as an error"
stop_latchd
rm "$D"/etc/{crash,fails,ends,waits}.conf

note "a socket that latchd owns"
mkdir "$D/own"
service own "python3 -c 'import socket, time; s = socket.socket(fileno=3); s.listen(7); [s.accept() for i in iter(int, 1)]'" '[Socket c]' \
    "ListenStream=$D/own/s" Owner=latchd Probe=none
start_latchd "$D" own
wait_for 10 "it runs" in_state "$D" running own
own=$(main_pid "$D" own)
wait_until 10 sh -c "ss -Hlx | grep -q ' 7 .*$D/own/'"
doctor 8 "its daemon has set another backlog" own
is "$(causes) $(first .severity)" "backlog-replaced hint" "that is found"
is "$(first '.evidence | "\(.asked) \(.backlog)"')" "4096 7" "the figures"
displaced() { first '"\(.cause) \(.severity) \(.evidence.displaced)"'; }
echo x >"$D/own/x"
mv "$D/own/x" "$D/own/s"
doctor 8 "a file in its place" own
is "$(displaced)" "no-listener error file" "is found"
contains "$(first .remedy)" "rm $D/own/s" "with the remedy"
rm "$D/own/s"
wait_for 10 "which works" test -S "$D/own/s"
patient listen "$D/own/other" 2
mv "$D/own/other" "$D/own/s"
doctor 8 "another socket in its place" own
is "$(displaced)" "no-listener error socket" "is found, though somebody listens there"
cure
wait_until 10 sh -c "rm -rf '$D/own'; ! [ -e '$D/own' ]" # latchd puts its socket back meanwhile
doctor 8 "its directory is gone" own
is "$(displaced)" "no-listener error no-directory" "is found"
remedy=$(first .remedy)
# shellcheck disable=SC2086 # words
succeeds "the remedy works as it is typed" ${remedy#*: }
doctor 8 "back again" own
is "$(causes)" backlog-replaced "its socket is there"
own=$(main_pid "$D" own)
disown "$latchd_pid"
kill -KILL "$latchd_pid"
wait_until 5 gone "$latchd_pid"
doctor 8 "its latchd was killed" own
is "$(causes)" "no-supervisor backlog-replaced" "that is found, and the lock that went with it is not"
ASAN_OPTIONS=${ASAN_OPTIONS-}:detect_leaks=0 strace -f -qq -e trace=connect -o "$T/trace" latchctl --config-dir "$D/etc" --runtime-dir "$D/run" doctor --time=100ms own >/dev/null
is "$(grep -vE "nscd|exited|$D/run/own.sock" "$T/trace")" "" "and its daemon is not connected to"
kill -KILL "$own"
wait_until 5 gone "$own"
rm -rf "$D/etc/own.conf" "$D/own" "$D/run/own".*

note "a queue that is too small, and nobody who accepts"
patient listen "$T/q.sock" 2
listener=$pid
patient crowd "$T/q.sock" 10
doctor 8 "full" --pid "$listener"
is "$(causes)" "not-accepting queue-full" "both are found"
is "$(of_cause queue-full '.evidence | "\(.queue) \(.room) \(.backlog)"')" "3 3 2" "the figures"
cure
patient listen "$port" 2
listener=$pid
"$sick" crowd "$port" 10 >/dev/null &
pids+=("$!")
wait_until 5 sh -c "ss -Hltn 'sport = :$port' | grep -q 'LISTEN 3 '"
doctor 8 "TCP" --pid "$listener"
is "$(of_cause queue-full '.evidence | "\(.address) \(.queue) \(.room)"')" "127.0.0.1:$port 3 3" "the same of TCP"
cure

note "descriptors"
start_latchd "$D" files
wait_for 10 "it has opened what it may" grep -q ready "$D/files.out"
doctor 8 "no descriptor is left" files
files=$(jq '.[0].pid' <<<"$out")
is "$(first .cause)" nofile "the cause"
is "$(first '.evidence | "\(.pid) \(.open) \(.soft)"')" "$files 64 64" "the figures"
contains "$(first .summary)" "64 of 64 descriptors are open" "in words"
remedy=$(first .remedy)
command=${remedy#at once: } command=${command%%;*}
# shellcheck disable=SC2086 # words
succeeds "the remedy works as it is typed" $command
doctor 0 "raised" files
stop_latchd

note "a busy loop"
start_latchd "$D" busy
wait_for 10 "it is busy" grep -q ready "$D/busy.out"
doctor 8 "busy" busy
is "$(causes)" main-busy "the cause"
at_most 80 "$(first '.evidence.percent + .evidence.delayedPercent')" "how busy, on a machine that has other work"
is "$(first .severity)" warning "as a warning, while nobody waits"
busy=$(jq '.[0].pid' <<<"$out")
patient crowd "$D/busy.sock" 3
doctor 8 "busy while some wait" busy
is "$(first '"\(.cause) \(.severity)"')" "main-busy error" "an error then"
cure
stop_latchd
gone "$busy" || die "the busy daemon ended"

note "a reader that does not read"
for address in "$T/s.sock" "$port"; do
    for mode in nonblock block; do
        patient send "$address" "$mode"
        sender=$pid
        patient dawdle "$address"
        reader=$pid
        unread() { ss -H -xtnp | grep -F "pid=$reader," | awk '{ exit !($3 > 100000) }'; }
        wait_until 10 unread || die "bytes wait" "$(ss -H -xtnp | grep -F "pid=$reader,")"
        sleep 1
        doctor 8 "$address, $mode" --pid "$sender"
        is "$(of_cause send-buffer-full '.evidence | "\(.pid) \(.peerPid) \(.nonblocking)"')" \
            "$sender $reader $([[ $mode == nonblock ]] && echo true || echo false)" "who writes, who does not read, and how"
        is "$(of_cause send-buffer-full .evidence.waitingBytes)" \
            "$(ss -H -xtnp | grep -F "pid=$reader," | awk '{ print $3 }')" "how many bytes wait, as ss(8) has it"
        contains "$(of_cause send-buffer-full .summary)" "PID $reader (sick-daemon) does not read" "in words"
        if [[ $mode == block ]]; then
            is "$(causes)" "workers-blocked send-buffer-full" "the writer is blocked"
            contains "$(first .summary)" "that is PID $reader" "by whom is told there, too"
        fi
        doctor 8 "asked of the reader" --pid "$reader"
        is "$(of_cause send-buffer-full '.evidence | "\(.pid) \(.peerPid)"')" "$sender $reader" "the same is found"
        cure
    done
done

note "who waits for a lock"
patient lock "$T/lock"
holder=$pid
"$sick" lock "$T/lock" >/dev/null &
waiter=$!
disown "$waiter"
pids+=("$waiter")
wait_until 5 grep -q "^[0-9]*: -> FLOCK .* $waiter " /proc/locks
doctor 8 "waits" --pid "$waiter"
is "$(causes)" workers-blocked "it is blocked"
is "$(first '.evidence | "\(.call) \(.file) \(.lockHolder)"')" "flock $T/lock $holder" "where, on what, and who has it"
doctor 0 "who holds it" --pid "$holder"
cure

note "a cgroup's pids.max"
if cgroup_with pids.max; then
    echo 1 >"$G/pids.max"
    (
        echo "$BASHPID" >"$G/cgroup.procs"
        exec "$sick" fork 20
    ) >"$T/patient.out" 2>/dev/null &
    forker=$!
    disown "$forker"
    wait_until 5 grep -q ready "$T/patient.out"
    doctor 8 "no process may be added" --pid "$forker"
    is "$(first .cause)" cgroup-pids "the cause"
    is "$(first '.evidence | "\(.pids) \(.max) \(.refused > 5)"')" "1 1 true" "the figures"
    kill -KILL "$forker"
    wait_until 5 rmdir "$G" || fail "the cgroup is gone"
fi

note "a cgroup that is frozen, and one whose processor time is used up"
if cgroup_with cgroup.freeze; then
    patient listen "$T/q.sock" 2
    echo "$pid" >"$G/cgroup.procs"
    echo 1 >"$G/cgroup.freeze"
    wait_until 5 grep -qx "frozen 1" "$G/cgroup.events"
    doctor 8 "frozen" --pid "$pid"
    is "$(first '"\(.cause) \(.severity) \(.evidence.frozen)"')" "stopped error true" "that is found"
    echo 0 >"$G/cgroup.freeze"
    cure
    wait_until 5 rmdir "$G" || fail "the cgroup is gone"
fi
if cgroup_with cpu.cfs_quota_us || cgroup_with cpu.max; then
    if [[ -w $G/cpu.max ]]; then echo "10000 100000" >"$G/cpu.max"; else echo 10000 >"$G/cpu.cfs_quota_us"; fi
    patient busy "$T/b.sock"
    echo "$pid" >"$G/cgroup.procs"
    sleep 0.3
    doctor 8 "out of its quota" --pid "$pid"
    is "$(of_cause cpu-throttled '"\(.severity) \(.evidence.periods > 3)"')" "error true" "that is found, with how often"
    cure
    wait_until 5 rmdir "$G" || fail "the cgroup is gone"
fi

note "processes of a user"
setpriv --reuid 64999 --regid 64999 --clear-groups prlimit --nproc=3:9 \
    sh -c 'sleep 100 & sleep 100 & echo ready; wait' >"$T/patient.out" 2>/dev/null &
forker=$!
disown "$forker"
pids+=("$forker")
wait_until 5 grep -q ready "$T/patient.out"
doctor 8 "as many as it may have" --pid "$forker"
is "$(first '"\(.cause) \(.severity)"')" "process-limit error" "that is found"
is "$(first '.evidence | "\(.uid) \(.tasks) \(.soft) \(.hard)"')" "64999 3 3 9" "the figures"
contains "$(first .remedy)" "prlimit --pid $forker --nproc=16:16" "the remedy"
read -r -a children <"/proc/$forker/task/$forker/children"
pids+=("${children[@]}")
cure

note "an uninterruptible sleep"
"$(tool bad-daemon)" "$T/bad" vfork >/dev/null 2>&1 &
bad=$!
disown "$bad"
wait_until 5 sh -c "grep -q ') D ' /proc/$bad/stat"
doctor 8 "in vfork(2)" --pid "$bad"
is "$(first '"\(.cause) \(.severity) \(.evidence.state)"')" "workers-blocked error D" "that is found"
read -r -a children <"/proc/$bad/task/$bad/children"
pids+=("$bad" "${children[@]}")
cure

note "a file system that does not answer"
mkdir "$T/place"
"$(tool hanging-fs)" hang-open "$T/place" >"$T/hanging.out" 2>"$T/hanging.log" &
server=$!
disown "$server"
if [[ -e /dev/fuse ]] && wait_until 10 grep -q ready "$T/hanging.out"; then
    cat "$T/place/a.pid" >"$T/cat.out" 2>&1 &
    pid=$!
    disown "$pid"
    service far "$sick idle" '[Socket s]' "ListenStream=$T/place/sock" LockFile=none Probe=none
    wait_until 5 grep -q fuse "/proc/$pid/wchan" || sleep 0.5
    started=$(now_ms)
    timeout 20 latchctl doctor --json --pid "$pid" >"$T/out"
    is "$?" 8 "who waits for it is looked at"
    is "$(jq -r '.[0].findings[0].cause' "$T/out")" workers-blocked "and is blocked"
    timeout 20 latchctl --config-dir "$D/etc" --runtime-dir "$D/run" doctor --json far >"$T/out"
    isnt "$?" 124 "a service whose socket is there"
    at_most $(($(now_ms) - started)) $((12000 * harness_patience)) "it takes its time and no more (ms)"
    rm "$D/etc/far.conf"
else
    note "cannot mount FUSE here"
fi
kill -TERM "$server" 2>/dev/null
wait_until 10 gone "$server" || kill -KILL "$server"

note "another network namespace"
if unshare --net true 2>/dev/null; then
    unshare --net "$sick" listen "$T/n.sock" 2 >"$T/patient.out" 2>/dev/null &
    pid=$!
    disown "$pid"
    pids+=("$pid")
    wait_until 5 grep -q ready "$T/patient.out"
    doctor 0 "its sockets are elsewhere" --pid "$pid"
    contains "$(jq -r '.[0].unseen[] | select(.what == "its sockets").why' <<<"$out")" "nsenter --net=/proc/$pid/ns/net" \
        "and how to see them is told"
    cure
fi

note "forks"
patient fork 100
latchctl doctor --facts --pid "$pid" >"$T/facts"
at_most 10 "$(jq '.[0].processes[0].newChildren' "$T/facts")" "children that began are counted"
cure

note "who may not look"
patient idle
rc=0
out=$(setpriv --reuid 65534 --regid 65534 --clear-groups latchctl doctor --json --pid "$pid" 2>&1) || rc=$?
is "$rc" 77 "nothing is found, but not all was seen"
is "$(jq -c '.[0] | [.healthy, ([.unseen[] | select(.permission == 1)] | length > 0)]' <<<"$out")" "[null,true]" "health is not claimed"
is "$(setpriv --reuid 65534 --regid 65534 --clear-groups latchctl doctor --pid "$pid" | tail -n 1 | sed 's/^ *//')" \
    "As root it sees all: sudo latchctl doctor --pid $pid" "and how to see more is the last line"
cure

note "many at once, and mistakes"
started=$(now_ms)
service down2 "$sick idle"
ctl "$D" doctor --json >"$T/all" || true
is "$(jq -r '[.[].service] | join(" ")' "$T/all")" "busy down down2 files quick redis" "without a name: all services"
at_most $(($(now_ms) - started)) $((4000 * harness_patience)) "in one go (ms)"
said() { # CODE PATTERN ARGUMENTS...
    local code=$1 pattern=$2 rc=0
    shift 2
    ctl "$D" doctor "$@" >"$T/out" 2>&1 || rc=$?
    is "$rc" "$code" "doctor $*: $code"
    matches "$(<"$T/out")" "$pattern" "doctor $*: says why"
}
said 4 'there is no service' nothing
said 64 'wants a process' --pid x
said 64 'without a service' --pid 1 redis
said 64 'from 100ms to 60s' --time=1ms redis
said 64 'from 100ms to 60s' --time=2min redis
said 1 'there is no process 4194000' --pid 4194000
finish
