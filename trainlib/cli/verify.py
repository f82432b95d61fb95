"""`verify`: runs trainlib's rules beside Keras, PyTorch and Optax, and prints how far they part."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from trainlib.cli.lazy_import import defer

defer("tensorflow", "keras")

from trainlib.cli import app, run_folder  # noqa: E402
from trainlib.cli.flag_types import Group, Values  # noqa: E402
from trainlib.core.checks import check_choice, check_number  # noqa: E402
from trainlib.training.files import write_text  # noqa: E402
from trainlib.verify import report  # noqa: E402
from trainlib.verify.case import EQUATION  # noqa: E402
from trainlib.verify.compare import (  # noqa: E402
    TOLERANCES,
    Result,
    compare_function,
    compare_optimizer,
)
from trainlib.verify.function_cases import CASES as FUNCTION_CASES  # noqa: E402
from trainlib.verify.optimizer_cases import CASES  # noqa: E402
from trainlib.verify.peers import PEERS  # noqa: E402
from trainlib.verify.trajectory import RUNS  # noqa: E402

ABOUT = """
verify: runs every rule, in each of its forms, beside the libraries that have it - an optimizer over
a whole trajectory, a schedule over 10,000 steps - and prints the largest relative error. Exits with
1 if one is too large.

  verify --kind=all
  verify --optimizer=nadam,adam --against=torch --steps=200
  verify --schedule=one_cycle
"""
AGAINST = (*PEERS, EQUATION)


def names_by_kind() -> dict[str, list[str]]:
    """What can be verified."""
    names: dict[str, dict[str, None]] = {"optimizer": {case.optimizer: None for case in CASES}}
    for case in FUNCTION_CASES:
        names.setdefault(case.kind, {})[case.name] = None
    return {kind: list(of_kind) for kind, of_kind in names.items()}


def main() -> None:
    """The command."""
    app.run("verify", ABOUT, define, verify)


def define(values: Values) -> None:
    """The flags of `verify`."""
    group = Group(values, "What")
    names = names_by_kind()
    group.string(
        "kind",
        None,
        f"Kinds, divided by commas, or all: {', '.join(names)}. By default those of the flags "
        "below, or all where none is given.",
    )
    for kind, of_kind in names.items():
        group.string(kind, None, f"Names, divided by commas, or all: {', '.join(of_kind)}.")
    group = Group(values, "How")
    group.string(
        "against",
        ",".join(AGAINST),
        "Peers, divided by commas; numpy stands for the published equation, where no library has "
        "the rule.",
    )
    group.choice("dtype", "float64", list(TOLERANCES), "In which all is computed.")
    group.integer("steps", 200, "Length of the optimizers' trajectories.")
    group.string("run", "graph,xla", "How our rule is run: some of eager, graph, xla.")
    group.string("output", None, "Write the table to this path with .json and with .md added.")


def verify(values: Values) -> None:
    """Compares what the flags name."""
    check_number("steps", values.steps, at_least=1)
    peers = _words(values, "against", AGAINST)
    runs = _words(values, "run", RUNS)
    results = []
    for result in _results(_wanted(values), peers, runs, values):
        results.append(result)
        print(report.line(result), flush=True)
    print(report.summary(results))
    if values.output:
        _write(Path(values.output), results, peers, values)
    if any(result.passed is False for result in results):
        sys.exit(1)


def _wanted(values: Values) -> dict[str, list[str]]:
    """The names to verify, by kind."""
    names = names_by_kind()
    given = [kind for kind in names if values[kind].value is not None]
    kinds = _words(values, "kind", list(names)) if values.kind is not None else given or list(names)
    for kind in given:
        if kind not in kinds:
            raise ValueError(f"--{kind}={values[kind].value}: --kind leaves out this kind")
    return {
        kind: _words(values, kind, names[kind]) if kind in given else names[kind] for kind in kinds
    }


def _results(
    wanted: dict[str, list[str]], peers: list[str], runs: list[str], values: Values
) -> Iterator[Result]:
    for case in (case for case in CASES if case.optimizer in wanted.get("optimizer", [])):
        for peer in (peer for peer in peers if peer in case.peers):
            yield from compare_optimizer(case, peer, values.dtype, values.steps, runs)
    for function in (case for case in FUNCTION_CASES if case.name in wanted.get(case.kind, [])):
        for peer in (peer for peer in peers if peer in function.peers):
            yield from compare_function(function, peer, values.dtype, runs)


def _write(path: Path, results: list[Result], peers: list[str], values: Values) -> None:
    title = f"trainlib beside {', '.join(peers)}: {values.dtype}, {values.steps} steps"
    path.parent.mkdir(parents=True, exist_ok=True)
    run_folder.write_json(path.with_name(f"{path.name}.json"), report.as_json(results))
    write_text(path.with_name(f"{path.name}.md"), report.markdown(results, peers, title))
    print(f"written: {path}.json, {path}.md")


def _words(values: Values, flag: str, known: Sequence[str]) -> list[str]:
    """A flag's words, each of them known; `all` is all of them."""
    words = [word.strip() for word in str(values[flag].value).split(",") if word.strip()]
    if words == ["all"]:
        return list(known)
    for word in words:
        check_choice(flag, word, known)
    if not words:
        raise ValueError(f"--{flag} names nothing: there are {', '.join(known)}")
    return words


if __name__ == "__main__":
    main()
