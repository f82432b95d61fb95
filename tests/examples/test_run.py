"""The examples run, in small; their table is that of the results, and misses nothing."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
from helpers.processes import run_python

import trainlib as tl

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("examples_run", ROOT / "examples" / "run.py")
runner = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(runner)
EXAMPLES = runner.examples()
ORDINARY = ("housing", "clipping", "parabola", "perceptron")
"""Those that take few seconds; the others are soaked."""


def chosen(suffix):
    """The examples of a kind, of which most are for soak."""
    return [
        pytest.param(name, marks=() if name in ORDINARY else pytest.mark.soak)
        for name, example in EXAMPLES.items()
        if example.path.suffix == suffix
    ]


@pytest.mark.parametrize("name", chosen(".txt"))
def test_a_flag_file_runs_and_has_its_figures(name, data_dir, tmp_path):
    example = EXAMPLES[name]
    command, *arguments = shlex.split(example.command)
    more = (f"--data_dir={data_dir}", "--execution=graph", *shlex.split(example.quick))
    more = (
        *more,
        f"--run_dir={tmp_path}/run",
        "--report=false",
        f"--code_path={example.path.parent}",
    )
    if command == "compare":
        more = tuple(flag for flag in more if "report" not in flag)
    arguments = ["-m", f"trainlib.cli.{command}", *arguments, f"--flagfile={example.path}", *more]
    done = run_python(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    names = [figure.name for figure in example.figures]
    assert set(runner.figures_of_run(tmp_path / "run", names)) == set(names)


@pytest.mark.parametrize("name", chosen(".py"))
def test_a_script_runs_and_returns_its_figures(name, request):
    example = EXAMPLES[name]
    if "load_dataset" in example.path.read_text():
        request.getfixturevalue("data_dir")
    spec = importlib.util.spec_from_file_location(name, example.path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.main(seed=0, **eval(f"dict({example.quick})"))
    assert {figure.name for figure in example.figures} <= set(found)
    assert all(isinstance(value, float) for value in found.values())


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_short_and_its_flags_are_valid(name):
    text = EXAMPLES[name].path.read_text()
    assert text.count("\n") <= 66
    if EXAMPLES[name].path.suffix == ".txt":
        tl.ExperimentConfig.from_flags(text)


def test_the_table_of_readme_is_that_of_the_results_and_has_no_miss():
    table = runner.table(runner.results())
    assert table in (ROOT / "README.md").read_text(encoding="utf-8")
    assert not re.search("missed", table)


def test_a_table_replaces_the_one_in_a_page():
    page = "# A\n\n| example | b |\n| --- | --- |\n| 1 | 2 |\n\nEnd\n"
    assert runner.with_table(page, "| new |\n") == "# A\n\n| new |\n\nEnd\n"


def test_a_miss_is_marked():
    figure = runner.Figure("test.accuracy", ">=", 0.9, "")
    assert runner.ours(figure, [0.89, 0.91]) == "0.9 ± 0.014"
    assert runner.ours(figure, [0.89, 0.9]) == "**0.895 ± 0.0071, missed**"
    assert runner.ours(figure._replace(relation="<="), [0.89]) == "0.89"


@pytest.mark.parametrize("text", ["# title: x\n", "# title: x\n# figure: loss < 1\n"])
def test_an_example_without_a_figure_is_refused(text, tmp_path):
    (tmp_path / "x.txt").write_text(text)
    with pytest.raises(ValueError, match="figure"):
        runner.read_example(tmp_path / "x.txt")
