"""Run the examples in full, and compare their figures with those that they must reach.

    python examples/run.py                       # all, one after another
    python examples/run.py schedule_power clipping
    python examples/run.py --table               # the table of the results so far
    python examples/run.py --readme              # writes it into README.md

An example is a flag file (.txt) or a script (.py) in this folder. Comments at its beginning are

    # title: what it shows
    # command: the command that takes the flag file; default: train
    # seeds: its seeds; default: 0
    # figure: NAME >= BOUND (documents: FIGURE)
    # quick: flags, or arguments of `main`, with which it takes a second

A figure of a flag file is test.NAME, train.NAME or another path in the run's summary.json, or
history.NAME, of the last epoch. A script has a function `main(seed)` that returns its figures by
name. The mean over the seeds must reach the bound. "documents" is what the teaching material
prints for the same experiment: the notebooks of "Hands-On Machine Learning with Scikit-Learn, Keras
and TensorFlow" (Géron, second edition, chapters 10 and 11), or a published course.

Seconds are processor time of one run, with the start of the process. Results are kept in
examples/results.json, from which the table of README.md is made.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER / "results.json"
README = FOLDER.parent / "README.md"
SCRIPT = "import json, runpy, sys; print(json.dumps(runpy.run_path(sys.argv[1])['main'](seed={})))"


class Figure(NamedTuple):
    """A figure of an example, and the bound that its mean over the seeds must reach."""

    name: str
    relation: str
    bound: float
    documents: str

    def is_reached(self, values: Sequence[float]) -> bool:
        """Return whether the mean of values reaches the bound."""
        mean = statistics.fmean(values)
        return mean >= self.bound if self.relation == ">=" else mean <= self.bound


class Example(NamedTuple):
    """An example as its comments describe it."""

    path: Path
    title: str
    command: str
    seeds: tuple[int, ...]
    figures: tuple[Figure, ...]
    quick: str

    @property
    def name(self) -> str:
        """Name of its file without the suffix."""
        return self.path.stem


def read_example(path: Path) -> Example:
    """Return the example in a file.

    Raises:
        ValueError: a comment is missing or has another form.
    """
    head = re.match(r"(#.*\n)+", path.read_text(encoding="utf-8"))
    lines = re.findall(r"# (\w+): (.*)", head[0] if head else "")
    found: dict[str, str] = {key: text for key, text in lines if key != "figure"}
    figures = []
    for text in (text for key, text in lines if key == "figure"):
        parts = re.fullmatch(r"(\S+) (>=|<=) (\S+)(?: \(documents: (.*)\))?", text)
        if not parts:
            raise ValueError(f"{path.name}: a figure is NAME >= BOUND (documents: ...): {text!r}")
        figures.append(Figure(parts[1], parts[2], float(parts[3]), parts[4] or ""))
    if "title" not in found or not figures:
        raise ValueError(f"{path.name} needs comments '# title: ...' and '# figure: ...'")
    seeds = tuple(map(int, found.get("seeds", "0").split()))
    command = found.get("command", "train")
    return Example(path, found["title"], command, seeds, tuple(figures), found.get("quick", ""))


def examples() -> dict[str, Example]:
    """Return all examples by name."""
    paths = [p for p in sorted(FOLDER.iterdir()) if p.suffix in (".txt", ".py")]
    return {p.stem: read_example(p) for p in paths if p.read_text().startswith("# title:")}


def figures_of_run(folder: Path, names: Sequence[str]) -> dict[str, float]:
    """Return figures of a run folder by name."""
    content: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    history = folder / "metrics.jsonl"
    if history.is_file():
        content["history"] = json.loads(history.read_text().splitlines()[-1])
    found = {}
    for name in names:
        value: Any = content
        for part in name.split("."):
            value = value[part]
        found[name] = float(value)
    return found


def run(example: Example, seed: int) -> dict[str, float]:
    """Run an example in full, and return its figures by name.

    Raises:
        SystemExit: it failed.
    """
    names = [figure.name for figure in example.figures]
    with tempfile.TemporaryDirectory() as folder:
        if example.path.suffix == ".py":
            command = [sys.executable, "-c", SCRIPT.format(seed), str(example.path)]
        else:
            flags = [f"--flagfile={example.path}", f"--seed={seed}", f"--run_dir={folder}/run"]
            command = [*shlex.split(example.command), *flags]
        done = subprocess.run(command, cwd=FOLDER, text=True, capture_output=True)
        if done.returncode:
            raise SystemExit(f"{example.name}: {done.stdout[-500:]}{done.stderr[-2000:]}")
        if example.path.suffix == ".py":
            found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
            return {name: found[name] for name in names}
        return figures_of_run(Path(folder) / "run", names)


def results() -> dict[str, Any]:
    """Return the results so far by the names of the examples."""
    return dict(json.loads(RESULTS.read_text())) if RESULTS.is_file() else {}


def table(found: dict[str, Any]) -> str:
    """Return the results as a table in Markdown."""
    lines = ["| example | figure | documents | must reach | trainlib | seeds | seconds |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    for name, example in examples().items():
        result = found.get(name)
        for k, figure in enumerate(example.figures):
            values = result["figures"].get(figure.name) if result else None
            first = f"{example.title} (`{name}`)" if k == 0 else ""
            cells = [first, figure.name, figure.documents, f"{figure.relation} {figure.bound:g}"]
            if values is None:
                cells += ["not run", "", ""]
            else:
                seeds = ", ".join(map(str, result["seeds"]))
                cells += [
                    ours(figure, values),
                    *((seeds, f"{result['seconds']:.0f}") if k == 0 else ("", "")),
                ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def with_table(page: str, new: str) -> str:
    """Return a page with a new table in the place of the one in it.

    Raises:
        SystemExit: there is none.
    """
    found = re.search(r"^\| example \|.*\n(\|.*\n)+", page, re.MULTILINE)
    if not found:
        raise SystemExit(f"{README} has no table that begins with | example |")
    return page[: found.start()] + new + page[found.end() :]


def ours(figure: Figure, values: Sequence[float]) -> str:
    """Return the mean of values with their standard deviation, and whether it misses the bound."""
    text = f"{statistics.fmean(values):.4g}"
    if len(values) > 1:
        text += f" ± {statistics.stdev(values):.2g}"
    return text if figure.is_reached(values) else f"**{text}, missed**"


def processor_time() -> float:
    """Return the seconds of processor time that finished examples have taken."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Run the examples that are named, or all, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="examples to run; default: all")
    parser.add_argument(
        "--table", action="store_true", help="print the table of the results so far"
    )
    parser.add_argument("--readme", action="store_true", help="write it into README.md")
    options = parser.parse_args()
    known, found = examples(), results()
    if options.table:
        print(table(found), end="")
        return
    if options.readme:
        page = README.read_text(encoding="utf-8")
        README.write_text(with_table(page, table(found)), encoding="utf-8")
        return
    unknown = [name for name in options.names if name not in known]
    if unknown:
        raise SystemExit(f"no example {unknown[0]!r}: choose from {', '.join(known)}")
    chosen = [known[name] for name in options.names or known]
    for example in chosen:
        start = processor_time()
        runs = [run(example, seed) for seed in example.seeds]
        seconds = (processor_time() - start) / len(example.seeds)
        figures = {f.name: [one[f.name] for one in runs] for f in example.figures}
        found = results()  # others may have been run at the same time
        found[example.name] = {
            "figures": figures,
            "seeds": example.seeds,
            "seconds": round(seconds, 1),
        }
        RESULTS.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
        texts = [f"{f.name} {ours(f, figures[f.name])}" for f in example.figures]
        print(f"{example.name}: {', '.join(texts)}; {seconds:.0f} s", flush=True)
    print()
    print(table(found), end="")
    missed = [
        f"{example.name}: {figure.name}"
        for example in chosen
        for figure in example.figures
        if not figure.is_reached(found[example.name]["figures"][figure.name])
    ]
    if missed:
        raise SystemExit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
