"""`TensorBoardConfig`: the configuration of the events for TensorBoard."""

from __future__ import annotations

from dataclasses import dataclass

from trainlib.experiment.fields import check_settings, setting, short_repr


@dataclass(frozen=True, kw_only=True, repr=False)
class TensorBoardConfig:
    """Configuration of the events for TensorBoard.

    Args:
        dir: folder for the events of many runs; each run writes into a subfolder with its name.
            Default: None, the run's folder.
        steps: batches between two points of the curves, at least 1, in addition to the points of
            epochs. Default: None, no additional points.
        histogram_epochs: epochs between two sets of histograms, at least 0; 0 writes none. Default:
            1.
        layer_statistics: whether to write statistics of each layer's activations and gradients.
            Default: False.

    Raises:
        ValueError, TypeError: a setting has another type or is out of its range.

    Example:
        >>> tl.TensorBoardConfig(steps=100)
        TensorBoardConfig(steps=100)
    """

    dir: str | None = setting(
        "path",
        None,
        "Folder for the events of many runs; each run writes into a subfolder with its name; "
        "default: the run's folder.",
        flag="tensorboard_dir",
    )
    steps: int | None = setting(
        "int",
        None,
        "Batches between two points of the curves; these are in addition to the points of epochs. "
        "Default: no additional points.",
        flag="tensorboard_steps",
        at_least=1,
    )
    histogram_epochs: int = setting(
        "int", 1, "Epochs between two sets of histograms; 0: none.", at_least=0
    )
    layer_statistics: bool = setting(
        "bool",
        False,
        "With the histograms, write statistics of each layer; mean and standard deviation of "
        "activations and gradients, saturated and dead units.",
    )

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_settings(self)
