"""`trainlib completion`: scripts of three shells, run by them."""

from __future__ import annotations

import shlex
import shutil
import subprocess

import pytest

from trainlib.cli.completion import SHELLS, completed, script
from trainlib.registry import OPTIMIZERS, SCHEDULES

needs = {
    shell: pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed")
    for shell in SHELLS
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the scripts and a file."""
    folder = tmp_path_factory.mktemp("completion")
    found = completed()
    for shell in SHELLS:
        (folder / f"trainlib.{shell}").write_text(script(shell, found))
    (folder / "a run").mkdir()
    return folder


def shell(name, code, folder):
    done = subprocess.run([name, "-c", code], capture_output=True, text=True, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.fixture
def bash(folder):
    """`bash("train", "--opt")`: what bash offers for the last word."""

    def offer(*words):
        code = (
            "source trainlib.bash; compopt() { :; }; "
            f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; _trainlib; "
            "printf '%s\\n' \"${COMPREPLY[@]}\""
        )
        return [word for word in shell("bash", code, folder) if word]

    return offer


@needs["bash"]
def test_bash_completes_commands_flags_values_and_files(bash):
    assert bash("trainlib", "ev") == ["evaluate"]
    assert bash("trainlib", "list", "opt") == ["optimizers"]
    assert bash("train", "--early_stop_pat") == ["--early_stop_patience="]
    assert "--noreport" in bash("trainlib", "train", "--nore")
    assert "--beta_1=" in bash("tune", "--beta"), "flags that the help leaves to topics too"
    assert bash("train", "--optimizer", "=", "nada") == ["nadam", "nadamw"]
    assert set(bash("train", "--optimizer", "=")) == set(OPTIMIZERS)
    assert bash("train", "--schedule=cosine_decay_r") == ["--schedule=cosine_decay_restarts"]
    assert bash("train", "--metrics", "=", "accuracy,f1") == ["accuracy,f1_score"]
    assert bash("evaluate", "--run_dir", "=", "a") == ["a run"]
    assert "digits" in bash("train", "--dataset", "=", "")


@needs["fish"]
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("trainlib ev", ["evaluate"]),
        ("trainlib train --early_stop_pat", ["--early_stop_patience="]),
        ("train --optimizer=nada", ["--optimizer=nadam", "--optimizer=nadamw"]),
        ("train --metrics=accuracy,f1", ["--metrics=accuracy,f1_score"]),
        ("evaluate --run_dir=a", ["--run_dir=a run"]),
    ],
)
def test_fish_completes(line, expected, folder):
    code = f"source trainlib.fish; complete -C {shlex.quote(line)}"
    assert [x.split("\t")[0] for x in shell("fish", code, folder)] == expected


ZSHRC = """
autoload -U compinit; compinit -u -D; source ./trainlib.zsh
show() { print -r "BUFFER<$BUFFER>" }; zle -N show; bindkey "^X" show
precmd() { print READY }
"""


@needs["zsh"]
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("trainlib eva", "trainlib evaluate"),
        ("train --early_stop_pat", "train --early_stop_patience="),
        ("train --schedule=cosine_decay_r", "train --schedule=cosine_decay_restarts"),
        ("train --metrics=accuracy,f1", "train --metrics=accuracy,f1_score"),
    ],
)
def test_zsh_completes(line, expected, folder):
    """An inner zsh completes the line at a TAB, and shows it at Ctrl-X."""
    (folder / ".zshrc").write_text(ZSHRC)
    keys = shlex.quote(line) + "$'\\t\\x18'"
    code = (
        "zmodload zsh/zpty; export ZDOTDIR=$PWD; zpty z zsh; zpty -r z found '*READY*'; "
        f"zpty -w -n z {keys}; zpty -r z found '*BUFFER<*>*'; print -r -- $found"
    )
    assert f"BUFFER<{expected}" in "".join(shell("zsh", code, folder))


def test_every_flag_and_every_name_is_completed():
    found = completed()
    assert "--beta_1=" in found.flags["train"] and "--verbose" in found.flags["report"]
    assert list(found.values["lr_find:optimizer"]) == list(OPTIMIZERS)
    assert set(found.values["train:schedule"]) < set(SCHEDULES)
    assert found.values["evaluate:part"] == ["train", "validation", "test"]


def test_other_shells_are_refused(command):
    done = command("completion", "csh")
    assert (done.status, done.out) == (2, "") and "bash" in done.err
    assert command("completion").err == "completion: give a shell, or several\n"
