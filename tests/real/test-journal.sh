#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What latchd and its daemons leave in a real journal, and how it is read back.
# heavy: journald and Kea are what is tried here; the other tests drive the same code of ours
# shellcheck source=tests/lib/booted-latchd.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/booted-latchd.sh"
require_kea
boot_latchd

k=$T/kea
unit=latchd@kea.service
make_kea "$k" "$KEA_LEASES"
configure_kea kea "$k"

entry() { journal LATCHD_SERVICE=kea MESSAGE_ID="$(event_id "$1")" | tail -n 1; } # EVENT
logs() { inside latchctl logs "$@"; }

echo "# the story: Kea is killed while kea-lfc runs"
inside systemctl start "$unit" || die "systemctl start" "$(journal | jq -r .MESSAGE)"
main=$(field kea .mainPid)
# shellcheck disable=SC2016
lfc=$(inside sh -c 'until pgrep -x kea-lfc; do sleep 0.01; done; kill -KILL "$1"' sh "$main")
# shellcheck disable=SC2317
came_back() { [[ $(field kea .generation) == 2 && $(field kea .state) == running ]]; }
wait_for 40 "it comes back" came_back

echo "# entries for programs"
orphaned=$(entry LOCK_ORPHANED)
is "$(jq -r .LATCHD_GENERATION <<<"$orphaned")" 1 "the orphaned lock's entry: generation"
is "$(jq -r .LATCHD_LOCK <<<"$orphaned")" "$k/kea.sock.lock" "... the lock"
is "$(jq -r .LATCHD_VERDICT <<<"$orphaned")" orphaned "... the verdict"
is "$(jq -r .LATCHD_RECORDED_PID <<<"$orphaned")" "$main" "... the pid that the lock names, which is dead"
is "$(jq -r .LATCHD_HOLDER_PID <<<"$orphaned")" "$lfc" "... the pid that holds it"
is "$(jq -r .LATCHD_HOLDER_COMM <<<"$orphaned")" kea-lfc "... and its name"
is "$(jq -r .PRIORITY <<<"$orphaned")" 4 "... priority: warning"
is "$(jq -r .SYSLOG_IDENTIFIER <<<"$orphaned")" latchd "... identifier"
is "$(jq -r ._SYSTEMD_UNIT <<<"$orphaned")" "$unit" "... journald's own: the unit"
matches "$(jq -r .LATCHD_INVOCATION_ID <<<"$orphaned")" '^[0-9a-f]{32}$' "... the generation's invocation id"
is "$(entry SERVICE_READY | jq -r .LATCHD_GENERATION)" 2 "the last ready entry is of generation 2"
is "$(entry SERVICE_EXITED | jq -r '"\(.LATCHD_EXIT_CODE) \(.LATCHD_EXIT_STATUS)"')" "killed 9" "the exit's entry says how"
is "$(entry STALE_CLEARED | jq -r .LATCHD_VERDICT)" stale "the entry of a removed file: verdict"
# Each entry has what the list of events promises, and nothing else.
declare -A promised
while IFS='|' read -r name fields; do promised[$name]=$fields; done < <(
    tr '\n' ' ' <"$srcdir/src/journal/event-ids.def" | grep -o 'EVENT([A-Z_]*, "[^)]*)' |
        sed 's/EVENT(\([A-Z_]*\), .*, *"\([^"]*\)")/\1|\2/')
surplus=$(journal SYSLOG_IDENTIFIER=latchd | jq -r 'select(.LATCHD_EVENT) | .LATCHD_EVENT as $e | keys[] | "\($e) \(.)"' |
    sort -u | while read -r event field; do
    case $field in
    _* | MESSAGE | MESSAGE_ID | PRIORITY | SYSLOG_IDENTIFIER | SYSLOG_FACILITY | LATCHD_EVENT | LATCHD_SERVICE | LATCHD_GENERATION | LATCHD_INVOCATION_ID) ;;
    *) [[ " ${promised[$event]} " == *" $field "* ]] || echo "$event has $field" ;;
    esac
done)
is "$surplus" "" "no entry carries a field that event-ids.def does not list"

echo "# explanations for people"
text=$(inside journalctl --quiet --no-pager -x SYSLOG_IDENTIFIER=latchd)
contains "$text" "Subject: A lock of kea is kept alive by a leftover process" "journalctl -x explains the orphaned lock"
contains "$text" "$k/kea.sock.lock" "in terms of its path"
# journalctl leaves the name of a field that the entry does not have.
holes=$(grep -e '^-- .*\(LATCHD_[A-Z]\|ERRNO\)' <<<"$text" | sort -u)
is "$holes" "" "no explanation has a hole"

echo "# Kea's own output"
contains "$(journal SYSLOG_IDENTIFIER=kea _PID="$main" | jq -r .MESSAGE)" DHCP4_STARTED "is there under the service's name"
is "$(journal SYSLOG_IDENTIFIER=kea _PID="$main" | jq -r ._TRANSPORT | sort -u)" stdout "as its standard output"

echo "# latchctl logs"
all=$(logs -o cat kea)
contains "$all" DHCP4_STARTED "has Kea's words"
contains "$all" "Sent SIGTERM to kea-lfc" "and latchd's"
contains "$all" "Started $unit" "and systemd's about the unit"
order=$(grep -no -e "^Starting /.* as PID $main\$" -e "DHCP4_STARTED" -e "^Ready: PID $main," -e "was killed by SIGKILL" \
    -e "is held by a leftover" -e "^The way is free" <<<"$all" | sed 's/^[0-9]*://; s/,$//' | head -n 6 | paste -sd'|')
matches "$order" "^Starting .*\|DHCP4_STARTED\|Ready: PID $main\|was killed by SIGKILL\|is held by a leftover\|The way is free$" \
    "in the order in which it happened"
until=@$EPOCHREALTIME # Kea goes on writing
is "$(logs -n 3 -U "$until" -o cat kea | wc -l)" 3 "-n 3 gives three entries"
is "$(logs -n 3 -U "$until" -o json kea | jq -r .__CURSOR)" \
    "$(logs -U "$until" -o json kea | tail -n 3 | jq -r .__CURSOR)" "which are the last ones"
json=$(logs -p warning -o json kea)
is "$(jq -r 'select((.PRIORITY | tonumber) > 4) | .PRIORITY' <<<"$json")" "" "-p warning gives nothing less urgent"
contains "$(jq -r .LATCHD_EVENT <<<"$json")" LOCK_ORPHANED "and the orphaned lock"
lacks "$(jq -r .MESSAGE <<<"$json")" DHCP4_STARTED "but not Kea's chatter"
# The same entries, field by field, as journalctl has them.
logs -o json kea >"$T/ours"
is "$(jq -c . "$T/ours" | wc -l)" "$(wc -l <"$T/ours")" "-o json writes valid lines of JSON"
while read -r cursor; do journal --cursor "$cursor" -n 1 --all; done < <(
    jq -r .__CURSOR "$T/ours" | sed -n '1p;5p;20p;$p'; jq -r 'select(.LATCHD_EVENT == "LOCK_ORPHANED").__CURSOR' "$T/ours") |
    jq -cS . >"$T/theirs-some"
jq -cS . "$T/ours" >"$T/ours-sorted"
missing=$(sort -u "$T/theirs-some" | while IFS= read -r line; do grep -qxF -e "$line" "$T/ours-sorted" || echo "$line"; done)
is "$missing" "" "each with the fields that journalctl shows"
is "$(jq -r .__REALTIME_TIMESTAMP "$T/ours" | sort -nc 2>&1)" "" "and in order"

echo "# a span of time"
middle=$(jq -r .__REALTIME_TIMESTAMP <<<"$(entry SERVICE_EXITED)")
at="@${middle:0:-6}.${middle: -6}"
is "$(logs -S "$at" -o json kea | head -n 1 | jq -r .MESSAGE_ID)" "$(event_id SERVICE_EXITED)" "-S begins there"
is "$(logs -U "$at" -o json kea | tail -n 1 | jq -r .MESSAGE_ID)" "$(event_id SERVICE_EXITED)" "-U ends there"
is "$(logs -S +1h kea)" "" "the future is empty"

echo "# following"
timeout 30 "$booted" run "$T" -- latchctl logs -f -n 0 -o cat kea >"$T/followed" 2>&1 &
follower=$!
sleep 0.5
succeeds "systemctl reload" inside systemctl reload "$unit"
wait_for 10 "-f shows what latchd says, as it happens" grep -q "Ready again after the reload" "$T/followed"
wait_for 20 "and what Kea says" grep -q DHCP4_DYNAMIC_RECONFIGURATION "$T/followed"
lacks "$(<"$T/followed")" "was killed by" "and with -n 0 nothing of before"
kill "$follower"
wait "$follower" 2>/dev/null
inside systemctl stop "$unit"
is "$(inside pgrep -r D,R,S -x latchctl)" "" "which ends when it is told to"

echo "# latchd outside of its unit"
make_kea "$T/small" 10
for way in scope shell; do
    make_kea "$T/$way" 10
    configure_kea "$way" "$T/$way"
    command=(latchd run "$way")
    [[ $way == scope ]] && command=(systemd-run --quiet --scope latchd run scope)
    timeout 60 "$booted" run "$T" -- "${command[@]}" </dev/null >"$T/$way.out" 2>&1 &
    wait_for 20 "started from a $way, the service runs" sh -c \
        "timeout 5 '$booted' run '$T' -- latchctl list | grep -q '$way.*running'"
    all=$(logs -o cat "$way")
    contains "$all" DHCP4_STARTED "its logs have Kea's words"
    contains "$all" "Ready: PID" "and latchd's"
    lacks "$all" "$k/" "and nobody else's"
    is "$(field "$way" .unit | grep -o 'latchd@')" "" "it claims no unit of ours"
    # shellcheck disable=SC2016
    inside sh -c 'kill -TERM "$1"' sh "$(field "$way" .supervisorPid)"
    wait_for 20 "it ends" sh -c "! timeout 5 '$booted' run '$T' -- latchctl list | grep -q '$way.*running'"
    is "$(cat "$T/$way.out")" "" "and with a journal it has nothing to say on standard error"
done

echo "# somebody else"
out=$(inside setpriv --reuid=65534 --regid=65534 --clear-groups latchctl logs kea 2>&1)
rc=$?
is "$rc" 77 "a user without rights cannot read the journal"
matches "$out" "^latchctl: cannot read the journal: .*root.*systemd-journal" "and is told what would help"
is "$(wc -l <<<"$out")" 1 "in one line"
contains "$(inside setpriv --reuid=65534 --regid=65534 --groups="$(inside getent group systemd-journal | cut -d: -f3)" \
    latchctl logs kea 2>&1)" DHCP4_STARTED "the group systemd-journal may read it"

echo "# no journal"
mkdir "$T/no-journal"
# shellcheck disable=SC2016
out=$(unshare --mount --propagation private -- sh -c \
    'for d in /run/log /var/log; do [ ! -d "$d" ] || mount --bind "$1" "$d"; done
     shift; exec "$@"' sh "$T/no-journal" latchctl logs kea 2>&1)
rc=$?
is "$rc" 1 "where no journal is kept, logs fails"
matches "$out" "^latchctl: no journal is kept here" "and says so"
is "$(wc -l <<<"$out")" 1 "in one line"

finish
