#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Real daemons that take their listeners in systemd's way, from latchd: gunicorn and Dovecot. Clients come all the time while
# they are restarted and killed, and nobody is refused.
# heavy: the daemons are what is tried here
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
# shellcheck source=tests/lib/dovecot.sh
. "$srcdir/tests/lib/dovecot.sh"
require_root
require_dovecot
require gunicorn python3 jq

# Comes again and again; counts who was refused, and who was answered with WORD.
cat >"$T/visitors" <<'END'
import socket, sys, signal, time
address, say, word = sys.argv[1], sys.argv[2].encode().decode("unicode_escape").encode(), sys.argv[3].encode()
over = []
signal.signal(signal.SIGTERM, lambda *_: over.append(1))
refused = answered = other = 0
while not over:
    try:
        if address[0] == "/":
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(30)
            client.connect(address)
        else:
            host, port = address.split(":")
            client = socket.create_connection((host, int(port)), 30)
        if say:
            client.sendall(say)
        if word in client.recv(4096):
            answered += 1
        else:
            other += 1
        client.close()
    except (ConnectionRefusedError, FileNotFoundError):
        refused += 1
    except OSError:
        other += 1
    time.sleep(0.002)
print(answered, refused, other)
END
visitors_begin() { # ADDRESS SAY WORD
    python3 "$T/visitors" "$@" >"$T/visited" &
    visitors=$!
}
visitors_end() { # TEXT
    local answered refused other
    kill -TERM "$visitors"
    wait "$visitors"
    read -r answered refused other <"$T/visited"
    note "answered $answered, refused $refused, cut off by the end of who had accepted them $other"
    is "$refused" 0 "$1"
    ((answered > 0)) || fail "and they are answered"
}

echo "# gunicorn"
D=$T/g
mkdir -p "$D/etc" "$D/run"
cat >"$D/app.py" <<'END'
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "3")])
    return [b"yes"]
END
cat >"$D/etc/web.conf" <<END
[Service]
ExecStart=$(command -v gunicorn) --chdir $D --worker-tmp-dir $D --pid $D/pid app:app
Type=notify
Restart=always
RestartSec=10ms
[Socket http]
ListenStream=$D/s/http.sock
Owner=latchd
END
start_latchd "$D" web
wait_for 30 "it is ready" in_state "$D" running web
visitors_begin "$D/s/http.sock" 'GET / HTTP/1.0\r\n\r\n' "200 OK"
for i in 1 2 3 4 5; do
    ctl "$D" restart web >/dev/null || fail "restart $i"
done
kill -KILL "$(main_pid "$D" web)"
wait_for 30 "killed, it comes again" in_state "$D" running web
visitors_end "nobody is refused by gunicorn"
stop_latchd
succeeds "its socket goes with it" no_file "$D/s/http.sock"

echo "# Dovecot"
D=$T/d
make_dovecot "$D"
printf '[Socket imap]\nListenStream=127.0.0.1:%s\nOwner=latchd\n' "$imap_port" >>"$D/etc/mail.conf"
start_latchd "$D" mail
wait_for 30 "it is ready" in_state "$D" running mail
is "$(status_of "$D" '.sockets | map(select(.owner == "latchd")) | map(.listen) | join(" ")' mail)" "127.0.0.1:$imap_port" \
    "latchd has the port"
visitors_begin "127.0.0.1:$imap_port" '' "OK"
for i in 1 2 3; do
    ctl "$D" restart mail >/dev/null || fail "restart $i"
done
master=$(main_pid "$D" mail)
kill -KILL "$master"
wait_for 30 "its master is killed, and it comes again" runs_anew "$D" "$master" mail
sleep 1
visitors_end "nobody is refused by Dovecot"
lacks "$(cat "$D/dovecot.log")" "Address already in use" "Dovecot takes the listener instead of binding"
stop_latchd
finish
