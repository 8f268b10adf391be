#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# latchd begins while a configuration, or what it names, lies on a file system that does not answer (tests/tools/
# hanging-fs). Nothing waits for it: what has a record goes on with that, and the others are told.
# shellcheck disable=SC2317 # called by their names
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require latchd latchctl jq
[[ -e /dev/fuse ]] || skip "there is no /dev/fuse"

D=$T/d
mkdir -p "$D/etc" "$D/run" "$D/bin" "$D/place"
sleeper=$D/bin/sleeper
cp "$(command -v sleep)" "$sleeper"
cp "$sleeper" "$D/place/sleeper"

service() { # FILE EXECUTABLE SECONDS
    printf '[Service]\nStandardOutput=null\nExecStart=%s %s\n' "$2" "$3" >"$1"
}
service "$D/etc/near.conf" "$sleeper" 1001
service "$D/place/far.conf" "$sleeper" 1002
ln -s "$D/place/far.conf" "$D/etc/far.conf"
service "$D/place/new.conf" "$sleeper" 1003
ln -s "$D/place/new.conf" "$D/etc/new.conf"
service "$D/etc/program.conf" "$D/place/sleeper" 1004

# latchctl list reads every configuration; latchctl status asks latchd alone.
running() { [[ $(status_of "$D" .state "$1") == running ]]; } # SERVICE
main() { status_of "$D" .mainPid "$1"; }                      # SERVICE
die_off() { # the place does
    "$(tool hanging-fs)" hang "$D/place" >"$T/hanging.out" 2>"$T/hanging.log" &
    server=$!
    disown "$server"
    wait_until 10 grep -q ready "$T/hanging.out" || skip "cannot mount FUSE here"
}

detach_latchd "$D" far near program
for name in far near program; do wait_for 20 "$name is up" running "$name"; done
far=$(main far)
near=$(main near)
kill_latchd
die_off
detach_latchd "$D" far near
wait_for 30 "near is up, though far's file is on a dead file system" running near
wait_for 5 "and so is far" running far
is "$(main far) $(main near)" "$far $near" "the same daemons"
contains "$(<"$D/latchd.log")" "far.conf did not answer within 5s" "what did not answer is told"
contains "$(<"$D/latchd.log")" "service far goes on with the configuration that it had" "and what follows"
is "$(ctl "$D" status --json far near | jq -c '[.[] | .unattributed // [] | length]')" "[0,0]" "nobody is left of the reading"
kill_latchd

begins() { timeout 30 latchd run --config-dir "$D/etc" --runtime-dir "$D/run" --log-target stderr "$@" </dev/null 2>&1; }
echo "# without a record, or where the daemon's program is there as well"
rc=0
out=$(begins new near) || rc=$?
is "$rc" 1 "a service that never ran: they do not begin, and systemd tries again"
contains "$out" "the configuration of service new is not read: " "it is told which"
contains "$out" "did not answer" "and why"
rc=0
printf '[Service]\nNothing=good\n' >"$D/etc/bad.conf"
out=$(begins program bad) || rc=$?
is "$rc" 78 "with a mistake in another one"
contains "$out" "$D/etc/bad.conf:2: " "that is told"
contains "$out" "ExecStart=$D/place/sleeper did not answer" "as is the program"
alive "$far" && alive "$near" && ok "nobody's daemon was touched"

echo "# it answers again"
kill -TERM "$server"
wait_until 10 gone "$server" || kill -KILL "$server"
umount -l "$D/place" 2>/dev/null
detach_latchd "$D" far near new program
for name in far near new program; do wait_for 20 "$name is up" running "$name"; done
is "$(main far) $(main near)" "$far $near" "the same daemons"
kill -TERM "$latchd_pid"
wait_for 20 "latchd ends" gone "$latchd_pid"
finish
