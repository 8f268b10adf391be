#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The documents say what the programs do: every key, verb and option has its entry, the pages are clean to mandoc, the
# examples are good configurations, and the completions complete.
# heavy: it reads the documentation
# shellcheck source=tests/lib/harness.sh
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/harness.sh"
require mandoc

readme=$srcdir/README
latchd_page=$srcdir/doc/latchd.8 latchctl_page=$srcdir/doc/latchctl.1 conf_page=$srcdir/doc/latchd.conf.5

# A page as text without overstriking, blanks squeezed.
page() { mandoc -T ascii -O width=300 "$1" | col -b | tr -s ' '; }

# missing_in FILE WORD...: prints the words that do not stand in it, each as a whole.
missing_in() {
    local text word
    text=$(<"$1")
    shift
    for word in "$@"; do
        grep -qE -- "(^|[^[:alnum:]_-])$word([^[:alnum:]_-]|$)" <<<"$text" || printf '%s ' "$word"
    done
}

# The options of a help text: "-f", "--follow".
options_of() { grep -oE -- '(^|[ |[])--?[a-zA-Z][a-z-]*' <<<"$1" | tr -d ' |[' | sort -u; }

echo "# manual pages"
for file in "$latchd_page" "$latchctl_page" "$conf_page"; do
    is "$(mandoc -T lint -W warning "$file" 2>&1)" "" "${file##*/}: mandoc -T lint is silent"
done
page "$latchd_page" >"$T/latchd.txt"
page "$latchctl_page" >"$T/latchctl.txt"
page "$conf_page" >"$T/conf.txt"

mapfile -t keys < <(sed -nE 's/^KEY\([A-Z]+, ([A-Za-z]+),.*/\1/p' "$srcdir/src/config/config-keys.def" | sort -u)
((${#keys[@]} >= 60)) || die "the keys are found in config-keys.def" "found: ${keys[*]}"
entries=$(sed -nE 's/^\.It Cm ([A-Za-z]+)=$/\1/p' "$conf_page" | sort -u)
is "$(comm -23 <(printf '%s\n' "${keys[@]}") <(echo "$entries") | xargs)" "" "latchd.conf(5): an entry for each of ${#keys[@]} keys"
is "$(comm -13 <(printf '%s\n' "${keys[@]}") <(echo "$entries") | xargs)" "" "latchd.conf(5): none for what is no key"

# What holds without an assignment stands in the entry.
while read -r key value; do
    entry=$(awk -v key="$key=" '$1 == ".It" { on = ($3 == key) } on' "$conf_page")
    [[ $entry == *"$value"* ]] || fail "latchd.conf(5): $key= tells its default, $value" "$entry"
done < <(sed -nE 's/^KEY\(SERVICE, ([A-Za-z]+), [A-Z]+, [a-z_]+, [a-z_]+, "([^"]+)".*/\1 \2/p' "$srcdir/src/config/config-keys.def" |
    grep -v ' no$')
ok "latchd.conf(5): the defaults of [Service]"

echo "# verbs and options"
help=$(latchctl --help)
mapfile -t verbs < <(sed -n '/^Verbs:/,/^$/s/^  \([a-z]*\) .*/\1/p' <<<"$help")
((${#verbs[@]} >= 10)) || die "the verbs are found in latchctl --help" "$help"
mapfile -t commands < <(sed -n 's/^    \.name = "\(.*\)",$/\1/p; s/^const struct command command_[a-z]* = {"\([a-z]*\)".*/\1/p' \
    "$srcdir"/src/cli/cmd-*.c | sort)
is "$(printf '%s\n' "${verbs[@]}" | sort | xargs)" "${commands[*]}" "latchctl --help has every verb of src/cli"
is "$(for verb in "${verbs[@]}"; do grep -q "^\.It Cm $verb\b" "$latchctl_page" || echo "$verb"; done)" "" \
    "latchctl(1): an entry for each of ${#verbs[@]} verbs"
is "$(missing_in "$readme" "${verbs[@]}")" "" "README names each verb"
for verb in "${verbs[@]}"; do
    text=$(latchctl "$verb" --help) || fail "latchctl $verb --help succeeds"
    contains "$text" "Usage: latchctl $verb" "latchctl $verb --help says how it is used"
    lacks "$text" " 
" "and leaves no blanks at line ends"
    # shellcheck disable=SC2046 # words
    is "$(missing_in "$T/latchctl.txt" $(options_of "$text"))" "" "latchctl(1) has its options"
done
# shellcheck disable=SC2046
is "$(missing_in "$T/latchctl.txt" $(options_of "$help"))" "" "latchctl(1) has the common options"
mapfile -t causes < <(sed -n '/define DOCTOR_CAUSES/,/^$/s/.*X([A-Z_]*, "\(.*\)").*/\1/p' "$srcdir/src/doctor/finding.h")
((${#causes[@]} >= 15)) || die "the causes are found in finding.h" "${causes[*]}"
is "$(missing_in <(sed -n '/^\.It Cm doctor/,/^\.It Cm call/p' "$latchctl_page") "${causes[@]}")" "" \
    "latchctl(1) has each of ${#causes[@]} causes of latchctl doctor"
help=$(latchd --help)
# shellcheck disable=SC2046
is "$(missing_in "$T/latchd.txt" $(options_of "$help"))" "" "latchd(8) has the options of latchd --help"
# The option table of the program itself, should the help forget one.
mapfile -t options < <(sed -nE '/service_keys\[\] = \{/,/\};/p' "$srcdir/src/cli/latchd.c" | grep -oE '"[a-z-]+"' | tr -d '"')
((${#options[@]} >= 10)) || die "the options are found in latchd.c" "${options[*]}"
is "$(missing_in "$T/latchd.txt" "${options[@]/#/--}")" "" "latchd(8) has the options that describe a service"
for verb in run exec check; do
    matches "$help" "latchd [a-z|]*$verb" "latchd --help has $verb"
    matches "$(<"$latchd_page")" "\\.It Cm $verb
" "latchd(8) has $verb"
done
for code in 64 75 77 78; do
    contains "$help" "$code" "latchd --help tells exit status $code"
    matches "$(<"$latchd_page")" "\\.It $code
" "latchd(8) tells it"
done

# Every verdict and every reason of src/lock/verdict.c has its entry in VERDICTS, and nothing else has.
names_in() { sed -nE "s/.*\[$1_[A-Z_]+\] = \"([a-z-]+)\".*/\1/p" < <(grep -oE '\[[A-Z_]+\] = "[a-z-]+"' "$srcdir/src/lock/verdict.c"); }
words=$({ names_in VERDICT; names_in REASON | grep -vx none; } | sort)
(($(wc -l <<<"$words") >= 30)) || die "the verdicts and reasons are found in verdict.c" "$words"
is "$(sed -n '/^\.Sh VERDICTS/,/^\.Sh ENV/s/^\.It \([a-z-]*\)$/\1/p' "$latchctl_page" | sort | xargs)" "$(xargs <<<"$words")" \
    "latchctl(1) explains each of $(wc -l <<<"$words") verdicts and reasons"
styles=$(grep -oE '\[LOCK_STYLE_[A-Z]+\] = "[a-z]+"' "$srcdir"/src/lock/*.c | sed 's/.*"\(.*\)"/\1/' | grep -vx none | sort | xargs)
# shellcheck disable=SC2086 # words
is "$(missing_in <(latchctl probe --help) $styles)" "" "latchctl probe --help names them"

echo "# configurations in the documents"
mkdir "$T/etc" "$T/root"
examples=$srcdir/doc/examples
# On this machine neither the daemon nor its user need exist; all else must be good.
check_example() { # FILE NAME
    latchd check --config-dir "$1" "$2" 2>&1 |
        grep -vE 'User=[_a-z]+: there is no such user$|: No such file or directory$|: configuration is good$' || true
}
for name in kea generic; do
    cp "$examples/$name.conf" "$T/etc/"
    is "$(check_example "$T/etc" "$name")" "" "doc/examples/$name.conf has no mistake"
done
mkdir "$T/mail"
cp "$examples/dovecot.conf" "$T/mail/"
is "$(check_example "$T/mail" dovecot)" "" "nor has doc/examples/dovecot.conf"
# The README's and the page's are the example's.
settings() { sed -nE 's/^ *([A-Za-z]+=.*)$/\1/p'; }
is "$(sed -n '/^    \[Service\]$/,/^$/p' "$readme" | settings)" "$(settings <"$examples/kea.conf" | grep -v '^Description=')" \
    "README has the same kea.conf"
is "$(sed -n '/^Debian.s Kea:/,/^\.Ed/p' "$conf_page" | settings)" "$(settings <"$examples/kea.conf" | grep -v '^Description=')" \
    "latchd.conf(5) has it, too"
is "$(sed -n '/^Debian.s Dovecot:/,/^\.Ed/p' "$conf_page" | settings)" "$(settings <"$examples/dovecot.conf" | grep -v '^Description=')" \
    "and the same dovecot.conf"
if command -v systemd-analyze >/dev/null; then
    mkdir -p "$T/units/latchd@kea.service.d"
    sed 's|@sbindir@|/bin|; s|@bindir@|/bin|; s|^ExecStart=.*|ExecStart=/bin/true|; s|^ExecReload=.*||' \
        "$srcdir/units/latchd@.service.in" >"$T/units/latchd@.service"
    cp "$examples/latchd@kea.service.d.conf" "$T/units/latchd@kea.service.d/kea.conf"
    is "$(SYSTEMD_UNIT_PATH=$T/units: systemd-analyze verify --man=no "$T/units/latchd@kea.service" 2>&1 |
        grep -F kea.conf)" "" "systemd has no complaint about the drop-in"
fi

echo "# completion in bash"
cat >"$T/etc/mail.conf" <<'END'
[Service]
ExecStart=/bin/true
END
# complete LINE: what bash offers at its end, sorted, as words.
complete_line() {
    (
        # shellcheck source=/dev/null
        . "$srcdir/doc/completion/${1%% *}.bash" || exit
        read -ra COMP_WORDS <<<"$1"
        [[ $1 != *' ' ]] || COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        COMPREPLY=()
        "_${COMP_WORDS[0]}"
        printf '%s\n' "${COMPREPLY[@]}" | sort | xargs
    ) 2>&1
}
export LATCHD_RUNTIME_DIR=$T/none
is "$(complete_line "latchctl ")" "$(printf '%s\n' "${verbs[@]}" | sort | xargs)" "latchctl: all verbs"
is "$(complete_line "latchctl re")" "reexec reload restart" "latchctl re: the verbs that begin so"
is "$(complete_line "latchctl --json st")" "start status stop" "behind an option"
is "$(complete_line "latchctl --config-dir $T/etc status ")" "generic kea mail" "latchctl status: the services"
is "$(complete_line "latchctl --config-dir $T/etc restart m")" "mail" "latchctl restart m: the one"
is "$(complete_line "latchctl list ")" "" "latchctl list: nothing"
is "$(complete_line "latchctl logs -o ")" "cat json short short-iso" "latchctl logs -o: the formats"
is "$(complete_line "latchctl start --no")" "--no-block" "latchctl start --no: the option"
is "$(complete_line "latchctl probe --style f")" "flock" "latchctl probe --style f: the style"
is "$(complete_line "latchctl probe --style ")" "$styles" "latchctl probe --style: every style"
is "$(complete_line "latchctl probe $T/et")" "$T/etc" "latchctl probe: files"
for verb in "${verbs[@]}"; do
    # shellcheck disable=SC2046
    is "$(missing_in <(complete_line "latchctl $verb -") $(options_of "$(latchctl "$verb" --help)" | grep -- ^--))" "" \
        "latchctl $verb -: every option"
done
is "$(complete_line "latchd ")" "check exec run" "latchd: its verbs"
is "$(complete_line "latchd check --config-dir $T/etc ")" "generic kea mail" "latchd check: the services"
is "$(complete_line "latchd run --log-target ")" "auto journal stderr" "latchd --log-target: the targets"
# shellcheck disable=SC2046
is "$(missing_in <(complete_line "latchd run -") $(options_of "$help" | grep -- ^--) "${options[@]/#/--}")" "" \
    "latchd run -: every option"
contains "$(complete_line "latchd run -- tru")" "true" "latchd run --: commands"
# The directories that --help names are found.
# shellcheck source=/dev/null
script=$(. "$srcdir/doc/completion/latchd.bash" && declare -f __latchd_services | sed -n "s/.*sed -n '\(.*\)').*/\1/p")
is "$(latchd --help | sed -n "$script" | wc -l)" 2 "both directories of latchd --help are found"

echo "# completion in zsh"
for name in latchctl latchd; do
    file=$srcdir/doc/completion/$name.zsh
    is "$(head -n1 "$file")" "#compdef $name" "$name.zsh is for $name"
    if command -v zsh >/dev/null; then succeeds "$name.zsh parses" zsh -n "$file"; fi
done
# Options stand there as "--name" or '{-n,--name}'.
# shellcheck disable=SC2046
is "$(missing_in "$srcdir/doc/completion/latchctl.zsh" "${verbs[@]}" \
    $(for verb in "${verbs[@]}"; do options_of "$(latchctl "$verb" --help)"; done | grep -- ^-- | sort -u))" "" \
    "latchctl.zsh has every verb and option"
# shellcheck disable=SC2046
is "$(missing_in "$srcdir/doc/completion/latchd.zsh" "${options[@]/#/--}" $(options_of "$help" | grep -- ^--))" "" \
    "latchd.zsh has every option"
finish
