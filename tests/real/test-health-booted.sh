#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# latchd's own watchdog under a real systemd: WATCHDOG=1 keeps the unit alive, and a latchd that does not get any
# further is replaced, its daemon taken over. What hangs is in the journal.
# heavy: systemd is what is tried here; test-health.sh drives the same code of ours
# shellcheck source=tests/lib/booted-latchd.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/booted-latchd.sh"
boot_latchd

unit=latchd@d.service
configure_service d <<'END'
[Service]
ExecStart=/bin/sleep infinity
END
inside mkdir -p "/run/systemd/system/$unit.d"
inside sh -c "printf '[Service]\nWatchdogSec=3s\nTimeoutAbortSec=2s\n' >/run/systemd/system/$unit.d/watchdog.conf"
inside systemctl daemon-reload
inside systemctl start "$unit" || die "the unit starts"
supervisor=$(unit_property "$unit" MainPID)
daemon=$(field d .mainPid)

note "WATCHDOG=1 is sent"
sleep 8
is "$(unit_property "$unit" MainPID)" "$supervisor" "after more than twice WatchdogSec= it is the same latchd"
is "$(unit_property "$unit" NRestarts)" 0 "the unit was not restarted"

note "a latchd that is stopped"
inside kill -STOP "$supervisor"
# shellcheck disable=SC2317 # called by wait_for
is_replaced() {
    local now
    now=$(unit_property "$unit" MainPID)
    [[ $now != 0 && $now != "$supervisor" && $(field d .state) == running ]]
}
wait_for 60 "it is replaced" is_replaced
is "$(field d .mainPid)" "$daemon" "its daemon goes on, and was taken over"
is "$(unit_property "$unit" NRestarts)" 1 "systemd did that"
inside systemctl stop "$unit"

note "the evidence is in the journal"
inside sh -c 'cat >/run/dead; chmod 755 /run/dead' <<'END'
#!/bin/sh
exec 8>/run/dead.lock
flock 8
exec flock /run/dead.lock true
END
configure_service dead <<'END'
[Service]
ExecStart=/run/dead
WatchdogSec=1s
Restart=on-failure
RestartSec=50s
RestartMaxDelaySec=50s
END
inside systemctl start latchd@dead.service || die "the unit starts"
# shellcheck disable=SC2317 # called by wait_for
is_down() { [[ $(field dead .state) == backoff ]]; }
wait_for 60 "the daemon is found hung and ended" is_down
entry=$(journal "MESSAGE_ID=$(event_id DAEMON_HUNG)" | tail -n 1)
is "$(jq -r .LATCHD_SYMPTOM <<<"$entry")" no-watchdog "LATCHD_SYMPTOM"
is "$(jq -r .LATCHD_PROCESS_STATE <<<"$entry")" S "LATCHD_PROCESS_STATE"
contains "$(jq -r .LATCHD_WCHAN <<<"$entry")" lock "LATCHD_WCHAN says that it waits for a lock"
contains "$(jq -r .LATCHD_STACK <<<"$entry")" flock "LATCHD_STACK has the system call"
isnt "$(jq -r .LATCHD_SYSCALL <<<"$entry")" null "LATCHD_SYSCALL"
contains "$(inside journalctl -x --no-pager "MESSAGE_ID=$(event_id DAEMON_HUNG)")" "LATCHD_STACK" "the catalog explains it"
inside systemctl stop latchd@dead.service

finish
