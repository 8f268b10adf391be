# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A booted systemd (booted-systemd) with this build installed in it, for tests of the unit and of the journal; a test
# sources it instead of harness.sh. Directories below $T are the same inside and outside, processes inside are
# visible outside (under other numbers), and nothing of the machine is touched.

# shellcheck source=tests/lib/harness.sh
. "$(dirname "${BASH_SOURCE[0]}")/harness.sh"

booted=$(dirname "${BASH_SOURCE[0]}")/booted-systemd

booted_cleanup() {
    local rc=$?
    "$booted" stop "$T"
    (exit "$rc")
    harness_cleanup
}

# Runs a command inside, bounded in time.
inside() { timeout "${INSIDE_SECONDS:-60}" "$booted" run "$T" -- "$@"; } # COMMAND...

# Boots, and installs the build where it was configured for. Sets sysconfdir.
boot_latchd() {
    local rc=0 prefix file
    require_root
    require systemctl journalctl jq
    trap booted_cleanup EXIT
    "$booted" start "$T" >"$T/boot.log" 2>&1 || rc=$?
    ((rc != 77)) || skip "$(cat "$T/boot.log")"
    ((rc == 0)) || die "systemd boots" "exit code $rc" "$(cat "$T/boot.log")"
    make -s -C "$builddir" install DESTDIR="$T/image" >"$T/install.log" 2>&1 ||
        die "the build installs" "$(cat "$T/install.log")"
    # With a prefix below a directory that is shared (make distcheck), what is installed must not end up there.
    prefix=$(sed -n 's/^prefix = //p' "$builddir/Makefile")
    if [[ $prefix/ == "$(realpath "$srcdir")"/* || $prefix/ == "$(realpath "$builddir")"/* ]]; then
        inside mkdir -p "$prefix"
        inside mount -t tmpfs tmpfs "$prefix"
    fi
    tar -C "$T/image" -c . | inside tar -C / -x --keep-directory-symlink --no-overwrite-dir ||
        die "the installed files are copied into the system"
    # With such a prefix systemd does not look where these are either.
    for file in lib/systemd/system/latchd@.service lib/systemd/catalog/latchd.catalog; do
        # shellcheck disable=SC2016
        inside sh -c '[ -e "/usr/$2" ] || cp "$1/$2" "/usr/$2"' sh "$prefix" "$file" || die "$file is installed"
    done
    # The programs themselves know best where they look.
    sysconfdir=$(latchd --help | sed -n 's|.*NAME.conf is read from \(.*\)/latchd or$|\1|p')
    [[ $sysconfdir == /* ]] || die "latchd --help says where configurations are"
    bindir=$(sed -n 's|^ExecReload=\(.*\)/latchctl .*|\1|p' "$builddir/units/latchd@.service")
    sbindir=$(sed -n 's|^ExecStart=\(.*\)/latchd .*|\1|p' "$builddir/units/latchd@.service")
    PATH=$bindir:$sbindir:$PATH
    inside mkdir -p "$sysconfdir/latchd"
    inside journalctl --update-catalog || die "the catalog compiles"
    inside systemctl daemon-reload
}

# Makes FILE the configuration of a service.
configure_service() { # NAME < CONFIGURATION
    inside sh -c "cat >'$sysconfdir/latchd/$1.conf'"
}

# make_kea's service, with its output in the journal.
configure_kea() { # NAME DIR
    sed '/^Standard/d' "$2/etc/kea.conf" | configure_service "$1"
}

unit_property() { # UNIT PROPERTY
    inside systemctl show --property "$2" --value "$1"
}

# One field of a service's status.
field() { # SERVICE JQ-PATH
    inside latchctl status --json "$1" 2>/dev/null | jq -r ".[0]$2"
}

# What has been journaled, as JSON lines.
journal() { # MATCH-OR-OPTION...
    inside journalctl --quiet --no-pager -o json "$@"
}

# The message id of an event, from the one list.
event_id() { # NAME
    sed -n "s/^EVENT($1, \"\([0-9a-f]*\)\".*/\1/p" "$srcdir/src/journal/event-ids.def"
}
