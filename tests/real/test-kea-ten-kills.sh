#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Kea under latchd is killed ten times while its kea-lfc runs. Each time it is up again and answers, never two at once;
# in the end every lease is there, those that were added in between too, and latchd has not grown.
# heavy: times and memory, and a sanitizer changes both
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require jq
require_kea

D=$T/kea
L=$D/kea.sock.lock
leases=100000
kills=10
make_kea "$D" "$leases" RestartMaxDelaySec=200ms
watch_keas "$D"
start_latchd "$D"
wait_for 30 "Kea is up" in_state "$D" running

footprint() { # resident KiB without the program file's own pages, and descriptors
    printf '%s %s\n' "$(awk '/^RssAnon/ { print $2 }' "/proc/$latchd_pid/status")" \
        "$(find "/proc/$latchd_pid/fd" -mindepth 1 | wc -l)"
}

add_lease() { # NUMBER: in a part of the subnet where the lease file has none
    ask_kea "$D" lease4-add "{ \"ip-address\": \"10.200.0.$1\", \"hw-address\": \"06:00:00:00:00:$(printf %02x "$1")\" }"
}

worst=0
for ((i = 1; i <= kills; i++)); do
    if [[ -n $kea_hooks ]]; then
        answer=$(add_lease "$i")
        contains "$answer" '"result": 0' "kill $i: a lease is added"
    fi
    wait_until 20 lfc_pid_of "$D" || die "kill $i: kea-lfc never ran"
    victim=$(main_pid "$D")
    lfc=$(lfc_pid_of "$D")
    kill -KILL "$victim"
    began=$(now_ms)
    wait_until 30 runs_anew "$D" "$victim" ||
        die "kill $i: Kea came up again"
    took=$(($(now_ms) - began))
    ((took > worst)) && worst=$took
    main=$(main_pid "$D")
    succeeds "kill $i: PID $victim, beside kea-lfc $lfc: up after $took ms" kea_answers "$D" "$main"
    holds "$main" "$L" || fail "kill $i: the new Kea has its lock" "$(holders_of "$L")"
    # After the first of them all that is ever allocated once has been.
    ((i == 2)) && first=$(footprint)
done
last=$(footprint)
note "the longest took $worst ms; latchd: $first at first, $last at last (KiB, descriptors)"

is "$(status_of "$D" .restarts)" "$kills" "restarts are counted right"
is "$(status_of "$D" .generation)" $((kills + 1)) "so are generations"
is "$(status_of "$D" '.lastExit | "\(.code) \(.signal)"')" "killed 9" "the last exit is told"
is "${last#* }" "${first#* }" "latchd has as many descriptors as before"
# A sanitizer keeps freed memory in quarantine on purpose.
if is_sanitized; then
    note "memory is not compared: latchd is built with the address sanitizer"
else
    # What it remembers of all processes grows with how many there are on the machine.
    at_most "${last% *}" $((${first% *} + 640)) "latchd's memory does not grow, in KiB"
fi
is "$(cat "/proc/$latchd_pid/task/$latchd_pid/children")" "$(status_of "$D" .mainPid) " \
    "its only child is Kea: no zombie is left to it" || ps -o pid,ppid,stat,cmd --ppid "$latchd_pid"

expected=$leases
[[ -n $kea_hooks ]] && expected=$((leases + kills))
is "$(leases_in_kea "$D")" "$expected" "Kea has every lease"
stop_latchd
is "$latchd_rc" 0 "latchd ends with 0"
is "$(keas_at_once "$D")" 1 "never two Keas at once"
succeeds "kea-lfc has ended too" wait_until 20 lock_is_free "$L"

# Whatever files Kea and kea-lfc left: together they have every address.
addresses() { awk -F, 'FNR > 1 { print $1 }' "$@" | sort -u; }
addresses "$(lease_file "$leases")" >"$T/before"
for ((i = 1; i <= kills && expected > leases; i++)); do echo "10.200.0.$i"; done >>"$T/before"
sort -u -o "$T/before" "$T/before"
addresses "$D"/leases.csv* >"$T/after"
is "$(comm -23 "$T/before" "$T/after" | wc -l)" 0 "no address is missing from the lease files"
is "$(comm -13 "$T/before" "$T/after" | wc -l)" 0 "nor is one there that was never leased"

note "once more with the default grace time"
sed -i '/^OrphanGraceSec=/d' "$D/etc/kea.conf"
start_latchd "$D"
wait_for 30 "Kea is up" in_state "$D" running
wait_for 20 "kea-lfc runs" lfc_pid_of "$D"
victim=$(main_pid "$D")
kill -KILL "$victim"
wait_for 30 "Kea is up again" runs_anew "$D" "$victim"
is "$(leases_in_kea "$D")" "$expected" "Kea has every lease"
stop_latchd
finish
