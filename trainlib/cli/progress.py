"""The progress of commands that train many models: a line for each, and a bar in a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from trainlib.cli import output


@contextlib.contextmanager
def lines_with_bar(
    line: Callable[[Any], str], best: Callable[[Any], str], total: Callable[[Any], int]
) -> Iterator[Callable[[Any], None]]:
    """Yield a function that logs a line for each status; in a terminal with a bar below it.

    Args:
        line: returns the line of a status.
        best: returns the text on the best result so far, beside the bar.
        total: returns the number of results in all.
    """
    if not output.has_progress_bar():
        yield lambda status: output.log(line(status))
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (MofNCompleteColumn(), BarColumn(), Remaining(), TextColumn("{task.description}"))
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)  # unknown before the first status

        def show(status: Any) -> None:
            console.print(line(status), highlight=False, markup=False, soft_wrap=True)
            output.log_to_file(line(status))
            done, size = status.finished, total(status)
            bar.update(task, completed=done, total=size, description=best(status))

        yield show
