"""PyTorch and Optax in separate processes, which do not import TensorFlow."""

from __future__ import annotations

import numpy as np
import pytest

from trainlib.verify.compare import THIS_PROCESS
from trainlib.verify.function_cases import CASES as FUNCTION_CASES
from trainlib.verify.optimizer_cases import CASES
from trainlib.verify.peer_process import PeerProcesses
from trainlib.verify.problem import make_problem

FAKE = """
import sys, types
import numpy as np
import trainlib.verify.peer_process as served
sys.modules["torch"] = types.ModuleType("torch")


class Answers:
    def missing(self, peer, needs):
        print("noise on standard output")
        return f"{peer} lacks {needs}" if needs else ""

    def path(self, case, peer, problem):
        return [{"w": problem.start["wide"] * 2}]

    def outputs(self, case, peer, dtype):
        raise ValueError(f"{case.name} in {dtype}")


served.THIS_PROCESS = Answers()
served.serve(sys.argv[1])
"""


@pytest.fixture
def processes(tmp_path, monkeypatch):
    """A fake peer in a real process."""
    (tmp_path / "fake_peer.py").write_text(FAKE)
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with PeerProcesses("fake_peer") as found:
        yield found


@pytest.mark.soak
def test_questions_and_answers_cross_the_process(processes):
    assert processes.missing("torch", "") == ""
    assert processes.missing("torch", "torch.optim.Muon") == "torch lacks torch.optim.Muon"
    case = next(case for case in CASES if "torch" in case.peers)
    problem = make_problem(3, "float64")
    (found,) = processes.path(case, "torch", problem)
    np.testing.assert_array_equal(found["w"], problem.start["wide"] * 2)
    function = next(case for case in FUNCTION_CASES if "torch" in case.peers)
    with pytest.raises(RuntimeError, match=f"ValueError: {function.name} in float32"):
        processes.outputs(function, "torch", "float32")
    assert processes.missing("torch", "") == ""


@pytest.mark.soak
@pytest.mark.parametrize("peer", ["torch", "optax"])
def test_a_peer_gives_the_same_numbers_in_a_process_of_its_own(peer):
    pytest.importorskip(peer)
    case = next(case for case in CASES if peer in case.peers)
    problem = make_problem(5, "float64")
    with PeerProcesses("trainlib.cli.verify_peer") as processes:
        theirs = processes.path(case, peer, problem)
    for a, b in zip(theirs, THIS_PROCESS.path(case, peer, problem), strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])
