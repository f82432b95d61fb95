"""Makes the golden trajectories: what Keras, PyTorch and Optax compute, kept as test data.

    python tests/golden/make.py            # needs: pip install .[peers]

Each file holds, for each case of `trainlib.verify`, the peer's parameters after some of the steps,
in float64, under the name "<case>|<tensor>"; `functions.npz` what PyTorch and Optax make of the
inputs of the other cases, under "<peer>|<case>|<output>"; `versions.json` says which versions made
them.
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
"""The steps that are kept; at the others an error would show in the later ones."""
NOT_EVERYWHERE = ("torch", "optax")
"""The peers that need not be installed where the tests run."""


def sample(array: np.ndarray) -> np.ndarray:
    """Of a long array the beginning, and of the rest each 41st element."""
    flat = np.asarray(array).reshape(-1)
    return flat if flat.size <= 600 else np.concatenate([flat[:250], flat[250::41]])


def main() -> None:
    """Writes the files."""
    make_trajectories()
    make_functions()
    packages = ("keras", "tensorflow", "torch", "optax", "jax", "numpy")
    versions = {name: importlib.metadata.version(name) for name in packages}
    (FOLDER / "versions.json").write_text(json.dumps(versions, indent=2) + "\n")


def make_functions() -> None:
    """What the peers that need not be installed make of the functions' inputs."""
    arrays = {}
    for case in FUNCTION_CASES:
        for peer in (peer for peer in NOT_EVERYWHERE if peer in case.peers):
            for name, x in peer_outputs(case, peer, "float64").items():
                arrays[f"{peer}|{case.title}|{name}"] = sample(x)
            print(peer, case.title, flush=True)
    np.savez_compressed(FOLDER / "functions.npz", **arrays)


def make_trajectories() -> None:
    """The optimizers' trajectories."""
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
