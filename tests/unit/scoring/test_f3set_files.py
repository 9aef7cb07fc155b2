import json
from pathlib import Path
from typing import Any

import pytest

from backend.core.errors import DataError
from backend.scoring.evidence import Scores
from backend.scoring.spotting.task import TASK, SpottingOptions

DATA = Path(__file__).parents[3].parent / "shared" / "data"
real_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is not here")

ELEMENTS = ["near", "far", "serve", "smash"]


def event(frame: Any, label: Any = "near_serve", **more: Any) -> dict[str, Any]:
    return {"frame": frame, "label": label, **more}


def a_clip(name: str = "a", events: Any = None, **more: Any) -> dict[str, Any]:
    events = [event(4), event(20, "far_-_smash")] if events is None else events
    return {"video": name, "fps": 25.0, "num_frames": 41, "events": events, **more}


def truth(*clips: Any, **more: Any) -> dict[str, Any]:
    return {"elements": ELEMENTS, "stride": 2, "clips": list(clips) or [a_clip()], **more}


@pytest.fixture
def score(tmp_path: Path) -> Any:
    def run(gt: Any, pred: Any, **options: Any) -> Scores:
        for name, data in (("gt.json", gt), ("pred.json", pred)):
            text = data if isinstance(data, str) else json.dumps(data)
            (tmp_path / name).write_text(text, encoding="utf-8")
        chosen = SpottingOptions(**options)
        return TASK.read(tmp_path / "gt.json", tmp_path / "pred.json", chosen).scores()

    return run


def right(scores: Scores) -> bool:
    names = ("f1_event", "f1_lcl", "f1_element_present", "f1_event_strict")
    return all(scores.metrics[name] == pytest.approx(1.0) for name in names)


STRIDED = {"a": [{"frame": 2, "elements": ["near", "serve"]},
                 {"frame": 10, "elements": ["far", "smash"]}]}  # fmt: skip


def test_a_mapping_of_clips_has_strided_frames(score: Any) -> None:
    scores = score(truth(), STRIDED)

    assert right(scores)
    assert scores.warnings == ()
    assert scores.metrics["mean_offset"] == 0


def test_a_list_of_clips_with_the_annotations_fps_has_raw_frames(score: Any) -> None:
    scores = score(truth(), [a_clip()])

    assert right(scores)
    assert scores.warnings == ()


@pytest.mark.parametrize(
    "said", [{"fps": 12.5}, {"num_frames": 20}, {"fps": 12.5, "num_frames": 20}]
)
def test_a_list_of_clips_with_fps_divided_by_the_stride_has_strided_frames(
    score: Any, said: dict[str, Any]
) -> None:
    """So F3Set and E2E-Spot write them."""
    clip = {"video": "a", "events": [event(2), event(10, "far_smash")], **said}

    scores = score(truth(), [clip])

    assert right(scores)
    assert scores.warnings == ()


def test_a_list_that_does_not_tell_is_read_as_raw_and_said_so(score: Any) -> None:
    silent = [{"video": "a", "events": a_clip()["events"]}]

    assert right(score(truth(), silent))
    assert "do not tell raw from strided" in score(truth(), silent).warnings[0]
    assert score(truth(), silent, frames="raw").warnings == ()
    assert score(truth(), silent, stride=1).warnings == ()


def test_the_users_word_on_frames_counts_most(score: Any) -> None:
    strided = [a_clip(events=[event(2), event(10, "far_smash")])]
    raw = {"a": a_clip()["events"]}

    assert right(score(truth(), strided, frames="strided"))
    assert right(score(truth(), raw, frames="raw"))
    assert not right(score(truth(), strided))


def test_clips_that_disagree_about_frames_are_refused(score: Any) -> None:
    with pytest.raises(DataError, match=r"some clips have raw frames .* --frames raw"):
        score(truth(a_clip(), a_clip("b")), [a_clip(), a_clip("b", fps=12.5, num_frames=20)])


def test_elements_and_stride_come_from_options_file_or_folder(score: Any, tmp_path: Path) -> None:
    bare = [a_clip()]
    with pytest.raises(DataError, match=r"elements\.txt: cannot be read, .* --elements"):
        score(bare, STRIDED)
    named = tmp_path / "names.txt"
    named.write_text("near\nfar\nserve\nsmash\n")

    assert right(score(bare, STRIDED, elements=named))
    assert right(score(bare, STRIDED, elements=tuple(ELEMENTS)))

    (tmp_path / "elements.txt").write_text("\ufeffnear\r\nfar\r\nserve\r\nsmash\r\n\r\n", "utf-8")
    assert right(score(bare, STRIDED)), "stride 2 is the published default"
    assert right(score(bare, bare, stride=1))
    assert list(score(bare, STRIDED).per_class) == ELEMENTS


def test_predictions_of_another_stride_are_refused(score: Any) -> None:
    with pytest.raises(DataError, match=r"made at stride 4, .* set --stride 4"):
        score(truth(), truth(stride=4))


def test_events_just_past_the_end_move_to_the_last_frame(score: Any) -> None:
    """41 frames at stride 2 are 20 strided ones, so raw frames 40 and 41 are both past it."""
    for frame in (40, 41):
        scores = score(truth(a_clip(events=[event(frame)])), {"a": [event(19)]})
        assert right(scores)
        assert scores.metrics["mean_offset"] == 0
        assert "1 events lie just past the end" in scores.warnings[0]
        assert "first: a" in scores.warnings[0]


@pytest.mark.parametrize("frame", [-1, 42, 4000, 1e300])
def test_events_far_outside_are_refused_with_clip_and_number(score: Any, frame: Any) -> None:
    wrong = a_clip(events=[event(4), event(frame)])

    with pytest.raises(DataError, match=r"gt\.json: clip a, event 2: frame .* outside"):
        score(truth(wrong), STRIDED)
    with pytest.raises(DataError, match=r"pred\.json: clip a, event 2: frame .* outside"):
        score(truth(), [wrong])


@pytest.mark.parametrize("frame", [2.5, "3", None, True, float("nan"), float("inf"), 10**400, [3]])
def test_frames_must_be_whole_numbers(score: Any, frame: Any) -> None:
    with pytest.raises(DataError, match=r"clip a, event 1: 'frame' must be a whole number"):
        score(truth(), {"a": [event(frame)]})


def test_a_whole_number_may_be_written_as_3_0(score: Any) -> None:
    assert right(score(truth(), {"a": [event(2.0), event(10.0, "far_smash")]}))


def test_two_events_in_one_strided_frame_are_joined(score: Any) -> None:
    both = truth(a_clip(events=[event(4, "near_serve"), event(5, "far_-")]))

    scores = score(both, {"a": [{"frame": 2, "elements": ["near", "far", "serve"]}]})

    assert right(scores)
    assert scores.per_unit["a"]["events"] == 1
    assert any("1 events share a strided frame" in text for text in scores.warnings)


def test_unsorted_events_are_sorted(score: Any) -> None:
    clip = a_clip(events=a_clip()["events"][::-1])

    scores = score(truth(clip), STRIDED)

    assert right(scores)
    assert scores.metrics["edit"] == 100
    assert any("1 clips list their events out of order" in text for text in scores.warnings)


def test_unknown_elements_are_ignored_and_counted(score: Any) -> None:
    scores = score(truth(), {"a": [event(2, "near_serve_T_T"), event(10, "far_smash_W")]})

    assert right(scores)
    assert len(scores.warnings) == 1
    assert (
        "3 names in labels are no known elements and were ignored (T 2, W 1)" in scores.warnings[0]
    )


@pytest.mark.parametrize("side", ["gt", "pred"])
def test_labels_of_another_separator_are_refused_with_the_right_one(score: Any, side: str) -> None:
    blank = [a_clip(events=[event(4, "near serve"), event(20, "far - smash")])]
    sides = (truth(*blank), STRIDED) if side == "gt" else (truth(), blank)

    with pytest.raises(DataError) as caught:
        score(*sides)

    assert f"{side}.json: 100 % of 2 events have no known element" in str(caught.value)
    assert 'try --separator " "' in str(caught.value)


def test_labels_that_no_separator_explains_are_refused_too(score: Any) -> None:
    with pytest.raises(DataError, match="check the elements and the separator"):
        score(truth(a_clip(events=[event(4, "goal")])), {"a": []})


def test_a_few_labels_without_elements_only_warn(score: Any) -> None:
    many = [event(4 + 2 * n) for n in range(15)] + [event(4 + 2 * n) for n in range(15)]
    clips = [a_clip(events=many), a_clip("b", events=[event(4, "let"), event(9, "-")])]

    scores = score(truth(*clips), {"a": [], "b": []})

    assert any("2 events have no known element and count as frames only (first: b)" in text
               for text in scores.warnings)  # fmt: skip


def test_an_element_file_with_doubles_is_refused(score: Any) -> None:
    with pytest.raises(DataError, match="each must stand there once"):
        score(truth(elements=["near", "far", "near"]), STRIDED)


def test_clips_without_predictions_found_nothing(score: Any) -> None:
    scores = score(truth(a_clip(), a_clip("b")), STRIDED)

    assert scores.metrics["recall_lcl"] == pytest.approx(0.5)
    assert any("1 of 2 clips have no predictions (first: b)" in text for text in scores.warnings)


@pytest.mark.parametrize("pred", [{}, [], {"a": []}, [{"video": "a", "events": []}]])
def test_no_predictions_are_zero_with_a_warning(score: Any, pred: Any) -> None:
    scores = score(truth(), pred)

    assert scores.metrics["f1_event"] == scores.metrics["edit"] == 0
    assert any("nothing was predicted" in text for text in scores.warnings)


def test_no_events_at_all_are_undefined_with_a_warning(score: Any) -> None:
    scores = score(truth(a_clip(events=[])), {"a": []})

    assert scores.metrics["f1_event"] is None
    assert any("there are no events at all" in text for text in scores.warnings)


REFUSED = {
    "unknown clip": (truth(), {"a": [], "z": []}, r"1 of 2 clips are not in .* \(first: z\)"),
    "double clip in the truth": (truth(a_clip(), a_clip()), {}, "two clips are called a"),
    "double clip in a list": (truth(), [a_clip(), a_clip()], "two clips are called a"),
    "double clip in a mapping": (truth(), '{"a": [], "a": []}', "'a' occurs twice"),
    "no clips": (truth() | {"clips": []}, {}, "lists no clips"),
    "truth is no list": ("3", {}, "expected a list of clips"),
    "predictions are no list": (truth(), "3", "expected a list of clips"),
    "clip without a name": (truth({"events": []}), {}, "clip 1 needs 'video'"),
    "clip is no object": (truth(), ["a"], "clip 1 needs 'video'"),
    "no num_frames": (truth({"video": "a", "events": []}), {}, "'num_frames' must be a whole"),
    "num_frames 0": (truth(a_clip(num_frames=0)), {}, "'num_frames' must be a whole"),
    "shorter than the stride": (truth(a_clip(num_frames=1)), {}, "shorter than one step"),
    "stride 0": (truth(stride=0), {}, "'stride' must be a whole number from 1"),
    "no events in the truth": (truth({"video": "a", "num_frames": 9}), {}, "a list"),
    "events are no list": (truth(), {"a": 3}, "clip a: its events must be a list"),
    "event is no object": (truth(), {"a": [3]}, "event 1: expected an object"),
    "no label": (truth(), {"a": [{"frame": 3}]}, "event 1: needs 'label'"),
    "label is a number": (truth(), {"a": [event(3, 4)]}, "event 1: needs 'label'"),
    "elements are numbers": (truth(), {"a": [{"frame": 3, "elements": [1]}]}, "needs 'label'"),
    "score NaN": (truth(), {"a": [event(3, score=float("nan"))]}, "'score' must be a finite"),
    "score beyond floats": (truth(), {"a": [event(3, score=10**400)]}, "'score' must be a finite"),
    "endless clip": (truth(a_clip(num_frames=10**400)), {}, "'num_frames' must be a whole number"),
    "score is a text": (truth(), {"a": [event(3, score="high")]}, "'score' must be a finite"),
    "nothing to read": (truth(), {"a": {}}, "neither 'events' nor 'windows'"),
    "cut off": (truth(), '[{"video": "a"', "not valid JSON"),
    "binary": ("\x00\x01", {}, "not valid JSON"),
    "no elements": (truth(elements=[]), {}, "expected a list of elements"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_scored_is_refused_in_one_sentence(score: Any, name: str) -> None:
    gt, pred, message = REFUSED[name]

    with pytest.raises(DataError, match=message) as caught:
        score(gt, pred)

    assert "\n" not in str(caught.value)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.json: no such file"):
        TASK.read(tmp_path / "nowhere.json", tmp_path / "pred.json", SpottingOptions())


def test_a_threshold_leaves_out_events_with_a_low_score(score: Any) -> None:
    events = [event(2, score=0.4), event(10, "far_smash", score=0.8), event(15)]

    everything = score(truth(), {"a": events})
    kept = score(truth(), {"a": events}, threshold=0.4)

    assert everything.per_unit["a"]["predicted"] == 3
    assert kept.per_unit["a"]["predicted"] == 2, "the event without a score stays"


@real_data
def test_the_real_tennis_clips_are_read_whole() -> None:
    path = DATA / "f3set-tennis" / "val.json"

    evidence = TASK.read(path, path, SpottingOptions())
    scores = evidence.scores()

    assert right(scores)
    assert scores.units == 1883
    assert sum(values["events"] or 0 for values in scores.per_unit.values()) == 6994
    assert scores.warnings == ()
    assert len(evidence.codes) == 638, "as specs/mdfed.md, section 6, counts them"


@real_data
def test_finediving_needs_its_own_separator() -> None:
    path = DATA / "f3set-others" / "finediving" / "val.json"

    with pytest.raises(DataError, match=r'100 % of 1,513 events .* try --separator " "'):
        TASK.read(path, path, SpottingOptions())

    assert right(TASK.read(path, path, SpottingOptions(separator=" ")).scores())


@real_data
def test_events_past_the_end_of_the_doubles_clips_are_kept() -> None:
    path = DATA / "f3set-others" / "f3set-tennis-doubles" / "train.json"

    scores = TASK.read(path, path, SpottingOptions(stride=1)).scores()

    assert right(scores)
    assert any("14 events lie just past the end" in text for text in scores.warnings)
    assert any("5 clips list their events out of order" in text for text in scores.warnings)


@real_data
def test_repeated_pipe_defects_keep_edit_at_100() -> None:
    path = DATA / "f3set-others" / "cctvpipe" / "val.json"

    scores = TASK.read(path, path, SpottingOptions()).scores()

    assert right(scores)
    assert scores.metrics["edit"] == 100
    absent = [name for name, values in scores.per_class.items() if not values["instances"]]
    assert len(absent) == 2, "two elements have no example in this split"
