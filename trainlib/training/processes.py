"""New processes of Python that run a module of this library."""

from __future__ import annotations

import sys

_CODE = (
    "import sys; sys.path[:] = filter(None, sys.path); import runpy; "
    "runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
)


def python_module(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module in a new process, as `python -m` does.

    The working directory is not searched for modules, as `python -m` would: a file `random.py`
    there is data, not code.

    Args:
        module: full name of the module.
        *arguments: command-line arguments of the module.
    """
    return [sys.executable, "-c", _CODE.format(module=module), *arguments]
