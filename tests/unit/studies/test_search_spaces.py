"""Every study, with every trainer it fits, suggests only what the trainer's config accepts."""

from pathlib import Path

import optuna
import pytest

from backend.catalog import CATALOG, resolve
from backend.config.schema import CUSTOM as CUSTOM_MODULES
from backend.config.schema import TrainConfig
from backend.core.errors import StudyError
from backend.core.trainer import TrainerSpec
from backend.tracking.home import Home
from backend.trainers.moe_rtdetr.spec import SPEC
from studies import _spec
from studies._run import StudyRun, run_study

DRAWS = 200
TRAINERS = {**CATALOG, SPEC.kind: SPEC}
YOLO: dict[str, object] = {
    **{"kind": "yolo", "model": "m.safetensors", "data": "d.yaml"},
    "synthetic": {"annotated_dir": "cups", "backgrounds_dir": "rooms"},
}
MOE: dict[str, object] = {"kind": "moe_rtdetr", "data": "d.yaml"}
LOADED = {**MOE, "model": {"pretrained": "r18.pth"}}
CUSTOM = {
    **MOE,
    "classes": ["dog", "cat"],
    "moe": {"experts": "custom", "groups": {"dogs": ["dog"], "cats": ["cat"]}, "top_k": 1},
}
BASES: dict[str, dict[str, object]] = {
    "yolo": YOLO,
    "yolo of own modules": {
        **YOLO,
        "freeze": {"strategy": "custom", "modules": 3, "unfreeze_at": 2},
    },
    "moe from scratch": MOE,
    "moe": LOADED,
    "moe of own groups": CUSTOM,
    "dense": {**MOE, "moe": {"experts": "dense"}},
    "mdfed": {"kind": "mdfed", "data": "rallies"},
    "motrv2": {"kind": "motrv2", "data": "players"},
    "motrv2 from a checkpoint": {
        **{"kind": "motrv2", "data": "players", "source": "people"},
        "model": {"pretrained": "one_class.pth"},
    },
    "adatad": {"kind": "adatad", "data": "films.json"},
    "adatad as published": {
        **{"kind": "adatad", "data": "films.json"},
        "runner": {"optimizer": {"lr": {"backbone": 0, "adapter": 2e-4, "detector": 1e-4}}},
    },
    "small adatad": {
        **{"kind": "adatad", "data": "films.json", "freeze": {"strategy": "head-only"}},
        **{"model": {"preset": "tiny"}, "windows": {"length": 96}},
    },
}  # fmt: skip


def base_of(name: str) -> tuple[TrainConfig, TrainerSpec]:
    base = resolve(BASES[name], {}, name, TRAINERS)
    return base, TRAINERS[base.kind]


def fitting() -> list[tuple[str, str]]:
    """Studies with the bases they fit."""
    return [
        (name, base)
        for name in _spec.names()
        for base in BASES
        if not _spec.find(name).trainers or BASES[base]["kind"] in _spec.find(name).trainers
    ]


def drawn(name: str, base: TrainConfig, trainer: TrainerSpec) -> list[TrainConfig]:
    """The configs of many trials, the first ones first."""
    spec = _spec.find(name)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for params in spec.first(base):
        study.enqueue_trial(params)
    return [base.replace(spec.suggest(study.ask(), trainer, base)) for _ in range(DRAWS)]


def test_every_trainer_has_a_base_here() -> None:
    assert {base["kind"] for base in BASES.values()} == set(TRAINERS)


@pytest.mark.parametrize(("study", "name"), fitting())
def test_suggestions_validate(study: str, name: str) -> None:
    base, trainer = base_of(name)
    configs = drawn(study, base, trainer)
    assert len({str(config.flat()) for config in configs}) > 1
    if study == "freezing":
        seen = {config.freeze.strategy for config in configs}
        named = set(trainer.strategies) - {CUSTOM_MODULES}
        assert seen == named, "every strategy is tried that needs no more than its name"


@pytest.mark.parametrize(("study", "name"), fitting())
def test_stored_parameters_give_the_same_overrides(study: str, name: str) -> None:
    spec, (base, trainer) = _spec.find(study), base_of(name)
    found = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(20):
        trial = found.ask()
        overrides = spec.suggest(trial, trainer, base)
        assert spec.overrides(trial.params, trainer, base) == overrides


def test_freezing_begins_with_the_plain_recipe_of_the_config() -> None:
    study, base = _spec.find("freezing"), resolve(BASES["yolo"], {"optimizer.lr0": 3e-3}, "here")
    overrides = study.overrides(study.first(base)[0], CATALOG["yolo"], base)
    assert overrides == {
        "freeze.strategy": "full", "optimizer.lr0": 3e-3, "optimizer.layer_decay": None,
    }  # fmt: skip
    assert base.replace(overrides) == base


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("yolo", {"optimizer.lr0"}),
        ("moe from scratch", {"scratch_lr"}),
        ("moe", {"pretrained_lr", "new_lr"}),
    ],
)
def test_freezing_searches_the_rates_that_have_an_effect(name: str, rates: set[str]) -> None:
    base, trainer = base_of(name)
    configs = drawn("freezing", base, trainer)
    flats = [config.flat() for config in configs]
    moved = {key for key in flats[0] if len({flat[key] for flat in flats}) > 1}
    decay = {"optimizer.layer_decay"} if name == "yolo" else set()
    assert moved == {"freeze.strategy", *rates, *decay}
    assert configs[0] == base, "the plain recipe comes first"
    for key in rates:
        tried = sorted(float(flat[key]) for flat in flats)
        start = float(flats[0][key])
        assert start / 8 <= tried[0] < start / 4, "slower is tried"
        assert start * 4 < tried[-1] <= start * 8, "faster is tried"


def test_a_rate_is_never_searched_above_what_a_config_may_have() -> None:
    base = resolve({**MOE, "scratch_lr": 0.5}, {}, "here", TRAINERS)
    for config in drawn("freezing", base, SPEC):
        assert float(config.flat()["scratch_lr"]) <= 1


def test_top_k_begins_with_the_whole_grid_and_the_dense_model_of_each_cost() -> None:
    base, trainer = base_of("moe")
    spec = _spec.find("moe_top_k")
    first = drawn("moe_top_k", base, trainer)[: spec.trials]
    tried = [(config.flat()["moe.experts"], config.flat()["moe.top_k"]) for config in first]
    assert sorted(tried) == sorted(
        (experts, k) for experts in ("A", "B", "C", "dense") for k in ("1", "2", "3")
    )
    assert {config.seed for config in first} == {base.seed}
    assert {config.epochs for config in first} == {base.epochs}


def test_top_k_goes_on_with_other_seeds() -> None:
    base, trainer = base_of("moe")
    later = drawn("moe_top_k", base, trainer)[_spec.find("moe_top_k").trials :]
    assert {config.seed for config in later} == set(range(5))


def test_top_k_of_own_groups_stays_within_their_number() -> None:
    base, trainer = base_of("moe of own groups")
    flats = [config.flat() for config in drawn("moe_top_k", base, trainer)]
    assert {flat["moe.experts"] for flat in flats} == {"custom", "dense"}
    assert {flat["moe.top_k"] for flat in flats} == {"1", "2"}


def test_moe_begins_with_the_configs_own_recipe() -> None:
    for name in ("moe", "moe from scratch", "moe of own groups"):
        base, trainer = base_of(name)
        assert drawn("moe", base, trainer)[0] == base


def test_moe_freezes_only_what_was_loaded() -> None:
    scratch, trainer = base_of("moe from scratch")
    assert {c.freeze.strategy for c in drawn("moe", scratch, trainer)} == {"full"}
    loaded, _ = base_of("moe")
    assert {c.freeze.strategy for c in drawn("moe", loaded, trainer)} == set(trainer.strategies)


@pytest.mark.parametrize("name", ["moe", "moe_top_k"])
def test_a_study_of_experts_refuses_other_trainers(name: str, tmp_path: Path) -> None:
    base, _ = base_of("yolo")
    run = StudyRun(
        home=Home(tmp_path / "h"), spec=_spec.find(name), base=base, name=name, trials=1
    )
    with pytest.raises(StudyError, match=r"only moe_rtdetr has, .* kind 'yolo'"):
        run_study(run)
    assert not (tmp_path / "h").exists(), "nothing was begun"


def test_classes_without_a_configuration_are_one_sentence() -> None:
    base = resolve({**MOE, "classes": ["dog"], "moe": {"experts": "dense"}}, {}, "here", TRAINERS)
    with pytest.raises(StudyError, match="no expert configuration fits the classes dog"):
        _spec.find("moe_top_k").first(base)


def test_an_unknown_study_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        StudyError, match="unknown study 'freezzing'; there is: adapters, copy_paste"
    ):
        _spec.find("freezzing")
