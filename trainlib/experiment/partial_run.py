"""A part of an experiment, in a separate process: `python -m trainlib.experiment.partial_run`.

It reads one JSON object from its standard input: config, folder, stop_after and resume.
"""

from __future__ import annotations

import json
import sys

from trainlib.callbacks import StopAfter
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.run import run_experiment

FINISHED, STOPPED, FAILED = 0, 75, 2
"""Exit statuses."""


def main() -> None:
    """Run the part, and exit with a status that says how it ended."""
    part = json.load(sys.stdin)
    try:
        result = run_experiment(
            ExperimentConfig.from_json(part["config"]),
            part["folder"],
            resume=part["resume"],
            callbacks=[StopAfter(part["stop_after"])],
        )
    except (ValueError, TypeError, OSError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        sys.exit(FAILED)
    sys.exit(FINISHED if result.is_finished else STOPPED)


if __name__ == "__main__":
    main()
