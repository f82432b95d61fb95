"""Flags of all commands with values that cannot be, and pairs of flags that contradict."""

from __future__ import annotations

from collections.abc import Iterator

from helpers.bad_inputs.cases import Case, train

NO_NAMES = ("", " ", "x", "a\nb", "\x1b[31mred", "\u202eenod", "\udcff", "x" * 5000, "none:", ":f")
"""Text that is the name of no function, data set or column."""
NO_SPECS = ("none_of_it:f", "os:nothing", "a b:c", "a..b:c", "1:2", "os:path:join", "\u202ea:b")
"""Text in the form module:function that names no function."""
NO_PATTERNS = ("[", "(", "*", "?x", "(?P<a", "x{2,1}", "\\", "a**", "(?<=.*)b", "[z-a]")
"""Regular expressions that do not compile."""
NO_LISTS = (",", "a,,b", ",a", "a,")

NAMED = ("dataset", "model", "optimizer", "schedule", "regularizer", "constraint", "loss") + (
    "metrics",
    "callbacks",
    "imports",
    "early_stop_monitor",
    "reduce_on_plateau_monitor",
    "checkpoint_best",
    "augment",
    "param_rules",
    "class_weight",
    "image_size",
    "activation",
    "initializer",
    "wide_columns",
    "fourier_columns",
    "input_columns",
    "output_losses",
    "loss_weights",
)
CHOOSE = {
    "early_stop_monitor": ("--early_stop",),
    "reduce_on_plateau_monitor": ("--reduce_on_plateau",),
    "wide_columns": ("--model=wide_deep",),
    "fourier_columns": ("--fourier_features=4",),
}
"""Flags that these need."""
WORDS = {
    "dataset": ("data set", "folder"),
    "metrics": ("metric",),
    "imports": ("module",),
    "callbacks": ("callback",),
}
"""Words with which messages name these flags' values."""
FREE = {"class_weight": ("1:2",), "param_rules": ("",)}
"""Values of these flags that are good."""

CONTRADICTIONS = (
    "--clipnorm=1 --clipvalue=1",
    "--clipnorm=1 --global_clipnorm=1",
    "--oversample --class_weight=balanced",
    "--steps_per_epoch=5",
    "--tensorboard_steps=5",
    "--tensorboard_dir=events",
    "--layer_statistics",
    "--histogram_epochs=3",
    "--early_stop_patience=3",
    "--reduce_on_plateau_factor=0.5",
    "--reduce_on_plateau --schedule=cosine_decay",
    "--reduce_on_plateau --warmup_steps=5",
    "--early_stop --validation_split=0",
    "--early_stop --early_stop_monitor=val_recall",
    "--checkpoint_best=val_loss --validation_split=0",
    "--checkpoint_best=val_recall",
    "--regularized_params=.*",
    "--constrained_params=.*",
    "--l2=0.1",
    "--max_value=2",
    "--momentum=0.9",
    "--optimizer=sgd --beta_1=0.9",
    "--optimizer=adam --rho=0.9",
    "--schedule=constant,cosine_decay",
    "--join_at=5",
    "--schedule=constant,cosine_decay,constant --join_at=5",
    "--schedule=piecewise_constant",
    "--schedule=piecewise_constant --boundaries=1,2 --values=0.1",
    "--schedule=piecewise_constant --boundaries=5,2 --values=0.1,0.2,0.3",
    "--schedule=one_cycle --learning_rate=0.1 --maximal_learning_rate=0.1",
    "--schedule=one_cycle --pct_final=0.5",
    "--schedule=cyclic --step_size_up=5 --gamma=0.5",
    "--schedule=cosine_decay --warmup_target=0.1",
    "--schedule=piecewise_constant --boundaries=1 --values=1,2 --learning_rate=0.1",
    "--loss=mse --metrics=accuracy",
    "--loss=huber --delta=0",
    "--metrics=auto,accuracy",
    "--metrics=fbeta_score,f1_score --threshold=2",
    "--task=regression --metrics=accuracy",
    "--task=regression --calibrate",
    "--calibrate --validation_split=0",
    "--from_logits --loss=mse",
    "--hidden=5 --depth=2",
    "--width=5",
    "--last_width=5",
    "--self_normalizing --activation=relu",
    "--self_normalizing --batch_norm",
    "--self_normalizing --initializer=he_normal",
    "--batch_norm_position=after",
    "--residual=2 --depth=7 --hidden=1",
    "--residual=5 --depth=2",
    "--fourier_scale=2",
    "--fourier_columns=0",
    "--dropout_kind=stochastic_depth --dropout=0.2 --depth=2",
    "--model=cnn --depth=9",
    "--model=cnn --kernel_size=99",
    "--model=cnn --hidden=5",
    "--model=resnet --depth=9",
    "--model=resnet --depth=21",
    "--model=transformer --width=10 --heads=3",
    "--model=rnn --vocabulary=10",
    "--model=wide_deep --wide_columns=0-4 --deep_columns=90",
    "--model=wide_deep --wide_columns=5-2 --deep_columns=0",
    "--model=wide_deep --wide_columns=0-4",
    "--model=wide_deep --loss_weights=main=1,other=2",
    "--model=wide_deep --loss_weights=main=x",
    "--loss_weights=main=1",
    "--output_losses=main=mse",
    "--model=autoencoder --metrics=accuracy",
    "--model=autoencoder --calibrate",
    "--model=autoencoder --class_weight=balanced",
    "--class_weight=0:-1",
    "--class_weight=99:1",
    "--class_weight=0:nan",
    "--class_weight=0:1,0:2",
    "--augment=rotation=2",
    "--augment=cutout=0",
    "--augment=fill_mode=constant",
    "--augment=fill_value=3",
    "--augment=saturation=0.5",
    "--input_columns=a=0-4",
    "--target=3",
    "--sample_weight_column=w",
    "--group_column=g",
    "--image_size=32x32",
    "--color_mode=rgb",
    "--stream_pipeline",
    "--train_examples=999999",
    "--validation_split=0.9999",
    "--validation_split=0.0001",
    "--precision=mixed_float16 --nonfinite=roll_back --strategy=multi_worker",
    "--strategy=multi_worker",
    "--strategy=one_device --replicas=2",
    "--strategy=mirrored --replicas=65",
    "--ensemble=2 --stop_after=5",
    "--ensemble=2 --verify_resume",
    "--ensemble_by=fold",
    "--ensemble_average=logits",
    "--ensemble=2 --ensemble_by=snapshot --epochs=3",
    "--ensemble=2 --ensemble_configs=a,b,c",
    "--ensemble=2 --ensemble_configs=a",
    "--ensemble=2 --ensemble_weights=greedy --validation_split=0",
    "--jobs=2",
    "--ensemble=2 --jobs=0",
    "--ensemble=2 --jobs=-1",
    "--ensemble=2 --jobs=99999999999",
    "--folds=1",
    "--folds=0",
    "--folds=-3",
    "--folds=99999999999",
    "--folds=2 --ensemble=2",
    "--folds=2 --stop_after=3",
    "--folds=2 --verify_resume",
    "--folds=2 --fold_kind=grouped",
    "--folds=2 --fold_repeats=0",
    "--folds=2 --fold_repeats=99999999999",
    "--folds=2 --jobs=0",
    "--fold_repeats=2",
    "--fold_kind=stratified",
    "--folds=2 --group_column=g",
    "--stop_after=0",
    "--stop_after=-3",
    "--stop_after=99999999999",
    "--replay_step=3",
    "--verify_resume --verify_steps=0",
    "--verify_resume --verify_steps=-1",
    "--verify_resume --verify_steps=99999999999",
    "--worker_secret_file=none.txt --strategy=multi_worker",
    "--learning_rate=auto --schedule=piecewise_constant --boundaries=1 --values=1,2",
    "--optimizer=rprop --learning_rate=1000000000.0",
    "--optimizer=rprop --learning_rate=1e-9",
    "--optimizer=rprop --min_step_size=1 --max_step_size=0.1",
    "--optimizer=adan --convention=keras",
    "--optimizer=muon --ns_dtype=int32",
    "--optimizer=muon --ns_steps=1000000",
    "--optimizer=sgd --nesterov",
    "--optimizer=adam --convention=nobody",
    "--constraint=max_norm --axis=7",
    "--constraint=max_norm --axis=x",
    "--constraint=min_max_norm --min_value=3 --max_value=1",
    "--regularizer=l2 --regularized_params=nothing_like_it",
    "--constraint=max_norm --constrained_params=nothing_like_it",
    "--param_rules=nothing_like_it/.*:freeze",
    "--param_rules=.*:momentum=0.9",
    "--param_rules=.*:learning_rate=-1",
    "--param_rules=.*:learning_rate*=nan",
    "--param_rules=.*:freeze=3",
    "--hidden=9999999,9999999",
    "--hidden=99999999999",
    "--hidden=2147483647",
    "--depth=1000 --width=100000",
    "--model=rnn --units=2147483647",
    "--model=cnn --filters=2147483647",
    "--metrics=auc --num_thresholds=2147483647",
    "--metrics=expected_calibration_error --num_bins=2147483647",
    "--nosuchflag",
    "--nosuchflag=3",
    "--epoch=3",
    "--epochs",
    "epochs=3",
    "--flagfile=none.txt",
    "--flagfile=.",
    "--run_dir=/proc/run",
    "--run_dir=/dev/null",
    "--run_dir=/dev/null/run",
    "--tensorboard --tensorboard_dir=/proc/events",
    "--tensorboard --tensorboard_dir=/dev/null",
    "--resume=none",
    "--resume=none --run_dir=other",
    "--resume=.",
    "--resume=/dev/null",
    "--data_dir=none --dataset=mnist.npz",
    "--dataset=~nobody/x.csv",
    "--code_path=none --callbacks=mine:f",
    "--help=nothing",
    "--traceback=x",
)
"""Flags of `train` of which the message names at least one, or a value of one."""

OTHERS = {
    "tune": (
        "",
        "--search=x",
        "--search=",
        "--search=learning_rate=log(1,0)",
        "--search=learning_rate=log(-1,1)",
        "--search=learning_rate=log(nan,1)",
        "--search=learning_rate=uniform(1,inf)",
        "--search=learning_rate=log(1e-3,1e-1",
        "--search=nothing={1,2}",
        "--search=optimizer={}",
        "--search=optimizer={sgd,nobody}",
        "--search=optimizer={sgd,sgd}",
        "--search=depth=int(0,99999999999999999999)",
        "--search=depth=int(3,1)",
        "--search=depth=int(0,1.5)",
        "--search=train_examples={10,20}",
        "--search=report={true,false}",
        "--search=\x1b[31m={1}",
        "--search=\u202ea={1}",
        "--search=\udcff={1}",
        "--search=learning_rate={0.1,0.2} --trials=0",
        "--search=learning_rate={0.1,0.2} --trials=-1",
        "--search=learning_rate={0.1,0.2} --trials=99999999999",
        "--search=learning_rate={0.1,0.2} --trials=x",
        "--search=learning_rate={0.1,0.2} --jobs=0",
        "--search=learning_rate={0.1,0.2} --jobs=99999999999",
        "--search=learning_rate={0.1,0.2} --folds=99999999999",
        "--search=learning_rate={0.1,0.2} --sampler=x",
        "--search=learning_rate={0.1,0.2} --pruner=x",
        "--search=learning_rate={0.1,0.2} --monitor=nothing",
        "--search=learning_rate={0.1,0.2} --validation_split=0",
        "--search=learning_rate={0.1,0.2} --storage=/proc/study",
        "--search=learning_rate={0.1,0.2} --run_dir=/proc/run",
        "--search=learning_rate=log(1e-3,1e-1) --sampler=grid",
        "--search=learning_rate={0.1,0.2} --ensemble=2",
        "--resume=none",
        "--resume=.",
        "--resume=none --search=x",
    ),
    "compare": (
        "",
        "--vary=x",
        "--vary=",
        "--vary=optimizer={sgd,nobody}",
        "--vary=optimizer={sgd,sgd}",
        "--vary=optimizer={sgd}",
        "--vary=nothing={1,2}",
        "--vary=seed={1,2}",
        "--vary=epochs={0,1}",
        "--vary=\x1b[31m={1,2}",
        "--vary=\u202ea={1,2}",
        "--vary=optimizer={sgd,adam} --seeds=0",
        "--vary=optimizer={sgd,adam} --seeds=-1",
        "--vary=optimizer={sgd,adam} --seeds=99999999999",
        "--vary=optimizer={sgd,adam} --seeds=x",
        "--vary=optimizer={sgd,adam} --jobs=0",
        "--vary=optimizer={sgd,adam} --jobs=99999999999",
        "--vary=optimizer={sgd,adam} --monitor=nothing",
        "--vary=optimizer={sgd,adam} --flagfiles=a,b",
        "--vary=optimizer={sgd,adam} --validation_split=0 --monitor=val_loss",
        "--vary=optimizer={sgd,adam} --run_dir=/proc/run",
        "--flagfiles=none.txt,other.txt",
        "--resume=none",
        "--resume=.",
    ),
    "lr_find": (
        "--start_lr=0",
        "--start_lr=-1",
        "--start_lr=nan",
        "--start_lr=inf",
        "--start_lr=x",
        "--start_lr=1 --end_lr=0.1",
        "--end_lr=inf",
        "--end_lr=1e300",
        "--max_steps=0",
        "--max_steps=-1",
        "--max_steps=9",
        "--max_steps=99999999999",
        "--max_steps=x",
        "--smoothing=1",
        "--smoothing=-1",
        "--smoothing=nan",
        "--diverge_factor=1",
        "--diverge_factor=nan",
        "--run_dir=/proc/run",
        "--run_dir=/dev/null",
        "--dataset=none.npz",
        "--optimizer=nobody",
    ),
    "evaluate": (
        "",
        "--run_dir=none",
        "--run_dir=.",
        "--run_dir=/dev/null",
        "--run_dir=\x1b[31m",
        "--run_dir=\udcff",
        "--part=nothing",
        "--part=",
        "--epochs=3",
        "extra",
    ),
    "predict": (
        "",
        "--run_dir=none",
        "--run_dir=none --data=x.npz",
        "--run_dir=.",
        "--run_dir=\u202e",
        "--run_dir=. --mc_samples=x",
        "--run_dir=. --mc_masks=x",
        "--run_dir=. --seed=x",
        "extra",
    ),
    "report": ("", "none", ".", "/dev/null", "\x1b[31m", "\udcff", "none other", "none --nothing"),
    "verify": (
        "--optimizer=nobody",
        "--optimizer=",
        "--kind=nothing",
        "--dtype=int32",
        "--dtype=",
        "--steps=0",
        "--steps=-1",
        "--steps=x",
        "--steps=99999999999",
        "--against=nobody",
        "--loss=\x1b[31m",
        "--loss=\u202eesm",
        "--optimizer=sgd --output=/proc/table",
        "--optimizer=sgd --output=/dev/null/table",
        "extra",
    ),
}
"""Arguments of the other commands."""


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for flag in NAMED:
        others = CHOOSE.get(flag, ())
        for value in (*NO_NAMES, *NO_SPECS):
            if value not in FREE.get(flag, ()) and (
                value
                or flag not in ("metrics", "imports", "callbacks", "output_losses", "loss_weights")
            ):
                name = f"{flag} of {value[:20]!r}"
                yield train(
                    name,
                    (flag, flag.split("_")[-1], shown_start(value), *WORDS.get(flag, ())),
                    *others,
                    f"--{flag}={value}",
                )
    for flag in ("metrics", "callbacks", "imports", "schedule"):
        for value in NO_LISTS:
            yield train(f"list {flag} {value}", flag.rstrip("s"), f"--{flag}={value}")
    for pattern in NO_PATTERNS:
        for flag, chosen in (
            ("regularized_params", "--regularizer=l2"),
            ("constrained_params", "--constraint=max_norm"),
        ):
            yield train(f"pattern {flag} {pattern}", flag, chosen, f"--{flag}={pattern}")
        yield train(
            f"pattern param_rules {pattern}",
            ("param_rules", pattern),
            f"--param_rules={pattern}:freeze",
        )
    for text in CONTRADICTIONS:
        flags = text.split(" ")
        yield train(text, names(flags), *flags)
    for command, lines in OTHERS.items():
        for text in lines:
            flags = text.split(" ") if text else []
            yield Case(f"{command} {text}", command, tuple(flags), names(flags) or ("",))


def shown_start(value: str) -> str:
    """Return the first characters of a value, as a message shows them."""
    return "".join(x if x.isprintable() else ascii(x)[1:-1] for x in value[:9].strip())


def names(flags: list[str]) -> tuple[str, ...]:
    """Return the names of flags and their values, of which a message has one."""
    found = []
    for flag in flags:
        name, _, value = flag.removeprefix("--").partition("=")
        found += [name, name.partition("_")[0], *([value] if value.isalnum() else [])]
        found += [
            part
            for part in value.replace("=", " ").replace(":", " ").split()
            if part.replace("_", "").isalnum()
        ]
        found += [shown_start(value), *(x for x in value.split(",") if "." in x)]
        found += value.split("/")[-1:] if "/" in value else [shown_start(flag)]
    return tuple(x for x in found if x)
