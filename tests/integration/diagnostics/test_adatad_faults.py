"""Real trainings of AdaTAD with one fault in each: the rules name it."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.analysis.diagnostics.actions import resolver
from backend.analysis.diagnostics.engine import diagnose
from backend.core.diagnosis import Diagnosis
from backend.core.events import Noted, Prepared
from backend.synthetic._untrimmed_files import write_video
from backend.trainers.adatad.spec import SPEC, AdaTadConfig
from backend.trainers.adatad.training import SETTLING, build
from tests.support import temporal_folders
from tests.support.induced import BEGAN, Induced, checked, run

FPS, SECONDS = 10, 24
COLOURS = {"blue": (40, 40, 220), "red": (220, 40, 40)}
FOREIGN = ("box", "track", "proposal", "skeleton", "image")


def films(
    folder: Path, late: float = 0.0, dark: bool = False, others: bool = False, long: bool = False
) -> Path:
    """Grey noise with seconds of blue and red, which are the actions.

    ``late``: those of validation are annotated so many seconds late. ``dark``: the pictures are
    all grey; with ``others`` they are of another video. ``long``: every other action is long.
    """
    chance = np.random.default_rng(0)
    (folder / "videos").mkdir(parents=True)
    database = {}
    for subset, count in (("training", 6), ("validation", 4)):
        for number in range(count):
            actions = drawn(chance, 6.0 if long else 1.8)
            name = f"{subset}{number}"
            shown = drawn(chance, 1.8) if others else actions
            frames = pictures(chance, [] if dark else shown)
            write_video(folder / "videos" / f"{name}.mp4", frames, FPS)
            shift = late if subset == "validation" else 0.0
            told = [(label, start + shift, end + shift) for label, start, end in actions]
            database[name] = temporal_folders.entry(subset, told, float(SECONDS), float(FPS))
    (folder / "annotations.json").write_text(json.dumps({"database": database}))
    return folder


def drawn(chance: np.random.Generator, longest: float) -> list[tuple[str, float, float]]:
    """Actions of 0.6 to 1.8 seconds, every other one up to the longest."""
    actions: list[tuple[str, float, float]] = []
    now = chance.uniform(0.5, 2)
    lasts = (1.8, longest)
    while (end := now + chance.uniform(1 / 3, 1) * lasts[len(actions) % 2]) < SECONDS - 2:
        actions.append((str(chance.choice(list(COLOURS))), round(now, 2), round(end, 2)))
        now = end + chance.uniform(0.8, 3)
    return actions


def pictures(
    chance: np.random.Generator, actions: list[tuple[str, float, float]]
) -> NDArray[np.uint8]:
    if not actions:
        return np.full((SECONDS * FPS, 32, 32, 3), chance.integers(80, 100), np.uint8)
    frames = chance.integers(-20, 20, (SECONDS * FPS, 32, 32, 3)) + 90
    for label, start, end in actions:
        frames[round(start * FPS) : round(end * FPS)] += np.array(COLOURS[label]) - 90
    return frames.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> AdaTadConfig:
    """The head alone, on features of a random backbone that are computed once: eight epochs of
    six steps."""
    folder = tmp_path_factory.mktemp("films")
    return AdaTadConfig.model_validate({
        "data": films(folder / "data"), "epochs": 8, "device": "cpu",
        "model": {"preset": "tiny", "detector_width": 32}, "videos": {"threads": 1},
        "windows": {"length": 32, "per_video": 4, "align": 16},
        "frames": {"size": 16, "augment": False}, "freeze": {"strategy": "head-only"},
        "inference": {"batch": 16, "top_k": 50, "max_segments": 50, "val_overlap": 0.5,
                      "overlap": 0.5},
        "reuse": {"folder": folder / "store"}, "diagnostics": {"every": 1, "probe": 50},
        "runner": {
            "optimizer": {"lr": {"backbone": 0, "adapter": 0, "detector": 2e-3}}, "workers": 0,
            "batch": 4, "log_interval": 1, "schedule": {"warmup_epochs": 1},
            "ema": {"enabled": False},
        },
    })  # fmt: skip


def trained(config: AdaTadConfig, folder: Path, **keys: object) -> Induced:
    """A training with other keys; all that is said of it is of actions, and can be done."""
    folder.mkdir(exist_ok=True)
    changed = config.replace({key.replace("__", "."): value for key, value in keys.items()})
    return spoken(run(build(changed, folder), folder), changed)


def spoken(found: Induced, config: AdaTadConfig) -> Induced:
    """Its sentences do not speak of other tasks, and its proposals are keys of the config."""
    advised = proposed(found, config)
    for finding in (*advised.findings, *advised.also_seen):
        said = f"{finding.headline} {finding.cause} {finding.action.advice}".lower()
        assert not [word for word in FOREIGN if word in said], said
    return found


def proposed(found: Induced, config: AdaTadConfig) -> Diagnosis:
    """The diagnosis with the config's own keys in its actions."""
    return diagnose(found.evidence, resolver(SPEC.levers, config.flat(), "run.yaml"))


def changes(found: Induced, config: AdaTadConfig) -> dict[str, object]:
    """The config change that is proposed first."""
    action = proposed(found, config).findings[0].action
    config.replace({change.key: change.proposed for change in action.changes})
    return {change.key: change.proposed for change in action.changes}


def test_a_sound_run_raises_no_alarm(config: AdaTadConfig, tmp_path: Path) -> None:
    """What training losses are divided by begins at 100, so that they rise while all is well."""
    found = trained(config, tmp_path)
    assert found.error == ""
    assert found.diagnosis.state in ("improving", "converged", "finished")
    assert not found.seen.keys() - {"B16", "B17"}, found.seen
    assert {"D01", "D02", "D03", "D06", "B04"} <= set(found.diagnosis.clear)
    plan = found.evidence.plan
    assert plan is not None
    assert plan.settling == SETTLING
    loss = found.evidence.curves["train/loss"].values
    assert loss[:6].mean() < loss[6:18].mean()
    assert [one.total for one in found.events if isinstance(one, Prepared)] == [10] * 11
    notes = [one.message for one in found.events if isinstance(one, Noted)]
    assert any("at random values: nothing was loaded (model.pretrained)" in one for one in notes)


@pytest.mark.rule("B08")
def test_a_learning_rate_that_is_far_too_high(config: AdaTadConfig, tmp_path: Path) -> None:
    found = trained(config, tmp_path, epochs=6, runner__optimizer__lr__detector=3.0)
    assert found.head.rule == "B08"
    assert "of an untrained network, and never came under a trivial one" in found.head.headline
    changed = config.replace({"runner.optimizer.lr.detector": 3.0})
    assert changes(found, changed)["runner.optimizer.lr.detector"] == 0.3


@pytest.mark.rule("B09")
def test_a_learning_rate_that_is_far_too_low(config: AdaTadConfig, tmp_path: Path) -> None:
    found = trained(config, tmp_path, epochs=6, runner__optimizer__lr__detector=1e-7)
    assert found.head.rule == "B09"
    assert "The learning rate is too low" in found.head.headline
    changed = config.replace({"runner.optimizer.lr.detector": 1e-7})
    assert changes(found, changed)["runner.optimizer.lr.detector"] == 3e-7
    assert "B05" not in found.seen


@pytest.mark.rule("B04")
def test_segments_that_are_shifted_against_their_videos(
    config: AdaTadConfig, tmp_path: Path
) -> None:
    """As by a wrong frame rate in one subset: mAP stays near zero."""
    late = films(tmp_path / "late", late=1.3)
    found = trained(config, tmp_path / "run", data=late, epochs=12)
    assert found.evidence.curves["val/average_mAP"].values.max() < 0.15
    assert found.head.rule == "B04"
    assert "truth of validation does not belong to its inputs" in found.head.cause


@pytest.mark.rule("B04")
def test_annotations_of_other_videos(config: AdaTadConfig, tmp_path: Path) -> None:
    found = trained(config, tmp_path / "run", data=films(tmp_path / "others", others=True))
    assert found.head.rule == "B04"
    assert "the input is not used" in found.head.cause


@pytest.mark.rule("D02")
def test_videos_that_show_nothing(config: AdaTadConfig, tmp_path: Path) -> None:
    dark = config.replace({"data": films(tmp_path / "dark", dark=True)})
    found = spoken(checked(build(dark, tmp_path), tmp_path), dark)
    assert (found.head.rule, found.head.severity) == ("D02", "stop")
    assert found.head.headline.startswith("6 of 6 videos of 'train' are of one colour (training0")
    assert found.error.startswith("D02: ")


@pytest.mark.rule("D06")
def test_a_window_that_is_too_short_for_the_actions(config: AdaTadConfig, tmp_path: Path) -> None:
    tight = config.replace({"data": films(tmp_path / "long", long=True)})
    found = spoken(checked(build(tight, tmp_path), tmp_path), tight)
    assert (found.head.rule, found.head.severity) == ("D06", "warning")
    assert "V9 (training): " in found.head.headline
    assert "are too long for a window of 32 positions at stride 1" in found.head.headline
    assert found.error == BEGAN
