# SPDX-License-Identifier: GPL-2.0-or-later
# Completion of vdsm-hooks in bash: what may come next is asked of the program.

_vdsm_hooks() {
    local tool=$1 line=${COMP_LINE:0:COMP_POINT} words=() said=() word blanks i
    type -P -- "$tool" >/dev/null || tool=vdsm-hooks
    # Bash has cut words at "=" and ":" too: what has no blank between is put together.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        blanks=${line%%[! $'\t']*}
        line=${line#"$blanks"}
        word=${COMP_WORDS[i]}
        # Of the last one only what is before the cursor.
        ((i < COMP_CWORD)) || word=$line
        line=${line#"$word"}
        if [[ -n $blanks ]] || ((i == 0)); then
            words+=("$word")
        else
            words[${#words[@]} - 1]+=$word
        fi
    done
    local begun=${words[${#words[@]} - 1]} quoted='' quotes=$'[\'"\\\\]'
    [[ $begun != *[\"\']* ]] || quoted=yes
    words=("${words[@]//$quotes/}")
    begun=${words[${#words[@]} - 1]}

    mapfile -t said < <("$tool" completion bash -- "${words[@]:1}" 2>/dev/null)
    COMPREPLY=()
    case ${said[0]-} in
    files*) compopt -o default ;;
    directories*) compopt -o dirnames ;;
    words)
        # Bash replaces only what is behind the last "=" or ":".
        local start=$((${#begun} - ${#2}))
        ((start >= 0)) || start=0
        for word in "${said[@]:1}"; do
            word=${word%%$'\t'*}
            word=${word:start}
            [[ -n $quoted || $word != *[!A-Za-z0-9_.,:=+@%/-]* ]] || printf -v word %q "$word"
            COMPREPLY+=("$word")
        done
        if ((${#COMPREPLY[@]} == 1)) && [[ ${COMPREPLY[0]} == *= ]]; then compopt -o nospace; fi
        ;;
    esac
}

complete -F _vdsm_hooks vdsm-hooks
