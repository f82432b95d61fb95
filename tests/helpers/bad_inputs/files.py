"""Damaged and odd files of data and models, and modules of users that fail."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from helpers.bad_inputs.cases import Case, Files, train

X, Y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
EXTREME = np.float64(1e300)


def cases() -> Iterator[Case]:
    """Yield the cases."""
    yield from _arrays()
    yield from _archives()
    yield from _tables()
    yield from _idx()
    yield from _images()
    yield from _keras()
    yield from _modules()


def write(name: str, content: bytes | str) -> Files:
    """Return a function that writes a file."""
    data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content

    def files(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    return files


def made(name: str, content: Callable[[], bytes]) -> Files:
    """Return a function that writes a file whose content takes long to make."""
    return lambda folder: write(name, content())(folder)


def npz(**arrays: Any) -> bytes:
    """Return an archive of arrays."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def _arrays() -> Iterator[Case]:
    """Archives whose arrays are no examples."""
    nan = X.copy()
    nan[3, 1] = np.nan
    odd: dict[str, dict[str, Any]] = {
        "no arrays": {},
        "x only": {"x": X},
        "y only": {"y": Y},
        "other names": {"a": X, "b": Y},
        "x_train only": {"x_train": X, "x_test": X},
        "y shorter": {"x": X, "y": Y[:-1]},
        "no rows": {"x": X[:0], "y": Y[:0]},
        "one row": {"x": X[:1], "y": Y[:1]},
        "no columns": {"x": X[:, :0], "y": Y},
        "scalar x": {"x": np.float64(3), "y": Y},
        "scalar y": {"x": X, "y": np.int64(3)},
        "NaN": {"x": nan, "y": Y},
        "inf": {"x": np.where(nan != nan, np.inf, nan), "y": Y},
        "huge": {"x": np.where(nan != nan, EXTREME, nan), "y": Y},
        "complex": {"x": X.astype(complex), "y": Y},
        "text x": {"x": X.astype(str), "y": Y},
        "bytes x": {"x": X.astype("S"), "y": Y},
        "dates": {"x": X.astype("datetime64[s]"), "y": Y},
        "objects": {"x": X.astype(object), "y": Y},
        "structured": {"x": np.zeros(20, [("a", "f4")]), "y": Y},
        "negative labels": {"x": X, "y": Y - 5},
        "NaN labels": {"x": X, "y": np.where(Y, np.nan, 1.0)},
        "labels past int64": {"x": X, "y": np.full(20, 2**63, np.uint64)},
        "labels of 1e15": {"x": X, "y": Y * 10**15},
        "text labels of rank 2": {"x": X, "y": np.array([["a", "b"]] * 20)},
        "y of rank 3": {"x": X, "y": np.zeros((20, 2, 2, 2))},
        "rank 8": {"x": np.zeros((20, *[1] * 7)), "y": Y},
        "test of other columns": {"x_train": X, "y_train": Y, "x_test": X[:, :1], "y_test": Y},
        "test of more classes": {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y + 7},
        "test without rows": {"x_train": X, "y_train": Y, "x_test": X[:0], "y_test": Y[:0]},
        "validation without y": {"x_train": X, "y_train": Y, "x_validation": X},
        "weights below 0": {"x": X, "y": Y, "weight": -np.ones(20)},
        "weights of 0": {"x": X, "y": Y, "weight": np.zeros(20)},
        "weights shorter": {"x": X, "y": Y, "weight": np.ones(3)},
        "weights NaN": {"x": X, "y": Y, "weight": np.full(20, np.nan)},
        "one class": {"x": X, "y": Y * 0},
    }
    for name, arrays in odd.items():
        flags = ("--task=classification",) if name in ("one class", "NaN labels") else ()
        says = "--model" if name == "rank 8" else "a.npz"  # of another rank a model takes them
        file = write("a.npz", npz(**arrays))
        yield train(f"npz: {name}", says, "--dataset=a.npz", *flags, files=file)
    float16 = npz(x=np.full((20, 2), np.inf, np.float16), y=Y)
    yield train(
        "npz: infinite in float16", "a.npz", "--dataset=a.npz", files=write("a.npz", float16)
    )


def header(shape: str, kind: str = "<f8", order: str = "False") -> bytes:
    """Return the header of an .npy file with a shape as it is written."""
    text = f"{{'descr': '{kind}', 'fortran_order': {order}, 'shape': {shape}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def member(content: bytes, name: str = "x.npy", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return an archive with y and one member of this content."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr(name, content)
        y = io.BytesIO()
        np.save(y, Y)
        archive.writestr("y.npy", y.getvalue())
    return file.getvalue()


def zeros(count: int) -> bytes:
    """Return an archive of 1 GiB of zeros for each count, compressed two hundredfold."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("x.npy", "w", force_zip64=True) as stream:
            stream.write(header(f"(20, {count * 2**30 // 160})"))
            for _ in range(count * 64):
                stream.write(bytes(2**24))
        y = io.BytesIO()
        np.save(y, Y)
        archive.writestr("y.npy", y.getvalue())
    return file.getvalue()


def _archives() -> Iterator[Case]:
    """Archives that are damaged."""
    good = npz(x=X, y=Y)
    changed = bytearray(good)
    changed[200] ^= 255
    contents = {
        "empty": b"",
        "text": b"hello",
        "cut": good[: len(good) // 2],
        "cut end": good[:-5],
        "changed byte": bytes(changed),
        "begun later": good[10:],
        "npy": header("(20, 2)") + X.tobytes(),
        "no array": member(b"hello"),
        "empty member": member(b""),
        "header cut": member(header("(20, 2)")[:30]),
        "data cut": member(header("(20, 2)") + X.tobytes()[:50]),
        "shape of 43 TiB": member(header("(6000000, 1000000)") + bytes(100)),
        "shape past int64": member(header(f"({2**70}, 2)") + bytes(100)),
        "negative shape": member(header("(-20, 2)") + bytes(320)),
        "shape of text": member(header("('a', 2)") + bytes(320)),
        "shape of code": member(header("__import__('os').system('true')") + bytes(320)),
        "deep shape": member(header("(" * 200 + ")" * 200) + bytes(320)),
        "kind of objects": member(header("(20,)", "|O") + bytes(160)),
        "unknown kind": member(header("(20,)", "<q9") + bytes(160)),
        "version 9": member(b"\x93NUMPY\x09\x00" + bytes(100)),
        "folder": member(b"", "x/"),
        "climbing name": member(header("(20, 2)") + X.tobytes(), "../../x.npy"),
        "control name": member(header("(20, 2)") + X.tobytes(), "x\x1b[31m.npy"),
        "stored bomb": member(header(f"(20, {2**31})"), method=zipfile.ZIP_STORED),
        "zip of text": member(b"hello", "readme.txt"),
        "nested": member(good, "x.npz"),
    }
    for name, content in contents.items():
        yield train(f"archive: {name}", "a.npz", "--dataset=a.npz", files=write("a.npz", content))
    yield train(
        "archive: bomb",
        "a.npz",
        "--dataset=a.npz",
        files=lambda f: (f / "a.npz").write_bytes(zeros(1)),
    )
    yield train(
        "archive: is a folder", "a.npz", "--dataset=a.npz", files=lambda f: (f / "a.npz").mkdir()
    )
    yield train("archive: missing", "a.npz", "--dataset=a.npz")
    yield train("archive: link in a circle", "a.npz", "--dataset=a.npz", files=_circle)
    yield train(
        "archive: link to nowhere",
        "a.npz",
        "--dataset=a.npz",
        files=lambda f: (f / "a.npz").symlink_to("b"),
    )
    yield train("archive: fifo", "a.npz", "--dataset=a.npz", files=_fifo("a.npz"))
    yield train(
        "archive: /dev/zero",
        "a.npz",
        "--dataset=a.npz",
        files=lambda f: (f / "a.npz").symlink_to("/dev/zero"),
    )


def _circle(folder: Path) -> None:
    (folder / "a.npz").symlink_to("b.npz")
    (folder / "b.npz").symlink_to("a.npz")


def _fifo(name: str) -> Files:
    import os

    return lambda folder: os.mkfifo(folder / name)


def _tables() -> Iterator[Case]:
    rows = "".join(f"{i},{i % 3},{i % 2}\n" for i in range(30))
    tables: dict[str, bytes | str] = {
        "empty": "",
        "blank lines": "\n\n\n",
        "header only": "a,b,c\n",
        "one row": "a,b,c\n1,2,3\n",
        "no header": rows,
        "same names": f"a,a,c\n{rows}",
        "empty name": f",,c\n{rows}",
        "short row": f"a,b,c\n{rows}1,2\n",
        "long row": f"a,b,c\n{rows}1,2,3,4\n",
        "open quote": f'a,b,c\n{rows}"1,2,3\n',
        "infinite": f"a,b,c\n{rows}inf,2,1\n",
        "1e999": f"a,b,c\n{rows}1e999,2,1\n",
        "not UTF-8": f"a,b,c\n{rows}".encode() + b"\xff\xfe\xfd,1,1\n",
        "zero bytes": f"a,b,c\n{rows}".encode() + b"1,\x00,1\n",
        "binary": bytes(range(256)) * 20,
        "UTF-16 cut": f"a,b,c\n{rows}".encode("utf-16")[:-1],
        "one column": "a\n" + "1\n" * 20,
        "constant target": "a,b\n" + "".join(f"{i},1\n" for i in range(30)),
        "escape name": f"a\x1b[31m,b,c\n{rows}1,2\n",
        "bidi name": f"a\u202eb,b,c\n{rows}1,2\n",
        "huge field": "a,b\n" + "x" * 200_000 + ",1\n" + "1,2\n" * 20,
        "gzip": gzip.compress(f"a,b,c\n{rows}".encode()),
        "both decimals": "a;b\n" + "1,5;2.5\n1.000;2\n" * 10 + "1.5,5;x,y\n",
    }
    for name, content in tables.items():
        flags = ("--task=classification",) if name == "constant target" else ()
        yield train(
            f"csv: {name}", "a.csv", "--dataset=a.csv", *flags, files=write("a.csv", content)
        )
    good = write("a.csv", f"a,b,c\n{rows}")
    for flags in (
        "--target=d",
        "--target=",
        "--target=\x1b[31m",
        "--target=\u202ec",
        "--target=\udcff",
        "--target=99999999999",
        "--target=-1",
        "--sample_weight_column=d",
        "--sample_weight_column=c",
        "--group_column=d",
        "--group_column=c",
        "--task=regression --metrics=accuracy",
        "--input_columns=x=0-9",
        "--input_columns=x=a,zzz",
        "--image_size=3x3",
        "--model=cnn",
        "--folds=2 --fold_kind=grouped --group_column=d",
        "--folds=99",
        "--class_weight=zzz:2",
    ):
        says = ("a.csv", *(x.lstrip("-").partition("=")[0] for x in flags.split(" ")))
        yield train(f"csv {flags}", says, "--dataset=a.csv", *flags.split(" "), files=good)
    compressed = gzip.compress(f"a,b,c\n{rows}".encode())
    for name, data in {
        "cut": compressed[:-20],
        "plain": rows.encode(),
        "changed": compressed[:30] + b"\x00\x01" + compressed[32:],
        "empty": b"",
        "of nothing": gzip.compress(b""),
    }.items():
        yield train(
            f"csv.gz: {name}", "a.csv.gz", "--dataset=a.csv.gz", files=write("a.csv.gz", data)
        )
    bomb = made("a.csv.gz", _gzip_bomb)
    yield train("csv.gz: bomb", "a.csv.gz", "--dataset=a.csv.gz", files=bomb)
    for name, data in {
        "empty": b"",
        "text": b"PAR1hello",
        "cut": b"PAR1" + bytes(100) + b"PAR1",
    }.items():
        yield train(
            f"parquet: {name}", "a.parquet", "--dataset=a.parquet", files=write("a.parquet", data)
        )


def _gzip_bomb() -> bytes:
    """Return 1 GiB of rows, compressed three hundredfold."""
    compress = zlib.compressobj(1, zlib.DEFLATED, 31)
    block = b"1,2,3\n" * 2**18
    parts = [compress.compress(b"a,b,c\n"), *(compress.compress(block) for _ in range(680))]
    return b"".join([*parts, compress.flush()])


IDX = {
    "train-images-idx3-ubyte": (2051, (40, 5, 5)),
    "train-labels-idx1-ubyte": (2049, (40,)),
    "t10k-images-idx3-ubyte": (2051, (20, 5, 5)),
    "t10k-labels-idx1-ubyte": (2049, (20,)),
}
"""Magic number and shape of the files of MNIST, in small."""


def idx(magic: int, shape: tuple[int, ...], data: bytes | None = None) -> bytes:
    """Return an IDX file, zeros and ones unless data are given."""
    size = int(np.prod(shape))
    data = bytes(i % 2 for i in range(size)) if data is None else data
    return struct.pack(f">{1 + len(shape)}I", magic, *shape) + data


def _idx() -> Iterator[Case]:
    first, labels = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
    good = {name: idx(magic, shape) for name, (magic, shape) in IDX.items()}
    changes: dict[str, dict[str, bytes | None]] = {
        "empty": {first: b""},
        "header cut": {first: good[first][:10]},
        "data cut": {first: good[first][:-10]},
        "longer": {first: good[first] + b"12345"},
        "labels as images": {first: good[labels]},
        "images as labels": {labels: good[first]},
        "shape of 2^96": {first: idx(2051, (2**32 - 1,) * 3, b"123")},
        "no images": {first: idx(2051, (0, 5, 5))},
        "images of no pixels": {first: idx(2051, (40, 0, 5))},
        "labels of another number": {labels: idx(2049, (39,))},
        "labels of 255": {labels: idx(2049, (40,), bytes([255] * 40))},
        "test of another size": {"t10k-images-idx3-ubyte": idx(2051, (20, 6, 5))},
        "text": {first: b"hello" * 100},
        "floats": {first: idx(0x0D03, (40, 5, 5), bytes(4000))},
    }

    def files(content: dict[str, bytes | None], packed: bool) -> Files:
        def make(folder: Path) -> None:
            for name, data in content.items():
                if data is not None:
                    ending = ".gz" if packed else ""
                    data = gzip.compress(data) if packed else data
                    write(f"mnist/{name}{ending}", data)(folder)

        return make

    for name, change in changes.items():
        for packed in (False, True):
            yield train(
                f"idx{'.gz' if packed else ''}: {name}",
                ("ubyte", "mnist"),
                "--dataset=mnist",
                "--data_dir=.",
                files=files({**good, **change}, packed),
            )
    for name, content in {
        "cut gzip": lambda: gzip.compress(good[first])[:-9],
        "plain bytes": lambda: good[first],
        "bomb": lambda: gzip.compress(idx(2051, (40, 5, 5)) + bytes(2**30), 1),
    }.items():

        def make(folder: Path, content: Callable[[], bytes] = content) -> None:
            files({k: v for k, v in good.items() if k != first}, True)(folder)
            write(f"mnist/{first}.gz", content())(folder)

        says = ("ubyte", "mnist")
        yield train(f"idx.gz: {name}", says, "--dataset=mnist", "--data_dir=.", files=make)


def png(width: int, height: int, data: bytes | None = None, kind: int = 0) -> bytes:
    """Return a PNG of gray pixels, or one with other image data."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    head = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    data = (
        zlib.compress(b"".join(b"\0" + bytes([i % 256] * width) for i in range(height)))
        if data is None
        else data
    )
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def images(change: Callable[[Path], object] = lambda folder: None) -> Files:
    """Return a function that makes a folder of two classes with 20 images each, and changes it."""

    def make(folder: Path) -> None:
        for i in range(40):
            write(f"pictures/{'ab'[i % 2]}/{i:02}.png", png(6, 6))(folder)
        change(folder / "pictures")

    return make


def _images() -> Iterator[Case]:
    import shutil

    good = png(6, 6)
    damaged = {
        "empty": b"",
        "text": b"hello",
        "header cut": good[:20],
        "data cut": good[:-20],
        "changed": good[:45] + b"\xff" + good[46:],
        "of no pixels": png(0, 6, b""),
        "of 2^31 pixels": png(2**31 - 1, 2**31 - 1, b""),
        "bomb": png(60_000, 60_000, zlib.compress(bytes(2**20))),
        "jpeg": b"\xff\xd8\xff\xe0" + bytes(30),
        "gif": b"GIF89a" + bytes(30),
        "bmp": b"BM" + bytes(60),
    }
    for name, data in damaged.items():
        suffix = name if name in ("jpeg", "gif", "bmp") else "png"

        def change(folder: Path, data: bytes = data, suffix: str = suffix) -> None:
            (folder / "a" / f"00.{suffix}").write_bytes(data)

        yield train(
            f"images: {name}", "00.", "--dataset=pictures", "--model=mlp", files=images(change)
        )
    folders: dict[str, Callable[[Path], object]] = {
        "one class": lambda f: shutil.rmtree(f / "b"),
        "no images": lambda f: [shutil.rmtree(f / x) for x in "ab"],
        "no folder": lambda f: shutil.rmtree(f),
        "a class without images": lambda f: (f / "c").mkdir(),
        "no class folders": lambda f: (
            [p.rename(f / p.name) for p in f.glob("?/*.png")] and [(f / x).rmdir() for x in "ab"]
        ),
        "test only": lambda f: [
            (f / "test").mkdir(),
            *((f / x).rename(f / "test" / x) for x in "ab"),
        ],
        "loop": lambda f: (f / "a" / "loop").symlink_to("..") if False else shutil.rmtree(f / "a"),
    }
    for name, change in folders.items():
        yield train(f"images: {name}", "pictures", "--dataset=pictures", files=images(change))
    for flags in (
        "--image_size=0x5",
        "--image_size=5",
        "--image_size=-3x3",
        "--image_size=axb",
        "--image_size=99999999999x5",
        "--image_size=1000000x1000000",
        "--image_size=5x5x5",
        "--color_mode=cmyk",
        "--target=a",
        "--model=cnn --depth=20",
        "--class_weight=c:3",
    ):
        says = tuple(x.lstrip("-").partition("=")[0] for x in flags.split(" "))
        yield train(
            f"images {flags}",
            (*says, "pictures"),
            "--dataset=pictures",
            *flags.split(" "),
            files=images(),
        )


def _keras() -> Iterator[Case]:
    def archive(**members: bytes | str) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as opened:
            for name, content in members.items():
                opened.writestr(
                    name.replace("_json", ".json").replace("_h5", ".weights.h5"), content
                )
        return file.getvalue()

    layer = '{"module": "keras", "class_name": "%s", "config": {}, "registered_name": null}'
    models = {
        "empty": b"",
        "text": b"hello",
        "empty archive": archive(),
        "no weights": archive(config_json=layer % "Sequential"),
        "no configuration": archive(model_h5=b""),
        "configuration of a list": archive(config_json="[]", metadata_json="{}", model_h5=b""),
        "configuration of no JSON": archive(config_json="{", metadata_json="{}", model_h5=b""),
        "deep configuration": archive(
            config_json="[" * 9999 + "]" * 9999, metadata_json="{}", model_h5=b""
        ),
        "unknown class": archive(config_json=layer % "Nobody", metadata_json="{}", model_h5=b""),
        "no model": archive(config_json=layer % "Adam", metadata_json="{}", model_h5=b""),
        "other module": archive(
            config_json='{"module": "os", "class_name": "system", "config": "true", '
            '"registered_name": "system"}',
            metadata_json="{}",
            model_h5=b"",
        ),
        "climbing member": archive(
            **{"../config_json": "{}", "config_json": "{}", "model_h5": b"x"}
        ),
        "weights cut": archive(
            config_json=layer % "Sequential",
            metadata_json="{}",
            model_h5=b"\x89HDF\r\n\x1a\n" + bytes(50),
        ),
        "bytes of code": archive(
            config_json='{"class_name": "Lambda"}', metadata_json="{}", model_h5=b""
        ),
    }
    for name, content in models.items():
        yield train(f"keras: {name}", "m.keras", "--model=m.keras", files=write("m.keras", content))
    yield train("keras: missing", "m.keras", "--model=m.keras")
    yield train(
        "keras: folder", "m.keras", "--model=m.keras", files=lambda f: (f / "m.keras").mkdir()
    )
    for name, body in {
        "other inputs": "(7,)), keras.layers.Dense(10)",
        "other outputs": "(64,)), keras.layers.Dense(3, 'softmax')",
        "lambda": "(64,)), keras.layers.Lambda(lambda x: x[:, :10])",
    }.items():
        made = f"keras.Sequential([keras.Input({body}])"
        build = f"import keras\n{made}.save('m.keras')\n"

        def files(folder: Path, build: str = build) -> None:
            import os

            here = Path.cwd()
            os.chdir(folder)
            try:
                exec(build, {})
            finally:
                os.chdir(here)

        says = ("m.keras", "model", "classes")
        yield train(f"keras: {name}", says, "--model=m.keras", files=files)


MODULES = {
    "does not parse": ("def f(:\n", "f"),
    "raises at import": ("raise RuntimeError('broken\\nhere')\n", "f"),
    "exits at import": ("import sys\nsys.exit(0)\n", "f"),
    "imports what is not there": ("import nothing_like_it\n", "f"),
    "has no function": ("g = 3\n", "f"),
    "has a number": ("f = 3\n", "f"),
    "recurses": ("def f(*a, **k):\n    return f(*a, **k)\n", "f"),
    "takes nothing": ("def f():\n    return 1\n", "f"),
    "takes too much": ("def f(a, b, c, d, e, g, h):\n    return 1\n", "f"),
    "returns nothing": ("def f(*a, **k):\n    return None\n", "f"),
    "returns text": ("def f(*a, **k):\n    return 'text'\n", "f"),
    "returns a list": ("def f(*a, **k):\n    return [1, 2, 3]\n", "f"),
    "raises": ("def f(*a, **k):\n    raise KeyError('a\\x1b[31m\\nb')\n", "f"),
    "raises a ValueError": ("def f(*a, **k):\n    raise ValueError('mine')\n", "f"),
    "exits": ("import sys\ndef f(*a, **k):\n    sys.exit(3)\n", "f"),
    "is no UTF-8": ("# \udcff\ndef f(*a):\n    return 1\n", "f"),
    "has null bytes": ("f = 1\0\n", "f"),
}
"""Modules of users that fail, and the function that is asked for."""
EXITS = ("exits at import", "exits")
"""Modules that end the process: not an error of what is given to the command."""
CALLED_LATER = ("returns nothing", "returns text", "returns a list", "recurses", "raises") + (
    "raises a ValueError",
    "exits",
    "takes nothing",
    "takes too much",
)
"""Modules whose fault shows only when they are called: callbacks are, after the first epoch."""
FLAGS = ("dataset", "model", "optimizer", "schedule", "loss", "metrics", "regularizer") + (
    "constraint",
    "callbacks",
    "augment",
)


def _modules() -> Iterator[Case]:
    for name, (text, function) in MODULES.items():
        files, status = write("mine.py", text), 1 if name in EXITS else 2
        for flag in FLAGS:
            if flag != "callbacks" or name not in CALLED_LATER:
                says, given = ("mine", flag), f"--{flag}=mine:{function}"
                yield train(f"{flag}: {name}", says, given, files=files, status=status)
