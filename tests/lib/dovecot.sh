# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What the tests with Dovecot share; sourced after harness.sh.
#
# make_dovecot DIR [LINE...] makes a Dovecot of its own: DIR/dovecot.conf with the lines at its end, base_dir DIR/base,
# IMAP at 127.0.0.1:$imap_port, everybody's password is right, DIR/dovecot.log; and a latchd configuration
# DIR/etc/mail.conf for the service "mail", runtime directory DIR/run.

require_dovecot() {
    require dovecot doveconf jq
    # shellcheck disable=SC2154 # harness.sh sets it
    [[ $(command -v latchd) == "$builddir/latchd" ]] || die "latchd is built in $builddir"
    DOVECOT=$(realpath "$(command -v dovecot)")
    DOVECONF=$(realpath "$(command -v doveconf)") # which dovecot -a becomes
    export DOVECOT DOVECONF
}

port_is_free() { ! (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; } # PORT

# Below the ports that the kernel gives to whoever connects (net.ipv4.ip_local_port_range).
choose_port() { # prints it
    local port=$((12000 + $$ % 18000))
    until port_is_free "$port"; do port=$((port + 1)); done
    echo "$port"
}

make_dovecot() { # DIR [LINE...]
    local dir=$1
    shift
    imap_port=$(choose_port)
    mkdir -p "$dir/etc" "$dir/run" "$dir/mail"
    chown 20000:20000 "$dir/mail"
    cat >"$dir/dovecot.conf" <<END
base_dir = $dir/base
log_path = $dir/dovecot.log
protocols = imap
ssl = no
listen = 127.0.0.1
disable_plaintext_auth = no
mail_location = maildir:$dir/mail/%u
mail_max_userip_connections = 1000
passdb {
  driver = static
  args = nopassword=y
}
userdb {
  driver = static
  args = uid=20000 gid=20000 home=$dir/mail/%u
}
service imap-login {
  inet_listener imap {
    port = $imap_port
  }
  inet_listener imaps {
    port = 0
  }
}
END
    (($# == 0)) || printf '%s\n' "$@" >>"$dir/dovecot.conf"
    cat >"$dir/etc/mail.conf" <<END
[Service]
Kind=dovecot
ExecStart=$DOVECOT -F -c $dir/dovecot.conf
END
}

# Sets dovecot_pid.
start_plain_dovecot() { # DIR
    "$DOVECOT" -F -c "$1/dovecot.conf" >>"$1/plain.log" 2>&1 </dev/null &
    dovecot_pid=$!
    disown "$dovecot_pid"
}

# Children of a master whose program is of that name, a PID a line.
dovecot_children() { # PID NAME
    local child
    local children
    { read -r -a children <"/proc/$1/task/$1/children"; } 2>/dev/null
    for child in "${children[@]}"; do
        [[ $(readlink "/proc/$child/exe" 2>/dev/null) == */dovecot/$2 ]] && echo "$child"
    done
    return 0
}

# Logins that stay; how they fare is in DIR/clients. Sets clients_pid.
start_clients() { # DIR NUMBER
    rm -f "$1/clients"
    "$(tool imap-clients)" "$imap_port" "$2" "$1/clients" &
    clients_pid=$!
    wait_until 5 test -e "$1/clients" # until it is another program it would clean up as we do when it is ended
}

stop_clients() {
    [[ -n ${clients_pid-} ]] || return 0
    kill -TERM "$clients_pid"
    wait "$clients_pid" 2>/dev/null
    clients_pid=""
    return 0
}

clients_fare() { # DIR WORD NUMBER: at least so many of them
    local words word
    read -r -a words <"$1/clients" || return 1
    for ((word = 0; word < ${#words[@]}; word += 2)); do
        [[ ${words[word]} == "$2" ]] && ((words[word + 1] >= $3)) && return 0
    done
    return 1
}
