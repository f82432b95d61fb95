"""The results of a verification as lines, as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainlib.verify.compare import TOLERANCES, Result

HEADINGS = ("kind", "name", "form", "peer", "run", "worst error", "bound", "at", "result", "note")


def cells(result: Result) -> tuple[str, ...]:
    """Return a result as the cells of a table row."""
    return (
        result.kind,
        result.name,
        result.form,
        result.peer,
        result.run,
        "" if result.error is None else f"{result.error:.1e}",
        f"{result.bound:.0e}",
        _place(result),
        verdict(result.passed),
        result.note,
    )


def _place(result: Result) -> str:
    """Return where the error is largest: "step 20 of wide" or "gradient"."""
    if not result.error:
        return ""
    return f"step {result.step} of {result.tensor}" if result.step else result.tensor


def verdict(passed: bool | None) -> str:
    """Return "pass", "FAIL" or "not run"."""
    return "not run" if passed is None else "pass" if passed else "FAIL"


def line(result: Result) -> str:
    """Return a result as a line of text."""
    kind, name, form, peer, run, error, bound, place, ended, note = cells(result)
    title = f"{name} ({form})" if form else name
    text = f"{kind:<11} {title:<44} {peer:<6} {run:<6} {error:>8} of {bound}  {place:<20} {ended}"
    return f"{text}  {note}" if note else text


def summary(results: Sequence[Result]) -> str:
    """Return how many results passed, failed and were not run, and the largest error."""
    count = {ended: 0 for ended in ("pass", "FAIL", "not run")}
    for result in results:
        count[verdict(result.passed)] += 1
    return (
        f"{count['pass']} passed, {count['FAIL']} failed, {count['not run']} not run; "
        f"largest error {_worst(results) or 'none'}"
    )


def by_kind(results: Sequence[Result], peers: Sequence[str]) -> str:
    """Return a Markdown table of the kinds: numbers of names and forms, largest errors."""
    rows = []
    for kind in dict.fromkeys(r.kind for r in results):
        of_kind = [r for r in results if r.kind == kind]
        names, forms = {r.name for r in of_kind}, {(r.name, r.form) for r in of_kind}
        worst = [_worst([r for r in of_kind if r.peer == peer]) for peer in peers]
        rows.append([kind, str(len(names)), str(len(forms)), *worst])
    return _markdown(("kind", "names", "forms", *peers), rows)


def by_name(results: Sequence[Result], kind: str, peers: Sequence[str]) -> str:
    """Return a Markdown table with, for each name of a kind, the largest error of each peer."""
    of_kind = [r for r in results if r.kind == kind]
    peers = [peer for peer in peers if any(r.peer == peer for r in of_kind)]
    rows = []
    for name in dict.fromkeys(r.name for r in of_kind):
        row = [name]
        for peer in peers:
            mine = [r for r in of_kind if (r.name, r.peer) == (name, peer)]
            forms = len({r.form for r in mine})
            text = _worst(mine)
            row.append(f"{text} ({forms} forms)" if forms > 1 and text != "not run" else text)
        rows.append(row)
    return _markdown((kind, *peers), rows)


def _worst(results: Sequence[Result]) -> str:
    """Return the largest error of some results: "" for none, "not run" if none was run.

    Results whose bounds are not those of `TOLERANCES` follow the others; their notes say why.
    """
    run = [r for r in results if r.error is not None]
    if not run:
        return "not run" if results else ""
    parts = []
    for bound in sorted({r.bound for r in run}):
        errors = [r.error or 0.0 for r in run if r.bound == bound]
        parts.append(
            f"{max(errors):.0e}" + ("" if bound in TOLERANCES.values() else f" of {bound:.0e}")
        )
    failed = " FAIL" if any(r.passed is False for r in run) else ""
    return ", ".join(parts) + failed


def markdown(results: Sequence[Result], peers: Sequence[str], title: str, origin: str) -> str:
    """Return the complete report: a table of the kinds, one for each kind, then every result.

    Args:
        results: the results.
        peers: the libraries, a column each.
        title: heading of the page.
        origin: when and how the results were made.
    """
    kinds = dict.fromkeys(result.kind for result in results)
    tables = [by_kind(results, peers), *(by_name(results, kind, peers) for kind in kinds)]
    rows = [cells(result) for result in results]
    parts = [f"# {title}", origin, summary(results), *tables, _markdown(HEADINGS, rows)]
    return "\n\n".join(parts) + "\n"


def as_json(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return the results as JSON objects."""
    return [result._asdict() for result in results]


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)
