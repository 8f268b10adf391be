#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The causes of "net_connect_unix(imap) failed: Resource temporarily unavailable", each made for real with Dovecot in
# a network of its own, and what latchctl doctor says of it; and that it says nothing when nothing is wrong.
# heavy: Dovecot is what is tried here; unit tests judge the same facts
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
# shellcheck source=tests/lib/dovecot.sh
. "$srcdir/tests/lib/dovecot.sh"
require_root
require_dovecot
require unshare ip
if [[ -z ${OWN_NETWORK-} ]]; then
    unshare --net true 2>/dev/null || skip "no network namespace can be made here"
    trap - EXIT
    rm -rf "$T"
    OWN_NETWORK=yes exec unshare --net bash "$0"
fi
ip link set lo up

# begin NAME [LINE...]: another Dovecot, under a latchd of its own. Sets D, master.
begin() {
    note "$1"
    D=$T/$1
    make_dovecot "$D" "${@:2}"
    [[ -z ${limit-} ]] || echo "LimitNOFILE=$limit" >>"$D/etc/mail.conf"
    start_latchd "$D" mail
    wait_for 10 "it runs" in_state "$D" running mail
    master=$(main_pid "$D" mail)
}

end() {
    stop_clients
    stop_latchd
}

# Sets findings, doctor_rc.
ask_doctor() {
    doctor_rc=0
    findings=$(ctl "$D" doctor --json mail) || doctor_rc=$?
    report=$(ctl "$D" doctor mail)
    [[ -z ${KEEP_FACTS-} ]] || ctl "$D" doctor --facts mail >"$KEEP_FACTS/${D##*/}.json"
}

first() { jq -r ".[0].findings[0]$1" <<<"$findings"; } # FIELD
causes() { jq -r '[.[0].findings[].cause] | join(" ")' <<<"$findings"; }
one() { jq -r --arg cause "$1" "[.[0].findings[] | select(.cause == \$cause)][0]$2" <<<"$findings"; } # CAUSE FIELD

begin healthy
start_clients "$D" 10
wait_for 10 "ten clients are logged in" clients_fare "$D" in 10
ask_doctor
is "$doctor_rc $(causes)" "0 " "nothing is wrong, and nothing is found"
contains "$report" "nothing found" "in words, too"
is "$(ctl "$D" doctor --facts mail | jq '.[0].dovecotServices[] | select(.name == "imap") | [.processes, .connections]' -c)" \
    "[10,10]" "the processes of a service are counted, and their clients"
end

begin process-limit "service imap {" "  process_limit = 1" "  client_limit = 1" "}"
start_clients "$D" 40
wait_for 10 "of forty one is logged in" clients_fare "$D" in 1
wait_for 20 "Dovecot's log has the well-known message" \
    grep -q 'net_connect_unix(imap) failed: Resource temporarily unavailable' "$D/dovecot.log"
ask_doctor
is "$doctor_rc" 8 "something is found"
is "$(first .cause) $(first .severity) $(first .subject)" "process-limit error service imap { process_limit }" \
    "first of all that the service imap is at its process_limit"
is "$(first .evidence.processes) $(first .evidence.processLimit)" "1 1" "with figures"
contains "$(first .remedy)" "service imap { process_limit = 1024 }" "and the remedy in Dovecot's terms"
is "$(one queue-full .subject)" "$D/base/login/imap" "and whose queue is full"
lacks "$(causes)" "not-accepting" "an imap that is at its limit is not told to be traced"
end

limit=256:2000 begin descriptors
start_clients "$D" 1
wait_for 10 "a client is logged in" clients_fare "$D" in 1
ask_doctor
is "$doctor_rc $(causes)" "8 nofile" "too few descriptors are found, and nothing else"
is "$(first .evidence.soft) $(first .evidence.needed)" "256 1000" "with what the running master has, and what it needs"
matches "$(first .remedy)" "LimitNOFILE=1064, .* in $D/etc/mail.conf" "the remedy has the number"
succeeds "which latchctl can give it at once" ctl "$D" limits --all mail NOFILE=1064
ask_doctor
is "$doctor_rc $(causes)" "0 " "then nothing is found any more"
echo "nonsense = yes" >>"$D/dovecot.conf"
ask_doctor
contains "$report" "Not looked at: what its configuration tells: the configuration of service mail has mistakes" \
    "a mistake in Dovecot's configuration does not pass for health"
end

limit=auto begin counted "default_client_limit = 3000" "service auth {" "  client_limit = 5000" "}"
is "$(grep -c 'fd limit (ulimit -n) is lower' "$D/dovecot.log")" 0 "with LimitNOFILE=auto Dovecot has nothing to complain of"
# shellcheck disable=SC2016
soft=$(awk '/^Max open files/ { print $4 }' "/proc/$master/limits")
succeeds "as it has what it needs" test "$soft" -ge 5000
end

begin stopped-master
start_clients "$D" 1
wait_for 10 "a client is logged in" clients_fare "$D" in 1
stop_clients
kill -STOP "$master"
start_clients "$D" 20
wait_for 10 "twenty more wait" clients_fare "$D" connected 20
ask_doctor
is "$doctor_rc $(first .cause) $(first .subject)" "8 stopped PID $master (dovecot)" "the master is named"
contains "$(first .remedy)" "kill -CONT $master" "and what to do"
kill -CONT "$master"
end

sysctl -qw net.core.somaxconn=3
begin small-backlog "service imap-login {" "  service_count = 0" "  process_limit = 1" "  client_limit = 1000" "}"
start_clients "$D" 1
wait_for 10 "a client is logged in" clients_fare "$D" in 1
stop_clients
login=$(dovecot_children "$master" imap-login)
kill -STOP "$login"
start_clients "$D" 20
wait_for 10 "some wait" clients_fare "$D" connected 4
ask_doctor
is "$doctor_rc $(first .cause) $(first .subject)" "8 queue-full 127.0.0.1:$imap_port" "the queue is named"
is "$(first .evidence.backlog)" 3 "with its length"
contains "$(first .remedy)" "sysctl net.core.somaxconn=1000" "and what Dovecot asked for"
contains "$(causes)" stopped "and that a process does not empty it"
kill -CONT "$login"
end
finish
