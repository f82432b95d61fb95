"""`trainlib list`: the functions, models and data sets that flags take, by name."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trainlib.cli.lazy_import import defer

defer("tensorflow", "keras")

from trainlib import registry  # noqa: E402
from trainlib.augmentation import AUGMENTATIONS  # noqa: E402
from trainlib.cli import app, output  # noqa: E402
from trainlib.cli.commands import COMMANDS  # noqa: E402
from trainlib.cli.flag_types import Values  # noqa: E402
from trainlib.cli.help import NARROWEST, terminal_width  # noqa: E402
from trainlib.core.checks import check_choice  # noqa: E402
from trainlib.data import DATASETS  # noqa: E402
from trainlib.models import MODELS  # noqa: E402

ABOUT = """
list: show the names of optimizers, models, data sets, ... with a short description of each.

  trainlib list               (the kinds of names, and how many there are)
  trainlib list optimizers
  trainlib list losses metrics

`train --help=NAME` shows the hyperparameters of one.
"""
WIDEST = 1000
"""Width where stdout is not a terminal: each name has one line, for grep and cut."""


def kinds() -> dict[str, Mapping[str, Any]]:
    """Return what can be listed by kind: functions by name, or texts by name."""
    return {
        "optimizers": registry.OPTIMIZERS,
        "schedules": registry.SCHEDULES,
        "losses": registry.LOSSES,
        "metrics": registry.METRICS,
        "models": MODELS,
        "datasets": DATASETS,
        "augmentations": AUGMENTATIONS,
        "regularizers": registry.REGULARIZERS,
        "constraints": registry.CONSTRAINTS,
        "clipping": registry.CLIPPING,
        "monitors": registry.MONITORS,
        "commands": {name: command.summary for name, command in COMMANDS.items()},
    }


def main() -> None:
    """Run the command `list`."""
    app.run(app.CommandLine("list", ABOUT, lambda values: None, show, operand="[kind]"))


def show(values: Values, wanted: Sequence[str]) -> None:
    """Print a table for each kind, or one of the kinds if none is given."""
    found = kinds()
    for kind in wanted:
        check_choice("kind", kind, found)
    if not wanted:
        _print_table("kind", {kind: f"{len(names)} names" for kind, names in found.items()})
    for i, kind in enumerate(wanted):
        if i:
            output.print_result("")
        _print_table(kind, {name: summary(x) for name, x in found[kind].items()})


def summary(named: str | Callable[..., Any]) -> str:
    """Return what a name stands for: the first paragraph of a function's docstring."""
    text = named if isinstance(named, str) else named.__doc__ or ""
    return " ".join(text.strip().partition("\n\n")[0].split())


def _print_table(head: str, texts: Mapping[str, str]) -> None:
    """Print a line for each name, below a heading; in a terminal descriptions are wrapped."""
    column = max(map(len, [head, *texts])) + 2
    width = terminal_width() if sys.stdout.isatty() else WIDEST
    for name, text in {head: "description", **texts}.items():
        lines = textwrap.wrap(text, max(width - column, NARROWEST // 2))
        for label, line in zip([name, *[""] * len(lines)], lines, strict=False):
            output.print_result(f"{label:{column}}{line}")


if __name__ == "__main__":
    main()
