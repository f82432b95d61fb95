"""`--config=FILE`: flags in YAML, TOML and JSON."""

from __future__ import annotations

import sys

import pytest

FILES = {
    "a.yaml": 'count: 3\nrate: 1e-3\nloud: true\nsizes: [3, 4]\nname: "it\'s"\n# a comment\n',
    "a.toml": 'count = 3\nrate = 1e-3\nloud = true\nsizes = [3, 4]\nname = "it\'s"\n',
    "a.json": '{"count": 3, "rate": 1e-3, "loud": true, "sizes": [3, 4], "name": "it\'s"}',
}


@pytest.fixture
def parsed(toy, tmp_path):
    """`parsed(name, text, *flags)`: the values of the toy command with a file, and how it ended."""

    def run(name, text, *flags):
        (tmp_path / name).write_text(text)
        found = []
        done = toy(f"--config={name}", *flags, work=found.append)
        return (found or [None])[0], done

    return run


@pytest.mark.parametrize("name", FILES)
def test_a_file_gives_values_to_flags(name, parsed):
    if name == "a.yaml":
        pytest.importorskip("yaml")
    values, done = parsed(name, FILES[name])
    assert done == (0, "", "")
    assert (values.count, values.rate, values.loud) == (3, 1e-3, True)
    assert (values.sizes, values.name) == ([3, 4], "it's")
    assert values["count"].present and not values["mood"].present


@pytest.mark.parametrize("word", ["yes", "no", "on", "OFF"])
def test_words_for_bools_are_text_unless_the_flag_is_boolean(word, parsed):
    pytest.importorskip("yaml")
    values, done = parsed("a.yaml", f"name: {word}\nloud: {word}\n")
    assert done == (0, "", "")
    assert (values.name, values.loud) == (word, word in ("yes", "on"))


def test_numbers_of_base_60_are_text(parsed):
    pytest.importorskip("yaml")
    values, done = parsed("a.yaml", "name: 1:5\nsizes: [3, 0x10]\n")
    assert done == (0, "", "")
    assert (values.name, values.sizes) == ("1:5", [3, 16])


def test_flags_of_the_command_line_and_of_a_flag_file_take_precedence(parsed, tmp_path):
    (tmp_path / "flags.txt").write_text("--rate=2\n")
    values, done = parsed("a.json", FILES["a.json"], "--count=5", "--flagfile=flags.txt")
    assert done.status == 0
    assert (values.count, values.rate, values.loud) == (5, 2.0, True)


def test_a_flag_file_may_name_a_config_file(toy, tmp_path):
    (tmp_path / "a.json").write_text(FILES["a.json"])
    (tmp_path / "flags.txt").write_text("--config=a.json\n")
    found = []
    assert toy("--flagfile=flags.txt", work=found.append).status == 0
    assert found[0].count == 3


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", '{"cout": 3}', "unknown flag cout: did you mean count?"),
        ("a.json", '{"count": "x"}', "flag --count=x: 'x' is not an integer"),
        ("a.json", '{"count": true}', "flag --count=true: 'true' is not an integer"),
        ("a.json", '{"count": {"a": 1}}', "count must be a value or a list of values, got {"),
        ("a.json", '{"count": null}', "count must be a value or a list of values, got null"),
        ("a.json", '{"count": 1, "count": 2}', "count is given twice"),
        ("a.json", "[1]", "it must hold a value by flag, as in `epochs: 5`"),
        ("a.json", '{"config": "b.json"}', "unknown flag config"),
        ("a.json", "{", "Expecting"),
        ("a.txt", "count: 3", "its name must end in one of .yaml, .yml, .toml, .json"),
        ("a.toml", "count = ", "Invalid value"),
        ("a.yaml", "count: 1\ncount: 2", "count is given twice"),
        ("a.yaml", "count: [1", "while parsing"),
    ],
)
def test_other_files_are_one_line(name, text, message, parsed):
    if name.endswith("yaml"):
        pytest.importorskip("yaml")
    values, done = parsed(name, text)
    assert (done.status, done.out, values) == (2, "", None)
    assert done.err.startswith(f"toy: --config {name}: ") or done.err.startswith("toy: config ")
    assert message in done.err and done.err.count("\n") == 1


def test_a_missing_file_and_a_missing_package_are_one_line(toy, parsed, monkeypatch):
    assert toy("--config=none.json").err == "toy: none.json: No such file or directory\n"
    monkeypatch.setitem(sys.modules, "yaml", None)
    _, done = parsed("a.yaml", "count: 3")
    assert done.status == 2 and "pip install pyyaml" in done.err


def test_a_run_from_a_file_is_the_run_of_the_flags(quick, parse, tmp_path):
    (tmp_path / "a.json").write_text('{"optimizer": "sgd", "momentum": 0.9, "metrics": ["mae"]}')
    done = quick("--config=a.json", "--dry_run")
    assert done.status == 2 and "metric" in done.err
    (tmp_path / "a.json").write_text('{"optimizer": "sgd", "momentum": 0.9}')
    done = quick("--config=a.json", "--dry_run", "--loss=mse")
    assert done.status == 0, done.err
    assert "sgd" in done.out
