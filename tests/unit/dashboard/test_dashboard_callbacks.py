"""Callbacks are plain functions: called here without a browser or a server."""

import json

import pytest
from dash import Patch, no_update
from dash.exceptions import PreventUpdate

from backend.catalog import CATALOG
from backend.core.errors import StoreError
from backend.core.records import StudyRecord
from dashboard import ids
from dashboard.app import find_page, route, token_at_start
from dashboard.components.evidence import detail, headline
from dashboard.pages import PAGES, compare, compare_charts, runs, studies
from dashboard.view import View
from tests.support.memory_store import MemoryStore, filled_store, wide_store
from tests.support.shown import text_of

CHAMPION = "test-near-domain-03"
PAIR = f"?runs=test-near-domain-00,{CHAMPION}"
SOURCE = compare_charts.Source


def test_every_path_leads_to_its_page() -> None:
    assert [page.path for page in PAGES] == [
        "/", "/convergence", "/compare", "/experts", "/studies",
    ]  # fmt: skip
    for page in PAGES:
        assert find_page(page.path) is page
        assert find_page(page.path + "/") is page
        assert page.title in text_of(route(filled_store(), page.path, "light", PAIR))
    assert "no such page" in text_of(route(filled_store(), "/nowhere", "light", ""))


def test_runs_come_with_baseline_and_summary() -> None:
    rows, options, summary, empty, hidden, shown = runs.refresh(filled_store(), CATALOG, "", "0")
    assert len(rows) == 20
    assert '"key": "test-near-domain-03"' in text_of(options)
    for words in ("20 runs", "2 running", "14 finished", "2 failed"):
        assert words in text_of(summary)
    assert empty is None
    assert hidden == {"display": "none"}
    assert shown == {}


def test_without_runs_the_page_says_how_to_make_one() -> None:
    rows, _, _, empty, shown, hidden = runs.refresh(MemoryStore(), CATALOG, "", "0")
    assert rows == []
    assert "make demo" in text_of(empty)
    assert "assay train" in text_of(empty)
    assert (shown, hidden) == ({}, {"display": "none"})


def test_the_frame_of_compare() -> None:
    legend, notes, empty, style, names, first = compare.frame(filled_store(), "", "0", PAIR)
    assert "test-near-domain #3" in text_of(legend)
    assert "2 runs" in text_of(notes)
    assert empty is None
    assert style == {}
    assert "lr/head" in names
    assert first.startswith("val/mAP50-95,train/box_loss")


def test_compare_without_a_selection_offers_what_is_stored() -> None:
    _, _, empty, style, names, first = compare.frame(filled_store(), "", "0", "")
    assert "No runs selected" in text_of(empty)
    assert "test-near-domain #3 against test-near-domain #0" in text_of(empty)
    assert (style, names, first) == ({"display": "none"}, [], None)
    assert "make demo" in text_of(compare.frame(MemoryStore(), "", "0", "")[2])


def test_runs_that_are_gone_are_named() -> None:
    _, notes, _, _, _, _ = compare.frame(filled_store(), "", "0", PAIR + ",gone")
    assert "not found in this store: gone" in text_of(notes)


def test_charts_are_made_then_redrawn_in_place() -> None:
    source = SOURCE(filled_store(), CATALOG)
    cards, figures, captions = compare_charts.draw(source, PAIR, "light", [], [])
    assert (figures, captions) == ([], [])
    shown = [{"type": "zoom", "name": card.children[1].id["name"]} for card in cards]
    assert [id_["name"] for id_ in shown][:2] == ["val/mAP50-95", "train/box_loss"]
    again = compare_charts.draw(source, PAIR + "&log=1", "dark", shown, [None] * 6)
    assert again[0] is no_update
    assert {figure.layout.yaxis.type for figure in again[1]} == {"log"}
    assert again[2][0] == "48 points"


def test_other_metrics_make_other_cards() -> None:
    source = SOURCE(filled_store(), CATALOG)
    shown = [{"name": "val/mAP50"}]
    cards, figures, _ = compare_charts.draw(
        source, PAIR + "&metrics=lr/head", "light", shown, [None]
    )
    assert len(cards) == 1
    assert "lr/head" in text_of(cards)
    assert figures == [no_update]


def test_new_data_touch_nothing_but_data() -> None:
    store = filled_store()
    source = SOURCE(store, CATALOG)
    shown, zooms = [{"name": "train/box_loss"}], [None]
    drawing = PAIR + "&metrics=train/box_loss"
    store.extend(CHAMPION, "train/box_loss", 961, 0.5)
    children, patches, captions = compare_charts.update(
        source, "1", drawing, "light", shown, zooms
    )
    assert children is no_update
    assert isinstance(patches[0], Patch)
    operations = json.loads(text_of(patches[0]))["operations"]
    assert {tuple(o["location"]) for o in operations} == {
        ("data",), ("layout", "xaxis", "title", "text"),
    }  # fmt: skip
    assert captions == ["1,921 points"]


def test_a_metric_that_appears_gets_its_card() -> None:
    source = SOURCE(filled_store(), CATALOG)
    cards, _, _ = compare_charts.update(source, "1", PAIR, "light", [{"name": "lr/head"}], [None])
    assert len(cards) == 6


def test_a_zoom_brings_more_points_and_zooming_out_fewer() -> None:
    store = wide_store(runs=2, metrics=4, steps=3000)
    drawing = "?runs=test-wide-00,test-wide-01"
    id_ = {"type": "zoom", "name": "train/box_loss"}
    to = {"x": [100, 200], "y": None, "title": "Step", "log": False}
    patch, words = compare_charts.zoom(store, to, id_, drawing)
    assert isinstance(patch, Patch)
    assert words == "206 points"
    _, words = compare_charts.zoom(store, None, id_, drawing)
    assert words == "2,000 of 6,000 points shown"


def test_a_chart_that_shows_everything_needs_no_more_points() -> None:
    with pytest.raises(PreventUpdate):
        compare_charts.zoom(filled_store(), None, {"name": "val/mAP50"}, PAIR)


def test_an_epoch_axis_is_made_of_checkpoints() -> None:
    store = filled_store()
    view = View.parse(PAIR + "&x=epoch&metrics=val/mAP50")
    scope = compare_charts.scope_of(store, view)
    (made,) = compare_charts.charts_of(store, scope, view, ["val/mAP50"], {})
    assert made.x_title == "Epoch"
    assert made.lines[0].x.tolist() == pytest.approx(list(range(1, 25)))


def test_the_table_has_differences_verdicts_and_commands() -> None:
    search = PAIR + ",test-near-domain-08"
    metrics, params = compare.tables(filled_store(), CATALOG, search, "0")
    said = text_of(metrics)
    assert "▼ worse" in said
    assert "no paired comparison yet" in said
    assert f"assay compare {CHAMPION} test-near-domain-08" in said
    assert "best, epoch 24" in said
    assert "optimizer.lr0" in text_of(params)
    assert "augment.mosaic" not in text_of(params)
    _, everything = compare.tables(filled_store(), CATALOG, search + "&params=all", "0")
    assert "augment.mosaic" in text_of(everything)


def test_runs_on_other_data_are_not_subtracted() -> None:
    search = f"?runs={CHAMPION},test-new-domain-00"
    metrics, _ = compare.tables(filled_store(), CATALOG, search, "0")
    assert text_of(metrics).count('"other data"') == 4


def test_last_values_instead_of_best() -> None:
    store = filled_store()
    metrics, _ = compare.tables(store, CATALOG, PAIR + "&values=last", "0")
    assert "last values" in text_of(metrics)


def test_equal_parameters_are_said_to_be_equal() -> None:
    store = filled_store()
    first = store.run("test-near-domain-00")
    store.replace_run(CHAMPION, params=first.params)
    _, params = compare.tables(store, CATALOG, PAIR, "0")
    assert "the same 13 parameters" in text_of(params)


def test_the_verdict_comes_with_its_evidence() -> None:
    store = filled_store()
    news = compare.stored(store, PAIR, "0", None)
    assert len(news["comparisons"]) == 1
    assert compare.stored(store, PAIR, "1", news) is no_update
    banner, evidence = compare.verdict(store, news, "light", PAIR)
    said = text_of(banner)
    assert "test-near-domain #3 is better than test-near-domain #0" in said
    assert "+0.0310 (0.5600 → 0.5910), 95 % interval +0.0104 to +0.0516" in said
    evidences = (
        "Forgetting on the source",
        "Weights moved per layer",
        "One run per side",
        "no ground truth for digit 9",
        "2,000 replicates",
        "pycocotools 2.0.11",
    )
    for words in evidences:
        assert words.lower() in text_of(evidence).lower()


def test_without_a_comparison_the_command_is_offered() -> None:
    search = f"?runs={CHAMPION},test-near-domain-08"
    banner, evidence = compare.verdict(filled_store(), {}, "light", search)
    assert banner is None
    assert f"assay compare {CHAMPION} test-near-domain-08" in text_of(evidence)
    assert compare.verdict(filled_store(), {}, "light", f"?runs={CHAMPION}") == (None, None)


def test_the_comparison_that_was_asked_for_comes_first() -> None:
    search = PAIR + ",test-near-domain-01"
    asked = next(c.key for c in filled_store().comparisons() if c.key.endswith("01"))
    news = compare.stored(filled_store(), f"{search}&comparison={asked}", "0", None)
    assert news["comparisons"][0] == asked
    banner, evidence = compare.verdict(
        filled_store(), news, "light", f"{search}&comparison={asked}"
    )
    assert "cannot be told apart" in text_of(banner)
    assert "Also stored" in text_of(evidence)


def test_sentences_live_without_interval_or_source() -> None:
    comparison = filled_store().comparisons()[0]
    bare = comparison.headline.model_copy(
        update={"low": None, "high": None, "wins": None, "verdict": "undecided"}
    )
    target = comparison.target.model_copy(update={"metrics": (bare,), "per_class": ()})
    poor = comparison.model_copy(update={"target": target, "source": None, "weights": ()})
    assert "cannot be told apart" in headline(poor)
    assert "interval" not in detail(poor)
    store = filled_store()
    store.comparison_list = [poor]
    _, evidence = compare.verdict(store, {}, "dark", PAIR)
    assert "Not measured" in text_of(evidence)
    assert "No layers could be compared" in text_of(evidence)


def test_a_study_is_noticed_once() -> None:
    store = filled_store()
    version = studies.notice(store, "", "0", None)
    assert studies.notice(store, "", "1", version) is no_update
    assert studies.notice(store, "", "1 (read again)", version) == version
    other = studies.notice(store, "test-new-domain", "1", version)
    assert other[0] == "test-new-domain"
    store.study_list = store.study_list[1:]
    assert studies.notice(store, "", "2", version) != version


def test_a_study_is_described() -> None:
    names, value, summary, empty, style, best, rows, columns = studies.describe(
        filled_store(), ["test-new-domain", ""]
    )
    assert names == ["test-near-domain", "test-new-domain"]
    assert value == "test-new-domain"
    assert "7 of 12 trials complete" in text_of(summary)
    assert "1 pruned" in text_of(summary)
    assert empty is None
    assert style == {}
    assert "Open its run" in text_of(best)
    assert len(rows) == 10
    assert [c["headerName"] for c in columns][:4] == ["Trial", "State", "Run", "val/mAP50-95"]


def test_no_study_says_why() -> None:
    none = studies.describe(MemoryStore(), ["", ""])
    assert "assay study run freezing" in text_of(none[3])
    wrong = studies.describe(filled_store(), ["gone", ""])
    assert "no study called 'gone'" in text_of(wrong[3])
    assert studies.draw(filled_store(), ["gone", ""], "light", []) == (None, [])


def test_a_changed_study_keeps_its_charts() -> None:
    store = filled_store()
    version = studies.notice(store, "", "0", None)
    cards, _ = studies.draw(store, version, "light", [])
    assert text_of(cards).count('"type": "Graph"') == 4
    shown = [
        {"name": f"{name} test-near-domain"}
        for name in ("history", "rate", "parallel", "importance")
    ]
    children, patches = studies.draw(store, version, "light", shown)
    assert children is no_update
    assert all(isinstance(patch, Patch) for patch in patches)


def test_a_young_study_says_what_it_waits_for() -> None:
    store = filled_store()
    store.study_list = [
        StudyRecord(name="young", metric="val/loss", direction="minimize", target=3, trials=())
    ]
    cards, _ = studies.draw(store, studies.notice(store, "", "0", None), "light", [])
    for words in ("No trial has started yet", "Needs two complete trials", "enough trials"):
        assert words in text_of(cards)
    assert studies.describe(store, ["", ""])[5] is None


def test_a_store_that_cannot_be_read_is_no_token() -> None:
    store = filled_store()
    store.broken = "mlflow.db: locked"
    assert token_at_start(store) is None
    with pytest.raises(StoreError):
        runs.refresh(store, CATALOG, "", None)


def test_ids_are_different() -> None:
    names = [v for k, v in vars(ids).items() if k.isupper() and isinstance(v, str)]
    assert len(names) == len(set(names))
