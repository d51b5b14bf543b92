# Completion of pfa-flux for bash.

_pfa_flux_completion() {
    local IFS=$'\n'
    COMPREPLY=( $( env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD _PFA_FLUX_COMPLETE=complete_bash "$1" ) )
}

complete -o default -F _pfa_flux_completion pfa-flux
