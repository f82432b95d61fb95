"""`report`: write a page with figures about a run, or to compare several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trainlib.cli.lazy_import import defer

defer("tensorflow", "keras")

from trainlib.cli import app, output  # noqa: E402
from trainlib.cli.flag_types import Group, Values  # noqa: E402
from trainlib.cli.flags import define_code  # noqa: E402
from trainlib.experiment.reporting import write_comparison, write_report  # noqa: E402
from trainlib.report.figures import require_matplotlib  # noqa: E402
from trainlib.report.run_page import REPORT_FILE  # noqa: E402
from trainlib.training.paths import expanded, shown  # noqa: E402

ABOUT = """
report: write report.html, which shows a run or compares several, and its figures.

  report runs/digits-mlp-adam-20260101-120000
  report runs/digits-* --out=comparison
"""
COMPARISON_FOLDER = "report"


def main() -> None:
    """Run the command `report`."""
    app.run(app.CommandLine("report", ABOUT, define, report, operand="run's folder"))


def define(values: Values) -> None:
    """Define the flags of `report`."""
    group = Group(values, "Report")
    group.path(
        "out",
        None,
        f"Folder to write to; default: that of the run, or {COMPARISON_FOLDER} for several runs.",
    )
    group.path(
        "data_dir",
        None,
        "Folder that is searched first for the data set's files; default: that of the run.",
    )
    define_code(group)


def report(values: Values, runs: Sequence[str]) -> None:
    """Write the report and print its path."""
    try:
        require_matplotlib()
    except ImportError as error:
        raise ValueError(str(error)) from None
    folders = [expanded(run) for run in runs]
    if len(folders) == 1:
        folder = Path(values.out or folders[0])
        write_report(folders[0], folder, values.data_dir, values.safe_mode, values.code_path)
    else:
        folder = Path(values.out or COMPARISON_FOLDER)
        write_comparison(folders, folder)
    output.print_result(f"report: {shown(folder / REPORT_FILE)}")


if __name__ == "__main__":
    main()
