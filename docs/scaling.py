"""Write the page on scaling from the measurements of the benchmark, and draw the figures.

python benchmarks/run.py --parts=replicas --rounds=3 --json=docs/scaling.json
python benchmarks/run.py --parts=scaling --json=docs/scale.json    # the curves of docs/speed.md
python docs/scaling.py    # writes docs/scaling.md, scaling.svg and scale.svg; needs matplotlib
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
WORKERS = (8, 64, 512)
PER_WORKER, GLOBAL = 64, 512
"""Examples per worker (weak scaling), and examples of the global batch (strong scaling)."""
BYTES = 4
"""Bytes per gradient element: float32, in the mixed precisions too."""


class Link(NamedTuple):
    """A network link.

    Attributes:
        name: its name in the tables.
        bandwidth: bytes per second in each direction.
        latency: seconds per message.
    """

    name: str
    bandwidth: float
    latency: float


LINKS = (Link("10 Gbit/s, 50 us", 1.25e9, 50e-6), Link("100 Gbit/s, 5 us", 12.5e9, 5e-6))
LARGE = "25.6 M parameters, 100 ms"
"""A network of the size of ResNet-50, and an assumed time of its step on an accelerator."""
LARGE_PARAMETERS, LARGE_MS = 25_600_000, 100.0
WAYS = {
    "one_device": "one device, no strategy",
    "replicas_1": "1 replica",
    "replicas_2": "2 replicas",
    "replicas_4": "4 replicas",
    "workers_1": "1 worker",
    "workers_2": "2 workers",
    "workers_2_buckets": "2 workers, 4 sums a step",
}


def ring_ms(parameters: int, workers: int, link: Link) -> float:
    """Return 2 (N-1)/N S/B + 2 (N-1) L in milliseconds."""
    size = BYTES * parameters
    moved = 2 * (workers - 1) / workers * size / link.bandwidth
    return 1e3 * (moved + 2 * (workers - 1) * link.latency)


def measured_link(net: Mapping[str, Any]) -> tuple[float, float]:
    """Return latency in ms and bandwidth in GB/s from the all-reduces of two workers.

    With N = 2 the ring takes S/B + 2 L.
    """
    row = net["ways"]["workers_2"]
    whole, one = row["all_reduce_ms"], row["all_reduce_of_one_ms"]
    return one / 2, BYTES * net["parameters"] / (whole - one) / 1e6


class Case(NamedTuple):
    """A network with the milliseconds of its step, by the examples of a worker."""

    name: str
    parameters: int
    step_ms: Callable[[int], float]


def cases(nets: Mapping[str, Any]) -> list[Case]:
    """Return the networks that were measured."""
    return [
        Case(name, net["parameters"], lambda batch, net=net: net["step_ms_by_batch"][str(batch)])
        for name, net in nets.items()
    ]


def large() -> Case:
    """Return the assumed network."""
    return Case(LARGE, LARGE_PARAMETERS, lambda _: LARGE_MS)


def weak(case: Case, workers: int, link: Link) -> float:
    """Return the efficiency at a fixed batch per worker: t(b) / (t(b) + R(N))."""
    alone = case.step_ms(PER_WORKER)
    return alone / (alone + ring_ms(case.parameters, workers, link))


def strong(case: Case, workers: int, link: Link) -> float:
    """Return the speed-up at a fixed global batch: t(G) / (t(G/N) + R(N))."""
    step = case.step_ms(GLOBAL // workers) + ring_ms(case.parameters, workers, link)
    return case.step_ms(GLOBAL) / step


def page(found: Mapping[str, Any]) -> str:
    """Return the page."""
    nets = found["replicas"]
    text = (HERE / "scaling.in.md").read_text(encoding="utf-8")
    tables = {
        "MACHINE": machine(found["machine"]),
        "MEASURED": measured(nets),
        "LINK": links(nets),
        "BATCHES": batches(nets),
        "ALL_REDUCE": all_reduces(nets),
        "WEAK": extrapolated([*cases(nets), large()], weak, "{:.0%}"),
        "STRONG": extrapolated(cases(nets), strong, "{:.2g}"),
    }
    for name, table in tables.items():
        text = text.replace(f"[{name}]", table)
    return text


def machine(of: Mapping[str, Any]) -> str:
    """Return the machine in a phrase."""
    versions = f"TensorFlow {of['versions']['tensorflow']}, Keras {of['versions']['keras']}"
    busy = f"a load of {of['load_before']:.1f} before the run"
    return f"{of['processor']}, {of['cores']} cores, {versions}, with {busy}"


def measured(nets: Mapping[str, Any]) -> str:
    """Return the table of measured steps."""
    head = ["network", "on", "execution", "step, ms", "all-reduce, ms", "fraction"]
    rows = []
    for name, net in nets.items():
        for way, row in net["ways"].items():
            cells = [name, WAYS[way], row["execution"], f"{row['ms']:.2f}"]
            if "all_reduce_ms" in row:
                cells += [f"{row['all_reduce_ms']:.2f}", f"{row['all_reduce_share']:.0%}"]
            rows.append([*cells, "", ""][: len(head)])
    return _table(head, rows)


def links(nets: Mapping[str, Any]) -> str:
    """Return the table of the model and of the measurement for two workers."""
    timed = ["t(16) + R(2), ms", "step of 2 workers, ms", "model / measured"]
    head = ["network", "L, ms", "B, GB/s", *timed]
    rows = []
    for name, net in nets.items():
        latency, bandwidth = measured_link(net)
        row = net["ways"]["workers_2"]
        step = net["step_ms_by_batch"][str(net["batch_size"] // 2)] + row["all_reduce_ms"]
        times = [f"{step:.1f}", f"{row['ms']:.1f}", f"{step / row['ms']:.0%}"]
        rows.append([name, f"{latency:.2f}", f"{bandwidth:.2f}", *times])
    return _table(head, rows)


def batches(nets: Mapping[str, Any]) -> str:
    """Return the table of steps by the number of examples."""
    sizes = list(next(iter(nets.values()))["step_ms_by_batch"])
    rows = [
        [name, *(f"{net['step_ms_by_batch'][size]:.2f}" for size in sizes)]
        for name, net in nets.items()
    ]
    return _table(["t in ms by examples per worker", *sizes], rows)


def all_reduces(nets: Mapping[str, Any]) -> str:
    """Return the table of all-reduces on assumed links."""

    def row(case: Case, link: Link) -> list[str]:
        size = f"{BYTES * case.parameters / 1e6:.1f}"
        return [size, *(f"{ring_ms(case.parameters, n, link):.2f}" for n in WORKERS)]

    head = ["network", "link", "S, MB", *(f"R({n}), ms" for n in WORKERS)]
    every = [*cases(nets), large()]
    return _table(head, [[c.name, link.name, *row(c, link)] for c in every for link in LINKS])


def extrapolated(of: Sequence[Case], value: Callable[[Case, int, Link], float], shown: str) -> str:
    """Return the table of a value for each network, link and number of workers."""
    rows = [
        [case.name, link.name, *(shown.format(value(case, n, link)) for n in WORKERS)]
        for case in of
        for link in LINKS
    ]
    return _table(["network", "link", *(f"{n} workers" for n in WORKERS)], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _figure(width: float) -> Any:
    """Return an empty figure, which is written in the same bytes each time."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update({"svg.hashsalt": "trainlib", "svg.fonttype": "none"})
    return Figure(figsize=(width, 3), layout="constrained")


def draw_curves(scale: Mapping[str, Any], path: Path) -> None:
    """Draw a step by parameters, batch and length, each beside the least that it takes.

    That is the time of its matrix products and of the memory traffic of its update, alone; by
    length, the operations at the highest rate of the curve.
    """
    figure = _figure(10)
    grid = figure.subplots(1, 3)
    of_adam = (("parameters", "step_by_parameters"), ("batch size", "step_by_batch"))
    for axes, (label, key) in zip(grid, of_adam, strict=False):
        rows = scale[key]
        sizes = [row["parameters"] if label == "parameters" else int(n) for n, row in rows.items()]
        both = [row["products_ms"] + row["traffic_ms"] for row in rows.values()]
        traffic = [row["traffic_ms"] for row in rows.values()]
        axes.plot(sizes, [row["ms"] for row in rows.values()], "C0.-", label="step")
        axes.plot(sizes, both, "C0--", label="products and traffic alone")
        axes.plot(sizes, traffic, "C7:", label="traffic alone")
        axes.set(xlabel=label, xscale="log", yscale="log")
    rows = scale["step_by_length"]
    for k, name in enumerate(("lstm", "transformer")):
        sizes, ms = [int(n) for n in rows], [row[f"{name}_ms"] for row in rows.values()]
        work = [row[f"{name}_gflop"] for row in rows.values()]
        rate = max(a / b for a, b in zip(work, ms, strict=True))
        grid[2].plot(sizes, ms, f"C{k}.-", label=name)
        grid[2].plot(
            sizes, [a / rate for a in work], f"C{k}--", label="operations at the best rate"
        )
    grid[2].set(xlabel="length of sequences", xscale="log", yscale="log")
    grid[2].set_xticks([int(n) for n in rows], list(rows), minor=False)
    grid[2].tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
    for axes in grid:
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    grid[0].set_ylabel("milliseconds")
    figure.savefig(path, metadata={"Date": None}, facecolor="white")


def draw(nets: Mapping[str, Any], path: Path) -> None:
    """Draw the efficiency by workers at a fixed batch per worker."""
    figure = _figure(7)
    counts = [2**i for i in range(10)]
    every = [*cases(nets), large()]
    grid = figure.subplots(1, len(LINKS), sharey=True)
    for axes, link in zip(grid, LINKS, strict=True):
        for case in every:
            axes.plot(counts, [weak(case, n, link) for n in counts], label=case.name, marker=".")
        axes.set(title=link.name, xscale="log", xlabel="workers", ylim=(0, 1.05))
        axes.set_xticks([1, 8, 64, 512], ["1", "8", "64", "512"], minor=False)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    grid[0].set_ylabel("efficiency")
    grid[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Date": None}, facecolor="white")


def main() -> None:
    """Write the page and the figures."""
    found = json.loads((HERE / "scaling.json").read_text(encoding="utf-8"))
    (HERE / "scaling.md").write_text(page(found), encoding="utf-8")
    draw(found["replicas"], HERE / "scaling.svg")
    if (HERE / "scale.json").exists():
        scale = json.loads((HERE / "scale.json").read_text(encoding="utf-8"))
        draw_curves(scale["scaling"], HERE / "scale.svg")


if __name__ == "__main__":
    main()
