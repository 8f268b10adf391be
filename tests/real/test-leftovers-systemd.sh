#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# latchd@.service under a real systemd: Delegate=yes gives each service a cgroup of its own, in which everything is
# found and ended that a daemon leaves behind, whatever it does to get away; nothing else is.
# heavy: systemd is what is tried here; test-leftovers.sh drives the same code of ours
# shellcheck disable=SC2317 # much is called by wait_for
# shellcheck source=tests/lib/booted-latchd.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/booted-latchd.sh"
boot_latchd

unit=latchd@away.service
slice=/sys/fs/cgroup/system.slice/system-latchd.slice
own=$slice/$unit/away.daemon

# It leaves a worker that has a session of its own, nothing in its environment, no parent, and no ear for SIGTERM.
mkdir "$T/away"
cat >"$T/away/daemon" <<EOF
#!/bin/sh
(env -i setsid sh -c 'trap "" TERM; echo \$\$ >$T/away/worker.new; mv $T/away/worker.new $T/away/worker; while :; do sleep 1; done' &)
echo "\$\$ \$(for pid in \$(cat $T/away/workers 2>/dev/null); do kill -0 \$pid 2>/dev/null && echo \$pid; done)" >>$T/away/starts
while [ ! -e $T/away/worker ]; do sleep 0.05; done
cat $T/away/worker >>$T/away/workers
rm $T/away/worker
echo ready >>$T/away/ready
exec sleep 100000
EOF
chmod +x "$T/away/daemon"
configure_service away <<EOF
[Service]
ExecStart=$T/away/daemon
Restart=always
RestartSec=0
OrphanGraceSec=200ms
OrphanKillSec=300ms
EOF

members() { inside cat "$own/cgroup.procs" 2>/dev/null | sort -n | xargs; }
last_worker() { tail -n 1 "$T/away/workers"; }
starts() { [[ $(wc -l <"$T/away/ready") == "$1" ]]; } # N: so many daemons have left their worker
lives_inside() { inside sh -c "grep -q '^State:.[^ZX]' /proc/$1/status" 2>/dev/null; }
ended_inside() { ! lives_inside "$1"; }

echo "# a cgroup for the service"
# The same program, from the same directory, in a cgroup beside it: nobody's leftover.
inside systemd-run --quiet --unit=innocent sleep 100000
innocent=$(unit_property innocent.service MainPID)
succeeds "systemctl start" inside systemctl start "$unit"
wait_for 20 "the daemon has left its worker" starts 1
supervisor=$(unit_property "$unit" MainPID)
main=$(field away .mainPid)
worker=$(last_worker)
contains "$(inside cat "/proc/$main/cgroup")" "/$unit/away.daemon" "the daemon was born into the service's cgroup"
contains "$(inside cat "/proc/$worker/cgroup")" "/$unit/away.daemon" "its worker is in there, too"
is "$(inside cat "$slice/$unit/cgroup.procs")" "$supervisor" "latchd itself is not"
is "$(field away .processes)" "$(members | wc -w)" "latchctl status counts who is in there"
is "$(inside cat "$slice/$unit/cgroup.subtree_control")" "" "no controllers are enabled"
is "$(field away '.leftovers | length')" 0 "of a running daemon nothing is left over"

echo "# the daemon is killed"
inside kill -KILL "$main"
wait_for 30 "another has been started" starts 2
succeeds "after the old worker had ended" ended_inside "$worker"
is "$(sed -n 2p "$T/away/starts" | cut -d' ' -f2)" "" "which was so when it began"
contains "$(journal MESSAGE_ID="$(event_id LEFTOVERS_KILLED)" | jq -r .MESSAGE)" "PID $worker (sh)" \
    "the journal names it"
is "$(journal MESSAGE_ID="$(event_id LEFTOVERS_FOUND)" | jq -r .LATCHD_PROOF)" cgroup "and what proved it"
worker=$(last_worker)
contains "$(inside cat "/proc/$(field away .mainPid)/cgroup")" "/$unit/away.daemon" \
    "after a kill of the whole cgroup the next daemon lives in one again"

echo "# latchd is killed, and the next one takes over"
main=$(field away .mainPid)
before=$(members)
adopted() { [[ $(unit_property "$unit" MainPID) != "$supervisor" && $(field away .state) == running ]]; }
inside kill -KILL "$supervisor"
wait_for 30 "systemd starts another, which finds the service running" adopted
is "$(field away .mainPid)" "$main" "the daemon is the same process"
contains "$(members)" "$main" "in the same cgroup"
is "$(field away .processes)" "$(wc -w <<<"$before")" "whose processes are counted as before"
inside kill -KILL "$main"
wait_for 30 "that daemon is killed, and another has been started" starts 3
succeeds "after its worker had ended, which is nobody's child" ended_inside "$worker"
worker=$(last_worker)

echo "# latchctl kill"
main=$(field away .mainPid)
is "$(inside latchctl --json kill -s CONT --kill-whom=all away | jq -r '.[0].signalled')" "$(members | wc -w)" \
    "all of the service's processes can be sent a signal"
succeeds "latchctl kill -s KILL --kill-whom=all" inside latchctl kill -s KILL --kill-whom=all away
succeeds "ends the worker as well" ended_inside "$worker"
wait_for 30 "and the daemon comes back" starts 4
contains "$(journal MESSAGE_ID="$(event_id SIGNAL_SENT)" | jq -r .LATCHD_SIGNAL | xargs)" "SIGCONT SIGKILL" \
    "the journal tells who asked for what"
worker=$(last_worker)

echo "# systemctl stop"
main=$(field away .mainPid)
succeeds "systemctl stop" inside systemctl stop "$unit"
succeeds "the daemon has ended" ended_inside "$main"
succeeds "and its worker" ended_inside "$worker"
fails "nothing is left of the unit's cgroup" inside test -e "$slice/$unit"
is "$(for pid in $(<"$T/away/workers"); do lives_inside "$pid" && echo "$pid"; done)" "" "none of all the workers lives"
succeeds "who had nothing to do with it lives" lives_inside "$innocent"

echo "# a cgroup that latchd did not make"
inside mkdir -p /run/systemd/system/latchd@away.service.d
inside sh -c "printf '[Service]\nExecStartPre=/bin/sh -c \"mkdir /sys/fs/cgroup/\$\$(sed -n s,^0::/,,p /proc/self/cgroup | sed s,/.control,,)/away.daemon\"\n' >/run/systemd/system/latchd@away.service.d/foreign.conf"
inside systemctl daemon-reload
succeeds "the unit starts beside it" inside systemctl start "$unit"
wait_for 30 "and the daemon" starts 5
succeeds "the cgroup of that name is there" inside test -d "$own"
is "$(members)" "" "nobody was put into it"
worker=$(last_worker)
inside kill -KILL "$(field away .mainPid)"
wait_for 30 "another daemon has been started" starts 6
succeeds "after the worker had ended, which descends from latchd" ended_inside "$worker"
inside systemctl stop "$unit"
finish
