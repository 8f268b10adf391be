#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Limits of running daemons: latchctl limits against what prlimit(1) says, drift, use above 80 %, changes of the daemon
# and of its children, warnings at the start, LimitNOFILE=auto over two generations, adoption, an ordinary user. Where
# latchd has no CAP_SYS_RESOURCE it is refused what needs that, and says so; where it has, it does it.
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require jq prlimit setpriv redis-server redis-cli

D=$T/d
mkdir -p "$D/etc" "$D/run"
has_sys_resource() { (($(awk '/^CapEff:/ { print "0x" $2 }' "/proc/$1/status") & 1 << 24)); } # PID
in_force() { prlimit --pid "$1" --raw --noheadings --output SOFT,HARD "--$2" | xargs; } # PID NAME
limits_json() { ctl "$D" limits --json "$1" 2>/dev/null; }                              # SERVICE
files_of() { awk '/^Max open files/ { print $4, $5 }' "/proc/$1/limits"; }              # PID
# shellcheck disable=SC2317 # called through wait_until
has_open() { (($(find "/proc/$1/fd" -mindepth 1 | wc -l) >= $2)); } # PID NUMBER
# shellcheck disable=SC2317 # called through wait_for
another_child() { [[ -s $D/child && $(<"$D/child") != "$1" ]]; }    # PID
one() { limits_json "$1" | jq -r ".limits.$2"; }                                        # SERVICE PATH
count_in_log() { grep -c -- "$1" "$D/latchd.log" || true; }                             # PATTERN

# Opens so many descriptors, and one more whenever the file more gets longer; a child of it sleeps.
cat >"$D/opener" <<'END'
#!/bin/bash
for ((i = 0; i < $1; i++)); do exec {fd}</dev/null; done
sleep 1000 &
echo $! >"$2"
wait
END
chmod 755 "$D/opener"
service() { # NAME COMMAND LINES...
    {
        printf '[Service]\nExecStart=%s\nStandardOutput=append:%s/daemon.log\nRestartSec=10ms\n' "$2" "$D"
        shift 2
        (($# == 0)) || printf '%s\n' "$@"
    } >"$D/etc/$1.conf"
}

note "redis with limits of its own"
service redis "$(command -v redis-server) --port 0 --unixsocket $D/redis.sock --save '' --maxclients 100" \
    LimitNOFILE=200:400 LimitCORE=0 LimitMEMLOCK=1M:4M LimitRTTIME=1s:2s LimitNICE=0 LimitAS=infinity \
    LimitSIGPENDING=50:60 LimitCPU=1h Type=socket '[Socket control]' "ListenStream=$D/redis.sock" LockFile=none
start_latchd "$D" redis
wait_for 20 "redis is running" in_state "$D" running redis
pid=$(main_pid "$D" redis)
is "$(redis-cli -s "$D/redis.sock" ping)" PONG "it answers"
for pair in 'nofile:200 400' 'core:0 0' 'memlock:1048576 4194304' 'rttime:1000000 2000000' 'nice:0 0' 'sigpending:50 60' \
    'cpu:3600 3600'; do
    is "$(in_force "$pid" "${pair%%:*}")" "${pair#*:}" "${pair%%:*} is in force"
done
limits_json redis >"$T/limits.json"
is "$(jq '.limits | length' "$T/limits.json")" 16 "latchctl limits tells of all sixteen"
is "$(jq -c '.limits.NOFILE.configured' "$T/limits.json")" "[200,400]" "what was configured"
is "$(jq -c '.limits.STACK.configured' "$T/limits.json")" null "what was not"
is "$(jq -c '.limits.CORE.configured' "$T/limits.json")" "[0,0]" "zero is a limit"
while read -r name soft hard; do
    [[ $soft != unlimited ]] || soft=infinity
    [[ $hard != unlimited ]] || hard=infinity
    is "$(jq -r ".limits.$name | \"\(.soft) \(.hard)\"" "$T/limits.json")" "$soft $hard" "$name is as prlimit(1) says"
done < <(prlimit --pid "$pid" --raw --noheadings --output RESOURCE,SOFT,HARD)
is "$(jq -r .limits.NOFILE.used "$T/limits.json")" "$(find "/proc/$pid/fd" -mindepth 1 | wc -l)" "used descriptors"
is "$(jq -r .limits.SIGPENDING.unit "$T/limits.json")" signals "their unit"
ctl "$D" limits redis >"$T/table"
matches "$(<"$T/table")" 'NOFILE +200:400 +200 +400 +[0-9]+ +descriptors' "the table has it"
matches "$(<"$T/table")" 'FSIZE +- +infinity +infinity +- +bytes' "and a hyphen for what is not known"
matches "$(ctl "$D" status redis)" 'of 200 descriptors' "latchctl status shows the descriptors"

note "drift, by prlimit(1)"
prlimit --pid "$pid" --nofile=150:300 --core=0:0
matches "$(one redis NOFILE.remark)" 'not the 200:400 it was started with' "seen"
is "$(one redis NOFILE.attention)" true "and marked"
is "$(one redis CORE.remark)" null "of what is as it was nothing is said"
matches "$(ctl "$D" status redis)" 'Limit: NOFILE: not the 200:400' "latchctl status tells it"
exits 0 "the exit code stays 0" ctl "$D" limits redis

note "changed on request"
ctl "$D" limits redis NOFILE=250:300 MEMLOCK=2M AS=infinity >"$T/out"
is "$(in_force "$pid" nofile)" "250 300" "NOFILE is in force"
is "$(in_force "$pid" memlock)" "2097152 2097152" "so is MEMLOCK"
contains "$(<"$T/out")" "NOFILE of PID $pid: 150:300 -> 250:300" "old and new are told"
contains "$(<"$T/out")" "lasts until" "and how long"
matches "$(<"$D/latchd.log")" "NOFILE of PID $pid changed from 150:300 to 250:300 until its next start, asked for by PID [0-9]+ of uid 0" \
    "the log tells who asked"
matches "$(one redis NOFILE.remark)" 'set by latchctl limits for uid 0' "latchctl limits knows it"
is "$(ctl "$D" limits --json redis SIGPENDING=10:20 | jq -c '.[0] | [.limit, .pid, .before, .after]')" \
    "[\"SIGPENDING\",$pid,\"50:60\",\"10:20\"]" "as JSON"
succeeds "restart" ctl "$D" restart redis
is "$(in_force "$(main_pid "$D" redis)" nofile)" "200 400" "the next start has the configured one"
is "$(one redis NOFILE.remark)" null "and nothing to remark"
pid=$(main_pid "$D" redis)

note "mistakes"
said() { # CODE PATTERN ARGUMENTS...: latchctl limits ARGUMENTS
    local code=$1 pattern=$2 rc=0
    shift 2
    ctl "$D" limits "$@" >"$T/out" 2>&1 || rc=$?
    is "$rc" "$code" "limits $*: $code"
    matches "$(<"$T/out")" "$pattern" "limits $*: says why"
    is "$(wc -l <"$T/out")" 1 "limits $*: in one line"
}
said 64 'there is no limit "NOFIEL"; did you mean NOFILE?' redis NOFIEL=5
said 64 'did you mean NOFILE' redis LimitNOFILE=5
said 64 'there is no limit "XYZZY": CPU, FSIZE' redis XYZZY=5
said 64 'LimitAS=4X is not a limit' redis AS=4X
said 64 'soft limit is above the hard one|above the hard one' redis NOFILE=20:10
said 64 'NAME=SOFT' redis NOFILE
said 64 'wants a service' --json
said 1 'auto counts at a start' redis NOFILE=auto
said 1 'above fs.nr_open' redis "NOFILE=$(($(<"/proc/sys/fs/nr_open") + 1))"
said 1 'there is no service' nothing
if has_sys_resource "$latchd_pid"; then
    succeeds "with CAP_SYS_RESOURCE a hard limit is raised" ctl "$D" limits redis NOFILE=200:500
    is "$(in_force "$pid" nofile)" "200 500" "it is in force"
else
    said 77 'cannot raise the hard limit NOFILE from 400 to 500: latchd has no CAP_SYS_RESOURCE' redis NOFILE=200:500
    said 77 'cannot raise the hard limit NOFILE' redis SIGPENDING=20 NOFILE=500
    is "$(in_force "$pid" nofile)" "200 400" "nothing was changed"
    is "$(in_force "$pid" sigpending)" "50 60" "nor what stood before it"
fi
rc=0
# Everybody may look: it is only the change that is refused.
chmod 755 "$T" "$D" "$D/run"
cp "$(command -v latchctl)" "$T/latchctl"
setpriv --reuid=65533 --regid=65533 --clear-groups "$T/latchctl" --runtime-dir "$D/run" limits redis NOFILE=100 >"$T/out" 2>&1 ||
    rc=$?
is "$rc" 77 "another user may not change anything: 77"
is "$(setpriv --reuid=65533 --regid=65533 --clear-groups "$T/latchctl" --runtime-dir "$D/run" --json limits redis |
    jq -r .limits.NOFILE.soft)" 200 "but look"
succeeds "stop" ctl "$D" stop redis
said 1 'does not run' redis NOFILE=100
contains "$(ctl "$D" limits redis)" "redis does not run: what it would be started with" "it shows what is configured"
stop_latchd
matches "$(ctl "$D" limits redis)" 'NOFILE +200:400 +- +-' "without a supervisor, too"
said 1 'no supervisor runs .*; to bring it up: latchctl start .*redis' redis NOFILE=100
said 1 'no supervisor runs .*, and no configuration nosuch.conf is there: see latchctl list' nosuch NOFILE=100

start_latchd "$D" redis
wait_for 20 "it is started again" in_state "$D" running redis
pid=$(main_pid "$D" redis)
kill_latchd
contains "$(ctl "$D" limits redis)" "redis: PID $pid lives unsupervised" "a daemon whose latchd was killed is not said to be down"
is "$(ctl "$D" --json limits redis | jq .unsupervisedPid)" "$pid" "and named"
start_latchd "$D" redis
wait_for 20 "the next latchd has it" in_state "$D" running redis
succeeds "stop" ctl "$D" stop redis
stop_latchd

note "four fifths used, children, warnings at the start"
: >"$D/latchd.log"
service opener "$D/opener 49 $D/child" LimitNOFILE=64:128 ClientLimit=100 RestartMaxDelaySec=20ms \
    '[Socket control]' "ListenStream=$D/s" LockFile=none Backlog=100000000
start_latchd "$D" opener
wait_for 20 "the opener is running" in_state "$D" running opener
wait_for 20 "it has a child" test -s "$D/child"
pid=$(main_pid "$D" opener)
child=$(<"$D/child")
opened=$(find "/proc/$pid/fd" -mindepth 1 | wc -l)
((opened >= 52)) || die "it has opened them" "$opened"
is "$(one opener NOFILE.used)" "$opened" "they are counted"
matches "$(one opener NOFILE.remark)" "^$((opened * 100 / 64)) % of the soft limit is used" "above 80 % it is remarked"
matches "$(one opener NPROC.remark)" 'not enforced for root' "root is not held to NPROC"
needed=$((100 + opened + 64))
wait_for 20 "it is warned of" grep -q "may open 64 descriptors, and needs $needed: ClientLimit=100 + $opened held open beside its clients + 64 in reserve" \
    "$D/latchd.log"
somaxconn=$(</proc/sys/net/core/somaxconn)
wait_for 20 "of the queue, too" grep -q "Backlog=100000000 of \[Socket control\] is above net.core.somaxconn=$somaxconn" "$D/latchd.log"
matches "$(ctl "$D" status opener)" "Warning: PID $pid may open 64 descriptors, and needs $needed" "status has the warning"
matches "$(ctl "$D" limits opener)" "warning: PID $pid may open 64 descriptors" "so has limits"
kill -KILL "$pid"
wait_for 20 "killed, it is up again" runs_anew "$D" "$pid" opener
pid=$(main_pid "$D" opener)
wait_for 20 "and has a child" another_child "$child"
child=$(<"$D/child")
sleep 1.2 # the check of this generation
is "$(count_in_log 'may open 64 descriptors')" 1 "the same is told once"
is "$(count_in_log 'is above net.core.somaxconn')" 1 "of both"
prlimit --pid "$child" --core=0:0
[[ $(in_force "$pid" core) != "0 0" ]] || prlimit --pid "$child" --fsize=12345:12345
succeeds "the daemon alone" ctl "$D" limits opener NOFILE=63:127
is "$(in_force "$pid" nofile)/$(in_force "$child" nofile)" "63 127/64 128" "its child is as it was"
succeeds "the daemon, back" ctl "$D" limits opener NOFILE=62:127
prlimit --pid "$child" --nofile=62:127
ctl "$D" limits --all opener NOFILE=61:120 CORE=0 >"$T/out"
is "$(in_force "$pid" nofile)/$(in_force "$child" nofile)" "61 120/61 120" "--all: the child had the same limit, and is changed"
contains "$(<"$T/out")" "NOFILE of PID $child: 62:127 -> 61:120" "both are told of"
contains "$(<"$D/latchd.log")" "NOFILE of PID $pid and of 1 more processes changed from 62:127 to 61:120" "in the log, too"

note "taken over"
kill -KILL "$latchd_pid"
wait "$latchd_pid" 2>/dev/null
start_latchd "$D" opener
wait_for 20 "the next latchd has it" in_state "$D" running opener
is "$(main_pid "$D" opener)" "$pid" "the same one"
is "$(one opener NOFILE.configured | jq -c .)" "[64,128]" "what it was started with is known"
wait_for 10 "that it is otherwise now is told" grep -q "LimitNOFILE=64:128 was set by an earlier latchd, and PID $pid runs with 61:120" \
    "$D/latchd.log"
stop_latchd
jq 'del(.limits, .limitsKnown, .openFiles)' "$D/run/opener.state" >"$T/old.state"
start_latchd "$D" opener
wait_for 20 "it runs again" in_state "$D" running opener
pid=$(main_pid "$D" opener)
kill -KILL "$latchd_pid"
wait "$latchd_pid" 2>/dev/null
jq 'del(.limits, .limitsKnown, .openFiles)' "$D/run/opener.state" >"$T/old.state"
cat "$T/old.state" >"$D/run/opener.state"
start_latchd "$D" opener
wait_for 20 "a record of before these fields: it is taken over" in_state "$D" running opener
is "$(main_pid "$D" opener)" "$pid" "the same one"
is "$(one opener NOFILE.configured | jq -c .)" "[64,128]" "and the configuration tells"
stop_latchd

note "LimitNOFILE=auto counts what an earlier generation had open"
: >"$D/latchd.log"
rm -f "$D/run/opener.state" # what the one before had open may have been counted
ulimit -S -n 100
service opener "$D/opener 80 $D/child" LimitNOFILE=auto ClientLimit=200 RestartMaxDelaySec=20ms
start_latchd "$D" opener
wait_for 20 "the opener is running" in_state "$D" running opener
pid=$(main_pid "$D" opener)
is "$(in_force "$pid" nofile | cut -d' ' -f1)" $((200 + 3 + 64)) "at first: clients, standard descriptors and reserve"
wait_until 10 has_open "$pid" 83 || fail "it opens its files"
opened=$(find "/proc/$pid/fd" -mindepth 1 | wc -l)
wait_for 20 "the next start will count more: that is told" grep -q "LimitNOFILE=auto counts that from the next start on" "$D/latchd.log"
kill -KILL "$pid"
wait_for 20 "killed, it is up again" runs_anew "$D" "$pid" opener
is "$(in_force "$(main_pid "$D" opener)" nofile | cut -d' ' -f1)" $((200 + opened + 64)) "then: what was open besides"
stop_latchd
ulimit -S -n "$(ulimit -H -n)"

note "the limit of processes, and another user's daemon"
: >"$D/latchd.log"
chmod 777 "$D"
rm -f "$D/child"
nobody=$((100000 + $$)) # nobody else's
service other "$D/opener 1 $D/child" "User=$nobody" "Group=$nobody" LimitNPROC=2
start_latchd "$D" other
wait_for 20 "it is running" in_state "$D" running other
pid=$(main_pid "$D" other)
wait_for 20 "and has its child" test -s "$D/child"
is "$(one other NPROC.used)" 2 "two processes of that user are counted"
matches "$(one other NPROC.remark)" '100 % of the soft limit' "and remarked"
matches "$(limits_json other | jq -r '.warnings[]')" "user $nobody has 2 processes and threads, of 2 that LimitNPROC= allows" "it is warned of"
if has_sys_resource "$latchd_pid"; then
    succeeds "with CAP_SYS_RESOURCE its limits are changed" ctl "$D" limits other NOFILE=50
else
    said 77 "cannot change NOFILE of PID $pid: it runs as another user than latchd, which has no CAP_SYS_RESOURCE" other NOFILE=50
fi
stop_latchd

note "an ordinary user"
mkdir "$T/bin" "$T/xdg" "$D/mine"
cp "$(command -v latchd)" "$(command -v latchctl)" "$T/bin/"
chown 65534:65534 "$T/xdg" "$D/mine"
as_user() { # COMMAND...: becomes it; in a subshell
    exec setpriv --reuid=65534 --regid=65534 --clear-groups env -i PATH="$PATH" T="$T" XDG_RUNTIME_DIR="$T/xdg" "$@"
}
hard=$(ulimit -H -n)
rc=0
(as_user timeout 20 "$T/bin/latchd" exec --name u --limit "NOFILE=$((hard + 1))" -- /bin/sleep 100) >"$T/out" 2>&1 || rc=$?
is "$rc" 77 "a hard limit above its own: 77"
matches "$(<"$T/out")" "cannot raise the hard limit NOFILE from $hard to $((hard + 1)): latchd has no CAP_SYS_RESOURCE" "why, and what to do"
is "$(wc -l <"$T/out")" 1 "in one line"
as_user "$T/bin/latchd" run --log-target stderr --name u --limit NOFILE=100:200 -- /bin/sleep 1000 >"$T/user.log" 2>&1 </dev/null &
boss=$!
user_ctl() { (as_user timeout 20 "$T/bin/latchctl" "$@"); }
# shellcheck disable=SC2317 # called through wait_for
user_runs() { user_ctl list --json | jq -e '.[] | select(.service == "u").state == "running"'; }
wait_for 20 "its own daemon runs" user_runs
pid=$(user_ctl list --json | jq -r '.[] | select(.service == "u").mainPid')
is "$(files_of "$pid")" "100 200" "with its limits"
succeeds "it changes them" user_ctl limits u NOFILE=90:150
is "$(files_of "$pid")" "90 150" "in force"
rc=0
user_ctl limits u NOFILE=90:151 >"$T/out" 2>&1 || rc=$?
is "$rc" 77 "but does not raise the hard one: 77"
matches "$(<"$T/out")" 'from 150 to 151: latchd has no CAP_SYS_RESOURCE; ask for 150 at most' "and says what is possible"
is "$(files_of "$pid")" "90 150" "nothing was changed"
kill -TERM "$boss"
wait "$boss"
is "$?" 0 "latchd ends with 0"
finish
