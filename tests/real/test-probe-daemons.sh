#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Daemons as they are installed: redis, MariaDB, tmux, chronyd and an X server. What `latchctl probe` says of their PID
# files, locks and sockets while they live, when they were killed, and when their number is somebody else's; and what
# `latchctl clear` removes. Which of them are missing is said, and the others are tried.
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require jq unshare setpriv

# shellcheck disable=SC2317 # wait_until calls it
listens() { [[ -S $1 ]] && [[ $(timeout 60 latchctl --json probe "$1" | jq -r '.[0].verdict') == held ]]; } # SOCKET

probe() { # PATH: sets report, code
    code=0
    report=$(timeout 60 latchctl --json probe "$1" 2>&1) || code=$?
}

field() { jq -r "$1" <<<"$report" 2>&1; } # FILTER

check() { # TEXT PATH "VERDICT REASON CODE" [PID]: the one on record, and of a socket the holder
    probe "$2"
    is "$(field '.[0] | .verdict + " " + .reason') $code" "$3" "$1: $3" || note "$(field '.[0].summary')"
    [[ -n ${4-} ]] || return 0
    if [[ -S $2 ]]; then
        is "$(field '[.[0].holders[].pid] | join(" ")')" "$4" "$1: PID $4 holds it"
    else
        is "$(field '.[0].recordedPid')" "$4" "$1: PID $4 is on record"
    fi
}

refuses() { # TEXT PATH NEEDLE
    local out rc=0 before
    before=$(stat -c '%i %s %y %z' "$2")
    out=$(timeout 20 latchctl clear "$2" 2>&1) || rc=$?
    is "$rc" 1 "clear refuses $1"
    contains "$out" "$3" "and says why"
    is "$(stat -c '%i %s %y %z' "$2")" "$before" "it is untouched"
}

clears() { # TEXT PATH: exactly that goes
    local before
    before=$(listing "${2%/*}")
    exits 0 "a dry run of clear: $1" latchctl clear --dry-run "$2"
    is "$(listing "${2%/*}")" "$before" "removes nothing"
    exits 0 "clear: $1" latchctl clear "$2"
    is "$(listing "${2%/*}")" "$(grep -v "^${2##*/} " <<<"$before")" "removes that, and nothing else"
}

listing() { find "$1" -mindepth 1 -printf '%P %i %m %u\n' | sort; } # DIRECTORY

has() { # DAEMON
    command -v "$1" >/dev/null || { note "$1 is not installed"; return 1; }
}

# Starts it, and sets pid; it is there when the socket, or the PID file, is.
run() { # LOG FILE COMMAND...
    local log=$1 file=$2
    shift 2
    "$@" >>"$log" 2>&1 </dev/null &
    pid=$!
    disown "$pid"
    case $file in
    *.pid) wait_until 30 test -s "$file" || die "${3-} runs" "$(tail -n 5 "$log")" ;;
    *) wait_until 30 listens "$file" || die "it listens on $file" "$(tail -n 5 "$log")" ;;
    esac
}

kill_it() {
    kill -KILL "$pid"
    wait_until 10 gone "$pid" || die "PID $pid is dead"
}

# ---- redis: PID file and socket; it clears neither by itself before it starts, and overwrites both ----

if has redis-server; then
    R=$T/redis
    mkdir "$R"
    redis=(redis-server --port 0 --unixsocket "$R/redis.sock" --pidfile "$R/redis.pid" --dir "$R" --save "" --appendonly no)
    run "$T/redis.log" "$R/redis.sock" "${redis[@]}"
    check "redis lives: its PID file" "$R/redis.pid" "held live 5" "$pid"
    check "redis lives: its socket" "$R/redis.sock" "held live 5" "$pid"
    refuses "a living redis's PID file" "$R/redis.pid" "PID $pid"
    refuses "a living redis's socket" "$R/redis.sock" "PID $pid"
    kill -STOP "$pid"
    check "redis is stopped: its PID file" "$R/redis.pid" "held stopped 5" "$pid"
    check "redis is stopped: its socket" "$R/redis.sock" "held stopped 5" "$pid"
    kill_it
    check "redis was killed: its PID file" "$R/redis.pid" "stale dead 3" "$pid"
    check "redis was killed: its socket" "$R/redis.sock" "stale refused 3"
    refuses "a dead redis's socket, which nothing guards" "$R/redis.sock" "no lock file guards it"
    clears "a dead redis's PID file" "$R/redis.pid"
    run "$T/redis.log" "$R/redis.sock" "${redis[@]}"
    check "redis starts again" "$R/redis.pid" "held live 5" "$pid"
    kill_it
fi

# ---- MariaDB: a socket without any lock, and a PID file ----

if has mariadbd && id -u mysql >/dev/null 2>&1; then
    M=$T/mariadb
    install -d -o mysql "$M"
    mariadb=(mariadbd --no-defaults --user=mysql --datadir="$M" --socket="$M/m.sock" --pid-file="$M/m.pid"
        --skip-networking --skip-grant-tables --skip-innodb --default-storage-engine=MyISAM)
    run "$T/mariadb.log" "$M/m.sock" "${mariadb[@]}"
    wait_until 10 test -s "$M/m.pid"
    check "MariaDB lives: its PID file" "$M/m.pid" "held live 5" "$pid"
    check "MariaDB lives: its socket" "$M/m.sock" "held live 5" "$pid"
    check "MariaDB has no lock for it" "$M/m.sock.lock" "absent none 0"
    refuses "a living MariaDB's PID file" "$M/m.pid" "PID $pid"
    kill_it
    check "MariaDB was killed: its PID file" "$M/m.pid" "stale dead 3" "$pid"
    check "MariaDB was killed: its socket" "$M/m.sock" "stale refused 3"
    clears "a dead MariaDB's PID file" "$M/m.pid"
fi

# ---- tmux: a socket; its lock is there only while a server starts ----

if has tmux; then
    X=$T/tmux
    mkdir "$X"
    unset TMUX
    new_session() { env TERM=dumb tmux -f /dev/null -S "$X/s" new-session -d 'sleep 1000'; }
    new_session
    wait_until 10 listens "$X/s" || die "tmux listens"
    pid=$(tmux -S "$X/s" display -p '#{pid}')
    check "tmux lives" "$X/s" "held live 5" "$pid"
    check "its lock" "$X/s.lock" "absent none 0"
    refuses "a living tmux's socket" "$X/s" "PID $pid"
    kill_it
    check "tmux was killed" "$X/s" "stale refused 3"
    : >"$X/s.lock" # as one is there that was killed while it started a server
    check "a lock that nobody holds" "$X/s.lock" "free none 0"
    exits 0 "clear, under that lock" latchctl clear "$X/s"
    is "$(find "$X" -mindepth 1 -printf '%P\n')" s.lock "removes the socket and leaves the lock"
    new_session
    wait_until 10 listens "$X/s" || die "tmux listens again"
    pid=$(tmux -S "$X/s" display -p '#{pid}')
    check "tmux starts again" "$X/s" "held live 5" "$pid"
    kill_it
fi

# ---- chronyd: takes any process that has the number in its PID file for itself ----

if has chronyd; then
    C=$T/chrony
    mkdir -m 0770 "$C"
    printf '%s\n' "server 127.0.0.1" "port 0" "cmdport 0" "bindcmdaddress /" "pidfile $C/chronyd.pid" >"$T/chrony.conf"
    chronyd=(unshare --net chronyd -x -d -u root -f "$T/chrony.conf")
    run "$T/chrony.log" "$C/chronyd.pid" "${chronyd[@]}"
    check "chronyd lives" "$C/chronyd.pid" "held live 5" "$pid"
    refuses "a living chronyd's PID file" "$C/chronyd.pid" "PID $pid"
    kill_it
    check "chronyd was killed" "$C/chronyd.pid" "stale dead 3" "$pid"
    clears "a dead chronyd's PID file" "$C/chronyd.pid"

    # Its number is an innocent process's.
    "${chronyd[@]}" >>"$T/chrony.log" 2>&1 </dev/null &
    pid=$!
    disown "$pid"
    wait_until 10 test -s "$C/chronyd.pid"
    kill_it
    sleep 1000 &
    innocent=$!
    disown "$innocent"
    printf '%s\n' "$innocent" >"$C/chronyd.pid"
    touch -d '1 hour ago' "$C/chronyd.pid"
    fails "chronyd itself would not start" timeout 10 "${chronyd[@]}"
    check "the number is an innocent process's" "$C/chronyd.pid" "stale recycled 3" "$innocent"
    clears "the PID file with an innocent one's number" "$C/chronyd.pid"
    succeeds "the innocent process lives on" alive "$innocent"
    run "$T/chrony.log" "$C/chronyd.pid" "${chronyd[@]}"
    check "chronyd starts" "$C/chronyd.pid" "held live 5" "$pid"
    kill_it
fi

# ---- an X server: .X99-lock, whose socket stands in a directory beside it. /tmp is the test's own there, and so is the
# ---- network, for its abstract socket

if has Xvfb; then
    mkdir -m 1777 "$T/x"
    cp "$builddir/latchctl" "$T/x/latchctl" # the build may stand below the /tmp that is hidden then
    cat >"$T/server" <<'END'
mount --bind "$T/x" /tmp && exec Xvfb :99 -screen 0 64x64x8 -nolisten tcp
END
    lock=$T/x/.X99-lock
    x=(unshare --mount --net bash "$T/server")
    run "$T/x.log" "$T/x/.X11-unix/X99" "${x[@]}"
    check "Xvfb lives: its lock" "$lock" "held live 5" "$pid"
    refuses "a living Xvfb's lock" "$lock" "PID $pid"
    fails "a second one does not start" timeout 20 "${x[@]}"
    kill_it
    check "Xvfb was killed: its lock" "$lock" "stale dead 3" "$pid"
    check "Xvfb was killed: its socket" "$T/x/.X11-unix/X99" "stale refused 3"
    clears "a dead Xvfb's lock" "$lock"
    run "$T/x.log" "$T/x/.X11-unix/X99" "${x[@]}"
    check "Xvfb starts again" "$lock" "held live 5" "$pid"

    # The lock names a dead process, and the server that its socket belongs to lives.
    cp -p "$lock" "$T/lock"
    sleep 0.01 &
    dead=$!
    wait "$dead"
    chmod u+w "$lock"
    printf '%10d\n' "$dead" >"$lock"
    check "the socket speaks for life" "$lock" "held unlocked 5" "$dead"
    refuses "the lock of a server that lives" "$lock" "not touched"
    kill_it
    rm -rf "$T/x/.X99-lock" "$T/x/.X11-unix"

    # In a PID namespace its number is given to another process of the same user: the server takes it for one.
    cat >"$T/inside" <<'END'
until_there() { local i; for ((i = 0; i < 600; i++)); do "$@" && return; sleep 0.05; done; return 1; }
cp "$T/x/latchctl" "$T/latchctl.copy"
mount -t tmpfs -o mode=1777 tmpfs "$T/x" # a /tmp of its own, which no other container has
cp "$T/latchctl.copy" "$T/x/latchctl"
mount --move "$T/x" /tmp
Xvfb :99 -screen 0 64x64x8 -nolisten tcp &
pid=$!
until_there test -S /tmp/.X11-unix/X99
kill -KILL "$pid"
wait "$pid"
touch -d '1 minute ago' /tmp/.X99-lock
for ((i = 0; i < 100; i++)); do
    echo $((pid - 1)) >/proc/sys/kernel/ns_last_pid
    sleep 1000 &
    innocent=$!
    ((innocent == pid)) && break
    kill "$innocent"
    wait "$innocent"
done
echo "numbers $pid $innocent" >&3
/tmp/latchctl --json probe /tmp/.X99-lock | jq -r '.[0] | "\(.verdict) \(.reason) \(.recordedPid)"' >&3
timeout 20 Xvfb :99 -screen 0 64x64x8 -nolisten tcp
echo "start $?" >&3
/tmp/latchctl clear /tmp/.X99-lock
echo "clear $?" >&3
kill -0 "$innocent" && echo "innocent lives" >&3
rm -f /tmp/.X11-unix/X99 /tmp/.X99-lock
Xvfb :99 -screen 0 64x64x8 -nolisten tcp &
pid=$!
until_there test -S /tmp/.X11-unix/X99 && /tmp/latchctl --json probe /tmp/.X99-lock |
    jq -r --argjson pid "$pid" '.[0] | "\(.verdict) \(.recordedPid == $pid)"' >&3
END
    timeout 120 unshare --mount --net --pid --fork --mount-proc --kill-child bash "$T/inside" 3>"$T/lines" >>"$T/x.log" 2>&1
    mapfile -t lines <"$T/lines"
    read -r _ number innocent <<<"${lines[0]-}"
    is "${innocent-}" "${number-none}" "an innocent process has the dead server's number"
    is "${lines[1]-}" "unknown other-pid-namespace ${number-}" "whose it was cannot be told from within the namespace"
    is "${lines[2]-}" "start 1" "Xvfb itself does not start"
    is "${lines[3]-}" "clear 1" "clear does not remove it"
    is "${lines[4]-}" "innocent lives" "and leaves the innocent one alone"
    is "${lines[5]-}" "held true" "then Xvfb starts"
fi

finish
