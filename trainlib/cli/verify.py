"""`verify`: runs trainlib's rules beside Keras, PyTorch and Optax, and prints how far they part."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from trainlib.cli.lazy import defer

defer("tensorflow", "keras")

from trainlib.checks import check_choice, check_number  # noqa: E402
from trainlib.cli import command, run_folder  # noqa: E402
from trainlib.verify import report  # noqa: E402
from trainlib.verify.case import Case  # noqa: E402
from trainlib.verify.cases import CASES  # noqa: E402
from trainlib.verify.compare import TOLERANCES, Result, compare  # noqa: E402
from trainlib.verify.ours import RUNS  # noqa: E402
from trainlib.verify.peers import PEERS, why_missing  # noqa: E402

ABOUT = """
verify: runs every optimizer, in each of its forms, beside the libraries that have it, over a whole
trajectory, and prints the largest relative error. Exits with 1 if one is too large.

  verify --optimizer=all --against=keras,torch,optax --dtype=float64 --steps=200
"""


def main() -> None:
    """The command."""
    command.run("verify", ABOUT, define, verify)


def define(values: command.Values) -> None:
    """The flags of `verify`."""
    group = command.Group(values, "Verification")
    names = ", ".join(dict.fromkeys(case.optimizer for case in CASES))
    group.text("optimizer", "all", f"Optimizers, divided by commas, or all: {names}.")
    group.text("against", ",".join(PEERS), "Peers, divided by commas: keras, torch, optax.")
    group.one_of("dtype", "float64", list(TOLERANCES), "Of the parameters.")
    group.whole("steps", 200, "Length of the trajectories.")
    group.text("run", "graph,xla", "How our rule is run: some of eager, graph, xla.")
    group.text("output", None, "Write the table to this path with .json and with .md added.")


def verify(values: command.Values) -> None:
    """Compares what the flags name."""
    check_number("steps", values.steps, at_least=1)
    peers = _words(values, "against", PEERS)
    runs = _words(values, "run", RUNS)
    cases = CASES
    if values.optimizer != "all":
        known = list(dict.fromkeys(case.optimizer for case in CASES))
        wanted = _words(values, "optimizer", known)
        cases = [case for case in CASES if case.optimizer in wanted]
    results = []
    for result in _results(cases, peers, runs, values):
        results.append(result)
        print(report.line(result), flush=True)
    print(report.summary(results))
    if values.output:
        _write(Path(values.output), results, peers, values)
    if any(result.passed is False for result in results):
        sys.exit(1)


def _results(
    cases: list[Case], peers: list[str], runs: list[str], values: command.Values
) -> Iterator[Result]:
    for case in cases:
        for peer in (peer for peer in peers if peer in case.peers):
            missing = why_missing(peer, case.peers[peer].name)
            if missing:
                yield Result(case.optimizer, case.form, peer, "", None, 0, "", None, missing)
            else:
                yield from compare(case, peer, values.dtype, values.steps, runs)


def _write(path: Path, results: list[Result], peers: list[str], values: command.Values) -> None:
    title = f"trainlib beside {', '.join(peers)}: {values.dtype}, {values.steps} steps"
    path.parent.mkdir(parents=True, exist_ok=True)
    run_folder.write_json(path.with_name(f"{path.name}.json"), report.as_json(results))
    run_folder.write_text(path.with_name(f"{path.name}.md"), report.markdown(results, peers, title))
    print(f"written: {path}.json, {path}.md")


def _words(values: command.Values, flag: str, known: tuple[str, ...] | list[str]) -> list[str]:
    """A flag's words, each of them known."""
    words = [word.strip() for word in str(values[flag].value).split(",") if word.strip()]
    for word in words:
        check_choice(flag, word, known)
    if not words:
        raise ValueError(f"--{flag} names nothing: there are {', '.join(known)}")
    return words


if __name__ == "__main__":
    main()
