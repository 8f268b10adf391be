#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What others begin or put down by hand beside a service: a kea-lfc of the administrator's is waited for and never
# ended, though it is the helper's program with the helper's PID file; what the service's user puts where its output
# goes (a FIFO, a link to a file of root's) is refused, and holds up nobody.
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require jq setpriv
require_kea

note "the administrator's own kea-lfc"
D=$T/kea
make_kea "$D" 100
# A FIFO that nobody writes to keeps it at work. Its parent is gone, as with nohup or at(1): it looks like an orphan.
mkfifo "$D/leases.csv.1"
(KEA_PIDFILE_DIR=$D/pid KEA_LOCKFILE_DIR=$D/lock setsid "$KEA_LFC" -4 -d -x "$D/leases.csv.2" -i "$D/leases.csv.1" \
    -o "$D/leases.csv.output" -f "$D/leases.csv.completed" -p "$D/leases.csv.pid" -c ignored >"$T/lfc.log" 2>&1 &)
wait_until 5 test -s "$D/leases.csv.pid" || die "kea-lfc runs" "$(cat "$T/lfc.log")"
lfc=$(<"$D/leases.csv.pid")
ticks=$(start_ticks "$lfc")
start_latchd "$D"
wait_for 10 "the service is blocked" in_state "$D" blocked
contains "$(status_of "$D" .statusText)" "PID $lfc" "statusText names it"
sleep 1 # five times the grace time
is "$(start_ticks "$lfc")" "$ticks" "it was not signalled"
exits 1 "latchctl clear refuses" ctl "$D" clear kea
is "$(start_ticks "$lfc")" "$ticks" "after that too it lives"
is "$(count_keas "$D")" 0 "no Kea runs meanwhile"
rm "$D/leases.csv.1"
kill -KILL "$lfc"
wait_for 10 "it starts once kea-lfc has ended" in_state "$D" running
stop_latchd

note "output where the service's user may write"
E=$T/out
mkdir -p "$E/etc" "$E/run" "$E/theirs"
chmod 755 "$T" "$E"
chown 65534:65534 "$E/theirs"
echo precious >"$E/roots"
service() { # NAME LINE...
    printf '[Service]\nExecStart=/bin/sleep 100\nRestart=no\nUser=65534\nGroup=65534\n' >"$E/etc/$1.conf"
    printf '%s\n' "${@:2}" >>"$E/etc/$1.conf"
}
mkfifo "$E/theirs/fifo"
ln -s "$E/roots" "$E/theirs/link"
service fifo "StandardOutput=file:$E/theirs/fifo"
service append "StandardOutput=append:$E/theirs/fifo"
service link "StandardOutput=file:$E/theirs/link"
service plain "StandardOutput=file:$E/theirs/plain"
timeout 60 "$builddir/latchd" run --config-dir "$E/etc" --runtime-dir "$E/run" --log-target stderr \
    fifo append link plain >"$E/latchd.log" 2>&1 &
latchd_pid=$!
wait_for 10 "the good one runs beside them" in_state "$E" running plain
for name in fifo append link; do
    wait_for 10 "$name is refused" in_state "$E" failed $name
done
contains "$(<"$E/latchd.log")" "$E/theirs/fifo" "the FIFO is named"
contains "$(<"$E/latchd.log")" "symbolic link" "so is the link"
is "$(<"$E/roots")" precious "the file of root's is as it was"
succeeds "the good one's file is there" test -f "$E/theirs/plain"
kill -TERM "$latchd_pid"
wait "$latchd_pid"
is $? 0 "latchd ends with 0"
finish
