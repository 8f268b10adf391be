#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Asks the Kea daemons that are installed whether they read the configurations of tests/data/kea as our reader
# does: both accept a file, or both refuse it. KEA_JSON_DUMP names our program.
set -eu

srcdir=$(cd "${srcdir:-.}" && pwd)
data=$srcdir/tests/data/kea
dump=${KEA_JSON_DUMP:-tests/tools/kea-json-dump}
case $dump in
/*) ;;
*) dump=$(pwd)/$dump ;;
esac
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

command -v kea-dhcp4 >/dev/null || {
    echo "SKIP: kea-dhcp4 is not installed"
    exit 77
}
test -x "$dump" || {
    echo "FAIL: $dump is not there: make it first, or name it by KEA_JSON_DUMP"
    exit 1
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export KEA_LOCKFILE_DIR="$scratch" KEA_PIDFILE_DIR="$scratch"

# Files whose includes are nested ten, eleven and twelve deep.
mkdir "$scratch/deep"
i=1
while [ "$i" -lt 12 ]; do
    echo "<?include \"deep/$((i + 1))\"?>" >"$scratch/deep/$i"
    i=$((i + 1))
done
echo '"interfaces-config": { "interfaces": [] }' >"$scratch/deep/12"
for first in 1 2 3; do
    echo "{ \"Dhcp4\": { <?include \"deep/$first\"?> } }" >"$scratch/deep-from-$first.conf"
done

compared=0
failed=0

# compare FILE, in the working directory
compare() {
    daemon=kea-dhcp4
    if grep -q '"Dhcp6"' "$1"; then daemon=kea-dhcp6; fi
    if grep -q '"DhcpDdns"' "$1"; then daemon=kea-dhcp-ddns; fi
    if grep -q '"Control-agent"' "$1"; then daemon=kea-ctrl-agent; fi
    command -v $daemon >/dev/null || {
        echo "skip $1: $daemon is not installed"
        return 0
    }
    theirs=accepted
    ours=accepted
    timeout 20 $daemon -t "$1" >"$scratch/theirs" 2>&1 || theirs=refused
    "$dump" "$1" >"$scratch/ours" 2>&1 || ours=refused
    compared=$((compared + 1))
    if [ $theirs = $ours ]; then
        echo "ok $1: $ours"
    else
        echo "FAIL $1: $daemon says $theirs, latchd $ours"
        sed "s/^/    $daemon: /" "$scratch/theirs"
        sed 's/^/    latchd: /' "$scratch/ours"
        failed=$((failed + 1))
    fi
}

cd "$data"
for file in good-*.conf bad-*.conf; do
    compare "$file"
done
cd "$scratch"
for file in deep-from-*.conf; do
    compare "$file"
done

echo "$compared compared, $failed disagree"
[ "$compared" -gt 20 ] && [ "$failed" -eq 0 ]
