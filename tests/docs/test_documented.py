"""Every command and snippet of the documentation is run by a test, or is named here with a reason.

Those that are not run are checked: commands have flags that exist, with values that they take, and
Python compiles, and names functions that exist.
"""

from __future__ import annotations

import pytest
from helpers.documented import check_command, command_lines, fenced, indented, pages, unknown_names

RUN = ("docs/index.md", "docs/tutorial/", "docs/guides/", "docs/concepts/", "docs/migration/")
"""Pages and folders whose fenced blocks `test_pages.py` runs from top to bottom."""
NOT_RUN = {
    "README.md": "test_readme_examples.py runs its Python, tests/e2e/test_figures.py its results",
    "BUILD.md": "commands for developers, which `.ci/run` and `make soak` call",
    "CONTRIBUTING.md": "commands for developers",
    "SECURITY.md": "no commands",
    "docs/augmentation.md": "needs Fashion-MNIST and takes minutes; docs/augmentation.py draws it",
    "docs/compare.md": "takes hours; tests/cli/test_compare.py runs small ones",
    "docs/cross_validation.md": "needs California housing; tests/cli/test_folds.py runs others",
    "docs/data.md": "needs the files that it describes; tests/cli/test_image_folders.py makes some",
    "docs/ensembles.md": "needs Fashion-MNIST; tests/cli/test_ensemble.py runs small ones",
    "docs/estimators.md": "needs California housing; tests/estimators/ runs small ones",
    "docs/export.md": "needs Fashion-MNIST; docs/guides/serve.md is run",
    "docs/models.md": "written by docs/models.py from what the commands print",
    "docs/monitoring.md": "needs Fashion-MNIST; tests/cli/test_tensorboard.py runs small ones",
    "docs/peers.md": "each reproduction is run by docs/peers/run.py",
    "docs/platforms.md": "makes environments: `make compat`",
    "docs/pretraining.md": "needs Fashion-MNIST; the tutorial runs small ones",
    "docs/reference/index.md": "the list of names; tests/test_doctests.py runs their examples",
    "docs/reliability.md": "tests/e2e/test_faults.py makes the faults",
    "docs/runs.md": "written by docs/runs.py from what the commands print",
    "docs/scaling.md": "takes an hour: docs/scaling.py",
    "docs/search.md": "takes minutes; docs/guides/parallel_search.md is run",
    "docs/shell.md": "needs Fashion-MNIST and a folder of a run; tests/cli/ runs each way",
    "docs/speed.md": "takes half an hour of a quiet machine",
    "docs/tables.md": "needs the tables that it describes; tests/cli/test_tables.py makes some",
    "docs/transfer.md": "needs Fashion-MNIST; the tutorial runs small ones",
    "docs/uncertainty.md": "needs Fashion-MNIST: docs/uncertainty.py; the tutorial runs small ones",
    "docs/verification.md": "takes minutes; tests/verify/ runs every case",
    "docs/weight_averaging.md": "needs Fashion-MNIST; tests/training/ runs small ones",
    "docs/workflows.md": "the list of techniques: the pages that it names show what they print",
}
"""Pages with commands that are not run as they stand: why, and what runs instead."""
SHOWN = {
    "docs/index.md": "installs; tests/test_packaging.py does so",
    "docs/guides/preemption.md": "needs Slurm or Kubernetes",
    "docs/guides/serve.md": "needs a server",
    "docs/tutorial/several_devices.md": "needs two machines",
}
"""Pages that are run, but for indented commands."""


def runs(page):
    return page.startswith(RUN)


def test_every_page_is_run_or_named_with_a_reason():
    assert {page for page in pages() if not runs(page)} == set(NOT_RUN)
    assert all(NOT_RUN.values())


@pytest.mark.parametrize("page", [page for page in pages() if runs(page)])
def test_a_page_that_is_run_has_no_commands_that_are_not(page):
    assert {language for language, _ in fenced(page)} <= {"python", "bash"}
    starts = ("train ", "python ", "curl ", "docker ", "pip ", "export ", "make ", "tune ", "#!")
    shown = [text for text in indented(page) if text.startswith(starts) or "TF_CONFIG" in text]
    assert bool(shown) == (page in SHOWN), shown


@pytest.mark.parametrize("page", pages())
def test_commands_have_flags_that_exist(page):
    for line in command_lines(page):
        try:
            check_command(line)
        except Exception as error:
            pytest.fail(f"{page}: {line}\n{error}")


@pytest.mark.parametrize("page", [page for page in pages() if not runs(page)])
def test_python_compiles_and_names_what_exists(page):
    for language, text in fenced(page):
        if language == "python":
            compile(text, page, "exec")
            assert unknown_names(text) == [], page
