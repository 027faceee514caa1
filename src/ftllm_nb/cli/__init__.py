"""The command line: `ftllm-nb COMMAND …`, one file a command, found by its file name.

A module of this package that defines `run` is a command; its name is the file's name. It has

- a docstring, which `ftllm-nb COMMAND --help` shows, and its first line `ftllm-nb --help`;
- `add_arguments(parser)`, which declares its flags, each with a help text, and words in flags joined by `_`
  (the parser accepts `-` in their place);
- `run(args) -> int`, which does the work and returns the exit status;
- `GROUP`, where `ftllm-nb --help` lists it (one of `GROUPS` in entry.py);
- `EXAMPLES`, two command lines or more, which `ftllm-nb COMMAND --help` ends with;
- optionally `ALIASES`, other names of the command, and `NEED`, of system_limits.py, where that is less than the engine.

All commands are imported to build the parser, so they import argparse and little else at their top.
"""

from ftllm_nb.cli.entry import build_parser, main

__all__ = ["build_parser", "main"]
