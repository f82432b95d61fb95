"""Times of a step on several replicas of one processor and of two processes, and of all-reduce."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from race import PAUSE, log_progress
from worker import Worker
from workloads import CHECK_STEPS, read_weights, workload

from trainlib.cli.launch_local import free_ports, tf_configs

WORKLOADS = ("mlp_adam", "cnn")
WAYS: dict[str, dict[str, int]] = {
    "one_device": {},
    "replicas_1": {"replicas": 1},
    "replicas_2": {"replicas": 2},
    "replicas_4": {"replicas": 4},
    "workers_1": {"workers": 1},
    "workers_2": {"workers": 2},
    "workers_2_buckets": {"workers": 2, "buckets": 4},
}
"""All take the same batches; all but the first use a distribution strategy. With buckets, the
gradients of the last layers are summed while those of the first ones are computed."""
QUICK_WAYS = ("one_device", "replicas_2", "workers_2", "workers_2_buckets")
BATCHES = (1, 8, 16, 64, 512)
"""Batch sizes, as one of many workers may have them."""
SHARE = 0.25
"""Length of a run as a fraction of that of other parts, because there are many runs."""
QUICK_BATCHES = (1, 16)


def measure_replicas(folder: Path, quick: bool, seconds: float, rounds: int) -> dict[str, Any]:
    """Return milliseconds per step and per all-reduce, and per step by batch size, by workload."""
    found = {}
    for name in WORKLOADS[:1] if quick else WORKLOADS:
        log_progress(f"replicas: {name}")
        arguments = {"folder": str(folder), "name": name, "quick": True}  # few examples suffice
        with Worker("workloads:WorkloadWriter", folder / "writer.log", **arguments) as writer:
            writer.call("write", epochs=0)
        with contextlib.ExitStack() as exits:
            groups = _start(QUICK_WAYS if quick else list(WAYS), folder, exits, arguments)
            batches = QUICK_BATCHES if quick else BATCHES
            found[name] = _measure(groups, workload(name).batch_size, batches, seconds, rounds)
    return found


def _start(
    ways: Sequence[str], folder: Path, exits: contextlib.ExitStack, arguments: dict[str, Any]
) -> dict[str, WorkerGroup]:
    """Start all processes at once: nothing is timed yet."""

    def start(way: str) -> WorkerGroup:
        return exits.enter_context(WorkerGroup(folder / f"{way}.log", **arguments, **WAYS[way]))

    with ThreadPoolExecutor() as pool:
        return dict(zip(ways, pool.map(start, ways), strict=True))


def _measure(
    groups: Mapping[str, WorkerGroup],
    size: int,
    batches: Sequence[int],
    seconds: float,
    rounds: int,
) -> dict[str, Any]:
    one = groups.get("workers_1", groups["one_device"])
    runs = {way: _runs(group, size, way != "one_device") for way, group in groups.items()}
    by_batch = {str(batch): Run(one, "train", batch_size=batch) for batch in batches}
    several = [run for of_way in (*runs.values(), by_batch) for run in of_way.values()]
    for run in several:
        run.find_count(SHARE * seconds)
    for _ in range(rounds):
        for run in several:
            run()
    about = {way: group.call("about") for way, group in groups.items()}
    return {
        "parameters": about["one_device"]["parameters"],
        "batch_size": size,
        "ways": {way: _row(about[way]["execution"], runs[way]) for way in groups},
        "step_ms_by_batch": {batch: run.median() for batch, run in by_batch.items()},
    }


def _runs(group: WorkerGroup, size: int, adds: bool) -> dict[str, Run]:
    runs = {"ms": Run(group, "train", batch_size=size)}
    if adds:
        runs["all_reduce_ms"] = Run(group, "add", whole=True)
        runs["all_reduce_of_one_ms"] = Run(group, "add", whole=False)
    return runs


def _row(execution: str, runs: Mapping[str, Run]) -> dict[str, Any]:
    """Return the figures; the share of the all-reduce is the median of its share in a round."""
    row: dict[str, Any] = {"execution": execution}
    for key, run in runs.items():
        row |= {key: run.median(), f"{key}_by_round": run.times}
    if "all_reduce_ms" in runs:
        pairs = zip(runs["all_reduce_ms"].times, runs["ms"].times, strict=True)
        row["all_reduce_share"] = statistics.median(a / b for a, b in pairs)
    return row


class Run:
    """A method of a group that takes a count and returns seconds and the number of steps."""

    def __init__(self, group: WorkerGroup, method: str, **arguments: Any) -> None:
        self._call: Callable[..., Any] = group.call
        self._method, self._arguments = method, arguments
        self._count = 1
        self.times: list[float] = []

    def find_count(self, seconds: float) -> None:
        """Find the count that takes about `seconds`, after a first call that compiles."""
        self._time()
        while (taken := self._time()[0]) < seconds / 2:
            self._count = max(2 * self._count, int(self._count * seconds / max(taken, 1e-6)))

    def __call__(self) -> None:
        """Measure once more, in milliseconds per step."""
        time.sleep(PAUSE)
        taken, steps = self._time()
        self.times.append(1e3 * taken / steps)

    def median(self) -> float:
        return statistics.median(self.times)

    def _time(self) -> tuple[float, int]:
        seconds, steps = self._call(self._method, count=self._count, **self._arguments)
        return seconds, steps


class WorkerGroup:
    """A process, or one for each of several workers; they execute each call at the same time."""

    def __init__(self, log: Path, workers: int = 0, **arguments: Any) -> None:
        configs = tf_configs(free_ports(workers)) or [""]

        def start(index: int) -> Worker:
            own = log.with_suffix(f".{index}.log")
            more = {"config": configs[index]}
            return self._exits.enter_context(Worker("replicas:Training", own, **arguments, **more))

        self._exits = contextlib.ExitStack()
        self._pool = self._exits.enter_context(ThreadPoolExecutor(len(configs)))
        try:
            self._members = list(self._pool.map(start, range(len(configs))))
        except BaseException:
            self._exits.close()
            raise

    def call(self, method: str, **arguments: Any) -> Any:
        """Return the result of the first member, once all have returned."""
        return list(self._pool.map(lambda w: w.call(method, **arguments), self._members))[0]

    def __enter__(self) -> WorkerGroup:
        return self

    def __exit__(self, *error: object) -> None:
        self._exits.close()


def sum_in_buckets(count: int) -> None:
    """Let trainers sum gradients in parts of about equal size, those of the last layers first."""
    import tensorflow as tf

    from trainlib.training.collectives import all_reduce
    from trainlib.training.replicas import Replicas

    def all_reduce_buckets(tree: Any) -> Any:
        leaves = tf.nest.flatten(tree)
        sums = list(leaves)
        sizes = [0 if x is None else x.shape.num_elements() or 0 for x in leaves]
        for bucket in divide_into_buckets(sizes, count):
            for i, x in zip(bucket, all_reduce([leaves[i] for i in bucket]), strict=True):
                sums[i] = x
        return tf.nest.pack_sequence_as(tree, sums)

    Replicas.all_reduce = staticmethod(all_reduce_buckets)  # type: ignore[assignment]


def divide_into_buckets(sizes: Sequence[int], count: int) -> list[list[int]]:
    """Return the indices of sizes in at most `count` groups of about equal size, the last first."""
    found: list[list[int]] = [[]]
    limit, filled = sum(sizes) / count, 0
    for i in reversed(range(len(sizes))):
        if found[-1] and filled + sizes[i] / 2 > limit * len(found) and len(found) < count:
            found.append([])
        found[-1].append(i)
        filled += sizes[i]
    return found


class Training:
    """A trainer in a separate process, in which the strategy is made first.

    The compiled loop of `fit` is called here with all steps at once. `fit` would divide them by the
    time that has passed, on which workers would have to agree.

    Args:
        folder: folder of the workload's arrays, as `WorkloadWriter` writes them.
        name: name of the workload.
        quick: whether the run is short.
        replicas: number of replicas of a mirrored strategy; None for another strategy.
        config: TF_CONFIG of a worker; "" for none.
        buckets: number of sums for the gradients of a step; 0 for one, as trainers make it.
    """

    def __init__(
        self,
        folder: str,
        name: str,
        quick: bool,
        replicas: int | None = None,
        config: str = "",
        buckets: int = 0,
    ) -> None:
        if config:
            os.environ["TF_CONFIG"] = config
        import numpy as np
        import tensorflow as tf

        from trainlib.training.strategies import get_strategy

        kind = "mirrored" if replicas else "multi_worker" if config else "one_device"
        self.strategy = get_strategy(kind, replicas)
        if buckets:
            sum_in_buckets(buckets)
        from contenders.ours import make_trainer

        weights, of = read_weights(Path(folder)), workload(name, quick)
        self.trainer = make_trainer(of, weights, strategy=kind, replicas=replicas)
        self.shapes = [w.shape for w in weights]
        files = (Path(folder) / f"{name}.npy" for name in "xy")
        self.examples = tuple(tf.constant(np.load(file)) for file in files)
        self.adding: dict[bool, Any] = {}

    def about(self) -> dict[str, Any]:
        """Return the execution that "auto" chose, and the number of parameters."""
        import numpy as np

        parameters = int(sum(np.prod(shape) for shape in self.shapes))
        return {"execution": self.trainer.execution, "parameters": parameters}

    def train(self, count: int, batch_size: int) -> tuple[float, int]:
        """Return seconds and steps of `count` passes over at most CHECK_STEPS batches."""
        import tensorflow as tf

        from trainlib.training.chunks import specs_of

        programs, way = self.trainer.context.programs, self.trainer.execution
        specs = specs_of(self.examples)
        program, records = (
            programs.train(way, batch_size, specs),
            programs.empty_metric_states(way, specs),
        )
        steps = min(int(self.examples[0].shape[0]) // batch_size, CHECK_STEPS)
        start, stop = (tf.constant(i * batch_size, tf.int64) for i in (0, steps))
        began = time.perf_counter()
        for _ in range(count):
            done = program(self.examples, start, stop, tf.constant(False), records)
            done["loss"].total.numpy()
        return time.perf_counter() - began, count * steps

    def add(self, count: int, whole: bool) -> tuple[float, int]:
        """Return the seconds of `count` all-reduces of gradients or of one number, and `count`."""
        import tensorflow as tf

        if whole not in self.adding:
            self.adding[whole] = self._loop_of_sums(self.shapes if whole else [()])
        began = time.perf_counter()
        self.adding[whole](tf.constant(count), tf.constant(0.0)).numpy()
        return time.perf_counter() - began, count

    def _loop_of_sums(self, shapes: Sequence[tuple[int, ...]]) -> Any:
        """Return a function `(count, start)` that sums tensors over the replicas `count` times."""
        import tensorflow as tf

        from trainlib.training.collectives import all_reduce

        @tf.function(autograph=False)
        def loop(count: Any, start: Any) -> Any:
            def body(i: Any, tree: Any) -> Any:
                return i + 1, self.strategy.run(all_reduce, (tree,))

            begun = self.strategy.run(lambda: [tf.fill(shape, start) for shape in shapes])
            tree = tf.while_loop(lambda i, _: i < count, body, (0, begun))[1]
            ends = self.strategy.run(lambda tree: tf.reduce_max(tree[-1]), (tree,))
            return self.strategy.experimental_local_results(ends)[0]

        return loop
