#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The bed the systemd tests lie on: boots, works, and leaves nothing behind, whatever happens to it.
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
booted=$here/lib/booted-systemd
dir=$(mktemp -d)
trap '"$booted" stop "$dir"; rm -rf "$dir"' EXIT

fail() { echo "FAIL: $*" >&2; exit 1; }

nothing_left() { # WHEN
    local cgroups
    [[ -z $(ls -A "$dir") ]] || fail "$1: files are left: $(ls -A "$dir")"
    if grep -F "$dir" /proc/self/mountinfo; then fail "$1: mounts are left"; fi
    # No process may still have the directory in its mount table, that is, live in the namespaces made for it.
    if grep -lF "$dir" /proc/[0-9]*/mountinfo 2>/dev/null; then fail "$1: processes are left"; fi
    # shellcheck disable=SC2016
    cgroups=$(unshare --mount --propagation private -- \
        sh -c 'mount -t cgroup2 none "$1" && ls "$1"' sh "$dir" | grep -xF "$cgroup" || true)
    [[ -z $cgroups ]] || fail "$1: the cgroup $cgroups is left"
}

units() { find /etc/systemd -printf '%p %l %T@\n' 2>/dev/null | sort | cksum; }
units_before=$(units)

leader=$("$booted" start "$dir")
cgroup=$(<"$dir/.booted-systemd/cgroup")
[[ $(<"/proc/$leader/comm") == systemd ]] || fail "process $leader is not systemd"

state=$("$booted" run "$dir" -- systemctl is-system-running) || fail "the system is $state, not running"
[[ $state == running ]] || fail "the system is $state"

"$booted" run "$dir" -- journalctl --no-pager -n1 | grep -q . || fail "the journal is empty"
"$booted" run "$dir" -- systemd-run --quiet --wait true || fail "a transient service does not run"
rc=0
"$booted" run "$dir" -- systemd-run --quiet --wait sh -c 'exit 7' || rc=$?
[[ $rc == 7 ]] || fail "a transient service's exit status 7 arrives as $rc"
rc=0
"$booted" run "$dir" sh -c 'exit 42' || rc=$?
[[ $rc == 42 ]] || fail "a command's exit status 42 arrives as $rc"

# The directory is shared; the rest of the file system is a copy.
# shellcheck disable=SC2016
"$booted" run "$dir" sh -c 'echo seen >"$1/note"; echo own >/etc/latchd-test; systemctl daemon-reload' sh "$dir"
[[ $(<"$dir/note") == seen ]] || fail "a file written inside is not seen outside"
rm "$dir/note"
[[ ! -e /etc/latchd-test ]] || fail "a file written inside reached the machine's /etc"
[[ $("$booted" run "$dir" readlink /proc/self/ns/net) != $(readlink /proc/self/ns/net) ]] ||
    fail "the network namespace is the machine's"

if "$booted" start "$dir" 2>/dev/null; then fail "a second system starts for the same directory"; fi

"$booted" stop "$dir"
nothing_left "after stop"
"$booted" stop "$dir" || fail "stopping what does not run fails"
if "$booted" run "$dir" true 2>/dev/null; then fail "a command runs in a stopped system"; fi

# Killed half-way up: the start fails or is cut off, and stop still finds everything.
"$booted" start "$dir" >/dev/null 2>&1 &
starter=$!
for _ in {1..500}; do
    [[ -s $dir/.booted-systemd/outer ]] && break
    sleep 0.002
done
kill -KILL "$starter" 2>/dev/null || true # a fast machine may be through already
wait "$starter" 2>/dev/null || true
cgroup=$(<"$dir/.booted-systemd/cgroup")
"$booted" stop "$dir"
nothing_left "after a start that was killed"

# Its process 1 killed from outside while it runs.
leader=$("$booted" start "$dir")
cgroup=$(<"$dir/.booted-systemd/cgroup")
kill -KILL "$leader"
"$booted" stop "$dir"
nothing_left "after process 1 was killed"

[[ $(units) == "$units_before" ]] || fail "the machine's units changed"
echo "PASS"
