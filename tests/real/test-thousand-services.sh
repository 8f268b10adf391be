#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# One latchd, a thousand services, and their daemons killed at random. Every death is answered by exactly one restart,
# nobody else is touched, no descriptor and no memory is lost, questions are answered all the time, and two services
# that are in trouble (one does not stop, one's lock is held by a stranger) keep nobody waiting.
#
# LATCHD_TEST_SECONDS=60 goes on for longer, LATCHD_TEST_SERVICES sets how many.
# heavy: numbers, and forks of a process that a sanitizer makes large
# shellcheck disable=SC2317 # called by their names
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require latchd latchctl jq flock
seconds=${LATCHD_TEST_SECONDS:-10}
services=${LATCHD_TEST_SERVICES:-1000}
STORM=$(tool storm)
D=$T/d
mkdir -p "$D/etc" "$D/run" "$D/pid" "$D/bin"
DAEMON=$D/bin/small-daemon
cp "$(tool small-daemon)" "$DAEMON"
ulimit -n "$(ulimit -Hn)"
# The one that does not stop is waited for 300 s: whoever had to wait for it would be far beyond these.
sanitized='' patience=20
! is_sanitized || sanitized=yes patience=60

names=() files=()
for ((i = 0; i < services; i++)); do
    printf -v name 's%04d' "$i"
    printf '%s\n' "[Service]" "ExecStart=$DAEMON $D/pid/$name" StandardOutput=null StandardError=null Restart=always \
        RestartSec=10ms RestartResetSec=0 >"$D/etc/$name.conf"
    names+=("$name")
    files+=("$D/pid/$name")
done
printf '%s\n' "[Service]" "ExecStart=$DAEMON $D/pid/stuck ignore" StandardOutput=null Restart=always \
    TimeoutStopSec=300s >"$D/etc/stuck.conf"
printf '%s\n' "[Service]" "ExecStart=$DAEMON $D/pid/blocked" StandardOutput=null Restart=always "[Lock held]" \
    "LockFile=$D/held.lock" LockStyle=flock >"$D/etc/blocked.conf"
flock --no-fork "$D/held.lock" sleep 1000 &
stranger=$!
"$DAEMON" "$D/pid/innocent" &
innocent=$!
disown -a
wait_until 10 eval "! lock_is_free '$D/held.lock'" || die "nobody holds held.lock"

latchd run --config-dir "$D/etc" --runtime-dir "$D/run" --log-target stderr --log-level warning "${names[@]}" stuck \
    blocked >"$T/latchd.log" 2>&1 </dev/null &
latchd_pid=$!
began=$(now_ms)
states() { ctl "$D" list --json | jq -r '.[].state' | sort | uniq -c | tr -s ' \n' ' '; }
as_they_should() { [[ $(states) == " 1 blocked $((services + 1)) running " ]]; }
wait_for 150 "$services services run, and one that does not stop; one is blocked" as_they_should
note "up within $(($(now_ms) - began)) ms"

descriptors() { find "/proc/$latchd_pid/fd" -mindepth 1 | wc -l; }
memory_kib() { awk '$1 == "RssAnon:" { print $2 }' "/proc/$latchd_pid/status"; }
cpu_ms() { awk '{ sub(/.*\) /, ""); print ($12 + $13) * 1000 / '"$(getconf CLK_TCK)"' }' "/proc/$latchd_pid/stat"; }
restarts() { ctl "$D" status --json "${names[@]}" | jq -r '.[] | "\(.service) \(.restarts)"'; }

# Everybody once, so that what is allocated at first is there.
succeeds "each daemon is killed once, and comes back" env ASAN_OPTIONS=detect_leaks=0 "$STORM" --each --rate 1000 --report "$T/each" "$DAEMON" "${files[@]}"
wait_for 120 "and all run again" as_they_should
# One stop that takes its time, all the while.
latchctl --config-dir "$D/etc" --runtime-dir "$D/run" stop --timeout 600 stuck >/dev/null 2>&1 & # to the end
disown
wait_until 20 in_state "$D" stopping stuck || die "stuck is not being stopped"
descriptors_before=$(descriptors)
memory_before=$(memory_kib)

env ASAN_OPTIONS=detect_leaks=0 "$STORM" --seconds "$seconds" --rate 100 --report "$T/report" "$DAEMON" "${files[@]}" >"$T/storm.log" 2>&1 &
storm_pid=$! storm_began=$SECONDS
asked=0 slowest=0 slowest_list=0
cpu_before=$(cpu_ms)
while alive "$storm_pid"; do
    ((SECONDS - storm_began < seconds + 300)) || die "the storm does not end"
    for question in "status --json s0000" "status blocked" "list"; do
        before=$(now_ms)
        rc=0
        # shellcheck disable=SC2086 # words
        ctl "$D" $question >"$T/answer" 2>&1 || rc=$?
        took=$(($(now_ms) - before))
        case $question in
        list) ((took <= slowest_list)) || slowest_list=$took ;; # that is a question to each service
        *) ((took <= slowest)) || slowest=$took ;;
        esac
        # Twenty times as slow, it may miss the 5 s that latchctl waits.
        [[ -z $sanitized || $(<"$T/answer") != *"no answer within 5s"* ]] || rc=0
        ((rc == 0 || rc == 3)) || fail "latchctl $question in the storm" "exit status $rc" "$(head -n 3 "$T/answer")"
        asked=$((asked + 1))
    done
    sleep 0.2
done
rc=0
wait "$storm_pid" || rc=$?
is "$rc" 0 "every daemon that was killed had a successor" || cat "$T/storm.log"
read -r _ kills median most < <(tail -n 1 "$T/report")
note "$kills kills in $seconds s; from a kill to the successor's main: median $median us, most $most us"
((kills > seconds * 5)) || fail "a storm worth its name" "$kills kills"
at_most "$most" $((patience * 1000000)) "nobody waited for those in trouble: the slowest restart, in us"
at_most "$slowest" $((patience * 1000)) "$asked questions meanwhile, the slowest answer in ms"
at_most "$slowest_list" 40000 "the slowest list of all services, in ms"
note "latchd took $((($(cpu_ms) - cpu_before) * 1000 / kills)) us of processor time a kill, answers included"

is "$(states)" " 1 blocked $services running 1 stopping " "all run, but the two in trouble"
is "$(restarts | sort)" \
    "$(sed '$d' "$T/report" | while read -r file count; do echo "${file##*/} $((count + 1))"; done | sort)" \
    "for each service: as many restarts as kills"
is "$(descriptors)" "$descriptors_before" "no descriptor was lost"
if [[ -z $sanitized ]]; then # which keeps freed memory, and tells of what was lost at the end
    at_most "$(($(memory_kib) - memory_before))" 256 "no memory was lost: more KiB than before"
fi
note "$(memory_kib) KiB for $((services + 2)) services"

# Its descendants are the daemons that NAME.state knows, each once; the innocents live.
is "$(tr ' ' '\n' <"/proc/$latchd_pid/task/$latchd_pid/children" | sed '/^$/d' | sort)" \
    "$(ctl "$D" list --json | jq -r '.[].mainPid // empty' | sort)" "its children are the daemons it knows"
alive "$innocent" && alive "$stranger" && ok "nobody else was touched"

mapfile -t mains < <(ctl "$D" list --json | jq -r '.[].mainPid // empty')
kill -KILL "$(main_pid "$D" stuck)"
began=$(now_ms)
kill -TERM "$latchd_pid"
await() { gone "$latchd_pid"; }
wait_for 60 "asked to end, it ends" await
rc=0
wait "$latchd_pid" || rc=$?
is "$rc" 0 "in good order" || tail -n 40 "$T/latchd.log"
note "$services stopped within $(($(now_ms) - began)) ms"
left=0
for pid in "${mains[@]}"; do gone "$pid" || left=$((left + 1)); done
is "$left" 0 "no daemon is left"
is "$(pgrep -fc "^$DAEMON ")" 1 "but the one that is not latchd's"
alive "$innocent" && alive "$stranger" && ok "which was not touched, nor was the stranger"
finish
