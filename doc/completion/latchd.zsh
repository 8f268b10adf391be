#compdef latchd
# SPDX-License-Identifier: LGPL-2.1-or-later
# Completion of latchd(8) for zsh.

_latchd_services() {
    local -a directories services
    if [[ -n ${opt_args[--config-dir]-} ]]; then
        directories=(${(Q)opt_args[--config-dir]})
    else
        directories=(${(f)"$(_call_program directories latchd --help 2>/dev/null |
            sed -n '/is read from/,/^$/{s/.* \(\/[^ ]*\) or$/\1/p; s/^\(\/[^,]*\),.*/\1/p}')"})
    fi
    services=(${^directories}/*.conf(N:t:r))
    _alternative 'services:service:compadd -a services' 'files:configuration file:_files -g "*.conf"'
}

_latchd() {
    local -a common describe
    local curcontext=$curcontext state line ret=1
    typeset -A opt_args

    common=(
        '--config-dir=[read NAME.conf from there only]:directory:_directories'
        '--runtime-dir=[supervisor locks, control sockets and states]:directory:_directories'
        '--log-level=[log what is this urgent or more]:level:(emerg alert crit err warning notice info debug)'
        '--log-target=[where to]:target:(auto journal stderr)'
        '(-h --help)'{-h,--help}'[show how it is used]'
        '--version[show the version]'
    )
    describe=(
        '--name=[the service'\''s name]:name:'
        '*--lock=[a lock file]:PATH[\:STYLE]:_files'
        '*--socket=[a control socket]:path:_files'
        '*--limit=[a resource limit]:NAME=SOFT[\:HARD]:'
        '--user=[user to run as]:user:_users'
        '--group=[group to run as]:group:_groups'
        '--kind=[which daemon it is]:kind:(generic kea dovecot)'
        '--config-file=[its own configuration]:file:_files'
        '*--environment=[a variable]:NAME=VALUE:'
        '--type=[when it is ready]:type:(simple socket)'
        '--restart=[after which ends it is started again]:policy:(no on-failure on-abnormal always)'
        '*--set=[any key of the section Service]:KEY=VALUE:'
    )

    _arguments -C $common '1: :((run\:"supervise in the foreground" exec\:"become the daemon" check\:"print mistakes"))' \
        '*:: :->rest' && ret=0
    if [[ $state == rest ]]; then
        case $words[1] in
        run | exec) _arguments -S $common $describe '*:service:_latchd_services' && ret=0 ;;
        check) _arguments $common '*:service:_latchd_services' && ret=0 ;;
        esac
    fi
    return ret
}

_latchd "$@"
