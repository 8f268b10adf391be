#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The story that latchd exists for: Kea is killed while its kea-lfc runs. Kea itself does not come up again, the usual
# tools name a dead process, latchctl names the right one, and latchd brings Kea up at once.
# heavy: Kea is what is tried here; test-kea-exec.sh and test-kea-pidfile.sh drive the same code of ours
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require jq lslocks flock
require_kea

D=$T/kea
L=$D/kea.sock.lock
make_kea "$D"

note "a plain Kea, killed while kea-lfc runs"
start_plain_kea "$D"
wait_for 30 "the plain Kea answers" kea_answers "$D" "$kea_pid"
first=$kea_pid
is "$(leases_in_kea "$D")" "$KEA_LEASES" "it has loaded all leases"
wait_for 20 "kea-lfc runs and has inherited the lock" lfc_pid_of "$D"
kill -KILL "$first"
wait_until 5 gone "$first"
lfc=$(lfc_pid_of "$D") || die "kea-lfc did not outlive Kea"
# It stands still meanwhile, so that there is time to look; to whoever asks it is a living holder all the same.
kill -STOP "$lfc"
ok "Kea is dead, kea-lfc (PID $lfc) goes on"

inode=$(stat -c %i "$L")
is "$(lslocks --noheadings --raw --output PID,INODE | awk -v inode="$inode" '$2 == inode { print $1 }')" "$first" \
    "lslocks names the dead process"
is "$(holders_of "$L" | tr '\n' ' ')" "$lfc " "in truth kea-lfc alone holds the lock"
fails "the lock is taken" lock_is_free "$L"

start_plain_kea "$D"
wait_for 30 "a new plain Kea gives up" gone "$kea_pid"
matches "$(<"$D/plain.log")" 'cannot lock socket lockfile|lease file cleanup is in progress' \
    "with the well-known message"

note "latchctl probe"
rc=0
report=$(latchctl probe --json "$L") || rc=$?
is "$rc" 4 "its exit code says orphaned"
is "$(jq -r '.[0].verdict' <<<"$report")" orphaned "so does its verdict"
is "$(jq -r '[.[0].holders[].pid] | @json' <<<"$report")" "[$lfc]" "it names kea-lfc as the only holder"
is "$(jq -r '.[0].holders[0] | "\(.exe) \(.comm) \(.uid) \(.via) \(.role)"' <<<"$report")" \
    "$KEA_LFC kea-lfc 0 fd leftover" "and what it is"
is "$(jq -r '.[0].holders[0].fd' <<<"$report")" "$(fd_of "$lfc" "$L")" "and by which descriptor"
is "$(jq -r '.[0] | "\(.recordedPid) \(.recordedAlive)"' <<<"$report")" "$first false" "it knows the dead pid"
is "$(jq -r '.[0].families.flock' <<<"$report")" held "the flock is held"
is "$(jq -r '.[0] | [has("path","kind","verdict","reason","complete","families","recordedPid","recordedAlive",
    "holders","queue","backlog","advice")] | all' <<<"$report")" true "the report has every promised field"
is "$(jq -r '.[0].holders[0] | [has("pid","tid","startUSec","comm","exe","cmdline","uid","unit","cgroup","via","fd",
    "role")] | all' <<<"$report")" true "and so has its holder"
rc=0
text=$(latchctl probe "$L") || rc=$?
is "$rc" 4 "the text has the same exit code"
contains "$text" "$lfc" "the text names kea-lfc's PID"
contains "$text" "$first" "the text names the dead PID"
rc=0
latchctl probe "$D/kea.sock" >"$T/socket" || rc=$?
contains "$(<"$T/socket")" "$lfc" "a probe of the socket names kea-lfc, which has its listener"
is "$rc" 4 "and calls it orphaned"
rc=0
ctl "$D" status kea >"$T/before" || rc=$?
is "$rc" 3 "status before latchd runs: not running"

note "latchd"
began=$(now_ms)
kill -CONT "$lfc"
start_latchd "$D"
wait_for 40 "the service is running" in_state "$D" running
main=$(main_pid "$D")
note "up $(($(now_ms) - began)) ms after latchd's start, with $KEA_LEASES leases"
succeeds "Kea answers, and it is latchd's" kea_answers "$D" "$main"
is "$(leases_in_kea "$D")" "$KEA_LEASES" "no lease is lost"
succeeds "the old kea-lfc has ended" wait_until 5 gone "$lfc"
succeeds "Kea holds its lock itself" holds "$main" "$L"
is "$(keas_of "$D")" "$main" "one Kea runs"
contains "$(<"$D/latchd.log")" "$lfc" "latchd's log names the leftover"

note "latchctl, as programs read it"
status=$(ctl "$D" status --json kea)
is "$?" 0 "status: running"
is "$(jq -r '.[0] | [has("service","description","state","ready","statusText","supervisorPid","mainPid","generation",
    "invocationId","unit","sinceUSec","restarts","lastExit","lastRecovery","sockets","locks","limits","processes",
    "memoryBytes","cpuUSec")] | all' <<<"$status")" true "status has every promised field"
is "$(jq -r '.[0] | "\(.service) \(.state) \(.ready) \(.supervisorPid) \(.mainPid) \(.restarts)"' <<<"$status")" \
    "kea running true $latchd_pid $main 0" "and tells the truth"
is "$(jq -r --argjson pid "$lfc" '.[0].lastRecovery | (.atUSec > 0) and ([.actions[].pid] | index([$pid]) != null)' \
    <<<"$status")" true "lastRecovery names the leftover"
is "$(jq -r '.[0].sockets[0] | [has("name","listen","owner","verdict","reason","queue","backlog","answerUSec")] | all' \
    <<<"$status")" true "its socket has every promised field"
is "$(jq -r --arg path "$L" '.[0].locks[] | select(.path == $path) | "\(.verdict) \(.holders[0].pid) \(.holders[0].role)"' \
    <<<"$status")" "held $main main" "its lock is held by the main process"
is "$(jq -r '.[0].limits.NOFILE | [has("configured","soft","hard","used")] | all' <<<"$status")" true \
    "limits have every promised field"
is "$(jq -r '.[0].limits.NOFILE | "\(.soft)"' <<<"$status")" \
    "$(awk '/^Max open files/ { print $4 }' "/proc/$main/limits")" "and are those of the process"
is "$(ctl "$D" list --json | jq -r 'map("\(.service) \(.state) \(.mainPid)") | join(",")')" "kea running $main" \
    "list names the service once"
is "$(ctl "$D" locks --json kea | jq -r --arg path "$L" \
    '.[] | select(.path == $path) | "\(.service) \(.verdict) \(.recordedPid)"')" "kea held $main" "locks too"
text=$(ctl "$D" status kea)
contains "$text" "Main PID: $main" "status in words names the main process"
contains "$text" "kea-lfc" "and what was recovered from"

stop_latchd
is "$latchd_rc" 0 "latchd ends with 0 on SIGTERM"
is "$(count_keas "$D")" 0 "and Kea with it"
succeeds "Kea was stopped in order: it removed its PID file" no_file "$D/pid/kea.kea-dhcp4.pid"
rc=0
ctl "$D" status kea >"$T/after" || rc=$?
is "$rc" 3 "status afterwards: not running"
finish
