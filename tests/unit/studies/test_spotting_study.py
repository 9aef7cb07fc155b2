"""The search space of MD-FED: what is drawn is valid, and only where it has an effect."""

import optuna
import pytest

from backend.core.errors import StudyError
from backend.trainers.mdfed.spec import SPEC, STRATEGIES, MdFedConfig
from studies import _spec
from studies.spotting import LENGTHS, POSITIVES

LABELS = {"clips.dilation", "loss.fg_weight", "loss.pos_weight"}
ALWAYS = {"runner.optimizer.lr.all", "model.dropout", "clips.length"}
LOADED: dict[str, object] = {"model": {"pretrained": "w.safetensors"}}


def config(**given: object) -> MdFedConfig:
    return MdFedConfig.model_validate({"name": "here", "data": "rallies", **given})


def drawn(base: MdFedConfig, count: int = 60) -> list[MdFedConfig]:
    study, spec = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)), _found()
    for params in spec.first(base):
        study.enqueue_trial(params)
    return [base.replace(spec.suggest(study.ask(), SPEC, base)) for _ in range(count)]


def _found() -> _spec.StudySpec:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return _spec.find("spotting")


def moved(configs: list[MdFedConfig]) -> set[str]:
    flats = [one.flat() for one in configs]
    return {key for key in flats[0] if len({flat[key] for flat in flats}) > 1}


@pytest.mark.parametrize(
    ("given", "searched"),
    [
        ({}, ALWAYS | LABELS),
        (LOADED, ALWAYS | LABELS | {"freeze.strategy"}),
        ({**LOADED, "stage": 2}, ALWAYS),
        ({**LOADED, "stage": 3}, ALWAYS | LABELS | {"freeze.strategy"}),
    ],
)
def test_only_what_has_an_effect_is_searched(given: dict[str, object], searched: set[str]) -> None:
    assert moved(drawn(config(**given))) == searched


def test_every_choice_is_drawn_within_its_range() -> None:
    configs = drawn(config(**LOADED), 200)
    assert {one.freeze.strategy for one in configs} == set(STRATEGIES)
    assert {one.clips.length for one in configs} == set(LENGTHS)
    assert {one.clips.dilation for one in configs} == {0, 1}
    assert {one.loss.pos_weight for one in configs} == set(POSITIVES)
    for values, low, high in (
        ([one.runner.optimizer.lr["all"] for one in configs], 1e-4, 1e-2),
        ([one.loss.fg_weight for one in configs], 1, 30),
    ):
        assert low <= min(values) < low * 1.3
        assert high / 1.3 < max(values) <= high
    assert all(0 <= one.model.dropout <= 0.5 for one in configs)


def test_the_plain_recipe_comes_first() -> None:
    for given in (
        {},
        LOADED,
        {**LOADED, "stage": 2},
        {**LOADED, "freeze": {"strategy": "encoder"}},
    ):
        base = config(**given)
        assert drawn(base, 1) == [base]


def test_a_recipe_outside_of_the_space_begins_at_its_edge() -> None:
    base = config(
        clips={"length": 110, "dilation": 4}, loss={"fg_weight": 80}, model={"dropout": 0.9}
    )
    first = drawn(base, 1)[0]
    assert (first.clips.length, first.clips.dilation) == (96, 1)
    assert (first.loss.fg_weight, first.model.dropout) == (30, 0.5)


def test_stored_parameters_give_the_same_overrides() -> None:
    spec, base = _found(), config(**LOADED)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(10):
        trial = study.ask()
        overrides = spec.suggest(trial, SPEC, base)
        assert spec.overrides(trial.params, SPEC, base) == overrides


def test_another_trainer_is_refused() -> None:
    with pytest.raises(StudyError, match="only mdfed has, and the config is of kind 'yolo'"):
        _found().check(config().model_copy(update={"kind": "yolo"}))
