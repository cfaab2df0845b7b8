"""Writes the script by which a shell completes `python -m service`: its commands, and the flag of every setting.

A shell completes by the first word, which is `python` here. So the script puts a function of its own before what the
shell does for `python`, and hands on every line that does not begin with `python -m service`.
"""

import argparse
import copy
import sys
from collections.abc import Mapping

SHELLS = ("bash", "zsh", "fish")
DESCRIPTION = (
    'Print the script that completes `python -m service` in a shell. For bash and zsh: `eval "$(python -m service '
    'completion bash)"` in the file that the shell reads at its start; for fish: `python -m service completion fish | '
    "source`."
)
_NAME = "rubricd-service"
_DISPATCHERS: Mapping[str, str] = {
    "bash": r"""
_rubricd_service_before=$(complete -p python 2>/dev/null | sed -n 's/.* -F \([^ ]*\) .*/\1/p')
_rubricd_service_python() {
  if (( COMP_CWORD > 2 )) && [[ "${COMP_WORDS[1]} ${COMP_WORDS[2]}" == "-m service" ]]; then
    local rest=("${COMP_WORDS[@]:3}")
    local COMP_WORDS=(rubricd-service "${rest[@]}")
    local COMP_CWORD=$(( COMP_CWORD - 2 ))
    _shtab_rubricd_service
  elif [[ -n $_rubricd_service_before && $_rubricd_service_before != _rubricd_service_python ]]; then
    "$_rubricd_service_before" "$@"
  fi
}
complete -o bashdefault -o default -F _rubricd_service_python python python3
""",
    "zsh": r"""
_rubricd_service_python() {
  if (( CURRENT > 3 )) && [[ "$words[2] $words[3]" == "-m service" ]]; then
    words=(rubricd-service "${(@)words[4,-1]}")
    (( CURRENT -= 2 ))
    _shtab_rubricd_service
  elif (( $+functions[_python] )); then
    _python "$@"
  else
    _default
  fi
}
compdef _rubricd_service_python python python3
""",
    "fish": r"""
function __rubricd_service_follows
    set -l words (commandline -opc)
    test (count $words) -ge 3; and test "$words[2] $words[3]" = "-m service"
end
function __rubricd_service_rest
    set -l words (commandline -opc) (commandline -ct)
    complete -C "rubricd-service $words[4..-1]"
end
for name in python python3
    complete -c $name -n __rubricd_service_follows -f -a '(__rubricd_service_rest)'
end
""",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.add_argument("shell", choices=SHELLS, help="the shell")


def run(parser: argparse.ArgumentParser, shell: str) -> int:
    """Prints the script for the commands of `parser`. Exit status: 0, or 2 where the library that writes it is
    missing."""
    try:
        import shtab
    except ModuleNotFoundError:
        print("rubricd: completion needs shtab: pip install 'rubricd[cli]'", file=sys.stderr)
        return 2
    named = copy.copy(parser)
    named.prog = _NAME
    print(shtab.complete(named, shell=shell), _DISPATCHERS[shell], sep="\n")
    return 0
