"""Two checkpoints of one run on *Compare*, without a browser."""

from pathlib import Path

import pytest

from backend.catalog import CATALOG
from backend.core.comparisons import Contender
from backend.core.records import Checkpoint, Run, Series
from dashboard.pages.compare_checkpoints import course, kept, pair, runs
from dashboard.pages.convergence_charts import course_figures
from dashboard.pages.convergence_data import subject_of
from dashboard.view import View
from tests.support.acted import action_comparison
from tests.support.memory_store import MemoryStore
from tests.support.shown import text_of


def saved(epoch: int) -> Checkpoint:
    return Checkpoint(
        path=f"/runs/r/weights/{epoch}.safetensors", sha256=f"{epoch:064d}", step=10 * epoch,
        epoch=epoch, run="r", metrics={"val/average_mAP": 0.1 * epoch, "val/loss": 1.0 / epoch},
    )  # fmt: skip


def contender(epoch: int) -> Contender:
    return Contender(label=f"films@{epoch}", checkpoint=saved(epoch), trainer="adatad")


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore()
    made.run_list = [
        Run(
            key=key, mlflow_run_id=key, name=name, trainer="adatad", status="finished",
            started=0.0,
            headline="val/average_mAP", best_epoch=6,
        )
        for key, name in (("r", "films"), ("one", "single"))
    ]  # fmt: skip
    made.saved = {"r": [saved(epoch) for epoch in (2, 4, 6, 8)], "one": [saved(2)]}
    return made


@pytest.fixture
def compared(store: MemoryStore, tmp_path: Path) -> MemoryStore:
    made = action_comparison(tmp_path, "epochs", (contender(2), contender(6)))
    store.comparison_list = [made]
    return store


def test_runs_that_keep_several_checkpoints_are_offered(store: MemoryStore) -> None:
    options, chosen, style = runs(store, "?runs=r,one", "0", None)
    assert options == [{"value": "r", "label": "films"}]
    assert (chosen, style) == ("r", {})
    assert runs(store, "?runs=one", "0", "r") == ([], None, {"display": "none"})


def test_the_first_and_the_best_are_chosen_first(store: MemoryStore) -> None:
    options, same, old, new = kept(store, "r", "0", None, None, "")
    assert [option["label"] for option in options] == [
        "epoch 2", "epoch 4", "epoch 6 (best)", "epoch 8 (last)",
    ]  # fmt: skip
    assert same == options
    assert (old, new) == ("20", "60")
    assert kept(store, "r", "0", "40", "80", "")[2:] == ("40", "80"), "what is shown stays"
    assert kept(store, "r", "0", "40", "990", "")[2:] == ("20", "60")


def test_the_comparison_in_the_address_chooses_its_sides(
    store: MemoryStore, tmp_path: Path
) -> None:
    store.comparison_list = [action_comparison(tmp_path, "back", (contender(8), contender(4)))]
    assert kept(store, "r", "0", None, None, "?comparison=back")[2:] == ("80", "40")


def test_without_a_comparison_there_is_the_command(store: MemoryStore) -> None:
    text = text_of(pair(store, CATALOG, "20", "60", None, "r", ""))
    assert "assay compare r@2 r@6 --split val" in text
    assert "+0.4000" in text, "the difference of both validations"
    assert "Choose two different" in text_of(pair(store, CATALOG, "20", "20", None, "r", ""))
    assert pair(store, CATALOG, "20", "990", None, "r", "") is None


def test_a_foreign_run_has_no_command(store: MemoryStore) -> None:
    store.run_list = [run.model_copy(update={"trainer": "other"}) for run in store.run_list]
    text = text_of(pair(store, CATALOG, "20", "60", None, "r", ""))
    assert "did not train this run" in text
    assert "assay compare" not in text


def test_a_stored_comparison_shows_intervals_whichever_way_round(compared: MemoryStore) -> None:
    forward = text_of(pair(compared, CATALOG, "20", "60", None, "r", ""))
    assert "comparison=epochs" in forward
    assert "average_AP per class" in forward
    assert "no paired comparison" not in forward.lower()
    delta = compared.comparison_list[0].headline.delta
    assert delta is not None
    assert delta > 0
    assert f"+{delta:.4f}" in forward
    backward = text_of(pair(compared, CATALOG, "60", "20", None, "r", ""))
    assert f"−{delta:.4f}" in backward


def test_scored_checkpoints_make_a_course(compared: MemoryStore) -> None:
    text = text_of(course(compared, CATALOG, "r", None, "light"))
    assert "epoch 2" in text
    assert "epoch 6" in text
    assert "3 videos" in text
    assert "assay compare r@8 r@2 r@4 r@6 --split val" in text
    assert course(compared, CATALOG, None, None, "light") is None


def test_lost_evidence_is_said(compared: MemoryStore) -> None:
    Path(compared.comparison_list[0].target.baseline_report.evidence).unlink()
    assert "No course: " in text_of(course(compared, CATALOG, "r", None, "light"))


def test_convergence_draws_the_map_at_each_threshold(store: MemoryStore) -> None:
    for name, value in (("average_mAP", 0.4), ("mAP_0.3", 0.6), ("mAP_0.7", 0.2)):
        store.curves["r", f"val/{name}"] = Series(
            steps=(20, 40), values=(0.1, value), times=(1.0, 2.0)
        )
    view = View(run="r")
    subject = subject_of(store, view)
    assert subject is not None
    drawn = course_figures(subject, view, "light")["tiou"]
    assert [trace.name for trace in drawn.data if trace.name] == ["tIoU 0.3", "tIoU 0.7"]
    assert list(drawn.data[1].y) == [0.1, 0.2]
