"""The secret that the workers of a run share, and proofs that the other end knows it."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import ipaddress
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from trainlib.cli.distributed.connection import split_address
from trainlib.training.paths import cache_folder, shown

VARIABLE = "TRAINLIB_WORKER_SECRET"
SHORTEST = 16
"""Least length of a secret in bytes."""
KEY_FILE = "worker_key"
"""File of a user's cache with the secret for workers on one machine."""


def worker_secret(addresses: Sequence[str], file: str | None, insecure: bool) -> bytes:
    """Return the secret of the workers.

    It is in the file, else in the environment variable TRAINLIB_WORKER_SECRET. Workers whose
    addresses are all on loopback need none: they take a random one from the user's cache.

    Args:
        addresses: those of all workers.
        file: path of a file with the secret; None: no file.
        insecure: whether workers on several machines may do without a secret.

    Returns:
        The secret; empty where there is none.

    Raises:
        ValueError: there is no secret and one is needed, or it is too short.
        OSError: the file cannot be read.
    """
    given = Path(file).read_bytes() if file else os.environ.get(VARIABLE, "").encode()
    found, where = given.strip(), f"worker_secret_file {shown(file)}" if file else VARIABLE
    if (file or found) and insecure:
        raise ValueError(f"insecure_workers contradicts {where}: leave one of them out")
    if (file or found) and len(found) < SHORTEST:
        raise ValueError(f"{where}: a secret needs at least {SHORTEST} bytes, got {len(found)}")
    if found or insecure:
        return found
    if all(map(_is_loopback, addresses)):
        return _key_of_user(cache_folder())
    raise ValueError(
        "worker_secret_file must be given for workers on several machines: a file with the same "
        f"secret on each, such as of `openssl rand -hex 32`; or the secret in {VARIABLE}; or "
        "insecure_workers, in a network that only the workers can reach"
    )


def proof(secret: bytes, role: str, nonces: Sequence[str], text: str = "") -> str:
    """Return the proof that a worker of that role knows the secret: an HMAC with SHA-256.

    Args:
        secret: the secret.
        role: "chief" or "worker", so that no end can return the proof of the other one.
        nonces: the random texts of both ends, so that a proof holds for one connection.
        text: what the worker says besides. Default: "".
    """
    message = "\n".join([role, *nonces, text]).encode()
    return hmac.new(secret, message, hashlib.sha256).hexdigest()


def is_proof(found: object, expected: str) -> bool:
    """Return whether what another process sent is the expected proof, in constant time."""
    return isinstance(found, str) and hmac.compare_digest(found.encode(), expected.encode())


def _is_loopback(address: str) -> bool:
    host = split_address(address)[0]
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _key_of_user(folder: Path) -> bytes:
    """Return a secret that the processes of this user share; empty if the cache is read-only."""
    path = folder / KEY_FILE
    temporary = folder / f".{KEY_FILE}.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(32))
            with contextlib.suppress(FileExistsError):  # another worker was first
                os.link(temporary, path)
        return path.read_bytes()
    except OSError:
        return b""
    finally:
        temporary.unlink(missing_ok=True)
