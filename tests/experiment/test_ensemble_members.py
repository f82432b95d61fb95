"""The configurations and the data of the members of an ensemble."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.experiments import experiment

from trainlib.experiment.ensemble_checks import check_ensemble
from trainlib.experiment.ensemble_members import fold_numbers, member_config, member_task
from trainlib.experiment.task_building import build_task


def test_members_have_seeds_in_a_row_and_one_split() -> None:
    config = experiment("--ensemble=3", "--seed=4294967295", "--calibrate")
    members = [member_config(config, i) for i in range(3)]
    assert [m.seed for m in members] == [4294967295, 0, 1]
    assert {m.data.split_seed for m in members} == {4294967295}
    assert not any(m.calibrate for m in members) and all(m.ensemble.is_one for m in members)


def test_the_split_has_its_own_seed() -> None:
    split = [
        build_task(experiment(*flags)).validation.x
        for flags in (["--seed=5"], ["--seed=2", "--split_seed=5"], ["--seed=2"])
    ]
    np.testing.assert_array_equal(split[0], split[1])
    assert not np.array_equal(split[0], split[2])


def test_flag_files_replace_the_functions_of_members(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("--optimizer=sgd\n--momentum=0.5\n")
    (tmp_path / "b.txt").write_text("--hidden=7\n--dataset=digits\n")
    files = ",".join(str(tmp_path / name) for name in ("a.txt", "b.txt"))
    config = experiment("--beta_1=0.8", "--ensemble=3", f"--ensemble_configs={files}")
    a, b, again = (member_config(config, i) for i in range(3))
    assert (a.optimizer.name, dict(a.optimizer.hyperparameters)) == ("sgd", {"momentum": 0.5})
    assert dict(b.optimizer.hyperparameters) == {"beta_1": 0.8}
    assert b.model.hyperparameters["hidden"] == (7,)
    assert again.optimizer == a.optimizer and again.seed == 2


def test_a_flag_file_that_changes_the_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("--train_examples=7\n")
    config = experiment("--ensemble=2", f"--ensemble_configs={tmp_path / 'a.txt'}")
    with pytest.raises(ValueError, match=r"a.txt: --train_examples is the same for all members"):
        member_config(config, 0)


def test_a_flag_file_may_name_the_loss_of_the_ensemble_in_short(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("--loss=mse\n--metrics=acc\n--hidden=7\n")
    files = f"--ensemble_configs={tmp_path / 'a.txt'}"
    config = experiment("--ensemble=2", "--loss=mse", "--metrics=acc", files)
    assert member_config(config, 0).model.hyperparameters["hidden"] == (7,)
    (tmp_path / "a.txt").write_text("--loss=mae\n")
    with pytest.raises(ValueError, match="a.txt: --loss is the same for all members"):
        member_config(config, 0)


def test_folds_are_parts_of_equal_size_in_each_class() -> None:
    labels = np.random.default_rng(0).integers(0, 3, 103)
    numbers = fold_numbers(103, 5, 0, labels)
    for part in (numbers, *(numbers[labels == k] for k in range(3))):
        counts = np.bincount(part, minlength=5)
        assert counts.max() - counts.min() <= 1
    assert not np.array_equal(numbers, fold_numbers(103, 5, 1, labels))


def test_members_by_fold_train_on_all_but_their_fold() -> None:
    config = experiment("--train_examples=100", "--ensemble=4", "--ensemble_by=fold")
    task = build_task(config)
    tasks = [member_task(config, task, i) for i in range(4)]
    held_out = np.concatenate([x.validation.x for x in tasks])
    assert sorted(map(bytes, held_out)) == sorted(map(bytes, task.train.x))
    assert [x.train.size + x.validation.size for x in tasks] == [task.train.size] * 4


def test_options_of_an_ensemble_need_members() -> None:
    with pytest.raises(ValueError, match="ensemble_by needs an ensemble of at least 2"):
        experiment("--ensemble_by=fold")


@pytest.mark.parametrize("flag", ["--oversample", "--group_column=patient"])
def test_folds_of_members_do_not_divide_repeated_or_grouped_examples(flag):
    config = experiment("--train_examples=100", "--ensemble=2", "--ensemble_by=fold", flag)
    task = build_task(experiment("--train_examples=100"))
    with pytest.raises(ValueError, match=f"which {flag.strip('-').partition('=')[0]} does not al"):
        check_ensemble(config, task)
