"""Warnings about combinations of hyperparameters that work, but probably not as intended."""

from __future__ import annotations

import warnings


class ModelHint(UserWarning):
    """Warning about hyperparameters of a model that do not work well together.

    Args:
        message: the hyperparameters, and what to write instead.

    Example:
        >>> issubclass(tl.models.ModelHint, UserWarning)
        True
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)


def hint(message: str) -> None:
    """Warn of a combination of hyperparameters.

    Args:
        message: the hyperparameters, and what to write instead.
    """
    warnings.warn(message, ModelHint, stacklevel=2)
