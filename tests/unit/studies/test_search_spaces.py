"""Every study, with every trainer it fits, suggests only what the trainer's config accepts."""

import optuna
import pytest

from backend.catalog import CATALOG, resolve
from backend.core.errors import StudyError
from studies import _spec

DRAWS = 200
BASE = {"yolo": {"kind": "yolo", "model": "m.safetensors", "data": "d.yaml"}}


def test_every_trainer_has_a_base_here() -> None:
    assert set(BASE) == set(CATALOG)


@pytest.mark.parametrize("kind", CATALOG)
@pytest.mark.parametrize("name", _spec.names())
def test_suggestions_validate(name: str, kind: str) -> None:
    spec, trainer = _spec.find(name), CATALOG[kind]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    base = resolve(BASE[kind], {}, name)
    for params in spec.first(base):
        study.enqueue_trial(params)
    seen = set()
    for _ in range(DRAWS):
        overrides = spec.suggest(study.ask(), trainer, base)
        config = resolve(BASE[kind], overrides, name)
        seen.add(config.freeze.strategy)
    assert seen == set(trainer.strategies), "every strategy is tried, by name"


@pytest.mark.parametrize("name", _spec.names())
def test_stored_parameters_give_the_same_overrides(name: str) -> None:
    spec, trainer, base = _spec.find(name), CATALOG["yolo"], resolve(BASE["yolo"], {}, name)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(20):
        trial = study.ask()
        overrides = spec.suggest(trial, trainer, base)
        assert spec.overrides(trial.params, trainer, base) == overrides


def test_freezing_begins_with_the_plain_recipe_of_the_config() -> None:
    study, base = _spec.find("freezing"), resolve(BASE["yolo"], {"optimizer.lr0": 3e-3}, "here")
    overrides = study.overrides(study.first(base)[0], CATALOG["yolo"], base)
    assert overrides == {
        "freeze.strategy": "full", "optimizer.lr0": 3e-3, "optimizer.layer_decay": None,
    }  # fmt: skip
    assert base.replace(overrides) == base


def test_an_unknown_study_is_answered_with_the_known_ones() -> None:
    with pytest.raises(StudyError, match="unknown study 'freezzing'; there is: freezing"):
        _spec.find("freezzing")
