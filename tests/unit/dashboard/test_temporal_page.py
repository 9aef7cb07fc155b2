"""Actions on *Compare* without a browser: choices, videos, chart, table, the video's file."""

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from backend.analysis.actions import Action, Detection, Timeline
from backend.core.comparisons import Comparison
from dashboard.actions import STILL, VIDEO, Recordings
from dashboard.app import create_app
from dashboard.components.temporal import MOST_ACTIONS, chart, table, temporal
from dashboard.figures.timeline import MOST, MOST_ROWS, class_colors, timeline_figure
from dashboard.pages.compare_temporal import drawn, filmed, listed, opened
from dashboard.view import View
from tests.support.acted import action_comparison
from tests.support.memory_store import MemoryStore, filled_store
from tests.support.shown import text_of

CHOICE = {"tiou": "0.5", "label": None, "best": False, "score": 0.0}


@pytest.fixture
def store(tmp_path: Path) -> MemoryStore:
    made = MemoryStore()
    made.comparison_list = [action_comparison(tmp_path)]
    return made


@pytest.fixture
def recordings(store: MemoryStore) -> Recordings:
    return Recordings(store)


@pytest.fixture
def client(store: MemoryStore) -> FlaskClient:
    made: FlaskClient = create_app(store).server.test_client()
    return made


def videos(groups: Any) -> list[str]:
    return [item["label"] for group in groups for item in group["items"]]


def test_the_choices_are_those_of_the_evaluation(recordings: Recordings) -> None:
    thresholds, chosen, classes, problem, style = opened(recordings, "acted", "")
    assert thresholds == ["0.3", "0.4", "0.5", "0.6", "0.7"]
    assert (chosen, classes, problem, style) == ("0.5", ["jump", "run"], "", {})
    assert opened(recordings, "acted", "?tiou=0.7")[1] == "0.7"
    assert opened(recordings, "acted", "?tiou=0.99")[1] == "0.5"


def test_files_that_are_gone_are_said(recordings: Recordings, tmp_path: Path) -> None:
    (tmp_path / "old/predictions.json").unlink()
    *_, problem, style = opened(recordings, "acted", "")
    assert "No timeline of the target data" in problem
    assert style == {"display": "none"}


def test_videos_that_changed_most_come_first_and_the_shown_one_stays(
    recordings: Recordings,
) -> None:
    groups, chosen, disabled = listed(recordings, CHOICE, "acted", None, "")
    assert videos(groups) == ["dive  (+1 −1 of 4)", "track  (+1 −0 of 1)", "empty  (+0 −0 of 0)"]
    assert (chosen, disabled) == ("target/dive", False)
    assert listed(recordings, CHOICE, "acted", "target/track", "")[1] == "target/track"
    assert listed(recordings, CHOICE, "acted", None, "?sequence=target/empty")[1] == "target/empty"
    jumps = CHOICE | {"label": "jump"}
    groups, chosen, _ = listed(recordings, jumps, "acted", "target/track", "")
    assert (videos(groups), chosen) == (["dive  (+0 −0 of 2)"], "target/dive")


def test_each_model_may_have_the_score_of_its_best_f1(recordings: Recordings) -> None:
    best = CHOICE | {"best": True, "score": 0.99}
    _, said, _ = drawn(recordings, best, "acted", "target/dive", "light")
    assert said == (
        "At tIoU 0.5: Old (scores from 0.7) finds 3 of 4 actions, 0 false; "
        "New (scores from 0.2) finds 3 of 4 actions, 0 false."
    )
    assert listed(recordings, best, "acted", None, "")[2] is True


def test_chart_and_table_say_the_same(recordings: Recordings) -> None:
    shown, said, rows = drawn(recordings, CHOICE, "acted", "target/dive", "dark")
    assert "Old (scores from 0) finds 3 of 4 actions, 1 false" in said
    text = text_of(rows)
    for part in ("▲ new only", "▼ old only", "nearest 0.35", "0.900, 1.00", "10.50 to 12.00"):
        assert part in text
    assert '"data-seek": "10.0,14.0"' in text
    figure = shown[0].figure
    looks = [(trace.name, trace.marker.pattern.shape) for trace in figure.data[:-1]]
    assert ("jump", "/") in looks, "old's false jump is hatched"
    assert list(figure.data[-1].marker.symbol) == ["triangle-down", "triangle-up"]
    assert "showSendToCloud" in text_of(shown)


def test_a_video_without_actions_and_a_class_without_videos(recordings: Recordings) -> None:
    rows = drawn(recordings, CHOICE, "acted", "target/empty", "light")[2]
    assert "No annotated actions" in text_of(rows)
    nothing = drawn(recordings, CHOICE, "acted", None, "light")
    assert nothing == (None, "No video has an action of this class.", None)


def test_overlapping_segments_have_rows_and_too_many_are_counted() -> None:
    many = tuple(Detection("a", 0.0, 5.0, 0.9, 0.0, None) for _ in range(MOST_ROWS + 3))
    long = tuple(Detection("a", float(at), at + 0.5, 0.9, 0.0, None) for at in range(MOST + 2))
    action = Action("a", 1.0, 2.0, None, None, (0.0, 0.0))
    made = timeline_figure(Timeline("v", 500.0, (action,), many, long), {"a": "#0170d9"}, "light")
    assert made.hidden == (3, 2)
    rows = [row for trace in made.figure.data if trace.type == "bar" for row in trace.y]
    assert sorted(set(rows)) == list(range(1 + MOST_ROWS + 1))
    said = text_of(chart(made, Timeline("v", 500.0, (action,), many, long)))
    assert "3 detections of old not drawn and 2 detections of new not drawn" in said


def test_of_many_actions_the_table_has_those_that_changed() -> None:
    right = Detection("a", 0.0, 1.0, 0.9, 1.0, 0)
    many = [Action("a", float(at), at + 0.5, right, right, (1.0, 1.0)) for at in range(60)]
    many[58] = Action("a", 58.0, 58.5, right, None, (1.0, 0.0))
    text = text_of(table(Timeline("v", 60.0, tuple(many), (), ())))
    assert text.count("data-seek") == MOST_ACTIONS
    assert "58.00 to 58.50" in text
    assert "57.00 to 57.50" not in text
    assert "10 actions more" in text


def test_a_class_has_one_colour_in_all_videos() -> None:
    colors = class_colors([f"class {at}" for at in range(20)])
    assert len(colors) == 20
    assert len(set(colors.values())) == 16


def test_the_file_is_served_in_ranges(client: FlaskClient, tmp_path: Path) -> None:
    content = (tmp_path / "films/dive.mp4").read_bytes()
    asked = {"comparison": "acted", "video": "target/dive"}
    whole = client.get(VIDEO, query_string=asked, buffered=True)
    assert (whole.status_code, whole.mimetype, whole.data) == (200, "video/mp4", content)
    part = client.get(VIDEO, query_string=asked, headers={"Range": "bytes=10-19"}, buffered=True)
    assert (part.status_code, part.data) == (206, content[10:20])
    frame = client.get(STILL, query_string=asked | {"t": 1.0})
    assert (frame.status_code, frame.mimetype) == (200, "image/jpeg")


@pytest.mark.parametrize("address", [VIDEO, STILL])
@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"comparison": "other"}, "no comparison 'other'"),
        ({"video": "source/dive"}, "no 'source' data"),
        ({"video": "target/../../secret"}, "had no file"),
        ({"video": "target/track"}, "the video is gone"),
        ({"video": ""}, "no '' data"),
    ],
)
def test_no_other_file_is_served(
    client: FlaskClient, address: str, query: dict[str, str], sentence: str
) -> None:
    answer = client.get(address, query_string={"comparison": "acted", "video": "target/dive"}
                        | query)  # fmt: skip
    assert answer.status_code == 404
    assert sentence in answer.text


def test_the_player_or_why_there_is_none(recordings: Recordings) -> None:
    assert "/temporal/video?comparison=acted" in text_of(
        filmed(recordings, "target/dive", "acted")
    )
    assert "No video: " in text_of(filmed(recordings, "target/track", "acted"))
    assert filmed(recordings, None, "acted") is None


def test_other_tasks_have_no_timeline() -> None:
    comparison: Comparison = filled_store().comparison_list[0]
    assert temporal(comparison, View()) is None


def test_the_address_keeps_what_is_chosen() -> None:
    view = View.parse("?sequence=target/a&tiou=0.7&label=jump&score=0.25")
    assert view.search() == "?sequence=target/a&tiou=0.7&label=jump&score=0.25"
    assert View.parse("?score=2").score == View.parse("?score=nan").score == ""
