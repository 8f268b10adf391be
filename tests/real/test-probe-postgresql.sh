#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A real PostgreSQL: what `latchctl probe` says of its postmaster.pid, the lock of its socket and the socket, while it
# lives, when the postmaster is killed and backends go on, when all are dead, and when its number is somebody else's; and
# what `latchctl clear` removes of that.
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require jq unshare setpriv
bin=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
[[ -x $bin/postgres && -x $bin/initdb ]] || skip "PostgreSQL is not installed"
id -u postgres >/dev/null 2>&1 || skip "there is no user postgres"

cp "$builddir/latchctl" "$T/latchctl" # for users who cannot read the build's directory
D=$T/pg/data
S=$T/pg/.s.PGSQL.54321
install -d -o postgres -g postgres "$T/pg"
as_postgres=(setpriv --reuid=postgres --regid=postgres --clear-groups env HOME="$T/pg")
"${as_postgres[@]}" timeout 120 "$bin/initdb" -D "$D" -A trust --no-sync --no-locale -E UTF8 >"$T/initdb.log" 2>&1 ||
    die "initdb makes a cluster" "$(tail -n 5 "$T/initdb.log")"
server=("${as_postgres[@]}" "$bin/postgres" -D "$D" -p 54321 -c listen_addresses= -c unix_socket_directories="$T/pg"
    -c fsync=off -c shared_buffers=1MB -c max_connections=10 -c autovacuum=off)
# Every child of the server has $T in its command line only as long as it has no title of its own.
printf "update_process_title = off\n" >>"$D/postgresql.conf"

# shellcheck disable=SC2317 # wait_for calls it
answers() { "$bin/psql" -X -h "$T/pg" -p 54321 -U postgres -Atc 'select 6*7' postgres 2>/dev/null | grep -qx 42; }

start() { # COMMAND... that goes before: sets postmaster
    "$@" "${server[@]}" >>"$T/postgres.log" 2>&1 </dev/null &
    disown $!
    wait_for 30 "PostgreSQL runs" answers
    postmaster=$(head -n 1 "$D/postmaster.pid")
}

children() { # PID
    cat "/proc/$1/task/$1/children"
}

# Two clients that do nothing for a long time; sets backends to who serves them.
open_sessions() {
    for _ in 1 2; do
        "$bin/psql" -X -h "$T/pg" -p 54321 -U postgres -c "select pg_sleep(1000)" postgres >>"$T/psql.log" 2>&1 </dev/null &
        disown $!
    done
    sessions() {
        "$bin/psql" -X -h "$T/pg" -p 54321 -U postgres -Atc \
            "select pid from pg_stat_activity where query like 'select pg_sleep%' order by pid" postgres
    }
    # shellcheck disable=SC2317 # wait_for calls it
    two_sessions() { [[ $(sessions | wc -l) == 2 ]]; }
    wait_for 10 "two backends serve clients" two_sessions
    mapfile -t backends < <(sessions)
}

# The postmaster dies; of its children only the two backends, which hang, outlive it.
kill_postmaster() {
    local others child
    others=$(children "$postmaster")
    kill -STOP "${backends[@]}"
    kill -KILL "$postmaster"
    for child in $others; do
        [[ " ${backends[*]} " == *" $child "* ]] || wait_until 10 gone "$child" || die "child $child ends with its postmaster"
    done
    wait_until 10 gone "$postmaster" || die "the postmaster is dead"
}

probe() { # PATH [COMMAND...]: sets report, code
    local path=$1
    shift
    code=0
    report=$(timeout 20 "$@" "$T/latchctl" --json probe "$path" 2>&1) || code=$?
}

field() { jq -r "$1" <<<"$report" 2>&1; } # FILTER

check() { # TEXT PATH "VERDICT REASON CODE" [RECORDED-PID] [COMMAND...]
    local text=$1 path=$2 expected=$3 recorded=${4-}
    shift $(($# < 4 ? $# : 4))
    probe "$path" "$@"
    is "$(field '.[0] | .verdict + " " + .reason') $code" "$expected" "$text: $expected" || note "$(field '.[0].summary')"
    [[ -z $recorded ]] || is "$(field '.[0].recordedPid')" "$recorded" "$text: PID $recorded is on record"
}

refuses() { # TEXT PATH NEEDLE
    local out rc=0 before
    before=$(stat -c '%i %s %y %z' "$2")
    out=$(timeout 20 "$T/latchctl" clear "$2" 2>&1) || rc=$?
    is "$rc" 1 "clear refuses $1"
    contains "$out" "$3" "and says why"
    is "$(stat -c '%i %s %y %z' "$2")" "$before" "it is untouched"
}

# ---- alive ----

start
check "a living server's postmaster.pid" "$D/postmaster.pid" "held live 5" "$postmaster"
check "the lock of its socket" "$S.lock" "held live 5" "$postmaster"
check "its socket" "$S" "held live 5"
contains " $(field '[.[0].holders[].pid] | join(" ")') " " $postmaster " "the postmaster holds it"
is "$("$T/latchctl" probe "$D/postmaster.pid" | head -n 1)" "$D/postmaster.pid: held (live)" "the same for people"
check "its own user sees the same" "$D/postmaster.pid" "held live 5" "$postmaster" "${as_postgres[@]}"
for file in "$D/postmaster.pid" "$S.lock" "$S"; do refuses "$file of the living" "$file" "PID $postmaster"; done
succeeds "it answers as before" answers

# ---- the postmaster is killed, backends go on ----

open_sessions
kill_postmaster
check "only backends are left" "$D/postmaster.pid" "orphaned leftover 4" "$postmaster"
is "$(field '[.[0].holders[].pid] | sort | join(" ")')" "${backends[*]}" "both of them are named, and nobody else"
is "$(field '[.[0].holders[].role] | unique | join(" ")')" leftover "as leftovers"
is "$(field '[.[0].holders[].via] | unique | join(" ")')" maps "by the shared memory that they have mapped"
refuses "what they need" "$D/postmaster.pid" "${backends[0]}"
for pid in "${backends[@]}"; do succeeds "backend $pid lives on" alive "$pid"; done
fails "PostgreSQL itself would not start either" timeout 20 "${server[@]}"
check "the dead postmaster's socket lock" "$S.lock" "stale dead 3" "$postmaster"
check "the socket that nobody listens on" "$S" "stale refused 3"
kill -KILL "${backends[0]}"
wait_until 10 gone "${backends[0]}"
check "one backend is left" "$D/postmaster.pid" "orphaned leftover 4" "$postmaster"
is "$(field '[.[0].holders[].pid] | join(" ")')" "${backends[1]}" "it is the one that is named"

# ---- all are dead ----

kill -KILL "${backends[1]}"
wait_until 10 gone "${backends[1]}"
check "all are dead" "$D/postmaster.pid" "stale dead 3" "$postmaster"
listing() { find "$T/pg" -printf '%P %i %s %m %u\n' | sort; }
before=$(listing)
exits 0 "a dry run of clear" "$T/latchctl" clear --dry-run "$D/postmaster.pid"
is "$(listing)" "$before" "removes nothing"
exits 0 "clear" "$T/latchctl" clear "$D/postmaster.pid"
is "$(listing)" "$(grep -v '^data/postmaster\.pid ' <<<"$before")" "removes the dead one's postmaster.pid, and nothing else"
exits 0 "clear of the socket's lock" "$T/latchctl" clear "$S.lock"
succeeds "it is gone" no_file "$S.lock"
start
kill -QUIT "$postmaster"
wait_until 20 gone "$postmaster" || die "PostgreSQL stops"

# ---- a stand-alone backend: the number is negative ----

mkfifo "$T/single"
exec {single}<>"$T/single"
"${as_postgres[@]}" "$bin/postgres" --single -D "$D" postgres <"$T/single" >"$T/single.log" 2>&1 {single}>&- &
disown $!
wait_until 10 grep -q '^-' "$D/postmaster.pid" || die "a stand-alone backend has its file"
alone=$(head -n 1 "$D/postmaster.pid")
alone=${alone#-}
check "a stand-alone backend" "$D/postmaster.pid" "held live 5" "$alone"
kill -KILL "$alone"
exec {single}>&-
wait_until 10 gone "$alone"
check "a stand-alone backend that was killed" "$D/postmaster.pid" "stale dead 3" "$alone"
exits 0 "clear" "$T/latchctl" clear "$D/postmaster.pid"

# ---- an IPC namespace of its own (PrivateIPC=): our list of shared memory does not have what it uses ----

start unshare --ipc
open_sessions
kill_postmaster
probe "$D/postmaster.pid"
is "$(field '.[0].verdict') $code" "unknown 6" "backends in an IPC namespace of their own: not stale"
is "$(field '[.[0].holders[].pid] | sort | join(" ")')" "${backends[*]}" "both of them are named"
refuses "what they need" "$D/postmaster.pid" "not touched"
kill -KILL "${backends[@]}"
for pid in "${backends[@]}"; do wait_until 10 gone "$pid"; done
probe "$D/postmaster.pid"
if [[ $(field '.[0].complete') == true ]]; then
    is "$(field '.[0].verdict') $code" "stale 3" "they are dead, too"
    exits 0 "clear" "$T/latchctl" clear "$D/postmaster.pid"
else # a PID 1 that refuses even root may have the memory
    is "$(field '.[0] | .verdict + " " + .reason') $code" "unknown incomplete-scan 6" "they are dead, and somebody could not be asked"
fi
start
succeeds "and it starts" answers
kill -QUIT "$postmaster"
wait_until 20 gone "$postmaster" || die "PostgreSQL stops"

# ---- an innocent process has got its number ----

cat >"$T/inside" <<'END'
latchctl=$1 pidfile=$2
# Its process is of the same user: of another one's PostgreSQL says that it is dead (EPERM).
shift 2
"$@" >"$pidfile.log" 2>&1 </dev/null &
until [[ $(sed -n 8p "$pidfile" 2>/dev/null) == ready* ]]; do sleep 0.05; done
pid=$(head -n 1 "$pidfile")
kill -KILL "$pid"
wait
until [[ -z $(find /proc -maxdepth 1 -user postgres) ]]; do sleep 0.05; done
touch -d '1 minute ago' "$pidfile"
echo $((pid - 1)) >/proc/sys/kernel/ns_last_pid
setpriv --reuid=postgres --regid=postgres --clear-groups sleep 1000 &
innocent=$!
echo "numbers $pid $innocent"
"$latchctl" --json probe "$pidfile" | jq -r '.[0] | "\(.verdict) \(.reason) \(.recordedPid)"'
timeout 20 "$@" >>"$pidfile.log" 2>&1 </dev/null
echo "start $?"
"$latchctl" clear "$pidfile" >/dev/null 2>&1
echo "clear $?"
[[ -e $pidfile ]] || echo removed
kill -0 "$innocent" && echo innocent lives
END
mapfile -t lines < <(timeout 60 unshare --pid --fork --mount-proc --kill-child \
    bash "$T/inside" "$T/latchctl" "$D/postmaster.pid" "${server[@]}" 2>"$T/inside.log")
read -r _ number innocent <<<"${lines[0]}"
is "$innocent" "$number" "an innocent process has the dead postmaster's number"
is "${lines[1]}" "unknown other-pid-namespace $number" "whose it was cannot be told from within the namespace"
is "${lines[2]}" "start 1" "PostgreSQL itself takes the innocent one for a server, and does not start"
is "${lines[3]} ${lines[4]-}" "clear 1 innocent lives" "clear leaves the file and the innocent one alone"
start
succeeds "then PostgreSQL starts" answers
kill -QUIT "$postmaster"
wait_until 20 gone "$postmaster"

finish
