from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.catalog import load_config, resolve
from backend.config.compose import apply_overrides, load_yaml, merge, parse_overrides
from backend.core.errors import ConfigError

scalars = st.one_of(st.integers(), st.booleans(), st.text(max_size=5))
trees = st.recursive(
    scalars,
    lambda inner: st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, max_size=3),
)
mappings = st.dictionaries(st.text("abc", min_size=1, max_size=2), trees, max_size=3)


@given(mappings)
def test_merging_nothing_changes_nothing(data: dict[str, object]) -> None:
    assert merge(data, {}) == data
    assert merge({}, data) == data
    assert merge(data, data) == data


@given(mappings, mappings, mappings)
def test_merging_is_associative_where_kinds_agree(
    a: dict[str, object], b: dict[str, object], c: dict[str, object]
) -> None:
    left = merge(merge(a, b), c)
    assert set(left) == set(a) | set(b) | set(c)
    for key in c:
        if not isinstance(c[key], dict):
            assert left[key] == c[key]


def test_merge_leaves_its_arguments_alone() -> None:
    base = {"a": {"b": 1}}
    merged = merge(base, {"a": {"c": [1]}})
    assert merged == {"a": {"b": 1, "c": [1]}}
    assert base == {"a": {"b": 1}}


def test_parents_merge_in_order(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("a: 1\nb: {x: 1, y: 1}\n")
    (tmp_path / "two.yaml").write_text("a: 2\nlist: [1, 2]\n")
    (tmp_path / "child.yaml").write_text("extends: [one.yaml, two.yaml]\nb: {y: 3}\nlist: [9]\n")
    assert load_yaml(tmp_path / "child.yaml") == {"a": 2, "b": {"x": 1, "y": 3}, "list": [9]}


def test_a_circle_of_parents_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    (tmp_path / "b.yaml").write_text("extends: a.yaml\n")
    with pytest.raises(ConfigError, match="circle"):
        load_yaml(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [", "line 1: not valid YAML"),
        ("- 1\n", "expected keys and values"),
        ("extends: {a: 1}\n", "list"),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=sentence) as raised:
        load_yaml(path)
    assert str(path) in str(raised.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such config file"):
        load_yaml(tmp_path / "absent.yaml")


def test_overrides_are_yaml_scalars() -> None:
    parsed = parse_overrides(["a.b=1e-3", "c=true", "d=null", "e=text", "f=[1, 2]", "g=a=b"])
    assert parsed == {"a.b": 1e-3, "c": True, "d": None, "e": "text", "f": [1, 2], "g": "a=b"}
    with pytest.raises(ConfigError, match="key=value"):
        parse_overrides(["nonsense"])


def test_an_override_through_a_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="a value, not a section"):
        apply_overrides({"a": 1}, {"a.b": 2})


def test_overrides_make_sections() -> None:
    assert apply_overrides({}, {"a.b.c": 1}) == {"a": {"b": {"c": 1}}}


def test_off_is_a_word_and_true_is_none(tmp_path: Path) -> None:
    path = tmp_path / "words.yaml"
    path.write_text("amp: off\nrecover: true\nlabels: [no, False]\n")
    assert load_yaml(path) == {"amp": "off", "recover": True, "labels": ["no", False]}
    assert parse_overrides(["a=off", "b=true"]) == {"a": "off", "b": True}


@pytest.mark.parametrize(("word", "meant"), [("off", False), ("yes", True), ("false", False)])
def test_a_boolean_takes_every_word_of_yaml(word: str, meant: bool) -> None:
    given = parse_overrides([f"tensorboard={word}"])
    assert resolve(YOLO, given, "here").tensorboard is meant


YOLO = {"kind": "yolo", "model": "m.safetensors", "data": "data.yaml"}


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"optimizer.lr00": 1}, r"unknown key 'optimizer.lr00' \(did you mean 'lr0'\?\)"),
        ({"epoch": 1}, r"unknown key 'epoch' \(did you mean 'epochs'\?\)"),
        ({"freeze.strategy": "half"}, "unknown strategy 'half'; choose one of full, backbone"),
        ({"imgsz": 100}, "'imgsz': input should be a multiple of 32"),
        ({"device": "0,1"}, "one device per run"),
        ({"kind": ["yolo"]}, r"unknown trainer '\['yolo'\]'; known: yolo"),
        ({"kind": "yollo"}, "unknown trainer 'yollo'; known: yolo"),
        ({"optimizer.lr0": -1}, "'optimizer.lr0'"),
    ],
)
def test_wrong_values_get_one_sentence(overrides: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        resolve(YOLO, overrides, "here")


def test_missing_keys_are_named() -> None:
    with pytest.raises(ConfigError, match="'data' is missing; 'model' is missing"):
        resolve({"kind": "yolo"}, {}, "here")
    with pytest.raises(ConfigError, match="'kind' is missing; known trainers: yolo"):
        resolve({}, {}, "here")


def test_a_resolved_config_is_a_valid_input_again(tmp_path: Path) -> None:
    import yaml

    first = resolve(YOLO, {"optimizer.layer_decay": 0.5}, "here")
    path = tmp_path / "resolved.yaml"
    path.write_text(yaml.safe_dump(first.model_dump(mode="json")))
    assert load_config(path) == first
    assert first.replace({"seed": 3}).seed == 3
    assert first.flat()["optimizer.layer_decay"] == "0.5"
    assert first.flat()["source"] == ""


def test_paths_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve(YOLO, {}, "here").data == tmp_path / "data.yaml"


def test_numbers_are_accepted_where_text_is_meant(tmp_path: Path) -> None:
    loaded = resolve(YOLO, {"device": 0, "name": 2024}, "here")
    assert (loaded.flat()["device"], loaded.flat()["name"]) == ("0", "2024")


def test_a_home_that_does_not_exist_is_no_traceback() -> None:
    assert str(resolve({**YOLO, "data": "~nobody-here/d.yaml"}, {}, "here").data).endswith(
        "~nobody-here/d.yaml"
    )
