"""`trainlib completion`: completion of commands, flags and their values for bash, zsh and fish.

The script holds all names, so that completing starts no Python; it is made from the flags.
"""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import NamedTuple

from trainlib.cli.lazy_import import defer

defer("tensorflow", "keras")

from trainlib.cli import app, output  # noqa: E402
from trainlib.cli.commands import COMMANDS  # noqa: E402
from trainlib.cli.flag_types import Flag, Values, each_flag  # noqa: E402
from trainlib.cli.help import summary_of  # noqa: E402
from trainlib.core.checks import check_choice  # noqa: E402

ABOUT = """
completion: print a script that completes commands, flags and their values with the TAB key.

  source <(trainlib completion bash)          (in ~/.bashrc)
  source <(trainlib completion zsh)           (in ~/.zshrc, after compinit)
  trainlib completion fish | source           (in ~/.config/fish/config.fish)
"""
SHELLS = ("bash", "zsh", "fish")
FILES = "FILES"
"""Stands for the names of files among the values of a flag."""
SUMMARY_WIDTH = 60
_MARK = re.compile(r"@(\w+)@")


class Completed(NamedTuple):
    """What is completed.

    Attributes:
        flags: summary of each flag as it is written, by command.
        values: values by "command:flag".
        operands: words besides flags, by command.
    """

    flags: dict[str, Mapping[str, str]]
    values: dict[str, Sequence[str]]
    operands: Mapping[str, Sequence[str]]


def main() -> None:
    """Run the command `completion`."""
    command = app.CommandLine("completion", ABOUT, lambda values: None, completion, operand="shell")
    app.run(command)


def completion(values: Values, shells: Sequence[str]) -> None:
    """Print the script of a shell."""
    for shell in shells:
        check_choice("shell", shell, SHELLS)
        output.print_result(script(shell, completed()))


def completed() -> Completed:
    """Return the commands, their flags and the values of these."""
    from trainlib.cli.list import kinds

    found = Completed({}, {}, {"list": list(kinds()), "completion": SHELLS, "report": [FILES]})
    for command in COMMANDS.values():
        define = getattr(importlib.import_module(command.module), "define", None)
        if define is None:
            continue
        defined = list(each_flag(app.defined_flags(define)))
        found.flags[command.name] = dict(pair for flag in defined for pair in _written(flag))
        for flag in defined:
            if values := [*flag.words, *([FILES] if flag.is_path else [])]:
                found.values[f"{command.name}:{flag.name}"] = values
    return found


def _written(flag: Flag) -> list[tuple[str, str]]:
    """Return a flag as it begins on a command line, with its summary: `--epochs=`, `--noreport`."""
    summary = summary_of(flag, SUMMARY_WIDTH)
    names = [f"--{flag.name}", f"--no{flag.name}"] if flag.boolean else [f"--{flag.name}="]
    return [(name, summary) for name in names]


def script(shell: str, found: Completed) -> str:
    """Return the script of a shell: its file in `shells`, with what is completed filled in."""
    file = resources.files("trainlib.cli") / "shells" / f"completion.{shell}"
    texts = {
        "COMMANDS": _described(shell, {x.name: x.summary for x in COMMANDS.values()}),
        "SCRIPTS": " ".join(x.name for x in COMMANDS.values() if x.is_script),
        "FLAGS": _cases(shell, {name: _described(shell, x) for name, x in found.flags.items()}),
        "VALUES": _cases(shell, {name: _words(x) for name, x in found.values.items()}),
        "OPERANDS": _cases(shell, {name: _words(x) for name, x in found.operands.items()}),
    }
    text = file.read_text(encoding="utf-8")
    return _MARK.sub(lambda mark: texts[mark[1]], text).rstrip()


def _words(words: Iterable[str]) -> str:
    return " ".join(map(shlex.quote, words))


def _described(shell: str, texts: Mapping[str, str]) -> str:
    """Return words, each with its description where the shell shows it, quoted."""
    if shell == "bash":
        return _words(texts)
    between = ":" if shell == "zsh" else "\t"
    return _words(f"{word}{between}{text}" for word, text in texts.items())


def _cases(shell: str, words: Mapping[str, str]) -> str:
    """Return the branches that set `found` to the words of a name; equal ones are one branch."""
    names: dict[str, list[str]] = {}
    for name, text in words.items():
        names.setdefault(text, []).append(name)
    if shell == "fish":
        return "\n".join(f"case {' '.join(x)}\nset found {text}" for text, x in names.items())
    return "\n".join(f"{'|'.join(x)}) found=({text}) ;;" for text, x in names.items())


if __name__ == "__main__":
    main()
