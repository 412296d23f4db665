#compdef vdsm-hooks
# SPDX-License-Identifier: GPL-2.0-or-later
# Completion of vdsm-hooks in zsh: what may come next is asked of the program.

_vdsm-hooks() {
    local tool=${(Q)words[1]} line word stays
    local -a before said closed open
    whence -p -- $tool >/dev/null || tool=vdsm-hooks
    ((CURRENT < 3)) || before=("${(@Q)words[2,CURRENT-1]}")
    said=("${(@f)$($tool completion zsh -- "${before[@]}" "${(Q)PREFIX}" 2>/dev/null)}")
    case $said[1] in
    files* | directories*)
        stays=${said[1]#*$'\t'}
        [[ -z $stays ]] || compset -p ${#stays}
        if [[ $said[1] == files* ]]; then
            _files
        else
            _files -/
        fi
        ;;
    words)
        for line in "${said[@]:1}"; do
            word=${line%%$'\t'*}
            # A colon is between a word and its meaning.
            line=${${word//\\/\\\\}//:/\\:}:${line#*$'\t'}
            if [[ $word == *= ]]; then
                open+=("$line")
            else
                closed+=("$line")
            fi
        done
        local ret=1
        ((!$#closed)) || { _describe -t values 'vdsm-hooks' closed && ret=0 }
        # What ends in "=" goes on.
        ((!$#open)) || { _describe -t properties 'property' open -S '' && ret=0 }
        return ret
        ;;
    esac
}

if [[ $funcstack[1] == _vdsm-hooks ]]; then
    _vdsm-hooks "$@"
else
    compdef _vdsm-hooks vdsm-hooks
fi
