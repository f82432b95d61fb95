"""Description of the machine on which figures are measured."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

PACKAGES = {"trainlib": "trainlib-tf"} | {
    name: name for name in ("tensorflow", "keras", "numpy", "torch", "jax", "optax")
}
"""Names of the distributions by that of the package."""

BFLOAT16 = ("amx_bf16", "avx512_bf16")
"""Linux's names of the instructions that multiply in bfloat16."""


def describe_machine() -> dict[str, Any]:
    """Return date, processor, memory, system, versions, and the load before the benchmark."""
    return {
        "date": datetime.date.today().isoformat(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: _version(of) for name, of in PACKAGES.items()},
        "load_before": os.getloadavg()[0],
    }


def machine_line(machine: dict[str, Any]) -> str:
    """Return the description as text."""
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items() if v)
    memory = f", {machine['memory_gib']:.0f} GiB" if machine["memory_gib"] else ""
    date = f"Measured on {machine['date']}: " if "date" in machine else ""
    return (
        f"{date}{machine['processor']}, {machine['cores']} cores{memory}, {machine['system']}; "
        f"Python {machine['python']}, {versions}. "
        f"Load before the run: {machine['load_before']:.1f}."
    )


def bfloat16_instructions() -> dict[str, bool] | None:
    """Return the processor's instructions for bfloat16; None if they are unknown."""
    try:
        rows = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    flags = next((row.split(":", 1)[1].split() for row in rows if row.startswith("flags")), None)
    return None if flags is None else {name: name in flags for name in BFLOAT16}


def _processor() -> str:
    try:
        rows = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = (row.split(":", 1)[1].strip() for row in rows if row.startswith("model name"))
    return next(names, "unknown processor")


def _memory_gib() -> float | None:
    if "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
