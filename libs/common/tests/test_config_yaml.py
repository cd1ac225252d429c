import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.common.config import ConfigError, Problem
from tidemill.common.config.content import read_content
from tidemill.common.config.yamlfile import parse_value, parse_yaml, read_yaml


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "f.yaml")
    return [str(problem) for problem in caught.value.problems]


def test_only_true_and_false_are_booleans_and_only_json_numbers_are_numbers() -> None:
    words = [
        "no",
        "yes",
        "on",
        "off",
        "No",
        "TRUE",
        "n",
        "1:30",
        "007",
        "1_000",
        "0x1F",
        "+1",
        ".5",
        "1.",
        "2025-07-18",
    ]
    assert parse_yaml("\n".join(f"k{n}: {word}" for n, word in enumerate(words)), "f").data == {
        f"k{n}": word for n, word in enumerate(words)
    }
    assert parse_yaml("a: true\nb: false\nc: null\nd: ~\ne:\nf: -1\ng: 1.5\nh: 2e3\ni: 0", "f").data == {
        "a": True,
        "b": False,
        "c": None,
        "d": None,
        "e": None,
        "f": -1,
        "g": 1.5,
        "h": 2000.0,
        "i": 0,
    }


def test_quotes_and_blocks_keep_text() -> None:
    text = "a: 'true'\nb: \"1\"\nc: |\n  1\nd: !  5\ne: ''\n"
    assert parse_yaml(text, "f").data == {"a": "true", "b": "1", "c": "1\n", "d": "5", "e": ""}


def test_every_key_and_item_knows_its_line_and_column() -> None:
    layer = parse_yaml("a:\n  b: 1\n  c:\n    - x\n    - d: 2\n", "f.yaml")
    places = {path: (origin.line, origin.column) for path, origin in layer.origins.items()}
    assert places == {
        (): (1, 1),
        ("a",): (1, 1),
        ("a", "b"): (2, 3),
        ("a", "c"): (3, 3),
        ("a", "c", 0): (4, 7),
        ("a", "c", 1): (5, 7),
        ("a", "c", 1, "d"): (5, 7),
    }


def test_a_key_that_is_there_twice_is_refused_with_both_lines() -> None:
    assert problems("a: 1\nb:\n  c: 1\n  d: {x: 1}\n  c: 2\na: 3\n") == [
        "f.yaml:5:3: b.c: is there twice, on line 3 too; keep one",
        "f.yaml:6:1: a: is there twice, on line 1 too; keep one",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a:\n\tb: 1", "f.yaml:2:1: is not YAML: a tab indents this line; YAML wants spaces"),
        ("a: [1,\n", "f.yaml:2:1: is not YAML: did not find expected node content"),
        ("a: b: c", "f.yaml:1:5: is not YAML: mapping values are not allowed in this context"),
        ("a: 1\nb\n", "f.yaml:3:1: is not YAML: a ':' is missing, on this line or the one before it"),
        ("- 1", "f.yaml:1:1: must hold keys and values, one `key: value` a line"),
        ("just words", "f.yaml:1:1: must hold keys and values, one `key: value` a line"),
        ("a: 1\n---\nb: 2", "f.yaml:2:1: holds a second document after `---`; put it into a file of its own"),
        (
            "a: !!python/object/apply:os.system [ls]",
            "f.yaml:1:4: a: the tag tag:yaml.org,2002:python/object/apply:os.system is not supported; remove it",
        ),
        ("a: &x [*x]", "f.yaml:1:8: a[0]: *x is used before &x is complete"),
        ("a: *x", "f.yaml:1:4: a: *x is used before &x is complete"),
        ("[1]: 2", "f.yaml:1:1: a key must be a word"),
        ("a: {b: 1}\nc:\n  <<: x", "f.yaml:3:3: c: the merge key << is not supported; write the keys out"),
    ],
)
def test_a_broken_file_says_where_and_why(text: str, said: str) -> None:
    assert problems(text) == [said]


def test_an_alias_is_a_copy() -> None:
    data = parse_yaml("a: &x {b: 1}\nc: *x\n", "f").data
    assert data == {"a": {"b": 1}, "c": {"b": 1}}
    assert data["a"] is not data["c"]


def test_aliases_cannot_blow_a_file_up() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))
    (said,) = problems(bomb)
    assert "holds more than 100,000 values, repeated aliases included" in said


def test_a_tower_of_brackets_is_refused() -> None:
    (said,) = problems("a: " + "[" * 200 + "]" * 200)
    assert "is nested more than 50 levels deep" in said
    assert problems("a: " + "[" * 100_000)


def test_an_empty_file_sets_nothing(tmp_path: Path) -> None:
    for content in (b"", b"# only a comment\n", b"---\n", b"\xef\xbb\xbf"):
        file = tmp_path / "f.yaml"
        file.write_bytes(content)
        assert read_yaml(file, "f.yaml").data == {}


def test_a_file_that_is_no_text_is_refused_with_the_line(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_bytes(b"a: 1\nb: \xe9\n")
    with pytest.raises(ConfigError, match=r"f\.yaml:2: is not UTF-8; save the file as UTF-8"):
        read_yaml(file, "f.yaml")
    file.write_bytes(b"a: 1\nb: \x01\n")
    with pytest.raises(ConfigError, match=r"f\.yaml:2: is not YAML: control characters are not allowed"):
        read_yaml(file, "f.yaml")


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"f\.yaml: cannot be read: Is a directory"):
        read_yaml(tmp_path, "f.yaml")


def test_a_pipe_in_place_of_a_file_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "sources" / "demo.yaml"
    pipe.parent.mkdir()
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match=r"demo\.yaml: cannot be read: Is a pipe or a device, not a file"):
        read_yaml(pipe, "demo.yaml")
    with pytest.raises(ConfigError, match="Is a pipe or a device"):
        read_content(tmp_path, pipe.parent)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        (" 5 ", 5),
        ("null", None),
        ("no", "no"),
        ("a: b", "a: b"),
        ("#secret", "#secret"),
        ('"5"', "5"),
        ("'a: [b'", "a: [b"),
        ('"a" b', '"a" b'),
        ("'", "'"),
        ("[a, 'b c', 1]", ["a", "b c", 1]),
        ("{a: 1}", {"a": 1}),
        ("nats://u:p#1 @h", "nats://u:p#1 @h"),
    ],
)
def test_a_text_from_outside_is_a_value_only_where_it_looks_like_one(text: str, value: Any) -> None:
    assert parse_value(text) == value


@pytest.mark.parametrize("text", ["[a", "{a: 1", "{a: 1} x", '["a" "b"]'])
def test_a_list_or_mapping_that_is_broken_says_how_to_write_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a valid (list|mapping); write"):
        parse_value(text)


words = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=10)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(words, json_values, max_size=5))
def test_json_is_read_as_it_is(values: dict[str, Any]) -> None:
    assert parse_yaml(json.dumps(values, ensure_ascii=False), "f").data == values


@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!|>'\"#%@,? \n\t1"), max_size=60))
def test_any_text_is_a_mapping_or_a_problem_with_a_place(text: str) -> None:
    try:
        assert isinstance(parse_yaml(text, "f.yaml").data, dict)
    except ConfigError as error:
        assert error.problems
        assert all(isinstance(problem, Problem) and problem.file == "f.yaml" for problem in error.problems)
