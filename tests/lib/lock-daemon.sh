# shellcheck shell=bash disable=SC2154,SC2034 # variables come from the harness, and go to the tests
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A service "quick" on tests/tools/lock-daemon, for tests that start it hundreds of times; sourced behind harness.sh.
# Nothing in here forks where it can be helped: a round takes a tenth of a second.

D=$T/d
E=$D/files
LD=$D/bin/lock-daemon
LH=$D/bin/lock-helper
mkdir -p "$D/etc" "$D/run" "$D/bin" "$E"
cp "$(tool lock-daemon)" "$LD"
cp "$LD" "$LH"
mkfifo "$T/nap"
exec {nap_fd}<>"$T/nap"

cat >"$D/etc/quick.conf" <<END
[Service]
Kind=generic
Type=socket
ExecStart=$LD $E $LH
StandardOutput=inherit
Restart=always
RestartSec=10ms
RestartMaxDelaySec=20ms
TimeoutStartSec=10s
TimeoutStopSec=5s
OrphanAllow=$LH
OrphanGraceSec=10ms
OrphanKillSec=20ms
[Socket control]
ListenStream=$E/S
Probe=kea
ProbeTimeoutSec=1s
[Lock pid]
LockFile=$E/S.pid
LockStyle=pidfile
END

# A trap that exits out of `read -t` crashes bash (5.2): it only takes a note.
told_to_end=''
trap 'told_to_end=130' INT
trap 'told_to_end=143' TERM

nap() { # SECONDS
    read -rt "$1" -u "$nap_fd" || true
    [[ -z $told_to_end ]] || exit "$told_to_end"
}

begin_afresh() {
    rm -rf "$E" "$D/run"
    mkdir -p "$E" "$D/run"
    : >"$E/journal"
}

# Processes that nobody may touch: one that runs the helper's executable and holds another lock, one that has nothing
# to do with it.
start_innocents() {
    mkdir -p "$T/other"
    flock --no-fork "$T/other/S.lock" "$LH" </dev/null >/dev/null 2>&1 &
    innocents=($!)
    sleep 1000 >/dev/null 2>&1 &
    innocents+=($!)
    disown -a
}

# ---- what the daemons wrote ----

# The PIDs of the journal's lines of one kind, in order, in the array found.
find_pids() { # KIND
    local kind pid _
    found=()
    while read -r kind pid _; do
        [[ $kind == "$1" ]] && found+=("$pid")
    done <"$E/journal"
}

# Those of them that are alive, in the array living.
find_living() { # KIND
    local pid
    find_pids "$1"
    living=()
    for pid in "${found[@]}"; do
        ! alive "$pid" || living+=("$pid")
    done
}

journal_has() { # LINE: the beginning of a line
    [[ $'\n'$(<"$E/journal") == *$'\n'"$1"* ]]
}

# What must never happen, did not: prints what did.
no_outrage() {
    local line rc=0
    while read -r line; do
        case $line in
        TWO* | REFUSED* | LOST*) echo "$line" && rc=1 ;;
        esac
    done <"$E/journal"
    return $rc
}

# Whether the process has the file open, and locks it by that descriptor.
locks_it() { # PID FILE
    local fd line
    for fd in "/proc/$1/fd/"*; do
        [[ $fd -ef $2 ]] || continue
        while read -r line; do
            [[ $line != lock:* ]] || return 0
        done <"/proc/$1/fdinfo/${fd##*/}"
    done 2>/dev/null
    return 1
}

recorded_main() { # prints the PID that quick.state names
    local text=''
    { text=$(<"$D/run/quick.state"); } 2>/dev/null
    [[ $text =~ \"mainPid\":\ *([0-9]+) ]] && echo "${BASH_REMATCH[1]}"
}

# ---- latchd ----

# Sets latchd_pid; its log is the file named.
run_latchd() { # LOG
    : >"$1" # now, not when the child comes to it
    latchd run --config-dir "$D/etc" --runtime-dir "$D/run" --log-target stderr quick >>"$1" 2>&1 </dev/null &
    latchd_pid=$!
}

ready_count() { # LOG: sets ready
    local text=$'\n'
    { text+=$(<"$1"); } 2>/dev/null
    text=${text//Ready: PID/$'\1'}
    text=${text//[!$'\1']/}
    ready=${#text}
}

# Until LOG has its Nth "Ready", or the process has gone, or the time is up.
await_ready() { # LOG N PID SECONDS
    local until=$((${EPOCHREALTIME/[.,]/} + $4 * 1000000))
    while ready_count "$1" && ((ready < $2)); do
        kill -0 "$3" 2>/dev/null || return 1
        ((${EPOCHREALTIME/[.,]/} < until)) || return 2
        nap 0.005
    done
}

# Until the daemon is ready, or taken over as one that was (of which LOG tells nothing more); else as await_ready.
await_up() { # LOG PID SECONDS
    local until=$((${EPOCHREALTIME/[.,]/} + $3 * 1000000)) text
    while ready_count "$1" && ((ready < 1)); do
        { text=$(<"$D/run/quick.state"); } 2>/dev/null
        [[ $text != *'"state": "running"'* || $text != *"\"supervisorPid\": $2,"* ]] || return 0
        kill -0 "$2" 2>/dev/null || return 1
        ((${EPOCHREALTIME/[.,]/} < until)) || return 2
        nap 0.005
    done
}

# Until the file has the text in it, or the process has gone, or the time is up.
await_text() { # FILE TEXT PID SECONDS
    local until=$((${EPOCHREALTIME/[.,]/} + $4 * 1000000))
    until [[ $(<"$1") == *"$2"* ]]; do
        kill -0 "$3" 2>/dev/null || return 1
        ((${EPOCHREALTIME/[.,]/} < until)) || return 2
        nap 0.005
    done
}

await_gone() { # PID SECONDS
    local until=$((${EPOCHREALTIME/[.,]/} + $2 * 1000000))
    while alive "$1"; do
        ((${EPOCHREALTIME/[.,]/} < until)) || return 1
        nap 0.005
    done
}

# ---- the promises ----

# NAME.state follows the note in NAME.lock, when there is nothing more urgent to do; on a full file system it cannot.
await_recorded() { # PID
    local until=$((${EPOCHREALTIME/[.,]/} + 10 * 1000000)) note=''
    until [[ $(recorded_main) == "$1" ]]; do
        { note=$(<"$D/run/quick.lock"); } 2>/dev/null
        [[ $note != "latchd 1 pid=$1 start="* ]] || return 0
        ((${EPOCHREALTIME/[.,]/} < until)) || return 1
        nap 0.005
    done
}

# A latchd is up, the daemon ready: prints what is wrong.
check_up() {
    local main helpers pid rc=0
    no_outrage || rc=1
    find_living start
    [[ ${#living[@]} == 1 ]] || { echo "${#living[@]} daemons are alive: ${living[*]}" && return 1; }
    main=${living[0]}
    locks_it "$main" "$E/S.lock" || { echo "daemon $main does not hold S.lock" && rc=1; }
    await_recorded "$main" || { echo "quick.state names $(recorded_main), not $main" && rc=1; }
    [[ $(<"$E/S.pid") == "$main" ]] || { echo "S.pid names $(<"$E/S.pid"), not $main" && rc=1; }
    find_living helper
    helpers=("${living[@]}")
    [[ ${#helpers[@]} == 1 ]] || { echo "helpers alive: ${helpers[*]}, and there should be one" && rc=1; }
    for pid in "${innocents[@]}"; do
        alive "$pid" || { echo "innocent process $pid is gone" && rc=1; }
    done
    up_main=$main
    return $rc
}

# Stopped in good order: nothing is left but the lock files, quick.state and what a daemon that was killed had in hand.
# Prints what is. FILE is expected besides.
check_down() { # FILE, may be empty
    local pid file rc=0
    no_outrage || rc=1
    find_living start
    [[ ${#living[@]} == 0 ]] || { echo "daemons are left: ${living[*]}" && rc=1; }
    find_living helper
    [[ ${#living[@]} == 0 ]] || { echo "helpers are left: ${living[*]}" && rc=1; }
    for file in "$E"/* "$D/run"/* "$D/run"/.[!.]*; do
        [[ -e $file || -L $file ]] || continue
        case ${file##*/} in
        S.lock | S.pid.new | alone | journal | quick.lock | quick.state | "${1:-journal}") ;;
        *) echo "a file is left: ${file#"$D"/}" && rc=1 ;;
        esac
    done
    for pid in "${innocents[@]}"; do
        alive "$pid" || { echo "innocent process $pid is gone" && rc=1; }
    done
    return $rc
}
