#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Locks, PID files and sockets in every state that a crash, a fork or an administrator can bring them into, made for
# real by tests/tools/lock-maker; and what `latchctl probe` and `latchctl clear` say of them.
# heavy: hundreds of probes; unit tests take the same code through the same cases
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require jq unshare setpriv

# shellcheck source=tests/lib/lock-maker.sh
. "$srcdir/tests/lib/lock-maker.sh"

# Some process that is neither init nor of this test could not be seen, as one that others test beside us.
is_disturbed() {
    local pid
    for pid in $(jq '.[0].unreadable[] | select(. != 1)' <<<"$report" 2>/dev/null); do
        grep --quiet --text --fixed-strings "$T" "/proc/$pid/cmdline" 2>/dev/null || return 0
    done
    return 1
}

# One of this test's own could not be: a machine with much to do may be at it still (it is begun, or ends).
is_unfinished() { [[ $(jq '[.[0].unreadable[] | select(. != 1)] | length' <<<"$report" 2>/dev/null) != 0 ]]; }

zoo() { # TEXT FILE VERDICT REASON [NAME...] -- STEP...
    local text=$1 path=$F/$2 expect=("${@:3:2}") names=()
    shift 4
    while [[ $1 != -- ]]; do names+=("$1") && shift; done
    make "${@:2}"
    probe "$path"
    for ((try = 0; try < 50; try++)); do
        is_disturbed || { ((try < 3)) && is_unfinished; } || break
        sleep 0.2
        probe "$path"
    done
    check "$text" "$path" "${expect[@]}" "${names[@]}"
    unmake
}

# ---- flock, and what children do with it ----

zoo "a leftover lock file" a.lock free none -- open=@/a.lock
for family in flock flock-shared posix posix-shared; do
    zoo "a living holder by $family" a.lock held live main -- name=main open=@/a.lock $family
done
for family in ofd ofd-shared; do
    zoo "a living holder by $family, of which there is no record" a.lock held live main -- \
        name=main open=@/a.lock $family
done
zoo "an orphan" a.lock orphaned leftover orphan -- setsid name=locker open=@/a.lock flock fork-die name=orphan
zoo "an orphan that is another program" a.lock orphaned leftover orphan -- \
    setsid name=locker open=@/a.lock flock fork-die name=orphan exec=/bin/sleep
zoo "two orphans" a.lock orphaned leftover orphan second -- \
    setsid name=locker open=@/a.lock flock fork-die name=orphan helper name=second end
zoo "an orphan that cannot be told from a daemon" a.lock unknown locker-dead orphan -- \
    name=locker open=@/a.lock flock fork-die name=orphan
zoo "a daemon that forked once, begun by a shell with job control" a.lock unknown locker-dead daemon -- \
    setpgid name=locker open=@/a.lock flock fork-die name=daemon
zoo "an orphan with the listener" a.lock orphaned leftover orphan -- \
    name=locker socket=@/a listen=5 open=@/a.lock flock fork-die name=orphan exec=/bin/sleep
zoo "a daemon that forked after it took lock and socket" a.lock unknown locker-dead daemon -- \
    name=locker socket=@/a listen=5 open=@/a.lock flock fork-die setsid name=daemon
zoo "a daemon that forked twice" a.lock unknown locker-dead daemon -- \
    name=locker socket=@/a listen=5 open=@/a.lock flock fork-die setsid fork-die name=daemon
zoo "a child took it anew and died, its parent lives" a.lock unknown locker-dead main -- \
    name=main open=@/a.lock flock child unlock flock end
zoo "the same, and the daemon listens" a.lock held live main -- \
    name=main socket=@/a listen=5 open=@/a.lock flock child unlock flock end
zoo "the same, with a helper in the dead child's group" a.lock unknown locker-dead main helper -- \
    name=main open=@/a.lock flock helper setpgid unlock flock fork-die name=helper end
zoo "a child unlocked it, and the daemon listens" a.lock held unlocked main -- \
    name=main socket=@/a listen=5 open=@/a.lock flock child unlock end
zoo "two sharers, of whom one is an orphan" a.lock held live orphan other -- \
    helper setsid name=locker open=@/a.lock flock-shared fork-die name=orphan end helper name=other open=@/a.lock flock-shared end
zoo "an orphan's flock, and an OFD lock beside it" a.lock unknown locker-dead orphan other -- \
    helper setsid open=@/a.lock flock fork-die name=orphan end helper name=other open=@/a.lock ofd end
zoo "a helper that inherited it, and its daemon" a.lock held live main helper -- \
    name=main open=@/a.lock flock helper name=helper end
zoo "handed on to the child" a.lock held unlocked receiver -- \
    name=main pair open=@/a.lock flock send close helper receive name=receiver end
zoo "sent to a stranger, by one that died" a.lock unknown locker-dead receiver -- \
    pair child name=locker open=@/a.lock flock send end helper receive name=receiver end
# The address sanitizer's own code in the maker does not outlive the main thread.
if ldd "$MAKER" | grep --quiet libasan; then
    note "a dead main thread: not made, the maker is built with the address sanitizer"
else
    zoo "a dead main thread, and a living one that has it" a.lock held live main -- name=main thread-die open=@/a.lock flock
fi
zoo "a thread with descriptors of its own" a.lock held live main -- name=main thread own-table open=@/a.lock flock
zoo "two daemons side by side, of which one has the file that was removed" a.lock held split second -- \
    helper name=first open=@/a.lock flock unlink end helper name=second open=@/a.lock flock end
zoo "a stopped holder" a.lock held stopped main -- name=main open=@/a.lock flock stop
zoo "held by another user" a.lock held live main -- name=main open=@/a.lock flock setuid=65534
zoo "held in another mount namespace" a.lock held live main -- unshare=mount name=main open=@/a.lock flock
zoo "held in a PID namespace below" a.lock held live main -- unshare=pid fork name=main open=@/a.lock flock
zoo "an orphan in a PID namespace below, and an innocent with the locker's number there" a.lock unknown locker-dead orphan -- \
    unshare=pid fork name=init helper name=locker open=@/a.lock flock fork-die name=orphan end recycle

for family in flock flock-shared posix ofd; do
    zoo "one that has the lock, and one that waits for it ($family)" a.lock held live main -- \
        name=main open=@/a.lock flock posix wait=$family
done

# ---- holders that no descriptor table shows ----

for type in stream dgram seqpacket; do
    zoo "in flight in a $type socket" a.lock held live main -- name=main pair=$type open=@/a.lock flock send close
done
zoo "in flight, behind other text" a.lock held live main -- name=main pair=stream text=60000 open=@/a.lock flock send close
zoo "in flight in a socket that is in flight" a.lock held live main -- \
    name=main pair open=@/a.lock flock send close send-pair
zoo "in flight in a socket of two processes" a.lock held live main other -- \
    name=main pair open=@/a.lock flock send close helper name=other end
zoo "in flight, and who sent it is dead" a.lock orphaned leftover orphan -- \
    setsid name=locker pair open=@/a.lock flock send close fork-die name=orphan
zoo "in flight in the socket of a stranger" a.lock unknown locker-dead stranger -- \
    pair child name=locker open=@/a.lock flock send end setsid name=stranger
zoo "in flight, but deeper than can be seen" a.lock unknown incomplete-scan -- \
    name=main pair=dgram text=1 open=@/a.lock flock send close
zoo "in flight to a listener that has not accepted" a.lock unknown incomplete-scan -- \
    name=main socket=@/b listen=5 connect open=@/a.lock flock send close

# What shows only the file holds it if nobody else can: all but init must have been seen.
zoo "closed, but mapped" a.lock held live main -- name=main open=@/a.lock mmap flock close
zoo "closed, but mapped by a family" a.lock held live main other -- \
    name=main open=@/a.lock mmap flock close helper name=other end
zoo "closed, but mapped by an orphan" a.lock orphaned leftover orphan -- \
    setsid name=locker open=@/a.lock mmap flock close fork-die name=orphan
zoo "mapped by one that has it not, beside one that has it" a.lock held live main -- \
    name=main open=@/a.lock flock helper close open=@/a.lock mmap close name=other end
if zcat /proc/config.gz 2>/dev/null | grep --quiet '^CONFIG_IO_URING=y' &&
    [[ $(cat /proc/sys/kernel/io_uring_disabled 2>/dev/null) != 2 ]]; then
    zoo "closed, but registered with io_uring" a.lock held live main -- name=main open=@/a.lock flock ring close
    zoo "registered with io_uring by an orphan" a.lock orphaned leftover orphan -- \
        setsid name=locker open=@/a.lock flock ring close fork-die name=orphan
    zoo "registered by another name" b.lock held live main -- \
        name=main open=@/a.lock flock ring close rename=@/b.lock
    zoo "registered in another mount namespace" a.lock unknown incomplete-scan -- \
        unshare=mount name=main open=@/a.lock flock ring close
else
    note "io_uring: this kernel lets nobody use it"
fi

# How it is seen to be held is told too; and who looked has taken nothing away.
make name=main pair open=@/a.lock flock send close helper receive name=receiver end
probe "$F/a.lock"
check "received in the end" "$F/a.lock" held unlocked receiver
unmake
for how in "pair open=@/a.lock flock send close|in-flight" "open=@/a.lock mmap flock close|maps" \
    "open=@/a.lock flock ring close|io_uring"; do
    # shellcheck disable=SC2086 # steps
    make name=main ${how%|*}
    for _ in 1 2 3; do probe "$F/a.lock"; done
    is "$(jq -r '.[0].holders[].via' <<<"$report" 2>&1)" "${how#*|}" "it is said how: ${how#*|}"
    unmake
done

# ---- frozen ----

frozen() { # TEXT HIERARCHY FILE FROZEN THAWED
    local text=$1 cgroup=$2/latchd-test-$$ file=$3 names
    if ! mkdir "$cgroup" "$cgroup/below" 2>/dev/null; then
        note "frozen by $text: no cgroup may be made"
        return 0
    fi
    make name=main socket=@/s listen=5 open=@/a.lock flock open=@/a.pid write=%p join="$cgroup/below"
    probe "$F/a.lock"
    check "not frozen by $text" "$F/a.lock" held live main
    echo "$4" >"$cgroup/$file"
    wait_until 5 grep --quiet -x -e FROZEN -e 'frozen 1' "$cgroup/below/freezer.state" "$cgroup/below/cgroup.events" 2>/dev/null
    for path in a.lock a.pid s; do
        probe "$F/$path"
        names=(main)
        [[ $path != a.pid ]] || names=()
        check "frozen by $text: $path" "$F/$path" held stopped "${names[@]}"
    done
    echo "$5" >"$cgroup/$file"
    unmake
    rmdir "$cgroup/below" "$cgroup"
}
for mount in /sys/fs/cgroup/unified /sys/fs/cgroup; do
    [[ $(stat -f -c %T "$mount" 2>/dev/null) == cgroup2fs ]] || continue
    frozen "its cgroup" "$mount" cgroup.freeze 1 0
    break
done
[[ ! -e /sys/fs/cgroup/freezer/cgroup.procs ]] || frozen "the freezer of version 1" /sys/fs/cgroup/freezer freezer.state FROZEN THAWED

# ---- PID files ----

zoo "a PID file" a.pid held live -- name=main open=@/a.pid write=%p
zoo "a PID file that is locked" a.pid held live main -- name=main open=@/a.pid posix write=%p
zoo "a PID file of a zombie" a.pid stale zombie -- open=@/a.pid zombie write=%h
zoo "a PID file with the number of a thread that may have written it" other.pid unknown maybe-daemon -- \
    thread open=@/other.pid write=%t
zoo "a PID file of the dead" a.pid stale dead -- open=@/a.pid write=%p fork-die
zoo "a PID file of a stopped daemon" a.pid held stopped -- open=@/a.pid write=%p stop
zoo "a PID file that names several" a.pid unknown maybe-daemon -- open=@/a.pid "write=4194000 %p"
zoo "an empty PID file" a.pid unknown empty -- open=@/a.pid
zoo "a PID file with other content" a.pid unknown not-a-lock -- open=@/a.pid write=starting
zoo "a number that only a namespace below knows" a.pid unknown other-pid-namespace -- \
    unshare=pid fork helper open=@/a.pid write=%p end
zoo "a lock by existence whose PID is dead, and a living listener" a.lock held unlocked main -- \
    name=main socket=@/a listen=5 open=@/a.lock child write=%p end
zoo "a text that begins with a number" notes.txt free none -- open=@/notes.txt "write=999999999 bottles"

make name=daemon open=@/a.pid write=%p fork-die name=child
touch -d '1 minute ago' "$F/a.pid"
printf '%s\n' "$(pid_of child)" >"$F/own.pid"
touch -d '1 minute ago' "$F/own.pid"
probe "$F/own.pid"
check "a PID file that is older than the process with its number" "$F/own.pid" stale recycled
unmake
make thread open=@/other.pid write=%t
touch -d '1 minute ago' "$F/other.pid"
probe "$F/other.pid"
check "a PID file that is older than the thread with its number" "$F/other.pid" stale thread
unmake

# ---- sockets ----

zoo "a socket" a held live main -- name=main socket=@/a listen=5
zoo "a socket with a full queue" a held busy main -- name=main socket=@/a listen=2 fill=3
zoo "a socket that is bound only" a held not-listening main -- name=main socket=@/a
zoo "a stopped listener" a held stopped main -- name=main socket=@/a listen=5 stop
zoo "a listener in another network namespace" a held live main -- unshare=net name=main socket=@/a listen=5
zoo "a listener whose maker is dead" a orphaned leftover orphan -- \
    setsid socket=@/a listen=5 fork-die name=orphan exec=/bin/sleep
zoo "a daemon that forked after listen(2)" a unknown locker-dead daemon -- socket=@/a listen=5 fork-die setsid name=daemon
zoo "a socket that was renamed" b held live main -- name=main socket=@/a listen=5 rename=@/b

make child socket=@/a listen=5 end
probe "$F/a"
check "a socket of the dead" "$F/a" stale refused
unmake

# ---- what is no lock at all: never opened so that it blocks, never followed ----

mkdir -p "$F/dir" "$F/target"
mkfifo "$F/fifo.lock"
mknod "$F/null.lock" c 1 3
ln -s "$F/target" "$F/link.lock"
ln -s "$F/nowhere" "$F/dangling.lock"
: >"$F/real.lock"
ln -s "$F/real.lock" "$F/to-real.lock"
for name in dir fifo.lock null.lock link.lock dangling.lock to-real.lock dir/; do
    probe "$F/$name"
    check "no lock: $name" "$F/$name" unknown not-a-lock
done
for name in none none/none real.lock/none; do
    probe "$F/$name"
    check "absent: $name" "$F/$name" absent none
done
rm -rf "$F"

# ---- who may see what ----

as_nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
make name=main open=@/a.lock flock open=@/a.pid write=%p
chmod 600 "$F/a.lock"
probe "$F/a.lock" "${as_nobody[@]}"
check "as an ordinary user: held, and by whom cannot be seen" "$F/a.lock" unknown incomplete-scan
probe "$F/a.pid" "${as_nobody[@]}"
check "as an ordinary user: a PID file of root's" "$F/a.pid" held live
chmod 600 "$F/a.pid"
probe "$F/a.pid" "${as_nobody[@]}"
check "as an ordinary user: a PID file that may not be read" "$F/a.pid" unknown access-denied
chmod 644 "$F/a.pid"
chmod 700 "$F"
probe "$F/a.pid" "${as_nobody[@]}"
check "as an ordinary user: a directory that may not be entered" "$F/a.pid" unknown access-denied
chmod 755 "$F"
cat >"$T/hidden" <<END
mount -t proc -o hidepid=invisible proc /proc && exec setpriv --reuid=65534 --regid=65534 --clear-groups "\$@"
END
probe "$F/a.pid" unshare --mount bash "$T/hidden"
check "where other users' processes are hidden" "$F/a.pid" unknown access-denied
probe "$F/a.lock" unshare --pid --fork --mount-proc
check "from a PID namespace below the holder's" "$F/a.lock" unknown other-pid-namespace
probe "$F/a.lock" unshare --pid --fork
check "the same, with the /proc of the one above, which shows all" "$F/a.lock" held live main
unmake

make name=main open=@/a.lock flock-shared
probe "$F/a.lock" unshare --pid --fork --mount-proc
check "a shared lock, from a PID namespace below" "$F/a.lock" unknown other-pid-namespace
unmake

mkdir -p "$F"
chmod 1777 "$F"
make name=main setuid=65534 open=@/a.lock flock
probe "$F/a.lock"
check "another user's file in a sticky directory" "$F/a.lock" held live main
unmake

# A number that was given out again, within a PID namespace: the innocent process is never named.
cat >"$T/inside" <<'END'
mkfifo "$2/hold"
exec {hold}<>"$2/hold"
"$1" name=init helper open="$2/a.lock" flock open="$2/a.pid" write=%p close fork-die name=orphan end recycle \
    <"$2/hold" >"$2/labels" {hold}>&- &
until [[ -s $2/labels ]]; do sleep 0.02; done
touch -d '1 minute ago' "$2/a.pid"
for file in a.lock a.pid; do
    "$3" --json probe "$2/$file" >"$2/$file.json"
    echo $? >>"$2/$file.json.code"
done
exec {hold}>&-
wait
END
mkdir -p "$F"
timeout 20 unshare --pid --fork --mount-proc --kill-child bash "$T/inside" "$MAKER" "$F" "$T/latchctl"
is "$(jq -r '.[0].verdict + " " + .[0].reason' "$F/a.pid.json") $(cat "$F/a.pid.json.code")" "unknown other-pid-namespace 6" \
    "a number that was given out again in a PID namespace: whose it was cannot be told there"
innocent=$(jq .innocentInside "$F/labels")
is "$(jq '.[0].recordedPid' "$F/a.pid.json")" "$innocent" "it is the innocent's number now"
isnt "$(jq -r '.[0].verdict' "$F/a.lock.json")" free "the lock that its predecessor's child has is not free"
is "$(jq '[.[0].holders[].pid] | join(" ")' "$F/a.lock.json")" "\"$(jq .orphanInside "$F/labels")\"" \
    "only the orphan is named as its holder"
rm -rf "$F"

# That a number is dead in a container proves nothing: whoever wrote it may live in another, or above.
mkdir -p "$F"
echo 4194000 >"$F/a.pid"
probe "$F/a.pid"
check "a dead number in a PID file" "$F/a.pid" stale dead
probe "$F/a.pid" unshare --pid --fork --mount-proc
check "the same file, seen from a PID namespace" "$F/a.pid" unknown other-pid-namespace
rm -rf "$F"

# An overlay and its layers: a lock through the one is none through the other, and so is a listener.
mkdir -p "$F/lower" "$F/top" "$F/merged" "$F/elsewhere" "$F/own"
cat >"$T/overlay" <<'END'
mount -t tmpfs tmpfs "$1/top" && mkdir "$1/top/upper" "$1/top/work" &&
    mount -t overlay -o "lowerdir=$1/lower,upperdir=$1/top/upper,workdir=$1/top/work" overlay "$1/merged" || exit 99
mkfifo "$1/top/hold"
exec {hold}<>"$1/top/hold"
"$2" name=main open="$1/merged/a.lock" flock socket="$1/merged/s" listen=5 <"$1/top/hold" >"$1/top/labels" {hold}>&- &
until [[ -s $1/top/labels ]]; do sleep 0.02; done
for path in merged/a.lock merged/s top/upper/a.lock top/upper/s; do
    "$3" --json probe "$1/$path" | jq -r --argjson main "$(jq .main "$1/top/labels")" \
        '.[0] | "\(.verdict) \(.reason) \([.holders[].pid] == [$main])"'
done
"$3" clear "$1/top/upper/s" 2>&1 | wc -l
test -S "$1/merged/s" && echo stands
mount --bind "$1/top/upper" "$1/elsewhere"
"$3" clear "$1/elsewhere/s" 2>&1 | wc -l
"$3" --json probe "$1/elsewhere/s" | jq -r '.[0] | "\(.verdict) \(.reason)"'
# Mounted where only the listener sees it, and by relative paths.
mkdir "$1/top/u" "$1/top/w"
cd "$1/top"
unshare --mount sh -c 'mount -t overlay -o lowerdir=../lower,upperdir=u,workdir=w overlay ../own && exec "$@"' sh \
    "$2" name=own socket="$1/own/t" listen=5 <"$1/top/hold" >"$1/top/own-labels" {hold}>&- &
until [[ -s $1/top/own-labels ]]; do sleep 0.02; done
"$3" clear "$1/top/u/t" 2>&1 | wc -l
"$3" --json probe "$1/top/u/t" | jq -r '.[0] | "\(.verdict) \(.reason)"'
test -S "$1/top/u/t" && test -S "$1/merged/s" && echo stand
exec {hold}>&-
wait
"$3" --json probe "$1/top/u/t" | jq -r '.[0] | "\(.verdict) \(.reason)"'
END
mapfile -t overlaid < <(timeout 30 unshare --mount bash "$T/overlay" "$F" "$MAKER" "$T/latchctl")
is "${overlaid[0]-}" "held live true" "a lock on an overlay"
is "${overlaid[1]-}" "held live true" "a socket on an overlay"
is "${overlaid[2]-}" "unknown other-layer false" "the lock, seen through the upper layer"
is "${overlaid[3]-}" "unknown other-layer false" "the socket, seen through the upper layer"
is "${overlaid[4]-} ${overlaid[5]-}" "1 stands" "clear through the layer is refused in one line, and the socket stands"
is "${overlaid[*]:6:2}" "1 unknown other-layer" "so it is through a bind mount of the layer"
is "${overlaid[*]:8:2}" "1 unknown other-layer" "and through the layer of an overlay that only the listener's mount namespace has"
is "${overlaid[10]-}" "stand" "and both sockets stand"
is "${overlaid[11]-}" "stale refused" "once the listener is dead, it is stale"
rm -rf "$F"

# ---- probing changes nothing ----

make name=main open=@/a.lock flock open=@/a.pid write=%p close socket=@/s listen=5
: >"$F/s.lock"
touch -d '1 hour ago' "$F/a.pid" "$F/a.lock" "$F/s.lock"
sleep 0.1
listing() { # connect(2) itself touches a socket's time of access
    stat -c '%n %i %s %a %u %y %z' "$F" "$F"/*
    stat -c '%n %x' "$F" "$F"/*.*
}
before=$(listing)
for file in a.lock a.pid s s.lock none; do "$T/latchctl" probe "$F/$file" >"$T/out"; done
is "$(listing)" "$before" "no time, no size, no file has changed"
if command -v strace >/dev/null; then
    ASAN_OPTIONS=detect_leaks=0 strace -f -o "$T/trace" "$T/latchctl" probe "$F/a.lock" "$F/a.pid" "$F/s" "$F/s.lock" "$F/none" >"$T/out"
    grep -E 'O_CREAT|O_TRUNC|O_WRONLY|O_RDWR|unlink|rename|mkdir|chmod|chown|utime|truncate|link\(|mknod|kill\(|F_SETLK|F_OFD_SETLK' \
        "$T/trace" | grep -vE '^[0-9]+ +p?read(v|64)?\(|readlink|/dev/tty|/dev/null' >"$T/writes"
    is "$(cat "$T/writes")" "" "nothing is created, opened for writing, locked, removed or signalled"
    grep -E 'flock\(' "$T/trace" >"$T/flocks"
    if [[ $(readlink /proc/self/ns/pid) == 'pid:[4026531836]' ]] && (($(wc -c </proc/locks) < 3000)); then
        is "$(cat "$T/flocks")" "" "where /proc/locks shows all, and in one piece, no lock is tried"
    else
        note "no lock is tried: not to be seen here, where /proc/locks does not show all in one piece"
    fi
fi
unmake

# ---- latchctl clear ----

clear_refused() { # TEXT PATH NEEDLE
    local out rc=0
    out=$("$T/latchctl" clear "$2" 2>&1) || rc=$?
    is "$rc" 1 "clear refuses $1"
    is "$(wc -l <<<"$out")" 1 "in one line"
    contains "$out" "$3" "that says why"
}

make setsid name=locker open=@/a.lock flock fork-die name=orphan
clear_refused "an orphan's lock" "$F/a.lock" "PID $(pid_of orphan)"
succeeds "the orphan lives on" alive "$(pid_of orphan)"
unmake
make name=main open=@/a.lock flock open=@/a.pid write=%p close open=@/empty.pid close open=@/serial write=4194000 close \
    socket=@/s listen=1
clear_refused "a held lock" "$F/a.lock" "PID $(pid_of main)"
clear_refused "a living daemon's PID file" "$F/a.pid" "PID $(pid_of main)"
clear_refused "a socket with a listener" "$F/s" "PID $(pid_of main)"
clear_refused "an empty PID file" "$F/empty.pid" "empty"
clear_refused "a number in a file that is not called a PID file" "$F/serial" "by hand"
before=$(listing)
printf '4194000\n' >"$F/dead.pid"
exits 0 "a dry run" "$T/latchctl" clear --dry-run "$F/dead.pid"
succeeds "removes nothing" test -e "$F/dead.pid"
exits 0 "clear removes a dead daemon's PID file" "$T/latchctl" clear "$F/dead.pid"
succeeds "it is gone" no_file "$F/dead.pid"
exits 0 "clear of what is not there" "$T/latchctl" clear "$F/dead.pid"
is "$(listing | grep -v "^$F ")" "$(grep -v "^$F " <<<"$before")" "nothing else has changed"
unmake
make child socket=@/s listen=5 end
clear_refused "a dead socket that nothing guards" "$F/s" "no lock file guards it"
: >"$F/s.lock"
exits 0 "clear removes a dead socket under its lock" "$T/latchctl" clear "$F/s"
succeeds "the socket is gone" no_file "$F/s"
succeeds "its lock file stays" test -e "$F/s.lock"
unmake

finish
