"""The commands by name, in the order in which help texts list them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Command(NamedTuple):
    """A command of trainlib; its module in `trainlib.cli` has its name, and a function `main`.

    Attributes:
        name: as it is written after `trainlib`.
        summary: what it does, in one line.
        is_script: whether it is installed under its own name too. Default: True.
    """

    name: str
    summary: str
    is_script: bool = True

    @property
    def module(self) -> str:
        """Full name of its module."""
        return f"trainlib.cli.{self.name}"


MAIN_COMMAND = "trainlib"
"""The command whose first argument names one of the others."""
_ALL = (
    Command("train", "Train a model on a data set, and write a run folder."),
    Command("evaluate", "Print the loss and the metrics of a run's model."),
    Command("predict", "Write the predictions of a run's model as CSV."),
    Command("export_model", "Write a run's model as SavedModel, TFLite, ONNX or parameters."),
    Command("lr_find", "Find a learning rate by a range test."),
    Command("tune", "Search for the settings with the best validation result."),
    Command("compare", "Train several configurations with several seeds, and rank them."),
    Command("report", "Write a page about a run, or to compare several."),
    Command("verify", "Compare functions with Keras, PyTorch, Optax and the equations."),
    Command("launch_local", "Start several workers of one run on this machine."),
    Command("list", "Show the optimizers, schedules, losses, ... by name.", is_script=False),
    Command("completion", "Print the completion for bash, zsh or fish.", is_script=False),
)
COMMANDS: Mapping[str, Command] = {command.name: command for command in _ALL}
"""All commands, by name."""
