"""Memory that this process may still use."""

from __future__ import annotations

import contextlib
from pathlib import Path

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_USED = ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes")


def free_memory() -> int | None:
    """Return the bytes that this process may still use; None if the system does not say."""
    found = [_meminfo(), _of_group(), _of_limit()]
    return min((x for x in found if x is not None), default=None)


def _meminfo() -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        return 1024 * int(line.split()[1])
    return None


def _of_group() -> int | None:
    """Return the bytes left by the limit of this process's control group, as in a container."""
    for limit, used in zip(_LIMITS, _USED, strict=True):
        with contextlib.suppress(OSError, ValueError):
            return int(Path(limit).read_text()) - int(Path(used).read_text())
    return None


def _of_limit() -> int | None:
    """Return the bytes left by the limit of address space."""
    with contextlib.suppress(ImportError, OSError, ValueError, IndexError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            used = int(Path("/proc/self/statm").read_text().split()[0])
            return limit - used * resource.getpagesize()
    return None
