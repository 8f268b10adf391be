#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Rights: every key of them at once, read from /proc of a real daemon; what an ordinary user is refused, with exit code
# and words; that a daemon of root is exactly who it would be without latchd, however latchd was started; which
# capabilities latchd keeps for itself, and that it still clears what another user's daemon left.
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require jq setpriv redis-server redis-cli socat perl

D=$T/d
mkdir -p "$D/etc" "$D/run" "$D/place"
uid=$((200000 + $$)) gid=$((300000 + $$)) # nobody else's
chown "$uid:$gid" "$D/place"
status_of_process() { awk -v name="$2:" '$1 == name { $1 = ""; print substr($0, 2) }' "/proc/$1/status"; } # PID NAME
caps_of() { grep -E '^(Cap|NoNewPrivs)' "/proc/$1/status" | xargs; }                                      # PID
# shellcheck disable=SC2317 # called through succeeds
has_cap() { (("0x$(status_of_process "$1" "$2")" >> $3 & 1)); } # PID SET NUMBER
SETUID=7 NET_BIND_SERVICE=10 NET_RAW=13 SYS_NICE=23             # linux/capability.h
mask() { printf '%016x' $((1 << NET_BIND_SERVICE | 1 << NET_RAW)); }

note "all keys at once"
printf 'FROM_FILE=file\nBOTH=file\n' >"$D/environment"
cat >"$D/etc/redis.conf" <<END
[Service]
ExecStart=$(command -v redis-server) --port 0 --unixsocket $D/place/redis.sock --save '' --maxclients 100 --set-proc-title no
Type=socket
User=$uid
Group=$gid
SupplementaryGroups=$((gid + 1)) $((gid + 2))
CapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_NET_RAW
AmbientCapabilities=CAP_NET_BIND_SERVICE CAP_NET_RAW
NoNewPrivileges=yes
UMask=0027
WorkingDirectory=$D/place
Environment=FROM_KEY=key BOTH=key "SPACED=two words"
EnvironmentFile=$D/environment
EnvironmentFile=-$D/missing
OOMScoreAdjust=321
Nice=7
LimitNOFILE=200:400
StandardOutput=append:$D/redis.log
[Socket control]
ListenStream=$D/place/redis.sock
LockFile=none
END
start_latchd "$D" redis
wait_for 20 "redis is running" in_state "$D" running redis
pid=$(main_pid "$D" redis)
is "$(redis-cli -s "$D/place/redis.sock" ping)" PONG "it answers"
is "$(status_of_process "$pid" Uid)" "$uid $uid $uid $uid" "User="
is "$(status_of_process "$pid" Gid)" "$gid $gid $gid $gid" "Group="
is "$(status_of_process "$pid" Groups | tr ' ' '\n' | sort -n | xargs)" "$((gid)) $((gid + 1)) $((gid + 2))" "SupplementaryGroups="
for set in CapInh CapPrm CapEff CapBnd CapAmb; do
    is "$(status_of_process "$pid" $set)" "$(mask)" "$set: CAP_NET_BIND_SERVICE and CAP_NET_RAW, and no other"
done
is "$(status_of_process "$pid" NoNewPrivs)" 1 "NoNewPrivileges="
is "$(status_of_process "$pid" Umask)" 0027 "UMask="
is "$(readlink "/proc/$pid/cwd")" "$D/place" "WorkingDirectory="
is "$(<"/proc/$pid/oom_score_adj")" 321 "OOMScoreAdjust="
is "$(awk '{ sub(/.*\) /, ""); print $17 }' "/proc/$pid/stat")" 7 "Nice="
is "$(awk '/^Max open files/ { print $4, $5 }' "/proc/$pid/limits")" "200 400" "LimitNOFILE="
tr '\0' '\n' <"/proc/$pid/environ" >"$T/environ"
for variable in FROM_KEY=key FROM_FILE=file BOTH=file "SPACED=two words" LATCHD_SERVICE=redis "USER=$uid" "LOGNAME=$uid"; do
    succeeds "environment: $variable" grep -qx "$variable" "$T/environ"
done
is "$(status_of_process "$pid" SigBlk)" 0000000000000000 "no signal is blocked"
for set in CapPrm CapEff; do
    for capability in DAC_OVERRIDE=1 FOWNER=3 KILL=5 SETGID=6 SETUID=7 SETPCAP=8 SYS_PTRACE=19; do
        succeeds "latchd keeps CAP_${capability%=*} ($set)" has_cap "$latchd_pid" $set "${capability#*=}"
    done
    fails "it gives up what nobody needs ($set): CAP_SYS_MODULE" has_cap "$latchd_pid" $set 16
    fails "and CAP_SYS_TIME ($set)" has_cap "$latchd_pid" $set 25
done
succeeds "for it hands on what is ambient" has_cap "$latchd_pid" CapPrm $NET_RAW
fails "without using it" has_cap "$latchd_pid" CapEff $NET_RAW
succeeds "Nice= takes CAP_SYS_NICE" has_cap "$latchd_pid" CapEff $SYS_NICE
is "$(status_of_process "$latchd_pid" CapBnd)" "$(status_of_process $$ CapBnd)" "its bounding set is untouched"
kill -KILL "$pid"
wait_for 20 "killed, it is up again" runs_anew "$D" "$pid" redis
is "$(caps_of "$(main_pid "$D" redis)")" "CapInh: $(mask) CapPrm: $(mask) CapEff: $(mask) CapBnd: $(mask) CapAmb: $(mask) NoNewPrivs: 1" \
    "with the same rights"
stop_latchd

note "a daemon of root is who it would be without latchd"
prctl_number=$(case $(uname -m) in x86_64) echo 157 ;; aarch64 | riscv64) echo 167 ;; esac)
# Tells whether it can leave a core: PR_GET_DUMPABLE is 3.
cat >"$D/rooted" <<END
#!/usr/bin/perl
my \$dumpable = '${prctl_number:-}' ? syscall(${prctl_number:-0}, 3, 0, 0, 0, 0) : 1;
open(my \$out, '>', \$ARGV[0]) or die;
print \$out "dumpable \$dumpable\n";
close(\$out);
sleep(1000);
END
chmod 755 "$D/rooted"
for key in '' 'NoNewPrivileges=yes' 'CapabilityBoundingSet=CAP_NET_RAW CAP_KILL'; do
    printf '[Service]\nExecStart=%s/rooted %s/said\nStandardOutput=null\n%s\n' "$D" "$D" "$key" >"$D/etc/rooted.conf"
    for how in '' '--inh-caps +net_raw --ambient-caps +net_raw' '--bounding-set -sys_time,-mknod' '--no-new-privs' \
        '--securebits +noroot' '--inh-caps -all --bounding-set -all,+kill,+sys_ptrace'; do
        plain=()
        case $key in
        No*) plain=(--no-new-privs) ;;
        Cap*)
            # It clears the ambient set, and takes CAP_SETPCAP in latchd's effective set.
            [[ $how != *ambient* && $how != *noroot* && $how != *+kill* ]] || continue
            plain=("--bounding-set" "-all,+net_raw,+kill")
            ;;
        esac
        rm -f "$D/said" "$D/said.plain"
        # shellcheck disable=SC2086 # options
        {
            setpriv $how setpriv "${plain[@]}" "$D/rooted" "$D/said.plain" &
            expected=$!
            setpriv $how latchd run --config-dir "$D/etc" --runtime-dir "$D/run" --log-target stderr rooted \
                >>"$D/latchd.log" 2>&1 </dev/null &
            latchd_pid=$!
        }
        what="${key:-no key}, latchd by setpriv ${how:-nothing}"
        if wait_until 20 test -s "$D/said" && wait_until 20 test -s "$D/said.plain"; then
            is "$(caps_of "$(main_pid "$D" rooted)")" "$(caps_of "$expected")" "$what: the same capabilities"
            is "$(<"$D/said")" "$(<"$D/said.plain")" "$what: and a core as before"
        else
            fail "$what: it runs" "$(tail -3 "$D/latchd.log")"
        fi
        kill -TERM "$latchd_pid" "$expected"
        wait "$latchd_pid" "$expected" 2>/dev/null
    done
done
start_latchd "$D" rooted
wait_for 20 "once more, as root" in_state "$D" running rooted
fails "latchd itself does not use what it does not need: CAP_NET_RAW" has_cap "$latchd_pid" CapEff $NET_RAW
fails "nor CAP_SETUID without User=" has_cap "$latchd_pid" CapEff $SETUID
succeeds "but keeps it for that daemon" has_cap "$latchd_pid" CapPrm $NET_RAW
stop_latchd

note "what another user's daemon left is cleared with what latchd keeps"
# In a sticky directory of yet another user; the PID file in one that is closed to others. The child keeps the lock; the socket is
# in the daemon's own way.
mkdir -m 1777 "$D/sticky"
chown "$((uid + 1))" "$D/sticky"
mkdir -m 700 "$D/closed"
chown "$uid:$gid" "$D/closed"
cat >"$D/left" <<'END'
#!/bin/bash
exec 9>"$1.lock"
flock --nonblock 9 || exit 1
[[ ! -e $2 ]] || exit 2
echo $$ >"$2"
sleep 1000 &
exec socat "UNIX-LISTEN:$1,fork" SYSTEM:"echo alive"
END
chmod 755 "$D/left"
cat >"$D/etc/left.conf" <<END
[Service]
ExecStart=$D/left $D/sticky/s $D/closed/pid
User=$uid
Group=$gid
Type=socket
Restart=always
RestartSec=10ms
RestartMaxDelaySec=50ms
OrphanGraceSec=50ms
StandardOutput=append:$D/left.log
[Socket s]
ListenStream=$D/sticky/s
[Lock pid]
LockFile=$D/closed/pid
LockStyle=pidfile
END
: >"$D/latchd.log"
start_latchd "$D" left
wait_for 20 "it is running" in_state "$D" running left
fails "latchd has given up CAP_NET_RAW for good" has_cap "$latchd_pid" CapPrm $NET_RAW
pid=$(main_pid "$D" left)
is "$(stat -c %u "$D/sticky/s")" "$uid" "the socket is the other user's"
kill -KILL "$pid"
wait_for 30 "killed, it is up again" runs_anew "$D" "$pid" left
matches "$(<"$D/latchd.log")" 'SIGTERM to sleep' "the leftover, of another user, was found and ended"
matches "$(<"$D/latchd.log")" "$D/sticky/s" "its socket was cleared from the sticky directory"
# The next latchd finds a daemon of that user and its leftover that are no children of its own.
pid=$(main_pid "$D" left)
kill -KILL "$latchd_pid"
wait "$latchd_pid" 2>/dev/null
kill -KILL "$pid"
start_latchd "$D" left
wait_for 30 "latchd and daemon killed: up again" runs_anew "$D" "$pid" left
is "$(ctl "$D" locks --json left | jq -r --arg path "$D/sticky/s.lock" '.[] | select(.path == $path) | .verdict + " " + (.holders[0].pid | tostring)')" \
    "held $(main_pid "$D" left)" "latchd sees who has its lock"
stop_latchd

note "a new configuration that needs what was given up"
cp "$D/etc/left.conf" "$T/left.conf"
start_latchd "$D" left
wait_for 20 "it is running" in_state "$D" running left
pid=$(main_pid "$D" left)
printf '[Service]\nAmbientCapabilities=CAP_NET_RAW\n' >>"$D/etc/left.conf"
rc=0
ctl "$D" reload left >"$T/out" 2>&1 || rc=$?
is "$rc" 77 "reload: 77"
matches "$(<"$T/out")" 'the old configuration is kept.*needs capabilities that latchd gave up at its start .*cap_net_raw' "it says why"
{ cat "$T/left.conf"; printf '[Service]\nUser=\nGroup=\n'; } >"$D/etc/left.conf"
exits 77 "a daemon of root would not be itself: 77" ctl "$D" reload left
is "$(main_pid "$D" left)" "$pid" "the daemon goes on"
{ cat "$T/left.conf"; printf '[Service]\nNice=-1\nCapabilityBoundingSet=\n'; } >"$D/etc/left.conf"
exits 77 "CAP_SYS_NICE and CAP_SETPCAP went, too: 77" ctl "$D" reload left
cp "$T/left.conf" "$D/etc/left.conf"
stop_latchd
printf '[Service]\nExecStart=/bin/sleep 1000\nStandardOutput=null\n' >"$D/etc/rooted.conf"
start_latchd "$D" rooted
wait_for 20 "a daemon of root" in_state "$D" running rooted
fails "latchd does not use CAP_SETUID for it" has_cap "$latchd_pid" CapEff $SETUID
printf 'User=%s\nGroup=%s\n' "$uid" "$gid" >>"$D/etc/rooted.conf"
rc=0
ctl "$D" reload rooted >"$T/out" 2>&1 || rc=$?
((rc == 0)) || wait_until 5 gone "$(main_pid "$D" rooted)" # sleep does not survive SIGHUP
succeeds "the new User= counts from the next start on" wait_until 20 eval "ctl '$D' restart rooted"
is "$(status_of_process "$(main_pid "$D" rooted)" Uid)" "$uid $uid $uid $uid" "it has it"
stop_latchd

note "what an ordinary user is refused"
mkdir "$T/bin" "$T/xdg"
cp "$(command -v latchd)" "$T/bin/"
chown 65534:65534 "$T/xdg"
refused() { # CODE PATTERN ARGUMENTS...: latchd exec ARGUMENTS -- /bin/sleep
    local code=$1 pattern=$2 rc=0
    shift 2
    timeout 20 setpriv --reuid=65534 --regid=65534 --clear-groups env -i PATH="$PATH" T="$T" XDG_RUNTIME_DIR="$T/xdg" \
        "$T/bin/latchd" exec --log-target stderr --name u "$@" -- /bin/sleep 0.1 >"$T/out" 2>&1 </dev/null || rc=$?
    is "$rc" "$code" "$*: $code"
    matches "$(<"$T/out")" "$pattern" "$*: and why"
}
refused 0 '' --set UMask=0077
refused 0 '' --user 65534
refused 0 '' --set Nice=5
refused 0 '' --set NoNewPrivileges=yes
refused 77 'User=root: latchd runs as uid 65534 without CAP_SETUID and cannot become uid 0' --user root
refused 77 'Group=root: latchd runs as uid 65534 without CAP_SETGID' --group root
refused 77 'SupplementaryGroups=root: latchd runs as uid 65534 without CAP_SETGID' --set SupplementaryGroups=root
refused 77 'CapabilityBoundingSet=: latchd runs without CAP_SETPCAP' --set CapabilityBoundingSet=CAP_KILL
refused 77 'AmbientCapabilities=cap_net_raw: latchd does not have it' --set AmbientCapabilities=CAP_NET_RAW
refused 77 'setting Nice=-5 failed: .*CAP_SYS_NICE' --set Nice=-5
refused 77 'setting OOMScoreAdjust=-500 failed: .*CAP_SYS_RESOURCE' --set OOMScoreAdjust=-500
refused 78 "WorkingDirectory=$T/none: No such file" --set "WorkingDirectory=$T/none"
mkdir -m 700 "$T/roots"
refused 1 "changing to WorkingDirectory=$T/roots failed: Permission denied" --set "WorkingDirectory=$T/roots"
refused 78 "EnvironmentFile=$T/none" --set "EnvironmentFile=$T/none"
refused 78 'User=nosuchuser' --user nosuchuser
refused 64 'UMask' --set UMask=999
refused 64 'AmbientCapabilities' --set AmbientCapabilities=CAP_NONSENSE
finish
