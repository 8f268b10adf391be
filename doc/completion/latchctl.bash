# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Completion of latchctl(1) for bash; needs nothing but bash.

# The services, as latchctl itself lists them, looked for where the command line says.
__latchctl_services() {
    local i where=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --config-dir | --runtime-dir)
            # Bash takes the equals sign in --config-dir=DIR for a word of its own.
            [[ ${COMP_WORDS[i + 1]} == = ]] && where+=("${COMP_WORDS[i]}" "${COMP_WORDS[i + 2]}") ||
                where+=("${COMP_WORDS[i]}" "${COMP_WORDS[i + 1]}")
            ;;
        esac
    done
    "${COMP_WORDS[0]}" --json "${where[@]}" list 2>/dev/null | sed -n 's/^ *"service": "\(.*\)",*$/\1/p'
}

_latchctl() {
    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} verb='' i
    local verbs='list status start stop restart reload reexec kill probe locks sockets metrics clear limits doctor call logs'
    local options='--json --config-dir --runtime-dir --help --version'
    COMPREPLY=()

    # --option=VALUE arrives as three words.
    if [[ $previous == = ]] && ((COMP_CWORD >= 2)); then
        previous=${COMP_WORDS[COMP_CWORD - 2]}
    elif [[ $word == = ]]; then
        word=''
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --config-dir | --runtime-dir)
            i=$((i + 1))
            [[ ${COMP_WORDS[i]} == = ]] && i=$((i + 1))
            ;;
        -* | =) ;;
        *)
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
    --style) mapfile -t COMPREPLY < <(compgen -W 'flock posix ofd pidfile symlink' -- "$word"); return ;;
    --timeout | --time | --socket | --pid) return ;;
    --kill-whom) mapfile -t COMPREPLY < <(compgen -W 'main all' -- "$word"); return ;;
    --signal)
        mapfile -t COMPREPLY < <(compgen -W 'SIGTERM SIGKILL SIGHUP SIGINT SIGQUIT SIGABRT SIGUSR1 SIGUSR2 SIGSTOP SIGCONT' -- "$word")
        return
        ;;
    esac
    if [[ $verb == metrics && ($previous == -o || $previous == --output) ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
    fi
    if [[ $verb == logs ]]; then
        case $previous in
        -o | --output) mapfile -t COMPREPLY < <(compgen -W 'short short-iso json cat' -- "$word"); return ;;
        -p | --priority)
            mapfile -t COMPREPLY < <(compgen -W 'emerg alert crit err warning notice info debug' -- "$word")
            return
            ;;
        -S | --since | -U | --until) mapfile -t COMPREPLY < <(compgen -W 'now today yesterday -1h' -- "$word"); return ;;
        -n | --lines) return ;;
        esac
    fi

    case $verb in
    start | stop | restart | reload) options+=' --no-block --timeout' ;;
    kill) options+=' --signal --kill-whom' ;;
    probe) options+=' --all --facts --quick --style' ;;
    clear) options+=' --dry-run' ;;
    limits) options+=' --all' ;;
    sockets) options+=' --watch' ;;
    metrics) options+=' --output' ;;
    doctor) options+=' --pid --time --facts' ;;
    call) options+=' --socket --raw --keep-open --timeout' ;;
    logs) options+=' --follow --lines --since --until --priority --output --boot' ;;
    esac
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
        return
    fi
    case $verb in
    '') mapfile -t COMPREPLY < <(compgen -W "$verbs" -- "$word") ;;
    list) ;;
    probe)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        ;;
    clear)
        if [[ $word == */* || $word == .* ]]; then
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
        else
            mapfile -t COMPREPLY < <(compgen -W "$(__latchctl_services)" -- "$word")
        fi
        ;;
    limits)
        local others=0
        for ((i = 1; i < COMP_CWORD; i++)); do
            [[ ${COMP_WORDS[i]} == limits ]] && others=0 || [[ ${COMP_WORDS[i]} == -* ]] || others=$((others + 1))
        done
        if ((others)); then # the service stands there
            compopt -o nospace 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -S = -W 'CPU FSIZE DATA STACK CORE RSS NOFILE AS NPROC MEMLOCK LOCKS
                SIGPENDING MSGQUEUE NICE RTPRIO RTTIME' -- "$word")
        else
            mapfile -t COMPREPLY < <(compgen -W "$(__latchctl_services)" -- "$word")
        fi
        ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$(__latchctl_services)" -- "$word") ;;
    esac
}

complete -F _latchctl latchctl
