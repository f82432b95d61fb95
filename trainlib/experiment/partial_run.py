"""A part of an experiment, in a process of its own: `python -m trainlib.experiment.partial_run`.

It reads one JSON object from its standard input: config, folder, stop_after and resume.
"""

from __future__ import annotations

import json
import sys

from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.run import run_experiment
from trainlib.training.callback import Callback, Requests, Save, Stop, TrainingStatus

FINISHED, STOPPED, FAILED = 0, 75, 2
"""Exit statuses."""


class StopAfter(Callback):
    """Callback that stops training with a checkpoint, to be resumed.

    Args:
        batches: batches of the whole run after which it stops.
    """

    def __init__(self, batches: int) -> None:
        self.every = self.batches = batches

    def on_train_batch_end(self, status: TrainingStatus) -> Requests:
        """Request the checkpoint and the stop."""
        if status.global_batch < self.batches:
            return None
        return [Save(), Stop(f"{self.batches} batches", resumable=True)]

    on_test_batch_end = on_epoch_end = on_train_batch_end


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
