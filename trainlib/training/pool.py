"""`TrainerPool`: compiled programs that are shared by runs that differ in numbers only."""

from __future__ import annotations


class TrainerPool:
    """Keeps compiled programs, for trials that differ in numbers only.

    Example:
        >>> pool = tl.TrainerPool()
    """
