"""Settings that are regular expressions for the paths of parameters."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from trainlib.core.tree import PatternError, compiled

PATTERNS = ("regularized_params", "constrained_params")
"""Settings that are regular expressions for paths."""


@contextlib.contextmanager
def naming_patterns(config: Any) -> Iterator[None]:
    """Add the name of the setting to errors about a regular expression for paths.

    Args:
        config: an `ExperimentConfig`.

    Raises:
        ValueError: a regular expression is not valid, or matches no path.
    """
    try:
        yield
    except PatternError as error:
        of = [name for name in PATTERNS if getattr(config, name) == error.pattern]
        raise ValueError(f"{of[0]}: {error}" if of else str(error)) from error


def check_patterns(config: Any) -> None:
    """Raise `ValueError` for a regular expression that is not valid."""
    with naming_patterns(config):
        for name in PATTERNS:
            compiled(getattr(config, name) or "")
