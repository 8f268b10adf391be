#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Listeners in every state: of each type of socket, of files and of abstract names, unlinked, renamed, their directory
# gone, in other network namespaces, full, stopped. Made for real by tests/tools/lock-maker; what `latchctl probe` says
# of them, whom it names, and that it does not name the innocent.
# heavy: hundreds of probes; unit tests take the same code through the same cases
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require jq unshare setpriv

# shellcheck source=tests/lib/lock-maker.sh
. "$srcdir/tests/lib/lock-maker.sh"
NAME=latchd-test-$$
# Of the path itself, and of what stood there once.
holders_filter='.holders[]?.pid, .displaced[]?.holders[]?.pid'

zoo() { # TEXT FILE VERDICT REASON [NAME...] -- STEP...: FILE may be an abstract name
    local text=$1 path=$F/$2 expect=("${@:3:2}") names=()
    [[ $2 != @* ]] || path=$2
    shift 4
    while [[ $1 != -- ]]; do names+=("$1") && shift; done
    make "${@:2}"
    probe "$path"
    check "$text" "$path" "${expect[@]}" "${names[@]}"
    unmake
}

# ---- each type of socket, each kind of name ----

for type in stream seqpacket; do
    zoo "$type" a held live main -- helper name=innocent socket=@/b listen=5 end name=main type=$type socket=@/a listen=5
    zoo "$type, bound only" a held not-listening main -- name=main type=$type socket=@/a
    zoo "$type, queue full" a held busy main -- name=main type=$type socket=@/a listen=2 fill=3
    zoo "$type, queue full, and stopped" a held stopped main -- name=main type=$type socket=@/a listen=2 fill=3 stop
    zoo "$type, stopped" a held stopped main -- name=main type=$type socket=@/a listen=2 stop
    zoo "$type, nothing is left but an accepted connection" a stale refused -- \
        name=main type=$type socket=@/a listen=2 accept close-socket
    zoo "$type, an orphan has the listener" a orphaned leftover orphan -- \
        setsid type=$type socket=@/a listen=5 fork-die name=orphan exec=/bin/sleep
    zoo "$type, abstract" "@$NAME" held live main -- \
        helper name=innocent type=$type abstract="$NAME-2" listen=5 end name=main type=$type abstract="$NAME" listen=5
    zoo "$type, abstract, bound only" "@$NAME" held not-listening main -- name=main type=$type abstract="$NAME"
    zoo "$type, abstract, queue full" "@$NAME" held busy main -- name=main type=$type abstract="$NAME" listen=1 fill=2
    zoo "$type, abstract, stopped" "@$NAME" held stopped main -- name=main type=$type abstract="$NAME" listen=1 stop
    zoo "$type, abstract, an orphan has the listener" "@$NAME" orphaned leftover orphan -- \
        setsid type=$type abstract="$NAME" listen=5 fork-die name=orphan exec=/bin/sleep
done
zoo "datagrams" a held live main -- helper name=innocent type=dgram socket=@/b end name=main type=dgram socket=@/a
zoo "datagrams, stopped" a held stopped main -- name=main type=dgram socket=@/a stop
zoo "datagrams, two processes of whom one is stopped" a held live main second -- \
    name=main type=dgram socket=@/a helper name=second stop end
zoo "datagrams, abstract" "@$NAME" held live main -- name=main type=dgram abstract="$NAME"
make child type=dgram socket=@/a end child type=seqpacket socket=@/b listen=5 end
for file in a b; do
    probe "$F/$file"
    check "dead, of any type ($file)" "$F/$file" stale refused
done
unmake
probe "@$NAME"
check "an abstract name that nobody has bound" "@$NAME" absent none
zoo "an abstract name of another network namespace" "@$NAME" absent none -- unshare=net name=main abstract="$NAME" listen=5

# ---- the socket's file is gone ----

zoo "unlinked" a held unreachable main -- name=main socket=@/a listen=5 unlink
zoo "unlinked, seqpacket" a held unreachable main -- name=main type=seqpacket socket=@/a listen=5 unlink
zoo "unlinked, datagrams" a held unreachable main -- name=main type=dgram socket=@/a unlink
zoo "unlinked, and stopped" a held unreachable main -- name=main socket=@/a listen=5 unlink stop
zoo "unlinked, bound only: nobody could ever reach it" a absent none -- name=main socket=@/a unlink
zoo "unlinked; nothing is left but a connection" a absent none -- \
    name=main socket=@/a listen=5 accept close-socket unlink
zoo "renamed, by its old name" a held unreachable main -- name=main socket=@/a listen=5 rename=@/b
zoo "renamed, by its new name" b held live main -- name=main socket=@/a listen=5 rename=@/b
zoo "unlinked, and a dead one stands there" a held unreachable main -- \
    name=main socket=@/a listen=5 unlink child socket=@/a listen=5 end
zoo "unlinked, and a living one stands there: two daemons" a held split main second -- \
    helper name=main socket=@/a listen=5 unlink end name=second socket=@/a listen=5
zoo "its lock file is there and free, the socket is gone" a.lock held unreachable main -- \
    name=main open=@/a.lock socket=@/a listen=5 unlink
zoo "a lock file is there, and no listener ever was" a.lock free none -- name=main open=@/a.lock socket=@/b listen=5 unlink
zoo "a namesake in another directory, unlinked" a absent none -- name=main open=@/x socket="$T/a" listen=5 unlink
zoo "an unlinked listener of which a part of the name fits" a absent none -- name=main socket=@/ba listen=5 unlink

mkdir -p "$F/d/e"
make helper name=innocent socket=@/d/a listen=5 end name=main socket=@/d/e/a listen=5
rm -r "$F/d"
probe "$F/d/e/a"
check "the whole directory was wiped" "$F/d/e/a" held unreachable main
probe "$F/d/a"
check "its innocent neighbour is told from it" "$F/d/a" held unreachable innocent
probe "$F/d/x/a"
check "a third name there" "$F/d/x/a" absent none
mkdir -p "$F/d/e"
probe "$F/d/e/a"
check "the directory was made anew" "$F/d/e/a" held unreachable main
ln -s "$F/d" "$F/link"
probe "$F/link/e/a"
check "by another way to the directory" "$F/link/e/a" held unreachable main
cd "$F/d/e" || die "cd"
probe a
check "by a relative path" a held unreachable main
cd / || die "cd"
unmake

# ---- the same name, and another place ----

zoo "a service with a directory of its own in that place" a absent none -- \
    unshare=mount cover=@ name=main socket=@/a listen=5
zoo "the same, unlinked: it is not to be told" a unknown unclear main -- \
    unshare=mount cover=@ name=main socket=@/a listen=5 unlink
mkdir -p "$F$F"
make chroot=@ name=main socket="@/a" listen=5
probe "$F/a"
check "a service with a root directory of its own" "$F/a" absent none
probe "$F$F/a"
check "its socket by where it stands" "$F$F/a" held live main
unmake
zoo "in another mount namespace, where it is the same place" a held unreachable main -- \
    unshare=mount name=main socket=@/a listen=5 unlink
mkdir -p "$F/tmpfs"
mount -t tmpfs tmpfs "$F/tmpfs"
make name=main socket=@/tmpfs/a listen=5
umount -l "$F/tmpfs"
probe "$F/tmpfs/a"
check "on a file system that is not mounted there any more" "$F/tmpfs/a" absent none
unmake

# ---- other network namespaces ----

zoo "in another network namespace" a held live main -- \
    helper unshare=net name=innocent socket=@/b listen=5 end unshare=net name=main socket=@/a listen=5
is "$(jq '.[0].backlog' <<<"$report")" 5 "its backlog is known"
zoo "in another network namespace, seqpacket, full" a held busy main -- unshare=net name=main type=seqpacket socket=@/a listen=1 fill=2
is "$(jq -c '.[0] | [.queue, .backlog]' <<<"$report")" "[2,1]" "its queue is known"
zoo "in another network namespace, stopped" a held stopped main -- unshare=net name=main socket=@/a listen=5 stop
zoo "in another network namespace, datagrams" a held live main -- unshare=net name=main type=dgram socket=@/a
zoo "in another network namespace, bound only" a held not-listening main -- unshare=net name=main socket=@/a
zoo "in another network namespace, its maker dead" a orphaned leftover orphan -- \
    unshare=net setsid socket=@/a listen=5 fork-die name=orphan exec=/bin/sleep
zoo "an accepted connection here, the listener there" a held live main -- \
    unshare=net name=main socket=@/a listen=5 accept
make unshare=net name=main socket=@/a listen=5 child socket=@/b listen=5 end
probe "$F/b"
check "a dead one of another network namespace" "$F/b" stale refused
unmake

# ---- who may see what ----

as_nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
make name=main socket=@/a listen=5
probe "$F/a" "${as_nobody[@]}"
check "as an ordinary user: a socket that may not be connected to" "$F/a" unknown access-denied
chmod 666 "$F/a"
probe "$F/a" "${as_nobody[@]}"
check "as an ordinary user: somebody else's listener" "$F/a" held live
rm "$F/a"
probe "$F/a" "${as_nobody[@]}"
check "as an ordinary user: somebody else's listener, unlinked, is not overlooked" "$F/a" unknown incomplete-scan
unmake

# ---- the daemon is not disturbed ----

make name=main socket=@/a listen=5
before=$(ss -xl 2>/dev/null | grep -F "$F/a" | awk '{ print $3 }')
probe "$F/a"
probe "$F/a"
after=$(ss -xl 2>/dev/null | grep -F "$F/a" | awk '{ print $3 }')
[[ -z $before ]] || is "$before $after" "0 2" "one connection a look"
if command -v strace >/dev/null; then
    ASAN_OPTIONS=detect_leaks=0 strace -f -e trace=connect,sendto,sendmsg,write -o "$T/trace" "$T/latchctl" probe "$F/a" >"$T/out" 2>&1
    is "$(grep -c 'connect(.*AF_UNIX.*= 0' "$T/trace")" 1 "a single connection"
fi
unmake

finish
