#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Owner=latchd with a real systemd above latchd: its descriptor store keeps listener and lock, so that a latchd that is
# killed is missed by nobody, and a .socket unit may be the one that listens.
#
# LATCHD_TEST_KILLS=N for another number than 50; LATCHD_TEST_EVERY=K above 1 (a test of many) takes a quarter.
# heavy: systemd is what is tried here; test-owned.sh drives the same code of ours
# shellcheck disable=SC2317 # called by their names
# shellcheck source=tests/lib/booted-latchd.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/booted-latchd.sh"
# shellcheck source=tests/lib/connect-storm.sh
. "$srcdir/tests/lib/connect-storm.sh"
boot_latchd
part=1
((${LATCHD_TEST_EVERY:-1} == 1)) || part=4
kills=${LATCHD_TEST_KILLS:-$((50 / part))}
unit=latchd@own.service
d=$T/d S=$T/d/api.sock
mkdir -p "$d"
cp "$(tool listener)" "$d/listener"
configure_service own <<END
[Service]
Type=notify
RestartSec=0
ExecStart=$d/listener
[Socket api]
ListenStream=$S
Owner=latchd
END
field_is() { [[ $(field own "$1") == "$2" ]]; }
another_than() { local now; now=$(field own "$1"); [[ -n $now && $now != null && $now != "$2" ]]; }
unit_has() { [[ $(unit_property "$unit" "$1") == "$2" ]]; }

echo "# start"
succeeds "the unit starts" inside systemctl start "$unit"
wait_for 20 "it is up" field_is .state running
wait_for 10 "systemd keeps the listener, the lock and the notification socket" unit_has NFileDescriptorStore 3

echo "# $kills ends of latchd by SIGKILL, $kills changes, $kills restarts of the daemon"
storm_begins --lock "$S.lock" "$S"
main=$(field own .mainPid)
for ((i = 0; i < kills; i++)); do
    supervisor=$(unit_property "$unit" MainPID)
    inside kill -KILL "$supervisor"
    wait_until 30 another_than .supervisorPid "$supervisor" || fail "latchd comes again ($i)"
done
is "$(field own .mainPid)" "$main" "the daemon is the same"
is "$(unit_property "$unit" NFileDescriptorStore)" 3 "systemd keeps each once"
for ((i = 0; i < kills; i++)); do
    inside latchctl reexec own >/dev/null || fail "reexec $i"
done
for ((i = 0; i < kills; i++)); do
    inside latchctl restart own >/dev/null || fail "restart $i"
done
storm_ends "nobody was refused or reset, and the lock was never free"

echo "# latchd and the daemon are killed at once"
storm_begins --lock "$S.lock" "$S"
supervisor=$(unit_property "$unit" MainPID)
main=$(field own .mainPid)
inside kill -KILL "$supervisor" "$main"
wait_for 30 "both come again" another_than .mainPid "$main"
kill -TERM "$storm"
wait "$storm"
note "$(tr '\n' ' ' <"$T/storm")"
is "$(awk '$1 == "refused" || $1 == "locked" { n += $2 } END { print n }' "$T/storm")" 0 "nobody was refused, and the lock was never free"

echo "# stop"
succeeds "the unit stops" inside systemctl stop "$unit"
succeeds "the socket is gone" no_file "$S"
succeeds "the lock is free" lock_is_free "$S.lock"

echo "# a .socket unit listens"
configure_service passed <<END
[Service]
Type=notify
ExecStart=$d/listener
[Socket api]
ListenStream=$d/passed.sock
Owner=latchd
[Socket wrong]
ListenStream=$d/wanted.sock
Owner=latchd
END
printf '[Socket]\nListenStream=%s\nFileDescriptorName=%s\nService=latchd@passed.service\n' "$d/passed.sock" api |
    inside sh -c 'cat >/run/systemd/system/passed.socket'
printf '[Socket]\nListenStream=%s\nFileDescriptorName=%s\nService=latchd@passed.service\n' "$d/other.sock" wrong |
    inside sh -c 'cat >/run/systemd/system/other.socket'
inside systemctl daemon-reload
succeeds "systemd listens" inside systemctl start passed.socket other.socket
inode=$(stat -c %i "$d/passed.sock")
answer=$(timeout 30 python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(b"hello\n"); print(s.recv(100).decode().strip())' "$d/passed.sock")
is "$answer" "$(inside latchctl status --json passed | jq .[0].mainPid)" "who comes to it, comes to the daemon"
contains "$(journal "MESSAGE_ID=$(event_id SOCKET_LOST)" | jq -r .MESSAGE)" "no listener at $d/wanted.sock" \
    "a listener of another address than the configured one is refused"
succeeds "and the configured one opened" test -S "$d/wanted.sock"
succeeds "the daemon is restarted" inside latchctl restart passed
is "$(stat -c %i "$d/passed.sock")" "$inode" "by latchd it is left as it is"
succeeds "it stops" inside latchctl stop passed
is "$(stat -c %i "$d/passed.sock")" "$inode" "systemd's socket stands"
succeeds "latchd's own is gone" no_file "$d/wanted.sock"
succeeds "it starts again" inside latchctl start passed
answer=$(timeout 30 python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(b"hello\n"); print(s.recv(100).decode().strip())' "$d/passed.sock")
is "$answer" "$(inside latchctl status --json passed | jq .[0].mainPid)" "with the listener that was passed"
finish
