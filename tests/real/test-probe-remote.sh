#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# File systems that others answer for: tests/tools/hanging-fs stands for the server, which answers, or never does.
# What `latchctl probe` says of files there, that it never waits longer than it says, and that what stands beside
# them is judged as ever.
#
# alone: whoever reads all processes may wait for a file system that hangs here
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require jq unshare
[[ -c /dev/fuse ]] || skip "there is no /dev/fuse"
if [[ -z ${LATCHD_TEST_REMOTE-} ]]; then
    # Mounts of its own, which nobody else can stumble over. The directory goes with the one that made it.
    trap - EXIT
    rm -rf "$T"
    LATCHD_TEST_REMOTE=1 exec unshare --mount --propagation private bash "$0"
fi

# shellcheck source=tests/lib/lock-maker.sh
. "$srcdir/tests/lib/lock-maker.sh"
F=$T # where the mounts are
SERVER=$(tool hanging-fs)
DEADLINE_MS=2000 # of latchctl probe
# What a probe takes on this machine just now, where nobody is waited for.
: >"$T/usual.lock"
began=$(now_ms)
flock "$T/usual.lock" timeout 30 latchctl probe "$T/usual.lock" >/dev/null
usual_ms=$(($(now_ms) - began))
MARGIN_MS=$((1000 + 3 * usual_ms))
AT_ONCE_MS=$((DEADLINE_MS / 2 + 3 * usual_ms))
mkdir "$T/hang" "$T/open" "$T/answer" "$T/local"

serve() { # MODE DIRECTORY [TYPE]: sets server
    "$SERVER" "$@" >"$2.ready" 2>"$2.log" &
    server=$!
    wait_until 10 test -s "$2.ready" || skip "FUSE cannot be mounted here: $(cat "$2.log")"
}

serve hang "$T/hang" && hang=$server
serve hang-open "$T/open" && open=$server
serve answer "$T/answer" fake && answer=$server

probe() { # PATH...: sets report, code, took_ms
    local began
    began=$(now_ms)
    code=0
    report=$(timeout 30 latchctl --json probe "$@" 2>&1) || code=$?
    took_ms=$(($(now_ms) - began))
}

told() { # FILTER [INDEX]: of the report
    jq -r ".[${2-0}] | $1" <<<"$report" 2>&1
}

verdict() { told '"\(.verdict) \(.reason)"' "${1-0}"; }

holders() { told '[.holders[].pid] | sort | join(" ")' "${1-0}"; }

latchctls() { # of this test, dead ones too as long as nobody has waited for them
    local pid
    for pid in $(grep -lsF "$T/" /proc/[0-9]*/cmdline | tr -cd '0-9\n'); do
        [[ $(cat "/proc/$pid/comm" 2>/dev/null) == latchctl ]] && echo "$pid"
    done
}

# shellcheck disable=SC2317 # wait_for calls it
no_latchctls() { [[ -z $(latchctls) ]]; }

# ---- a server that never answers ----

probe "$T/hang/a.lock"
is "$(verdict) $code" "unknown network-filesystem 6" "a silent file system: unknown"
at_most "$took_ms" $((DEADLINE_MS + MARGIN_MS)) "... within the deadline"
if ((took_ms >= DEADLINE_MS / 2)); then ok "... and it was asked"; else fail "... and it was asked" "$took_ms ms"; fi
contains "$report" "$T/hang" "... the mount point is named"
contains "$report" "fuse" "... and its type"

probe "$T/open/a.pid"
is "$(verdict) $code" "unknown network-filesystem 6" "a file that can be seen, but not opened: unknown"
at_most "$took_ms" $((DEADLINE_MS + MARGIN_MS)) "... within the deadline"

began=$(now_ms)
timeout 30 latchctl probe "$T/hang/a.lock" 2>&1 | cat >"$T/said"
at_most $(($(now_ms) - began)) $((DEADLINE_MS + MARGIN_MS)) "who reads its output is not kept waiting"
contains "$(<"$T/said")" "network-filesystem" "... and reads the verdict"

ln -s hang "$T/way"
ln -s "$T/way/sub/../x" "$T/wayward"
ln -s "$T/hang/a.lock" "$T/link"
probe "$T/way/a.lock"
is "$(verdict)" "unknown network-filesystem" "by a link on the way: unknown"
at_most "$took_ms" $((DEADLINE_MS + MARGIN_MS)) "... within the deadline"
probe "$T/wayward/a.lock"
at_most "$took_ms" $((DEADLINE_MS + MARGIN_MS)) "by a link to a link: within the deadline"
is "$(verdict)" "unknown network-filesystem" "... unknown"
probe "$T/link"
is "$(verdict)" "unknown not-a-lock" "a link at the path's end is not followed"
at_most "$took_ms" "$AT_ONCE_MS" "... and nobody waits"
cd "$T/local" || die "a directory of its own"
probe ../hang/a.lock
is "$(verdict)" "unknown network-filesystem" "by a relative path: unknown"
at_most "$took_ms" $((DEADLINE_MS + MARGIN_MS)) "... within the deadline"
cd / || die "the root"

began=$(now_ms)
fails "nothing there is cleared" timeout 30 latchctl clear --dry-run "$T/hang/a.pid"
at_most $(($(now_ms) - began)) "$AT_ONCE_MS" "... and nobody waits: it is not even asked"

# ---- what stands beside it ----

make helper name=other open=@/local/other.lock flock end name=main open=@/local/held.lock flock
: >"$T/local/free.lock"
echo 4194303 >"$T/local/stale.pid"
probe "$T/hang/a.lock" "$T/local/held.lock" "$T/hang/b.lock" "$T/local/free.lock" "$T/open/a.pid" "$T/local/stale.pid" \
    "$T/hang/c.lock" "$T/local/gone.lock"
at_most "$took_ms" $((2 * DEADLINE_MS + MARGIN_MS)) "of many paths there, each file system is waited for once"
is "$code" 6 "the largest code counts"
for i in 0 2 4 6; do
    is "$(verdict $i)" "unknown network-filesystem" "path $i hangs"
done
is "$(verdict 1) $(holders 1)" "held live $(pid_of main)" "a held lock beside it: held, by its holder alone"
is "$(verdict 3)" "free none" "a free lock beside it: free"
is "$(verdict 5)" "stale dead" "a stale PID file beside it: stale"
is "$(verdict 7)" "absent none" "an absent file beside it: absent"
probe "/proc/self/root$T/local/held.lock"
is "$(verdict) $(holders)" "held live $(pid_of main)" "through a process's root: held, by its holder alone"
probe "$T/local/held.lock"
at_most "$took_ms" "$AT_ONCE_MS" "who asks about a local file waits for nobody"
end_maker

# ---- a server that answers ----

probe "$T/answer/free.lock"
is "$(verdict) $code" "unknown network-filesystem 6" "free here may be held elsewhere: unknown"
is "$(told '[.families.posix, .families.ofd, .families.flock] | join(" ")')" "free free unknown" \
    "... what the server says is told: flock it does not say"
probe "$T/answer/held.lock"
is "$(verdict) $(holders)" "unknown network-filesystem " "held by a stranger: unknown, and nobody here is named"
is "$(told '[.families.posix, .families.ofd, .families.flock] | join(" ")')" "held unknown unknown" "... held, says the server"
probe "$T/answer/a.pid"
is "$(verdict)" "unknown network-filesystem" "a PID file, whose PID may be another machine's: unknown"
is "$(told .recordedPid)" 4711 "... its content was read"
is "$(told .kind)" pidfile "... and it is known for what it is"
probe "$T/answer/held.pid"
is "$(verdict)" "unknown network-filesystem" "a locked PID file: unknown"
probe "$T/answer/link"
is "$(told .verdict)" unknown "a link that names a process of another machine: unknown"
probe "$T/answer/sock"
is "$(told '"\(.kind) \(.verdict)"')" "socket unknown" "a socket there: nobody connects, unknown"
probe "$T/answer/fifo"
is "$(verdict)" "unknown not-a-lock" "a FIFO there"
probe "$T/answer/dir"
is "$(verdict)" "unknown not-a-lock" "a directory there"
probe "$T/answer/nothing"
is "$(verdict) $code" "absent none 0" "nothing there"
make helper name=opener open=@/answer/free.lock end name=main open=@/answer/free.lock flock
probe "$T/answer/free.lock"
is "$(verdict) $(holders) $code" "held live $(pid_of main) 5" "held by a process of this machine: held, by that one"
refused=$(told '.unreadable | sort') # PID 1 of some machines

# ---- a server that falls silent while files of it are open ----

kill -STOP "$answer"
make_local=$T/local/second.lock
"$MAKER" name=main "open=$make_local" flock <"$T/hold" >"$T/labels2" 2>"$T/maker2.log" {hold}>&- &
maker2=$!
wait_until 10 test -s "$T/labels2" || die "lock-maker made it" "$(cat "$T/maker2.log")"
probe "$make_local"
is "$(verdict) $(holders)" "held live $(jq -r .main "$T/labels2")" "its files among the descriptors of others: no hindrance"
is "$(told '.unreadable | sort')" "$refused" "... nor taken for descriptors that could not be read"
at_most "$took_ms" "$AT_ONCE_MS" "... and nobody waits"
probe "$T/answer/free.lock"
is "$(verdict)" "unknown network-filesystem" "the file itself: unknown"
at_most "$took_ms" $((DEADLINE_MS + MARGIN_MS)) "... within the deadline"
kill -CONT "$answer"
probe "$T/answer/free.lock"
is "$(verdict) $(holders)" "held live $(pid_of main)" "when it answers again: held, as before"
end_maker
wait "$maker2"

# ---- what is left behind ----

note "waiting in the kernel: $(latchctls | wc -l) processes"
kill -TERM "$hang" "$open" "$answer"
wait "$hang" "$open" "$answer"
wait_for 10 "when the file systems are gone, so is every process that waited for them" no_latchctls
is "$(awk -v t="$T/" 'index($5, t) == 1' /proc/self/mountinfo)" "" "nothing is left mounted"
finish
