#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# latchctl call: a real Kea that answers, a thousand times at once, is stopped, is dead, and whose listener a leftover
# has; and daemons of all manners: that answer with megabytes, too early, only after the end, in part, never.
# heavy: thousands of calls; unit tests take the same code through the same manners
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require jq python3

D=$T/d
mkdir -p "$D/etc" "$D/run"

service() { # NAME LINES...: with a socket by which it is called
    printf '[Service]\nExecStart=/bin/true\n' >"$D/etc/$1.conf"
    printf '%s\n' "${@:2}" >>"$D/etc/$1.conf"
}

# Sets daemon, its PID. The service of its name is called by its socket.
answering() { # NAME MODE [BYTES]
    service "$1" '[Socket control]' "ListenStream=$D/$1.sock" LockFile=none
    "$(tool answer-daemon)" "$D/$1.sock" "${@:2}" >"$D/$1.out" 2>"$D/$1.log" </dev/null &
    daemon=$!
    disown "$daemon"
    wait_until 10 grep -q ready "$D/$1.out" || die "the daemon $1 listens" "$(<"$D/$1.log")"
}

# Sets rc and took (milliseconds); what was printed is in $T/out, the message in $T/said.
call() { # ARGUMENT...
    local began
    began=$(now_ms)
    rc=0
    ctl "$D" call "$@" >"$T/out" 2>"$T/said" || rc=$?
    took=$(($(now_ms) - began))
}

said() { # CODE PATTERN TEXT
    is "$rc" "$1" "$3: $1"
    matches "$(<"$T/said")" "$2" "and says why"
    is "$(wc -l <"$T/said")" 1 "in one line"
}

echo "# daemons of all manners"
answering echo echo
call echo "one two"
is "$rc $(<"$T/out")" "0 one two" "an answer after the end of the command"
is "$(<"$T/said")" "" "and nothing beside it"
printf 'from\0 input\n' | ctl "$D" call echo >"$T/out"
is "$(od -c <"$T/out")" "$(printf 'from\0 input\n' | od -c)" "from standard input, byte for byte"
is "$(printf x | ctl "$D" call echo -)" x "from standard input, by a hyphen"
is "$(ctl "$D" call echo '' | wc -c)" 0 "an empty command, and an empty answer"
head -c 1000000 /dev/zero | tr '\0' y >"$T/million"
ctl "$D" call echo <"$T/million" >"$T/out"
succeeds "a million bytes there and back" cmp "$T/out" "$T/million"
call --keep-open --timeout 300ms echo x
said 1 'timed out: .*did not answer within 300ms: all 1 bytes' "without the end of the command it does not answer"

answering line line
is "$(printf 'PING\n' | ctl "$D" call --keep-open line)" PING "a line to a daemon that wants the connection kept"

answering wordless text 0
call wordless x
is "$rc $(wc -c <"$T/out")" "0 0" "a daemon that closes without a word has answered"
matches "$(<"$T/said")" "wordless.sock closed the connection without a word.*--keep-open" "and it is said what else that may be"

answering huge json $((16 * 1024 * 1024))
call --json huge hello
is "$rc $(wc -c <"$T/out")" "0 $((16 * 1024 * 1024))" "a JSON answer of 16 MiB, of a daemon that stays"
ctl "$D" --json call huge x | (sleep 0.5 && wc -c) >"$T/size"
is "$(<"$T/size")" $((16 * 1024 * 1024)) "a slow reader gets all of it"
is_sanitized || {
    (ulimit -v 16000 && ctl "$D" --json call huge x | wc -c) >"$T/size" 2>&1
    is "$(<"$T/size")" $((16 * 1024 * 1024)) "in less memory, the program included, than the answer has"
}
rc=0
(trap '' PIPE && ctl "$D" --json call huge x 2>"$T/said"; echo $? >"$T/rc") | head -c 10 >/dev/null
rc=$(<"$T/rc")
said 1 'cannot write the answer to standard output, after [0-9]+ bytes of it: Broken pipe' "a reader that goes away"
(ctl "$D" --json call huge x 2>"$T/said"; echo $? >"$T/rc") | head -c 10 >/dev/null
is "$(<"$T/rc") $(<"$T/said")" "141 " "where that is a signal, it ends without a word"
mkfifo "$T/fifo"
exec {reader}<>"$T/fifo"
rc=0
ctl "$D" --json call --timeout 500ms huge x >"$T/fifo" 2>"$T/said" || rc=$?
said 76 'standard output took [0-9]+ of the [0-9]+ bytes that had come within 500ms, and no more' \
    "a reader that never reads"
exec {reader}<&-
rc=0
ctl "$D" --json call huge x >/dev/full 2>"$T/said" || rc=$?
said 1 'cannot write .*No space left on device' "a full disk"

answering eager eager $((8 * 1024 * 1024))
head -c $((8 * 1024 * 1024)) /dev/zero | ctl "$D" call eager >"$T/out"
is "$(wc -c <"$T/out")" $((8 * 1024 * 1024)) "an answer that is there before the daemon reads"
wait_until 10 grep -qx $((8 * 1024 * 1024)) "$D/eager.out"
is "$(tail -n 1 "$D/eager.out")" $((8 * 1024 * 1024)) "and it got the whole command"

answering cut cut 1000
call --json cut x
said 76 'closed the connection in the middle: the answer was cut short after 1000 bytes: all 1 bytes' "cut short"
is "$(wc -c <"$T/out")" 1000 "what came is printed"
answering nothing cut 0
call --json --socket control nothing x
said 76 'closed the connection without an answer: all 1 bytes of the command were sent' "no answer at all"
answering reset reset 1000
call reset x
said 76 'broke the connection off \(Connection reset by peer\).*cut short after 1000 bytes' "a connection that is reset"
is "$(wc -c <"$T/out")" 1000 "what came is printed"

answering word text 20
call --json word x
said 1 'the answer of .*, 20 bytes, is not JSON' "no JSON where it has to be"
is "$(wc -c <"$T/out")" 20 "it is printed all the same"
answering open open 20
call --timeout 300ms open x
said 76 'did not close the connection within 300ms: whether the 20 bytes .*cannot be told' "an end that does not come"
is "$(wc -c <"$T/out")" 20 "what came is printed"

answering deaf deaf
head -c 8000000 /dev/zero >"$T/zeros"
rc=0
ctl "$D" call --timeout 500ms deaf <"$T/zeros" >"$T/out" 2>"$T/said" || rc=$?
said 1 'timed out: .* [0-9]+ of 8000000 bytes of the command were sent, and no more taken.*PID '"$daemon"' \(answer-daemon\), is not stopped' \
    "one that never reads"
answering full full
call --timeout 500ms full x
said 75 'queue of .*full.sock was full for 500ms, in each of [0-9]+ tries \(1 connection in its queue, which takes 1\): nothing was sent' \
    "a full queue"
((took >= 500 && took < 5000)) || fail "it takes as long as it may" "$took ms"
kill -KILL "$daemon"
wait_until 10 gone "$daemon"
call full x
said 69 'nobody listens on .*full.sock: who made that socket is dead.*latchctl probe' "nobody listens any more"
rm "$D/full.sock"
call full x
said 69 'nobody listens on .*full.sock: there is no such socket.*latchctl status .*full' "there is no socket"

echo "# other addresses"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
service tcp '[Socket control]' "ListenStream=localhost:$port" LockFile=none
call tcp x
said 69 "nobody listens on localhost:$port: the connection was refused" "a port on which nobody listens"
"$(tool answer-daemon)" "$port" echo >"$D/tcp.out" 2>&1 &
disown $!
wait_until 10 grep -q ready "$D/tcp.out"
is "$(ctl "$D" call tcp hello)" hello "HOST:PORT"
service abstract '[Socket control]' "ListenStream=@latchd-call-$$" LockFile=none
"$(tool answer-daemon)" "@latchd-call-$$" echo >"$D/abstract.out" 2>&1 &
disown $!
wait_until 10 grep -q ready "$D/abstract.out"
is "$(ctl "$D" call abstract hello)" hello "an abstract name"

echo "# which socket, which service"
service two '[Socket a]' "ListenStream=$D/echo.sock" LockFile=none '[Socket b]' "ListenStream=$D/word.sock" LockFile=none
call two x
said 64 "two has several sockets, choose one by --socket: a \($D/echo.sock\), b \($D/word.sock\)" "one of two"
is "$(ctl "$D" call two --socket a hello)" hello "chosen"
call two --socket c hello
said 64 "two has no socket c: it has a " "not there"
service none
call none x
said 1 'it has no control socket; give it a \[Socket\] section' "none"
call nosuch x
said 1 'there is no service|no such service|nosuch' "no such service"
for arguments in '' 'echo a b' 'echo --timeout nonsense a' 'echo --timeout 0 a'; do
    # shellcheck disable=SC2086 # words
    call $arguments
    is "$rc" 64 "call $arguments: wrong usage"
done

echo "# a supervisor's service that has no file"
latchd run --runtime-dir "$D/run" --log-target stderr --name bare --socket "$D/bare.sock" -- \
    "$(tool answer-daemon)" "$D/bare.sock" echo >"$D/bare.log" 2>&1 </dev/null &
latchd_pid=$!
wait_for 20 "it runs" in_state "$D" running bare
wait_until 10 test -S "$D/bare.sock"
is "$(ctl "$D" call bare hello)" hello "it is called all the same"
kill -STOP "$latchd_pid"
call --timeout 1s bare hello
said 1 'GetStatus|supervisor' "a supervisor that is stopped, and no file"
kill -CONT "$latchd_pid"
stop_latchd

echo "# a person at a terminal"
if command -v script >/dev/null; then
    (sleep 1; printf 'typed\n\004'; sleep 1) | timeout 20 script -qec "latchctl --config-dir $D/etc call echo" /dev/null >"$T/typed"
    matches "$(tr -d '\r' <"$T/typed")" 'Type what is to be sent for .*echo.sock, and behind it Control-D:' "is told what to do"
    printf 'a\033[31mb\302\233c' >"$T/colour"
    timeout 20 script -qec "latchctl --config-dir $D/etc call echo <$T/colour" /dev/null </dev/null >"$T/typed"
    is "$(tr -d '\r' <"$T/typed")" "$(printf 'a?[31mb\302?c')" "is shown no control characters"
fi

if [[ $(id -u) == 0 ]] && command -v kea-dhcp4 >/dev/null; then
    echo "# Kea"
    require_kea
    D=$T/kea
    make_kea "$D" 100
    call kea status-get
    said 69 'nobody listens on .*kea.sock: there is no such socket' "a Kea that does not run"
    start_plain_kea "$D"
    wait_for 20 "it answers" kea_answers "$D" "$kea_pid"
    call kea status-get
    is "$rc $(jq -r .arguments.pid "$T/out")" "0 $kea_pid" "a word is a command"
    call kea '{ "command": "config-get"'
    said 64 'not one whole JSON object; nothing was sent' "half a command"
    call kea '{ "command": "config-get" }'
    is "$rc $(jq -r .arguments.Dhcp4.\"control-socket\".\"socket-name\" "$T/out")" "0 $D/kea.sock" "JSON goes out as it is"
    is "$(echo " status-get " | ctl "$D" call kea | jq .result)" 0 "from standard input"
    call kea no-such-command
    is "$rc $(jq .result "$T/out")" "0 2" "that it fails, the answer says"
    call --raw --json kea '{ "command": "status-get" ]'
    is "$rc $(jq .result "$T/out")" "0 1" "what is no command, Kea sees with --raw"
    call --raw --json kea '{ "command": '
    said 76 'closed the connection without an answer: all 13 bytes' "to half a command it has no answer"
    call kea 'two words'
    said 64 'a command of Kea is a word, such as status-get, or a JSON object' "and without it is not sent"

    calls=1000
    ! is_sanitized || calls=200 # of a program that takes long to begin
    note "$calls calls, a hundred at a time"
    mkdir "$T/answers"
    export D T
    # shellcheck disable=SC2016 # for the shell that xargs runs
    seq "$calls" | nice -n 10 xargs -P 100 -I{} bash -c \
        'latchctl --config-dir "$D/etc" --runtime-dir "$D/run" call kea status-get >"$T/answers/{}" 2>"$T/answers/{}.said" || echo $?' \
        >"$T/failed"
    is "$(cat "$T/failed")" "" "none failed"
    is "$(find "$T/answers" -name '*[0-9]' -print0 | xargs -0 cat | jq -s "[.[] | select(.arguments.pid == $kea_pid)] | length")" \
        "$calls" "all were answered"
    is "$(cat "$T"/answers/*.said)" "" "without a word"

    note "a stopped Kea"
    kill -STOP "$kea_pid"
    call --timeout 1s kea status-get
    said 1 "timed out: .*did not answer within 1s: all 25 bytes .*PID $kea_pid \(kea-dhcp4\), is stopped: let it go on by kill -CONT $kea_pid" \
        "it does not answer"
    ((took >= 1000 && took < 5000)) || fail "it takes as long as it may" "$took ms"
    kill -CONT "$kea_pid"
    call kea status-get
    is "$rc" 0 "it goes on, and answers"
    kill -STOP "$kea_pid"
    python3 - "$D/kea.sock" "$T/filled" <<'END' &
import resource, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
clients = []
try:
    while True:
        client = socket.socket(socket.AF_UNIX)
        client.setblocking(False)
        client.connect(sys.argv[1])
        clients.append(client)
except BlockingIOError:
    open(sys.argv[2], "w").write(f"{len(clients)}\n")
time.sleep(60)
END
    filler=$!
    wait_for 20 "its queue is full" test -s "$T/filled"
    call --timeout 500ms kea status-get
    said 75 "was full for 500ms, in each of [0-9]+ tries \($(<"$T/filled") connections in its queue, which takes $(<"$T/filled")\): nothing was sent" \
        "that is another matter"
    kill "$filler"

    note "a dead Kea"
    kill -KILL "$kea_pid"
    wait_until 10 gone "$kea_pid"
    call kea status-get
    said 69 'nobody listens on .*kea.sock: who made that socket is dead.*latchctl status .*kea.*latchctl probe' "is dead"

    note "a Kea whose leftover has the listener"
    D=$T/kea-lfc
    make_kea "$D"
    start_plain_kea "$D"
    wait_for 60 "kea-lfc has the lock" lfc_pid_of "$D"
    kill -KILL "$kea_pid"
    wait_until 10 gone "$kea_pid"
    [[ -n $(lfc_pid_of "$D") ]] || die "kea-lfc outlives it"
    call --timeout 500ms kea status-get
    said 1 "timed out: .*PID $kea_pid, which made the socket, is dead, and somebody else has it.*latchctl probe" \
        "somebody connects, and nobody answers"

    note "under latchd"
    D=$T/served
    make_kea "$D" 100
    start_latchd "$D"
    wait_for 20 "it runs" in_state "$D" running
    kill -STOP "$(main_pid "$D")"
    call --timeout 500ms kea status-get
    said 1 "is stopped: let it go on by kill -CONT $(main_pid "$D")" "a stopped one"
    kill -CONT "$(main_pid "$D")"
    is "$(ctl "$D" call kea status-get | jq .arguments.pid)" "$(main_pid "$D")" "answers"
    rm "$D/etc/kea.conf"
    is "$(ctl "$D" call kea status-get | jq .arguments.pid)" "$(main_pid "$D")" "also without its file, as Kea is spoken to"
    chmod 600 "$D/kea.sock"
    cp "$(command -v latchctl)" "$T/latchctl"
    rc=0
    setpriv --reuid=65533 --regid=65533 --clear-groups "$T/latchctl" --config-dir "$D/etc" --runtime-dir "$D/run" call kea status-get \
        >"$T/out" 2>"$T/said" || rc=$?
    said 77 'uid 65533 may not connect to .*Permission denied' "another user is not permitted to"
    stop_latchd
else
    note "no Kea here, or not root: without it"
fi
finish
