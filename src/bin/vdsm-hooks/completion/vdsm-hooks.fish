# SPDX-License-Identifier: GPL-2.0-or-later
# Completion of vdsm-hooks in fish: what may come next is asked of the program.

function __vdsm_hooks
    set -l words (commandline -opc)
    # A quote that is still open is no part of the word.
    set -l begun (string replace -r '^["\']' '' -- (commandline -ct))
    set -l tool $words[1]
    command -q -- $tool; or set tool vdsm-hooks
    set -l said ($tool completion fish -- $words[2..-1] "$begun" 2>/dev/null)
    set -l kind (string split -m 1 \t -- "$said[1]")
    switch "$kind[1]"
        case files directories
            set -l path (string sub -s (math (string length -- "$kind[2]") + 1) -- "$begun")
            set -l found
            if test $kind[1] = files
                set found (__fish_complete_path "$path")
            else
                set found (__fish_complete_directories "$path" '')
            end
            for one in $found
                printf '%s\n' "$kind[2]$one"
            end
        case words
            for one in $said[2..-1]
                printf '%s\n' $one
            end
    end
end

complete -c vdsm-hooks -f -a '(__vdsm_hooks)'
