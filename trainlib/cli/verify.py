"""`verify`: compare trainlib's functions with Keras, PyTorch, Optax and the published equations."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from trainlib.cli.lazy_import import defer

defer("tensorflow", "keras")

from trainlib.cli import app, output  # noqa: E402
from trainlib.cli.flag_types import Group, Values, format_value  # noqa: E402
from trainlib.cli.version import version_text  # noqa: E402
from trainlib.core.checks import check_choice, check_integer  # noqa: E402
from trainlib.training.files import as_json, check_can_write, write_text  # noqa: E402
from trainlib.training.paths import shown  # noqa: E402
from trainlib.verify import report  # noqa: E402
from trainlib.verify.case import EQUATION  # noqa: E402
from trainlib.verify.compare import (  # noqa: E402
    TOLERANCES,
    PeerRunner,
    Result,
    compare_function,
    compare_optimizer,
)
from trainlib.verify.function_cases import CASES as FUNCTION_CASES  # noqa: E402
from trainlib.verify.optimizer_cases import CASES  # noqa: E402
from trainlib.verify.peer_process import PeerProcesses  # noqa: E402
from trainlib.verify.peers import PEERS  # noqa: E402
from trainlib.verify.trajectory import RUNS  # noqa: E402

ABOUT = """
verify: compare each function, with several sets of arguments, with other libraries that implement
it, and print the largest relative error: of an optimizer over many training steps, of a schedule
over 10,000 steps. The exit status is 1 if an error is too large.

  verify --kind=all
  verify --optimizer=nadam,adam --against=torch --steps=200
  verify --schedule=one_cycle
"""
AGAINST = (*PEERS, EQUATION)
ALL = "all"
PACKAGES = ("torch", "jax", "optax")
"""Packages of the peers whose versions the table names, besides TensorFlow and Keras."""
MOST_STEPS = 100_000
"""Steps of the longest trajectory."""


@dataclass(frozen=True)
class Selection:
    """Which functions are compared, with which libraries, over how many steps.

    Attributes:
        names: names of functions by kind.
        peers: names of libraries, and "numpy" for the published equation.
        dtype: dtype of the computation.
        steps: length of the trajectories of optimizers.
        runs: how trainlib's functions are run: "eager", "graph", "xla".
    """

    names: Mapping[str, Sequence[str]]
    peers: Sequence[str]
    dtype: str
    steps: int
    runs: Sequence[str]


def names_by_kind() -> dict[str, list[str]]:
    """Return the names of the functions that can be verified, by kind."""
    names: dict[str, dict[str, None]] = {"optimizer": {case.optimizer: None for case in CASES}}
    for case in FUNCTION_CASES:
        names.setdefault(case.kind, {})[case.name] = None
    return {kind: list(of_kind) for kind, of_kind in names.items()}


def main() -> None:
    """Run the command `verify`."""
    app.run(app.CommandLine("verify", ABOUT, define, verify))


def define(values: Values) -> None:
    """Define the flags of `verify`."""
    names = names_by_kind()
    group = Group(values, "Functions to verify (names are comma-separated)")
    group.strings(
        "kind",
        None,
        f"Kinds to verify, or {ALL}. Kinds: {', '.join(names)}. Default: the kinds of the flags "
        f"below, or {ALL} if none is given.",
        "KINDS",
    )
    for kind, of_kind in names.items():
        group.strings(kind, None, f"Names, or {ALL}. Names: {', '.join(of_kind)}.", "NAMES")
    group = Group(values, "Comparison")
    group.strings(
        "against",
        list(AGAINST),
        f"Peers; {EQUATION} is the published equation, if no library implements the function.",
        "PEERS",
    )
    group.choice("dtype", "float64", list(TOLERANCES), "Type of all numbers.")
    group.integer("steps", 200, "Length of the trajectories of optimizers, at least 1.")
    group.strings(
        "run",
        ["graph", "xla"],
        f"How functions are run: any of {', '.join(RUNS)}.",
        "RUNS",
    )
    group.path("output", None, "Write the table to PATH.json and PATH.md.")


def verify(values: Values) -> None:
    """Compare the functions that the flags select, and print each result."""
    selection = _selection(values)
    results = []
    with PeerProcesses("trainlib.cli.verify_peer") as peers:
        for result in _compare(selection, peers):
            results.append(result)
            output.print_result(report.line(result))
    output.print_result(report.summary(results))
    if values.output:
        _write(Path(values.output), results, selection)
    if any(result.passed is False for result in results):
        sys.exit(1)


def _selection(values: Values) -> Selection:
    """Return what the flags select.

    Raises:
        ValueError: a name is unknown, or names are given of a kind that is excluded.
    """
    check_integer("steps", values.steps, at_least=1, at_most=MOST_STEPS)
    if values.output:
        check_can_write("output", Path(values.output), in_new_folder=True)
    names = names_by_kind()
    given = [kind for kind in names if values[kind].value is not None]
    kinds = _names(values, "kind", list(names)) if values.kind is not None else given or list(names)
    for kind in given:
        if kind not in kinds:
            text = format_value(values[kind].value)
            raise ValueError(f"--{kind}={text}: --kind does not include this kind")
    return Selection(
        {k: _names(values, k, names[k]) if k in given else names[k] for k in kinds},
        _names(values, "against", AGAINST),
        values.dtype,
        values.steps,
        _names(values, "run", RUNS),
    )


def _names(values: Values, flag: str, known: Sequence[str]) -> list[str]:
    """Return the names in a flag, each of them known; `all` stands for all of them."""
    names = [name for name in values[flag].value or [] if name]
    if names == [ALL]:
        return list(known)
    for name in names:
        check_choice(flag, name, known)
    if not names:
        raise ValueError(f"--{flag} must hold at least one of {', '.join(known)}")
    return names


def _compare(selection: Selection, runner: PeerRunner) -> Iterator[Result]:
    """Yield the result of each comparison."""
    names, dtype, runs = selection.names, selection.dtype, list(selection.runs)
    for case in (case for case in CASES if case.optimizer in names.get("optimizer", [])):
        for peer in (peer for peer in selection.peers if peer in case.peers):
            yield from compare_optimizer(case, peer, dtype, selection.steps, runs, runner)
    for function in (case for case in FUNCTION_CASES if case.name in names.get(case.kind, [])):
        for peer in (peer for peer in selection.peers if peer in function.peers):
            yield from compare_function(function, peer, dtype, runs, runner)


def _write(path: Path, results: list[Result], selection: Selection) -> None:
    """Write the table as JSON and as Markdown."""
    peers = list(selection.peers)
    title = f"trainlib compared with {', '.join(peers)}: {selection.dtype}, {selection.steps} steps"
    command = shlex.join(["verify", *sys.argv[1:]])
    origin = f"Written on {date.today()} by `{command}`, with {version_text(PACKAGES)}."
    path.parent.mkdir(parents=True, exist_ok=True)
    content = as_json(report.as_json(results), indent=2) + "\n"
    write_text(path.with_name(f"{path.name}.json"), content)
    write_text(path.with_name(f"{path.name}.md"), report.markdown(results, peers, title, origin))
    output.log(f"written: {shown(path)}.json, {shown(path)}.md")


if __name__ == "__main__":
    main()
