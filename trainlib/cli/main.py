"""`trainlib`: all commands under one name, `trainlib train --epochs=5`."""

from __future__ import annotations

import importlib
import sys

from trainlib.cli.broken_pipe import closable_output
from trainlib.cli.commands import COMMANDS, MAIN_COMMAND
from trainlib.cli.exit_status import BAD_INPUT
from trainlib.cli.help import describe, terminal_width, wrap_paragraphs
from trainlib.cli.process_exit import fail
from trainlib.cli.version import version_text
from trainlib.core.checks import nearest

HELP = ("-h", "--help", "--helpfull", "help")
ABOUT = """
trainlib: train TensorFlow models with verified optimizers, schedules, losses and metrics.

  trainlib COMMAND [--flag=value ...]
  trainlib train --dataset=fashion_mnist --model=cnn --optimizer=nadam --epochs=5
"""
HINT = (
    "`trainlib COMMAND --help` describes a command. All but list and completion are installed "
    "under their own names too: `train --epochs=5` is `trainlib train --epochs=5`."
)


def main() -> None:
    """Run the command that the first argument names."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in HELP and arguments and arguments[0] in COMMANDS:  # trainlib help train
        name, arguments = arguments[0], ["--help"]
    if name in COMMANDS:
        sys.argv = [name, *arguments]
        importlib.import_module(COMMANDS[name].module).main()
        return
    with closable_output():
        if name in HELP:
            print(help_text(terminal_width()))
        elif name == "--version":
            print(version_text())
        else:
            near = nearest(name, COMMANDS)
            hint = f"choose from {', '.join(COMMANDS)}" if near is None else f"did you mean {near}?"
            fail(MAIN_COMMAND, f"unknown command {name!r}: {hint}", BAD_INPUT)


def help_text(width: int) -> str:
    """Return what `trainlib --help` shows: the commands and what they do."""
    entries = [describe(command.name, command.summary, width) for command in COMMANDS.values()]
    about, hint = (wrap_paragraphs(text, width) for text in (ABOUT, HINT))
    return "\n\n".join([about, "Commands:\n" + "\n".join(entries), hint])


if __name__ == "__main__":
    main()
