#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# No descriptor is to be had, no memory, no space, no process: one kind of system call after the other is refused to
# latchd for a while, during a start, a restart behind a crash, questions and a stop. It does not crash; there never
# are two daemons, nor one that nobody knows of; as soon as calls succeed again it is in order, or it has ended, has said
# why, and the next latchd takes over what lives.
#
# LATCHD_TEST_EVERY=K takes a Kth of the cases, from a random one on; LATCHD_TEST_SEED repeats the choice.
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
# Whoever is traced cannot look for leaks.
export ASAN_OPTIONS=${ASAN_OPTIONS-}:detect_leaks=0
require_root
require latchd latchctl strace
# shellcheck source=tests/lib/lock-daemon.sh
. "$srcdir/tests/lib/lock-daemon.sh"
every=${LATCHD_TEST_EVERY:-1}
RANDOM=${LATCHD_TEST_SEED:-$((seed = RANDOM))}
note "seed ${LATCHD_TEST_SEED:-$seed}"
start_innocents

# shellcheck disable=SC2054 # commas as strace has them
cases=(openat:EMFILE openat:ENFILE openat:ENOMEM socket:EMFILE socketpair:EMFILE clone,clone3,vfork,fork:EAGAIN
    clone,clone3,vfork,fork:ENOMEM pidfd_open:EMFILE pidfd_open:ENOMEM epoll_create1:EMFILE epoll_ctl:ENOMEM
    epoll_ctl:ENOSPC timerfd_create:EMFILE signalfd4:EMFILE inotify_init1:EMFILE inotify_add_watch:ENOSPC
    sendto:ENOBUFS renameat:ENOSPC renameat:EIO write:ENOSPC flock:ENOLCK accept4:EMFILE accept4:ENFILE getdents64:ENOMEM readlinkat:ENOMEM
    prlimit64:EPERM getrandom:EAGAIN bind:ENOSPC connect:EAGAIN newfstatat:ENOMEM statx:ENOMEM unlinkat:EIO fcntl:EMFILE)

living_one() { # prints the daemon that lives, if one does; more than one is told by the check
    find_living start
    echo "${living[*]}"
}

# What is wrong with a latchd that ended early: it has to have said why, and the next one has to manage.
take_over() { # EXIT-STATUS
    local before after
    (($1 < 128)) || echo "latchd died of signal $(($1 - 128))"
    (($1 != 0)) || echo "latchd ended with exit status 0"
    [[ -s $T/first.log ]] || echo "latchd ended (exit status $1) and said nothing"
    before=$(living_one)
    run_latchd "$T/second.log"
    await_up "$T/second.log" "$latchd_pid" 20 || echo "the next latchd does not get ready"
    check_up
    after=$(living_one)
    [[ -z $before || $before == "$after" ]] || echo "daemon $before was alive, and $after runs now"
    kill -TERM "$latchd_pid"
    await_gone "$latchd_pid" 10 || { echo "the next latchd does not end" && kill -KILL "$latchd_pid"; }
    wait "$latchd_pid"
    check_down ""
}

# The calls number FROM to FROM + 5 of that kind are refused.
refuse() { # CALLS ERRNO FROM
    local rc=0 main
    begin_afresh
    : >"$T/first.log"
    : >"$T/second.log"
    strace -D -o "$T/trace" -e "trace=$1" -e "inject=$1:error=$2:when=$3..$(($3 + 5))" -- \
        latchd run --config-dir "$D/etc" --runtime-dir "$D/run" --log-target stderr quick >"$T/first.log" 2>&1 </dev/null &
    latchd_pid=$!
    if await_ready "$T/first.log" 1 "$latchd_pid" 20; then
        main=$(living_one)
        [[ $main =~ ^[0-9]+$ ]] || { echo "ready, and alive are: $main" && return; }
        kill -KILL "$main"
        timeout 20 latchctl --config-dir "$D/etc" --runtime-dir "$D/run" status quick >/dev/null 2>&1
        if await_ready "$T/first.log" 2 "$latchd_pid" 20; then
            timeout 20 latchctl --config-dir "$D/etc" --runtime-dir "$D/run" restart quick >/dev/null 2>&1
            await_ready "$T/first.log" 3 "$latchd_pid" 20 # the client may have been refused
        fi
    fi
    if alive "$latchd_pid"; then
        # The last calls that are refused may be for this client.
        for _ in {1..8}; do
            timeout 30 latchctl --config-dir "$D/etc" --runtime-dir "$D/run" start quick >"$T/start.log" 2>&1 && break
        done || ! alive "$latchd_pid" || echo "it does not recover: $(<"$T/start.log")"
    fi
    if alive "$latchd_pid"; then
        check_up
        kill -TERM "$latchd_pid"
        await_gone "$latchd_pid" 20 || { echo "latchd does not end" && kill -KILL "$latchd_pid"; }
        wait "$latchd_pid" || rc=$?
        ((rc == 0)) || echo "asked to end: exit status $rc"
        check_down "$([[ $1 != unlinkat ]] || echo quick.sock)" # its own, which it may not remove
        return
    fi
    wait "$latchd_pid" || rc=$?
    take_over "$rc"
}

tried=0 gave_up=0
for ((i = RANDOM % every; i < ${#cases[@]}; i += every)); do
    calls=${cases[i]%:*} errno=${cases[i]#*:}
    refused=
    for from in 1 $((2 + RANDOM % 8)) $((10 + RANDOM % 40)); do
        wrong=$(refuse "$calls" "$errno" "$from")
        [[ -z $wrong ]] || fail "$calls refused with $errno, from number $from on" "$wrong" "--- first" \
            "$(tail -n 15 "$T/first.log")" "--- second" "$(tail -n 10 "$T/second.log")" "--- trace" \
            "$(grep -F INJECTED "$T/trace")"
        if [[ -s $T/second.log ]]; then
            gave_up=$((gave_up + 1))
            note "$calls refused with $errno, from number $from on: $(tail -n 1 "$T/first.log" | cut -c1-200)"
        fi
        ! grep -qF INJECTED "$T/trace" || refused=yes
        tried=$((tried + 1))
    done
    [[ -n $refused ]] || note "$calls: it makes no such call"
done
((harness_failed)) || ok "$tried times calls were refused: never two daemons, none lost, in order afterwards"
note "$gave_up times latchd ended, having said why, and the next one took over"
finish
