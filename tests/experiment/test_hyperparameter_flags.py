"""Which function gets a hyperparameter, and when it must be written with its kind."""

from __future__ import annotations

import pytest
from helpers.experiments import experiment

import trainlib as tl


def test_a_name_that_functions_of_one_kind_take_is_written_alone():
    config = experiment("--optimizer=adam", "--beta_1=0.5", "--clipnorm=2")
    assert config.optimizer == tl.config("adam", beta_1=0.5)
    assert config.clipping == tl.config("clip_by_norm", clipnorm=2.0)


def test_a_name_that_two_kinds_have_is_written_alone_if_one_chosen_function_takes_it():
    config = experiment("--schedule=cosine_decay", "--alpha=0.1")
    assert config.schedule.schedules == (tl.config("cosine_decay", alpha=0.1),)


def test_a_name_that_functions_of_two_kinds_take_must_be_written_with_the_kind():
    flags = ("--schedule=cosine_decay", "--loss=tversky")
    message = (
        "^--alpha is ambiguous: schedule cosine_decay and loss tversky take it; give "
        "--schedule_alpha or --loss_alpha$"
    )
    with pytest.raises(ValueError, match=message):
        experiment(*flags, "--alpha=0.1")
    with pytest.raises(ValueError, match=message):
        experiment(*flags, "--alpha=0.1", "--loss_alpha=0.2")
    config = experiment(*flags, "--schedule_alpha=0.1", "--loss_alpha=0.2")
    assert config.schedule.schedules == (tl.config("cosine_decay", alpha=0.1),)
    assert config.loss == tl.config("tversky", alpha=0.2)


def test_a_name_may_be_written_with_its_kind_where_it_is_not_ambiguous():
    config = experiment("--loss=tversky", "--loss_alpha=0.2")
    assert config == experiment("--loss=tversky", "--alpha=0.2")


def test_flag_files_write_a_name_that_several_kinds_have_with_its_kind():
    lines = experiment("--epsilon=1e-3", "--beta_1=0.5").to_flags().splitlines()
    assert {"--optimizer_epsilon=0.001", "--beta_1=0.5"} <= {*lines}


def test_both_spellings_of_one_hyperparameter_must_agree():
    assert experiment("--epsilon=1", "--optimizer_epsilon=1") == experiment("--epsilon=1")
    message = (
        "^--optimizer_epsilon=2.0 and --epsilon=1.0 set the same hyperparameter: give one of them"
    )
    with pytest.raises(ValueError, match=message):
        experiment("--epsilon=1", "--optimizer_epsilon=2")


def test_several_schedules_share_their_hyperparameters():
    config = experiment("--schedule=constant,cosine_decay", "--join_at=9", "--alpha=0.1")
    assert config.schedule.schedules == (
        tl.config("constant"),
        tl.config("cosine_decay", alpha=0.1),
    )


@pytest.mark.parametrize(
    ("flags", "warmup"),
    [
        (["--warmup_steps=20"], {"warmup_steps": 20}),
        (["--schedule_warmup_steps=20"], {"warmup_steps": 20}),
        (["--warmup_steps=20", "--warmup_start=0.5"], {"warmup_steps": 20, "warmup_start": 0.5}),
        (["--schedule=cosine_decay", "--warmup_steps=20"], None),
        (["--schedule=linear_warmup", "--warmup_steps=20"], None),
        (["--optimizer=schedule_free_adamw", "--warmup_steps=20"], None),
        (
            [
                "--optimizer=schedule_free_adamw",
                "--optimizer_warmup_steps=3",
                "--schedule_warmup_steps=20",
            ],
            {"warmup_steps": 20},
        ),
        ([], None),
    ],
)
def test_warmup_steps_make_a_warmup_if_no_chosen_function_takes_them(flags, warmup):
    found = experiment(*flags).schedule.warmup
    assert found == (warmup and tl.config("linear_warmup", **warmup))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--optimizer=sgd", "--beta_1=0.5"],
            "^--beta_1 is not for optimizer sgd, which takes --learning_rate, --momentum, .*; it "
            "is for adam, adamw, ",
        ),
        (
            ["--alpha=0"],
            "^--alpha is not for optimizer adam, which takes .*; it is for ademamix$",
        ),
        (
            ["--schedule_alpha=0"],
            "^--schedule_alpha is not for schedule constant, which takes none; it is for "
            "cosine_decay, cosine_decay_restarts, warmup_stable_decay$",
        ),
        (
            ["--model=own.keras", "--hidden=3"],
            "^--hidden is not for model own.keras, which takes none; "
            "it is for mlp, wide_deep, autoencoder$",
        ),
        (["--l1=0.1"], "^--l1 needs --regularizer=l1 or l1_l2$"),
        (["--max_value=2"], "^--max_value needs --constraint=max_norm or min_max_norm$"),
        (["--loss=poisson", "--delta=3"], "^--delta is not for loss poisson, which takes none; "),
        (["--delta=3"], "^--delta is not for loss auto, which takes --ignore_class; it is for hub"),
        (["--clipnorm=1", "--clipvalue=1"], "^give only one of --clipvalue, --clipnorm, --global_"),
        (["--metrics=accuracy,acuracy"], "^unknown metric 'acuracy': did you mean 'accuracy'"),
        (["--schedule=constant,cosine"], "^unknown schedule 'cosine': did you mean 'cosine_decay'"),
        (["--loss=circle"], "^unknown loss 'circle': "),
        (["--model=mpl", "--hidden=3"], "^unknown model 'mpl': did you mean 'mlp'"),
    ],
)
def test_a_hyperparameter_that_no_chosen_function_takes_is_refused(flags, message):
    with pytest.raises(ValueError, match=message):
        experiment(*flags)


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--loss=huber", "--delta=2"],
        ["--metrics=sparse_top_k_categorical_accuracy,accuracy", "--k=3"],
        ["--model=own.keras", "--clipping=0.1"],
        ["--model=of.my:own", "--early_stop", "--early_stop_patience=3"],
        ["--constraint=max_norm", "--max_value=2", "--warmup_steps=3"],
    ],
)
def test_functions_with_their_hyperparameters_are_accepted(flags):
    experiment(*flags)


def test_short_names_are_written_out_in_the_configuration():
    config = experiment("--loss=mse", "--metrics=MAE,r2")
    assert config == experiment(
        "--loss=mean_squared_error", "--metrics=mean_absolute_error,r2_score"
    )
    assert "--loss=mean_squared_error" in config.to_flags().splitlines()
    assert tl.ExperimentConfig(loss=tl.config("bce")).loss == tl.config("binary_crossentropy")


def test_a_name_that_is_another_flag_is_written_with_its_kind():
    flags = ("--metrics=recall_at_precision", "--metrics_precision=0.75", "--precision=float64")
    config = experiment(*flags)
    assert config.metrics == (tl.config("recall_at_precision", precision=0.75),)
    assert config.precision == "float64"
    assert {*flags} <= {*config.to_flags().splitlines()}
    with pytest.raises(ValueError, match="^metric recall_at_precision needs metrics_precision"):
        experiment("--metrics=recall_at_precision")


def test_one_number_is_a_sequence_of_one():
    config = experiment("--metrics=precision", "--thresholds=0.25")
    assert config.metrics == (tl.config("precision", thresholds=(0.25,)),)
    of_number = tl.ExperimentConfig(metrics=(tl.config("precision", thresholds=0.25),))
    assert of_number.metrics == config.metrics
