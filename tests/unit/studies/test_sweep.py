"""Sweeps: what is typed behind --over, checked against the config before anything trains."""

from pathlib import Path

import pytest

from backend.core.errors import ConfigError
from studies import sweep
from tests.support.toy import ToyConfig

BASE = ToyConfig(data=Path("d.json"))


def test_values_are_read_as_behind_set() -> None:
    assert sweep.parse(["a=1e-3,3,true", "b.c=null,'x, y', _ ,1,1"]) == {
        "a": (0.001, 3, True), "b.c": (None, "x, y", "_", 1),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("over", "sentence"),
    [
        (["lr"], "--over 'lr': expected key=value,value"),
        (["=1,2"], "expected key=value,value"),
        (["seed="], "expected key=value,value"),
        (["seed=1", "seed=2"], "--over names 'seed' twice"),
        (["seed=[1,2],3"], "a value is a number, a word, true, false or null"),
        (["optimiser.lr0=1"], "--over optimiser.lr0: the config of kind 'toy' has no such key"),
        (["seed=1,-1"], "--over seed=-1: 'seed': "),
        (["epochs=3", "freeze.strategy=full,half"], "unknown strategy 'half'"),
    ],
)
def test_what_is_no_config_is_refused_in_a_sentence(over: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        sweep.over(over, BASE)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_grid_is_whole_and_begins_with_the_config() -> None:
    spec = sweep.over(["optimizer.lr0=0.01,0.1", "epochs=1,3"], BASE)
    listed = spec.first(BASE)
    assert listed[0] == {"optimizer.lr0": 0.1, "epochs": 3}
    assert len(listed) == spec.count(BASE) == len({tuple(p.values()) for p in listed}) == 4


def test_without_over_it_goes_through_the_learning_rates() -> None:
    assert [p["optimizer.lr0"] for p in sweep.STUDY.first(BASE)] == [0.1, 0.033, 0.3]


def test_each_config_and_grid_has_a_name_of_its_own() -> None:
    one, other = sweep.over(["seed=0,1"], BASE), sweep.over(["seed=0,2"], BASE)
    name = sweep.name_of(one, BASE, Path("mlruns/work/20260101-toy/config.yaml"))
    assert name.startswith("sweep-20260101-toy-seed-")
    assert sweep.name_of(one, BASE, Path("configs/a b.yaml")).startswith("sweep-a-b-seed-")
    assert name == sweep.name_of(one, BASE, Path("mlruns/work/20260101-toy/config.yaml"))
    assert name != sweep.name_of(other, BASE, Path("mlruns/work/20260101-toy/config.yaml"))
