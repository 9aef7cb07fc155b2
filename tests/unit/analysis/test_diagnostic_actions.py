"""From an advice to config keys, a training and a sweep that can be typed."""

import shlex
from collections.abc import Mapping
from pathlib import Path

import pytest

from backend.analysis.diagnostics.actions import Levers, Source, parse, resolve, typed, written
from backend.analysis.diagnostics.rule import Advice, Turn
from backend.catalog import CATALOG
from backend.catalog import resolve as config_of
from backend.config.compose import parse_overrides
from backend.core.diagnosis import Action, Change
from backend.core.trainer import Role

LEVERS: Levers = {"lr": ("opt.lr", "opt.other"), "warmup": ("steps",), "separator": ("sep",),
                  "bias_init": ("bias",), "clip": ("clip",),
                  "dropout": ("net.dropout",)}  # fmt: skip
CONFIG = {"opt.lr": "0.3", "steps": "100", "sep": "_", "bias": "False", "clip": "0.0"}


def acted(
    *change: Turn, study: tuple[Turn, ...] = (), config: Mapping[str, str] = CONFIG
) -> Action:
    return resolve(Advice("do it", change, study), LEVERS, config, "a.yaml")


def test_a_factor_is_taken_of_the_value_now_and_the_first_is_the_change() -> None:
    action = acted(Turn("lr", (0.1, 0.03)), study=(Turn("lr", (0.1, 0.033, 0.01)),))

    assert action.advice == "do it"
    assert action.changes == (Change(key="opt.lr", now=0.3, proposed=0.03),)
    assert action.command == "assay train a.yaml --set opt.lr=0.03"
    assert action.search == {"opt.lr": (0.03, 0.0099, 0.003)}
    assert action.study == "assay study run sweep --config a.yaml --over opt.lr=0.03,0.0099,0.003"


@pytest.mark.parametrize(
    ("role", "times", "now", "proposed"),
    [
        ("lr", 1 / 3, "0.001", 0.00033),
        ("lr", 10.0, "1e-05", 1e-4),
        ("lr", 0.1, "2", 1),  # a whole number stays one, and above zero
        ("warmup", 3.0, "100", 300),
        ("warmup", 1.5, "7", 10),
    ],
)
def test_numbers_have_two_digits_and_keep_their_kind(
    role: Role, times: float, now: str, proposed: float
) -> None:
    key = LEVERS[role][0]
    (change,) = acted(Turn(role, (times,)), config={key: now}).changes

    assert change.proposed == proposed
    assert isinstance(change.proposed, type(parse(now)))


def test_values_are_of_the_kind_that_the_key_holds_and_differ_from_now() -> None:
    (clip,) = acted(Turn("clip", values=(0, 5))).changes
    assert (clip.now, clip.proposed) == (0.0, 5.0)
    assert isinstance(clip.proposed, float)
    (bias,) = acted(Turn("bias_init", values=(False, True))).changes
    assert (bias.now, bias.proposed) == (False, True)


def test_what_the_config_has_not_or_would_not_change_is_left_out() -> None:
    nothing = acted(Turn("dropout", (2.0,)), Turn("stride", values=(1,)), Turn("clip", (0.5,)),
                    Turn("separator", (2.0,)), Turn("separator", values=("_",)))  # fmt: skip

    assert nothing == Action(advice="do it")


def test_several_levers_are_one_change() -> None:
    action = acted(Turn("lr", (0.1,)), Turn("bias_init", values=(True,)))

    assert action.command == "assay train a.yaml --set opt.lr=0.03 --set bias=true"


def test_a_study_has_few_trials() -> None:
    many = Turn("lr", tuple(1 / n for n in range(2, 12)))
    action = acted(study=(many, Turn("bias_init", values=(True,)), Turn("warmup", (2.0, 3.0))))

    assert {key: len(values) for key, values in action.search.items()} == {
        "opt.lr": 6, "bias": 1, "steps": 2,
    }  # fmt: skip
    assert action.search["opt.lr"][0] == 0.15, "the first values stay"


def test_without_a_file_there_is_nothing_to_type() -> None:
    advice = Advice("x", (Turn("lr", (0.1,)),), (Turn("lr", (0.1,)),))
    action = resolve(advice, LEVERS, CONFIG, "")

    assert action.changes
    assert action.search
    assert (action.command, action.study) == ("", "")


def test_settings_beside_the_file_are_kept_unless_they_are_what_changes() -> None:
    source = Source("my runs/a.yaml", ("seed=3", "opt.lr=0.3"))
    advice = Advice("x", (Turn("lr", (0.1,)),), (Turn("lr", (0.1, 0.01)),))
    action = resolve(advice, LEVERS, CONFIG, source)

    assert action.command == "assay train 'my runs/a.yaml' --set seed=3 --set opt.lr=0.03"
    assert action.study == (
        "assay study run sweep --config 'my runs/a.yaml' --set seed=3 --over opt.lr=0.03,0.003"
    )


@pytest.mark.parametrize("value", [" ", "_", ", ", "a b", "true", "", "null", "é", "a'b",
                                   None, True, 3, 0.0001, 26.7, "/data/x~.json"])  # fmt: skip
def test_what_is_typed_is_read_as_the_same(value: object) -> None:
    typed_out = shlex.split(shlex.quote(f"key={written(value)}"))[0]  # type: ignore[arg-type]

    assert parse_overrides([typed_out])["key"] == value


@pytest.mark.parametrize("kind", sorted(CATALOG))
def test_every_lever_of_every_trainer_is_a_key_of_its_config(kind: str) -> None:
    needed = {"kind": kind, "data": "d.yaml"} | ({"model": "m.pt"} if kind == "yolo" else {})
    flat = config_of(needed, {}, kind).flat()

    for role, keys in CATALOG[kind].levers.items():
        assert set(keys) <= set(flat), role


def test_a_file_below_this_folder_is_called_by_its_relative_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert typed(tmp_path / "runs" / "config.yaml") == "runs/config.yaml"
    assert typed(tmp_path.parent / "config.yaml") == str(tmp_path.parent / "config.yaml")
