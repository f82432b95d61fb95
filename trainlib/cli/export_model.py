"""`export_model`: write a run's model for other programs."""

from __future__ import annotations

from trainlib.cli.lazy_import import capture_stderr, defer

defer("tensorflow", "keras")

from trainlib.cli import app, output  # noqa: E402
from trainlib.cli.flag_types import Group, Values  # noqa: E402
from trainlib.cli.flags import define_run  # noqa: E402
from trainlib.experiment.export import (  # noqa: E402
    FORMATS,
    ExportData,
    check_target,
    export_run,
)
from trainlib.training.paths import shown  # noqa: E402

ABOUT = """
export_model: write the model of a run so that programs without trainlib can serve it. The exported
model takes raw pixels, numbers, or the cells of a table by column name, and holds the names of the
classes. It is written under a temporary name, loaded again, and gets its name if it predicts some
examples as the model of the run does.

  export_model --run_dir=runs/digits-mlp-adam-20260101-120000 --out=digits/1
  export_model --run_dir=runs/digits-mlp-adam-20260101-120000 --format=tflite --out=digits.tflite

The formats safetensors and npz hold the parameters alone, which train --parameters=FILE reads.
"""


def main() -> None:
    """Run the command `export_model`."""
    app.run(app.CommandLine("export_model", ABOUT, define, export_model))


def define(values: Values) -> None:
    """Define the flags of `export_model`."""
    define_run(values, "Export")
    group = Group(values, "Export")
    group.choice(
        "format",
        "saved_model",
        FORMATS,
        "Format of the export. saved_model: a folder for TensorFlow Serving; tflite: a file for "
        "LiteRT on small devices; onnx: a file for ONNX Runtime; safetensors, npz: the parameters "
        "alone.",
    )
    group.path("out", None, "File or folder to write, which must not exist.")
    group.path(
        "data",
        None,
        "Examples, as predict takes them; export and model are compared on the first 64; "
        "default: the test examples of the run's data set, or the rows of its table.",
    )


def export_model(values: Values) -> None:
    """Export the saved model, and print what was written."""
    run_dir, out = app.required_path(values, "run_dir"), app.required_path(values, "out")
    check_target(out, values.format)
    notes: list[str] = []
    with capture_stderr():  # converters log their progress
        found = export_run(
            run_dir,
            out,
            values.format,
            examples=ExportData(values.data, values.data_dir),
            code_path=values.code_path,
            safe_mode=values.safe_mode,
            log=notes.append,
        )
    for line in notes:
        app.note("export_model")(line)
    what = f"{shown(found.path)}: {found.size:,} bytes"
    if found.examples:
        what += (
            f"; {found.examples} examples are predicted as by the run's model, to "
            f"{found.difference:.1g}"
        )
    output.print_result(what)


if __name__ == "__main__":
    main()
