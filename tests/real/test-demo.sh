#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The demo that newcomers see (bootstrap demo): it comes out as it tells, with Kea and with the stand-in, leaves
# nothing behind, and notices when a step does not come out.
# heavy: the build with gcc has shown it
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"

demo=$srcdir/tests/demo/kea-case
mkdir "$T/scratch"
export TMPDIR=$T/scratch NO_COLOR=1 PATIENCE=150

play() { timeout 450 "$demo" "$@" >"$T/demo.log" 2>&1; } # ARGUMENT...

nothing_left() { # WHEN
    is "$(ls -A "$T/scratch")" "" "$1: no file is left"
    is "$(for pid in $(harness_processes); do cmdline "$pid" | grep -F "$T/scratch"; done)" "" "$1: no process is left"
}

key_lines() { # DAEMON HELPER
    local out helper
    out=$(<"$T/demo.log")
    matches "$out" "DHCP4_PARSER_COMMIT_FAIL [^
]*cannot lock socket lockfile, [^ ]*/kea4.sock.lock, : Resource temporarily unavailable" "the famous line, verbatim"
    matches "$out" "Kea is PID ([0-9]+)\\. Its helper, PID ([0-9]+)," "both processes are named"
    helper=${BASH_REMATCH[2]-none}
    contains "$out" "$ lslocks -p ${BASH_REMATCH[1]-none}" "lslocks is asked for the dead process"
    contains "$out" "kea4.sock.lock: orphaned (leftover)" "the verdict is orphaned"
    matches "$out" " $2 +$helper [^
]* leftover " "the true holder is the helper"
    contains "$out" "State: running" "the service runs"
    contains "$out" "Nothing was removed by hand" "the last step is reached"
    contains "$out" "Every step came out as told." "and the demo says so"
    matches "$out" "(Sent SIGTERM to|is held by a leftover:|The way is free)" "latchd's own account is shown"
    matches "$out" "8/8 .*\"result\": 0" "the new $1 answers"
}

echo "# with the stand-in"
succeeds "it comes out as told" play "$builddir" --stand-in
contains "$(<"$T/demo.log")" "NO KEA HERE: a stand-in daemon" "it says that there is no Kea in it"
key_lines stand-in-daemon stand-in-lfc
nothing_left "afterwards"

if command -v kea-dhcp4 >/dev/null; then
    echo "# with Kea"
    began=$(now_ms)
    succeeds "it comes out as told" play "$builddir" || cat "$T/demo.log"
    note "it took $(($(now_ms) - began)) ms"
    key_lines kea-dhcp4 kea-lfc
    lacks "$(<"$T/demo.log")" "stand-in" "no stand-in plays in it"
    nothing_left "afterwards"
else
    note "kea-dhcp4 is not installed: the stand-in alone has played"
fi

echo "# when a step does not come out"
mkdir "$T/broken"
ln -s "$builddir/latchd" "$T/broken/latchd"
# shellcheck disable=SC2016 # the script's own
printf '#!/bin/sh\n[ "$1" != probe ] || { echo "free"; exit 0; }\nexec "%s/latchctl" "$@"\n' "$builddir" >"$T/broken/latchctl"
chmod 755 "$T/broken/latchctl"
rc=0
play "$T/broken" --stand-in || rc=$?
is "$rc" 1 "a probe that sees nothing: exit status 1"
contains "$(<"$T/demo.log")" "The demo went wrong at step 5." "the step is named"
contains "$(<"$T/demo.log")" "named as the holder" "and what was expected"
nothing_left "after a failure"

echo "# cut short"
timeout --signal=INT 1 "$demo" "$builddir" --stand-in >"$T/demo.log" 2>&1
nothing_left "after ctrl-C"

rc=0
"$demo" >/dev/null 2>&1 || rc=$?
is "$rc" 64 "without a build directory: exit status 64"
finish
