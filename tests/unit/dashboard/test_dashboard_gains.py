"""Where a difference comes from, on the Compare page."""

from pathlib import Path
from typing import Any

from PIL import Image

from backend.catalog import CATALOG
from backend.core.records import Change, Comparison, Picture, UnitDelta
from dashboard.components.evidence import evidence
from dashboard.components.gains import changes, gallery, units
from dashboard.pages import compare
from dashboard.view import View
from tests.support.memory_store import MemoryStore, filled_store, made_delta
from tests.support.shown import text_of

UNITS = (
    UnitDelta(unit="img7", baseline=0.2, candidate=0.9, delta=0.7),
    UnitDelta(unit="img3", baseline=0.5, candidate=0.6, delta=0.1),
    UnitDelta(unit="img5", baseline=0.8, candidate=0.1, delta=-0.7),
)


def made(**target: Any) -> Comparison:
    first = filled_store().comparisons()[0]
    more = {"per_unit": UNITS, "unit_metric": "f1", **target}
    return first.model_copy(update={"target": first.target.model_copy(update=more)})


def test_gains_and_losses_stand_apart_largest_first() -> None:
    text = text_of(units(made().target))
    gains, losses = text.split("Largest losses")
    assert gains.index("img7") < gains.index("img3")
    assert "+0.7000" in gains
    assert "−0.7000" in losses
    assert "img5" in losses


def test_without_a_changed_unit_there_is_no_panel() -> None:
    assert units(made(per_unit=()).target) is None


def test_drawn_units_are_shown_from_their_files(tmp_path: Path) -> None:
    path = tmp_path / "01.jpg"
    Image.new("RGB", (8, 4)).save(path)
    there = Picture(unit=UNITS[0], key="gallery/01.jpg", path=str(path))
    gone = Picture(unit=UNITS[2], key="gallery/02.jpg", path=str(tmp_path / "02.jpg"))
    shown = gallery(made(pictures=(there, gone)).target)
    text = text_of(shown)
    assert "image img7: f1 0.2000 → 0.9000 (+0.7000)" in text
    assert "img5" not in text, "its file is gone"
    assert "data:image/jpeg;base64," in str(shown)
    assert gallery(made(pictures=(gone,)).target) is None


def test_what_else_changed_is_listed() -> None:
    change = Change(kind="config", name="optimizer.lr0", baseline="0.01", candidate=None)
    text = text_of(changes(made().model_copy(update={"changes": (change,)})))
    for words in ("Config", "optimizer.lr0", "0.01", "–"):
        assert words in text


def test_nothing_changed_and_nothing_known_are_told_apart() -> None:
    same = made()
    assert "are the same" in text_of(changes(same))
    stranger = same.candidate.model_copy(update={"params": {}})
    assert "not known" in text_of(changes(same.model_copy(update={"candidate": stranger})))


def test_metrics_of_another_scale_get_a_chart_of_their_own() -> None:
    share = made_delta("mAP50-95", 0.5, 0.1, "better").model_copy(update={"margin": 0.01})
    score = made_delta("edit", 50.0, 4.0, "better").model_copy(update={"margin": 1.0})
    comparison = made(metrics=(share, score))
    shown = str(evidence(comparison, [comparison], View(), "light"))
    assert "'name': 'metrics'" in shown
    assert "'name': 'metrics-1'" in shown


def test_errors_are_shown_where_they_are_known() -> None:
    missed = made_delta("missed", 0.2, -0.05, "better")
    comparison = made(errors=(missed,))
    assert "What errors cost" in text_of(evidence(comparison, [comparison], View(), "light"))
    without = made()
    assert "What errors cost" not in text_of(evidence(without, [without], View(), "light"))


def test_files_of_predictions_are_compared_without_runs() -> None:
    store = MemoryStore()
    first = filled_store().comparisons()[0]
    sides = {
        side: getattr(first, side).model_copy(
            update={"checkpoint": getattr(first, side).checkpoint.model_copy(update={"run": ""})}
        )
        for side in ("baseline", "candidate")
    }
    store.comparison_list.append(first.model_copy(update=sides))
    search = f"?comparison={first.key}"
    legend, _, nothing, style, names, _ = compare.frame(store, search, "0", search)
    assert (legend, nothing, style, names) == (None, None, {}, [])
    news = compare.stored(store, search, "0", None)
    banner, shown = compare.verdict(store, news, "light", search)
    assert "is better than" in text_of(banner)
    assert "Metrics on the target" in text_of(shown)
    metrics, params = compare.tables(store, CATALOG, search, "0")
    assert "No run" in text_of(metrics)
    assert "No run" in text_of(params)
