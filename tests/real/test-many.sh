#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# One latchd with more services than its limit of open files has room for: it raises that for itself and for nobody
# else, or says by its arithmetic why it cannot. All daemons killed at once come back. And what a mistake in a
# configuration does not hide.
# shellcheck disable=SC2317 # functions that wait_for calls
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require latchd latchctl jq setpriv
log=$T/latchd.log
options=(--config-dir "$T/etc" --runtime-dir "$T/run")
mkdir -p "$T/etc"
names=()
for ((i = 0; i < 300; i++)); do
    printf '[Service]\nExecStart=/bin/sleep 100000\nStandardOutput=null\nRestartSec=10ms\n' >"$T/etc/s$i.conf"
    names+=("s$i")
done
ready() { (($(grep -c 'Ready: PID' "$log") == $1)); } # HOW-MANY
files_of() { awk '/^Max open files/ { print $4, $5 }' "/proc/$1/limits"; } # PID
main_of() { latchctl --json "${options[@]}" status "$1" | jq '.[0].mainPid'; }

begin() { # SERVICE...
    (
        ulimit -Sn 256
        exec latchd run "${options[@]}" --log-target stderr "$@" >"$log" 2>&1 </dev/null
    ) &
    latchd_pid=$!
}

begin "${names[@]}"
wait_for 60 "300 services are up under a soft limit of 256 open files" ready 300
read -r soft hard < <(files_of "$latchd_pid")
((soft >= 300 * 6)) && own=raised || own="$soft"
is "$own" raised "latchd raised its own"
read -r soft hard_of_daemon < <(files_of "$(main_of s7)")
is "$soft" 256 "the daemons' is what it was"
is "$hard_of_daemon" "$hard" "the hard one too"

echo "# all at once"
mapfile -t mains < <(grep -o 'as PID [0-9]*' "$log" | grep -o '[0-9]*')
kill -KILL "${mains[@]}"
wait_for 60 "300 daemons killed at once are up again" ready 600
is "$(latchctl --json "${options[@]}" list | jq '[.[] | select(.state == "running")] | length')" 300 "every one of them"
is "$(latchctl --json "${options[@]}" list | jq '[.[] | select(.restarts == 1)] | length')" 300 "and once each"
kill -TERM "$latchd_pid"
wait "$latchd_pid"
is "$?" 0 "SIGTERM stops them all"

echo "# no room"
out=$(ulimit -n 256 && setpriv --bounding-set -sys_resource latchd run "${options[@]}" --log-target stderr "${names[@]}" 2>&1)
is "$?" 1 "a hard limit of 256 is too little"
contains "$out" "cannot serve 300 services: that takes 300 x 6 + 48 = 1848 open files at least, and latchd may have 256" \
    "which is told with the arithmetic"
out=$(latchd run "${options[@]}" s1 s2 s1 2>&1)
is "$?" 64 "a service that is named twice: 64"
contains "$out" "s1" "it is named"
out=$(latchd check --config-dir "$T/etc" "${names[@]}" 2>&1)
is "$?/$(grep -c 'is good' <<<"$out")" 0/300 "latchd check of all"

echo "# what a mistake does not hide"
begin s1
wait_for 30 "a service" ready 1
main=$(main_of s1)
kill -KILL "$latchd_pid"
wait "$latchd_pid" 2>/dev/null
matches "$(latchctl "${options[@]}" list 2>&1)" "s1 +unsupervised +$main " "list says that the daemon lives, unsupervised"
contains "$(latchctl "${options[@]}" status s1 2>&1)" "State: unsupervised" "status as well"
for verb in stop restart start; do
    out=$(latchctl "${options[@]}" "$verb" s1 2>&1)
    is "$?" 1 "$verb of a daemon without supervisor fails"
    contains "$out" "lives as PID $main; latchd run ${options[*]} s1 takes it over" "and names it, and the remedy"
done
echo 'Mistake=yes' >>"$T/etc/s1.conf"
echo 'Mistake=yes' >>"$T/etc/s2.conf"
out=$(latchctl "${options[@]}" list 2>&1)
matches "$out" "s2 +misconfigured " "list calls a service misconfigured"
contains "$out" "the configuration of service s2 has mistakes: latchd check ${options[*]} s2" "list has a line for a broken configuration"
is "$(grep -c "\.conf:" <<<"$out")" 0 "and does not recite it"
out=$(latchctl "${options[@]}" status s1 2>&1)
is "$?" 3 "no supervisor, and a mistake in the configuration: status 3"
contains "$out" "Mistake" "the mistake is told"
contains "$out" "lives as PID $main; its configuration has mistakes: when that is mended, latchd run ${options[*]} s1 takes it over" \
    "and so is the daemon that lives"
contains "$(latchctl --json "${options[@]}" list 2>/dev/null | jq -r '.[] | select(.service == "s1").statusText')" \
    "PID $main" "list does so, too"
rm "$T/etc/s1.conf"
contains "$(latchctl "${options[@]}" status s1 2>&1)" "lives as PID $main; it has no configuration file" \
    "without a configuration as well"
kill -KILL "$main"
wait_for 10 "when it is gone" gone "$main"
exits 4 "there is no such service" latchctl "${options[@]}" status s1
finish
