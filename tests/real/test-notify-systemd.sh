#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Notifications with a real systemd above latchd: what the daemon stored, and what it said while no latchd lived, comes
# through a kill -9 of latchd; its status and reload are the unit's.
# heavy: systemd is what is tried here; test-notify.sh drives the same code of ours
# shellcheck source=tests/lib/booted-latchd.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/booted-latchd.sh"
boot_latchd

unit=latchd@d.service
d=$T/d
mkdir -p "$d"
mkfifo "$d/orders"
cp "$(tool notify-daemon)" "$d/notify-daemon"
configure_service d <<END
[Service]
Type=notify
RestartSec=10ms
ExecStart=$d/notify-daemon daemon $d
END
inside mkdir -p "/run/systemd/system/$unit.d"
printf '[Service]\nRestartSec=2s\n' | inside sh -c "cat >/run/systemd/system/$unit.d/slow.conf" # time to speak in
inside systemctl daemon-reload

order() { printf '%s\n' "$1" >"$d/orders"; }
# shellcheck disable=SC2317 # these are called by wait_for
told() { grep -qF -- "$1" "$d/told"; }
# shellcheck disable=SC2317
unit_has() { [[ $(unit_property "$unit" "$1") == "$2" ]]; }
# shellcheck disable=SC2317
field_is() { [[ $(field d "$1") == "$2" ]]; }
# shellcheck disable=SC2317
another_than() { local now; now=$(field d "$1"); [[ -n $now && $now != null && $now != "$2" ]]; }

echo "# start"
inside systemctl start --no-block "$unit"
wait_for 20 "the daemon has begun" told begun
is "$(unit_property "$unit" ActiveState)" activating "the unit is activating until it is ready"
order 'say STATUS=half way'
wait_for 10 "its status is the unit's" unit_has StatusText "starting: half way"
order 'say READY=1\nSTATUS=serving'
wait_for 10 "READY=1 makes the unit active" unit_has ActiveState active
wait_for 10 "with its words" unit_has StatusText "running: serving"

echo "# it stores two descriptors, and reloads by itself"
stored=$(unit_property "$unit" NFileDescriptorStore)
order 'store FDSTORE=1\nFDNAME=state remembered'
order 'store FDSTORE=1\nFDNAME=more well'
wait_for 10 "systemd has them too" unit_has NFileDescriptorStore $((stored + 2))
order 'say RELOADING=1'
wait_for 10 "the unit is reloading" unit_has ActiveState reloading
order 'say READY=1'
wait_for 10 "until the daemon has reloaded" unit_has ActiveState active

echo "# latchd is killed"
main=$(field d .mainPid)
supervisor=$(unit_property "$unit" MainPID)
inside kill -KILL "$supervisor"
order 'say STATUS=said to nobody'
wait_for 30 "the next one has the daemon" another_than .supervisorPid "$supervisor"
is "$(field d .mainPid)" "$main" "the same process"
is "$(field d .state)" running "which is ready"
wait_for 10 "what it said meanwhile is heard" field_is .statusText "said to nobody"
is "$(field d '.notify.stored | sort | join(" ")')" "more state" "what it stored is there"

echo "# latchd and the daemon are killed"
supervisor=$(unit_property "$unit" MainPID)
inside kill -KILL "$supervisor"
inside kill -KILL "$main"
wait_for 30 "the next one starts it anew" another_than .mainPid "$main"
wait_for 10 "with what was stored" told "with 2 stored: "
succeeds "one" grep -q "stored [01]: remembered" "$d/told"
succeeds "and the other" grep -q "stored [01]: well" "$d/told"
order 'say READY=1'
wait_for 10 "it runs" field_is .state running
order 'say FDSTOREREMOVE=1\nFDNAME=more'
wait_for 10 "what it takes back systemd drops as well" unit_has NFileDescriptorStore $((stored + 1))

echo "# stop"
succeeds "latchctl stop" inside latchctl stop d
wait_for 10 "nothing is kept of a service that is stopped" unit_has NFileDescriptorStore "$stored"
succeeds "systemctl stop" inside systemctl stop "$unit"
is "$(unit_property "$unit" Result)" success "its result"

finish
