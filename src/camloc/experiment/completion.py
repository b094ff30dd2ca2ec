"""What a shell evaluates so that TAB completes ``camloc``'s commands and options."""

_BASH = r"""_camloc_completion() {
    local line="${COMP_LINE:0:COMP_POINT}" choice cut=""
    local word="${line##* }"
    # Bash replaces only what follows the last = of a word.
    if [[ "$word" == *=* && "$COMP_WORDBREAKS" == *=* ]]; then
        cut="${word%=*}="
    fi
    COMPREPLY=()
    while IFS= read -r choice; do
        COMPREPLY+=("${choice#"$cut"}")
    done < <(COMP_LINE="$line" camloc completion query 2>/dev/null)
}
complete -o nospace -o default -F _camloc_completion camloc
"""
_ZSH = """_camloc() {
    local line="${BUFFER[1,CURSOR]}"
    local -a choices
    choices=("${(@f)$(COMP_LINE="$line" camloc completion query 2>/dev/null)}")
    [[ -n "${choices[1]}" ]] && compadd -Q -S '' -- "${choices[@]}" || _files
}
autoload -Uz compinit && compinit
compdef _camloc camloc
"""
_FISH = """function __camloc_completion
    set -lx COMP_LINE (commandline -cp)
    camloc completion query 2>/dev/null
end
complete -c camloc -a '(__camloc_completion)'
"""
SHELLS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
"""Scripts by shell."""


def script(shell: str) -> str:
    """Return the script of a shell, for ``eval "$(camloc completion bash)"``."""
    return SHELLS[shell]
