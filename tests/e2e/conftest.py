"""Fixtures for tests of commands."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from helpers.fork_server import ForkServer, fork_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    """A server that forks for each command."""
    with fork_server(tmp_path_factory.mktemp("output")) as started:
        yield started
