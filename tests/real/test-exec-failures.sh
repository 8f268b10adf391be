#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Everything that can go wrong between the decision to start a daemon and its main(), each thing made to happen: while
# the service runs its program vanishes, loses its interpreter, is being written to, its user is gone, and so on. The
# message says what was tried and what to do; latchd tries again, leaves no child behind and no descriptor open; and
# once the matter is mended the daemon comes back by itself.
# heavy: dozens of services that restart without a pause, from a process that a sanitizer makes large
# shellcheck disable=SC2317 # called by their names
# A user database of its own, so that a user can vanish.
[[ -n ${exec_failures_apart-} ]] || exec_failures_apart=1 exec unshare -m --propagation private bash "$0" "$@"
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require_root
require latchd latchctl strace setpriv jq
D=$T/d
mkdir -p "$D/etc" "$D/run" "$D/bin"
chmod 755 "$D" "$D/bin"
SLEEP=$(realpath "$(command -v sleep)")
options=(--config-dir "$D/etc" --runtime-dir "$D/run" --log-target stderr)
USER_ID=64321 # of nobody else
cp /etc/passwd "$T/passwd"
echo "storm-user:x:$USER_ID:$USER_ID::/:/bin/false" >>"$T/passwd"
cp "$T/passwd" "$T/passwd.without" && sed -i '/^storm-user:/d' "$T/passwd.without"
cat "$T/passwd" >"$T/passwd.bound"
mount --bind "$T/passwd.bound" /etc/passwd

declare -A says=()
cases=()
add() { # NAME [LINE...]: a service on a copy of sleep
    local name=$1
    shift
    cp "$SLEEP" "$D/bin/$name"
    configure "$name" "ExecStart=$D/bin/$name 1000" Restart=always "$@"
    cases+=("$name")
}

configure() { # NAME [LINE...]
    printf '%s\n' "[Service]" StandardOutput=inherit RestartSec=20ms RestartMaxDelaySec=300ms "${@:2}" >"$D/etc/$1.conf"
}

copy_back() { cp "$SLEEP" "$D/bin/.$1" && mv -f "$D/bin/.$1" "$D/bin/$1"; } # NAME
replace_by() { # NAME MODE, its text from standard input
    cat >"$D/bin/.$1" && chmod "$2" "$D/bin/.$1" && mv -f "$D/bin/.$1" "$D/bin/$1"
}

# ---- each case: how it breaks, what is said, how it is mended ----

add missing
break_missing() { rm "$D/bin/missing"; }
says[missing]="executing it failed: No such file or directory; there is no such file; install the program"

add interpreter
break_interpreter() { printf '#!/no/such/shell\n' | replace_by interpreter 755; }
says[interpreter]="the interpreter \"/no/such/shell\" of its #! line does not exist"

add windows
break_windows() { printf '#!/bin/sh\r\nexit 0\r\n' | replace_by windows 755; }
says[windows]="Windows line ends?"

add loader
break_loader() { sed 's,/lib64/ld-linux,/lib64/no-linux,;s,/lib/ld-linux,/lib/no-linux,' "$SLEEP" | replace_by loader 755; }
says[loader]="the file is there, but the dynamic loader it needs is not"

add mode
break_mode() { chmod 644 "$D/bin/mode"; }
says[mode]="executing it failed: Permission denied; it is not marked executable; chmod +x it"

add directory
break_directory() { rm "$D/bin/directory" && mkdir "$D/bin/directory"; }
mend_directory() { rmdir "$D/bin/directory" && copy_back directory; }
says[directory]="executing it failed: Permission denied; it is not a regular file; correct ExecStart="

add format
break_format() { printf 'a text, no program\n' | replace_by format 755; }
says[format]="executing it failed: Exec format error; it is not a program the kernel can run"

add truncated
break_truncated() { head -c 100 "$SLEEP" | replace_by truncated 755; }
says[truncated]="it is not a program the kernel can run"

add empty
break_empty() { replace_by empty 755 </dev/null; }
says[empty]="it is not a program the kernel can run"

add busy
break_busy() { # opened before it is there: it cannot be while it runs
    cp "$SLEEP" "$D/bin/.busy"
    exec {busy_fd}>>"$D/bin/.busy"
    mv -f "$D/bin/.busy" "$D/bin/busy"
}
mend_busy() { exec {busy_fd}>&-; }
says[busy]="executing it failed: Text file busy; somebody has it open for writing"

add loop
break_loop() { rm "$D/bin/loop" && ln -s loop "$D/bin/loop"; }
says[loop]="executing it failed: Too many levels of symbolic links; its symbolic links lead in a circle"

add workdir "WorkingDirectory=$D/work"
mkdir "$D/work"
break_workdir() { rmdir "$D/work"; }
mend_workdir() { mkdir "$D/work"; }
says[workdir]="changing to WorkingDirectory=$D/work failed: No such file or directory; create the directory"

add workfile "WorkingDirectory=$D/work-file"
mkdir "$D/work-file"
break_workfile() { rmdir "$D/work-file" && : >"$D/work-file"; }
mend_workfile() { rm "$D/work-file" && mkdir "$D/work-file"; }
says[workfile]="changing to WorkingDirectory=$D/work-file failed: Not a directory; it is not a directory"

add workclosed "WorkingDirectory=$D/work-closed" "User=$USER_ID" "Group=$USER_ID"
mkdir "$D/work-closed"
break_workclosed() { chmod 700 "$D/work-closed"; }
mend_workclosed() { chmod 755 "$D/work-closed"; }
says[workclosed]="failed: Permission denied; user $USER_ID may not enter it"

add closed "User=$USER_ID" "Group=$USER_ID"
break_closed() { chmod 700 "$D/bin/closed"; }
mend_closed() { chmod 755 "$D/bin/closed"; }
says[closed]="User=$USER_ID may not execute it"

add user "User=storm-user"
break_user() { cat "$T/passwd.without" >"$T/passwd.bound"; }
mend_user() { cat "$T/passwd" >"$T/passwd.bound"; }
says[user]="storm-user"

# Two other processes of a user that may have one: no fork fails, but the execve(2) behind the change of user, which
# is what sees that there are too many already (flag_nproc_exceeded() in kernel/sys.c).
add processes User=64322 Group=64322 LimitNPROC=1
break_processes() {
    neighbours=()
    for _ in 1 2; do
        setpriv --reuid 64322 --clear-groups "$SLEEP" 1000 &
        neighbours+=($!)
    done
    disown "${neighbours[@]}"
    wait_until 10 three_processes
}
three_processes() { (($(ps --no-headers -U 64322 | wc -l) >= 3)); }
mend_processes() { kill -KILL "${neighbours[@]}"; }
says[processes]="user 64322 already has more processes than LimitNPROC= allows"

# A single string of execve(2) may have 128 KiB (MAX_ARG_STRLEN).
add long "EnvironmentFile=$D/environment"
: >"$D/environment"
break_long() { printf 'LONG=%0200000d\n' 0 >"$D/environment"; }
mend_long() { : >"$D/environment"; }
says[long]="Argument list too long"

add environment "EnvironmentFile=$D/environment-2"
: >"$D/environment-2"
break_environment() { rm "$D/environment-2"; }
mend_environment() { : >"$D/environment-2"; }
says[environment]="$D/environment-2"

add output "StandardOutput=append:$D/logs/output"
mkdir "$D/logs"
break_output() { mv "$D/logs" "$D/logs-gone"; }
mend_output() { mv "$D/logs-gone" "$D/logs"; }
says[output]="cannot open $D/logs/output for the daemon's output: No such file or directory"

add fifo "StandardError=append:$D/fifo.out"
break_fifo() { mkfifo "$D/fifo.new" && mv -f "$D/fifo.new" "$D/fifo.out"; } # at once: the next start makes a file
mend_fifo() { rm "$D/fifo.out"; }
says[fifo]="for the daemon's output"

# ---- all of them run ----

describe_exe() { [[ $(readlink "/proc/$1/exe") == "$D/bin/$2" ]]; } # PID NAME

# The names of the services in a state, sorted.
names_in() { # STATE
    ctl "$D" list --json | jq -r ".[] | select(.state == \"$1\").service" | sort
}
all_run() { [[ $(names_in running) == "$expected" ]]; }

descriptors() { find "/proc/$latchd_pid/fd" -mindepth 1 | wc -l; }
children() { tr ' ' '\n' <"/proc/$latchd_pid/task/$latchd_pid/children" | sed '/^$/d' | sort -n; }
mains() { ctl "$D" list --json | jq -r '.[].mainPid // empty' | sort -n; }

expected=$(printf '%s\n' "${cases[@]}" | sort)
latchd run "${options[@]}" "${cases[@]}" >"$T/latchd.log" 2>&1 </dev/null &
latchd_pid=$!
wait_for 30 "${#cases[@]} services run" all_run
is "$(children)" "$(mains)" "latchd's children are the daemons, no other"
descriptors_before=$(descriptors)

declare -A main=()
while read -r name pid; do main[$name]=$pid; done < <(ctl "$D" list --json | jq -r '.[] | "\(.service) \(.mainPid)"')
for name in "${cases[@]}"; do
    describe_exe "${main[$name]}" "$name" || fail "$name: PID ${main[$name]} runs $D/bin/$name" \
        "it runs $(readlink "/proc/${main[$name]}/exe")"
done

# ---- all of them break ----

for name in "${cases[@]}"; do
    [[ $name == processes ]] || kill -KILL "${main[$name]}"
    "break_$name" || die "cannot break $name"
    [[ $name != processes ]] || kill -KILL "${main[$name]}"
done
said() { # TEXT TIMES, at least
    (($(grep -cF "$1" "$T/latchd.log") >= $2))
}
for name in "${cases[@]}"; do
    # Between the kill and the breakage it could come up once more; its executable may have been replaced since.
    pid=$(main_pid "$D" "$name")
    [[ -z $pid ]] || ! { describe_exe "$pid" "$name" || describe_exe "$pid" "$name (deleted)"; } || kill -KILL "$pid" 2>/dev/null
    wait_for 60 "$name: says \"${says[$name]}\", and tries again" said "${says[$name]}" 2
done
for name in "${cases[@]}"; do
    running=$(find /proc/[0-9]*/exe -maxdepth 0 -lname "$D/bin/$name" 2>/dev/null)
    [[ -z $running ]] || fail "$name: no daemon runs" "$running does"
    lacks "$(names_in running)" "$name" "$name: is not called running"
done
contains "$(ctl "$D" status missing)" "there is no such file" "status says why"
is "$(status_of "$D" .lastExit.code missing)" not-executed "and that it was not executed"

# ---- all of them are mended ----

for name in "${cases[@]}"; do
    if declare -F "mend_$name" >/dev/null; then "mend_$name"; else copy_back "$name"; fi || die "cannot mend $name"
done
wait_for 30 "mended, all of them come back by themselves" all_run
is "$(children)" "$(mains)" "no child is left but the daemons"
is "$(descriptors)" "$descriptors_before" "and no descriptor was lost"
while read -r name pid; do
    describe_exe "$pid" "$name" || fail "$name: PID $pid runs $D/bin/$name" "it runs $(readlink "/proc/$pid/exe")"
done < <(ctl "$D" list --json | jq -r '.[] | "\(.service) \(.mainPid)"')
mapfile -t last < <(mains)
stop_latchd
is "$latchd_rc" 0 "latchd ends"
for pid in "${last[@]}"; do gone "$pid" || fail "daemon $pid has ended"; done

# ---- what Restart= makes of it, and what the client is told ----

policies=(no on-failure on-abnormal always)
for name in "${policies[@]}"; do
    cp "$SLEEP" "$D/bin/$name"
    configure "$name" "ExecStart=$D/bin/$name 1000" "Restart=$name"
done
expected=$(printf '%s\n' "${policies[@]}" | sort)
latchd run "${options[@]}" "${policies[@]}" >"$T/policies.log" 2>&1 </dev/null &
latchd_pid=$!
wait_for 60 "services with each Restart= run" all_run
for name in "${policies[@]}"; do
    succeeds "$name: stopped" ctl "$D" stop "$name"
    rm "$D/bin/$name"
    rc=0
    out=$(ctl "$D" start "$name" 2>&1) || rc=$?
    is "$rc" 1 "Restart=$name: a start that cannot be executed fails"
    contains "$out" "there is no such file" "and says why"
    case $name in
    no | on-abnormal) is "$(status_of "$D" .state "$name")" failed "Restart=$name: it is left at that" ;;
    *) matches "$(status_of "$D" .state "$name")" "backoff|starting|recovering" "Restart=$name: it tries again" ;;
    esac
    copy_back "$name"
done
expected=$(printf '%s\n' always on-failure)
wait_for 60 "Restart=on-failure and always: back by themselves" all_run
succeeds "Restart=no: started by hand" ctl "$D" start no
stop_latchd

# ---- steps that only the kernel could refuse: it is made to ----

refuse() { # TEXT INJECTION SAYS [LINE...]
    local text=$1 injection=$2 expected=$3 call=${2%%:*}
    shift 3
    cp "$SLEEP" "$D/bin/refused"
    configure refused "ExecStart=$D/bin/refused 1000" Restart=always "$@"
    : >"$T/refused.log"
    [[ $call != execve ]] || call+=" -P $D/bin/refused" # not latchd's own
    # Whoever is traced cannot look for leaks.
    # shellcheck disable=SC2086 # two words
    ASAN_OPTIONS=${ASAN_OPTIONS-}:detect_leaks=0 \
        strace -f -o /dev/null -e trace=$call -e "inject=$injection" -- latchd run "${options[@]}" refused \
        >"$T/refused.log" 2>&1 </dev/null &
    local tracer=$!
    wait_until 60 eval "((\$(grep -cF '$expected' '$T/refused.log') >= 2))" ||
        fail "$text: says \"$expected\", and tries again" "$(tail -n 5 "$T/refused.log")"
    latchd_pid=$(tr -d ' ' <"/proc/$tracer/task/$tracer/children")
    lacks "$(<"$T/refused.log")" "Ready: PID" "$text: is not called ready"
    kill -TERM "$latchd_pid"
    wait "$tracer"
    is "$?" 0 "$text: latchd ends in good order"
}
refuse fork clone,clone3,fork,vfork:error=EAGAIN "making a new process failed: Resource temporarily unavailable; a limit of processes is reached"
refuse setsid setsid:error=EPERM "making a session of its own (setsid) failed: Operation not permitted"
refuse NoNewPrivileges= prctl:error=EINVAL "setting NoNewPrivileges=yes failed: Invalid argument" NoNewPrivileges=yes
refuse setresuid setresuid:error=EAGAIN "becoming User=storm-user (uid $USER_ID) failed: Resource temporarily unavailable; the user has as many processes as LimitNPROC= allows" "User=$USER_ID" "Group=$USER_ID"
refuse setgroups setgroups:error=EPERM "that takes CAP_SETGID" "User=$USER_ID" "Group=$USER_ID"
# Not dup2(), by which whoever reads the configuration on trial gets its output.
refuse descriptors dup3:error=EMFILE "(StandardOutput=) failed: Too many open files" StandardOutput=null
refuse execve execve:error=ENOMEM "executing it failed: Cannot allocate memory; there is not enough memory for it"

# ---- a latchd that may do little ----

mkdir -m 755 "$T/poor" "$T/poor/etc" && mkdir "$T/poor/run" && chown "$USER_ID:$USER_ID" "$T/poor/run"
poor() { # NAME SAYS [LINE...]
    local name=$1 told=$2
    shift 2
    printf '%s\n' "[Service]" "ExecStart=$SLEEP 1000" StandardOutput=inherit Restart=always RestartSec=20ms \
        RestartMaxDelaySec=300ms "$@" >"$T/poor/etc/$name.conf"
    poor_names+=("$name")
    poor_says+=("$told")
}
poor_names=() poor_says=()
poor nice "setting Nice=-5 failed: Permission denied" Nice=-5
poor oom "setting OOMScoreAdjust=-500 failed: Permission denied; lowering it takes CAP_SYS_RESOURCE" OOMScoreAdjust=-500
poor hard "LimitNOFILE" LimitNOFILE=5000:6000
poor other "64322" User=64322 Group=64322
poor groups "CAP_SETGID" SupplementaryGroups=64323
poor bounding "CapabilityBoundingSet" CapabilityBoundingSet=CAP_CHOWN
poor ambient "AmbientCapabilities" AmbientCapabilities=CAP_NET_ADMIN
(
    ulimit -Sn 1024 && ulimit -Hn 4096
    exec setpriv --reuid "$USER_ID" --regid "$USER_ID" --clear-groups --inh-caps=-all \
        latchd run --config-dir "$T/poor/etc" --runtime-dir "$T/poor/run" --log-target stderr "${poor_names[@]}"
) >"$T/poor.log" 2>&1 </dev/null &
latchd_pid=$!
for ((i = 0; i < ${#poor_names[@]}; i++)); do
    wait_for 60 "unprivileged, ${poor_names[i]}: says so, and tries again" \
        eval "((\$(grep -F 'latchd[${poor_names[i]}]' '$T/poor.log' | grep -cF '${poor_says[i]}') >= 2))"
done
lacks "$(<"$T/poor.log")" "Ready: PID" "and nothing runs with less or more than was asked for"
stop_latchd
is "$latchd_rc" 0 "latchd ends"
finish
