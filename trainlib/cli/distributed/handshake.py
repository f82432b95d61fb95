"""The handshake of two workers: each proves that it knows the secret, then one greets the other.

    worker                                              chief
    {"nonce": w}                                 ->
                                                 <-     {"nonce": c, "proof": of chief, w, c}
    {"greeting": text, "proof": of worker, w, c, text} ->

A proof is an HMAC of the nonces of both ends, so that it is valid for one connection only.
"""

from __future__ import annotations

import json
import secrets
import time
from typing import Any, NamedTuple

from trainlib.cli.distributed.connection import Connection
from trainlib.cli.distributed.secret import is_proof, proof

HANDSHAKE_SECONDS = 5.0
"""Seconds in which both ends of a new connection must prove that they know the secret."""
_NONCE_LENGTH = 64


class Greeting(NamedTuple):
    """The settings that a worker reports to the chief.

    Attributes:
        cluster: addresses of all workers in its TF_CONFIG.
        number: its number, from 0.
        flags: its settings, as `--name=value` by name.
    """

    cluster: list[str]
    number: int
    flags: dict[str, str]


def receive_greeting(connection: Connection, secret: bytes) -> Greeting | None:
    """Return the greeting of the worker at the other end, on the chief.

    Args:
        connection: a new connection.
        secret: the secret of the workers.

    Returns:
        None if the other end is no worker: it sends something else, or does not know the secret.
    """
    end = time.monotonic() + HANDSHAKE_SECONDS
    theirs = _nonce(connection.receive(end - time.monotonic()))
    if theirs is None:
        return None
    nonces = [theirs, secrets.token_hex(_NONCE_LENGTH // 2)]
    connection.send({"nonce": nonces[1], "proof": proof(secret, "chief", nonces)})
    answer = connection.receive(end - time.monotonic())
    text = answer.get("greeting") if isinstance(answer, dict) else None
    if not isinstance(text, str):
        return None
    if not is_proof(answer.get("proof"), proof(secret, "worker", nonces, text)):
        return None
    return _parse_greeting(text)


def send_greeting(connection: Connection, own: Greeting, secret: bytes) -> bool:
    """Greet the chief, on another worker; return False if the other end is not the chief.

    Args:
        connection: a new connection.
        own: the greeting, which is sent only to a process that knows the secret.
        secret: the secret of the workers.
    """
    nonce = secrets.token_hex(_NONCE_LENGTH // 2)
    connection.send({"nonce": nonce})
    answer = connection.receive(HANDSHAKE_SECONDS)
    theirs = _nonce(answer)
    if theirs is None:
        return False
    nonces = [nonce, theirs]
    if not is_proof(answer.get("proof"), proof(secret, "chief", nonces)):
        return False
    text = json.dumps(own)
    connection.send({"greeting": text, "proof": proof(secret, "worker", nonces, text)})
    return True


def _parse_greeting(text: str) -> Greeting | None:
    """Return a greeting from its JSON; None if a field is missing or of another type."""
    try:
        cluster, index, flags = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None
    fits = (
        isinstance(cluster, list)
        and all(isinstance(address, str) for address in cluster)
        and type(index) is int
        and isinstance(flags, dict)
        and all(isinstance(value, str) for value in flags.values())
    )
    return Greeting(cluster, index, flags) if fits else None


def _nonce(message: Any) -> str | None:
    """Return the nonce of a message; None if it has none."""
    nonce = message.get("nonce") if isinstance(message, dict) else None
    return nonce if isinstance(nonce, str) and len(nonce) == _NONCE_LENGTH else None
