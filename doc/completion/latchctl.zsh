#compdef latchctl
# SPDX-License-Identifier: LGPL-2.1-or-later
# Completion of latchctl(1) for zsh.

_latchctl_services() {
    local -a where services
    local option
    for option in --config-dir --runtime-dir; do
        [[ -n ${opt_args[$option]-} ]] && where+=($option ${(Q)opt_args[$option]})
    done
    services=(${(f)"$(_call_program services latchctl --json $where list 2>/dev/null |
        sed -n 's/^ *"service": "\(.*\)",*$/\1/p')"})
    _wanted services expl service compadd -a services
}

_latchctl() {
    local -a common verbs control
    local curcontext=$curcontext state line ret=1
    typeset -A opt_args

    common=(
        '--json[facts as JSON]'
        '--config-dir=[read NAME.conf from there only]:directory:_directories'
        '--runtime-dir=[where the supervisors'\'' sockets are]:directory:_directories'
        '(-h --help)'{-h,--help}'[show how it is used]'
        '--version[show the version]'
    )
    control=(
        '--no-block[do not wait until it is done]'
        '--timeout=[wait no longer than that]:time such as 30s:'
    )
    verbs=(
        'list:services and their states'
        'status:everything about a service'
        'start:make the way free and start it'
        'stop:stop it'
        'reexec:replace the running supervisors by the installed latchd'
        'restart:stop it, then start it'
        'reload:have the daemon read its configuration again'
        'kill:send it a signal'
        'probe:explain any lock file, PID file or socket'
        'locks:the services'\'' locks and who holds them'
        'sockets:how many connections wait at their sockets'
        'metrics:states, restarts and queues as OpenMetrics text'
        'clear:clear what a dead owner left'
        'limits:limits configured, in force and used'
        'doctor:which cause of EAGAIN is at work, and the remedy'
        'call:send a command to its control socket'
        'logs:entries from the journal'
    )

    _arguments -C $common '1: :->verb' '*:: :->rest' && ret=0
    case $state in
    verb) _describe -t verbs verb verbs && ret=0 ;;
    rest)
        curcontext=${curcontext%:*:*}:latchctl-$words[1]:
        case $words[1] in
        list) _arguments $common && ret=0 ;;
        status | locks) _arguments $common '*:service:_latchctl_services' && ret=0 ;;
        sockets)
            _arguments $common '(-w --watch)'{-w,--watch=-}'[again and again]::time such as 2s:' \
                '*:service:_latchctl_services' && ret=0
            ;;
        metrics)
            _arguments $common '(-o --output)'{-o+,--output=}'[write a file]:file:_files' \
                '*:service:_latchctl_services' && ret=0
            ;;
        kill)
            _arguments $common '(-s --signal)'{-s+,--signal=}'[which]:signal:(SIGTERM SIGKILL SIGHUP SIGINT SIGQUIT SIGABRT SIGUSR1 SIGUSR2 SIGSTOP SIGCONT)' \
                '--kill-whom=[to whom]:whom:(main all)' '*:service:_latchctl_services' && ret=0
            ;;
        start | stop | restart | reload) _arguments $common $control '*:service:_latchctl_services' && ret=0 ;;
        probe)
            _arguments $common '(-a --all)'{-a,--all}'[every lock and listening unix socket of the machine]' \
                '--facts[what was observed, as JSON]' \
                '(-q --quick)'{-q,--quick}'[look at likely holders only]' \
                '--style=[take the file for a lock of this style]:style:(flock posix ofd pidfile symlink)' \
                '*:file:_files' && ret=0
            ;;
        clear)
            _arguments $common '(-n --dry-run)'{-n,--dry-run}'[only say what would be done]' \
                '*: :_alternative "services\:service\:_latchctl_services" "files\:file\:_files"' && ret=0
            ;;
        limits)
            _arguments $common '(-a --all)'{-a,--all}'[its descendants, too]' '1:service:_latchctl_services' \
                '*:limit:_values -S = limit CPU FSIZE DATA STACK CORE RSS NOFILE AS NPROC MEMLOCK LOCKS SIGPENDING \
                    MSGQUEUE NICE RTPRIO RTTIME' && ret=0
            ;;
        doctor)
            _arguments $common '*--pid=[this process and its descendants]:process:_pids' \
                '--time=[between the two looks]:time such as 5s:' '--facts[what was seen, as JSON]' \
                '*:service:_latchctl_services' && ret=0
            ;;
        call)
            _arguments $common '--socket=[which of its sockets]:name:' '--raw[the text as it is, and any answer]' \
                '--keep-open[do not close the sending side]' '--timeout=[for all of it]:time such as 30s:' \
                '1:service:_latchctl_services' '2:command:' && ret=0
            ;;
        logs)
            _arguments $common '(-f --follow)'{-f,--follow}'[go on with new ones]' \
                '(-n --lines)'{-n+,--lines=}'[only the last]:number:' \
                '(-S --since)'{-S+,--since=}'[from that time]:time:(now today yesterday -1h)' \
                '(-U --until)'{-U+,--until=}'[up to that time]:time:(now today yesterday -1h)' \
                '(-p --priority)'{-p+,--priority=}'[this urgent or more]:level:(emerg alert crit err warning notice info debug)' \
                '(-o --output)'{-o+,--output=}'[format]:format:(short short-iso json cat)' \
                '(-b --boot)'{-b,--boot}'[since the machine was started]' \
                '1:service:_latchctl_services' && ret=0
            ;;
        esac
        ;;
    esac
    return ret
}

_latchctl "$@"
