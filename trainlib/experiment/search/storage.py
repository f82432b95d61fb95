"""The storage of a study: a journal, a file of SQLite, or a database server.

Optuna is optional; this module is imported where a search begins.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

SQLITE_SUFFIXES = (".db", ".sqlite", ".sqlite3")
SQLITE_SECONDS = 60
"""Seconds that a process waits while another one writes to a file of SQLite."""
DRIVERS = {"psycopg": "'psycopg[binary]'", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}
"""Packages of database drivers whose names differ from the names of their modules."""
PAUSES = (0.2, 0.5, 1.0, 2.0, None)
"""Delays in seconds before a storage whose tables another process is creating is opened again; the
error is raised after the last attempt, None."""


def open_storage(place: str) -> Any:
    """Return the storage at a URL or in a file.

    Raises:
        ValueError: it cannot be opened.
    """
    for pause in PAUSES:
        try:
            return _open(place)
        except Exception as error:  # each database library raises different types
            if pause is None or not _is_race(error):
                raise storage_error(place, error) from error
            time.sleep(pause)
    raise AssertionError


def _is_race(error: Exception) -> bool:
    """Return whether an error occurred because another process created the tables at that time."""
    return any(text in str(error).lower() for text in ("already exists", "unique", "duplicate"))


def _open(place: str) -> Any:
    path = Path(place).absolute()
    if "://" not in place and path.suffix not in SQLITE_SUFFIXES:
        # This lock works in folders that several machines share.
        lock = JournalFileOpenLock(str(path))
        return optuna.storages.JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
    url = place if "://" in place else f"sqlite:///{path}"
    options: dict[str, Any] = {"pool_pre_ping": True}  # a server may end idle connections
    if url.startswith("sqlite"):
        options = {"connect_args": {"timeout": SQLITE_SECONDS}}
    return optuna.storages.RDBStorage(url, engine_kwargs=options)


def storage_error(place: str, error: BaseException) -> ValueError:
    """Return the error for a storage that cannot be used; its message hides the password."""
    shown = without_password(place)
    driver = error.__cause__ if isinstance(error.__cause__, ModuleNotFoundError) else None
    if driver is not None:
        package = DRIVERS.get(str(driver.name), driver.name)
        return ValueError(f"storage {shown} needs {driver.name}: pip install {package}")
    lines = str(error).split("\n[SQL")[0].split("\n(Background")[0]
    return ValueError(f"storage {shown}: {' '.join(lines.split())}")


def without_password(place: str) -> str:
    """Return a storage without the password that its URL may hold."""
    try:
        url = sqlalchemy.engine.make_url(place)
    except sqlalchemy.exc.ArgumentError:  # the path of a file
        return place
    parts = (url.username, None, url.host, url.port, url.database, url.query)
    return sqlalchemy.URL.create(url.drivername, *parts).render_as_string()
