# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Clients that come all the time (tests/tools/connect-storm.c), for tests of sockets that latchd owns; sourced after
# harness.sh. What came of them is in $T/storm, a "WORD NUMBER" a line.

storm_begins() { # [--lock FILE] ADDRESS...
    "$(tool connect-storm)" "$@" >"$T/storm" 2>"$T/storm.log" &
    storm=$!
}

storm_ends() { # TEXT: of the check that none was refused, reset or left without an answer, nor the lock had
    local rc=0
    kill -TERM "$storm"
    wait "$storm" || rc=$?
    note "$(tr '\n' ' ' <"$T/storm")"
    is "$rc" 0 "$1" || sort "$T/storm.log" | uniq -c | head
    (($(awk '$1 == "answered" { print $2 }' "$T/storm") > 0)) || fail "and clients were answered"
}
