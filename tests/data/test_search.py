"""The folders searched for a data set, their order, and the download."""

from __future__ import annotations

import hashlib
import socket
import sys
import types
from pathlib import Path

import pytest

from trainlib.data import search
from trainlib.data.search import LAYOUTS, find_files

IDX = LAYOUTS["mnist"].choices[0]


class Places:
    """The folders of the search, all empty."""

    def __init__(self, root: Path) -> None:
        self.given, self.variable = root / "given", root / "variable"
        self.keras, self.system = root / "home" / ".keras" / "datasets", root / "system"
        for folder in (self.given, self.variable, self.keras, self.system):
            folder.mkdir(parents=True)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    def no_network(name: str) -> None:
        raise OSError(f"no\nnetwork for {name}")

    places = Places(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TRAINLIB_DATA", str(places.variable))
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setattr(search, "SYSTEM_FOLDERS", (places.system,))
    monkeypatch.setattr(search, "download", no_network)
    return places


def put(folder: Path, *names: str) -> tuple[Path, ...]:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(name.encode())
    return tuple(folder / name for name in names)


def publish(monkeypatch: pytest.MonkeyPatch, data_set: str) -> None:
    """Make the stand-ins that `put` writes the published files of a data set."""
    cached = {
        name: hashlib.sha256(Path(name).name.encode()).hexdigest()
        for name in LAYOUTS[data_set].cached
    }
    monkeypatch.setitem(LAYOUTS, data_set, LAYOUTS[data_set]._replace(cached=cached))


def test_folders_are_searched_in_order(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, "mnist")
    system = put(places.system / "mnist", *IDX)
    assert find_files("mnist", places.given) == system
    cached = put(places.keras, "mnist.npz")
    assert find_files("mnist", places.given) == cached
    variable = put(places.variable / "mnist", *IDX)
    assert find_files("mnist", places.given) == variable
    given = put(places.given / "mnist", *IDX)
    assert find_files("mnist", places.given) == given
    assert find_files("mnist", None) == variable


def test_keras_home_moves_the_cache(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, "fashion_mnist")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "elsewhere"))
    names = tuple(f"{name}.gz" for name in IDX)
    cached = put(tmp_path / "elsewhere" / "datasets" / "fashion-mnist", *names)
    assert find_files("fashion_mnist", None) == cached


@pytest.mark.parametrize(
    ("data_set", "folder", "names"),
    [
        ("mnist", "mnist", IDX),
        ("mnist", "mnist", tuple(f"{name}.gz" for name in IDX)),
        ("mnist", "", ("mnist.npz",)),
        ("mnist", "mnist", ("mnist.npz",)),
        ("fashion_mnist", "fashion-mnist", IDX),
        ("fashion_mnist", "fashion_mnist", IDX),
        ("california_housing", "", ("cal_housing.csv",)),
        ("california_housing", "", ("housing.csv.gz",)),
        ("california_housing", "", ("california_housing.csv",)),
        ("california_housing", "", ("california_housing.npz",)),
        ("california_housing", "california_housing", ("cal_housing.csv.gz",)),
    ],
)
def test_each_layout_is_found(
    places: Places, data_set: str, folder: str, names: tuple[str, ...]
) -> None:
    files = put(places.given / folder, *names)
    assert find_files(data_set, places.given) == files


def test_shared_file_names_are_accepted_in_an_exclusive_folder_only(places: Places) -> None:
    put(places.given, *IDX)
    fashion = put(places.given / "fashion-mnist", *IDX)
    with pytest.raises(FileNotFoundError):
        find_files("mnist", places.given)
    with pytest.raises(FileNotFoundError):
        find_files("mnist", places.given / "fashion-mnist")
    assert find_files("fashion_mnist", places.given / "fashion-mnist") == fashion


def test_an_incomplete_folder_is_skipped(places: Places) -> None:
    put(places.given / "mnist", *IDX[:3])
    complete = put(places.system / "mnist", *IDX)
    assert find_files("mnist", places.given) == complete


def test_a_compressed_npz_is_not_accepted(places: Places) -> None:
    put(places.given, "mnist.npz.gz")
    with pytest.raises(FileNotFoundError):
        find_files("mnist", places.given)


def test_a_download_is_used(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, "mnist")
    monkeypatch.setattr(search, "download", lambda name: put(places.keras, f"{name}.npz"))
    assert find_files("mnist", None) == (places.keras / "mnist.npz",)


def test_a_download_with_another_digest_raises_an_error_and_is_kept(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "download", lambda name: put(places.keras, f"{name}.npz"))
    with pytest.raises(ValueError, match=r"mnist.npz has the SHA-256 \w+, but .* 731c5ac6"):
        find_files("mnist", None)
    assert (places.keras / "mnist.npz").exists()


def test_the_error_names_the_folders_and_the_files_in_one_line(places: Places) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        find_files("mnist", places.given)
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        *map(str, (places.given, places.variable, places.keras, places.system)),
        "OSError: no network for mnist",
        *IDX,
        "data_dir",
        "$TRAINLIB_DATA",
    ):
        assert part in message


def test_a_download_without_files_raises_an_error(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "download", lambda name: None)
    with pytest.raises(FileNotFoundError, match="left no file in Keras's cache"):
        find_files("california_housing", None)


def test_download_keeps_standard_output_clean_and_limits_waiting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load_data() -> None:
        print(f"waits {socket.getdefaulttimeout()}")

    keras = types.SimpleNamespace(
        datasets=types.SimpleNamespace(mnist=types.SimpleNamespace(load_data=load_data))
    )
    monkeypatch.setitem(sys.modules, "keras", keras)  # type: ignore[arg-type]
    before = socket.getdefaulttimeout()
    search.download("mnist")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"waits {search.DOWNLOAD_TIMEOUT}\n")
    assert socket.getdefaulttimeout() == before
