"""Real trainings of MOTRv2 with one fault in each: the rules name it (specs/motrv2.md, 2.5)."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from backend.analysis.diagnostics.tracking import newest_tracks
from backend.core.events import CheckpointSaved
from backend.synthetic.volleyball import write_volleyball
from backend.trainers.motrv2 import judging
from backend.trainers.motrv2.collecting import Rows
from backend.trainers.motrv2.inference import Followed
from backend.trainers.motrv2.model.queries import Found
from backend.trainers.motrv2.spec import Motrv2Config
from backend.trainers.motrv2.training import build
from tests.support.induced import Induced, checked, run

FEW_STEPS: dict[str, object] = {"clips.per_epoch": 2, "epochs": 1, "learning.val_clips": 1}


@pytest.fixture(scope="module")
def players(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight classes in four sequences, and one to validate on; beside it the domain of one."""
    return write_volleyball(tmp_path_factory.mktemp("players"), train=4, val=1)["target"]


@pytest.fixture(scope="module")
def config(players: Path) -> Motrv2Config:
    """The small network on short clips. The first class is a label filter's, which is confirmed:
    so its scores stay low."""
    return Motrv2Config.model_validate({
        "data": players, "device": "cpu", "epochs": 2, "model": {"preset": "tiny"},
        "drop": {"rare": (1,)}, "confirmed": ("rare",),
        "images": {"short": 96, "long": 160, "train_short": (), "crop_chance": 0},
        "clips": {"lengths": (2,), "interval": 2, "per_epoch": 30},
        "tracker": {"min_area": 20, "sweep": (0.1, 0.2, 0.3)},
        "learning": {"val_clips": 2, "head_warmup_steps": 0},
        "diagnostics": {"probe": 0},
        "runner": {
            "optimizer": {"lr": {"all": 1e-3, "backbone": 1e-3}}, "workers": 0, "batch": 1,
            "clip": 0.1, "schedule": {"name": "constant"},
        },
    })  # fmt: skip


def forced(config: Motrv2Config, folder: Path, **keys: object) -> Induced:
    """A training that findings of its data do not keep from beginning."""
    folder.mkdir(exist_ok=True)
    keyed = {key.replace("__", "."): value for key, value in keys.items()}
    return run(replace(build(config.replace(keyed), folder), refuse=None), folder)


@pytest.fixture(scope="module")
def trained(
    config: Motrv2Config, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Induced, Path]:
    """Sixty steps, and the checkpoint after them."""
    folder = tmp_path_factory.mktemp("trained")
    found = forced(config, folder)
    assert found.error == ""
    saved = [e.checkpoint.path for e in found.events if isinstance(e, CheckpointSaved)]
    return found, folder / saved[-1]


@pytest.fixture
def going_on(config: Motrv2Config, trained: tuple[Induced, Path]) -> Motrv2Config:
    """Two steps more at a rate that changes little, with a threshold that the surest query of
    every other frame reaches."""
    seen = newest_tracks(trained[0].evidence)
    assert seen
    reached = seen.seen.highest["0.5"]
    return config.replace({
        **FEW_STEPS, "tracker.score_thresh": reached, "tracker.filter_score_thresh": reached,
        "tracker.update_score_thresh": 0.1, "tracker.sweep": (),
        "model.pretrained": trained[1], "runner.optimizer.lr.all": 1e-4,
    })  # fmt: skip


def spoilt_database(
    players: Path, folder: Path, key: Callable[[str], str] = str, line: Callable[[str], str] = str
) -> Path:
    """The database with other keys or lines."""
    whole = json.loads((players / "det_db.json").read_text())
    whole.pop("_meta")
    path = folder / "det_db.json"
    spoilt = {key(name): [line(one) for one in lines] for name, lines in whole.items()}
    path.write_text(json.dumps(spoilt))
    return path


def in_corner(line: str) -> str:
    """Boxes of a quarter of the size, in the upper left."""
    *box, label, score = line.strip().split(",")
    return ",".join([*(f"{float(number) / 4:.2f}" for number in box), label, score])


def without_class(line: str) -> str:
    *box, _, score = line.strip().split(",")
    return ",".join([*box, score])


@pytest.mark.rule("T06")
def test_scores_that_do_not_reach_the_threshold_yet(trained: tuple[Induced, Path]) -> None:
    found, _ = trained
    assert found.head.rule == "T06"
    assert "0 tracks in 40 frames: 99.9 % of the scores are at most 0." in found.head.headline
    assert "at 0.1 there would be " in found.head.headline
    assert found.diagnosis.verdict.startswith("nothing is tracked: the threshold is too high")
    assert [fact.name for fact in found.head.evidence][-3:] == [
        f"tracks at threshold {level}" for level in ("0.1", "0.2", "0.3")
    ]


@pytest.mark.rule("T05")
def test_a_tracker_that_reads_the_first_class_alone(
    going_on: Motrv2Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the public code does."""
    first = property(lambda found: found.logits[-1].sigmoid()[..., 0])
    monkeypatch.setattr(Found, "scores", first)
    found = forced(going_on, tmp_path)
    assert found.head.rule == "T05"
    assert "those of the first of 8 classes reach 0.0" in found.head.headline


@pytest.mark.rule("T07")
def test_tracks_that_are_given_up_at_once(going_on: Motrv2Config, tmp_path: Path) -> None:
    found = forced(
        going_on, tmp_path, tracker__filter_score_thresh=0.99, tracker__miss_tolerance=1
    )
    assert found.head.rule == "T07"
    assert " tracks in 40 frames are shown in fewer than 3 frames" in found.head.headline


@pytest.mark.rule("T08")
def test_classes_that_are_counted_otherwise_than_in_the_truth(
    going_on: Motrv2Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = judging.scored

    def shifted(followed: Followed, rows: Rows) -> object:
        return right(followed, replace(rows, labels=(rows.labels + 1) % 8))

    monkeypatch.setattr(judging, "scored", shifted)
    found = forced(going_on, tmp_path)
    assert "T08" in found.seen
    assert "the class column" in found.seen["T08"].cause


@pytest.mark.rule("T04")
def test_a_new_head_that_is_frozen(
    config: Motrv2Config, trained: tuple[Induced, Path], tmp_path: Path
) -> None:
    """Strict minimal: from other classes, and nothing new trains."""
    other = config.replace({
        **FEW_STEPS, "data": config.data.parent / "source", "drop": {}, "confirmed": (),
        "model.pretrained": trained[1], "freeze.strategy": "minimal",
        "freeze.train_new": False, "freeze.allow_untrained_new": True,
    })  # fmt: skip
    found = forced(other, tmp_path)
    assert found.head.rule == "T04"
    assert "class_embed.0.weight" in found.head.cause
    assert found.head.action.advice.startswith("Train whatever did not come")


@pytest.mark.rule("D06", "T01")
def test_a_database_with_other_keys(config: Motrv2Config, players: Path, tmp_path: Path) -> None:
    path = spoilt_database(players, tmp_path, key=lambda name: name.replace("target-", "other-"))
    spoilt = config.replace({**FEW_STEPS, "det_db.path": path})
    found = forced(spoilt, tmp_path / "forced")
    assert found.head.rule == "D06"
    assert "N1 (train): no frame of this split has a key" in found.head.headline
    assert "No proposal of 'train' and 'val' reaches the model" in found.seen["T01"].headline


@pytest.mark.rule("T02")
def test_proposals_of_another_resolution(
    config: Motrv2Config, players: Path, tmp_path: Path
) -> None:
    path = spoilt_database(players, tmp_path, line=in_corner)
    found = forced(config.replace({**FEW_STEPS, "det_db.path": path}), tmp_path / "forced")
    assert "have a proposal at IoU 0.5" in found.seen["T02"].headline
    assert found.seen["T02"].cause.startswith("N3: ")
    assert found.head.rule == "D06"


@pytest.fixture(scope="module")
def brief(config: Motrv2Config, players: Path, tmp_path_factory: pytest.TempPathFactory
          ) -> Motrv2Config:  # fmt: skip
    """The brief's failed run: one class, a database without classes, labels 3 to 6 filtered,
    everything trained."""
    path = spoilt_database(players, tmp_path_factory.mktemp("brief"), line=without_class)
    return config.replace({
        **FEW_STEPS, "det_db.path": path, "drop": {"person": (3, 4, 5, 6)}, "confirmed": (),
        "classes": ("Person",),
    })  # fmt: skip


def test_the_failed_run_of_the_brief_is_refused_with_all_of_its_causes(
    brief: Motrv2Config, tmp_path: Path
) -> None:
    found = checked(build(brief, tmp_path), tmp_path)
    assert (found.head.rule, found.head.severity) == ("D06", "stop")
    for code in ("N4", "N6", "N8"):
        assert f"{code} (" in found.head.headline
    assert found.error.startswith("D06: ")


@pytest.mark.rule("T03")
def test_the_failed_run_of_the_brief_forced_through(brief: Motrv2Config, tmp_path: Path) -> None:
    found = forced(brief, tmp_path)
    assert found.head.rule == "D06"
    assert "the label filter 'person' drops" in found.seen["T03"].cause
    (row,) = {"T04", "T06"} & set(found.head.silenced)
    assert found.head.headline.startswith(found.seen[row].headline)
    assert "Cause: N4 (" in found.head.headline
    assert found.diagnosis.verdict.startswith("nothing is tracked: N4 (")
