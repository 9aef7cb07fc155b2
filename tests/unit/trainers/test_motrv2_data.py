"""Clips of the tracking data: which frames, whose boxes, which ids, the same in any process."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from backend.core.errors import AssayError, ConfigError, DataError
from backend.datasets.tracking.clips import ID_ROOM, draw_clips
from backend.datasets.tracking.records import TrackingSplit
from backend.runner.config import RunnerConfig
from backend.runner.data import Stream
from backend.runner.distributed import Ranks
from backend.runner.seeds import SAMPLE, seed_all
from backend.trainers.motrv2.batch import Batch, Frame
from backend.trainers.motrv2.data import ClipSamples, SequenceFrames, ValidationClips, collate
from backend.trainers.motrv2.data_reading import as_input, read_data
from backend.trainers.motrv2.spec import Motrv2Config
from tests.support.tracking_folders import (
    CLASSES,
    FRAMES,
    clean,
    detections,
    edit_rows,
    rows_of,
    sequence,
    write_detections,
    write_rows,
)

SMALL = {"short": 32, "train_short": (32, 48), "crop": (24, 48), "crop_short": (40, 56)}
PLAIN = {**SMALL, "flip": 0, "crop_chance": 0, "train_short": (), "hsv": (0, 0, 0)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return clean(tmp_path / "data")


def config(root: Path, **changes: Any) -> Motrv2Config:
    made = Motrv2Config.model_validate({"data": root, "images": SMALL})
    return made.replace(changes)


def train(told: Motrv2Config, split: str = "train") -> TrackingSplit:
    return read_data(told, [split]).splits[0]


def seeded(samples: ClipSamples, seed: int, epoch: int = 1) -> list[str]:
    """The names of an epoch's samples in order, drawn as the Runner draws them."""
    samples.set_epoch(epoch)
    names = []
    for place in range(len(samples)):
        seed_all(SAMPLE, seed, epoch, place)
        names.append(samples[place].name)
    return names


def stream(samples: ClipSamples, workers: int) -> Stream:
    told = RunnerConfig.model_validate({"workers": workers, "batch": 3})
    return Stream(samples, collate, told, 5, Ranks(0, 1))


def batches(samples: ClipSamples, workers: int, epoch: int) -> list[Batch]:
    return list(stream(samples, workers).iterate(epoch, 0, torch.device("cpu")))


def same(one: Frame, other: Frame) -> bool:
    return all(torch.equal(value, vars(other)[name]) for name, value in vars(one).items())


def test_exact_frames_of_given_seeds(root: Path) -> None:
    told = config(root, **{"clips.lengths": [3], "clips.interval": 4, "images": PLAIN})
    samples = ClipSamples(train(told), told)
    assert len(samples) == 2 * (FRAMES - 2)
    names = seeded(samples, seed=7)
    assert [int(name.split("+")[1][0]) for name in names[:6]] == [2, 1, 1, 1, 1, 2]
    assert names == seeded(samples, seed=7) != seeded(samples, seed=8)
    assert [name.split("+")[0] for name in names] == [
        f"{one}/{start:06d}" for one in "ab" for start in range(1, FRAMES - 1)
    ]
    assert {name.split("+")[1] for name in names} == {f"{stride}x3" for stride in (1, 2, 3, 4)}


def test_a_clip_has_the_frames_of_its_name(root: Path) -> None:
    told = config(root, **{"clips.lengths": [3], "clips.interval": 4, "images": PLAIN})
    split = train(told)
    samples = ClipSamples(split, told)
    for place in (2, 9, 19):
        seed_all(SAMPLE, 7, 1, place)
        clip, name = samples[place]
        first, stride = int(name[2:8]), int(name[9])
        wanted = [min(first + stride * step, FRAMES) for step in range(3)]
        frames = SequenceFrames(split.sequences["ab".index(name[0])], told)
        offset = "ab".index(name[0]) * ID_ROOM
        for frame, number in zip(clip, wanted, strict=True):
            still = frames[frames.numbers.index(number)]
            assert same(frame, replace(still, ids=still.ids + offset))


def test_a_sequence_that_is_too_short_has_a_clip(root: Path) -> None:
    sequence(root / "train" / "short", 9, frames=2)
    told = config(root, **{"clips.lengths": [5], "clips.interval": 1, "det_db.use": False})
    read = read_data(told, ["train"])
    found = next(one for one in read.findings if "shorter than a clip" in one.sentence)
    assert (found.code, found.numbers["sequences"]) == ("N9", 1)
    samples = ClipSamples(read.splits[0], told)
    clip, name = samples[len(samples) - 1]
    assert name == "short/000001+1x5"
    assert [frame.ids.tolist() for frame in clip] == [[2 * ID_ROOM + n for n in (1, 2, 3, 4)]] * 5
    assert not same(clip[0], clip[1])
    assert all(same(clip[1], frame) for frame in clip[2:]), "the last frame again"


def test_clips_stay_within_the_annotated_frames(root: Path) -> None:
    edit_rows(root, lambda _, row: row if 4 <= row[0] <= 9 else None)
    told = config(root, **{"clips.lengths": [2], "clips.interval": 9})
    names = seeded(ClipSamples(train(told), told), seed=0)
    assert [int(name[2:8]) for name in names] == [4, 5, 6, 7, 8] * 2
    samples = ClipSamples(train(told), told)
    assert all(len(frame.ids) for place in range(len(samples)) for frame in samples[place].clip)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_clip_length_changes_at_its_epochs_in_every_process(root: Path, workers: int) -> None:
    told = config(
        root, **{"clips.lengths": [1, 2, 4], "clips.epochs": [1, 3], "clips.per_epoch": 6}
    )
    loader = stream(ClipSamples(train(told), told), workers)
    for epoch, length in enumerate((1, 2, 2, 4, 4), start=1):
        made = list(loader.iterate(epoch, 0, torch.device("cpu")))
        assert [len(batch.clips) for batch in made] == [3, 3]
        assert {len(clip) for batch in made for clip in batch.clips} == {length}
        assert all(name.endswith(f"x{length}") for batch in made for name in batch.names)


def test_the_number_of_processes_changes_nothing(root: Path) -> None:
    told = config(root, **{"clips.lengths": [3], "clips.per_epoch": 9})
    alone, together = (batches(ClipSamples(train(told), told), n, 2) for n in (0, 2))
    assert [one.names for one in alone] == [other.names for other in together]
    for one, other in zip(alone, together, strict=True):
        for mine, theirs in zip(one.clips, other.clips, strict=True):
            assert all(map(same, mine, theirs))
    again = batches(ClipSamples(train(told), told), 0, 3)
    assert [one.names for one in again] != [one.names for one in alone]


def test_an_epoch_may_have_some_of_the_clips(root: Path) -> None:
    told = config(root, **{"clips.lengths": [3], "clips.per_epoch": 7, "seed": 4, "images": PLAIN})
    samples = ClipSamples(train(told), told)
    starts = [f"{one}/{start:06d}" for one in "ab" for start in range(1, FRAMES - 1)]
    for epoch in (1, 2, 3):
        assert len(samples) == 7
        drawn = draw_clips(7, 20, seed=4, epoch=epoch - 1)
        assert [n.split("+")[0] for n in seeded(samples, 0, epoch)] == [starts[c] for c in drawn]


def test_targets_are_what_is_marked_and_of_a_class(root: Path) -> None:
    def change(_: int, row: list[float]) -> list[float]:
        mark, label = (0 if row[1] == 1 else 1), (9 if row[1] == 2 else row[7])
        return [*row[:6], mark, label, row[8]]

    edit_rows(root, change)
    told = config(root)
    split = train(told)
    clip, _ = ClipSamples(split, told.replace({"images": PLAIN}))[0]
    assert clip[0].ids.tolist() == [3, 4]
    assert clip[0].labels.tolist() == [2, 0]
    assert clip[0].labels.dtype == clip[0].ids.dtype == torch.int64


def test_ids_of_sequences_never_meet_and_must_leave_room(root: Path) -> None:
    told = config(root)
    samples = ClipSamples(train(told), told)
    assert samples[0].clip[0].ids.min() < ID_ROOM <= samples[len(samples) - 1].clip[0].ids.min()
    edit_rows(root, lambda _, row: [row[0], row[1] + ID_ROOM, *row[2:]])
    with pytest.raises(DataError, match=r"train/a: id 100004: .* below 100,000; number them anew"):
        ClipSamples(train(told), told)


def test_a_frame_may_be_empty_of_objects_and_of_proposals(root: Path) -> None:
    folder = root / "train" / "a"
    write_rows(folder, [row for row in rows_of(folder) if row[0] != 2])
    write_detections(
        root, {key: lines for key, lines in detections(root).items() if "a/img1/000003" not in key}
    )
    told = config(root, **{"clips.lengths": [3], "clips.interval": 1})
    clip, name = ClipSamples(train(told), told)[0]
    assert name == "a/000001+1x3"
    _, without, unseen = clip
    assert without.boxes.shape == (0, 4)
    assert without.boxes.dtype == torch.float32
    assert without.labels.dtype == without.ids.dtype == torch.int64
    assert unseen.proposals.shape == (0, 4)
    assert unseen.proposal_scores.shape == unseen.proposal_classes.shape == (0,)
    assert len(unseen.boxes) > 0


def test_a_pseudo_clip_is_one_image_that_drifts(root: Path) -> None:
    per_box = iter(range(1, 10_000))
    edit_rows(root, lambda _, row: [row[0], next(per_box), *row[2:]])
    changes: dict[str, Any] = {"clips.pseudo": True, "clips.lengths": [4], "images": PLAIN}
    told = config(root, **changes)
    assert not [one for one in read_data(told, ["train"]).errors if one.code == "N7"]
    samples = ClipSamples(train(told), told)
    assert len(samples) == 2 * FRAMES, "each frame is a clip"
    clip, name = samples[FRAMES + 2]
    assert name == "b/000003+0x4"
    assert {frame.image.shape for frame in clip} == {clip[0].image.shape}
    for frame in clip:
        assert set(frame.ids.tolist()) <= {ID_ROOM + n for n in range(4)}
    ids = set.intersection(*(set(frame.ids.tolist()) for frame in clip))
    places = {tuple(frame.boxes[frame.ids == min(ids)].flatten().tolist()) for frame in clip}
    assert len(places) == len(clip), "it moves"


def test_validation_clips_are_even_and_as_they_are(root: Path) -> None:
    told = config(root, **{"clips.lengths": [2, 4], "clips.epochs": [3], "learning.val_clips": 3})
    split = train(told, "val")
    clips = ValidationClips(split, told)
    assert [sample.name for sample in clips] == [f"c/{n:06d}+1x4" for n in (1, 5, 9)]
    frames = SequenceFrames(split.sequences[0], told)
    assert all(same(mine, frames[4 + step]) for step, mine in enumerate(clips[1].clip))
    assert [sample.name for sample in clips[1:]] == [clips[1].name, clips[2].name]
    assert len(ValidationClips(split, told.replace({"learning.val_clips": 99}))) == FRAMES - 3
    assert list(ValidationClips(split, told.replace({"learning.val_clips": 0}))) == []


def test_a_pseudo_validation_clip_is_always_the_same(root: Path) -> None:
    told = config(root, **{"clips.pseudo": True, "learning.val_clips": 2})
    first, second = (list(ValidationClips(train(told, "val"), told)) for _ in range(2))
    assert [sample.name for sample in first] == ["c/000001+0x5", "c/000012+0x5"]
    for one, other in zip(first, second, strict=True):
        assert all(map(same, one.clip, other.clip))
    assert not same(first[0].clip[0], first[0].clip[1])


def test_a_sequence_as_inference_sees_it(root: Path) -> None:
    told = config(root, **{"images.short": 40, "images.long": 48})
    found = train(told, "val").sequences[0]
    frames = SequenceFrames(found, told)
    assert (len(frames), frames.size, frames.numbers) == (FRAMES, (96, 64), (*range(1, 13),))
    seen = list(frames)
    assert {tuple(frame.image.shape) for frame in seen} == {(3, 32, 48)}
    x, y, w, h = found.frame(0).boxes[0]
    expected = [(x + w / 2) / 96, (y + h / 2) / 64, w / 96, h / 64]
    assert seen[0].boxes[0].tolist() == pytest.approx(expected)
    assert len(seen[2].proposals) == 5
    assert seen[2].proposal_scores[0] == pytest.approx(0.2)
    assert seen[2].proposal_classes[0] == 0
    assert all(same(frames[place], frame) for place, frame in enumerate(seen))
    with pytest.raises(IndexError):
        frames[FRAMES]


def test_an_image_that_cannot_be_read_is_one_sentence(root: Path) -> None:
    told = config(root)
    found = train(told, "val").sequences[0]
    path = root / "val" / "c" / "img1" / "000003.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=rf"^{path}: cannot be read as an image"):
        list(SequenceFrames(found, told))
    path.unlink()
    with pytest.raises(DataError, match=rf"^{path}: the image is missing"):
        list(SequenceFrames(found, told))
    frames = SequenceFrames(train(told, "val").sequences[0], told)
    with pytest.raises(DataError, match=r"val/c: frame 3 has no image in img1"):
        frames[2]
    with pytest.raises(DataError, match="tells no size"):
        SequenceFrames(replace(found, width=None), told)


def test_a_damaged_image_ends_a_training_with_its_sentence(root: Path) -> None:
    told = config(root)
    samples = ClipSamples(train(told), told)
    for path in (root / "train" / "a" / "img1").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(AssayError, match=r"img1/.*png: cannot be read as an image"):
        batches(samples, workers=2, epoch=1)


def test_the_database_beside_the_data_or_as_told(root: Path, tmp_path: Path) -> None:
    told = config(root)
    assert read_data(told, ["train"]).census[0].fields == "xywhcs"
    other = tmp_path / "other.json"
    write_detections(root, detections(root, "xywhs"))
    (root / "det_db.json").rename(other)
    with pytest.raises(ConfigError, match=r"has no det_db.json, .* or set det_db.use: false"):
        read_data(told, ["train"])
    without = read_data(told.replace({"det_db.use": False}), ["train"])
    assert not without.errors
    assert without.census[0].proposals is None
    write_detections(root, detections(root))
    named = told.replace({"det_db.path": str(other)})
    assert read_data(named, ["train"]).census[0].fields == "xywhs", "the config's data: as told"
    elsewhere = clean(tmp_path / "elsewhere")
    read = read_data(named, ["val"], elsewhere)
    assert read.census[0].fields == "xywhcs", "other data: their own first"
    declared = named.replace({"det_db.fields": "xywhs"})
    assert read_data(declared, ["train"]).census[0].fields == "xywhs"
    assert read_data(declared, ["val"], elsewhere).census[0].fields == "xywhcs"
    (elsewhere / "det_db.json").unlink()
    assert read_data(named, ["val"], elsewhere).census[0].fields == "xywhs"


def test_data_are_held_against_the_config(root: Path) -> None:
    write_detections(root, detections(root, "xywhs"))
    told = config(root)
    assert [one.code for one in read_data(told, ["train"]).errors] == ["N4"]
    for change in ({"model.proposal_class": "ignore"}, {"det_db.use": False}):
        assert not read_data(told.replace(change), ["train"]).errors
    asked = told.replace({"classes": ["a", "b", "c"], "det_db.use": False})
    assert {one.code for one in read_data(asked, ["train"]).errors} == {"N5"}
    assert not read_data(asked, ["train"], classes=CLASSES).errors
    dropping = told.replace({"drop": {"people": [2]}, "det_db.use": False})
    assert {one.code for one in read_data(dropping, ["train"]).errors} == {"N8"}
    assert not read_data(dropping.replace({"confirmed": ["people"]}), ["train"]).errors


def test_the_source_domain_has_its_own_classes(root: Path, tmp_path: Path) -> None:
    source = clean(tmp_path / "source")
    told = config(
        root,
        **{
            "classes": ["a", "b", "c"],
            "drop": {"people": [2]},
            "source": str(source),
            "model.pretrained": "before.pth",
        },
    )
    read = read_data(told, ["val"], source)
    assert not read.errors
    assert read.splits[0].classes == CLASSES
    assert not read.splits[0].dropped


def test_what_a_run_records_of_a_split(root: Path, tmp_path: Path) -> None:
    told = config(root)
    first = as_input(train(told))
    assert (first.name, first.path, first.split) == ("data", str(root), "train")
    assert (first.images, first.instances) == (2 * FRAMES, 2 * FRAMES * 4)
    moved = clean(tmp_path / "elsewhere")
    assert as_input(read_data(told, ["train"], moved).splits[0]).digest == first.digest
    assert as_input(train(told, "val")).digest != first.digest
    assert as_input(train(told.replace({"det_db.use": False}))).digest != first.digest
    edit_rows(root, lambda n, row: [*row[:2], row[2] + (n == 0), *row[3:]])
    assert as_input(train(told)).digest != first.digest
    image = moved / "train" / "b" / "img1" / "000005.png"
    image.write_bytes(image.read_bytes() + b"\0")
    assert as_input(read_data(told, ["train"], moved).splits[0]).digest != first.digest
    gone = read_data(told, ["train"], moved).splits[0]
    image.unlink()
    with pytest.raises(DataError, match=f"^{image}: the image is missing"):
        as_input(gone)
