#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A new configuration for a running service: latchd's own, Kea's, and the command of ExecReload= with redis. Mistakes
# change nothing and are told where they stand; what the daemon was started with counts from its next start, before
# which what it left by the old configuration is cleared as well.
# shellcheck disable=SC2317 # called by their names
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require jq redis-server redis-cli
require_kea

D=$T/kea
make_kea "$D" 100
conf=$D/etc/kea.conf
edit() { sed -i "$@"; }

start_latchd "$D"
wait_for 30 "Kea is up" runs_anew "$D" 0
main=$(main_pid "$D")
since=$(status_of "$D" .sinceUSec)

echo "# nothing, and something that counts at once"
out=$(ctl "$D" reload kea 2>&1) || fail "reload without a change" "$out"
is "$out" "" "nothing has changed: nothing is said"
echo "RestartSec=20ms" >>"$conf"
out=$(ctl "$D" reload kea 2>&1) || fail "reload" "$out"
is "$out" "kea: counts at once: RestartSec=" "what counts at once is named"
is "$(main_pid "$D") $(status_of "$D" .sinceUSec) $(status_of "$D" .generation)" "$main $since 1" \
    "Kea is the same, and has been running since when it was"
succeeds "Kea answers" kea_answers "$D" "$main"

echo "# mistakes: in latchd's file, and in Kea's own"
cp "$conf" "$D/good"
printf 'RestartSec=never\nUsr=kea\n' >>"$conf"
lines=$(wc -l <"$conf")
rc=0
out=$(ctl "$D" reload kea 2>&1) || rc=$?
is "$rc" 1 "a configuration with mistakes is refused"
contains "$out" "$conf:$((lines - 1)): RestartSec=never" "the first is told with its place"
contains "$out" "$conf:$lines: unknown key 'Usr'" "the second as well"
is "$(grep -c "^$conf:[0-9]*: " <<<"$out")" 2 "each has a line of its own"
contains "$(<"$D/latchd.log")" "$conf:$lines: unknown key 'Usr'" "and in the log"
cp "$D/good" "$conf"
edit 's/"Dhcp4": {/"Dhcp4": { "control-socket" /' "$D/kea.conf"
out=$(ctl "$D" reload kea 2>&1) && fail "Kea's own file is broken: refused"
contains "$out" "$D/kea.conf:" "a mistake in Kea's own file is told with its place"
succeeds "Kea was not told to read it, and answers" kea_answers "$D" "$main"
edit 's/"Dhcp4": { "control-socket" /"Dhcp4": {/' "$D/kea.conf"
mv "$conf" "$D/gone"
out=$(ctl "$D" reload kea 2>&1) && fail "the file is gone: refused"
contains "$out" "there is no service 'kea'" "that the service's file is gone is told"
mv "$D/gone" "$conf"
is "$(main_pid "$D")" "$main" "all the while Kea is the same"

echo "# a socket that moves: Kea's own configuration names it"
edit "s|$D/kea.sock|$D/moved.sock|" "$D/kea.conf"
edit 's/^RestartSec=.*/RestartSec=30ms/' "$conf"
kill -STOP "$main" # it will not come to move, and leaves its socket
out=$(ctl "$D" reload --no-block kea 2>&1) || fail "reload" "$out"
contains "$out" "counts at once: RestartSec=" "what counts at once does"
contains "$out" "counts from the next start (latchctl restart kea): " "what does not is named"
contains "$out" "ListenStream=" "the socket is among it"
kill -KILL "$main"
wait_for 30 "killed, Kea comes up again" runs_anew "$D" "$main"
is "$(status_of "$D" '.sockets[0].listen')" "$D/moved.sock" "by the new configuration"
is "$(status_of "$D" '.lastExit.signal')" 9 "after the end that it had"
wait_for 10 "and what it left at the old place is gone" no_file "$D/kea.sock"
main=$(main_pid "$D")

echo "# changed while no latchd runs"
kill -KILL "$latchd_pid"
{ wait "$latchd_pid"; } 2>/dev/null
edit 's/^RestartSec=.*/RestartSec=40ms\nNice=1/' "$conf"
start_latchd "$D"
wait_for 30 "the next latchd takes Kea over" in_state "$D" running
is "$(main_pid "$D")" "$main" "as it is"
wait_for 5 "what counts from the next start is told" grep -q "changed since the daemon was started.*Nice=" "$D/latchd.log"
succeeds "restarted" ctl "$D" restart kea
is "$(ps -o ni= -p "$(main_pid "$D")" | tr -d ' ')" 1 "it counts"
stop_latchd

echo "# ExecReload=, with redis"
R=$T/redis
mkdir -p "$R/etc" "$R/run"
cat >"$R/etc/redis.conf" <<END
[Service]
Type=socket
ExecStart=$(command -v redis-server) --port 0 --unixsocket $R/redis.sock --save "" --dir $R --pidfile $R/pid
ExecReload=$(command -v redis-cli) -s $R/redis.sock config set maxclients 77
StandardOutput=append:$R/redis.log
TimeoutStartSec=20s
[Socket redis]
ListenStream=$R/redis.sock
LockFile=none
END
start_latchd "$R" redis
wait_for 30 "redis is up" in_state "$R" running redis
main=$(main_pid "$R" redis)
redis() { redis-cli -s "$R/redis.sock" "$@" 2>/dev/null | tail -1; }
isnt "$(redis config get maxclients)" 77 "it has not been told yet"
succeeds "reload" ctl "$R" reload redis
is "$(redis config get maxclients)" 77 "the command told it"
contains "$(<"$R/redis.log")" OK "the command's output is where the daemon's goes"
edit 's/maxclients 77/maxclients 78; exit 9/; s|^ExecReload=\(.*\)|ExecReload=/bin/sh -c "\1"|' "$R/etc/redis.conf"
rc=0
out=$(ctl "$R" reload redis 2>&1) || rc=$?
is "$rc" 1 "a command that fails: the reload failed"
contains "$out" "exited with status 9" "and says how"
is "$(redis config get maxclients)" 78 "the new command counted at once"
is "$(main_pid "$R" redis) $(status_of "$R" .state redis)" "$main running" "redis runs on"
contains "$(<"$R/latchd.log")" "was not reloaded: ExecReload=" "the log tells of it"
stop_latchd

echo "# a daemon with a socket, and without a handler for the signal"
S=$T/deaf
mkdir -p "$S/etc" "$S/run"
cat >"$S/daemon" <<'END'
#!/usr/bin/perl
use Socket;
socket(S, AF_UNIX, SOCK_STREAM, 0) && bind(S, pack_sockaddr_un($ARGV[0])) && listen(S, 5) || die;
sleep 1000;
END
chmod 755 "$S/daemon"
cat >"$S/etc/deaf.conf" <<END
[Service]
Type=socket
ExecStart=$S/daemon $S/socket
Restart=on-failure
[Socket control]
ListenStream=$S/socket
END
start_latchd "$S" deaf
for i in 1 2 3; do
    wait_for 30 "it is up" in_state "$S" running deaf
    main=$(main_pid "$S" deaf)
    rc=0
    out=$(ctl "$S" reload deaf 2>&1) || rc=$?
    is "$rc" 1 "it ends of the signal: no reload ($i)"
    contains "$out" "ended by SIGHUP (ReloadSignal=) instead of reloading: set ExecReload= or another ReloadSignal=" \
        "which is said, with what to do"
    wait_for 30 "it is started again, though SIGHUP is a clean end else" runs_anew "$S" "$main" deaf
done
stop_latchd
finish
