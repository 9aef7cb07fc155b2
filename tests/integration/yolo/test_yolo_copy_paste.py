"""Copy-paste in real trainings: what is trained on, what is told, and how it goes on."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.core.errors import ConfigError, DataError
from backend.core.events import DataSurveyed, Noted, RunStarted
from backend.trainers.yolo import trainer
from backend.trainers.yolo.engine import Engine
from backend.trainers.yolo.plan import plan_of
from backend.trainers.yolo.preparation import check
from backend.trainers.yolo.spec import YoloConfig
from backend.trainers.yolo.synthetic import PastedDataset
from backend.trainers.yolo.view import build_view
from tests.support.pasting import write_annotated, write_backgrounds
from tests.support.yolo_runs import StopAfter, Training, fit

from ultralytics.cfg import get_cfg  # isort: skip
from ultralytics.data.build import build_dataloader  # isort: skip

REAL = 24


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("pasted")
    return {
        "synthetic.annotated_dir": str(write_annotated(folder / "annotated")),
        "synthetic.backgrounds_dir": str(write_backgrounds(folder / "backgrounds")),
    }


@pytest.fixture(scope="module")
def config(scratch: YoloConfig, folders: dict[str, object]) -> YoloConfig:
    """Four epochs of 24 real and 36 made images, the last one real only; all that is random."""
    return scratch.replace(
        {
            **folders,
            **{"synthetic.ratio": 1.5, "synthetic.close": 1, "epochs": 4, "save_period": 1},
            **{"augment.mosaic": 0.5, "augment.mixup": 0.3, "augment.close_mosaic": 1},
        }
    )


@pytest.fixture(scope="module")
def whole(config: YoloConfig, tmp_path_factory: pytest.TempPathFactory) -> Training:
    return fit(config, tmp_path_factory.mktemp("whole"))


@pytest.fixture
def dataset(config: YoloConfig, tmp_path: Path) -> PastedDataset:
    """What a training reads."""
    checked = check(config, tmp_path)
    assert checked.pasting is not None
    data = build_view(tmp_path / "view", checked.train, checked.val)
    return PastedDataset(
        checked.pasting,
        **{"img_path": data["train"], "data": data, "augment": True, "cache": None, "pad": 0.0},
        **{"hyp": get_cfg(overrides=config.augment.model_dump()), "imgsz": 64, "batch_size": 4},
    )


def test_an_epoch_has_the_asked_for_ratio_and_caches_are_real(dataset: PastedDataset) -> None:
    assert len(dataset) == REAL + 36
    assert len(dataset.labels) == len(dataset.im_files) == dataset.ni == REAL
    real, made = dataset.get_image_and_label(3), dataset.get_image_and_label(REAL + 3)
    assert real.keys() == made.keys()
    assert made["img"].shape == (64, 64, 3)
    assert len(made["cls"]) == len(made["instances"]) > 0
    assert made["instances"].bboxes.max() <= 1


def test_the_ratio_of_the_specification(config: YoloConfig, tmp_path: Path) -> None:
    """96 items for 32 at 2.0."""
    checked = check(config.replace({"synthetic.ratio": 2.0}), tmp_path)
    assert checked.pasting is not None
    assert 32 + checked.pasting.made(32) == 96


def test_made_images_are_in_mosaics_as_often_as_among_all(dataset: PastedDataset) -> None:
    for index in (np.arange(len(dataset)) * 7 % len(dataset)).tolist():
        assert dataset[index]["img"].shape == (3, 64, 64)
    assert 1 < len(dataset.buffer) < dataset.max_buffer_length == 32
    share = np.mean([index >= REAL for index in dataset.buffer])
    assert 0.4 < share < 0.8
    kept = {index for index, image in enumerate(dataset.ims) if image is not None}
    assert kept <= set(dataset.buffer) - set(range(REAL, REAL + 36)), "made ones are made anew"


def test_closed_it_gives_real_images_at_the_same_length(dataset: PastedDataset) -> None:
    dataset.closed = True
    given = [dataset.get_image_and_label(index)["im_file"] for index in range(len(dataset))]
    shown = Counter(given)
    assert shown.keys() == set(dataset.im_files)
    assert set(shown.values()) == {2, 3}, "60 places for 24"


def test_closed_in_every_epoch_it_is_off_and_says_why(config: YoloConfig, tmp_path: Path) -> None:
    checked = check(config.replace({"synthetic.close": 4}), tmp_path)
    assert checked.pasting is None
    assert checked.planned.samples_per_epoch == REAL
    assert "nothing is pasted: synthetic.close (4) covers all 4 epochs" in checked.notes
    assert checked.remarks == ()


def test_the_plan_counts_what_is_trained(whole: Training) -> None:
    started = whole.events[0]
    assert isinstance(started, RunStarted)
    assert started.plan is not None
    assert started.plan.steps == whole.epochs()[-1].step
    assert started.plan == plan_of(whole.config, REAL + 36, 8, started.plan.losses)
    recorded = {item.split: item for item in started.data}
    assert recorded["annotated"].instances == 6
    assert recorded["backgrounds"].images == 3
    assert len({item.digest for item in started.data}) == 4


def test_the_survey_counts_what_is_yielded(whole: Training) -> None:
    (survey,) = (e.survey for e in whole.events if isinstance(e, DataSurveyed))
    (sampled,) = survey.sampled
    (annotated,) = (census for census in survey.labels if census.split == "train")
    assert sampled.positions == REAL + 36
    assert annotated.labels == 2 * REAL, "the census is of the annotation"
    assert 36 < sum(sampled.counts.values()) - annotated.labels < 36 * 4


def test_what_is_pasted_is_told(whole: Training) -> None:
    notes = {e.message: e.level for e in whole.events if isinstance(e, Noted)}
    assert notes["copy-paste: each epoch (except the last 1) has 36 made images beside 24 real "
                 "ones"] == "info"  # fmt: skip
    assert any("6 cut-outs (6 by mask: polygon" in message for message in notes)


@pytest.mark.parametrize("after", [1, 3])
def test_a_resumed_run_equals_the_uninterrupted_to_the_bit(
    config: YoloConfig, whole: Training, tmp_path: Path, after: int
) -> None:
    first = fit(config, tmp_path, StopAfter(after))
    second = fit(config, tmp_path)
    assert [*first.epochs(), *second.epochs()] == whole.epochs()
    digests = [e.checkpoint.sha256 for e in (*first.saved(), *second.saved())]
    assert digests == [e.checkpoint.sha256 for e in whole.saved()]


def test_continued_with_other_images_to_paste_it_says_so(
    config: YoloConfig, tmp_path: Path
) -> None:
    fit(config, tmp_path / "work", StopAfter(1))
    assert config.synthetic.annotated_dir is not None
    moved = tmp_path / "moved"
    shutil.copytree(config.synthetic.annotated_dir, moved)
    elsewhere = config.replace({"synthetic.annotated_dir": str(moved)})
    changed = "what is pasted changed since the run was interrupted"
    assert changed not in check(elsewhere, tmp_path / "work").notes
    (moved / "00.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    assert changed in check(elsewhere, tmp_path / "work").notes
    with pytest.raises(ConfigError, match=r"had synthetic\.ratio = 1\.5, now it is 1"):
        check(config.replace({"synthetic.ratio": 1.0}), tmp_path / "work")


@pytest.mark.parametrize("split", ["val", "holdout"])
def test_held_out_images_are_refused(
    split: str, config: YoloConfig, shapes: Path, tmp_path: Path
) -> None:
    assert config.synthetic.annotated_dir is not None
    leaking = tmp_path / "leaking"
    shutil.copytree(config.synthetic.annotated_dir, leaking)
    for kind, suffix in (("images", "png"), ("labels", "txt")):
        shutil.copy(shapes.parent / kind / split / f"002.{suffix}", leaking / f"99.{suffix}")
    with pytest.raises(DataError, match=f"1 images are also in the '{split}' split"):
        check(config.replace({"synthetic.annotated_dir": str(leaking)}), tmp_path / "work")


def test_off_it_says_why_once(scratch: YoloConfig, config: YoloConfig, tmp_path: Path) -> None:
    assert [why for why in check(scratch, tmp_path).remarks if "copy-paste is off" in why]
    for key, value in (("synthetic.enabled", False), ("synthetic.ratio", 0)):
        checked = check(config.replace({key: value}), tmp_path)
        assert (checked.pasting, checked.remarks) == (None, ())


class WithProcess(Engine):
    """A training with a loader process also on the CPU, where Ultralytics has none; it remembers
    which files each epoch gave."""

    def get_dataloader(self, path: str, batch_size: int = 8, rank: int = 0, mode: str = "") -> Any:
        workers = 1 if mode == "train" else 0
        dataset = self.build_dataset(path, mode, batch_size)
        return build_dataloader(dataset, batch_size, workers, mode == "train", device=self.device)

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        GIVEN.setdefault(self.epoch, []).extend(batch["im_file"])
        return super().preprocess_batch(batch)


GIVEN: dict[int, list[str]] = {}


def test_loader_processes_see_the_end_of_pasting(
    config: YoloConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "Engine", WithProcess)
    fit(config.replace({"epochs": 3, "augment.close_mosaic": 0}), tmp_path)
    made = {epoch: sum(file.startswith("made") for file in GIVEN[epoch]) for epoch in GIVEN}
    assert {epoch: len(files) for epoch, files in GIVEN.items()} == dict.fromkeys(range(3), 60)
    assert made == {0: 36, 1: 36, 2: 0}
