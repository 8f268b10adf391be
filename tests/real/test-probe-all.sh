#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# `latchctl probe --all`: locks and listeners of many kinds at once, made for real by tests/tools/lock-maker, are all
# listed, each with its verdict and its holder; nothing is missing that lslocks(8) and ss(8) have; what is not locked is
# not listed. The machine's own locks and listeners come and go meanwhile: only what stays is compared.
#
# heavy: it looks through every process for hundreds of locks, again and again
# alone: it looks at all locks and listeners of the machine
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require jq script unshare setpriv prlimit lslocks ss socat flock

MAKER=$T/lock-maker
cp "$(tool lock-maker)" "$MAKER"
cp "$builddir/latchctl" "$T/latchctl" # for users who cannot read the build's directory
chmod 755 "$MAKER" "$T/latchctl"
F=$T/files
mkdir "$F" "$F/mnt" "$F/dir" "$F/run"
mkfifo "$T/hold"
exec {hold}<>"$T/hold"
makers=()

make() { # LABELS COMMAND...: @ is the directory of the files
    local labels=$T/$1
    shift
    rm -f "$labels"
    "${@//@/$F}" <"$T/hold" >"$labels" 2>"$T/maker.log" {hold}>&- &
    makers+=($!)
    wait_until 10 test -s "$labels" || die "lock-maker made it" "$*" "$(cat "$T/maker.log")"
}

pid_of() { jq ".$1" "$T/${2:-labels}"; } # NAME [LABELS]

survey() { # [COMMAND...]: what it says goes to $T/all; sets code and complaints
    for _ in 1 2 3; do # 137: for a moment it has other tests' files open, and those may end just then and clean up
        code=0
        timeout 60 "$@" "$T/latchctl" --json probe --all >"$T/all" 2>"$T/complaints" || code=$?
        ((code == 137)) || break
    done
    complaints=$(cat "$T/complaints")
    [[ $(jq -r type "$T/all") == array ]] || die "probe --all gave an array" "$complaints" "$(head -c 2000 "$T/all")"
}

row() { jq -c --arg path "$1" '[.[] | select(.path == $path)]' "$T/all"; } # PATH

# Who is shown at a path: exactly one row, its verdict, reason, holders; of a listener whose file is gone, those of what
# stood there.
check() { # TEXT PATH VERDICT REASON [HOLDER...]
    local text=$1 found expected holders
    holders=$(printf '%s\n' "${@:5}" | sort -n | xargs)
    expected="1 $3 $4 $holders"
    found=$(row "$2" | jq -r '"\(length) \(.[0].verdict) \(.[0].reason) " +
        ([.[0] | (.holders[], .displaced[].holders[]).pid] | unique | map(tostring) | join(" "))')
    is "$found" "$expected" "$text: $3 ($4)" || row "$2" | jq -c '.[] | {kind, families, claims, holders, listener, recorded, complete, unlinked, displaced}'
}

hostile=$'evil\n\e[31m\xff name (deleted)'
make labels "$MAKER" \
    helper name=held open=@/held.lock flock end \
    helper name=posix open=@/posix.pid posix write=%p end \
    helper name=ofd open=@/ofd.lock ofd end \
    helper setsid name=locker open=@/orphaned.lock flock fork-die name=orphan end \
    helper name=deleted open=@/deleted.lock posix unlink end \
    helper name=renamed open=@/renamed.lock flock rename=@/renamed.lock.old end \
    helper name=first open=@/shared.lock flock-shared end \
    helper name=second open=@/shared.lock flock-shared end \
    helper name=stopped open=@/stopped.lock flock stop end \
    helper name=thread thread own-table open=@/thread.lock flock end \
    helper name=sender pair open=@/flight.lock flock send close end \
    helper name=mapper open=@/mapped.lock mmap flock close end \
    helper unshare=pid fork name=below open=@/below.lock flock end \
    helper name=hostile open="@/$hostile" flock end \
    helper name=idle open=@/idle.lock flock unlock end \
    helper name=listener socket=@/listener listen=7 end \
    helper name=full socket=@/full listen=2 fill=3 end \
    helper name=lost socket=@/lost listen=5 unlink end \
    helper name=moved socket=@/moved listen=5 rename=@/moved-away end \
    helper name=replaced socket=@/replaced listen=5 unlink end \
    helper name=replacing socket=@/replaced listen=5 end \
    helper name=bound socket=@/bound end \
    helper name=wiped socket=@/dir/wiped listen=5 end \
    helper name=guarded socket=@/guarded listen=5 open=@/guarded.lock flock end
cat >"$T/other-mounts" <<'END'
mount -t tmpfs none "$1/mnt" && exec "$2" name=elsewhere open="$1/mnt/elsewhere.lock" flock socket="$1/mnt/elsewhere" listen=5
END
make elsewhere unshare --mount bash "$T/other-mounts" @ "$MAKER"
rm -r "$F/dir"
make relative env --chdir="$F" "$MAKER" name=relative socket=relative listen=5
make away env --chdir="$F" "$MAKER" name=away socket=away listen=5 chroot=@/run
cat >"$T/in-own-directory" <<'END'
exec 7<"$1/run"
exec "$2" name=own socket=/proc/self/fd/7/.own listen=5 rename="$1/run/own"
END
make own bash "$T/in-own-directory" @ "$MAKER"
flock "$F/held.lock" true &
waiter=$!
abstract=latchd-test-$$
socat "ABSTRACT-LISTEN:$abstract,backlog=9" /dev/null &
listener=$!
wait_for 5 "a process waits for a lock" grep --quiet -- "-> FLOCK .*:$(stat -c %i "$F/held.lock") " /proc/locks
wait_until 5 eval "ss -xlH | grep --quiet '@$abstract '" || die "socat listens"
: >"$F/free.lock"

# ---- each as it is ----

survey
is "$code" 0 "it is a listing: the exit code is 0"
check "a held lock" "$F/held.lock" held live "$(pid_of held)"
is "$(row "$F/held.lock" | jq -c '[.[0].claims[] | select(.waiting).pid]')" "[$waiter]" "and who waits for it"
check "a PID file that is locked" "$F/posix.pid" held live "$(pid_of posix)"
check "an OFD lock, of which there is no record" "$F/ofd.lock" held live "$(pid_of ofd)"
check "an orphan" "$F/orphaned.lock" orphaned leftover "$(pid_of orphan)"
is "$(row "$F/orphaned.lock" | jq '.[0].recordedPid')" "$(pid_of locker)" "and whose it was"
check "a lock whose file was removed" "$F/deleted.lock" held live "$(pid_of deleted)"
is "$(row "$F/deleted.lock" | jq '.[0].unlinked')" true "and it is said to be removed"
check "a lock whose file was renamed" "$F/renamed.lock.old" held live "$(pid_of renamed)"
is "$(row "$F/renamed.lock")" "[]" "its old name is not listed"
is "$(row "$F/shared.lock" | jq -r '[.[].verdict, .[].reason, (.[0].holders | length > 0)] | join(" ")')" "held live true" "a shared lock"
check "a stopped holder" "$F/stopped.lock" held stopped "$(pid_of stopped)"
check "a thread with descriptors of its own" "$F/thread.lock" held live "$(pid_of thread)"
check "a lock in another mount namespace" "$F/mnt/elsewhere.lock" held live "$(pid_of elsewhere elsewhere)"
check "a lock in a PID namespace below" "$F/below.lock" held live "$(pid_of below)"
check "a hostile name, made printable" "$F/evil??[31m? name (deleted)" held live "$(pid_of hostile)"
is "$(row "$F/evil??[31m? name (deleted)" | jq '.[0].unlinked')" false "and it is not taken for a removed one"
check "a listener" "$F/listener" held live "$(pid_of listener)"
is "$(row "$F/listener" | jq -c '.[0] | [.kind, .queue, .backlog]')" '["socket",0,7]' "and its queue"
is "$(row "$F/full" | jq -c '.[0] | [.verdict, .queue, .backlog]')" '["held",3,2]' "a full queue"
is "$(row "$F/full" | jq '.[0].holders[0].pid')" "$(pid_of full)" "and who ought to empty it"
check "a listener whose file was removed" "$F/lost" held unreachable "$(pid_of lost)"
is "$(row "$F/lost" | jq -r '.[0].pathNote')" "removed or renamed" "of which it is not known which"
check "a listener whose file was renamed, by the name that it has now" "$F/moved-away" held live "$(pid_of moved)"
is "$(row "$F/moved")" "[]" "and not by the one that it was bound to"
check "a listener whose directory is gone: who holds it, and not that nobody can reach it" "$F/dir/wiped" held live "$(pid_of wiped)"
is "$(row "$F/dir/wiped" | jq -r '.[0].pathNote')" "removed or renamed" "and that it is not there"
check "one below a descriptor of its holder, renamed since" "$F/run/own" held live "$(pid_of own own)"
check "a relative name, by its holder's directory" "$F/relative" held live "$(pid_of relative relative)"
is "$(row away | jq -r '.[0].pathNote')" "relative" "a relative name, from a directory that it has left"
check "a listener in another mount namespace" "$F/mnt/elsewhere" held live "$(pid_of elsewhere elsewhere)"
check "an abstract listener" "@$abstract" held live "$listener"
is "$(row "$F/replaced" | jq -c 'map([.reason, (.holders[].pid, .displaced[].holders[].pid)]) | sort')" \
    "[[\"live\",$(pid_of replacing)],[\"unreachable\",$(pid_of replaced)]]" \
    "a listener whose file was replaced, and who listens there now: a row each"
check "a lock that guards a socket" "$F/guarded.lock" held live "$(pid_of guarded)"
for name in free.lock idle.lock bound; do
    is "$(row "$F/$name")" "[]" "neither locked nor listening, not listed: $name"
done

# What no descriptor shows as locked: never free, never stale, never somebody else's.
by_inode() { # FILE
    jq -c --argjson inode "$(stat -c %i "$1")" '[.[] | select(.inode == $inode and .kind == "lock")]' "$T/all"
}
for name in flight mapped; do
    [[ $name == flight ]] && holder=$(pid_of sender) || holder=$(pid_of mapper)
    matches "$(by_inode "$F/$name.lock" | jq -r '"\(length) \(.[0].verdict) \([.[0].holders[].pid] | join(" "))"')" \
        "^1 (held $holder|unknown ($holder)?)$" "held, and no descriptor shows it: $name.lock"
done
is "$(by_inode "$F/mapped.lock" | jq -r '.[0].path')" "$F/mapped.lock" "a file that is mapped only has its path"
is "$(jq --argjson waiter "$waiter" '[.[] | .holders[].pid, .displaced[].holders[].pid] | index($waiter)' "$T/all")" null "who waits is no holder"
is "$(jq -c '[.[].path] == ([.[].path] | sort_by(explode))' "$T/all")" true "sorted by path"

# By itself each path gets the same verdict.
for name in held.lock posix.pid ofd.lock orphaned.lock renamed.lock.old stopped.lock thread.lock guarded.lock below.lock; do
    is "$(row "$F/$name" | jq -r '.[0] | .verdict + " " + .reason')" \
        "$("$T/latchctl" --json probe "$F/$name" | jq -r '.[0] | .verdict + " " + .reason')" "as \`probe PATH\` judges it: $name"
done

# ---- for people ----

table=$(timeout 60 "$T/latchctl" probe --all 2>/dev/null)
matches "${table%%$'\n'*}" '^VERDICT +REASON +KIND +MODE +HOLDER +RECORDED +WAITERS +QUEUE +UNIT +PATH$' "the table has a head"
line() { grep --fixed-strings -- "$1" <<<"$table"; }
matches "$(line "$F/held.lock")" "^held +live +lock +flock write +lock-maker\[$(pid_of held)\] +$(pid_of held) +1 .*$F/held.lock$" "the row of a held lock"
matches "$(line "$F/orphaned.lock")" "^orphaned +leftover +lock +flock write +lock-maker\[$(pid_of orphan)\] +$(pid_of locker) \((gone|zombie)\) " "the row of an orphaned lock"
matches "$(line "$F/shared.lock")" "^held +live +lock +flock read +" "the row of a shared lock"
matches "$(line "$F/deleted.lock")" "$F/deleted.lock \(deleted\)$" "the row of a removed file"
matches "$(line "$F/listener")" "^held +live +socket +listening +lock-maker\[$(pid_of listener)\] .* 0/8 .*$F/listener$" "the row of a listener"
matches "$(line "$F/lost")" "^held +unreachable +socket +listening +lock-maker\[$(pid_of lost)\] .*$F/lost \(removed or renamed\)$" \
    "the row of a listener whose file was removed"
is "$(line "$F/evil" | wc -l)" 1 "a hostile name takes one line"
lacks "$table" $'\e' "and no control character comes out"

# On a terminal: what can be missed goes first, the path stays whole.
on_terminal() { # COLUMNS: sets table
    table=$(timeout 60 script -qec "stty cols $1 rows 50; exec '$T/latchctl' probe --all 2>/dev/null" /dev/null </dev/null | tr -d '\r')
}
for columns in 60 80 200; do
    on_terminal "$columns"
    matches "$(line "$F/held.lock")" "^"$'\e'"\[1;33mheld *"$'\e'"\[0m .*lock-maker\[$(pid_of held)\].* $F/held.lock$" \
        "$columns columns: verdict in colour, holder, and all of the path"
    lacks "$table" '\x1b' "$columns columns: no colour's code in letters"
    lacks "$(line "$F/evil")" $'\e[31m' "$columns columns: no control character of a name comes out"
done
on_terminal 80
matches "${table%%$'\n'*}" "^VERDICT .*HOLDER .*PATH *$" "80 columns: what is needed is there"
lacks "${table%%$'\n'*}" "UNIT" "80 columns: what can be missed is not"
at_most "$(grep -c '^.\{81\}' < <(line "$F/held.lock" | sed 's/\x1b\[[0-9;]*m//g'))" 0 "80 columns: a path of usual length fits"
NO_COLOR=1 on_terminal 80
lacks "$table" $'\e' "NO_COLOR: no colours"
matches "$(line "$F/held.lock")" "^held .* $F/held.lock$" "NO_COLOR: the row"

# ---- nothing is missing ----

locks_by_lslocks() { lslocks --json --notruncate --output INODE,MAJ:MIN,TYPE | jq -c '.locks[] | select(.type | test("FLOCK|POSIX|OFDLCK")) | .inode' | sort -u; }
listeners_by_ss() { ss -xlnH | awk '$2 == "LISTEN" { print $(NF - 2) }' | sort -u; }
stay() { comm -12 "$T/$1.1" "$T/$1.2"; }
# What was there before and afterwards, and is not in ours. A lock that comes and goes may be dropped just then.
missing=everything
for _ in 1 2 3 4 5; do
    [[ $missing ]] || break
    locks_by_lslocks >"$T/locks.1"
    listeners_by_ss >"$T/listeners.1"
    survey
    locks_by_lslocks >"$T/locks.2"
    listeners_by_ss >"$T/listeners.2"
    { jq '.[] | select(.kind != "socket" and .displaced == []).inode' "$T/all"
        jq -r '.[].path | capture("^[0-9]+:[0-9]+:(?<inode>[0-9]+)( |$)").inode' "$T/all"; } | sort -u >"$T/locks.ours"
    jq '.[] | (., .displaced[]) | .listener.inode // empty' "$T/all" | sort -u >"$T/listeners.ours"
    missing=$(comm -23 <(stay locks) "$T/locks.ours"; comm -23 <(stay listeners) "$T/listeners.ours")
done
at_most 15 "$(stay locks | wc -l)" "lslocks has the test's locks at least"
at_most 8 "$(stay listeners | wc -l)" "ss has the test's listeners at least"
is "$(xargs <<<"$missing")" "" "no lock is missing that lslocks has, and no listener that ss has"

# ---- who sees less ----

survey setpriv --reuid=65534 --regid=65534 --clear-groups
is "$code" 0 "as an ordinary user: a listing"
matches "$complaints" '[0-9]+ of [0-9]+ processes could not be read; as root' "and it says how much was not seen"
is "$(jq -c --arg inode ":$(stat -c %i "$F/held.lock")" 'map(select(.path | contains($inode)) | .verdict)' "$T/all")" '["unknown"]' \
    "a lock whose holder cannot be seen is listed by its number, as unknown"
check "a listener whose holder cannot be seen" "$F/listener" unknown incomplete-scan
is "$(jq '[.[] | select(.verdict == "free" or .verdict == "stale" or .verdict == "absent" or .verdict == "orphaned")] | length' "$T/all")" 0 \
    "nothing is said to be free, stale or orphaned"

cat >"$T/inside" <<'END'
mkfifo "$2/hold"
exec {hold}<>"$2/hold"
"$1" name=inside helper name=holder open="$2/inside.lock" flock end helper name=thread thread own-table open="$2/inside-thread.lock" posix end \
    <"$2/hold" >"$2/inside.labels" {hold}>&- &
until [[ -s $2/inside.labels ]]; do sleep 0.02; done
"$3" --json probe --all >"$2/inside.json" 2>"$2/inside.complaints"
exec {hold}>&-
wait
END
timeout 30 unshare --pid --fork --mount-proc --kill-child bash "$T/inside" "$MAKER" "$F" "$T/latchctl"
cp "$F/inside.json" "$T/all"
contains "$(cat "$F/inside.complaints")" "not whole in this PID namespace" "in a PID namespace: it says what cannot be seen"
check "a lock within the PID namespace" "$F/inside.lock" held live "$(jq .holderInside "$F/inside.labels")"
check "one that a thread's own descriptor has" "$F/inside-thread.lock" held live "$(jq .threadInside "$F/inside.labels")"
is "$(row "$F/held.lock")" "[]" "a lock outside of it is not shown"

# ---- many ----

wait_gone() { exec {hold}>&-; wait "${makers[@]}"; }
kill "$waiter" "$listener"
wait "$waiter" "$listener" 2>/dev/null
wait_gone
mkdir "$F/many"
exec {hold}<>"$T/hold"
many() { # N M: N locks and M listeners
    local i steps=(name=many)
    for ((i = 0; i < $1; i++)); do steps+=("open=m/$i.lock" flock); done
    for ((i = 0; i < $2; i++)); do steps+=("socket=m/$i" listen=1); done
    makers=()
    make many prlimit --nofile=20000:20000 env --chdir="$F" "$MAKER" "${steps[@]}"
}
ln -s many "$F/m"
many 300 20
survey prlimit --nofile=200:200
is "$(jq --arg f "$F/many/" '[.[] | select(.path | startswith($f)) | select(.verdict == "held" and .reason == "live")] | length' "$T/all")" 300 \
    "300 locks, and 200 descriptors to look at them with: all are listed"
wait_gone
rm -rf "$F/many" && mkdir "$F/many"
exec {hold}<>"$T/hold"
many 10000 2000
began=$(now_ms)
survey
took=$(($(now_ms) - began))
is "$(jq --arg f "$F/many/" --argjson pid "$(pid_of many many)" '[.[] | select(.path | startswith($f)) | select(.verdict == "held" and .holders[0].pid == $pid)] | length' "$T/all")" 10000 \
    "10,000 locks"
is "$(jq --arg f "$F/m/" --argjson pid "$(pid_of many many)" '[.[] | select(.path | startswith($f)) | select(.verdict == "held" and .holders[0].pid == $pid)] | length' "$T/all")" 2000 \
    "2,000 listeners, bound by relative paths"
at_most "$took" 120000 "not all of them for each of them: milliseconds"
wait_gone
finish
