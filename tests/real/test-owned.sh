#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Owner=latchd without systemd: the daemon is handed its listeners, and while it is restarted, latchd replaced or killed,
# clients that connect all the time are neither refused nor reset, and the lock is nobody else's. What latchd made goes
# with the service, and nothing else does.
#
# LATCHD_TEST_RESTARTS=N and LATCHD_TEST_KILLS=N for other numbers than 1000 and 50; LATCHD_TEST_EVERY=K above 1 (a test of
# many) takes a quarter of them.
# shellcheck disable=SC2317 # called by their names
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
# shellcheck source=tests/lib/connect-storm.sh
. "$srcdir/tests/lib/connect-storm.sh"
require jq ss python3
part=1
((${LATCHD_TEST_EVERY:-1} == 1)) || part=4
restarts=${LATCHD_TEST_RESTARTS:-$((1000 / part))}
changes=${LATCHD_TEST_KILLS:-$((50 / part))}
! is_sanitized || { restarts=15 changes=2; }
export ASAN_OPTIONS=${ASAN_OPTIONS-}:detect_leaks=0 # of what is killed
D=$T/d S=$T/d/s/api.sock
mkdir -p "$D/etc" "$D/run"
cp "$(tool listener)" "$D/listener"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
addresses=("$S" "@$D/own" "127.0.0.1:$port")
cat >"$D/etc/own.conf" <<END
[Service]
ExecStart=$D/listener
ExecReload=/bin/true
Type=notify
Restart=always
RestartSec=0
[Socket api]
ListenStream=$S
Owner=latchd
SocketMode=0620
[Socket name]
ListenStream=@$D/own
Owner=latchd
[Socket web]
ListenStream=127.0.0.1:$port
Owner=latchd
Backlog=200
END
running() { in_state "$D" running own; }
asked() { # ADDRESS: who answers
    python3 - "$1" <<'END'
import socket, sys
address = sys.argv[1]
if address[0] in "/@":
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(20)
    client.connect("\0" + address[1:] if address[0] == "@" else address)
else:
    client = socket.create_connection(address.split(":"), 20)
client.sendall(b"hello\n")
print(client.recv(100).decode().strip())
END
}

echo "# start"
start_latchd "$D" own
wait_for 20 "it is up" running
main=$(main_pid "$D" own)
for address in "${addresses[@]}"; do
    is "$(asked "$address")" "$main" "$address leads to the daemon"
done
is "$(tr '\0' '\n' <"/proc/$main/environ" | grep '^LISTEN' | sort | tr '\n' ' ')" \
    "LISTEN_FDNAMES=api:name:web LISTEN_FDS=3 LISTEN_PID=$main " "it is told of them as systemd tells"
is "$(stat -c %a "$S")" 620 "the mode is SocketMode="
is "$(holders_of "$S.lock")" "$latchd_pid" "latchd has the lock, and nobody else"
is "$(fd_of "$main" "$S.lock" || echo none)" none "the daemon has no descriptor of it"
is "$(ss -Htln "sport = :$port" | awk '{ print $3 }')" 200 "Backlog= is the listener's"
is "$(ctl "$D" status --json own | jq -r '.[0].sockets | map(.owner) | unique | join(" ")')" latchd "status names the owner"
exits 78 "latchd exec cannot do that, and says so" latchd exec --config-dir "$D/etc" --runtime-dir "$D/run2" own

echo "# $restarts restarts"
storm_begins --lock "$S.lock" "${addresses[@]}"
began=$(now_ms)
generation=$(status_of "$D" .generation own)
for ((i = 0; i < restarts; i++)); do
    ctl "$D" restart own >/dev/null 2>>"$T/restart.log" || fail "restart $i"
done
note "$((($(now_ms) - began) / restarts)) ms a restart"
storm_ends "nobody was refused or reset, and the lock was never free"
is "$(status_of "$D" .generation own)" "$((generation + restarts))" "so many daemons"

echo "# $changes changes of latchd"
storm_begins --lock "$S.lock" "${addresses[@]}"
for ((i = 0; i < changes; i++)); do
    ctl "$D" reexec own >/dev/null 2>>"$T/restart.log" || fail "reexec $i"
done
ctl "$D" restart own >/dev/null || fail "a restart after that"
storm_ends "nobody was refused or reset, and the lock was never free"
is "$(holders_of "$S.lock")" "$latchd_pid" "latchd has the lock, and nobody else"
descriptors=$(find "/proc/$latchd_pid/fd" -mindepth 1 | wc -l)
ctl "$D" restart own >/dev/null
is "$(find "/proc/$latchd_pid/fd" -mindepth 1 | wc -l)" "$descriptors" "no descriptor is lost"

echo "# $changes ends of latchd by SIGKILL"
disown "$latchd_pid"
storm_begins "${addresses[@]}"
main=$(main_pid "$D" own)
for ((i = 0; i < changes; i++)); do
    kill_latchd
    ((i % 10)) || is "$(asked "$S")" "$main" "the daemon serves on without a latchd"
    detach_latchd "$D" own
    wait_until 20 running || fail "it is taken over ($i)"
done
storm_ends "nobody was refused or reset"
is "$(main_pid "$D" own)" "$main" "it is the same daemon"
is "$(holders_of "$S.lock")" "$latchd_pid" "the last latchd has the lock"
storm_begins --lock "$S.lock" "${addresses[@]}"
ctl "$D" restart own >/dev/null || fail "a restart"
storm_ends "what it got back from the daemon it keeps over a restart"
lacks "$(cat "$D/latchd.log")" "has no copy of the listener" "each got every listener back"

echo "# latchd and the daemon are killed at once"
kill -KILL "$latchd_pid" "$(main_pid "$D" own)"
wait_until 10 gone "$latchd_pid"
fails "nobody listens" asked "$S"
detach_latchd "$D" own
wait_for 20 "what they left is cleared, and both come again" running
is "$(asked "$S")" "$(main_pid "$D" own)" "the daemon serves"
is "$(find "$D/s" -name '.*' | wc -l)" 1 "no other name is left beside the path"

echo "# the path is removed, moved away, replaced"
inode=$(stat -c %i "$S")
rm "$S"
wait_for 10 "removed, it stands again" test -S "$S"
is "$(stat -c %i "$S")" "$inode" "the same socket"
mv "$S" "$S.away"
wait_for 10 "moved away, it stands again" test -S "$S"
rm "$S.away" "$D/s/.api.sock.latchd"
sleep 0.2
rm "$S"
wait_for 10 "the name beside it is kept, too" test -S "$S"
main=$(main_pid "$D" own)
is "$(asked "$S")" "$main" "it leads to the daemon"
rm "$S.lock"
wait_for 10 "a lock file that was removed is there again" test -f "$S.lock"
wait_for 10 "and locked" holds "$latchd_pid" "$S.lock"
python3 -c '
import os, socket, sys, time
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1] + ".new"); s.listen(5)
os.rename(sys.argv[1] + ".new", sys.argv[1]); print("ready", flush=True); time.sleep(1000)' "$S" >"$T/stranger" &
stranger=$!
wait_until 10 test -s "$T/stranger"
wait_for 10 "somebody else's socket in its place is told of" grep -q "$S is no longer what latchd made: .*PID $stranger" "$D/latchd.log"
sleep 1
succeeds "and left alone" alive "$stranger"
isnt "$(stat -c %i "$S")" "$inode" "his socket stands"
rm "$S"
wait_for 10 "when the path is free, latchd's socket stands again" test -S "$S"
is "$(asked "$S")" "$main" "and leads to the daemon"
kill "$stranger"
wait "$stranger"
for ((i = 0; i < 200; i++)); do rm -f "$S"; done
wait_for 20 "removed in a loop, it stands in the end" test -S "$S"
at_most "$(grep -c 'had been removed' "$D/latchd.log")" 8 "and the log has few lines of it"

echo "# stop"
echo kept >"$D/s/neighbour"
ctl "$D" stop own >/dev/null || fail "it stops"
succeeds "the socket is gone" no_file "$S"
is "$(find "$D/s" -mindepth 1 -printf '%f\n' | sort | tr '\n' ' ')" "api.sock.lock neighbour " "with all that was made for it but the lock file"
succeeds "which is free" lock_is_free "$S.lock"
is "$(ss -Htln "sport = :$port")" "" "nor at the port"
ctl "$D" start own >/dev/null || fail "it starts"
is "$(asked "$S")" "$(main_pid "$D" own)" "and serves again"
printf '[Socket web]\nListenStream=\nOwner=daemon\nListenStream=127.0.0.1:1\n[Socket api]\nSocketMode=0600\nBacklog=7\n' >"$T/drop-in"
mkdir "$D/etc/own.conf.d"
cp "$T/drop-in" "$D/etc/own.conf.d/other.conf"
inode=$(stat -c %i "$S")
ctl "$D" reload own >/dev/null
ctl "$D" restart own >/dev/null || fail "with another configuration"
is "$(stat -c '%a %i' "$S")" "600 $inode" "what stays is the same socket, with the new mode"
is "$(ss -Htln "sport = :$port")" "" "what is latchd's no more is closed"
kill -TERM "$latchd_pid"
wait_for 20 "latchd ends" gone "$latchd_pid"
succeeds "and nothing is left of its socket" no_file "$S"

echo "# something in the way"
rm -rf "$D/etc/own.conf.d" "$D/s/neighbour"
for kind in directory link file stranger world lock; do
    rm -rf "$S" "$T/stranger"
    other=
    case $kind in
    directory) mkdir "$S" ;;
    link) ln -s "$T/precious" "$S" ;;
    file) echo precious >"$S" ;;
    stranger)
        python3 -c '
import socket, sys, time
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(5); print("ready", flush=True); time.sleep(1000)' "$S" >"$T/stranger" &
        other=$!
        wait_until 10 test -s "$T/stranger"
        ;;
    world) chmod 0777 "$D/s" ;;
    lock)
        flock "$S.lock" sleep 1000 &
        other=$!
        wait_until 10 holds "$other" "$S.lock" || other=$(holders_of "$S.lock" | head -1)
        ;;
    esac
    : >"$D/latchd.log"
    start_latchd "$D" own
    wait_for 20 "a $kind in the way blocks the start" in_state "$D" blocked own
    lacks "$(cat "$D/latchd.log")" "Starting $D" "nothing is started ($kind)"
    case $kind in
    directory) succeeds "the directory stands" test -d "$S" ;;
    link) succeeds "the link stands" test -L "$S" ;;
    file) is "$(cat "$S")" precious "the file stands" ;;
    stranger) contains "$(cat "$D/latchd.log")" "PID $other" "the stranger is named" ;;
    world) contains "$(cat "$D/latchd.log")" "everybody may replace" "the reason is told" ;;
    esac
    sleep 2
    at_most "$(grep -c "blocked\|cannot listen\|in the way\|is held\|is not" "$D/latchd.log")" 1 "it is told once, not at each look ($kind)"
    case $kind in
    world) chmod 0755 "$D/s" ;;
    stranger) kill "$other" && wait "$other" ;;
    lock)
        for pid in $(holders_of "$S.lock"); do kill "$pid"; done
        wait "$other"
        ;;
    *) rm -rf "$S" ;;
    esac
    wait_for 30 "when it is out of the way, the service comes up ($kind)" running
    is "$(asked "$S")" "$(main_pid "$D" own)" "and serves ($kind)"
    stop_latchd
done
finish
