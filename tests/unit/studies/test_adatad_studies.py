"""The studies of AdaTAD: what is tried, and that each trial's network can be built."""

import math
from pathlib import Path

import optuna
import pytest

from backend.catalog import CATALOG, resolve
from backend.config.schema import TrainConfig
from backend.core.errors import ConfigError, StudyError
from backend.tracking.home import Home
from backend.trainers.adatad.model.geometry import PRESETS
from backend.trainers.adatad.spec import STRATEGIES, AdaTadConfig
from studies import _adatad
from studies._objective import shared_features
from studies._spec import find, learning_rates

DRAWS = 60
RATES = "runner.optimizer.lr."


def base(**more: object) -> AdaTadConfig:
    data: dict[str, object] = {"kind": "adatad", "data": "films.json"}
    found = resolve({**data, **more}, {}, "here", CATALOG)
    assert isinstance(found, AdaTadConfig)
    return found


def small(**more: object) -> AdaTadConfig:
    return base(**{"model": {"preset": "tiny"}, "windows": {"length": 96}, **more})


def drawn(name: str, config: TrainConfig) -> list[tuple[dict[str, object], AdaTadConfig]]:
    spec = find(name)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for params in spec.first(config):
        study.enqueue_trial(params)
    found = []
    for _ in range(DRAWS):
        overrides = spec.suggest(study.ask(), CATALOG[config.kind], config)
        made = config.replace(overrides)
        assert isinstance(made, AdaTadConfig)
        found.append((overrides, made))
    return found


def test_adapters_begin_with_every_strategy_at_the_config_s_own_settings() -> None:
    config = base()
    first = [made for _, made in drawn("adapters", config)[: len(STRATEGIES)]]
    assert {made.freeze.strategy for made in first} == set(STRATEGIES)
    assert first[0].freeze.strategy == "full", "trial 0 is the baseline of later comparisons"
    for made in first:
        same = made.replace({"freeze.strategy": config.freeze.strategy})
        assert same == config, "they differ in nothing else"


def test_adapters_then_try_the_narrowest_and_the_widest() -> None:
    made = [one for _, one in drawn("adapters", base())[5:7]]
    assert [(one.freeze.strategy, one.model.adapter_ratio) for one in made] == [
        ("adapter", 0.125), ("adapter", 0.5),
    ]  # fmt: skip


@pytest.mark.parametrize("study", ["adapters", "freezing"])
def test_only_rates_of_what_trains_are_searched(study: str) -> None:
    trains = {
        "full": {"backbone", "detector"},
        "last-layers": {"backbone", "detector"},
        "adapter": {"adapter", "detector"},
        "plain-adapter": {"adapter", "detector"},
        "head-only": {"detector"},
    }
    for overrides, made in drawn(study, base()):
        searched = {key.removeprefix(RATES) for key in overrides if key.startswith(RATES)}
        assert searched == trains[made.freeze.strategy]


@pytest.mark.parametrize("study", ["adapters", "freezing"])
def test_a_backbone_that_was_frozen_gets_a_rate_where_it_trains(study: str) -> None:
    lr = {"backbone": 0, "adapter": 2e-4, "detector": 1e-4}
    config = base(runner={"optimizer": {"lr": lr}})
    rates = set()
    for _, made in drawn(study, config):
        rate = made.runner.optimizer.lr["backbone"]
        assert (rate > 0) == (made.freeze.strategy in ("full", "last-layers"))
        rates.add(rate)
    assert 1e-6 < min(rates - {0}) < max(rates) <= 8e-5


def test_the_rates_of_a_sweep_are_those_that_train() -> None:
    assert set(learning_rates(base())) == {RATES + "adapter", RATES + "detector"}
    assert set(learning_rates(base(), "head-only")) == {RATES + "detector"}


@pytest.mark.parametrize("study", ["adapters", "freezing"])
@pytest.mark.parametrize(("config", "layers"), [(base(), 12), (small(), 3)])
def test_last_layers_are_no_more_than_there_are(
    study: str, config: AdaTadConfig, layers: int
) -> None:
    tried = {
        made.freeze.layers
        for _, made in drawn(study, config)
        if made.freeze.strategy == "last-layers"
    }
    assert 1 <= min(tried) <= max(tried) <= layers
    assert len(tried) > 1 or study == "freezing"


@pytest.mark.parametrize(
    ("config", "lengths"),
    [
        (base(), [384, 768, 1536]),
        (small(), [64, 96, 192]),
        (small(windows={"length": 96, "align": 48}), [96, 192]),
        (base(windows={"length": 32}), [32, 64]),
        (base(windows={"length": 8192}), [4096, 8192]),
    ],
)
def test_windows_can_be_cut_into_whole_parts(config: AdaTadConfig, lengths: list[int]) -> None:
    assert _adatad.window_lengths(config) == lengths
    multiple = PRESETS[config.model.preset].multiple
    for _, made in drawn("adapters", config):
        assert made.windows.length % multiple == 0
        assert made.windows.length % made.windows.align == 0


def test_a_head_study_changes_nothing_that_a_frozen_backbone_sees() -> None:
    config = base()
    made = [one for _, one in drawn("heads", config)]
    for one in made:
        assert one.freeze.strategy == "head-only"
        assert not one.frames.augment
        assert one.windows.align % 16 == 0
        assert one.videos == config.videos
        assert one.windows.length == config.windows.length
        assert one.model.preset == config.model.preset
        assert one.model.drop_path == config.model.drop_path
    assert {one.model.detector_width for one in made} == {256, 512, 1024}
    assert len({one.windows.trunc_thresh for one in made}) > 1


def test_a_head_study_begins_with_the_config_s_own_recipe() -> None:
    _, first = drawn("heads", small())[0]
    own = {
        **{"freeze.strategy": "head-only", "frames.augment": False, "windows.align": 16},
        "model.detector_width": 64,
    }
    assert first == small().replace(own)


def test_trials_share_a_folder_of_their_study_unless_the_config_names_one(tmp_path: Path) -> None:
    home = Home(tmp_path)
    shared = {"reuse.folder": str(tmp_path / "features" / "heads-of-small-films")}
    assert shared_features(base(), home, "heads of/small films") == shared
    assert shared_features(base(reuse={"folder": "mine"}), home, "heads") == {}
    other = resolve({"kind": "mdfed", "data": "rallies"}, {}, "here", CATALOG)
    assert shared_features(other, home, "heads") == {}, "it has no such key"


def test_an_alignment_of_the_config_stays_one() -> None:
    config = base(windows={"align": 24, "length": 768})
    aligned = {made.windows.align for _, made in drawn("heads", config)}
    assert aligned == {math.lcm(24, 16)}


@pytest.mark.parametrize("name", ["adapters", "heads"])
def test_they_refuse_other_trainers(name: str) -> None:
    other = resolve({"kind": "mdfed", "data": "rallies"}, {}, "here", CATALOG)
    with pytest.raises(StudyError, match="searches what only adatad has"):
        find(name).check(other)


def test_the_config_refuses_a_backbone_that_would_train_at_no_rate() -> None:
    with pytest.raises(ConfigError, match="trains the backbone, but"):
        base(
            freeze={"strategy": "full"},
            runner={"optimizer": {"lr": {"backbone": 0, "adapter": 0, "detector": 1e-4}}},
        )
