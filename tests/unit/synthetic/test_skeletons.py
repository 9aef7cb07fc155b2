"""Made skeletons: the file's layout, bodies that do what the annotation says, and the folder."""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.core.errors import ConfigError, DataError
from backend.synthetic.rallies import make_rallies
from backend.synthetic.skeletons import make_skeleton, write_skeletons, write_spotting

REAL = Path(__file__).parents[4] / "shared" / "data" / "f3set-tennis"
FAR, NEAR = 0, 1
NOSE, WRISTS, HIPS, ANKLES = 0, (9, 10), (11, 12), (15, 16)
LEFT, RIGHT = 0, 1
SPLITS = ("train", "val", "holdout")

Floats = NDArray[np.float32]


def clip(*labels: str, hand: str = "RH", name: str = "one") -> dict[str, Any]:
    """A clip at 25 frames a second with these events, one every two seconds."""
    events = [{"frame": 50 * number, "label": label} for number, label in enumerate(labels, 1)]
    return {"video": name, "num_frames": 50 * (len(labels) + 1), "fps": 25.0, "height": 720,
            "width": 1280, "events": events, "near_hand": hand, "far_hand": hand}  # fmt: skip


def relative(skeleton: Mapping[str, Any], person: int) -> Floats:
    """Joints from mid-hip, in heights from nose to ankle, x as the player faces the net, y up."""
    joints: Floats = skeleton["keypoint"][person]
    middle = joints[:, HIPS].mean(axis=1, keepdims=True)
    height = np.median(joints[:, ANKLES, 1].mean(axis=1) - joints[:, NOSE, 1])
    towards = -1 if person == FAR else 1
    found: Floats = (joints - middle) / height * np.array((towards, -1))
    return found


def racket(skeleton: Mapping[str, Any], person: int, side: int = RIGHT) -> Floats:
    """The wrist (T, 2) of a side."""
    return relative(skeleton, person)[:, WRISTS[side]]


def test_the_layout_is_that_of_f3set() -> None:
    annotated = make_rallies(1, 0)[0]
    skeleton = make_skeleton(annotated)
    frames = annotated["num_frames"]
    assert skeleton["frame_dir"] == annotated["video"]
    assert skeleton["total_frames"] == frames
    assert skeleton["img_shape"] == (720, 1280)
    assert skeleton["keypoint"].shape == (2, frames, 17, 2)
    assert skeleton["keypoint_score"].shape == (2, frames, 17)
    assert skeleton["keypoint"].dtype == skeleton["keypoint_score"].dtype == np.float32


def test_the_near_player_is_large_and_below() -> None:
    skeleton = make_skeleton(clip("near_serve_-_-_-", "far_return_fh_gs_-"), difficulty=0)
    joints = skeleton["keypoint"]
    height = np.median(joints[:, :, ANKLES, 1].mean(axis=2) - joints[:, :, NOSE, 1], axis=1)
    assert 55 < height[FAR] < 80
    assert 140 < height[NEAR] < 200
    assert (joints[NEAR, :, HIPS, 1] > joints[FAR, :, HIPS, 1]).all()
    assert joints.min() > 0
    assert joints[..., 0].max() < 1280
    assert joints[..., 1].max() < 720


@pytest.mark.parametrize("player", ["near", "far"])
def test_the_racket_hand_swings_at_the_events_and_only_there(player: str) -> None:
    other = "far" if player == "near" else "near"
    played = clip(f"{player}_serve_-_-_-", f"{other}_return_fh_gs_-", f"{player}_stroke_fh_gs_-")
    hand = racket(make_skeleton(played, difficulty=0), NEAR if player == "near" else FAR)
    speed = np.linalg.norm(np.diff(hand, axis=0), axis=1)
    fast = np.flatnonzero(speed > 0.6 * speed.max()) + 1
    assert {50, 150} <= {round(frame, -1) for frame in fast.tolist()}
    assert np.abs(fast[:, None] - (50, 150)).min(axis=1).max() <= 6
    assert speed[80:120].max() < 0.25 * speed.max()


@pytest.mark.parametrize("player", [FAR, NEAR])
@pytest.mark.parametrize("hand", ["RH", "LH"])
def test_a_forehand_is_on_the_racket_hands_side(player: int, hand: str) -> None:
    name = ("far", "near")[player]
    played = clip(f"{name}_stroke_fh_gs_-", f"{name}_stroke_bh_gs_-", hand=hand)
    skeleton = make_skeleton(played, difficulty=0)
    side, out = (RIGHT, 1) if hand == "RH" else (LEFT, -1)
    wrist = racket(skeleton, player, side)[:, 0] * out
    assert wrist[50 - 5] > 0.2, "drawn back on this side"
    assert wrist[100 - 5] < -0.2, "drawn back across the body"


def test_shots_are_told_apart_by_the_hands_way() -> None:
    shots = ("gs", "slice", "lob", "volley", "drop")
    rise, way = {}, {}
    for shot in shots:
        hand = racket(make_skeleton(clip(f"near_stroke_fh_{shot}_-"), difficulty=0), NEAR)
        before, after = hand[50 - 4], hand[50 + 2]
        rise[shot], way[shot] = after[1] - before[1], np.linalg.norm(after - before)
    assert rise["lob"] > rise["gs"] > 0.15, "low to high"
    assert rise["slice"] < rise["drop"] < 0, "high to low"
    assert way["volley"] == min(way.values()), "short"


def test_serve_and_smash_are_overhead_and_only_a_serve_is_tossed() -> None:
    serve = relative(make_skeleton(clip("near_serve_-_-_-"), difficulty=0), NEAR)
    smash = relative(make_skeleton(clip("near_stroke_fh_smash_-"), difficulty=0), NEAR)
    for body in (serve, smash):
        highest = int(body[:, WRISTS[RIGHT], 1].argmax())
        assert abs(highest - 50) <= 2
        assert body[highest, WRISTS[RIGHT], 1] > body[highest, NOSE, 1]
    toss = 50 - round(0.45 * 25)
    assert serve[toss, WRISTS[LEFT], 1] > serve[toss, NOSE, 1]
    assert smash[toss, WRISTS[LEFT], 1] < smash[toss, NOSE, 1]


def test_a_two_handed_backhand_moves_both_hands() -> None:
    apart = []
    for number in range(40):
        played = clip("near_stroke_bh_gs_-", name=f"clip{number}")
        body = relative(make_skeleton(played, difficulty=0), NEAR)
        apart.append(np.linalg.norm(np.diff(body[45, WRISTS, :], axis=0)))
    together = np.mean(np.array(apart) < 0.22)
    assert 0.5 < together < 1, "most players"


def test_players_run_to_the_zones_of_their_hits() -> None:
    """Deuce is the right side for who faces the net: left in the image for the far player."""
    for player, right in (("near", 1), ("far", -1)):
        played = clip(
            f"{player}_deuce_stroke_fh_gs_DM_-_in", f"{player}_ad_stroke_bh_gs_DM_-_in",
            f"{player}_middle_stroke_fh_volley_DM_-_in",
        )  # fmt: skip
        person = NEAR if player == "near" else FAR
        feet = make_skeleton(played, difficulty=0)["keypoint"][person][:, ANKLES].mean(axis=1)
        across = (feet[:, 0] - 640) * right
        assert across[50] > 50 > -50 > across[100]
        net = 330
        assert abs(feet[150, 1] - net) < 0.6 * abs(feet[50, 1] - net), "volleys are at the net"


def test_noise_is_what_was_asked_for() -> None:
    played = clip(*["near_stroke_fh_gs_-"] * 20)
    clean, noisy = (make_skeleton(played, difficulty=d) for d in (0, 1))
    assert (clean["keypoint_score"] >= 0.7).all()
    score, away = noisy["keypoint_score"][NEAR], noisy["keypoint"][NEAR] - clean["keypoint"][NEAR]
    lost = (score == 0).all(axis=1)
    assert 0 < lost.mean() < 0.03
    assert (noisy["keypoint"][NEAR][lost] == 0).all()
    wrong = score == np.float32(0.1)
    assert 0.01 < wrong.mean() < 0.03
    good = ~wrong & ~lost[:, None]
    assert 0.008 < away[good].std() / 190 < 0.016
    assert np.abs(away[wrong]).mean() > 5 * np.abs(away[good]).mean()


def test_a_harder_set_is_noisier_and_its_strokes_smaller() -> None:
    played = clip("near_stroke_fh_gs_-")
    smooth, rough = (make_skeleton(played, difficulty=d) for d in (1, 4))
    steps = [np.abs(np.diff(s["keypoint"][NEAR], n=2, axis=0)).mean() for s in (smooth, rough)]
    assert steps[1] > 2 * steps[0]
    assert (rough["keypoint_score"] == 0).mean() > (smooth["keypoint_score"] == 0).mean()
    swung = []
    for hard in (1.0, 4.0):
        ways = [racket(make_skeleton(clip("near_stroke_fh_gs_-", name=f"c{n}"), 0, hard), NEAR)
                for n in range(30)]  # fmt: skip
        swung.append(np.median([way[46, 0] for way in ways]) - np.median([w[20, 0] for w in ways]))
    assert swung[1] < 0.75 * swung[0]


def test_a_clip_depends_on_the_seed_and_its_name_only() -> None:
    first, second = make_rallies(2, 0)
    one = make_skeleton(first, seed=1)["keypoint"]
    assert np.array_equal(one, make_skeleton(first, seed=1)["keypoint"])
    assert not np.array_equal(one, make_skeleton(first, seed=2)["keypoint"])
    renamed = make_skeleton({**first, "video": second["video"]}, seed=1)["keypoint"]
    assert not np.array_equal(one, renamed)


def test_clips_without_events_and_single_frames_have_skeletons_too() -> None:
    for frames in (1, 2, 40):
        empty: dict[str, Any] = {"video": "none", "num_frames": frames, "events": []}
        skeleton = make_skeleton(empty)
        assert skeleton["keypoint"].shape == (2, frames, 17, 2)
        assert np.isfinite(skeleton["keypoint"]).all()


def test_real_annotations_get_skeletons(tmp_path: Path) -> None:
    if not REAL.is_dir():
        pytest.skip(f"{REAL} is not here: real annotations are not part of the project")
    clips = json.loads((REAL / "val.json").read_text(encoding="utf-8"))[:40]
    write_skeletons(tmp_path, clips)
    for one in clips:
        skeleton = pickle.loads((tmp_path / f"{one['video']}.pkl").read_bytes())
        assert skeleton["keypoint"].shape == (2, one["num_frames"], 17, 2)
        assert np.isfinite(skeleton["keypoint"]).all()
        clean = make_skeleton(one, difficulty=0)
        for event in one["events"]:
            name = event["label"].partition("_")[0]
            side = RIGHT if one[f"{name}_hand"] == "RH" else LEFT
            hand = racket(clean, NEAR if name == "near" else FAR, side)
            around = hand[max(event["frame"] - 2, 0) : event["frame"] + 3]
            assert np.ptp(around, axis=0).max() > 0.1, event


def test_the_dataset_is_written_once(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "rallies"
    assert write_spotting(folder, train=3, val=2, holdout=1, seed=5) == folder
    clips = {name: json.loads((folder / f"{name}.json").read_text()) for name in SPLITS}
    assert {name: len(own) for name, own in clips.items()} == {"train": 3, "val": 2, "holdout": 1}
    names = [one["video"] for own in clips.values() for one in own]
    assert {path.stem for path in (folder / "skeletons").iterdir()} == set(names)
    assert len({name.partition("_")[0] for name in names}) == 3, "no match is in two splits"
    elements = (folder / "elements.txt").read_text().split()
    assert elements == json.loads((folder / "groups.json").read_text())[0]["one_of"] + elements[2:]
    stamped = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    write_spotting(folder, train=3, val=2, holdout=1, seed=5)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == stamped
    assert [path.name for path in folder.parent.iterdir()] == ["rallies"], "nothing half made"


def test_another_folder_is_refused(tmp_path: Path) -> None:
    folder = write_spotting(tmp_path / "r", train=1, val=1, holdout=1)
    with pytest.raises(DataError, match="holds tennis of another version, seed, size or diffic"):
        write_spotting(folder, train=1, val=1, holdout=1, difficulty=2)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="exists but holds no synthetic tennis"):
        write_spotting(tmp_path / "notes", train=1, val=1, holdout=1)
    assert [path.name for path in (tmp_path / "notes").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"val": 0}, "every split needs at least one"),
        ({"difficulty": -1.0}, "difficulty -1: must be from 0 to 10"),
        ({"elements": 5}, "with 14 or 29 elements"),
    ],
)
def test_what_cannot_be_made_is_one_sentence(
    tmp_path: Path, asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        write_spotting(tmp_path / "r", **asked)
    assert not (tmp_path / "r").exists()
