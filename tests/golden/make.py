"""Compute the golden test data: what Keras, PyTorch and Optax compute for `trainlib.verify`.

    python tests/golden/make.py            # needs: pip install .[peers]

`keras.npz`, `torch.npz` and `optax.npz` hold the parameters of the peer after some steps of each
optimizer case, float64, as "<case>|<tensor>". `functions.npz` holds the outputs of PyTorch and
Optax for the function cases, as "<peer>|<case>|<output>". `versions.json` holds the versions.
"""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import numpy as np

from trainlib.verify.compare import peer_outputs, peer_path
from trainlib.verify.function_cases import CASES as FUNCTION_CASES
from trainlib.verify.optimizer_cases import CASES
from trainlib.verify.peers import PEERS
from trainlib.verify.problem import make_problem

FOLDER = Path(__file__).parent
STEPS = 200
KEPT = (1, 2, 3, 10, 65, 200)
"""The stored steps; an error in another step shows in the later ones."""
NOT_EVERYWHERE = ("torch", "optax")
"""The peers that need not be installed to run the tests."""


def sample(array: np.ndarray) -> np.ndarray:
    """Return a short array, or the start of a long one and each 41st element of the rest."""
    flat = np.asarray(array).reshape(-1)
    return flat if flat.size <= 600 else np.concatenate([flat[:250], flat[250::41]])


def main() -> None:
    """Write the files."""
    make_trajectories()
    make_functions()
    packages = ("keras", "tensorflow", "torch", "optax", "jax", "numpy")
    versions = {name: importlib.metadata.version(name) for name in packages}
    (FOLDER / "versions.json").write_text(json.dumps(versions, indent=2) + "\n")


def make_functions() -> None:
    """Write the outputs of the optional peers for the function cases."""
    arrays = {}
    for case in FUNCTION_CASES:
        for peer in (peer for peer in NOT_EVERYWHERE if peer in case.peers):
            for name, x in peer_outputs(case, peer, "float64").items():
                arrays[f"{peer}|{case.title}|{name}"] = sample(x)
            print(peer, case.title, flush=True)
    np.savez_compressed(FOLDER / "functions.npz", **arrays)


def make_trajectories() -> None:
    """Write the trajectories of the optimizer cases."""
    for peer in PEERS:
        arrays = {}
        for case in CASES:
            if peer in case.peers:
                path = peer_path(case, peer, make_problem(STEPS, **case.problem))
                for name in path[0]:
                    arrays[f"{case.title}|{name}"] = np.stack([path[k - 1][name] for k in KEPT])
                print(peer, case.title, flush=True)
        np.savez_compressed(FOLDER / f"{peer}.npz", **arrays)


if __name__ == "__main__":
    main()
