#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Mistakes in latchd's configuration, in Kea's, and on the command line: each is told with its file and line before
# anything is started, and the exit codes are those that were promised.
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require_kea

D=$T/kea
make_kea "$D" 10
cp "$D/etc/kea.conf" "$T/service.good"
cp "$D/kea.conf" "$T/kea.good"

run_latchd() { # EXPECTED-CODE WHAT ARGUMENT...: leaves the output in $out
    local expected=$1 what=$2 rc=0
    shift 2
    out=$(timeout 20 latchd "$@" 2>&1 </dev/null) || rc=$?
    is "$rc" "$expected" "$what: exit code $expected"
}

mapfile -t options < <(latchd_options "$D")
run_latchd 0 "a good configuration" check "${options[@]}" kea
contains "$out" "kea" "check says that it is good"

# mistake LINE TEXT PATTERN: the service file with TEXT as its line LINE
service_mistake() {
    awk -v line="$1" -v text="$2" 'NR == line { print text } { print }' "$T/service.good" >"$D/etc/kea.conf"
    run_latchd 78 "check: $2" check "${options[@]}" kea
    matches "$out" "^$D/etc/kea.conf:$1: .*$3" "it names file, line and what is wrong"
}
service_mistake 2 'Restrat=always' 'Restart'
service_mistake 3 'LimitNOFILE=many' 'many'
service_mistake 3 'TimeoutStartSec=soon' 'soon'
service_mistake 4 'User=nosuchuser' 'nosuchuser'
service_mistake 4 'WorkingDirectory=var/tmp' 'absolute'
service_mistake 5 'OrphanPolicy=murder' 'murder'
service_mistake 5 'just some words' '='
service_mistake 1 'Kind=kea' 'SECTION'
service_mistake 5 'EnvironmentFile=/no/such/file' '/no/such/file'
service_mistake 6 'AmbientCapabilities=CAP_NET_ROW' 'CAP_NET_ROW'
for verb in run exec; do
    run_latchd 78 "latchd $verb with a mistake" "$verb" "${options[@]}" kea
    matches "$out" "^$D/etc/kea.conf:6: " "it says the same"
done
printf '%s\n' '[Service]' 'Restrat=always' 'Kindd=kea' 'Nice=99' '[Sevrice]' >"$D/etc/kea.conf"
run_latchd 78 "several mistakes" check "${options[@]}" kea
for line in 2 3 4 5; do matches "$out" "kea.conf:$line: " "the one in line $line is told"; done
cp "$T/service.good" "$D/etc/kea.conf"

kea_mistake() { # LINE SED-SCRIPT PATTERN WHAT
    sed "$2" "$T/kea.good" >"$D/kea.conf"
    if timeout 20 env KEA_PIDFILE_DIR="$D/pid" KEA_LOCKFILE_DIR="$D/lock" "$KEA" -t "$D/kea.conf" >"$T/kea-says" 2>&1; then
        fail "$4: Kea itself refuses it" "$(<"$T/kea-says")"
    fi
    run_latchd 78 "check: $4" check "${options[@]}" kea
    matches "$out" "^$D/kea.conf:$1(:|\.).*$3" "it names Kea's file, the line and what is wrong"
}
kea_mistake 3 '2s/,$//' '' "a missing comma"
kea_mistake 3 '3s/"unix"/unix/' '' "a word without quotes"
kea_mistake 2 '2s/^/\/* /' 'comment' "a comment that never ends"
kea_mistake 3 "3s|\"$D/kea.sock\"|42|" 'socket-name' "a number as the socket's name"
cp "$T/kea.good" "$D/kea.conf"
mv "$D/kea.conf" "$D/away.conf"
run_latchd 78 "Kea's configuration is missing" check "${options[@]}" kea
contains "$out" "$D/kea.conf" "it names the file"
mv "$D/away.conf" "$D/kea.conf"

note "usage"
run_latchd 64 "no verb"
run_latchd 64 "an unknown verb" rnu kea
run_latchd 64 "an unknown option" run --no-such-option kea
for verb in run exec; do
    run_latchd 64 "$verb: a limit that there is not" "$verb" --limit FOO=1 -- true
    lacks "$out" CORE= "nothing far-fetched is offered"
    run_latchd 64 "$verb: a bad limit" "$verb" --limit NOFILE=many -- true
    run_latchd 64 "$verb: a bad key" "$verb" --set Nise=1 -- true
    run_latchd 64 "$verb: a bad style" "$verb" --lock /run/x:flok -- true
    run_latchd 64 "$verb: a bad type" "$verb" --type often -- true
    run_latchd 64 "$verb: nothing behind --" "$verb" --
    contains "$out" "no COMMAND behind --" "and it says so"
    run_latchd 78 "$verb: a user that there is not" "$verb" --user nosuchuser -- true
done
run_latchd 64 "no service" run
run_latchd 64 "exec with two services" exec kea kea2
run_latchd 64 "a service twice" run "${options[@]}" kea kea
run_latchd 64 "a bad log level" run --log-level loud kea
run_latchd 0 "help" --help
contains "$out" "Usage:" "it is shown"
run_latchd 78 "a service that is not configured" run "${options[@]}" nosuch
contains "$out" "nosuch" "it is named"
run_ctl() { # EXPECTED-CODE WHAT ARGUMENT...
    local expected=$1 what=$2 rc=0
    shift 2
    out=$(ctl "$D" "$@" 2>&1 </dev/null) || rc=$?
    is "$rc" "$expected" "latchctl: $what: exit code $expected"
}
run_ctl 64 "no verb"
run_ctl 64 "an unknown verb" stats
contains "$out" "stat" "it is named, or the nearest one is"
run_ctl 64 "an unknown option" status --no-such-option
run_ctl 64 "start without a service" start
run_ctl 64 "probe without a path" probe
run_ctl 4 "status of what is not configured" status nosuch
run_ctl 3 "status of what does not run" status kea
run_ctl 1 "stop of what nobody supervises" stop kea
contains "$out" "no supervisor" "it says so"
run_ctl 1 "start of what nobody supervises" start kea
contains "$out" "latchd run" "it says what to type"
run_ctl 0 "probe of what is not there" probe "$D/no-such.lock"

note "a configuration that is broken while Kea runs"
start_latchd "$D"
wait_for 15 "Kea is up" in_state "$D" running
pid=$(main_pid "$D")
echo 'Restrat=always' >>"$D/etc/kea.conf"
sed '2s/,$//' "$T/kea.good" >"$D/kea.conf"
run_ctl 0 "status all the same" status kea
contains "$out" "$pid" "it names the running Kea"
kill -KILL "$pid"
wait_until 10 runs_anew "$D" "$pid"
run_ctl 0 "list all the same" list
cp "$T/kea.good" "$D/kea.conf"
wait_for 20 "once Kea's configuration is mended, Kea comes up by itself" runs_anew "$D" "$pid"
stop_latchd
is "$(count_keas "$D")" 0 "no Kea is left"
finish
