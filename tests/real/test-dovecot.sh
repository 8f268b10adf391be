#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Dovecot under latchd: a configuration of three lines, what Dovecot itself says of it, reload, and what a killed
# master leaves behind.
# heavy: Dovecot is what is tried here; unit tests read what it prints
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
# shellcheck source=tests/lib/dovecot.sh
. "$srcdir/tests/lib/dovecot.sh"
require_root
require_dovecot

D=$T/d
make_dovecot "$D"
pidfile=$D/base/master.pid

# A login process with a client, which stands still: it keeps what it inherited, the port among it.
stop_login_process() { # MASTER: sets clients_pid, login_pid
    start_clients "$D" 2
    wait_for 10 "two clients are logged in" clients_fare "$D" in 2
    exec {client}<>"/dev/tcp/127.0.0.1/$imap_port"
    read -r -t 10 _ <&"$client"
    login_pid=$(dovecot_children "$1" imap-login | tail -n 1)
    [[ -n $login_pid ]] || die "there is no login process"
    kill -STOP "$login_pid"
    # imap is stopped too: it holds the socket that login processes come to.
    imap_pid=$(dovecot_children "$1" imap | tail -n 1)
    kill -STOP "$imap_pid"
}

note "a plain Dovecot, killed while a login process stands still"
start_plain_dovecot "$D"
wait_for 10 "it listens" eval "! port_is_free $imap_port"
plain=$dovecot_pid
stop_login_process "$plain"
kill -KILL "$plain"
wait_until 5 gone "$plain"
start_plain_dovecot "$D"
wait_for 10 "the next one gives up" gone "$dovecot_pid"
matches "$(<"$D/dovecot.log")" "Address already in use|Socket already exists" "since somebody has its sockets"
kill -KILL "$login_pid" "$imap_pid"
stop_clients
exec {client}>&-
wait_until 10 gone "$login_pid"
sleep 60 &
sleeper=$!
echo "$sleeper" >"$pidfile"
touch -d '1 hour ago' "$pidfile" # the number was given out again since
start_plain_dovecot "$D"
wait_for 10 "one whose PID file names somebody else gives up too" gone "$dovecot_pid"
contains "$(<"$D/plain.log")$(<"$D/dovecot.log")" "Dovecot is already running with PID $sleeper" "with the well-known message"

note "the same under latchd"
# shellcheck disable=SC2046
succeeds "latchd check finds nothing wrong" latchd check $(latchd_options "$D") mail
began=$(now_ms)
start_latchd "$D" mail
wait_for 10 "it runs, although the PID file names somebody else" in_state "$D" running mail
note "after $(($(now_ms) - began)) ms"
succeeds "who is let alone" alive "$sleeper"
kill "$sleeper"
master=$(main_pid "$D" mail)
is "$(<"$pidfile")" "$master" "the PID file names the master"
is "$(status_of "$D" .ready mail)" true "it is ready"
is "$(ctl "$D" status --json mail | jq -c '[.[0].sockets[] | [.name, .listen]]')" \
    "[[\"master\",\"$D/base/master\"],[\"imap\",\"127.0.0.1:$imap_port\"]]" "of its sockets the two that matter are guarded"
is "$(ctl "$D" locks --json mail | jq -r --arg path "$pidfile" '.[] | .. | objects | select(.path? == $path) | .verdict')" \
    held "latchctl locks shows the PID file, held"
start_clients "$D" 5
wait_for 10 "five clients log in" clients_fare "$D" in 5

# shellcheck disable=SC2317 # wait_for calls them
is_asked() { [[ -n $(pids_of_command "$DOVECONF" -a -c "$D/dovecot.conf") ]]; }
# shellcheck disable=SC2317
is_not_asked() { ! is_asked; }

note "reload"
cp "$D/dovecot.conf" "$D/good.conf"
echo "nonsense = yes" >>"$D/dovecot.conf"
out=$(ctl "$D" reload mail 2>&1) && fail "a reload with a mistake in Dovecot's configuration succeeds"
contains "$out" "doveconf: Fatal: Error in configuration file $D/dovecot.conf" "Dovecot's own words are told"
is "$(main_pid "$D" mail)" "$master" "and the daemon goes on as it was"
lacks "$(<"$D/dovecot.log")" "SIGHUP" "without having been told to reload"
{ cat "$D/good.conf"; echo "default_client_limit = 3000"; } >"$D/dovecot.conf"
succeeds "with a good one it succeeds" ctl "$D" reload mail
wait_for 5 "Dovecot has read it" grep -q "SIGHUP received" "$D/dovecot.log"
is "$(main_pid "$D" mail)" "$master" "as the same process"
mkfifo "$D/fifo"
{ cat "$D/good.conf"; echo "!include $D/fifo"; } >"$D/dovecot.conf"
ctl "$D" reload mail >"$D/reload.out" 2>&1 &
reload=$!
wait_for 5 "Dovecot is asked, and does not come to an end" is_asked
began=$(now_ms)
is "$(status_of "$D" .state mail)" running "latchd answers meanwhile"
at_most $(($(now_ms) - began)) $((500 * harness_patience)) "in so many ms"
wait "$reload" && fail "such a reload succeeds"
contains "$(<"$D/reload.out")" "the old configuration is kept" "it is given up"
wait_for 5 "nobody goes on reading" is_not_asked
cp "$D/good.conf" "$D/dovecot.conf"
stop_clients

note "the master is killed"
kill -KILL "$master"
began=$(now_ms)
wait_for 10 "it is up again" runs_anew "$D" "$master" mail
at_most $(($(now_ms) - began)) $((4000 * harness_patience)) "in so many ms"
master=$(main_pid "$D" mail)
start_clients "$D" 1
wait_for 10 "a client logs in" clients_fare "$D" in 1
stop_clients

note "the master is killed, and a login process with the port stands still"
stop_login_process "$master"
kill -KILL "$master"
wait_for 20 "it is up again" runs_anew "$D" "$master" mail
master=$(main_pid "$D" mail)
succeeds "the leftovers are gone" eval "gone $login_pid && gone $imap_pid"
contains "$(status_of "$D" .lastRecovery.actions mail)" "(imap-login)" "status names them"
stop_clients
exec {client}>&-

note "stop"
succeeds "it stops" ctl "$D" stop mail
succeeds "no PID file is left" no_file "$pidfile"
succeeds "nor anybody at the port" port_is_free "$imap_port"
stop_latchd
is "$latchd_rc" 0 "latchd ends well"

note "mistakes"
refused() { # TEXT NEEDLE
    # shellcheck disable=SC2046
    out=$(latchd check $(latchd_options "$D") mail 2>&1) && fail "$1: it is taken for good"
    contains "$out" "$2" "$1"
}
sed -i 's/ -F//' "$D/etc/mail.conf"
refused "without -F" "starts $DOVECOT without -F"
sed -i "s,^ExecStart=.*,ExecStart=$DOVECOT -F -c $D/nothing.conf," "$D/etc/mail.conf"
refused "with a file that is not there" "open($D/nothing.conf) failed: No such file or directory"
printf '!include %s\n' "$D/fifo" >"$D/hang.conf"
sed -i "s,^ExecStart=.*,ExecStart=$DOVECOT -F -c $D/hang.conf," "$D/etc/mail.conf"
refused "with one that never ends" "did not end within 6s"
finish
