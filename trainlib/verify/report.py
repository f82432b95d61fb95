"""The table of a verification: as lines, as Markdown, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainlib.verify.compare import Result

HEADINGS = ("optimizer", "form", "peer", "run", "worst error", "step", "tensor", "result", "note")


def cells(result: Result) -> tuple[str, ...]:
    """A result as the cells of a line."""
    where = (str(result.step), result.tensor) if result.error else ("", "")
    error = "" if result.error is None else f"{result.error:.1e}"
    return (
        result.optimizer,
        result.form,
        result.peer,
        result.run,
        error,
        *where,
        verdict(result.passed),
        result.note,
    )


def verdict(passed: bool | None) -> str:
    """pass, FAIL, or not run."""
    return "not run" if passed is None else "pass" if passed else "FAIL"


def line(result: Result) -> str:
    """A result as a line on a screen."""
    optimizer, form, peer, run, error, step, tensor, ended, note = cells(result)
    title = f"{optimizer} ({form})" if form else optimizer
    where = f"step {step} of {tensor}" if step else ""
    text = f"{title:<44} {peer:<6} {run:<6} {error:>8}  {where:<20} {ended}"
    return f"{text}  {note}" if note else text


def summary(results: Sequence[Result]) -> str:
    """How many passed, in one line."""
    count = {ended: 0 for ended in ("pass", "FAIL", "not run")}
    for result in results:
        count[verdict(result.passed)] += 1
    worst = max((r.error for r in results if r.error is not None), default=0.0)
    return (
        f"{count['pass']} passed, {count['FAIL']} failed, {count['not run']} not run; "
        f"largest error {worst:.1e}"
    )


def by_optimizer(results: Sequence[Result], peers: Sequence[str]) -> str:
    """A Markdown table: for each optimizer and peer the largest error over all forms and runs."""
    rows = []
    for optimizer in dict.fromkeys(r.optimizer for r in results):
        row = [optimizer]
        for peer in peers:
            mine = [r for r in results if (r.optimizer, r.peer) == (optimizer, peer)]
            forms = len({r.form for r in mine})
            errors = [r.error for r in mine if r.error is not None]
            text = "" if not mine else "not run" if not errors else f"{max(errors):.0e}"
            if any(r.passed is False for r in mine):
                text += " FAIL"
            row.append(f"{text} ({forms} forms)" if errors and forms > 1 else text)
        rows.append(row)
    return _markdown(("optimizer", *peers), rows)


def markdown(results: Sequence[Result], peers: Sequence[str], title: str) -> str:
    """The whole report."""
    rows = [cells(result) for result in results]
    return (
        f"# {title}\n\n{summary(results)}\n\n{by_optimizer(results, peers)}\n\n"
        f"{_markdown(HEADINGS, rows)}\n"
    )


def as_json(results: Sequence[Result]) -> list[dict[str, Any]]:
    """The results as JSON's objects."""
    return [result._asdict() for result in results]


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)
