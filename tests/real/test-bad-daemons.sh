#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Daemons that make it hard: deaf to signals, without descriptors, flooding their output, hiding what they are, with a
# zombie for a leader, in an uninterruptible sleep, stopped; and one that forks without end. Each is started, survives
# latchd's violent death and is taken over by the next latchd, and is stopped in bounded time; latchd answers meanwhile,
# and nobody else is touched.
# heavy: daemons that take all the processor time they get
# shellcheck disable=SC2317 # called by their names
# A PID namespace of its own: what forks without end ends with it, and nobody else's `ps` looks at what sleeps in there.
[[ -n ${bad_daemons_apart-} ]] ||
    bad_daemons_apart=1 exec unshare --mount --pid --fork --kill-child --mount-proc --propagation private bash "$0" "$@"
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require latchd latchctl jq
D=$T/d
mkdir -p "$D/etc" "$D/run" "$D/bin" "$D/pid"
BAD=$D/bin/bad-daemon
SMALL=$D/bin/small-daemon
cp "$(tool bad-daemon)" "$BAD"
cp "$(tool small-daemon)" "$SMALL"
chmod 755 "$D" "$D/bin"
: >"$T/bad"
chmod 666 "$T/bad"
BOMBER=64331 # a user of nobody else

kinds=(deaf closer flood hidden headless vfork)
for kind in "${kinds[@]}"; do
    printf '%s\n' "[Service]" "ExecStart=$BAD $T/bad $kind" Restart=always RestartSec=10ms TimeoutStopSec=500ms \
        OrphanGraceSec=100ms OrphanKillSec=100ms StandardOutput=inherit StandardError=null >"$D/etc/$kind.conf"
done
printf '%s\n' "[Service]" "ExecStart=$BAD $T/bad bomb" Restart=always RestartSec=10ms TimeoutStopSec=20s \
    OrphanGraceSec=100ms OrphanKillSec=100ms StandardOutput=null "User=$BOMBER" "Group=$BOMBER" LimitNPROC=60 >"$D/etc/bomb.conf"
printf '%s\n' "[Service]" "ExecStart=$SMALL $D/pid/calm" Restart=always TimeoutStopSec=500ms >"$D/etc/calm.conf"
# No mark of latchd's, and another executable than the one that is configured.
printf '%s\n' "[Service]" "ExecStart=/bin/sh -c 'exec env -i $SMALL $D/pid/bare'" Restart=always RestartSec=10ms \
    TimeoutStopSec=500ms >"$D/etc/bare.conf"
services=("${kinds[@]}" bare calm)
"$SMALL" "$D/pid/innocent" &
innocent=$!
: >"$T/first.log"
mkfifo "$T/out" # nobody reads it: full, when the flood has come
exec {out}<>"$T/out"
disown -a

start() { # LOG SERVICE...
    local log=$1
    shift
    latchd run --config-dir "$D/etc" --runtime-dir "$D/run" --log-target stderr "$@" >"$T/out" 2>"$log" </dev/null \
        {out}>&- & # the one end that reads is ours
    latchd_pid=$!
}
all_run() { [[ $(ctl "$D" list --json | jq -r '.[] | select(.supervisorPid).state' | sort -u) == running ]]; }
mains() { ctl "$D" list --json | jq -r '.[] | select(.supervisorPid) | "\(.service) \(.mainPid)"' | sort; }
has_become() { grep -qx "[0-9]* $1" "$T/bad"; } # KIND
answers() { timeout 5 latchctl --config-dir "$D/etc" --runtime-dir "$D/run" status "$1" >/dev/null || (($? == 3)); }

start "$T/first.log" "${services[@]}"
wait_for 20 "all run" all_run
for kind in "${kinds[@]}"; do wait_for 20 "$kind: is as bad as can be" has_become "$kind"; done
first=$(mains)
for name in "${services[@]}"; do succeeds "$name: status answers" answers "$name"; done

# ---- the next latchd takes them over ----

disown "$latchd_pid" # the shell would tell of it
kill -KILL "$latchd_pid"
wait_until 10 gone "$latchd_pid"
start "$T/second.log" "${services[@]}"
wait_for 30 "behind latchd's violent death: all run" all_run
is "$(mains)" "$first" "each is the one that was there before"
is "$(sort "$T/bad" | uniq -d)" "" "none was started twice"
for kind in "${kinds[@]}"; do
    is "$(grep -cx "[0-9]* $kind" "$T/bad")" 1 "$kind: there is one"
done

# ---- and so does the one in its place ----

succeeds "latchd is replaced in place" ctl "$D" reexec calm
wait_for 30 "all run" all_run
is "$(mains)" "$first" "each is the one that was there before"
is "$(sort "$T/bad" | uniq -d)" "" "none was started twice"

# ---- each is stopped ----

kill -STOP "$(main_pid "$D" calm)"
while read -r name pid; do
    before=$(now_ms)
    succeeds "$name: stops" ctl "$D" stop "$name"
    at_most "$(($(now_ms) - before))" 10000 "$name: within bounded time, in ms"
    gone "$pid" && ok "$name: PID $pid is gone"
done <<<"$first"
stop_latchd
is "$latchd_rc" 0 "latchd ends"

# ---- the reader of its output is gone ----

start "$T/third.log" flood calm
wait_for 20 "flood and calm run" all_run
exec {out}>&-
wait_for 20 "nobody is there to read: the flood dies of it" grep -q "SIGPIPE" "$T/third.log"
succeeds "latchd answers" answers calm
stop_latchd
is "$latchd_rc" 0 "and ends"

# ---- without end ----

bombs() { ps --no-headers -U "$BOMBER" -o pid | wc -l; }
exec {out}<>"$T/out"
start "$T/fourth.log" bomb calm
wait_for 20 "a fork bomb runs" all_run
calm=$(main_pid "$D" calm)
many() { (($(bombs) >= 50)); }
wait_for 20 "and is as large as LimitNPROC= lets it" many
at_most "$(bombs)" 61 "no larger"
succeeds "latchd answers" answers bomb
kill -KILL "$(main_pid "$D" bomb)"
runs_as_well() { [[ $(status_of "$D" .restarts bomb) != 0 ]] && alive "$latchd_pid"; }
wait_for 20 "its main process is killed: latchd notices" runs_as_well
succeeds "and answers" answers bomb
succeeds "it is stopped" ctl "$D" stop bomb
is "$(status_of "$D" .state bomb)" stopped "and stays so"
is "$(main_pid "$D" calm)" "$calm" "its neighbour has noticed nothing"
none_left() { (($(bombs) == 0)); }
wait_for 20 "and nothing of it is left" none_left
stop_latchd
is "$latchd_rc" 0 "latchd ends"
alive "$innocent" && ok "nobody else was touched"
finish
