# Completion of trainlib for fish, printed by `trainlib completion fish`.

function __trainlib_flags
    set -l found
    switch $argv[1]
@FLAGS@
    end
    printf '%s\n' $found
end

function __trainlib_values
    set -l found
    switch $argv[1]
@VALUES@
    end
    printf '%s\n' $found
end

function __trainlib_operands
    set -l found
    switch $argv[1]
@OPERANDS@
    end
    printf '%s\n' $found
end

# Prints words after $argv[1], and the files that begin with $argv[2] in the place of FILES.
function __trainlib_offer
    while read -l word
        if test "$word" = FILES
            for file in $argv[2]*
                printf '%s%s\n' $argv[1] $file
            end
        else if test -n "$word"
            printf '%s%s\n' $argv[1] $word
        end
    end
end

function __trainlib
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l command (string replace -r '.*/' '' -- $words[1])
    if test "$command" = trainlib
        if test (count $words) -lt 2
            printf '%s\n' @COMMANDS@
            return
        end
        set command $words[2]
    end
    if string match -qr -- '^--[^=]*=' $current
        set -l flag (string replace -r '^--([^=]*)=.*' '$1' -- $current)
        set -l before (string replace -r '^(--[^=]*=(.*,)?).*$' '$1' -- $current)
        set -l rest (string sub -s (math (string length -- $before) + 1) -- $current)
        __trainlib_values "$command:$flag" | __trainlib_offer $before "$rest"
    else if string match -q -- '-*' $current
        __trainlib_flags $command
    else
        __trainlib_operands $command | __trainlib_offer '' "$current"
    end
end

for name in trainlib @SCRIPTS@
    complete -c $name -f -a '(__trainlib)'
end
