"""Measure the speed of trainlib, Keras, PyTorch and JAX with Optax: tables, JSON and a plot.

    python benchmarks/run.py --json=benchmark.json --plot=benchmark.png
    python benchmarks/run.py --parts=workloads --workloads=tiny,gru --contenders=bare,jax

Each contender runs in a separate process. The processes stay alive, are warmed up, and take turns,
one run at a time. All of them start from the same weights, take the same batches in the same order,
and must reach the same loss after the same number of steps, 200 where they are short; otherwise the
benchmark ends with an error. `bare` and `bare_graph` are the plain step written by hand in
a `tf.while_loop`, without metrics, under XLA and in a graph. The run of
`housing_epochs` has 100 epochs of 11,610 examples, with a validation after each. A ratio is the
median over the rounds of trainlib's rate divided by the contender's in the same round. A slow
contender makes fewer steps per run. Data are on the device, in the order in which they are used,
before the clock starts; only `ours_shuffling`, the column "shuffling", draws that order and gathers
the examples in the timed part. Every ratio says how many times as fast trainlib (`ours`) is.

Evaluation uses batches of 512, except for Keras with its defaults, which uses its default of 32.
The part `update` compares times of an optimizer's update with those of trainlib under XLA. The part
`input` compares the processor time of input with that of a step on arrays in memory. The parts
`precision` and `replicas` measure trainlib only: the ratios of the first are to float32; the second
compares an all-reduce, alone in a loop, with a step of the same round. The part `memory`
gives the peak of the resident memory of a run, beyond that of the process with its libraries and
data, beside `Model.fit`; and with gradient checkpointing, for `resnet` and `transformer`. The part
`scaling` measures how the time of a step grows with parameters, batch, length and the steps of a
run, beside the least that it takes; the part `limits` compares the steps of dense networks and of
`cnn`, by trainlib and by hand, with their matrix products and memory traffic alone, the least of
the rounds; the part `startup` measures new processes from start to end.
"""

from __future__ import annotations

import argparse
import difflib
import importlib.util
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from contenders import OURS, TRAINING, UPDATING
from inputs import measure_input
from limits import measure_limits
from machine import describe_machine
from memory import measure_memory
from plot import plot_ratios
from precision import measure_precision
from race import Race, ResultMismatch, family_ratios, log_progress, ratios
from replicas import measure_replicas
from report import markdown
from scaling import measure_scaling
from startup import measure_startup
from updates import LARGE_OPTIMIZERS, measure_updates
from worker import WorkerError
from workloads import WORKLOADS, workload


class Sizes(NamedTuple):
    """Size of a benchmark.

    Attributes:
        quick: whether everything is small, for a trial run.
        seconds: approximate length of a peer's run.
        rounds: number of rounds of interleaved runs.
    """

    quick: bool
    seconds: float
    rounds: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options = parse(arguments)
    sizes = Sizes(options.quick, 0.1 if options.quick else 1.5, options.rounds)
    found: dict[str, Any] = {"machine": describe_machine()}
    found |= {part: {} for part in (*PARTS, "evaluation")}
    if options.keep:
        found |= kept_figures(options.json, found["machine"])

    def save() -> None:
        """Write the figures after each part, so that an interrupted run leaves those it has."""
        if options.json:
            written = options.json.with_name(f"{options.json.name}.new")
            written.write_text(json.dumps(found, indent=2) + "\n")
            written.replace(options.json)

    try:
        measure(options, sizes, found, save)
    except (ResultMismatch, WorkerError) as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 1
    print(markdown(found))
    if options.plot and found["workloads"]:
        plot_ratios(found, options.plot)
    return 0


def kept_figures(path: Path, machine: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of a file, and end with an error if another machine measured them."""
    kept: dict[str, Any] = json.loads(path.read_text())
    for key in ("processor", "cores", "versions"):
        if kept["machine"][key] != machine[key]:
            raise SystemExit(
                f"run.py: {path} was measured with {key} {kept['machine'][key]}, not "
                f"{machine[key]}: measure all again, without --keep"
            )
    return kept | {"machine": machine}


def measure(
    options: argparse.Namespace, sizes: Sizes, found: dict[str, Any], save: Callable[[], None]
) -> None:
    """Measure the parts that were asked for and add their figures to `found`."""
    with tempfile.TemporaryDirectory(prefix="trainlib-benchmark-") as name:
        folder = Path(name)
        for of in options.workloads if "workloads" in options.parts else ():
            results = measure_workload(of, options.contenders, sizes, folder)
            found["workloads"][of], found["evaluation"][of] = results
            save()
        for part, measure_part in OTHER_PARTS.items():
            if part in options.parts:
                found[part] = measure_part(options, sizes, folder)
                save()


def _update(options: argparse.Namespace, sizes: Sizes, folder: Path) -> dict[str, Any]:
    names = LARGE_OPTIMIZERS if sizes.quick else _optimizers()
    libraries = _libraries(options.contenders)
    return measure_updates(names, libraries, folder, sizes.rounds, sizes.quick)


def _startup(options: argparse.Namespace, sizes: Sizes, folder: Path) -> dict[str, Any]:
    log_progress("start-up")
    return measure_startup(1 if sizes.quick else 3)


def _input(options: argparse.Namespace, sizes: Sizes, folder: Path) -> dict[str, Any]:
    modules = _modules(options.contenders)
    return measure_input(folder, options.workloads, modules, sizes.quick, sizes.rounds)


def _scaling(options: argparse.Namespace, sizes: Sizes, folder: Path) -> dict[str, Any]:
    return measure_scaling(folder, sizes.quick)


def _precision(options: argparse.Namespace, sizes: Sizes, folder: Path) -> dict[str, Any]:
    return measure_precision(folder, *sizes)


def _replicas(options: argparse.Namespace, sizes: Sizes, folder: Path) -> dict[str, Any]:
    return measure_replicas(folder, *sizes)


def _memory(options: argparse.Namespace, sizes: Sizes, folder: Path) -> dict[str, Any]:
    return measure_memory(options.workloads, folder, sizes.rounds, sizes.quick)


def _limits(options: argparse.Namespace, sizes: Sizes, folder: Path) -> dict[str, Any]:
    return measure_limits(folder, options.workloads, sizes.rounds, sizes.quick)


OTHER_PARTS: dict[str, Callable[[argparse.Namespace, Sizes, Path], dict[str, Any]]] = {
    "update": _update,
    "startup": _startup,
    "input": _input,
    "scaling": _scaling,
    "precision": _precision,
    "replicas": _replicas,
    "memory": _memory,
    "limits": _limits,
}
"""Parts of the benchmark besides the races of the workloads: what measures each."""
PARTS = ("workloads", *OTHER_PARTS)


def measure_workload(
    name: str, contenders: Sequence[str], sizes: Sizes, folder: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the figures of training and of evaluation for one workload."""
    with tempfile.TemporaryDirectory(dir=folder) as race_folder:
        with Race(name, Path(race_folder), sizes.quick, sizes.seconds, sizes.rounds) as race:
            for contender in contenders:
                race.enter(contender)
            log_progress(f"{name}: training")
            training = race.train()
            log_progress(f"{name}: evaluation")
            evaluation, forward = race.evaluate()
            execution = race.workers[OURS].call("execution")
            rows = {name: dict(row) for name, row in race.rows.items()}
    for rates_of, key in ((training, "steps_per_second"), (evaluation, "examples_per_second")):
        for contender, ratio in ratios(rates_of).items():
            median = statistics.median(rates_of[contender])
            rows[contender] |= {key: median, f"{key}_by_round": rates_of[contender]}
            rows[contender][f"ratio_of_{key}"] = ratio
    of = workload(name, sizes.quick)
    if of.examples_of_epoch:
        for contender, rates in training.items():
            seconds = 100 * of.steps_of_epoch / statistics.median(rates)
            rows[contender]["seconds_of_100_epochs"] = seconds
    trained = {
        "steps_per_second": statistics.median(training[OURS]),
        **family_ratios(training),
        "execution": execution,
        "contenders": rows,
    }
    evaluated = {
        "examples_per_second": statistics.median(evaluation[OURS]),
        **family_ratios(evaluation),
        "forward_examples_per_second": statistics.median(forward),
    }
    return trained, evaluated


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; invalid flags end the process with one line and status 2."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="Write all figures to this file.")
    parser.add_argument(
        "--keep",
        action="store_true",
        help="Keep the figures of the --json file that are not measured now.",
    )
    parser.add_argument(
        "--plot", type=Path, help="Draw the ratios into this file; needs matplotlib."
    )
    several = {"workloads": WORKLOADS, "contenders": TRAINING, "parts": PARTS}
    for name, known in several.items():
        parser.add_argument(
            f"--{name}",
            default=",".join(known),
            help="Names, comma-separated (default: %(default)s).",
        )
    parser.add_argument("--rounds", type=int, help="Rounds of interleaved runs (default: 7).")
    parser.add_argument(
        "--quick", action="store_true", help="Make everything small, for a trial run."
    )
    options = parser.parse_args(arguments)
    for name, known in several.items():
        chosen = getattr(options, name).split(",")
        for word in chosen:
            if word not in known:
                near = difflib.get_close_matches(word, list(known), n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                parser.error(f"--{name}: unknown {word!r}, choose from {', '.join(known)}{hint}")
        setattr(options, name, chosen)
    options.contenders = [OURS, *(name for name in options.contenders if name != OURS)]
    if options.rounds is None:
        options.rounds = 2 if options.quick else 7
    if options.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {options.rounds}")
    for path in (options.json, options.plot):
        if path and not path.absolute().parent.is_dir():
            parser.error(f"{path}: its folder does not exist")
    if options.keep and not (options.json and options.json.is_file()):
        parser.error("--keep needs --json, an existing file with figures")
    if options.plot and importlib.util.find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib: pip install matplotlib")
    return options


def _libraries(contenders: Sequence[str]) -> list[str]:
    """Return the libraries whose updates are measured, given the contenders in training."""
    return [name for name, module in UPDATING.items() if module in _modules(contenders)]


def _modules(contenders: Sequence[str]) -> list[str]:
    """Return the modules of the contenders in training, each once."""
    return list(dict.fromkeys(TRAINING[name].module for name in contenders))


def _optimizers() -> list[str]:
    from trainlib.registry import OPTIMIZERS

    return list(OPTIMIZERS)


if __name__ == "__main__":
    sys.exit(main())
