"""The secret of the workers: where it is taken from, and what proves that it is known."""

from __future__ import annotations

import hashlib
import hmac
import stat

import pytest

from trainlib.cli.distributed.secret import VARIABLE, is_proof, proof, worker_secret

FAR = ("10.0.0.1:2222", "10.0.0.2:2222")
NEAR = ("127.0.0.1:2222", "localhost:2223", "[::1]:2224")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own for each test, and no secret in the environment."""
    monkeypatch.setenv("TRAINLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(VARIABLE, raising=False)
    return tmp_path / "cache"


def test_it_is_in_a_file_or_in_the_environment(tmp_path, monkeypatch):
    file = tmp_path / "secret"
    file.write_text("  0123456789abcdef\n")
    monkeypatch.setenv(VARIABLE, "fedcba9876543210")
    assert worker_secret(FAR, str(file), False) == b"0123456789abcdef"
    assert worker_secret(FAR, None, False) == b"fedcba9876543210"


@pytest.mark.parametrize("addresses", [FAR, (*NEAR, FAR[0])])
def test_workers_on_several_machines_need_one_unless_told_otherwise(addresses):
    with pytest.raises(ValueError, match="worker_secret_file must be given"):
        worker_secret(addresses, None, False)
    assert worker_secret(addresses, None, True) == b""


def test_workers_of_a_user_on_one_machine_share_a_random_one(cache, monkeypatch, tmp_path):
    found = worker_secret(NEAR, None, False)
    assert len(found) == 64 and worker_secret(NEAR, None, False) == found
    assert stat.S_IMODE((cache / "worker_key").stat().st_mode) == 0o600
    assert [path.name for path in cache.iterdir()] == ["worker_key"]
    monkeypatch.setenv("TRAINLIB_CACHE", str(tmp_path / "other"))
    assert worker_secret(NEAR, None, False) != found


def test_what_makes_no_secret_is_refused(tmp_path, monkeypatch):
    file = tmp_path / "secret"
    file.write_text("short")
    with pytest.raises(ValueError, match="secret: a secret needs at least 16 bytes, got 5"):
        worker_secret(FAR, str(file), False)
    with pytest.raises(ValueError, match="insecure_workers contradicts"):
        worker_secret(FAR, str(file), True)
    with pytest.raises(FileNotFoundError):
        worker_secret(FAR, str(tmp_path / "none"), False)
    monkeypatch.setenv(VARIABLE, "short")
    with pytest.raises(ValueError, match="at least 16 bytes"):
        worker_secret(NEAR, None, False)


def test_a_proof_is_an_hmac_of_the_role_the_nonces_and_the_text():
    message = b"worker\na\nb\ntext"
    expected = hmac.new(b"key", message, hashlib.sha256).hexdigest()
    assert proof(b"key", "worker", ["a", "b"], "text") == expected
    assert is_proof(expected, expected)
    others = [
        proof(b"other", "worker", ["a", "b"], "text"),
        proof(b"key", "chief", ["a", "b"], "text"),
        proof(b"key", "worker", ["b", "a"], "text"),
        proof(b"key", "worker", ["a", "b"], "other"),
    ]
    assert not any(is_proof(found, expected) for found in [*others, None, 1, "", "\udcff"[:0]])
