#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What a daemon leaves behind where there is no cgroup for it: found by ancestry, session and marks, and ended before the
# next start and by a stop; and the innocents beside it, who look like it. Then latchctl kill.
# shellcheck disable=SC2317 # much is called by wait_for
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require jq setsid

d=$T/d
mkdir -p "$d/etc" "$d/run" "$d/tell"

# service NAME LINE...: a daemon that runs $d/NAME, whose lines come from standard input. There it can say
# `leave COMMAND`: begins it by two forks, in a session of its own, with nothing in its environment.
service() {
    local name=$1
    shift
    {
        printf '#!/bin/bash\n'
        printf 'leave() { (env -i D=%q setsid "$@" </dev/null >/dev/null 2>&1 &) }\n' "$d/tell"
        printf 'cd %q\n' "$d/tell"
        cat
        printf 'echo $$ >>%s.starts\nexec sleep 100000\n' "$name"
    } >"$d/$name"
    chmod +x "$d/$name"
    {
        printf '[Service]\nExecStart=%s\nRestart=always\nRestartSec=0\nStandardOutput=null\nStandardError=null\n' "$d/$name"
        printf '%s\n' "$@"
    } >"$d/etc/$name.conf"
}

run() { # SERVICE...
    latchd run --config-dir "$d/etc" --runtime-dir "$d/run" --log-target stderr "$@" >>"$d/latchd.log" 2>&1 &
    latchd=$!
}

end_latchd() {
    kill -TERM "$latchd"
    wait_for 30 "latchd ends" gone "$latchd"
    wait "$latchd" 2>/dev/null
}

state() { ctl "$d" --json status "$1" 2>/dev/null | jq -r ".[0]$2"; } # SERVICE JQ-PATH
starts() { (($(wc -l <"$d/tell/$1.starts" 2>/dev/null || echo 0) >= $2)); } # SERVICE N
told() { [[ -s $d/tell/$1 ]]; }                                            # FILE
is_state() { [[ $(state "$1" .state) == "$2" ]]; }                          # SERVICE STATE
logged() { grep -qF -- "$1" "$d/latchd.log"; }

# The same user, executable and arguments as what is left over; children of this test, and of nobody at all.
sleep 100001 &
innocents=($!)
(setsid sleep 100001 >/dev/null 2>&1 & echo $! >"$T/innocent")
innocents+=("$(<"$T/innocent")")
# It says that it is the service's; but no daemon that latchd knows of had that invocation.
LATCHD_SERVICE=one INVOCATION_ID=0123456789abcdef0123456789abcdef sleep 100001 &
innocents+=($!)

echo "# nothing is left: nothing is looked for"
service one <<<''
run one
wait_for 20 "the daemon runs" starts one 1
kill -KILL "$(state one .mainPid)"
wait_for 20 "and runs again" starts one 2
fails "nobody was told of leftovers" grep -q "left .* behind" "$d/latchd.log"
end_latchd

echo "# forked twice, a session of its own, no environment, deaf to SIGTERM"
service one OrphanGraceSec=300ms OrphanKillSec=300ms <<'EOF'
leave bash -c 'trap "" TERM; echo $$ >$D/deaf; while :; do sleep 100001; done'
leave sleep 100001
sleep 100001 &
while [ ! -s deaf ]; do sleep 0.05; done
cat deaf >>deafs
rm deaf
EOF
run one
wait_for 20 "the daemon has left them" starts one 3
deaf=$(tail -n 1 "$d/tell/deafs")
kill -KILL "$(state one .mainPid)"
wait_for 20 "it is killed: latchd finds what is left" logged "A dead 'one' left"
succeeds "the deaf one lives still" alive "$deaf"
contains "$(state one '.leftovers | map(.comm) | sort | join(" ")')" "bash sleep" "status shows who is left"
is "$(state one '.leftovers | map(select(.proof == "none")) | length')" 0 "each with what proves it"
wait_for 30 "another daemon runs" starts one 4
succeeds "the deaf one had ended before" gone "$deaf"
contains "$(grep -F 'Sent SIGTERM to' "$d/latchd.log" | tail -n 1)" "that a dead 'one' left" "SIGTERM was sent"
contains "$(grep -F 'Sent SIGKILL to' "$d/latchd.log" | tail -n 1)" "PID $deaf (bash)" "SIGKILL to the deaf one"
for pid in "${innocents[@]}"; do succeeds "an innocent lives: $(cmdline "$pid")" alive "$pid"; done

echo "# a stop ends them as well"
deaf=$(tail -n 1 "$d/tell/deafs")
out=$(ctl "$d" stop one 2>&1)
is "$?:$out" "0:" "latchctl stop has nothing to say"
succeeds "the deaf one has ended" gone "$deaf"
is "$(ps -o pid= --ppid "$latchd")" "" "latchd has no children any more"
end_latchd

echo "# three hundred"
service one OrphanGraceSec=0 OrphanKillSec=20s <<'EOF'
[ -e crowd ] || for i in {1..300}; do leave sleep 100001; done
touch crowd
EOF
run one
wait_for 30 "the daemon runs" starts one 5
crowd() { (($(ps -o pid= --ppid "$latchd" | wc -l) == $1)); }
wait_for 30 "with 300 whom it left" crowd 301
kill -KILL "$(state one .mainPid)"
wait_for 40 "it is killed, and another runs" starts one 6
is "$(ps -o pid= --ppid "$latchd" | xargs)" "$(state one .mainPid)" "which is latchd's only child"
contains "$(grep -F 'Sent SIGTERM to' "$d/latchd.log" | tail -n 1)" "to 300 processes" "all were told in one line"
end_latchd

echo "# a policy that leaves them to the administrator"
service one OrphanPolicy=fail <<'EOF'
[ -e left ] || leave bash -c 'echo $$ >$D/left; exec sleep 100001'
while [ ! -s left ]; do sleep 0.05; done
EOF
run one
wait_for 20 "the daemon runs" starts one 7
left=$(<"$d/tell/left")
kill -KILL "$(state one .mainPid)"
wait_for 20 "it is killed: the service is blocked" is_state one blocked
contains "$(state one .statusText)" "PID $left (sleep)" "its status names who is in the way"
contains "$(state one .statusText)" "OrphanPolicy=fail" "and why that is left alone"
out=$(ctl "$d" stop one 2>&1)
is "$?" 0 "latchctl stop succeeds"
contains "$out" "left running: PID $left (sleep): OrphanPolicy=fail" "and says what it leaves, and why"
contains "$(grep -F 'not everything ended' "$d/latchd.log")" "PID $left (sleep)" "so does the journal"
contains "$(ctl "$d" status one)" "Left over: PID $left (sleep)" "status still shows it"
contains "$(ctl "$d" clear --dry-run one)" "Would end 1 process that a dead 'one' left: PID $left" "clear --dry-run says what it would do"
succeeds "and does not do it" alive "$left"
succeeds "latchctl clear" ctl "$d" clear one
succeeds "ends it" gone "$left"
succeeds "the service starts" ctl "$d" start one
end_latchd

echo "# a fork bomb"
# Of a user that has no other processes here, with room for 100: deaf to SIGTERM, and each has children as long as it can.
cat >"$d/bomb.pl" <<'EOF'
$SIG{TERM} = 'IGNORE'; $SIG{CHLD} = 'IGNORE';
while (1) { fork(); select(undef, undef, undef, 0.02); }
EOF
service one OrphanGraceSec=0 OrphanKillSec=100ms User=games LimitNPROC=100 Nice=19 <<EOF
leave perl $d/bomb.pl
EOF
touch "$d/tell/one.starts"
chmod -R a+rwX "$d/tell"
chmod a+rx "$d"
run one
bombs() { pgrep -u games -f "$d/bomb.pl" | wc -l; }
many() { (($(bombs) > 60)); }
wait_for 40 "it has filled its room" many
: >"$d/latchd.log"
ctl "$d" stop one >/dev/null 2>&1
is "$(bombs)" 0 "a stop ends all of it"
contains "$(grep -F 'Sent SIGKILL' "$d/latchd.log")" "that a dead 'one' left" "by SIGKILL"
for pid in "${innocents[@]}"; do succeeds "an innocent lives: $(cmdline "$pid")" alive "$pid"; done
end_latchd

echo "# two services of one latchd"
service two OrphanGraceSec=0 OrphanKillSec=100ms <<'EOF'
rm -f two.*.pid
(setsid bash -c 'echo $$ >two.marked.pid; exec sleep 100001' &)
(env -i setsid bash -c 'echo $$ >two.bare.pid; exec sleep 100001' &)
env -i bash -c 'echo $$ >two.session.pid; exec sleep 100001' &
while [ ! -s two.marked.pid ] || [ ! -s two.bare.pid ] || [ ! -s two.session.pid ]; do sleep 0.05; done
EOF
service three <<'EOF'
(setsid bash -c 'echo $$ >three.marked.pid; exec sleep 100001' &)
while [ ! -s three.marked.pid ]; do sleep 0.05; done
EOF
run two three
wait_for 20 "one runs" starts two 1
wait_for 20 "and the other" starts three 1
marked=$(<"$d/tell/two.marked.pid") bare=$(<"$d/tell/two.bare.pid") session=$(<"$d/tell/two.session.pid")
other=$(<"$d/tell/three.marked.pid")
kill -KILL "$(state two .mainPid)"
wait_for 30 "one is killed, and runs again" starts two 2
succeeds "who carries its name has ended" gone "$marked"
succeeds "who was in the daemon's session, too" gone "$session"
succeeds "what belongs to the other service lives" alive "$other"
succeeds "of whom nothing tells whose it is, lives as well" alive "$bare"
is "$(state three ".unattributed | map(select(.pid == $bare)) | length")" 1 "and is shown"
contains "$(ctl "$d" status two)" "Unknown: PID $bare (sleep), left alone" "to people, too"
contains "$(state three '.unattributed | map(.pid) | join(" ")')" "$bare" "at both services"
lacks "$(state three '.unattributed | map(.pid) | join(" ")')" "$other" "which what carries a name is not"
end_latchd
succeeds "at the end of latchd it lives" alive "$bare"
succeeds "what carried the other's name does not" gone "$other"
kill -KILL "$bare" # with the environment that it has, nobody finds it at the end of this test

echo "# by their marks: another latchd began them"
service four <<'EOF'
[ -e four.pid ] || setsid bash -c 'echo $$ >four.pid; exec sleep 100001' &
while [ ! -s four.pid ]; do sleep 0.05; done
EOF
run four
wait_for 20 "the daemon runs" starts four 1
left=$(<"$d/tell/four.pid")
main=$(state four .mainPid)
kill -KILL "$latchd"
wait_for 10 "latchd is killed" gone "$latchd"
kill -KILL "$main"
wait_for 10 "and then its daemon" gone "$main"
succeeds "what that left lives" alive "$left"
run four
wait_for 30 "another latchd starts the service" starts four 2
succeeds "after that had ended" gone "$left"
for pid in "${innocents[@]}"; do succeeds "an innocent lives: $(cmdline "$pid")" alive "$pid"; done
end_latchd

echo "# latchctl kill"
service five OrphanGraceSec=0 <<'EOF'
bash -c 'echo $$ >five.worker; trap "echo worker >>five.signals" USR1; while :; do sleep 0.1; done' &
while [ ! -s five.worker ]; do sleep 0.05; done
trap 'echo main >>five.signals' USR1 RTMIN+2
echo $$ >>five.starts
while :; do sleep 0.1; done
EOF
run five
wait_for 20 "the daemon runs" starts five 1
main=$(state five .mainPid)
worker=$(<"$d/tell/five.worker")
for signal in SIGUSR1 USR1 10 RTMIN+2; do
    rm -f "$d/tell/five.signals"
    succeeds "latchctl kill -s $signal" ctl "$d" kill -s "$signal" five
    wait_for 20 "the main process gets it" told five.signals
done
sleep 0.3
is "$(sort -u "$d/tell/five.signals")" main "and nobody else"
rm "$d/tell/five.signals"
is "$(ctl "$d" --json kill -s USR1 --kill-whom=all five | jq -r '.[0] | "\(.service) \(.signalled >= 2) \(.more)"')" "five true false" \
    "--kill-whom=all: more get it"
both() { [[ $(sort -u "$d/tell/five.signals" | xargs) == "main worker" ]]; }
wait_for 20 "the worker as well" both
is "$(state five .mainPid)" "$main" "the daemon runs on"
contains "$(grep -F 'Sent SIGUSR1 to PID' "$d/latchd.log" | tail -n 1)" "Sent SIGUSR1 to PID $main, asked for by PID" \
    "the journal tells who asked for it"
out=$(ctl "$d" kill -s SIGTREM five 2>&1)
is "$?" 64 "a signal that there is not is a mistake in usage"
contains "$out" "did you mean SIGTERM?" "with the one that was perhaps meant"
exits 64 "no service: usage" ctl "$d" kill
exits 64 "no such whom: usage" ctl "$d" kill --kill-whom=some five
succeeds "latchctl kill" ctl "$d" kill five
wait_for 30 "ends the daemon, and Restart= has another begun" starts five 2
succeeds "after its worker" gone "$worker"
succeeds "it is stopped" ctl "$d" stop five
out=$(ctl "$d" kill five 2>&1)
is "$?" 1 "then there is nobody to send a signal to"
contains "$out" "does not run" "which is said"
end_latchd
kill -KILL "${innocents[@]}"
finish
