# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What the tests with real daemons share; each sources it first. It makes $T, a directory that goes away at the end
# together with every process that has it in its command line, environment, working directory or among its open
# files: no other process is ever signalled. A test ends by calling finish.
#
# srcdir and builddir as `make check` exports them; by hand: builddir=DIRECTORY bash tests/real/test-....sh

set -u
srcdir=${srcdir:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
builddir=${builddir:-$(pwd)}
PATH=$builddir:$PATH:/usr/local/sbin:/usr/sbin:/sbin
export srcdir builddir PATH LC_ALL=C

harness_passed=0
harness_failed=0
harness_began=$SECONDS
T=$(mktemp -d "${TMPDIR:-/tmp}/latchd-test.XXXXXX") || exit 1
chmod 755 "$T"
export T
trap harness_cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# ---- saying so ----

ok() { # TEXT
    harness_passed=$((harness_passed + 1))
    printf 'ok - %s\n' "$1"
}

fail() { # TEXT [DETAIL...]: goes on
    harness_failed=$((harness_failed + 1))
    printf 'NOT OK - %s\n' "$1"
    shift
    (($# == 0)) || printf '%s\n' "$@" | sed 's/^/    /'
}

die() { # TEXT [DETAIL...]: what follows would make no sense
    fail "$@"
    harness_logs
    exit 1
}

note() { printf '# %s\n' "$*"; }

skip() { # WHY: the whole test
    echo "SKIP: $1"
    trap - EXIT
    harness_cleanup
    exit 77
}

is() { # ACTUAL EXPECTED TEXT
    if [[ $1 == "$2" ]]; then ok "$3"; else fail "$3" "expected: $2" "found:    $1" && return 1; fi
}

isnt() { # ACTUAL UNWANTED TEXT
    if [[ $1 != "$2" ]]; then ok "$3"; else fail "$3" "found, and it must not be: $1" && return 1; fi
}

contains() { # HAYSTACK NEEDLE TEXT
    if [[ $1 == *"$2"* ]]; then ok "$3"; else fail "$3" "not found: $2" "in:        $1" && return 1; fi
}

lacks() { # HAYSTACK NEEDLE TEXT
    if [[ $1 != *"$2"* ]]; then ok "$3"; else fail "$3" "found:     $2" "in:        $1" && return 1; fi
}

matches() { # TEXT EXTENDED-REGULAR-EXPRESSION TEXT
    if [[ $1 =~ $2 ]]; then ok "$3"; else fail "$3" "no match:  $2" "in:        $1" && return 1; fi
}

at_most() { # NUMBER BOUND TEXT
    if (($1 <= $2)); then ok "$3 ($1, at most $2)"; else fail "$3" "expected at most: $2" "found: $1" && return 1; fi
}

succeeds() { # TEXT COMMAND...
    local text=$1 out rc=0
    shift
    out=$("$@" 2>&1) || rc=$?
    if ((rc == 0)); then ok "$text"; else fail "$text" "exit code $rc of: $*" "$out" && return 1; fi
}

fails() { # TEXT COMMAND...
    local text=$1 out
    shift
    if out=$("$@" 2>&1); then fail "$text" "exit code 0 of: $*" "$out" && return 1; else ok "$text"; fi
}

exits() { # CODE TEXT COMMAND...
    local code=$1 text=$2 out rc=0
    shift 2
    out=$("$@" 2>&1) || rc=$?
    if ((rc == code)); then ok "$text"; else fail "$text" "exit code $rc, not $code, of: $*" "$out" && return 1; fi
}

finish() {
    local took=$((SECONDS - harness_began))
    if ((harness_failed)); then
        harness_logs
        echo "FAIL: $harness_failed of $((harness_passed + harness_failed)) checks, in $took s"
        exit 1
    fi
    ((harness_passed)) || { echo "FAIL: nothing was checked"; exit 1; }
    echo "PASS: $harness_passed checks, in $took s"
    exit 0
}

# The last words of all that ran, for whoever has to find out why.
harness_logs() {
    local log
    while IFS= read -r log; do
        printf '==> %s <==\n' "${log#"$T"/}"
        tail -n 40 "$log" | cut -c1-400
    done < <(find "$T" -name '*.log' -size +0 | sort)
}

# ---- waiting and time ----

now_ms() { local now=${EPOCHREALTIME/[.,]/}; echo "$((now / 1000))"; }

# How much longer than on an idle machine anything may take. What must not take long is measured, not waited for.
harness_patience=${LATCHD_TEST_PATIENCE:-4}

# Looks less and less often: four tests that look all the time would take the processors from what they wait for.
wait_until() { # SECONDS COMMAND...: until the command succeeds; so many seconds on an idle machine
    local until=$(($(now_ms) + $1 * 1000 * harness_patience)) look=0 pauses=(0.02 0.02 0.03 0.04 0.06 0.1 0.2 0.4)
    shift
    until "$@" >/dev/null 2>&1; do
        (($(now_ms) < until)) || return 1
        sleep "${pauses[look]}"
        ((look == ${#pauses[@]} - 1)) || look=$((look + 1))
    done
}

wait_for() { # SECONDS TEXT COMMAND...: as wait_until; when it never succeeds the test ends here
    local seconds=$1 text=$2
    shift 2
    wait_until "$seconds" "$@" || die "$text" "not within $((seconds * harness_patience)) s: $*"
    ok "$text"
}

# ---- processes ----

# Alive: there, and no zombie, or one whose other threads go on.
alive() { # PID
    local stat fields
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    read -r -a fields <<<"${stat##*) }"
    [[ ${fields[0]} != [ZX] ]] || ((fields[17] > 1))
}

gone() { ! alive "$1"; }

no_file() { [[ ! -e $1 && ! -L $1 ]]; } # PATH

zombie() { [[ -e /proc/$1 ]] && ! alive "$1"; } # PID

start_ticks() { # PID: field 22 of stat: with the number it tells a process from a later one
    local stat fields
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    read -r -a fields <<<"${stat##*) }"
    echo "${fields[19]}"
}

cmdline() { # PID
    local words
    { mapfile -d '' -t words <"/proc/$1/cmdline"; } 2>/dev/null || return 1
    ((${#words[@]} == 0)) || printf '%s ' "${words[@]}"
}

# The processes whose command line has these words, a PID a line.
pids_of_command() { # WORD...
    local words pid
    printf -v words '%s ' "$@"
    for pid in $(grep -lsF -- "$1" /proc/[0-9]*/cmdline | tr -cd '0-9\n'); do
        [[ $(cmdline "$pid") == "$words" ]] && echo "$pid"
    done
    return 0
}

# Every process that belongs to this test, by what the kernel says of it. Our own helpers, which inherit the
# environment too, may be among them: they are gone by the time anybody acts on it. A descriptor that can neither read
# nor write (O_PATH; its link has no permission, proc_pid_fd(5)) only points at a file: another test's `probe --all`.
harness_processes() {
    {
        grep -lsF "$T" /proc/[0-9]*/cmdline /proc/[0-9]*/environ
        find /proc/[0-9]*/cwd /proc/[0-9]*/fd -maxdepth 1 -lname "$T/*" -perm /600 2>/dev/null
    } | cut -d/ -f3 | sort -nu | grep -vx "$$"
}

harness_cleanup() {
    local rc=$? pid round mount pids=()
    trap '' INT TERM # timeout(1) sends its signal twice: to us, then to our group
    set +e
    exec 2>/dev/null # the shell tells of each job that is killed
    for round in 1 2 3 4 5; do
        pids=()
        for pid in $(harness_processes); do
            [[ $pid != "$BASHPID" ]] && alive "$pid" && pids+=("$pid")
        done
        ((${#pids[@]})) || break
        kill -KILL "${pids[@]}" 2>/dev/null
        sleep 0.1
    done
    ((round < 5)) || echo "# processes are left: ${pids[*]}"
    while read -r mount; do umount -l "$mount"; done \
        < <(awk -v t="$T/" 'index($5, t) == 1 { print $5 }' /proc/self/mountinfo | sort -r)
    rm -rf "$T"
    return "$rc"
}

# ---- tools of tests/tools: from the build, else compiled on the spot ----

tool() { # NAME: prints its path
    if [[ -x $builddir/tests/tools/$1 ]]; then
        echo "$builddir/tests/tools/$1"
        return
    fi
    mkdir -p "$T/tools"
    [[ -x $T/tools/$1 ]] ||
        ${CC:-cc} -std=gnu17 -D_GNU_SOURCE -O1 -pthread -o "$T/tools/$1" "$srcdir/tests/tools/$1.c" || exit 1
    echo "$T/tools/$1"
}

require_root() { [[ $(id -u) == 0 ]] || skip "needs root"; }

require() { # COMMAND...
    local command
    for command; do
        command -v "$command" >/dev/null || skip "$command is not installed"
    done
}

# Built with the address sanitizer, which takes memory and address space of its own and keeps what was freed.
is_sanitized() { grep -qF libasan "$builddir/latchd"; }

# ---- locks: who has them, by the kernel's own account ----

# The processes through whose descriptors the file is locked (fdinfo's "lock:" lines), a PID a line.
holders_of() { # FILE
    local identity inode info pid
    identity=$(stat -c '%d:%i' "$1" 2>/dev/null) || return 0
    inode=${identity#*:}
    grep -ls "^lock:.*:$inode " /proc/[0-9]*/fdinfo/* 2>/dev/null | while IFS= read -r info; do
        pid=${info#/proc/} pid=${pid%%/*}
        [[ $(stat -Lc '%d:%i' "/proc/$pid/fd/${info##*/}" 2>/dev/null) == "$identity" ]] && echo "$pid"
    done | sort -nu
}

# Whether a process holds the lock of a file.
holds() { # PID FILE
    holders_of "$2" | grep -qx "$1"
}

# Whether the lock can be had, asked of the kernel in the plainest way.
lock_is_free() { # FILE
    [[ ! -e $1 ]] || flock --nonblock --exclusive "$1" true
}

# The descriptor by which a process has a file open.
fd_of() { # PID FILE
    local fd identity
    identity=$(stat -c '%d:%i' "$2") || return 1
    for fd in "/proc/$1/fd"/*; do
        if [[ $(stat -Lc '%d:%i' "$fd" 2>/dev/null) == "$identity" ]]; then
            echo "${fd##*/}"
            return
        fi
    done
    return 1
}

# ---- Kea ----
#
# make_kea DIR makes a Kea of its own: DIR/kea.conf, DIR/leases.csv, control socket DIR/kea.sock with its lock
# DIR/kea.sock.lock, PID file DIR/pid/kea.kea-dhcp4.pid; and a latchd configuration DIR/etc/kea.conf for the service
# "kea", runtime directory DIR/run. $KEA_LEASES leases take Kea some seconds to load, and kea-lfc some more to clean up,
# once a second.

KEA_LEASES=200000

require_kea() {
    require kea-dhcp4 kea-lfc
    [[ $(command -v latchd) == "$builddir/latchd" ]] || die "latchd is built in $builddir"
    KEA=$(realpath "$(command -v kea-dhcp4)")
    KEA_LFC=$(realpath "$(command -v kea-lfc)")
    kea_hooks=$(find /usr/lib /usr/local/lib -name libdhcp_lease_cmds.so -print -quit 2>/dev/null)
}

# leases N: a lease file of N lines, made once a run.
lease_file() { # N: prints its path
    local file=$T/.leases-$1
    [[ -e $file ]] || awk -v n="$1" 'BEGIN {
        print "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context"
        for (i = 0; i < n; i++) {
            j = i + 256 # 10.0.1.0 is the first
            printf "10.%d.%d.%d,02:00:%02x:%02x:%02x:%02x,,4000000000,4294967294,1,0,0,,0,\n", int(j / 65536) % 256,
                int(j / 256) % 256, j % 256, int(i / 16777216) % 256, int(i / 65536) % 256, int(i / 256) % 256, i % 256
        }
    }' >"$file"
    echo "$file"
}

make_kea() { # DIR [LEASES] [LINE...]: lines for the [Service] section
    local dir=$1 leases=${2:-$KEA_LEASES} hook=""
    (($# > 1)) && shift
    shift
    mkdir -p "$dir/etc" "$dir/pid" "$dir/lock" "$dir/run"
    cp "$(lease_file "$leases")" "$dir/leases.csv"
    [[ -n $kea_hooks ]] && hook="\"hooks-libraries\": [ { \"library\": \"$kea_hooks\" } ],"
    cat >"$dir/kea.conf" <<END
{ "Dhcp4": {
    "interfaces-config": { "interfaces": [] },
    "control-socket": { "socket-type": "unix", "socket-name": "$dir/kea.sock" },
    "lease-database": { "type": "memfile", "persist": true, "name": "$dir/leases.csv", "lfc-interval": 1 },
    $hook
    "valid-lifetime": 4000000000,
    "subnet4": [ { "id": 1, "subnet": "10.0.0.0/8", "pools": [ { "pool": "10.0.1.0 - 10.255.255.254" } ] } ]
} }
END
    {
        cat <<END
[Service]
Description=Kea for a test
Kind=kea
ConfigFile=$dir/kea.conf
ExecStart=$KEA -c $dir/kea.conf
Environment=KEA_PIDFILE_DIR=$dir/pid KEA_LOCKFILE_DIR=$dir/lock
StandardOutput=append:$dir/kea.log
StandardError=append:$dir/kea.log
OrphanGraceSec=200ms
END
        (($# == 0)) || printf '%s\n' "$@"
    } >"$dir/etc/kea.conf"
}

# Sets kea_pid. What it says goes to DIR/plain.log.
start_plain_kea() { # DIR
    KEA_PIDFILE_DIR=$1/pid KEA_LOCKFILE_DIR=$1/lock "$KEA" -c "$1/kea.conf" >>"$1/plain.log" 2>&1 </dev/null &
    kea_pid=$!
    disown "$kea_pid"
}

# The processes that run Kea with DIR's configuration. A child of such a process, between its fork and its exec of
# kea-lfc, is none.
keas_of() { # DIR
    local pid found=() parent stat
    for pid in $(grep -lsF "$1/kea.conf" /proc/[0-9]*/cmdline | tr -cd '0-9\n'); do
        [[ $(readlink "/proc/$pid/exe" 2>/dev/null) == "$KEA" ]] && found+=("$pid")
    done
    for pid in "${found[@]}"; do
        { read -r stat <"/proc/$pid/stat"; } 2>/dev/null || continue
        stat=${stat##*) }
        read -r _ parent _ <<<"$stat"
        [[ $stat == [ZX]* || " ${found[*]} " == *" $parent "* ]] || echo "$pid"
    done
}

count_keas() { keas_of "$1" | wc -l; } # DIR
some_kea() { [[ -n $(keas_of "$1") ]]; } # DIR

# From now on counts DIR's Keas every few milliseconds; keas_at_once says how many there were at most at one time, and
# ends it.
watch_keas() { # DIR
    "$(tool watch-processes)" "$KEA" "$1/kea.conf" >"$1/watched" &
    watcher_pid=$!
}

keas_at_once() { # DIR
    kill -TERM "$watcher_pid"
    wait_until 10 test -s "$1/watched" # it is no child of a $(...), which cannot wait for it
    cut -d' ' -f1 "$1/watched"
}

# The kea-lfc that holds DIR's lock, found by the lock and told from Kea by its executable.
lfc_pid_of() { # DIR
    local pid
    for pid in $(holders_of "$1/kea.sock.lock"); do
        if [[ $(readlink "/proc/$pid/exe" 2>/dev/null) == "$KEA_LFC" ]]; then
            echo "$pid"
            return
        fi
    done
    return 1
}

# Sends a command to Kea, or with JSON behind it with arguments; prints the answer.
ask_kea() { # DIR COMMAND [ARGUMENTS]
    local arguments=""
    [[ -n ${3-} ]] && arguments=", \"arguments\": $3"
    "$(tool unix-call)" "$1/kea.sock" "${ASK_SECONDS:-10}" "{ \"command\": \"$2\"$arguments }"
}

# Whether Kea answers now, and is the process that PID names.
kea_answers() { # DIR [PID]
    local answer
    answer=$(ASK_SECONDS=10 ask_kea "$1" status-get) || return 1
    [[ -z ${2-} || $answer =~ \"pid\":\ *$2[^0-9] ]]
}

leases_in_kea() { # DIR: how many leases Kea says it has
    ask_kea "$1" statistic-get '{ "name": "subnet[1].assigned-addresses" }' |
        grep -o '\[ *\[ *[0-9]*' | tr -cd '0-9\n' | head -1
}

# ---- latchd ----

latchd_options() { printf '%s\n' --config-dir "$1/etc" --runtime-dir "$1/run" --log-target stderr; } # DIR

# Sets latchd_pid. Its events go to DIR/latchd.log.
start_latchd() { # DIR [SERVICE]
    # shellcheck disable=SC2046 # no path of a test has blanks
    latchd run $(latchd_options "$1") "${2:-kea}" >>"$1/latchd.log" 2>&1 </dev/null &
    latchd_pid=$!
}

# In the background, and none of this shell's jobs: it may be killed without a word.
detach_latchd() { # DIR SERVICE...
    local options=()
    mapfile -t options < <(latchd_options "$1")
    latchd run "${options[@]}" "${@:2}" >>"$1/latchd.log" 2>&1 </dev/null &
    latchd_pid=$!
    disown "$latchd_pid"
}

kill_latchd() {
    kill -KILL "$latchd_pid"
    wait_until 10 gone "$latchd_pid"
}

# Sets latchd_rc. Its daemon ends with it.
stop_latchd() {
    kill -TERM "$latchd_pid"
    wait "$latchd_pid"
    # shellcheck disable=SC2034 # for the test
    latchd_rc=$?
}

ctl() { # DIR ARGUMENT...
    local dir=$1
    shift
    timeout 60 latchctl --config-dir "$dir/etc" --runtime-dir "$dir/run" "$@"
}

# One field of the service's status, as jq writes it; a whole path such as .lastExit.signal goes too.
status_of() { # DIR FIELD [SERVICE]
    ctl "$1" status --json "${3:-kea}" 2>/dev/null | jq -r ".[0]$2"
}

# Whether the service is in this state.
in_state() { # DIR STATE [SERVICE]
    [[ $(ctl "$1" list --json 2>/dev/null | jq -r ".[] | select(.service == \"${3:-kea}\").state") == "$2" ]]
}

# Whether the service runs, and not as the process that PID names: it is up again.
runs_anew() { # DIR OLD-PID [SERVICE]
    ctl "$1" list --json 2>/dev/null | jq -e --argjson old "$2" --arg service "${3:-kea}" \
        '.[] | select(.service == $service) | .state == "running" and .mainPid != $old' >/dev/null
}

# Whether it is as far as it gets for now.
settled() { # DIR [SERVICE]
    ctl "$1" list --json 2>/dev/null | jq -e --arg service "${2:-kea}" '.[] | select(.service == $service) | .state |
        . == "running" or . == "blocked" or . == "failed" or . == "stopped"' >/dev/null
}

# The daemon as latchd has it; empty: none.
main_pid() { # DIR [SERVICE]
    ctl "$1" list --json 2>/dev/null | jq -r ".[] | select(.service == \"${2:-kea}\").mainPid // empty"
}
