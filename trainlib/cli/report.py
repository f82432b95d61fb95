"""`report`: pictures and a page of a run, or of several beside one another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trainlib.cli.lazy_import import defer

defer("tensorflow", "keras")

from trainlib.cli import app, comparison, run_report  # noqa: E402
from trainlib.cli.flag_types import Group, Values  # noqa: E402
from trainlib.cli.flags import define_safe_mode  # noqa: E402
from trainlib.cli.run_report import REPORT_FILE  # noqa: E402
from trainlib.report import plots  # noqa: E402

ABOUT = """
report: writes report.html, which shows a run, or several beside one another, and its pictures.

  report runs/digits-mlp-adam-20260101-120000
  report runs/digits-* --out=comparison
"""
COMPARISON = "report"


def main() -> None:
    """The command."""
    app.run("report", ABOUT, define, report, operand="run's folder")


def define(values: Values) -> None:
    """The flags of `report`."""
    group = Group(values, "Report")
    group.string(
        "out",
        None,
        f"Folder to write to; by default that of the run, and of several runs {COMPARISON}.",
    )
    group.string("data_dir", None, "Folder to look for the data set's files in, if not the run's.")
    define_safe_mode(group)


def report(values: Values, runs: Sequence[str]) -> None:
    """Writes the report and says where it is."""
    try:
        plots.require()
    except ImportError as error:
        raise ValueError(str(error)) from None
    folders = [Path(run) for run in runs]
    if len(folders) == 1:
        folder = Path(values.out or folders[0])
        run = run_report.read(folders[0])
        if values.data_dir is not None and run.values is not None:
            run.values["data_dir"].value = values.data_dir
        model = run_report.load_model(folders[0], run, values.safe_mode)
        folder.mkdir(parents=True, exist_ok=True)
        run_report.write(run, model, folder, folders[0])
    else:
        folder = Path(values.out or COMPARISON)
        runs_by_name = comparison.read(folders)
        folder.mkdir(parents=True, exist_ok=True)
        comparison.write(runs_by_name, folder)
    print(f"report: {folder / REPORT_FILE}")


if __name__ == "__main__":
    main()
