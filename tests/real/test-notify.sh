#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Type=notify with a real Redis; a latchd that is killed between STATUS=, READY=1 and afterwards; forged senders; a flood
# of a hundred thousand messages; the main process handed on.
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require redis-server redis-cli jq
daemon=$(tool notify-daemon)

make_daemon() { # DIR [LINE...]
    local dir=$1
    shift
    mkdir -p "$dir/etc" "$dir/run"
    mkfifo "$dir/orders"
    {
        printf '[Service]\nType=notify\nRestartSec=10ms\nExecStart=%s daemon %s\n' "$daemon" "$dir"
        (($# == 0)) || printf '%s\n' "$@"
    } >"$dir/etc/d.conf"
}

order() { printf '%s\n' "$2" >"$1/orders"; } # DIR ORDER
# shellcheck disable=SC2317 # called by wait_for
told() { grep -qF -- "$2" "$1/told"; }       # DIR TEXT
# shellcheck disable=SC2317
has_status() { [[ $(status_of "$1" .statusText d) == "$2" ]]; }
# shellcheck disable=SC2317
adopted_by() { [[ $(status_of "$1" .supervisorPid d) == "$2" ]]; }
kill_latchd() {
    kill -KILL "$latchd_pid"
    wait "$latchd_pid" 2>/dev/null
}
resident_kib() { awk '/^VmRSS/ { print $2 }' "/proc/$1/status"; }
descriptors() { find "/proc/$1/fd" -mindepth 1 | wc -l; }

echo "# Redis"
r=$T/redis
mkdir -p "$r/etc" "$r/run" "$r/data"
cat >"$r/redis.conf" <<END
port 0
unixsocket $r/redis.sock
dir $r/data
supervised systemd
daemonize no
save ""
END
printf '[Service]\nType=notify\nExecStart=%s %s\nStandardOutput=append:%s\n' \
    "$(command -v redis-server)" "$r/redis.conf" "$r/redis.log" >"$r/etc/redis.conf"
start_latchd "$r" redis
wait_for 30 "it is running" in_state "$r" running redis
is "$(redis-cli -s "$r/redis.sock" ping)" PONG "and answers"
contains "$(status_of "$r" .statusText redis)" "Ready to accept connections" "its own words are its status"
contains "$(ctl "$r" status redis)" "Ready to accept connections" "which people see too"
is "$(jq -r .ready "$r/run/redis.state")" true "NAME.state says that it is ready"
old=$(main_pid "$r" redis)
kill_latchd
start_latchd "$r" redis
wait_for 30 "a latchd that comes after a kill -9 finds it running" in_state "$r" running redis
is "$(main_pid "$r" redis)" "$old" "the same process"
contains "$(status_of "$r" .statusText redis)" "Ready to accept connections" "with its status"
kill -KILL "$old"
wait_for 30 "killed, it comes back" runs_anew "$r" "$old" redis
stop_latchd
is "$latchd_rc" 0 "latchd ends"
lacks "$(cat "$r/latchd.log")" "Ignored a notification" "and ignored nothing"
succeeds "its socket is gone" no_file "$r/run/redis.notify"

echo "# latchd is killed while the daemon starts"
d=$T/starting
make_daemon "$d" TimeoutStartSec=60s
start_latchd "$d" d
wait_for 20 "the daemon has begun" told "$d" begun
first=$(main_pid "$d" d)
order "$d" 'say STATUS=warming up'
wait_for 10 "it says so" has_status "$d" "warming up"
kill_latchd
start_latchd "$d" d
wait_for 20 "the successor has it" adopted_by "$d" "$latchd_pid"
is "$(status_of "$d" .state d)" starting "as one that is starting"
is "$(status_of "$d" .statusText d)" "warming up" "with what it said last"
order "$d" 'say READY=1\nSTATUS=serving'
wait_for 10 "READY=1 reaches the successor, at the same address" in_state "$d" running d
is "$(main_pid "$d" d)" "$first" "it is the same process"
kill_latchd
start_latchd "$d" d
wait_for 20 "and the next one" adopted_by "$d" "$latchd_pid"
is "$(status_of "$d" .state d)" running "finds it ready"

echo "# the main process is handed on, and latchd is killed behind it"
order "$d" 'pass READY=1\nMAINPID=@\nSTATUS=handed on'
wait_for 10 "another is the main process" runs_anew "$d" "$first" d
second=$(main_pid "$d" d)
wait_for 10 "the first has ended" gone "$first"
kill_latchd
start_latchd "$d" d
wait_for 20 "the successor" adopted_by "$d" "$latchd_pid"
is "$(main_pid "$d" d)" "$second" "knows the second"
is "$(status_of "$d" .state d)" running "as one that is ready"
is "$(status_of "$d" .restarts d)" 0 "nothing was restarted"

echo "# forged senders"
for message in 'READY=1\nSTATUS=forged' 'STOPPING=1\nSTATUS=forged' "MAINPID=$$" 'FDSTOREREMOVE=1\nFDNAME=x'; do
    STAY=1 NOTIFY_SOCKET=$d/run/d.notify "$daemon" send "$message" || fail "send"
    setpriv --reuid 65534 --regid 65534 --clear-groups \
        env STAY=1 NOTIFY_SOCKET="$d/run/d.notify" "$daemon" send "$message" || fail "send as nobody"
    # The service's name alone does not do, nor with the invocation id as another user.
    STAY=1 LATCHD_SERVICE=d INVOCATION_ID=00000000000000000000000000000000 \
        NOTIFY_SOCKET="$d/run/d.notify" "$daemon" send "$message" || fail "send with another id"
    setpriv --reuid 65534 --regid 65534 --clear-groups \
        env STAY=1 LATCHD_SERVICE=d INVOCATION_ID="$(status_of "$d" .invocationId d)" \
        NOTIFY_SOCKET="$d/run/d.notify" "$daemon" send "$message" || fail "send as nobody with the id"
done
is "$(status_of "$d" .statusText d)" "handed on" "change nothing"
is "$(main_pid "$d" d)" "$second" "the main process is the same"
is "$(status_of "$d" .ready d)" true "it is ready"
is "$(grep -c "Ignored a notification" "$d/latchd.log")" 1 "one line tells of all of them"
# One with this generation's name and id belongs to it, whoever is its parent.
STAY=1 LATCHD_SERVICE=d INVOCATION_ID=$(status_of "$d" .invocationId d) NOTIFY_SOCKET=$d/run/d.notify \
    "$daemon" send 'STATUS=by a relative'
wait_for 10 "one with the name and the id of this generation is heard" has_status "$d" "by a relative"

echo "# what is stored comes back with the next start"
order "$d" 'store FDSTORE=1\nFDNAME=state remembered'
order "$d" barrier
wait_for 20 "it is stored" told "$d" "barrier passed"
is "$(status_of "$d" '.notify.stored | join(" ")' d)" state "and status says so"
kill -KILL "$second"
wait_for 20 "the daemon that was killed has it again" told "$d" "stored 0: remembered"
order "$d" 'say READY=1'
wait_for 10 "it runs" in_state "$d" running d

echo "# a flood of 30,000, by a stranger and by the daemon's own child"
order "$d" 'child STATUS=before'
wait_for 10 "before it" has_status "$d" before
memory=$(resident_kib "$latchd_pid") open=$(descriptors "$latchd_pid")
main=$(main_pid "$d" d)
NOTIFY_SOCKET=$d/run/d.notify "$daemon" send 'STATUS=poured in' 30000 &
stranger=$!
LATCHD_SERVICE=d INVOCATION_ID=$(status_of "$d" .invocationId d) NOTIFY_SOCKET=$d/run/d.notify \
    "$daemon" send 'STATUS=poured in by a relative\nWATCHDOG=1' 30000 &
relative=$!
worst=0 n=0
while alive "$stranger" || alive "$relative"; do
    before=$(now_ms)
    [[ $(status_of "$d" .state d) == running ]] || fail "latchctl status in the flood"
    took=$(($(now_ms) - before))
    ((took > worst)) && worst=$took
    n=$((n + 1))
done
wait "$stranger" "$relative"
at_most "$worst" 3000 "the milliseconds that the slowest of $n calls of latchctl took meanwhile"
order "$d" 'say STATUS=after'
wait_for 20 "the daemon is heard after it" has_status "$d" after
# A sanitizer keeps freed memory in quarantine on purpose.
is_sanitized ||
    at_most $(($(resident_kib "$latchd_pid") - memory)) 1024 "the KiB by which latchd grew"
at_most $(($(descriptors "$latchd_pid") - open)) 4 "and the descriptors"
is "$(main_pid "$d" d)" "$main" "nothing was restarted"
stop_latchd
is "$latchd_rc" 0 "latchd ends"

echo "# latchd exec: the daemon talks to whom latchd would"
e=$T/exec
make_daemon "$e"
cp "$e/etc/d.conf" "$e/etc/e.conf"
# shellcheck disable=SC2046
NOTIFY_SOCKET=$e/upstream LISTEN_FDS=1 LISTEN_FDNAMES=mine sh -c 'LISTEN_PID=$$; export LISTEN_PID; exec "$@"' sh \
    latchd exec $(latchd_options "$e") e 3<<<"from above" >"$e/exec.log" 2>&1 &
pid=$!
wait_for 20 "it begins" told "$e" "begun $pid"
is "$(tr '\0' '\n' <"/proc/$pid/environ" | grep ^NOTIFY_SOCKET=)" "NOTIFY_SOCKET=$e/upstream" "with that NOTIFY_SOCKET"
succeeds "and what was stored there" told "$e" "with 1 stored: mine"
kill "$pid"

finish
