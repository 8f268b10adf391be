# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Completion of latchd(8) for bash; needs nothing but bash.

# The services that have a configuration: from --config-dir, else where --help says they are.
__latchd_services() {
    local i directories=() file
    for ((i = 1; i < COMP_CWORD; i++)); do
        if [[ ${COMP_WORDS[i]} == --config-dir ]]; then
            directories=("${COMP_WORDS[i + 1]}")
            [[ ${directories[0]} == = ]] && directories=("${COMP_WORDS[i + 2]}")
        fi
    done
    if ((${#directories[@]} == 0)); then
        mapfile -t directories < <("${COMP_WORDS[0]}" --help 2>/dev/null |
            sed -n '/is read from/,/^$/{s/.* \(\/[^ ]*\) or$/\1/p; s/^\(\/[^,]*\),.*/\1/p}')
    fi
    for file in "${directories[@]/%//}"; do
        compgen -G "$file*.conf" | sed 's|.*/||; s|\.conf$||'
    done
}

_latchd() {
    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} verb='' i
    COMPREPLY=()

    # Behind -- stands a command.
    for ((i = 1; i < COMP_CWORD; i++)); do
        if [[ ${COMP_WORDS[i]} == -- ]]; then
            compopt -o filenames 2>/dev/null
            if ((i + 1 == COMP_CWORD)); then
                mapfile -t COMPREPLY < <(compgen -c -- "$word")
            else
                mapfile -t COMPREPLY < <(compgen -f -- "$word")
            fi
            return
        fi
    done
    if [[ $previous == = ]] && ((COMP_CWORD >= 2)); then
        previous=${COMP_WORDS[COMP_CWORD - 2]}
    elif [[ $word == = ]]; then
        word=''
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        run | exec | check)
            verb=${COMP_WORDS[i]}
            break
            ;;
        esac
    done

    case $previous in
    --config-dir | --runtime-dir)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -d -- "$word")
        return
        ;;
    --lock | --socket | --config-file)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
        ;;
    --log-level)
        mapfile -t COMPREPLY < <(compgen -W 'emerg alert crit err warning notice info debug' -- "$word")
        return
        ;;
    --log-target) mapfile -t COMPREPLY < <(compgen -W 'auto journal stderr' -- "$word"); return ;;
    --user) mapfile -t COMPREPLY < <(compgen -u -- "$word"); return ;;
    --group) mapfile -t COMPREPLY < <(compgen -g -- "$word"); return ;;
    --kind) mapfile -t COMPREPLY < <(compgen -W 'generic kea dovecot' -- "$word"); return ;;
    --type) mapfile -t COMPREPLY < <(compgen -W 'simple socket' -- "$word"); return ;;
    --restart) mapfile -t COMPREPLY < <(compgen -W 'no on-failure on-abnormal always' -- "$word"); return ;;
    --limit)
        compopt -o nospace 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -S = -W 'CPU FSIZE DATA STACK CORE RSS NOFILE AS NPROC MEMLOCK LOCKS SIGPENDING
            MSGQUEUE NICE RTPRIO RTTIME' -- "$word")
        return
        ;;
    --name | --set | --environment) return ;;
    esac
    if [[ $word == -* ]]; then
        local options='--config-dir --runtime-dir --log-level --log-target --help --version'
        [[ $verb == run || $verb == exec ]] &&
            options+=' --name --lock --socket --limit --user --group --kind --config-file --environment --type --restart
                --set --'
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
    elif [[ -z $verb ]]; then
        mapfile -t COMPREPLY < <(compgen -W 'run exec check' -- "$word")
    elif [[ $word == */* ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    else
        mapfile -t COMPREPLY < <(compgen -W "$(__latchd_services)" -- "$word")
    fi
}

complete -F _latchd latchd
