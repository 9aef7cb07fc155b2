"""Where a difference comes from, on the Compare page."""

from pathlib import Path
from typing import Any

from PIL import Image

from backend.catalog import CATALOG
from backend.core.comparisons import (
    Change,
    Comparison,
    Family,
    FamilyMember,
    LayerChange,
    Picture,
    UnitDelta,
)
from dashboard.components.evidence import detail, evidence
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


def test_a_headline_that_counts_is_told_in_whole_numbers() -> None:
    counts = {"unit": "count", "low": -1.25, "high": 3.0}
    row = made_delta("IDSW", 12.0, 1.0, "undecided").model_copy(update=counts)
    text = detail(made(metrics=(row,)).model_copy(update={"primary": "IDSW"}))
    assert text.startswith("IDSW +1 (12 → 13), 95 % interval −1.2 to +3")


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
    assert "Not known of both: data, code, environment." in text_of(changes(same))
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


def test_several_candidates_are_shown_with_what_holds_for_all() -> None:
    good = FamilyMember(label="b", value=0.7, delta=0.1, low=0.02, high=0.18, p_value=0.0004,
                        verdict="better")  # fmt: skip
    none = good.model_copy(update={"label": "c", "low": None, "high": None, "p_value": None})
    several = Family(
        task="detection", metric="mAP50-95", direction="maximize", baseline="a",
        baseline_value=0.6, confidence=0.95, margin=0.01, replicates=1000, seed=0, units=80,
        members=(good, none), warnings=("Picked on these.",),
    )  # fmt: skip
    comparison = made().model_copy(update={"family": several})
    said = text_of(evidence(comparison, [comparison], View(), "light"))
    for words in ("All candidates against a", "+0.0200 to +0.1800", "<0.001", "Picked on these."):
        assert words in said
    alone = made()
    assert "All candidates" not in text_of(evidence(alone, [alone], View(), "light"))


def test_classes_are_titled_by_the_metric_they_are_compared_by() -> None:
    comparison = made(class_metric="f1", per_class=(made_delta("cat", 0.5, 0.1, "better"),))
    assert "f1 per class" in text_of(evidence(comparison, [comparison], View(), "light"))


def test_shares_and_levels_are_not_rounded_to_certainty() -> None:
    head = made_delta("mAP50-95", 0.5, 0.1, "better")
    sure = head.model_copy(update={"wins": 0.9996, "p_value": 0.0004})
    said = detail(made(metrics=(sure,), split="").model_copy(update={"confidence": 0.995}))
    assert "99.5 % interval" in said
    assert ">99 % of" in said
    assert "permutation p <0.001; on " in said
    assert said.endswith("images.")


def test_a_frozen_layer_is_proven_by_its_bits_and_buffers() -> None:
    frozen = LayerChange(layer="model.0", parameters=4, relative=0.0, identical=True)
    drifted = LayerChange(layer="model.1", parameters=4, relative=0.0, buffers=2,
                          buffers_moved=("model.1.bn.running_mean",))  # fmt: skip
    other = LayerChange(layer="model.2", parameters=4, relative=None, note="x has shape 1 and 2")
    comparison = made().model_copy(update={"weights": (frozen, drifted, other)})
    said = text_of(evidence(comparison, [comparison], View(), "light"))
    assert "1 of 3 layers are equal to the bit, buffers included; 1 kept their weights" in said
    assert "Not compared: x has shape 1 and 2." in said


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
