#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A daemon that takes its lock but does not remove the socket that it left when it was killed: bind(2) fails with "Address
# already in use" for ever, unless somebody removes it under the lock. Made here with a few lines of Python.
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require python3 jq

cat >"$T/daemon" <<'END'
import fcntl, os, signal, socket, sys
path = sys.argv[1]
lock = open(path + ".lock", "a")
fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen(5)
print(os.getpid(), "listens", flush=True)
while True:
    listener.accept()[0].close()
END
S=$T/s
mkdir -m 0755 "$T/run" "$T/conf"
cat >"$T/conf/sock.conf" <<END
[Service]
ExecStart=$(command -v python3) $T/daemon $S
Type=socket
Restart=always
RestartSec=10ms
StandardOutput=inherit
[Socket control]
ListenStream=$S
END
ctl=(latchctl --runtime-dir "$T/run" --config-dir "$T/conf")

begin() {
    latchd run --config-dir "$T/conf" --runtime-dir "$T/run" --log-target stderr sock >>"$T/latchd.log" 2>&1 &
    latchd=$!
}
end() { kill "$latchd"; wait "$latchd"; }
status() { "${ctl[@]}" --json status sock | jq -r ".[0].$1"; }
# shellcheck disable=SC2317 # wait_for calls it
is_running() { # [GENERATION]
    [[ $(status state) == running ]] && (($(status generation) >= ${1-1}))
}

begin
wait_for 20 "the daemon listens" is_running
first=$(status mainPid)
kill -KILL "$first"
wait_for 20 "killed, it comes up again" is_running 2
isnt "$(status mainPid)" "$first" "as another process"
is "$(grep -c "Removed $S" "$T/latchd.log")" 1 "the journal names the socket that was removed, once"
lacks "$(cat "$T/latchd.log")" "Address already in use" "no start failed at bind"
succeeds "its lock file was left alone" test -f "$S.lock"
end
rm -f "$S"

# Somebody else's socket stands there, and lives: the lock is free, and the socket is not.
python3 -c '
import socket, sys, time
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(5); print("ready", flush=True); time.sleep(1000)' "$S" >"$T/stranger.out" &
stranger=$!
wait_until 10 test -s "$T/stranger.out"
inode=$(stat -c %i "$S")
begin
wait_for 20 "a living stranger's socket blocks the start" grep --quiet "PID $stranger" "$T/latchd.log"
is "$(status state)" blocked "it is blocked"
is "$(stat -c %i "$S")" "$inode" "the socket stands"
succeeds "the stranger lives" alive "$stranger"
kill "$stranger"
wait "$stranger"
wait_for 20 "when the stranger is gone, the daemon comes up" is_running
end
rm -f "$S"

# The same without any lock file: what is not there guards nothing.
rm -f "$S" "$S.lock" "$T/stranger.out"
python3 -c '
import socket, sys, time
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(5); print("ready", flush=True); time.sleep(1000)' "$S" >"$T/stranger.out" &
stranger=$!
wait_until 10 test -s "$T/stranger.out"
inode=$(stat -c %i "$S")
: >"$T/latchd.log"
begin
wait_for 20 "without a lock file, too, it blocks the start" grep --quiet "PID $stranger" "$T/latchd.log"
is "$(status state)" blocked "it is blocked"
lacks "$(cat "$T/latchd.log")" "Starting " "nothing was started beside him"
is "$(stat -c %i "$S")" "$inode" "the socket stands"
kill "$stranger"
wait "$stranger"
wait_for 20 "when he is gone, the daemon comes up" is_running
end
rm -f "$S"

# What is no socket is not removed.
for kind in directory file link; do
    rm -rf "$S"
    case $kind in
    directory) mkdir "$S" ;;
    file) echo precious >"$S" ;;
    link) ln -s "$T/precious" "$S" ;;
    esac
    : >"$T/latchd.log"
    begin
    wait_until 10 grep --quiet "Address already in use" "$T/latchd.log"
    succeeds "a $kind in the socket's place is left alone" test -d "$S" -o -f "$S" -o -L "$S"
    lacks "$(cat "$T/latchd.log")" "Removed $S" "and nothing is said to be removed"
    end
done

# Several files that latchd may not remove are told of once each, not in turn at every look.
if [[ $(id -u) == 0 ]]; then
    user=65534
    mkdir "$T/kept" "$T/user-run" "$T/user-conf"
    chmod 755 "$T"
    chown "$user:$user" "$T/user-run"
    sh -c 'echo $$' >"$T/kept/a.pid"
    cp "$T/kept/a.pid" "$T/kept/b.pid"
    printf '[Service]\nExecStart=/bin/sleep 1000\n[Lock %s]\nLockFile=%s\nLockStyle=pidfile\n[Lock %s]\nLockFile=%s\nLockStyle=pidfile\n' \
        a "$T/kept/a.pid" b "$T/kept/b.pid" >"$T/user-conf/kept.conf"
    cp "$(command -v latchd)" "$T/latchd"
    setpriv --reuid "$user" --regid "$user" --clear-groups "$T/latchd" run --config-dir "$T/user-conf" \
        --runtime-dir "$T/user-run" --log-target stderr kept >"$T/kept.log" 2>&1 </dev/null &
    kept=$!
    for file in a b; do
        wait_for 20 "that $file.pid cannot be removed is told" grep -q "cannot remove $T/kept/$file.pid, .*Permission denied" "$T/kept.log"
    done
    sleep 4 # some looks
    is "$(grep -c 'cannot remove' "$T/kept.log")" 2 "once each"
    kill -TERM "$kept"
    wait "$kept"
    succeeds "and both stand" test -e "$T/kept/a.pid" -a -e "$T/kept/b.pid"
else
    note "files that cannot be removed: by root only there is another user to try it as"
fi

finish
