#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What people see of `latchctl probe`: the tree has the true holder and tells it from who waits and who merely has the
# file open; it fits the terminal and is plain in a pipe; hostile names are harmless; the advice works as it stands.
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require jq script setpriv flock

# shellcheck source=tests/lib/lock-maker.sh
. "$srcdir/tests/lib/lock-maker.sh"

probe() { # [OPTION...] PATH...: sets out and code
    code=0
    out=$(timeout 20 "$T/latchctl" probe "$@" 2>&1) || code=$?
}

# What stands in the tree below a heading, up to the next one of its rank.
section() { # HEADING
    awk -v heading="$1" '
        /^(\|-|`-|├─|└─)/ { on = index($0, "- " heading) || index($0, "─ " heading) }
        /^[[:alnum:]]/ { on = 0 }
        on' <<<"$out"
}

# The same on a terminal of that width, without carriage returns.
on_terminal() { # COLUMNS PATH: sets out
    out=$(timeout 20 script -qec "stty cols $1 rows 50; exec '$T/latchctl' probe '$2'" /dev/null </dev/null | tr -d '\r')
}

plain() { sed 's/\x1b\[[0-9;]*m//g'; }

# The widest line of the tree, in characters.
widest() {
    local LC_ALL=C.UTF-8 line most=0
    while IFS= read -r line; do
        line=${line%"${line##*[! ]}"}
        ((${#line} <= most)) || most=${#line}
    done < <(plain <<<"$out" | sed -n '/^WHO/,/^\(not seen\|advice\)/p' | sed '$d')
    echo "$most"
}

control_characters() { LC_ALL=C grep -cP '[\x00-\x08\x0b-\x1f\x7f]' <<<"$1"; }

advice() { sed -n 's/^advice: //p' <<<"$out"; }

echo "# who holds, who waits, who has it open"
make name=main open=@/a.lock flock socket=@/a listen=5 helper name=helper end
main=$(pid_of main) helper=$(pid_of helper)
flock "$F/a.lock" true {hold}>&- &
waiter=$!
sleep 1000 3<"$F/a.lock" {hold}>&- &
opener=$!
wait_until 10 grep -q -- "-> .* $waiter " /proc/locks || die "flock waits"
wait_until 10 grep -q sleep "/proc/$opener/comm" || die "sleep has it open"
probe "$F/a.lock" "$F/a"
is "$code" 5 "held: exit status 5"
is "$(sed -n 1p <<<"$out")" "$F/a.lock: held (live)" "the first line: path, verdict, reason"
contains "$(sed -n 2p <<<"$out")" "lock-maker (PID $main, user root)" "the second: the sentence, which names the holder"
own=${out%%"
$F/a: "*}
both=$out
out=$own
matches "$(section "held by")" " lock-maker +$main root +[0-9:]+ main +flock, listener, fd [0-9]+ +itself, holds $F/a +$MAKER " \
    "the holder: pid, user, since when, role, locks, descriptor, what it holds besides, command line"
# A session that was begun outside of the PID namespace, as a container's, is 0 here, and names nobody (kernel/pid.c, pid_nr_ns()).
related="child, session, group"
(($(ps -o sid= -p "$helper") != 0)) || related="child, group"
matches "$(section "held by")" " lock-maker +$helper root +[0-9:]+ other +flock, listener, fd [0-9]+ +$related" \
    "its child, and how it is related"
matches "$(section "waiting for it")" " flock +$waiter root .* waits " "who waits"
lacks "$(section "held by")" " $waiter " "who waits does not hold it"
matches "$(section "merely open in")" " sleep +$opener root .* no lock, fd 3 .*sleep 1000" "who merely has it open"
lacks "$(section "merely open in")" " $waiter " "who waits is told once"
lacks "$(section "held by")" " $opener " "who has it open does not hold it"
matches "$(section recorded)" "recorded +$main root" "whom the kernel has on record"
matches "$out" "queue +[0-9] of 6 waiting" "the queue"
is "$(advice)" "leave it alone; if those processes shall go: kill $main $helper" "advice: all that have it, not the first alone"
out=$both
contains "$out" "
$F/a: held (live)" "the other path, with a line of its own"
is "$(LC_ALL=C grep -c $'\x1b' <<<"$out")" 0 "no escape codes in a pipe"
contains "$out" "|- held by" "a tree of ASCII in the C locale"
LC_ALL=C.UTF-8 probe "$F/a.lock"
contains "$out" "├─ held by" "a tree of lines in a UTF-8 locale"
contains "$out" " socket $F/a listen 5 helper" "in a pipe command lines are whole"

echo "# terminals"
export LC_ALL=C.UTF-8
for columns in 60 80 100 132 200; do
    on_terminal "$columns" "$F/a.lock"
    contains "$(plain <<<"$out")" "├─ held by" "$columns columns: there is the tree"
    at_most "$(widest)" "$columns" "$columns columns: it fits"
    matches "$(plain <<<"$out")" "lock-maker +$main .*flock, listener" "$columns columns: who and how stand there"
done
on_terminal 132 "$F/a.lock"
contains "$out" $'\e[1;33mheld\e[0m' "colours on a terminal: the verdict"
matches "$out" $'\e\\[32m[^\n]*lock-maker' "and the holder by its role"
NO_COLOR=1 on_terminal 132 "$F/a.lock"
is "$(LC_ALL=C grep -c $'\x1b' <<<"$out")" 0 "none with NO_COLOR"
export LC_ALL=C

echo "# options"
probe --quick "$F/a.lock"
is "$(sed -n 1p <<<"$out")" "$F/a.lock: held (live)" "--quick: held"
matches "$(section "held by")" " lock-maker +$main " "--quick: by the recorded process"
contains "$out" "quick: the likely holders only were looked at" "--quick: says that this is not all"
is "$(timeout 20 "$T/latchctl" --json probe --quick "$F/a.lock" | jq -r '.[0] | "\(.effort) \(.complete)"')" "quick false" \
    "--quick --json: neither is it complete"
probe --style flock "$F/a.lock"
is "$code" 5 "--style flock"
for style in nonsense none ""; do
    exits 64 "--style '$style' is refused" "$T/latchctl" probe --style "$style" "$F/a.lock"
done
exits 64 "an empty path is refused" "$T/latchctl" probe ""
is "$("$T/latchctl" probe --nonsense 2>&1 | head -n 1)" "latchctl probe: unrecognized option '--nonsense'" "a wrong option: who says so"
is "$("$T/latchctl" probe --version)" "$("$T/latchctl" --version)" "--version is a common option"
for name in 127.0.0.1:5432 :5432 "[::1]:5432"; do
    probe "$name"
    is "$code $(advice)" "0 only files and unix sockets are probed; who listens on that port: ss -ltnp 'sport = :5432'" \
        "$name is no file"
done
for name in a:70000 x:y "$F/a:5432"; do
    probe "$name"
    is "$(advice)" "nothing to do" "$name is no port"
done
ln -s "$F/a.lock" "$F/link.lock"
probe "$F/link.lock"
contains "$out" "it is a symbolic link, and no owner stands in it; it leads to $F/a.lock" "a link that is no lock: where it leads"
exits 64 "--all wants no path" "$T/latchctl" probe --all "$F/a.lock"
probe "@$F/none"
is "$code" 0 "an abstract name that nobody has: exit status 0"
contains "$out" "nobody has that name bound in this network namespace" "and it says so"
touch "$F/@file"
(cd "$F" && exits 0 "a file whose name begins with @" "$T/latchctl" probe ./@file)
kill "$opener" "$waiter"
wait "$opener" "$waiter" 2>/dev/null

echo "# an ordinary user"
chmod 755 "$F"
code=0
out=$(timeout 20 setpriv --reuid 65534 --clear-groups "$T/latchctl" probe "$F/a.lock" 2>&1) || code=$?
matches "$out" "not seen: [0-9]+ of [0-9]+ processes could not be read" "is told how many processes could not be read"
is "$(advice)" "do not remove it; ask as root, who can read them all: sudo latchctl probe $F/a.lock" "and what to type"
is "$(grep -c "sudo latchctl probe" <<<"$out")" 1 "and that once"
for name in free.lock absent.lock; do
    [[ $name == absent.lock ]] || touch "$F/$name"
    code=0
    out=$(timeout 20 setpriv --reuid 65534 --clear-groups "$T/latchctl" probe "$F/$name" 2>&1) || code=$?
    is "$code $(sed -n '1s/.*: //p' <<<"$out")" "0 ${name%.lock}" "$name: the verdict stays"
    matches "$(advice)" "^nothing in the way as far as can be seen; [0-9]+ of [0-9]+ processes could not be read, .*: sudo latchctl probe $F/$name$" \
        "$name: nothing to do is not what it is told"
    probe "$F/$name"
    is "$(advice)" "nothing to do" "$name: root is"
done
unmake

echo "# several holders, and how they hold"
make helper name=one open=@/s.lock flock-shared end helper name=two open=@/s.lock flock-shared end \
    helper name=bound socket=@/bound end helper name=whole open=@/x.lock flock end
probe "$F/s.lock"
matches "$(section "held by")" " lock-maker +$(pid_of one) .* flock shared, fd [0-9]+" "a shared lock"
matches "$(section "held by")" " lock-maker +$(pid_of two) .* flock shared, fd [0-9]+" "and who shares it"
is "$(advice)" "leave it alone; if those processes shall go: kill $(printf '%s\n' "$(pid_of one)" "$(pid_of two)" | sort -n | xargs)" \
    "the advice names both"
probe "$F/x.lock"
lacks "$(section "held by")" "flock shared" "an exclusive one is not shared"
probe "$F/bound"
matches "$(section "held by")" " lock-maker +$(pid_of bound) .* socket, fd [0-9]+" "a socket that nobody listens on is no listener"
lacks "$out" "waiting" "and has no queue"
unmake
make name=main socket=@/gone listen=5 unlink
probe "$F/gone"
contains "$out" "removed or renamed, was here" "of a socket it is not known which"
unmake
make name=main open=@/a.lock flock unlink stop
main=$(pid_of main)
wait_until 10 grep -q '^State:.T' "/proc/$main/status" || die "it is stopped"
probe "$F/a.lock"
is "$(advice)" "start no second one; begin the living one anew: kill $main && kill -CONT $main, then start it again" \
    "a stopped process: SIGTERM only waits"
eval "$(advice | sed 's/^.*: //; s/, then.*//')" || fail "kill && kill -CONT"
wait_for 10 "what it says ends it" gone "$main"
unmake

echo "# leftovers and what stood there once"
make setsid open=@/a.lock flock fork-die name=orphan
orphan=$(pid_of orphan)
probe "$F/a.lock"
is "$code" 4 "orphaned: exit status 4"
matches "$(section "held by")" " lock-maker +$orphan root +[0-9:]+ leftover flock, fd [0-9]+ +session, group" \
    "the leftover, in the session that the dead one led"
matches "$(section recorded)" "recorded +[0-9]+ .* dead" "the recorded process is dead"
matches "$(advice)" "^wait until PID $orphan ends, .*: kill $orphan; do not remove the file$" "advice"
unmake
make name=main open=@/a.lock flock unlink
main=$(pid_of main)
probe "$F/a.lock"
is "$(sed -n 1p <<<"$out")" "$F/a.lock: held (split)" "the lock file was removed under its owner"
contains "$(sed -n 2p <<<"$out")" "nothing stands there, but the file that did was removed" "the sentence says so"
matches "$(section "removed, was here")" " lock-maker +$main root .* main +flock" "its holder stands in the tree"
is "$(advice)" "start no second one; begin the living one anew: kill $main, then start it again" "advice"
unmake

echo "# hostile names"
mkdir -p "$F"
long=$(printf 'x%.0s' {1..4096})
hostile=$'evil\n\e[31mPID 1\e]0;title\a\x9b\xc2\x9b\r\t'$long
name=$'sl\ne\e[3\x9bp'
cp "$(command -v sleep)" "$F/$name"
lock="$F/"$'a\n\e[2Jb $(touch hacked) .lock'
(
    exec 9>"$lock"
    flock 9
    exec -a "$hostile" "$F/$name" 1000
) &
held_by=$!
wait_until 10 grep -qa evil "/proc/$held_by/cmdline" || die "the hostile process has its lock"
probe "$lock"
is "$(sed -n 1p <<<"$out")" "$F/a??[2Jb \$(touch hacked) .lock: unknown (locker-dead)" "flock(1), which took it, is dead"
is "$(control_characters "$out")" 0 "no control character comes through"
is "$(grep -c " $held_by " <<<"$(section "held by")")" 1 "the holder stands in one line"
contains "$(section "held by")" "evil??[31mPID 1" "with its command line"
is "$(wc -l <<<"$(section "held by")")" 2 "and nothing else stands there"
json=$(timeout 20 "$T/latchctl" --json probe "$lock")
succeeds "--json is JSON" jq -e '.[0].holders | length == 1' <<<"$json"
is "$(jq -r '.[0].holders[0].pid' <<<"$json")" "$held_by" "with the holder"
is "$(control_characters "$(jq -r '.. | strings' <<<"$json" | grep -v '^$')")" 0 "and no control character in its strings"
succeeds "--facts is JSON" jq -e '.[0].facts.holders | length == 1' <<<"$(timeout 20 "$T/latchctl" probe --facts "$lock")"
LC_ALL=C.UTF-8 on_terminal 80 "$lock"
at_most "$(LC_ALL=C.UTF-8 widest)" 80 "on a terminal it fits, too"
kill "$held_by"
wait "$held_by" 2>/dev/null

echo "# the advice works as it stands"
PATH=$T:$PATH
dead=$(sh -c 'echo $$')
for name in "a.pid" "-n.pid" "it's \$(touch hacked) a.pid" $'line\nbreak\e[31m\xff.pid'; do
    (
        harness_failed=0
        cd "$F" || exit 1
        printf '%s\n' "$dead" >"./$name"
        probe -- "$name"
        is "$code" 3 "stale: ${name@Q}"
        eval "$(advice)" >/dev/null 2>&1 || fail "latchctl clear" "$(advice)" "$(eval "$(advice)" 2>&1)"
        is "$([[ -e ./$name ]] && echo there)" "" "what it says removes the file: $(advice)"
        ((harness_failed == 0))
    ) || fail "advice for ${name@Q}"
done
is "$([[ -e $F/hacked ]] && echo executed)" "" "nothing of a name is executed"
rm -rf "$F"
make name=main open=@/a.pid write=%p stop
main=$(pid_of main)
wait_until 10 grep -q '^State:.T' "/proc/$main/status" || die "it is stopped"
probe "$F/a.pid"
is "$(sed -n 1p <<<"$out")" "$F/a.pid: held (stopped)" "a stopped daemon"
matches "$(section recorded)" "recorded +$main root .* stopped, PID in the file" "the tree says so"
eval "$(advice | sed 's/^.*: //')" || fail "kill -CONT"
wait_for 10 "what it says makes it go on: $(advice)" grep -q '^State:.[SR]' "/proc/$main/status"
unmake

echo "# clear"
mkdir -p "$F"
chmod 755 "$F"
printf '%s\n' "$dead" >"$F/a.pid"
as_nobody() { timeout 20 setpriv --reuid 65534 --clear-groups "$T/latchctl" "$@"; }
for option in --dry-run --; do
    exits 77 "clear $option as an ordinary user: not permitted" as_nobody clear $option "$F/a.pid"
    is "$(as_nobody clear $option "$F/a.pid" 2>&1)" \
        "latchctl: cannot remove $F/a.pid, whose owner is dead: Permission denied" "and it says so"
done
chmod 1777 "$F"
exits 77 "in a sticky directory neither" as_nobody clear --dry-run "$F/a.pid"
exits 77 "and really" as_nobody clear "$F/a.pid"
chmod 777 "$F"
is "$(as_nobody clear --dry-run "$F/a.pid")" "$F/a.pid: would be removed: its owner is dead" "where it is permitted it is promised"
is "$(as_nobody clear "$F/a.pid")" "$F/a.pid: removed: its owner is dead" "and kept"
succeeds "the file is gone" no_file "$F/a.pid"
exits 64 "an abstract socket leaves nothing to clear" "$T/latchctl" clear @foo
exits 64 "an empty name is refused" "$T/latchctl" clear ""
rm -rf "$F"
make setsid open=@/a.lock flock fork-die name=orphan
contains "$("$T/latchctl" clear "$F/a.lock" 2>&1)" "is kept by a dead owner's leftovers, and a leftover is ended only for a service" \
    "an orphaned lock: why it is not touched"
alive "$(pid_of orphan)" || fail "the leftover lives"
unmake

echo "# facts judged again"
judge=$builddir/tests/tools/judge-facts
[[ -x $judge ]] || die "tests/tools/judge-facts is built (make check builds it)"
make name=main open=@/a.lock flock child open=@/dead.pid write=%p end open=@/b.lock flock fork-die open=@/own.pid write=%p
printf '%s\n' "$dead" >"$F/gone.pid"
: >"$F/empty.pid"
mkfifo "$F/fifo.lock"
ln -s "user@elsewhere.$$" "$F/.#link"
paths=("$F/a.lock" "$F/b.lock" "$F/own.pid" "$F/gone.pid" "$F/dead.pid" "$F/empty.pid" "$F/fifo.lock" "$F/.#link" "$F/none"
    "@$F/none")
facts=$(timeout 20 "$T/latchctl" probe --facts "${paths[@]}")
is "$(jq length <<<"$facts")" ${#paths[@]} "one for each of ${#paths[@]} paths"
said=$(jq -r '.[] | "\(.verdict) \(.reason)"' <<<"$facts")
is "$("$judge" <<<"$facts" 2>&1)" "$said" "the facts alone give the same verdicts"
for verdict in held stale unknown absent; do contains "$said" "$verdict" "$verdict among them"; done
is "$(jq -r '[.[].observer] | unique | map("\(.uid) \(.kernelRelease) \(.latchdVersion)") | .[]' <<<"$facts")" \
    "0 $(uname -r) $("$T/latchctl" --version | cut -d' ' -f2)" "who looked, on what kernel, with which latchd"
isnt "$("$judge" <<<"${facts//\"held\"/\"free\"}" 2>&1)" "$said" "other facts give other verdicts"
unmake
finish
