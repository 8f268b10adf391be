#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# latchd@.service under a real systemd, with a real Kea.
# heavy: systemd and Kea are what is tried here; the other tests drive the same code of ours
# shellcheck source=tests/lib/booted-latchd.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/booted-latchd.sh"
require_kea
boot_latchd

k=$T/kea
unit=latchd@kea.service
make_kea "$k" "$KEA_LEASES"
configure_kea kea "$k"

# Waits until kea-lfc runs, and ends Kea in that very moment, as the OOM killer would.
kill_kea_during_lfc() {
    # shellcheck disable=SC2016
    inside sh -c 'until pgrep -x kea-lfc >/dev/null; do sleep 0.01; done; kill -KILL "$1"' sh "$1"
}

# shellcheck disable=SC2317 # called by wait_for
is_running_as_new() { # OLD-PID
    local now
    now=$(field kea .mainPid)
    [[ $now != null && $now != "$1" && $(field kea .state) == running ]]
}

cgroup_processes() { # UNIT: of its cgroup, by name
    inside sh -c "cat /sys/fs/cgroup/system.slice/system-latchd.slice/$1/cgroup.procs 2>/dev/null" |
        while read -r pid; do inside ps -o comm= -p "$pid"; done
}

echo "# the unit as installed"
out=$(inside systemd-analyze verify --man=no "$unit" 2>&1)
is "$out" "" "systemd-analyze verify has nothing to say"

echo "# start"
before=$(now_ms)
succeeds "systemctl start" inside systemctl start "$unit"
took=$(($(now_ms) - before))
succeeds "when it returns (after $took ms), Kea answers" kea_answers "$k"
is "$(inside systemctl is-active "$unit")" active "the unit is active"
is "$(unit_property "$unit" StatusText)" running "its status text"
contains "$(inside systemctl status --no-pager "$unit")" 'Status: "running"' "systemctl status shows it"
is "$(field kea .unit)" "$unit" "latchctl status knows the unit"
contains "$(inside latchctl status kea)" "unit $unit" "and shows it to people"
is "$(field kea .supervisorPid)" "$(unit_property "$unit" MainPID)" "the supervisor is the unit's main process"

echo "# Kea is killed while kea-lfc runs"
old=$(field kea .mainPid)
supervisor=$(unit_property "$unit" MainPID)
kill_kea_during_lfc "$old"
wait_for 40 "it is ready again" is_running_as_new "$old"
is "$(field kea .generation)" 2 "as its second generation"
is "$(unit_property "$unit" MainPID)" "$supervisor" "under the same supervisor"
is "$(unit_property "$unit" NRestarts)" 0 "without a restart of the unit"
succeeds "Kea answers" kea_answers "$k"

echo "# the supervisor is killed"
old=$(field kea .mainPid)
restarts=$(field kea .restarts)
# A flock that can be had for a moment is a flock that was let go of.
(
    samples=0
    while [[ ! -e $k/watched ]]; do
        flock --nonblock --exclusive --no-fork "$k/kea.sock.lock" true && echo "free" >>"$k/lock-samples"
        samples=$((samples + 1))
    done
    echo "$samples" >"$k/samples"
) &
watcher=$!
# shellcheck disable=SC2317
adopted() { [[ $(unit_property "$unit" MainPID) != "$supervisor" && $(field kea .state) == running ]]; }
inside kill -KILL "$supervisor"
wait_for 20 "systemd starts another, which finds the service running" adopted
is "$(unit_property "$unit" NRestarts)" 1 "by one restart of the unit"
is "$(field kea .mainPid)" "$old" "Kea is the same process"
is "$(field kea .generation)" 2 "of the same generation"
is "$(field kea .restarts)" "$restarts" "and was not restarted"
succeeds "Kea answers" kea_answers "$k"
touch "$k/watched"
wait "$watcher"
samples=$(<"$k/samples")
succeeds "the lock was looked at $samples times" test "$samples" -gt 20
is "$(cat "$k/lock-samples" 2>/dev/null)" "" "and was held at each"
is "$(journal MESSAGE_ID="$(event_id ADOPTED)" | jq -r .LATCHD_MAIN_PID)" "$old" "the journal tells of the adoption"

echo "# the adopted Kea is killed while kea-lfc runs"
kill_kea_during_lfc "$old"
wait_for 40 "it is ready again" is_running_as_new "$old"
is "$(field kea .generation)" 3 "as its third generation"

echo "# reload"
old=$(field kea .mainPid)
succeeds "systemctl reload" inside systemctl reload "$unit"
is "$(field kea .state)" running "it runs"
is "$(field kea .mainPid)" "$old" "as the same process"
wait_for 10 "and Kea reads its configuration again" \
    inside journalctl --quiet --grep=DHCP4_DYNAMIC_RECONFIGURATION SYSLOG_IDENTIFIER=kea

echo "# restart"
supervisor=$(unit_property "$unit" MainPID)
succeeds "systemctl restart" inside systemctl restart "$unit"
isnt "$(unit_property "$unit" MainPID)" "$supervisor" "the supervisor is a new one"
succeeds "and so is Kea, which runs" is_running_as_new "$old"
succeeds "and answers" kea_answers "$k"

echo "# stop, while kea-lfc runs"
wait_for 20 "kea-lfc runs" inside pgrep -x kea-lfc
cursor=$(inside journalctl -n0 --show-cursor | sed -n 's/^-- cursor: //p')
before=$(now_ms)
succeeds "systemctl stop" inside systemctl stop "$unit"
at_most $(($(now_ms) - before)) 15000 "the milliseconds it takes"
is "$(unit_property "$unit" ActiveState)" inactive "the unit is inactive"
is "$(unit_property "$unit" Result)" success "its result"
is "$(unit_property "$unit" ExecMainStatus)" 0 "the supervisor's exit status"
is "$(cgroup_processes "$unit")" "" "nothing is left in its cgroup"
is "$(inside pgrep -x 'kea-.*')" "" "neither Kea nor kea-lfc"
lacks "$(journal --after-cursor "$cursor" -u "$unit" | jq -r .MESSAGE)" "remains running after unit stopped" "and systemd missed nothing"
succeeds "the lock is free" lock_is_free "$k/kea.sock.lock"

echo "# somebody's own Kea is in the way"
# shellcheck disable=SC2016
inside sh -c 'KEA_PIDFILE_DIR=$1/pid KEA_LOCKFILE_DIR=$1/lock setsid kea-dhcp4 -c "$1/kea.conf" </dev/null >"$1/hand.log" 2>&1 &
    echo $!' sh "$k" >"$k/hand.pid"
hand=$(<"$k/hand.pid")
wait_for 30 "a Kea started by hand answers, right after the stop" kea_answers "$k"
succeeds "systemctl start returns" inside systemctl start "$unit"
is "$(inside systemctl is-active "$unit")" active "the unit is active"
matches "$(unit_property "$unit" StatusText)" "^blocked: .*PID ${hand}[^0-9]" "its status text names who is in the way"
is "$(field kea .state)" blocked "latchctl says the same"
is "$(inside pgrep -xc kea-dhcp4)" 1 "there is one Kea"
succeeds "systemctl stop" inside systemctl stop "$unit"
is "$(unit_property "$unit" Result)" success "its result"
succeeds "the other Kea is left alone" kea_answers "$k" "$hand"
out=$(inside latchctl start kea 2>&1)
is $? 1 "latchctl start starts the unit, and fails"
contains "$out" "PID $hand" "and says who is in the way"
is "$(inside systemctl is-active "$unit")" active "the unit is active"
inside kill -TERM "$hand"
wait_for 40 "once it has gone, the service runs" is_running_as_new "$hand"
is "$(unit_property "$unit" StatusText)" running "and the status text is up to date"
inside systemctl stop "$unit"

echo "# latchctl and the unit"
make_kea "$T/small" 10
configure_kea kea "$T/small"
succeeds "latchctl start, with no supervisor" inside latchctl start kea
is "$(inside systemctl is-active "$unit")" active "starts the unit"
is "$(field kea .state)" running "and Kea runs"
old=$(field kea .mainPid)
supervisor=$(unit_property "$unit" MainPID)
succeeds "latchctl restart" inside latchctl restart kea
succeeds "Kea is a new process" is_running_as_new "$old"
succeeds "latchctl stop" inside latchctl stop kea
is "$(field kea .state)" stopped "Kea is stopped"
is "$(unit_property "$unit" MainPID)" "$supervisor" "its supervisor stays"
is "$(unit_property "$unit" StatusText)" stopped "and tells systemd"
succeeds "latchctl start again" inside latchctl start kea
is "$(field kea .state)" running "Kea runs"
out=$(inside latchd run kea 2>&1)
is $? 75 "another latchd for the same service refuses"
contains "$out" "PID $supervisor" "and names the first"
is "$(field kea .state)" running "which it leaves alone"
inside systemctl stop "$unit"

echo "# a broken configuration"
printf '[Service]\nExecStart=/bin/true\nRestrat=always\n' | configure_service broken
inside systemctl start latchd@broken 2>/dev/null
isnt $? 0 "systemctl start fails"
sleep 1
is "$(unit_property latchd@broken ActiveState)" failed "the unit has failed"
is "$(unit_property latchd@broken ExecMainStatus)" 78 "with exit status 78"
is "$(unit_property latchd@broken NRestarts)" 0 "and is not started again and again"
contains "$(journal -u latchd@broken | jq -r .MESSAGE)" "broken.conf:3:" "the journal names file and line"
out=$(inside latchctl start broken 2>&1)
isnt $? 0 "latchctl start fails as well"
contains "$out" "broken.conf:3:" "with the reason"

echo "# the examples: Debian's own Kea configuration, with a user of its own"
debian=/etc/kea/kea-dhcp4.conf
if getent passwd _kea >/dev/null && grep -q '"interfaces": \[ *\]' "$debian" 2>/dev/null; then
    configure_service debian <"$srcdir/doc/examples/kea.conf"
    inside mkdir -p /etc/systemd/system/latchd@debian.service.d
    inside sh -c 'cat >/etc/systemd/system/latchd@debian.service.d/kea.conf' \
        <"$srcdir/doc/examples/latchd@kea.service.d.conf"
    inside systemctl daemon-reload
    is "$(inside systemd-analyze verify --man=no latchd@debian.service 2>&1)" "" "systemd-analyze verify has nothing to say"
    succeeds "systemctl start" inside systemctl start latchd@debian
    main=$(field debian .mainPid)
    is "$(inside ps -o user= -p "$main")" _kea "Kea runs as _kea"
    is "$(field debian '.locks[] | select(.path | endswith(".lock")).verdict')" held "and holds its lock"
    inside kill -KILL "$main"
    # shellcheck disable=SC2317
    came_back() { [[ $(field debian .generation) == 2 && $(field debian .state) == running ]]; }
    wait_for 20 "when it is killed it comes back" came_back
    succeeds "systemctl stop" inside systemctl stop latchd@debian
    is "$(unit_property latchd@debian Result)" success "its result"
else
    note "Debian's configuration of Kea is not here"
fi

finish
