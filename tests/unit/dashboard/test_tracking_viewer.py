"""Tracking on *Compare* without a browser: rows per class, sequences, frames as JSON."""

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from PIL import Image

from backend.core.comparisons import Comparison
from dashboard.app import create_app
from dashboard.components.gains import gallery
from dashboard.components.tracking import MARKS, strip, tracking
from dashboard.films import ADDRESS, Films
from dashboard.pages.compare_tracking import chosen, opened
from tests.support.memory_store import MemoryStore, filled_store
from tests.support.shown import text_of
from tests.support.tracked import FRAMES, Folders, tracking_comparison, write_folders

SEQUENCE = "target/rally-a"


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return write_folders(tmp_path)


@pytest.fixture
def comparison(tmp_path: Path, folders: Folders) -> Comparison:
    return tracking_comparison(tmp_path, folders)


@pytest.fixture
def store(comparison: Comparison) -> MemoryStore:
    made = MemoryStore()
    made.comparison_list = [comparison]
    return made


@pytest.fixture
def client(store: MemoryStore) -> FlaskClient:
    made: FlaskClient = create_app(store).server.test_client()
    return made


def asked(client: FlaskClient, **query: object) -> dict[str, str]:
    wanted = {"comparison": "tracked", "sequence": SEQUENCE, "number": 1} | query
    answer = client.get(ADDRESS, query_string=wanted)
    assert answer.status_code == 200
    found: dict[str, str] = answer.get_json()
    return found


def image(url: str) -> Image.Image:
    head, _, content = url.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(BytesIO(base64.b64decode(content)))


def test_a_row_for_all_and_one_per_class_with_lengths(store: MemoryStore) -> None:
    parts, groups, style = opened(Films(store), "tracked", "light")
    text = text_of(parts)
    assert "All classes together" in text
    assert "Attack" in text
    assert "Block" in text
    assert "6 → 4" in text, "tracks"
    assert "5 → 8" in text, "their median length"
    assert "true 8" in text
    assert "Classes confused, old" in text
    assert "96.7 % of matched boxes" in text
    items = [{"value": f"target/{name}", "label": name} for name in ("rally-a", "rally-b")]
    assert groups == [{"group": "Target", "items": items}]
    assert style == {}


def test_without_files_the_rows_remain_and_a_sentence_says_why(
    store: MemoryStore, folders: Folders
) -> None:
    (folders.old / "rally-a.txt").unlink()
    parts, groups, style = opened(Films(store), "tracked", "light")
    text = text_of(parts)
    assert "No frames and no track lengths" in text
    assert "no predictions for rally-a" in text
    assert "6 → 4" in text, "tracks, from the reports"
    assert "Median length" not in text
    assert groups == []
    assert style == {"display": "none"}
    assert chosen(Films(store), None, "any", "tracked")[0] is None


def test_the_source_has_rows_and_frames_of_its_own(
    store: MemoryStore, comparison: Comparison, folders: Folders
) -> None:
    source = comparison.target.model_copy(update={"role": "source"})
    lost = source.baseline_report.model_copy(update={"predictions": "/gone"})
    store.comparison_list = [comparison.model_copy(update={"source": source})]
    parts, groups, _ = opened(Films(store), "tracked", "light")
    assert "Tracks on the source" in text_of(parts)
    assert [group["group"] for group in groups] == ["Target", "Source"]
    assert chosen(Films(store), "source/rally-b", "any", "tracked")[0]["differences"] == [0]
    source = source.model_copy(update={"baseline_report": lost})
    store.comparison_list = [comparison.model_copy(update={"source": source})]
    parts, groups, style = opened(Films(store), "tracked", "light")
    assert "No frames and no track lengths: /gone: no such file" in text_of(parts)
    assert [group["group"] for group in groups] == ["Target"]
    assert style == {}, "the target's frames are still there"


def test_what_the_browser_needs_of_a_sequence(store: MemoryStore) -> None:
    data, options, style, problem = chosen(Films(store), SEQUENCE, "any", "tracked")
    assert data["numbers"] == tuple(range(1, FRAMES + 1))
    assert data["differences"] == [1, 2, 4, 6, 7]
    assert data["fps"] == 10
    assert data["url"] == f"{ADDRESS}?comparison=tracked&sequence=target%2Frally-a"
    assert [option["label"] for option in options] == [
        "Any difference (5)", "ID switch (1)", "Missed (2)", "False (1)", "Class (1)",
    ]  # fmt: skip
    assert "svg" in style["backgroundImage"]
    assert problem == ""
    assert chosen(Films(store), SEQUENCE, "switch", "tracked")[0]["differences"] == [4]


def test_a_frame_is_both_images_and_what_is_wrong(client: FlaskClient) -> None:
    found = asked(client, number=5)
    assert found["old_text"] == "id switch 1 → 9 of Attack"
    assert found["new_text"] == "all right"
    assert found["note"] == ""
    assert image(found["old"]).size == image(found["new"]).size == (512, 384)


def test_the_truth_is_drawn_if_wanted(client: FlaskClient) -> None:
    plain, truth = asked(client, number=2), asked(client, number=2, truth=1)
    assert plain["old"] != truth["old"]
    assert plain["old_text"] == truth["old_text"] == "missed Block"


def test_a_missing_image_leaves_the_boxes(client: FlaskClient, folders: Folders) -> None:
    (folders.truth / "rally-a/img1/000003.png").unlink()
    found = asked(client, number=3)
    assert found["note"] == "rally-a: no image of frame 3"
    assert image(found["old"]).size[0] > 0
    assert asked(client, number=4)["note"] == ""


def test_lost_images_are_said_once_for_the_sequence(store: MemoryStore, folders: Folders) -> None:
    for path in (folders.truth / "rally-a/img1").iterdir():
        path.unlink()
    problem = chosen(Films(store), SEQUENCE, "any", "tracked")[3]
    assert problem == "Boxes only: the images of this sequence are gone."


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"comparison": "other"}, "no comparison 'other' in this store."),
        ({"sequence": "target/../../secret"}, "no sequence '../../secret'"),
        ({"sequence": "source/rally-a"}, "the comparison has no 'source' data."),
        ({"sequence": ""}, "the comparison has no '' data."),
        ({"number": 99}, "rally-a: has no frame 99."),
        ({"number": "x"}, "rally-a: has no frame -1."),
    ],
)
def test_what_there_is_not_is_one_sentence(
    client: FlaskClient, query: dict[str, Any], sentence: str
) -> None:
    found = asked(client, **query)
    assert set(found) == {"problem"}
    assert sentence in found["problem"]


def test_other_tasks_have_no_viewer() -> None:
    comparison = filled_store().comparison_list[0]
    assert tracking(comparison) is None


def test_drawn_sequences_have_no_legend_of_detections(comparison: Comparison) -> None:
    assert gallery(comparison.target) is None, "nothing was drawn"


def test_a_strip_marks_where_both_differ() -> None:
    assert strip([], 8) == {"visibility": "hidden"}
    assert strip([0, 7], 8)["backgroundImage"].count("rect") == 2
    assert strip(list(range(20_000)), 20_000)["backgroundImage"].count("rect") == MARKS
