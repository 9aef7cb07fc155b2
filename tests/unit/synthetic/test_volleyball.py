"""Synthetic volleyball: the numbers of its specification, pixels under boxes, and the files."""

import colorsys
import json
import resource
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.optimize import linear_sum_assignment

from backend.core.errors import ConfigError, DataError
from backend.datasets.tracking import Detections, Expectations, read_tracking
from backend.scoring.tracking.classes import read_names
from backend.scoring.tracking.motchallenge import read_sequences
from backend.scoring.tracking.task import match
from backend.synthetic import _volleyball_scene as scene
from backend.synthetic._volleyball_motion import HEIGHT, WIDTH, walks
from backend.synthetic.volleyball import (
    CLASSES,
    DATABASE,
    FIELDS,
    KEYS,
    Clip,
    coco,
    database,
    make_clip,
    write_volleyball,
)

Numbers = NDArray[Any]
SPLITS = (("train", 16), ("val", 4))
DOMAINS = ("source", "target")


@pytest.fixture(scope="module")
def sets() -> dict[str, list[Clip]]:
    """Both domains as the demo has them."""
    names = [(split, number) for split, count in SPLITS for number in range(1, count + 1)]
    return {domain: [make_clip(domain, *name) for name in names] for domain in DOMAINS}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_volleyball(tmp_path_factory.mktemp("made") / "set", seed=3, train=2, val=2)


def tracks(clips: list[Clip]) -> list[Numbers]:
    """Rows of each player: frame, x, y, w, h, label, visibility."""
    found = []
    for clip in clips:
        one = clip.truth
        table = np.column_stack([one.frames, one.boxes, one.labels, one.visibility])
        found += [table[one.ids == number] for number in np.unique(one.ids)]
    return found


def overlaps(a: Numbers, b: Numbers) -> Numbers:
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum((a[:, :2] + a[:, 2:])[:, None], (b[:, :2] + b[:, 2:])[None])
    both = np.prod(np.maximum(high - low, 0), axis=-1)
    union = np.prod(a[:, 2:], axis=1)[:, None] + np.prod(b[:, 2:], axis=1)[None] - both
    return np.asarray(both / union)


@pytest.mark.parametrize("domain", DOMAINS)
def test_players_are_as_specified(sets: dict[str, list[Clip]], domain: str) -> None:
    clips = sets[domain]
    assert len({clip.name for clip in clips}) == 20
    assert {clip.images.shape for clip in clips} == {(40, 96, 160, 3)}
    players = [len(np.unique(clip.truth.ids)) for clip in clips]
    assert set(players) == {4, 5}
    for clip in clips:
        pairs = np.column_stack([clip.truth.frames, clip.truth.ids])
        assert len(np.unique(pairs, axis=0)) == len(pairs), "once in a frame"
        assert (np.diff(clip.truth.frames) >= 0).all()
    late = early = 0
    ways = tracks(clips)
    for way in ways:
        frames, boxes = way[:, 0], way[:, 1:5]
        assert (np.diff(frames) == 1).all(), "no gaps"
        assert len(np.unique(boxes[:, 2:], axis=0)) == 1
        assert 15 <= boxes[0, 2] <= 21
        assert 30 <= boxes[0, 3] <= 40
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, :2] + boxes[:, 2:] <= (WIDTH, HEIGHT)).all()
        assert frames[0] == 1 or 6 <= frames[0] <= 16
        assert frames[-1] == 40 or 25 <= frames[-1] <= 35
        late, early = late + (frames[0] > 1), early + (frames[-1] < 40)
    assert 0.12 < late / len(ways) < 0.38
    assert 0.12 < early / len(ways) < 0.38
    seen = np.concatenate([way[:, 6] for way in ways])
    assert 0.15 < (seen < 1).mean() < 0.4, "players hide each other"
    assert 0.02 < (seen < 0.5).mean() < 0.1
    assert seen.min() >= 0


def test_the_target_jumps_and_the_source_does_not() -> None:
    for jumping in (True, False):
        for way in (
            w for seed in range(30) for w in walks(5, jumping, np.random.default_rng(seed))
        ):
            up = np.flatnonzero(way.airborne)
            assert len(up) == (6 if jumping else 0)
            assert jumping is False or up[-1] - up[0] == 5
            lift = way.ground - way.boxes[:, 1] - way.boxes[:, 3]
            assert (lift[~way.airborne] == 0).all()
            assert (lift[up] >= 3).all()
            steps = np.diff(np.column_stack([way.boxes[:, 0], way.ground]), axis=0)
            assert np.hypot(*steps.T).max() <= 3 + np.sqrt(2), "3 pixels, and two roundings"


def test_every_class_is_met_in_every_split(sets: dict[str, list[Clip]]) -> None:
    for split, _ in SPLITS:
        labels = np.concatenate([c.truth.labels for c in sets["target"] if c.split == split])
        counts = np.bincount(labels, minlength=9)
        assert counts[0] == 0
        assert len(counts) == 9
        assert counts[1:].min() > 0.05 * counts.sum()
    assert all(set(clip.truth.labels.tolist()) == {1} for clip in sets["source"])
    assert [len(CLASSES[domain]) for domain in DOMAINS] == [1, 8]
    for first, second in zip(sets["target"][::2], sets["target"][1::2], strict=True):
        shown = {*first.truth.labels.tolist(), *second.truth.labels.tolist()}
        assert shown == set(range(1, 9)), "two neighbours show all"


@pytest.mark.parametrize("changes", [0.0, 1.0])
def test_the_shirt_tells_the_class(changes: float) -> None:
    checked = 0
    for number in range(1, 17):
        clip = make_clip("target", "train", number, class_changes=changes)
        one = clip.truth
        for row in np.flatnonzero((one.visibility == 1) & (one.frames % 9 == 0)):
            x, y, w, h = one.boxes[row].tolist()
            image = clip.images[one.frames[row] - 1].astype(float) / 255
            shirt = image[y + int(0.4 * h) : y + int(0.52 * h), x + w // 3 : x + w - w // 3]
            hue, saturation, _ = colorsys.rgb_to_hsv(*shirt.reshape(-1, 3).mean(axis=0))
            assert nearest(hue * 360, saturation) + 1 == one.labels[row]
            checked += 1
    assert checked > 120


def nearest(hue: float, saturation: float) -> int:
    """The class, from 0, that a colour belongs to."""
    if saturation < 0.25:
        return scene.HUES.index(None)
    away = [180 if h is None else abs((hue - h + 180) % 360 - 180) for h in scene.HUES]
    return int(np.argmin(away))


@pytest.mark.parametrize("pose", scene.POSES)
@pytest.mark.parametrize("size", [(15, 30), (21, 40), (18, 33)])
def test_a_body_fills_its_box(pose: int, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    drawn = scene.sprite(scene.look(rng), scene.shirt(2, rng), pose, size)
    assert drawn.picture.size == drawn.shape.size == size
    ink = drawn.shape.point(lambda value: 255 * (value > 100)).getbbox()
    assert ink is not None
    assert np.abs(np.subtract(ink, (0, 0, *size))).max() <= 1


@pytest.mark.parametrize("domain", DOMAINS)
def test_only_boxes_move_and_the_rest_is_noise(sets: dict[str, list[Clip]], domain: str) -> None:
    for clip in sets[domain][:6]:
        covered = np.zeros((40, HEIGHT, WIDTH), dtype=bool)
        for frame, (x, y, w, h) in zip(clip.truth.frames, clip.truth.boxes.tolist(), strict=True):
            covered[frame - 1, y : y + h, x : x + w] = True
        free = ~covered[0] & ~covered[20]
        inside = covered[0] & ~covered[20]
        change = (clip.images[0].astype(float) - clip.images[20]) / 255
        assert 0.027 < change[free].std() / np.sqrt(2) < 0.033
        assert abs(change[free].mean()) < 0.004
        assert change[inside].std() > 0.12, "what was there is gone"


def test_the_nearer_player_is_painted_over_the_farther_one() -> None:
    """The shirt colour of the front player is what is seen where two boxes share a middle."""
    for clip in (make_clip("source", "more", number) for number in range(1, 5)):
        feet = clip.truth.boxes[:, 1] + clip.truth.boxes[:, 3]
        assert (np.diff(feet)[np.diff(clip.truth.frames) == 0] >= 0).all(), "from far to near"
    checked = 0
    for number in range(1, 25):
        clip = make_clip("target", "more", number)
        one = clip.truth
        for front in range(1, len(one.frames)):
            back = front - 1
            if one.frames[back] != one.frames[front] or one.labels[back] == one.labels[front]:
                continue
            x, y, w, h = one.boxes[front].tolist()
            px, py = x + w // 2, y + int(0.46 * h)
            bx, by, bw, bh = one.boxes[back].tolist()
            if one.visibility[front] < 1 or not (bx < px < bx + bw and by < py < by + bh):
                continue
            patch = clip.images[one.frames[front] - 1, py - 1 : py + 2, px - 1 : px + 2] / 255
            hue, saturation, _ = colorsys.rgb_to_hsv(*patch.reshape(-1, 3).mean(axis=0))
            checked += 1
            assert nearest(hue * 360, saturation) + 1 == one.labels[front]
    assert checked > 60


def test_the_domains_look_alike_where_nobody_is(sets: dict[str, list[Clip]]) -> None:
    looks = []
    for domain in DOMAINS:
        images = np.stack([clip.images[0] for clip in sets[domain]]) / 255
        looks.append((images.mean(), images.std(axis=(1, 2, 3)).mean()))
    assert looks[0] == pytest.approx(looks[1], abs=0.04)


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_detector_errs_as_often_as_specified(sets: dict[str, list[Clip]], domain: str) -> None:
    true = wrong = found = 0
    sure, unsure, shifts = [], [], []
    for clip in sets[domain]:
        one, seen = clip.truth, clip.detections
        assert (np.diff(seen.frames) >= 0).all()
        assert seen.boxes[:, 2:].min() > 0
        assert (seen.scores.min() >= 0) & (seen.scores.max() <= 1)
        for frame in range(1, 41):
            rows, ours = np.flatnonzero(one.frames == frame), np.flatnonzero(seen.frames == frame)
            true += len(rows)
            iou = overlaps(one.boxes[rows].astype(float), seen.boxes[ours])
            pairs = [p for p in zip(*linear_sum_assignment(-iou), strict=True) if iou[p] > 0.5]
            found += len(pairs)
            for row, mine in ((rows[a], ours[b]) for a, b in pairs):
                wrong += int(one.labels[row] != seen.labels[mine])
                sure.append(seen.scores[mine])
                shifts.append((seen.boxes[mine] - one.boxes[row]) / one.boxes[row][[2, 3, 2, 3]])
            left = set(ours.tolist()) - {int(ours[b]) for _, b in pairs}
            unsure += [seen.scores[mine] for mine in left]
    assert found / true == pytest.approx(0.92, abs=0.015)
    assert len(unsure) / (40 * 20) == pytest.approx(0.4, abs=0.08)
    assert wrong / found == pytest.approx(0.1 if domain == "target" else 0, abs=0.025)
    assert np.mean(sure) == pytest.approx(0.8, abs=0.02)
    assert np.mean(unsure) == pytest.approx(3 / 7, abs=0.05)
    assert np.std(shifts, axis=0) == pytest.approx(np.full(4, 0.05), abs=0.006)
    assert np.mean(shifts, axis=0) == pytest.approx(np.zeros(4), abs=0.006)


def test_classes_change_in_mid_track_where_wanted() -> None:
    clips = [make_clip("target", "val", n, class_changes=0.3) for n in range(1, 21)]
    ways = tracks(clips)
    changing = [way for way in ways if len(np.unique(way[:, 5])) == 2]
    assert 0.18 < len(changing) / len(ways) < 0.42
    for way in changing:
        steps = np.flatnonzero(np.diff(way[:, 5]))
        assert len(steps) == 1, "once"
        assert len(way) / 3 - 2 <= steps[0] <= 2 * len(way) / 3
    same = make_clip("target", "val", 1)
    assert (same.truth.boxes == clips[0].truth.boxes).all(), "the motion stays as it is"
    assert all(len(np.unique(way[:, 5])) == 1 for way in tracks([same]))


def test_the_scorer_reads_the_folders(written: dict[str, Path], tmp_path: Path) -> None:
    for domain, root in written.items():
        names = read_names(root / "classes.json")
        assert names == dict(enumerate(CLASSES[domain], start=1))
        for split, count in (("train", 2), ("val", 2)):
            results = tmp_path / domain / split
            results.mkdir(parents=True)
            for gt in (root / split).glob("*/gt/gt.txt"):
                (results / f"{gt.parts[-3]}.txt").write_bytes(gt.read_bytes())
            sequences, warnings = read_sequences(root / split, results)
            assert not warnings
            assert [one.length for one in sequences] == [40] * count
            perfect = match(sequences, names).scores().metrics
            assert perfect["HOTA"] == pytest.approx(1)
            assert perfect["cls_HOTA"] == pytest.approx(1)


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_checks_before_a_training_find_nothing(written: dict[str, Path], domain: str) -> None:
    root = written[domain]
    wanted = Expectations(num_classes=len(CLASSES[domain]))
    data = read_tracking(root, ("train", "val"), Detections(root / DATABASE), wanted=wanted)
    assert data.findings == ()
    assert [split.recall > 0.88 for split in data.census if split.recall is not None] == [True] * 2


def test_the_files_say_what_the_clip_says(written: dict[str, Path]) -> None:
    root, clip = written["target"], make_clip("target", "train", 2, seed=3)
    folder = root / "train" / clip.name
    rows = np.loadtxt(folder / "gt/gt.txt", delimiter=",")
    one = clip.truth
    expected = np.column_stack([one.frames, one.ids, one.boxes, np.ones(len(one.ids)), one.labels])
    assert (rows[:, :8] == expected).all()
    assert np.abs(rows[:, 8] - one.visibility).max() <= 0.0005
    images = sorted((folder / "img1").iterdir())
    assert [path.name for path in images] == [f"{n:06d}.jpg" for n in range(1, 41)]
    for path, pixels in zip(images, clip.images, strict=True):
        with Image.open(path) as image:
            assert np.abs(np.asarray(image).astype(float) - pixels).mean() < 6
    ini = (folder / "seqinfo.ini").read_text().splitlines()
    assert ini == ["[Sequence]", f"name={clip.name}", "imDir=img1", "frameRate=25",
                   "seqLength=40", "imWidth=160", "imHeight=96", "imExt=.jpg"]  # fmt: skip
    found = json.loads((root / DATABASE).read_text())
    wanted = product(("train", "val"), (1, 2))
    clips = [make_clip("target", *which, seed=3) for which in wanted]
    assert found == database(clips, CLASSES["target"])


@pytest.mark.parametrize(("fields", "keys", "meta"), [*product(FIELDS, KEYS, (True, False))])
def test_a_database_in_every_way_it_is_written(fields: str, keys: str, meta: bool) -> None:
    clip = make_clip("target", "val", 1)
    made = database([clip], CLASSES["target"], fields, keys, meta)
    head: Any = made.pop("_meta", None)
    assert (head is not None) == meta
    if meta:
        assert head["fields"] == fields
        assert ("classes" in head) == ("c" in fields)
    end = {"reference": "00000040.txt", "brief": "000040"}[keys]
    assert list(made)[-1] == f"val/target-val-01/img1/{end}"
    assert len(made) == 40, "frames without detections too"
    seen, row = clip.detections, 0
    for frame, lines in enumerate(made.values(), start=1):
        assert isinstance(lines, list)
        for line in lines:
            assert line.endswith("\n")
            values = dict(zip("xywh" + fields[4:], map(float, line.split(",")), strict=True))
            assert seen.frames[row] == frame
            assert [values[k] for k in "xywh"] == pytest.approx(seen.boxes[row], abs=0.006)
            assert values["s"] == pytest.approx(seen.scores[row], abs=1e-6)
            assert values.get("c", seen.labels[row]) == seen.labels[row]
            row += 1
    assert row == len(seen.frames)


def test_coco_with_and_without_identities(written: dict[str, Path]) -> None:
    root = written["target"]
    full, bare = (json.loads((root / f"annotations/train{end}.json").read_text())
                  for end in ("", "_without_ids"))  # fmt: skip
    images = {image["id"]: image for image in full["images"]}
    assert all((root / image["file_name"]).is_file() for image in images.values())
    assert [(i["video_id"], i["frame_id"]) for i in images.values()] == list(
        product((1, 2), range(1, 41))
    )
    assert [c["name"] for c in full["categories"]] == list(CLASSES["target"])
    clips = [make_clip("target", "train", n, seed=3) for n in (1, 2)]
    rows = [
        (images[a["image_id"]]["video_id"], images[a["image_id"]]["frame_id"], a["track_id"],
         *a["bbox"], a["category_id"])
        for a in full["annotations"]
    ]  # fmt: skip
    expected = [
        np.column_stack([np.full(len(c.truth.ids), at), c.truth.frames, c.truth.ids,
                         c.truth.boxes, c.truth.labels])
        for at, c in enumerate(clips, start=1)
    ]  # fmt: skip
    assert (np.array(rows) == np.concatenate(expected)).all()
    for annotation in full["annotations"]:
        del annotation["track_id"]
    assert full == bare == coco(clips, CLASSES["target"], identities=False)


def test_a_sequence_depends_on_the_seed_and_its_name_only(tmp_path: Path) -> None:
    few = write_volleyball(tmp_path / "few", seed=1, train=1, val=1)
    more = write_volleyball(tmp_path / "more", seed=1, train=2, val=2)
    other = write_volleyball(tmp_path / "other", seed=2, train=1, val=1)
    for domain, name in product(DOMAINS, ("img1/000040.jpg", "gt/gt.txt", "seqinfo.ini")):
        place = f"val/{domain}-val-01/{name}"
        assert (few[domain] / place).read_bytes() == (more[domain] / place).read_bytes()
        if name != "seqinfo.ini":
            assert (few[domain] / place).read_bytes() != (other[domain] / place).read_bytes()
        found = [json.loads((one[domain] / DATABASE).read_text()) for one in (few, more)]
        assert found[0].items() <= found[1].items()


def test_a_second_call_finds_it_done(tmp_path: Path) -> None:
    roots = write_volleyball(tmp_path / "set", train=1, val=1)
    assert roots == {domain: tmp_path / "set" / domain for domain in DOMAINS}
    marker = roots["source"] / "classes.json"
    marker.write_bytes(b"mine")
    assert write_volleyball(tmp_path / "set", train=1, val=1) == roots
    assert marker.read_bytes() == b"mine"
    for other in ({"seed": 1}, {"class_changes": 0.3}, {"val": 2}):
        with pytest.raises(DataError, match="another version, seed or size"):
            write_volleyball(tmp_path / "set", **{"train": 1, "val": 1, **other})  # type: ignore[arg-type]


def test_two_at_once_make_one(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        made = [pool.submit(write_volleyball, tmp_path / "set", 0, 1, 1) for _ in range(2)]
        assert made[0].result() == made[1].result()
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_what_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="holds no synthetic volleyball"):
        write_volleyball(tmp_path)
    with pytest.raises(ConfigError, match="every split needs at least one"):
        write_volleyball(tmp_path / "set", val=0)
    for share in (1.5, float("nan")):
        with pytest.raises(ConfigError, match="class_changes"):
            write_volleyball(tmp_path / "set", class_changes=share)
    with pytest.raises(DataError, match="cannot be written"):
        write_volleyball(tmp_path / "notes.txt" / "set", train=1, val=1)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("limit", [resource.RLIMIT_FSIZE, resource.RLIMIT_CPU])
def test_a_writer_that_dies_leaves_no_half_set(tmp_path: Path, limit: int) -> None:
    """A disk that is full after 2000 bytes of a file, and a process killed after a second."""
    most = {resource.RLIMIT_FSIZE: 2000, resource.RLIMIT_CPU: 2}[limit]
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from backend.core.errors import DataError\n"
        "from backend.synthetic.volleyball import write_volleyball\n"
        f"resource.setrlimit({limit}, ({most}, {most}))\n"
        "try:\n"
        f"    write_volleyball(Path({str(tmp_path / 'set')!r}), train=400)\n"
        "except DataError as error:\n"
        "    sys.exit(str(error))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert not (tmp_path / "set").exists()
    if limit == resource.RLIMIT_FSIZE:
        assert "cannot be written (File too large)" in done.stderr
        assert not list(tmp_path.iterdir())
    else:
        assert done.returncode in (-signal.SIGXCPU, -signal.SIGKILL)
        assert write_volleyball(tmp_path / "set", train=1, val=1)
