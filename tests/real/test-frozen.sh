#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A daemon whose cgroup is frozen (cgroup v2, cgroup.freeze): that is what status says, and nothing hangs: not the
# status, not the next latchd that takes it over, not a stop.
# shellcheck disable=SC2317 # called by their names
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require latchd latchctl jq
mount=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts)
[[ -n $mount ]] || skip "there is no cgroup v2"
G=$mount/latchd-test-$$
mkdir "$G" 2>/dev/null || skip "no cgroup can be made in $mount"
thaw_cleanup() {
    local rc=$?
    echo 0 >"$G/cgroup.freeze"
    (exit "$rc")
    harness_cleanup
    wait_until 5 rmdir "$G"
    return "$rc"
}
trap thaw_cleanup EXIT
[[ -w $G/cgroup.freeze ]] || skip "this kernel freezes no cgroup v2"

D=$T/d
mkdir -p "$D/etc" "$D/run" "$D/bin"
cp "$(command -v sleep)" "$D/bin/sleeper"
service() { # NAME COMMAND
    printf '[Service]\nStandardOutput=null\nTimeoutStopSec=1s\nExecStart=%s\n' "$2" >"$D/etc/$1.conf"
}
service obeys "$D/bin/sleeper 1000"
service handles "/bin/sh -c 'trap \"exit 0\" TERM; while :; do $D/bin/sleeper 0.1; done'"
run_latchd() {
    latchd run --config-dir "$D/etc" --runtime-dir "$D/run" --log-target stderr obeys handles >>"$D/latchd.log" 2>&1 \
        </dev/null &
    latchd_pid=$!
    disown "$latchd_pid"
}
run_latchd
for name in obeys handles; do wait_for 20 "$name is up" in_state "$D" running "$name"; done
obeys=$(main_pid "$D" obeys)
handles=$(main_pid "$D" handles)
echo "$obeys" >"$G/cgroup.procs"
echo "$handles" >"$G/cgroup.procs"
echo 1 >"$G/cgroup.freeze"
wait_until 5 grep -qx "frozen 1" "$G/cgroup.events" || skip "the cgroup does not freeze"
contains "$(ctl "$D" status obeys)" "its cgroup is frozen (cgroup.freeze)" "status says that it is frozen"
is "$(status_of "$D" .state obeys)" running "it runs all the same"

echo "# latchd is killed"
kill -KILL "$latchd_pid"
wait_until 10 gone "$latchd_pid"
run_latchd
for name in obeys handles; do wait_for 20 "$name is taken over" in_state "$D" running "$name"; done
is "$(main_pid "$D" obeys) $(main_pid "$D" handles)" "$obeys $handles" "they are the same"
contains "$(ctl "$D" status handles)" "its cgroup is frozen" "frozen still"

echo "# a stop"
began=$(now_ms)
succeeds "one that minds nothing is stopped" ctl "$D" stop obeys
succeeds "one that cannot come to mind SIGTERM is stopped" ctl "$D" stop handles
at_most "$(($(now_ms) - began))" 20000 "in milliseconds"
wait_for 5 "the one is gone" gone "$obeys"
wait_for 5 "so is the other" gone "$handles"
is "$(status_of "$D" .lastExit.signal handles)" 9 "by SIGKILL, which reaches the frozen"
kill -TERM "$latchd_pid"
wait_for 20 "latchd ends" gone "$latchd_pid"
finish
