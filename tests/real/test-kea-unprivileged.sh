#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Everything as an ordinary user, in XDG_RUNTIME_DIR: a small daemon without a configuration file, and Kea with its
# orphaned kea-lfc.
# heavy: Kea is what is tried here; test-kea-exec.sh and test-rights.sh drive the same code of ours
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require jq setpriv socat
require_kea

user=65534
D=$T/kea
L=$D/kea.sock.lock
make_kea "$D" "$KEA_LEASES"
mkdir "$T/bin" "$T/xdg" "$T/small"
cp "$(command -v latchd)" "$(command -v latchctl)" "$T/bin/" # the build need not be readable to others
rm -rf "$D/run"
chown -R "$user:$user" "$D" "$T/xdg" "$T/small"
chmod 700 "$T/xdg"
as_user() { # COMMAND...: becomes it; in a subshell
    exec setpriv --reuid="$user" --regid="$user" --clear-groups env -i PATH="$PATH" T="$T" HOME="$T" \
        XDG_RUNTIME_DIR="$T/xdg" "$@"
}
user_ctl() { (as_user timeout 60 "$T/bin/latchctl" --config-dir "$D/etc" "$@"); }
# shellcheck disable=SC2317 # called through wait_for
user_state() { [[ $(user_ctl list --json | jq -r ".[] | select(.service == \"$1\").state") == "$2" ]]; } # SERVICE STATE
user_pid() { user_ctl list --json | jq -r ".[] | select(.service == \"$1\").mainPid // empty"; } # SERVICE
# shellcheck disable=SC2317 # called through wait_for
anew() { user_state "$1" running && [[ $(user_pid "$1") != "$2" ]]; } # SERVICE OLD-PID

note "a small daemon, from the command line"
S=$T/small/s.sock
cat >"$T/small/daemon" <<'END'
#!/bin/sh
# Locks S.lock, as Kea does; a child that outlives it inherits the lock.
exec 9>"$1.lock"
flock --nonblock 9 || { echo "$1.lock: Resource temporarily unavailable"; exit 1; }
rm -f "$1"
sleep 300 &
exec socat UNIX-LISTEN:"$1",fork SYSTEM:"echo alive"
END
chmod 755 "$T/small/daemon"
as_user "$T/bin/latchd" run --log-target stderr --name small --socket "$S" --type socket --set OrphanGraceSec=100ms \
    --limit NOFILE=200 -- "$T/small/daemon" "$S" >>"$T/small.log" 2>&1 </dev/null &
small=$!
wait_for 10 "it is running" user_state small running
pid=$(user_pid small)
is "$(awk '$1 == "Uid:" { print $3 }' "/proc/$pid/status")" "$user" "as that user"
is "$(awk '/^Max open files/ { print $4, $5 }' "/proc/$pid/limits")" "200 200" "with its limit"
is "$(stat -c '%a %u' "$T/xdg/latchd")" "755 $user" "the runtime directory is the user's"
# shellcheck disable=SC2317 # wait_for calls it
answers() { [ "$("$(tool unix-call)" "$S" 5 '')" = alive ]; } # socat loses an answer when its client is very quick
wait_for 10 "it answers" answers
kill -KILL "$pid"
wait_for 10 "killed, it is up again: the child that kept the lock is ended" anew small "$pid"
wait_for 5 "latchd says whom it ended" grep --quiet "SIGTERM to sleep" "$T/small.log"
rc=0
ctl_out=$(as_user timeout 20 "$T/bin/latchd" run --name small --socket "$S" -- "$T/small/daemon" "$S" 2>&1) || rc=$?
is "$rc" 75 "a second latchd: 75"
contains "$ctl_out" "latchd" "it names the first one"
succeeds "latchctl restart" user_ctl restart small
succeeds "latchctl stop" user_ctl stop small
wait_for 10 "nobody has the lock any more" lock_is_free "$S.lock"
kill -TERM "$small"
wait "$small"
is "$?" 0 "latchd ends with 0"

note "Kea"
as_user "$T/bin/latchd" run --config-dir "$D/etc" --log-target stderr kea >>"$D/latchd.log" 2>&1 </dev/null &
boss=$!
wait_for 40 "Kea is up" user_state kea running
pid=$(user_pid kea)
is "$(awk '$1 == "Uid:" { print $3 }' "/proc/$pid/status")" "$user" "as that user"
wait_for 20 "kea-lfc runs" lfc_pid_of "$D"
lfc=$(lfc_pid_of "$D")
kill -STOP "$lfc"
kill -KILL "$boss"
wait "$boss" 2>/dev/null
kill -KILL "$pid"
wait_until 10 gone "$pid"
rc=0
user_ctl probe --json "$L" >"$T/probe" || rc=$?
# A user sees not every process: from the path alone it may not be told whose leftover that is.
matches "$rc" '^(4|6)$' "the user's probe says orphaned or unknown"
is "$(jq -r '.[0].holders[0].pid' "$T/probe")" "$lfc" "held by whom"
is "$(user_ctl locks --json kea | jq -r --arg path "$L" '.[] | select(.path == $path).verdict')" orphaned \
    "what latchd wrote down proves it: orphaned"
kill -CONT "$lfc"
as_user "$T/bin/latchd" run --config-dir "$D/etc" --log-target stderr kea >>"$D/latchd.log" 2>&1 </dev/null &
boss=$!
wait_for 40 "the next latchd brings Kea up" anew kea "$pid"
is "$(leases_in_kea "$D")" "$KEA_LEASES" "with all leases"

note "who may do what"
rc=0
timeout 20 setpriv --reuid=65533 --regid=65533 --clear-groups "$T/bin/latchctl" --runtime-dir "$T/xdg/latchd" \
    --config-dir "$D/etc" stop kea >"$T/out" 2>&1 || rc=$?
is "$rc" 77 "another user cannot stop it: 77"
succeeds "root can" ctl "$D" --runtime-dir "$T/xdg/latchd" stop kea
kill -TERM "$boss"
wait "$boss"
is "$?" 0 "latchd ends with 0"
is "$(count_keas "$D")" 0 "no Kea is left"

note "what an ordinary user cannot"
rc=0
(as_user timeout 20 "$T/bin/latchd" run --config-dir "$D/etc" --runtime-dir /run/latchd-of-root kea) >"$T/out" 2>&1 || rc=$?
is "$rc" 77 "a runtime directory in /run: 77"
contains "$(<"$T/out")" "/run/latchd-of-root" "it names the directory"
echo 'User=root' >>"$D/etc/kea.conf"
as_user "$T/bin/latchd" run --config-dir "$D/etc" --log-target stderr kea >"$D/latchd2.log" 2>&1 </dev/null &
boss=$!
wait_for 10 "User=root: it is not started, and why is said" grep -q 'User=root: .*CAP_SETUID' "$D/latchd2.log"
is "$(count_keas "$D")" 0 "no Kea runs"
kill -TERM "$boss"
wait "$boss"
finish
