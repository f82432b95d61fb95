#compdef trainlib @SCRIPTS@
# Completion of trainlib for zsh, printed by `trainlib completion zsh`.

_trainlib_flags() {
    case "$1" in
@FLAGS@
    esac
}

_trainlib_values() {
    case "$1" in
@VALUES@
    esac
}

_trainlib_operands() {
    case "$1" in
@OPERANDS@
    esac
}

# Offers the words of `found`, and files if FILES is one of them.
_trainlib_offer() {
    compadd -a -- found_words
    [[ ${found[(Ie)FILES]} -gt 0 ]] && _files
}

_trainlib() {
    local command="${words[1]:t}" flag
    local -a found found_words
    if [[ $command == trainlib ]]; then
        if ((CURRENT == 2)); then
            found=(@COMMANDS@)
            _describe command found
            return
        fi
        command="${words[2]}"
    fi
    if [[ $PREFIX == --*=* ]]; then
        flag="${${PREFIX%%=*}#--}"
        compset -P '--[^=]#='
        compset -P '*,' # a list of values
        _trainlib_values "$command:$flag"
    elif [[ $PREFIX == -* ]]; then
        _trainlib_flags "$command"
        _describe -o flag found -S ''
        return
    else
        _trainlib_operands "$command"
    fi
    found_words=("${(@)found:#FILES}")
    _trainlib_offer
}

compdef _trainlib trainlib @SCRIPTS@
