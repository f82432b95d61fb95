"""The provenance of results: the command that repeats them, their date, and the versions."""

from __future__ import annotations

import datetime
import platform
import shlex
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import trainlib
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.fields import plain_settings
from trainlib.experiment.flat import flag_text, flatten, settings
from trainlib.report.page import Provenance


def made_now() -> dict[str, Any]:
    """Return the current date and versions, for a summary."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "versions": {
            "trainlib": trainlib.__version__,
            "TensorFlow": tf.version.VERSION,
            "Keras": keras.version(),
            "NumPy": np.__version__,
            "Python": platform.python_version(),
        },
    }


def provenance(
    command: str, config: ExperimentConfig, summary: Mapping[str, Any] | None = None
) -> Provenance:
    """Return the provenance of the results of one or several runs.

    Args:
        command: the command that repeats the results.
        config: the configuration, with the seed.
        summary: the summary of a finished run, with the date and the versions. Default: None.
    """
    found = summary or {}
    date = str(found.get("date", "")).replace("T", " ")[:16]
    versions = found.get("versions", {})
    return Provenance(command, date and f"{date} UTC", str(config.seed), versions)


def command_line(name: str, config: ExperimentConfig, *options: Any, **more: Any) -> str:
    """Return a command line with all flags that differ from their defaults, quoted for a shell.

    Args:
        name: name of the command.
        config: the configuration.
        *options: dataclasses with further settings.
        **more: further flags.
    """
    declared = {s.flag: s.default for s in settings(ExperimentConfig)}
    values = flatten(config)
    for part in options:
        fields = list(plain_settings(part))
        declared |= {s.flag: s.default for _, s in fields}
        values |= {s.flag: getattr(part, field) for field, s in fields}
    given = {flag: x for flag, x in values.items() if x is not None and x != declared[flag]}
    texts = (flag_text(flag, x).partition("=") for flag, x in {**more, **given}.items())
    return " ".join([name, *(f"{flag}{sign}{_quoted(x)}" for flag, sign, x in texts)])


def _quoted(text: str) -> str:
    return shlex.quote(text) if text else ""
