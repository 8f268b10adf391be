# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What the tests share that make locks with tests/tools/lock-maker and ask `latchctl probe` about them. Sourced after
# harness.sh. $F is the directory of the files, $MAKER lock-maker, $T/latchctl a latchctl that everybody may execute.

MAKER=$T/lock-maker
cp "$(tool lock-maker)" "$MAKER"
cp "$builddir/latchctl" "$T/latchctl" # for users who cannot read the build's directory
chmod 755 "$MAKER" "$T/latchctl"
F=$T/files
mkfifo "$T/hold"
# Whose PIDs count as holders, for jq; a test may set it to count others as well.
holders_filter='.holders[].pid'

make() { # STEP...: @ is the directory of the files
    mkdir -p "$F"
    exec {hold}<>"$T/hold"
    "$MAKER" "${@//@/$F}" <"$T/hold" >"$T/labels" 2>"$T/maker.log" {hold}>&- &
    maker=$!
    wait_until 10 test -s "$T/labels" || die "lock-maker made it" "$*" "$(cat "$T/maker.log")"
}

end_maker() { # the files stay
    exec {hold}>&-
    wait "$maker"
    rm -f "$T/labels"
}

unmake() {
    end_maker
    rm -rf "$F" "$F.own"
}

pid_of() { jq ".$1" "$T/labels"; } # NAME

probe() { # PATH [COMMAND...]: sets report, verdict, reason, holders, code
    local path=$1
    shift
    code=0
    report=$(timeout 20 "$@" "$T/latchctl" --json probe "$path" 2>&1) || code=$?
    verdict=$(jq -r '.[0].verdict' <<<"$report" 2>&1)
    reason=$(jq -r '.[0].reason' <<<"$report" 2>&1)
    holders=$(jq -r "[.[0] | $holders_filter] | sort | join(\" \")" <<<"$report" 2>&1)
}

# The verdict, its reason (an extended regular expression), exactly these holders by name, the exit code.
check() { # TEXT PATH VERDICT REASON [NAME...]
    local text=$1 path=$2 expected=() name
    local -A codes=([absent]=0 [free]=0 [stale]=3 [orphaned]=4 [held]=5 [unknown]=6)
    for name in "${@:5}"; do expected+=("$(pid_of "$name")"); done
    expected_holders=$(printf '%s\n' "${expected[@]}" | sort -n | xargs)
    if [[ $verdict == "$3" && $reason =~ ^($4)$ && $holders == "$expected_holders" && $code == "${codes[$3]}" ]]; then
        ok "$text: $verdict ($reason)"
    else
        fail "$text" "expected: $3 ($4), holders: $expected_holders, exit code ${codes[$3]}" \
            "found:    $verdict ($reason), holders: $holders, exit code $code" "path: $path" \
            "$(jq -c '.[0] | {kind, errno, families, claims, recorded, holders, listener, displaced: [.displaced[]?.listener], complete, initialPidNamespace, summary}' <<<"$report" 2>&1)"
    fi
}
