#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# All our shell scripts are clean to shellcheck.
# heavy: it reads the sources
set -euo pipefail

srcdir=${srcdir:-$(cd "$(dirname "$0")/../.." && pwd)}
command -v shellcheck >/dev/null || { echo "shellcheck is not installed"; exit 77; }

cd "$srcdir"
scripts=()
while IFS= read -r file; do
    IFS= read -r first <"$file" || true
    [[ $first =~ ^'#!'.*(/|' ')(ba|da|)sh($|' ') ]] && scripts+=("$file")
done < <(find bootstrap .ci tests units -type f \( -name '*.sh' -o -perm -u+x \))
((${#scripts[@]} >= 5)) || { echo "found only: ${scripts[*]}"; exit 1; }
shellcheck -x "${scripts[@]}"
echo "PASS: ${#scripts[@]} scripts"
