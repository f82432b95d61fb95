"""The figures as Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from contenders import FAMILIES, OURS, SHUFFLING
from inputs import MEMORY
from inputs import WAYS as INPUT_WAYS
from machine import machine_line

TITLES = {
    "bare": "by hand",
    "keras_default": "Keras, defaults",
    "keras_best": "Keras, tuned",
    "torch": "PyTorch",
    "jax": "JAX with Optax",
}
"""Of the families of contenders."""
STARTUP = {
    "python": "Python itself",
    "import_trainlib": "`import trainlib`",
    "import_optimizer": "`tl.adam`",
    "import_tensorflow": "`import tensorflow`",
    "import_keras": "`import keras`",
    "import_both": "`import tensorflow, keras`",
    "train_help": "`train --help`",
    "verify_help": "`verify --help`",
    "train_first_step": "`train --dataset=digits`, up to the first step",
    "train": "`train --dataset=digits --epochs=1`",
    "first_step": "first step of the tiny model",
    "keras_first_step": "the same with `Model.fit`",
}
"""Of the commands in `startup.py`."""
WAYS = {
    "one_device": "one device",
    "replicas_1": "1 replica",
    "replicas_2": "2 replicas",
    "replicas_4": "4 replicas",
    "workers_1": "1 worker",
    "workers_2": "2 workers",
    "workers_2_buckets": "2 workers, 4 sums a step",
}
"""Of the ways in `replicas.py`."""


def markdown(found: Mapping[str, Any]) -> str:
    """Return all figures as Markdown tables."""
    parts = [machine_line(found["machine"])]
    writers = {
        "workloads": _training,
        "evaluation": _evaluation,
        "update": _update,
        "startup": _startup,
        "input": _input,
        "scaling": _scaling,
        "precision": _precision,
        "replicas": _replicas,
        "memory": _memory_of_runs,
        "limits": _limits,
    }
    parts += [write(found[part]) for part, write in writers.items() if found.get(part)]
    return "\n\n".join(parts)


def _training(workloads: Mapping[str, Any]) -> str:
    rows = [
        [name, _number(row["steps_per_second"]), _shuffling(row), *_ratios(row)]
        for name, row in workloads.items()
    ]
    head = ["training", "steps/s", "shuffling", *_titles(workloads)]
    parts = [_table(head, rows), _spread(workloads), _epochs(workloads)]
    return "\n\n".join(filter(None, parts))


def _spread(workloads: Mapping[str, Any]) -> str:
    """Return a line on how much trainlib's rate differs between the rounds; "" for one round."""
    ours = {name: of["contenders"][OURS] for name, of in workloads.items()}
    by_round = {name: row["steps_per_second_by_round"] for name, row in ours.items()}
    spread = {n: max(rates) / min(rates) - 1 for n, rates in by_round.items() if len(rates) > 1}
    if not spread:
        return ""
    each = ", ".join(f"{name} {x:.0%}" for name, x in spread.items())
    return f"The fastest round of trainlib is faster than the slowest by: {each}."


def _epochs(workloads: Mapping[str, Any]) -> str:
    """Return the seconds of 100 epochs, for the workloads that have epochs; "" if there are none.

    Contenders with slower steps make fewer epochs in a run.
    """
    rows = [
        [name, contender, _number(row["seconds_of_100_epochs"])]
        for name, found in workloads.items()
        for contender, row in found["contenders"].items()
        if "seconds_of_100_epochs" in row
    ]
    return _table(["100 epochs", "contender", "seconds"], rows) if rows else ""


def _evaluation(evaluation: Mapping[str, Any]) -> str:
    rows = [
        [
            name,
            _number(row["examples_per_second"]),
            *_ratios(row),
            _number(row["forward_examples_per_second"]),
        ]
        for name, row in evaluation.items()
    ]
    head = ["evaluation", "examples/s", *_titles(evaluation), "outputs alone"]
    return _table(head, rows)


def _update(update: Mapping[str, Any]) -> str:
    ways = {
        "ours": "XLA",
        "ours_graph": "graph",
        "keras_xla": "Keras, XLA",
        "keras_graph": "Keras, graph",
        "torch": "PyTorch",
        "torch_fused": "PyTorch, fused",
        "optax": "Optax",
    }
    rows = [[name, *(_number(row[f"{way}_ms"]) for way in ways)] for name, row in update.items()]
    return _table(["update, ms", *ways.values()], rows)


def _startup(startup: Mapping[str, Mapping[str, float]]) -> str:
    rows = [
        [STARTUP[name], *(f"{row[key]:.2f}" for key in ("seconds", "processor_seconds"))]
        for name, row in startup.items()
    ]
    return _table(["start-up", "seconds", "processor seconds"], rows)


def _input(found: Mapping[str, Any]) -> str:
    """Return a table for each workload: the step in memory, and the shares of other input."""
    return "\n\n".join(_input_of(name, of) for name, of in found.items())


def _input_of(name: str, of: Mapping[str, Any]) -> str:
    titles = {"ours": "trainlib", "keras": "Keras", "torch": "PyTorch"}
    measured = of["contenders"]
    rows = []
    for way, about in INPUT_WAYS.items():
        cells = [row.get(way) for row in measured.values()]
        if way == MEMORY:
            rows.append([about, *(f"{_number(cell['cpu_ms'])} ms" for cell in cells)])
        else:
            rows.append([about, *map(_share_of_input, cells)])
    alone = of["microseconds_to_decode_an_image"] * of["batch_size"] / 1e3
    share = alone / measured["ours"][MEMORY]["cpu_ms"]
    rows.append([f"to decode {of['format'].upper()} alone", f"{share:.1%}"])
    rows[-1] += [""] * (len(measured) - 1)
    return _table([f"input, {name}", *(titles[c] for c in measured)], rows)


def _share_of_input(row: Mapping[str, float] | None) -> str:
    """Return the parts of a step that reading alone takes, and that training takes longer."""
    return f"{row['share_alone']:.1%} ({row['share']:+.1%})" if row else ""


def _scaling(scaling: Mapping[str, Any]) -> str:
    by = scaling["update_by_parameters"]
    update = [
        [f"{int(n):,}", _number(r["ms"]), _number(r["peak_memory_mib"])] for n, r in by.items()
    ]
    steps = [[n, _number(ms)] for n, ms in scaling["step_ms_by_steps"].items()]
    calls = scaling["calls"]
    return "\n\n".join(
        [
            *_curves(scaling),
            _table(["parameters", "Adam's update, ms", "peak MiB"], update),
            _table(["steps in a fit", "step of tiny, ms"], steps),
            f"Memory before and after {calls['calls']:,} fits of one step: "
            f"{calls['resident_mib_before']:.0f} and {calls['resident_mib_after']:.0f} MiB; "
            f"{calls['first_ms_per_call']:.2f} ms per call in the first tenth, "
            f"{calls['last_ms_per_call']:.2f} in the last.",
        ]
    )


def _curves(scaling: Mapping[str, Any]) -> list[str]:
    """Return the tables of a step by parameters, by batch and by length, beside its least time."""
    beside = ["step, ms", "products alone", "traffic alone", "both / step"]
    tables = []
    for head, rows in (
        ("parameters, batch 32", list(scaling["step_by_parameters"].values())),
        ("batch, mlp_adam", scaling["step_by_batch"]),
    ):
        named = rows.items() if isinstance(rows, Mapping) else ((r["parameters"], r) for r in rows)
        cells = [[f"{int(n):,}", *map(_number, _least(row))] for n, row in named]
        tables.append(_table([head, *beside], cells))
    lengths = scaling["step_by_length"]
    names = [key.removesuffix("_ms") for key in next(iter(lengths.values())) if "_ms" in key]
    head = ["length, batch 32", *(f"{name}, {of}" for name in names for of in ("ms", "GFLOP/s"))]
    rows = [
        [n, *(_number(x) for name in names for x in _speed_of_operations(row, name))]
        for n, row in lengths.items()
    ]
    return [*tables, _table(head, rows)]


def _least(row: Mapping[str, float]) -> list[float]:
    """Return a step, its products and its traffic alone, and their sum as a part of the step."""
    alone = row["products_ms"], row["traffic_ms"]
    return [row["ms"], *alone, sum(alone) / row["ms"]]


def _speed_of_operations(row: Mapping[str, float], name: str) -> list[float]:
    ms = row[f"{name}_ms"]
    return [ms, 1e3 * row[f"{name}_gflop"] / ms]


def _precision(precision: Mapping[str, Any]) -> str:
    """Return steps per second, ratio to float32 and execution; below them what was left out."""
    workloads = precision["workloads"]
    names = list(next(iter(workloads.values())))
    rows = [[name, *(_in_precision(row[one]) for one in names)] for name, row in workloads.items()]
    left_out = [
        f"Left out: {name} in {one}: {row['reason']}."
        for name, of in workloads.items()
        for one, row in of.items()
        if "reason" in row
    ]
    flags = precision["bfloat16"]
    supported = flags and ", ".join(f"{name}: {'yes' if flags[name] else 'no'}" for name in flags)
    instructions = f"Instructions for bfloat16: {supported or 'unknown'}."
    return "\n\n".join([_table(["steps/s", *names], rows), " ".join([instructions, *left_out])])


def _in_precision(row: Mapping[str, Any]) -> str:
    if "reason" in row:
        return ""
    ratio, execution = _number(row["ratio_to_float32"]), row["execution"]
    return f"{_number(row['steps_per_second'])} ({ratio}x, {execution})"


def _replicas(replicas: Mapping[str, Any]) -> str:
    head = ["replicas", "execution", "step, ms", "all-reduce, ms", "share", "of one number, ms"]
    rows = [[f"{name}, {WAYS[way]}", *_way(row)] for name, way, row in _ways(replicas)]
    sizes = list(next(iter(replicas.values()))["step_ms_by_batch"])
    by_batch = [
        [name, *(_number(ms) for ms in of["step_ms_by_batch"].values())]
        for name, of in replicas.items()
    ]
    return "\n\n".join([_table(head, rows), _table(["batch; step, ms", *sizes], by_batch)])


def _ways(replicas: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    return [(name, way, row) for name, of in replicas.items() for way, row in of["ways"].items()]


def _way(row: Mapping[str, Any]) -> list[str]:
    share = row.get("all_reduce_share")
    return [
        row["execution"],
        _number(row["ms"]),
        _number(row.get("all_reduce_ms")),
        "" if share is None else f"{share:.0%}",
        _number(row.get("all_reduce_of_one_ms")),
    ]


def _beside_keras(row: Mapping[str, Any], contender: str) -> str:
    """Return the peak of a contender, and in parentheses that divided by Keras's."""
    peak = row[contender]["peak_mib"]
    return f"{_number(peak)} ({peak / row['keras']['peak_mib']:.2f})"


def _memory_of_runs(memory: Mapping[str, Any]) -> str:
    """Return the peaks beside Keras's, and below them those with gradient checkpointing."""
    beside = [
        [
            name,
            _number(row["ours"]["arrays_mib"]),
            _number(row["keras"]["peak_mib"]),
            *(_beside_keras(row, contender) for contender in ("ours", "ours_graph")),
        ]
        for name, row in memory.items()
    ]
    head = ["peak of a run, MiB", "arrays", "Keras", "trainlib", "trainlib in a graph"]
    parts = [_table(head, beside)]
    if recomputed := [
        [name, execution, *(_number(row[way]["peak_mib"]) for way in ways)]
        for name, row in memory.items()
        for execution in ("graph", "xla")
        if (ways := (f"ours_{execution}", f"checkpointing_{execution}"))[1] in row
    ]:
        head = ["peak of a run, MiB", "execution", "all kept", "gradient checkpointing"]
        parts.append(_table(head, recomputed))
    return "\n\n".join(parts)


def _limits(limits: Mapping[str, Any]) -> str:
    """Return the parts of a step by workload, and below them those of an epoch."""
    parts = ["ms", "one_thread_ms", "with_loss_ms", "by_hand_ms", "products_ms", "traffic_ms"]
    rows = []
    for name, row in limits.items():
        alone = row["products_ms"] + row["traffic_ms"]
        shares = (f"{alone / row[of]:.0%}" for of in ("by_hand_ms", "ms"))
        rows.append([name, *(_number(row[part]) for part in parts), *shares])
    head = ["step, ms", "trainlib", "with one thread", "by hand with the loss", "by hand"]
    head += ["products alone", "traffic alone"]
    tables = [_table([*head, "both / by hand", "both / trainlib"], rows)]
    epochs = [
        [name, *(_number(ms) for ms in _parts_of_epoch(row))]
        for name, row in limits.items()
        if "long_call_ms" in row
    ]
    if epochs:
        head = ["step of an epoch, ms", "trainlib", "in one long call", "validation", "the rest"]
        tables.append(_table(head, epochs))
    return "\n\n".join(tables)


def _parts_of_epoch(row: Mapping[str, float]) -> list[float]:
    parts = [row["long_call_ms"], row["validation_ms"]]
    return [row["ms"], *parts, row["ms"] - sum(parts)]


def _titles(rows: Mapping[str, Any]) -> list[str]:
    """Return the titles of the families that were measured."""
    row = next(iter(rows.values()))
    return [title for family, title in TITLES.items() if f"ratio_{family}" in row]


def _ratios(row: Mapping[str, Any]) -> list[str]:
    ratios = (row[f"ratio_{family}"] for family in FAMILIES if f"ratio_{family}" in row)
    return ["" if ratio is None else f"{_number(ratio)}x" for ratio in ratios]


def _shuffling(row: Mapping[str, Any]) -> str:
    """Return trainlib's rate where it draws the order of the examples itself."""
    return _number(row["contenders"].get(SHUFFLING, {}).get("steps_per_second"))


def _number(x: float | None) -> str:
    """Return a number with about three significant digits; "" for None."""
    if x is None:
        return ""
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
