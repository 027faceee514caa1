"""Print a script that lets the shell complete commands, flags and their values.

For bash, put eval "$(ftllm-nb completion bash)" into ~/.bashrc; for zsh, the same with zsh into ~/.zshrc; for fish,
write the output to ~/.config/fish/completions/ftllm-nb.fish.
"""

from __future__ import annotations

import argparse

from ftllm_nb.cli.system_limits import LITTLE

NEED = LITTLE
GROUP = "This program"
EXAMPLES = ('eval "$(ftllm-nb completion bash)"', "ftllm-nb completion fish > ~/.config/fish/completions/ftllm-nb.fish")
SHELLS = ("bash", "zsh", "fish")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `ftllm-nb completion`."""
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help="bash, zsh or fish")


def run(args: argparse.Namespace) -> int:
    """Print; the exit status."""
    from ftllm_nb.cli import shell_scripts
    from ftllm_nb.cli.entry import build_parser

    script = {"bash": shell_scripts.bash, "zsh": shell_scripts.zsh, "fish": shell_scripts.fish}[args.shell]
    print(script(build_parser()))
    return 0
