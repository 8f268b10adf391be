#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# One latchd, several redis-servers: who waits for whom at the start, who goes first at the stop, what becomes of those
# that require one that fails; restarts that are put off, and say until when; and mistakes.
# shellcheck disable=SC2015,SC2016,SC2317 # `ok` never fails; what eval is given; functions that wait_for calls
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require latchd latchctl redis-server redis-cli jq
log=$T/latchd.log
mkdir -p "$T/etc"

# redis NAME [LINE...]: a service of a redis-server whose socket is $T/NAME.sock.
redis() {
    local name=$1
    shift
    {
        cat <<END
[Service]
Type=socket
ExecStart=$(command -v redis-server) --port 0 --unixsocket $T/$name.sock --save '' --dir $T --daemonize no
StandardOutput=null
TimeoutStopSec=20s
END
        (($# == 0)) || printf '%s\n' "$@"
        printf '[Socket control]\nListenStream=%s\nLockFile=none\n' "$T/$name.sock"
    } >"$T/etc/$name.conf"
}
begin() { # SERVICE...
    : >"$log"
    latchd run --config-dir "$T/etc" --runtime-dir "$T/run" --log-target stderr "$@" >>"$log" 2>&1 </dev/null &
    latchd_pid=$!
}
ctl() { latchctl --config-dir "$T/etc" --runtime-dir "$T/run" "$@"; }
field() { ctl --json status "$1" | jq -r ".[0].$2"; } # SERVICE FIELD
state_is() { [[ $(field "$1" state) == "$2" ]]; }     # SERVICE STATE
answers() { [[ $(redis-cli -s "$T/$1.sock" ping 2>/dev/null) == PONG ]]; } # SERVICE
line_of() { grep -nE -- "$1" "$log" | tail -1 | cut -d: -f1; }             # PATTERN
before() { # PATTERN PATTERN TEXT: the last line of the one stands before the last of the other
    local a b
    a=$(line_of "$1") b=$(line_of "$2")
    if [[ -n $a && -n $b ]] && ((a < b)); then ok "$3"; else fail "$3" "$1: line ${a:-none}; $2: line ${b:-none}" "$(<"$log")"; fi
}

redis db
redis cache "After=db"
redis web "After=db cache" "Requires=db"
redis lone
begin web cache lone db
for name in db cache web lone; do wait_for 30 "$name is up, whatever the order on the command line" state_is "$name" running; done
before 'latchd\[db\]: Ready' 'latchd\[cache\]: Starting' "cache (After=db) is executed when db answers"
before 'latchd\[cache\]: Ready' 'latchd\[web\]: Starting' "web (After=db cache, Requires=db) is when both do"
before 'latchd\[lone\]: Starting' 'latchd\[db\]: Ready' "a service of no order waits for nobody"

echo "# restart and stop reach who requires it"
web=$(field web mainPid) cache=$(field cache mainPid) db=$(field db mainPid)
succeeds "latchctl restart db" ctl restart db
wait_for 30 "web comes up again" state_is web running
isnt "$(field db mainPid)" "$db" "db is another one"
isnt "$(field web mainPid)" "$web" "and so is web, which requires it"
is "$(field cache mainPid)" "$cache" "cache, which only comes after it, goes on"
before 'latchd\[web\]: PID [0-9]* exited' 'latchd\[db\]: Stopping' "web had ended before db was stopped"
before 'latchd\[db\]: Ready' 'latchd\[web\]: Starting' "and began when db was ready again"
succeeds "latchctl stop db waits until it is down" ctl stop db
is "$(field db state)/$(field web state)/$(field cache state)" stopped/stopped/running "db and web are, cache is not"
succeeds "latchctl start web brings up both" ctl start web
answers db && answers web && ok "they answer" || fail "they answer"

echo "# one that fails for good"
kill -KILL "$(field db mainPid)"
db_again() { state_is db running && [[ $(field db generation) == 4 ]]; }
wait_for 30 "db crashes, and is started again" db_again
is "$(field web generation)" 3 "web goes on through a crash of db"
redis db "Restart=no"
kill -TERM "$latchd_pid"
wait "$latchd_pid"
before 'latchd\[web\]: PID [0-9]* exited' 'latchd\[cache\]: Stopping' "at the end web goes before cache"
before 'latchd\[cache\]: PID [0-9]* exited' 'latchd\[db\]: Stopping' "and cache before db"
begin db cache web
wait_for 30 "all are up again" state_is web running
kill -KILL "$(field db mainPid)"
wait_for 30 "db fails for good: web is stopped" state_is web stopped
state_is db failed && state_is cache running && ok "and cache is not" || fail "states" "$(ctl list)"
contains "$(field web statusText)" "db, which it requires (Requires=), has failed; it is started together with that: latchctl start db" \
    "status says why, and what to do"
succeeds "latchctl start db" ctl start db
wait_for 30 "brings up web with it" state_is web running

echo "# a broken one in the way"
kill -KILL "$(field db mainPid)"
wait_for 30 "db is down" state_is web stopped
redis db "TimeoutStartSec=infinity" "ExecStart=" "ExecStart=$(command -v sleep) 1000" "Restart=no"
kill -TERM "$latchd_pid"
wait "$latchd_pid"
rm -f "$T/db.sock"
begin lone web db cache
wait_for 30 "lone is up while db never answers" state_is lone running
is "$(field web state)/$(field cache state)" starting/starting "web and cache wait for it"
matches "$(field web statusText)" 'waits for db \(Requires=\), which is starting' "and say so"
kill -TERM "$latchd_pid"
wait_until 20 gone "$latchd_pid" && ok "SIGTERM ends them all while some wait" || fail "it ends" "$(<"$log")"
wait "$latchd_pid"
is "$?" 0 "with status 0"

echo "# mistakes"
redis a "After=c"
redis b "After=a"
redis c "After=b" "Requires=nobody"
out=$(latchd run --config-dir "$T/etc" --runtime-dir "$T/run" --log-target stderr a b c lone 2>&1)
is "$?" 78 "a circle is a mistake: 78"
contains "$out" "a after c after b after a" "the whole circle is named"
[[ ! -e $T/run/lone.sock ]] && ok "and nothing is begun" || fail "nothing is begun"
redis bad "Afte=x"
out=$(latchd check --config-dir "$T/etc" a bad b c lone 2>&1)
is "$?" 78 "latchd check finds it"
contains "$out" "a after c after b after a" "and names it, though another one has a mistake"
contains "$out" "Afte" "which it tells as well"
lacks "$out" "lone: configuration is good"$'\n' "none is called good without more"
contains "$out" "lone: configuration is good by itself" "but by itself"
redis many "LimitNOFILE=9999999999"
out=$(latchd check --config-dir "$T/etc" many 2>&1)
is "$?" 0 "what depends on the machine is no mistake"
contains "$out" "many: warning: here it would not start: cannot set LimitNOFILE=9999999999: it is above fs.nr_open" \
    "but it is warned of"
redis a "After=elsewhere"
out=$(latchd check --config-dir "$T/etc" a b c 2>&1)
is "$?" 0 "names that are not served are no mistake"
contains "$out" "a: After=elsewhere means nothing unless" "but check tells of those in After="
contains "$out" "c: Requires=nobody keeps it down unless" "and of those in Requires="
redis b "Requires=b"
redis a "Afte=b"
out=$(latchd run --config-dir "$T/etc" --runtime-dir "$T/run" --log-target stderr a b lone 2>&1)
is "$?" 78 "one bad configuration of several: none is begun"
matches "$out" "a.conf:.*Afte.*b.conf:.*itself|b.conf:.*itself.*a.conf:.*Afte" "and the mistakes of all are told" ||
    printf '%s\n' "$out"
redis a
redis b
begin a b c
wait_for 30 "c lacks what it requires" state_is c failed
contains "$(field c statusText)" "nobody, which it requires (Requires=), is not served by this latchd: name it on the command line" \
    "status says what to do"
out=$(latchd run --config-dir "$T/etc" --runtime-dir "$T/run" --log-target stderr lone a 2>&1)
is "$?" 75 "another latchd serves one of several: 75"
matches "$out" "PID $latchd_pid" "it is named"
fails "and none of the others is begun" state_is lone running
kill -TERM "$latchd_pid"
wait "$latchd_pid"

echo "# restarts that are put off"
cat >"$T/etc/loop.conf" <<END
[Service]
ExecStart=/bin/sh -c 'echo x >>$T/starts; exit 3'
RestartSec=10ms
StartLimitBurst=3
StartLimitIntervalSec=1h
END
begin loop
has_started_thrice() { [[ $(wc -l <"$T/starts") == 3 ]]; }
wait_for 30 "three starts, and a pause" has_started_thrice
next_try_is_known() { [[ $(field loop nextTryUSec) =~ ^[0-9]+$ ]]; }
wait_for 30 "status knows when the next one is" next_try_is_known
next=$(field loop nextTryUSec) now=$(date +%s)
((next / 1000000 > now + 3300 && next / 1000000 <= now + 3600)) && ok "within the hour" || fail "nextTryUSec" "$next, now $now"
matches "$(field loop statusText)" 'exited with status 3; started too often \(StartLimitBurst=3 within StartLimitIntervalSec=1h\); next try at .*[0-9]:[0-9]{2}:[0-9]{2}, in [0-9]+min.*; at once: latchctl start loop' \
    "statusText says so, and of which limit"
matches "$(ctl list)" 'loop +backoff, [0-9]+min [0-9]+s more' "and so does list"
grep -q 'Started too often (StartLimitBurst=3 within StartLimitIntervalSec=1h): a pause; next try at .*: latchctl start loop' "$log" &&
    ok "and the journal, with what to do" || fail "the journal says so" "$(<"$log")"
is "$(field loop restarts)" 3 "the restarts are counted"
ctl start loop >/dev/null 2>&1 # which may see it run for a moment, or not
has_started_again() { (($(wc -l <"$T/starts") >= 4)); }
wait_for 30 "latchctl start tries at once" has_started_again
wait_for 30 "and three in a new count" eval '(($(wc -l <"$T/starts") == 6))'
kill -TERM "$latchd_pid"
wait "$latchd_pid"
finish
