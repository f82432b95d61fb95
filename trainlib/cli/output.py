"""What commands print: results on stdout, everything else on stderr, and all of it in --log_file.

Messages pass through one logger of the standard library. Its levels: `DETAIL`, shown by --verbose;
`PROGRESS`, hidden by --quiet; `RESULT`, printed on stdout; warnings and errors, always shown.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator

LOG_FILE_ONLY, DETAIL, PROGRESS, RESULT = 5, logging.DEBUG, logging.INFO, logging.INFO + 5
LOGGER = logging.getLogger("trainlib.cli")


class _Printer(logging.Handler):
    """Prints results on stdout and other messages, from its level on, on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        stream = sys.stdout if record.levelno == RESULT else sys.stderr
        print(record.getMessage(), file=stream, flush=True)


_PRINTER = _Printer(PROGRESS)
LOGGER.addHandler(_PRINTER)
LOGGER.setLevel(LOG_FILE_ONLY)
LOGGER.propagate = False


@contextlib.contextmanager
def output_options(quiet: bool, verbose: bool, log_file: str | None) -> Iterator[None]:
    """Apply the flags --quiet, --verbose and --log_file.

    Raises:
        ValueError: both --quiet and --verbose are given.
        OSError: the file cannot be written.
    """
    if quiet and verbose:
        raise ValueError("--quiet and --verbose exclude each other")
    _PRINTER.setLevel(RESULT if quiet else DETAIL if verbose else PROGRESS)
    file = None if log_file is None else logging.FileHandler(log_file, encoding="utf-8")
    if file is not None:
        file.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        LOGGER.addHandler(file)
    try:
        yield
    finally:
        _PRINTER.setLevel(PROGRESS)
        if file is not None:
            LOGGER.removeHandler(file)
            file.close()


@contextlib.contextmanager
def warnings_only() -> Iterator[None]:
    """Print nothing but warnings and errors."""
    level = _PRINTER.level
    _PRINTER.setLevel(logging.WARNING)
    try:
        yield
    finally:
        _PRINTER.setLevel(level)


def detail(line: str) -> None:
    """Log a line that --verbose shows."""
    _log(DETAIL, line)


def log(line: str) -> None:
    """Log a line on the progress of a command: on stderr, unless --quiet is given."""
    _log(PROGRESS, line)


def log_to_file(line: str) -> None:
    """Log a line in --log_file only, since the terminal shows it in another form."""
    _log(LOG_FILE_ONLY, line)


def print_result(line: str) -> None:
    """Print a result on stdout."""
    _log(RESULT, line)


def warn(line: str) -> None:
    """Print a line on stderr that --quiet does not hide."""
    _log(logging.WARNING, line)


def has_progress_bar() -> bool:
    """Return whether progress is shown by a bar: on a terminal, unless --quiet is given."""
    return sys.stderr.isatty() and _PRINTER.level <= PROGRESS


def _log(level: int, text: str) -> None:
    """Log a text; bytes of file names that are not UTF-8, which streams refuse, are escaped."""
    LOGGER.log(level, text.encode("utf-8", "backslashreplace").decode("utf-8"))
