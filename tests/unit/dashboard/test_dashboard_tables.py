"""Rows of the tables."""

import pytest

from dashboard.scope import better_when, chosen_metrics, default_metrics, scope_of
from dashboard.tables import (
    choose_baseline,
    comparable,
    comparisons_among,
    delta,
    direction,
    find_runs,
    in_order,
    learning_rates,
    paired,
    parameter_rows,
    runs_rows,
    table_metrics,
    turned,
    unit,
)
from dashboard.trial_table import trial_rows
from dashboard.view import View
from tests.support.memory_store import NOON, filled_store

STORE = filled_store()
RUNS = STORE.runs()
BY_KEY = {run.key: run for run in RUNS}
MOE = {"pretrained_lr": "1e-05", "new_lr": "0.1", "scratch_lr": "0.001", "language.lr": "0.003",
       "runner.optimizer.lr.all": "0.001"}  # fmt: skip
CHAMPION = "test-near-domain-03"


@pytest.mark.parametrize(
    ("way", "value", "good"),
    [
        ("maximize", 0.6, True),
        ("maximize", 0.4, False),
        ("minimize", 0.4, True),
        (None, 0.6, None),
    ],
)
def test_good_is_a_matter_of_direction(way: str | None, value: float, good: bool | None) -> None:
    change = delta(value, 0.5, way)
    assert change.good is good
    assert change.text[0] == ("+" if value > 0.5 else "−")


def test_no_difference_is_neither_good_nor_bad() -> None:
    assert delta(0.5, 0.5, "maximize").good is None
    assert delta(None, 0.5, "maximize") is None
    assert delta(0.5, None, "maximize") is None


def test_directions_come_from_the_catalog() -> None:
    assert direction("val/mAP50-95", "yolo") == "maximize"
    assert direction("train/box_loss", "yolo") == "minimize"
    assert direction("lr/head", "yolo") is None
    assert direction("val/mAP50-95", "of others") == "maximize", "a known name"
    assert direction("train/loss", "of others") == "minimize"
    assert direction("val/something", "of others") is None
    assert unit("val/mAP50-95", "yolo") == ""
    assert better_when("train/box_loss", RUNS) == "lower is better"
    assert better_when("lr/head", RUNS) == ""


def test_runs_are_found_by_key_name_or_prefix() -> None:
    assert [r.key for r in find_runs([CHAMPION], RUNS)] == [CHAMPION]
    assert [r.key for r in find_runs(["test-near-domain #3"], RUNS)] == [CHAMPION]
    assert [r.key for r in find_runs(["test-near-domain-03"[:19]], RUNS)] == [CHAMPION]
    assert find_runs(["test-near", "nowhere"], RUNS) == []


def test_the_champion_is_the_baseline_unless_one_is_picked() -> None:
    assert choose_baseline("", RUNS, STORE.champions()).key == CHAMPION
    assert choose_baseline("test-new-domain-00", RUNS, {}).key == "test-new-domain-00"
    assert choose_baseline("", RUNS, {}) is None


def test_rows_of_runs() -> None:
    rows = {
        row["key"]: row
        for row in runs_rows(RUNS, BY_KEY[CHAMPION], STORE.champions(), now=NOON + 1e5)
    }
    champion, rival = rows[CHAMPION], rows["test-near-domain-00"]
    assert champion["baseline"] is True
    assert champion["champion"] == "test-digits"
    assert champion["delta"] is None
    assert rival["delta"] == pytest.approx(rival["value"] - champion["value"])
    assert rival["good"] is False
    assert rival["delta_text"].startswith("−")
    assert rows["test-near-domain-04"]["layer_decay"] == 0.65
    assert rows["test-near-domain-07"]["value_text"] == "–"
    assert rows["test-near-domain-07"]["reason"] == "CUDA out of memory at batch 64"
    assert rows["test-near-domain-09"]["duration"] == pytest.approx(1e5 - 6300)
    assert rival["duration_text"] == "6 min 52 s"


def test_a_baseline_with_another_headline_gives_no_difference() -> None:
    other = BY_KEY[CHAMPION].model_copy(update={"headline": "val/HOTA"})
    assert all(row["delta"] is None for row in runs_rows(RUNS, other, {}, now=NOON))


def test_runs_on_other_data_give_no_difference() -> None:
    rows = {row["key"]: row for row in runs_rows(RUNS, BY_KEY[CHAMPION], {}, now=NOON)}
    far = rows["test-new-domain-00"]
    assert far["value"] is not None
    assert far["delta"] is None
    assert "other data" in far["delta_hint"]
    assert rows["test-near-domain-00"]["delta_hint"] == ""
    assert comparable(BY_KEY["test-near-domain-00"], BY_KEY[CHAMPION])
    assert not comparable(BY_KEY["test-new-domain-00"], BY_KEY[CHAMPION])


def test_metrics_stand_in_the_order_of_their_trainer() -> None:
    keys = ["val/recall", "val/own", "val/mAP50", "val/mAP50-95"]
    assert in_order(keys, "yolo") == ["val/mAP50-95", "val/mAP50", "val/recall", "val/own"]
    assert in_order(keys, "unknown") == sorted(keys)


def test_only_differing_parameters_unless_all_are_wanted() -> None:
    pair = [BY_KEY["test-near-domain-00"], BY_KEY["test-near-domain-04"]]
    rows, total = parameter_rows(pair, differing_only=True)
    assert [key for key, _, _ in rows] == ["optimizer.layer_decay", "optimizer.lr0"]
    assert total == 13
    everything, _ = parameter_rows(pair, differing_only=False)
    assert len(everything) == total
    assert sum(differs for _, _, differs in everything) == 2


def test_stored_differences_are_found_from_either_side() -> None:
    stored = STORE.comparisons()
    there = paired(stored, "test-near-domain-00", CHAMPION)
    back = paired(stored, CHAMPION, "test-near-domain-00")
    assert (there.verdict, back.verdict) == ("better", "worse")
    assert back.delta == pytest.approx(-there.delta)
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))
    assert back.wins == pytest.approx(1 - there.wins)
    assert turned(back) == there.model_copy(update={"wins": turned(back).wins})
    assert paired(stored, CHAMPION, "test-near-domain-08") is None


def test_comparisons_of_which_both_sides_are_shown() -> None:
    pair = [BY_KEY["test-near-domain-00"], BY_KEY[CHAMPION]]
    assert len(comparisons_among(STORE.comparisons(), pair)) == 1
    assert comparisons_among(STORE.comparisons(), pair[:1]) == []


def test_validation_metrics_are_columns_headline_first() -> None:
    pair = [BY_KEY[CHAMPION]]
    assert table_metrics(pair, "best") == [
        "val/mAP50-95", "val/mAP50", "val/precision", "val/recall",
    ]  # fmt: skip
    assert table_metrics([], "best") == []


def test_rows_of_trials_lead_to_runs() -> None:
    rows = trial_rows(STORE.studies()[0], RUNS)
    assert [row["number"] for row in rows] == list(range(10))
    assert rows[3]["best"] is True
    assert rows[3]["name"] == "test-near-domain #3"
    assert rows[3]["p.freeze.strategy"] == "head-only"
    orphan = trial_rows(STORE.studies()[0], [])[3]
    assert orphan["key"] == ""
    assert orphan["id"] == CHAMPION


def test_a_picked_baseline_is_always_shown_first() -> None:
    view = View(runs=("test-near-domain-00",), baseline="test-near-domain-01")
    scope = scope_of(STORE, view)
    assert scope.keys == ["test-near-domain-01", "test-near-domain-00"]
    assert [run.key for run in scope.others] == ["test-near-domain-00"]


def test_the_champion_is_baseline_only_if_selected() -> None:
    with_it = scope_of(STORE, View(runs=("test-near-domain-00", CHAMPION)))
    without = scope_of(STORE, View(runs=("test-near-domain-00", "test-near-domain-01")))
    assert with_it.baseline.key == CHAMPION
    assert without.baseline.key == "test-near-domain-00"


def test_a_comparison_selects_its_runs() -> None:
    key = STORE.comparisons()[0].key
    scope = scope_of(STORE, View(comparison=key))
    assert set(scope.keys) == {"test-near-domain-00", CHAMPION}
    assert scope_of(STORE, View(comparison="gone")).runs == ()


def test_names_that_no_run_has_are_reported() -> None:
    assert scope_of(STORE, View(runs=("gone", CHAMPION))).missing == ("gone",)


def test_charts_begin_with_headline_and_losses() -> None:
    runs = [BY_KEY[CHAMPION]]
    names = STORE.metric_names([CHAMPION])
    first = default_metrics(names, runs)
    assert first[:4] == ["val/mAP50-95", "train/box_loss", "train/cls_loss", "train/dfl_loss"]
    assert len(first) == 6
    assert chosen_metrics(View(metrics=("lr/head", "gone")), names, runs) == ["lr/head"]
    assert chosen_metrics(View(metrics=("gone",)), names, runs) == first


@pytest.mark.parametrize(
    ("trainer", "params", "logged", "rates"),
    [
        ("yolo", {"optimizer.lr0": "0.01"}, ("head", "neck"), {"optimizer.lr0": 0.01}),
        ("mdfed", {"runner.optimizer.lr.all": "0.003"}, (), {"runner.optimizer.lr.all": 0.003}),
        ("moe_rtdetr", MOE | {"model.pretrained": "none"}, (), {"scratch_lr": 0.001}),
        ("moe_rtdetr", MOE | {"model.pretrained": "a.pth"}, (),
         {"new_lr": 0.1, "pretrained_lr": 1e-5}),
        ("moe_rtdetr", MOE, ("pretrained",), {"pretrained_lr": 1e-5}),
        ("moe_rtdetr", MOE, ("language",), {"language.lr": 0.003}),
        ("somebody's", {"runner.optimizer.lr.body": "0.1", "runner.optimizer.lr.head": "1"},
         ("body", "head"), {"runner.optimizer.lr.head": 1.0, "runner.optimizer.lr.body": 0.1}),
        ("yolo", {}, (), {}),
    ],
)  # fmt: skip
def test_learning_rates_are_those_that_train_the_highest_first(
    trainer: str, params: dict[str, str], logged: tuple[str, ...], rates: dict[str, float]
) -> None:
    metrics = {f"lr/{group}": 1e-6 for group in logged}
    found = learning_rates(
        RUNS[0].model_copy(update={"trainer": trainer, "params": params, "metrics": metrics})
    )
    assert list(found.items()) == list(rates.items())


def test_the_table_shows_the_highest_rate_and_names_all_of_them() -> None:
    run = RUNS[0].model_copy(update={"trainer": "moe_rtdetr", "params": MOE})
    row = runs_rows([run], None, {}, 0.0)[0]
    assert (row["lr"], row["lr_text"]) == (0.1, "0.1")
    assert row["lr_hint"] == "new_lr 0.1, pretrained_lr 1e−5"
    bare = runs_rows([run.model_copy(update={"params": {}})], None, {}, 0.0)[0]
    assert (bare["lr"], bare["lr_text"], bare["lr_hint"]) == (None, "–", "")


def test_the_gravest_finding_stands_in_the_table_with_how_many_more() -> None:
    tags = {"diagnosis": "not learning", "finding.B01": "warning", "finding.D02": "stop",
            "finding.B03": "error", "status": "finished"}  # fmt: skip
    run = STORE.run_list[0]
    looked = [run.model_copy(update={"tags": t}) for t in (tags, {"diagnosis": "converged"}, {})]
    rows = runs_rows(looked, None, {}, 0.0)
    assert [(row["finding"], row["severity"], row["finding_rank"]) for row in rows] == [
        ("D02 +2", "stop", 3), ("", "", -1), ("", "", None),
    ]  # fmt: skip
    assert rows[0]["verdict"] == "not learning"
