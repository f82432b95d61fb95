# Completion of trainlib for bash, printed by `trainlib completion bash`.

_trainlib_flags() {
    found=()
    case "$1" in
@FLAGS@
    esac
}

_trainlib_values() {
    found=()
    case "$1" in
@VALUES@
    esac
}

_trainlib_operands() {
    found=()
    case "$1" in
@OPERANDS@
    esac
}

# Offers the words of `found`, and files if FILES is one of them, that begin with $2 after $1.
_trainlib_offer() {
    local word
    for word in "${found[@]}"; do
        if [[ $word == FILES ]]; then
            compopt -o filenames 2>/dev/null
            while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -f -- "$2")
        elif [[ $word == "$2"* ]]; then
            COMPREPLY+=("$1$word")
        fi
    done
}

_trainlib() {
    local current="${COMP_WORDS[COMP_CWORD]}" command="${COMP_WORDS[0]##*/}" flag="" before="" found
    COMPREPLY=()
    if [[ $command == trainlib ]]; then
        if ((COMP_CWORD == 1)); then
            found=(@COMMANDS@)
            _trainlib_offer "" "$current"
            return
        fi
        command="${COMP_WORDS[1]}"
    fi
    if [[ $current == "=" ]]; then # bash takes "=" for a word of its own
        flag="${COMP_WORDS[COMP_CWORD - 1]}" current=""
    elif [[ ${COMP_WORDS[COMP_CWORD - 1]} == "=" ]]; then
        flag="${COMP_WORDS[COMP_CWORD - 2]}"
    elif [[ $current == --*=* ]]; then
        flag="${current%%=*}" before="${current%%=*}=" current="${current#*=}"
    fi
    if [[ -n $flag ]]; then
        if [[ $current == *,* ]]; then # a list of values
            before="$before${current%,*}," current="${current##*,}"
        fi
        _trainlib_values "$command:${flag#--}"
        _trainlib_offer "$before" "$current"
    elif [[ $current == -* ]]; then
        _trainlib_flags "$command"
        _trainlib_offer "" "$current"
        if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]]; then
            compopt -o nospace 2>/dev/null
        fi
    else
        _trainlib_operands "$command"
        _trainlib_offer "" "$current"
    fi
}

complete -F _trainlib trainlib @SCRIPTS@
