"""The page *Experts* without a browser: what its callbacks and figures say."""

import json
import math
from typing import Any

import pytest
from dash import Patch, no_update

from backend.analysis.experts import affinity_change, class_matrix, solo_matrix
from backend.analysis.experts.views import TopKPoint, with_router
from backend.catalog import CATALOG
from backend.core.experts import ExpertReport
from dashboard.figures import experts as figures
from dashboard.figures import matrices
from dashboard.figures.theme import CHANGE, HEAT
from dashboard.figures.top_k import top_k
from dashboard.pages import experts as page
from dashboard.palette import expert_style
from tests.support.expert_runs import Scene, add_expert_run, expert_store, made_reports
from tests.support.memory_store import MemoryStore
from tests.support.shown import text_of

REPORTS = made_reports(Scene(validations=4))
DYING = made_reports(Scene(validations=4, dead=5, pull=0.0))


def one(reports: list[ExpertReport], router: str = "query/1") -> list[ExpertReport]:
    return [with_router(report, router) for report in reports]


def moment(store: MemoryStore, query: str, shown: list[dict[str, str]] | None = None) -> Any:
    return page.moment(store, CATALOG, query, "0", "light", shown or [])


def course(store: MemoryStore, query: str, shown: list[dict[str, str]] | None = None) -> Any:
    return page.course(store, query, "0", "light", shown or [])


def test_usage_is_a_row_per_expert_and_a_column_per_validation() -> None:
    heat = figures.usage(one(REPORTS), "light", "r").data[0]
    assert list(heat.x) == [50, 100, 150, 200]
    assert len(heat.z) == 6
    for column in range(4):
        assert sum(row[column] for row in heat.z) == pytest.approx(1)


def test_a_dead_expert_is_crossed_on_the_axis_and_from_its_death_on() -> None:
    figure = figures.usage(one(DYING), "light", "r")
    assert figure.layout.yaxis.ticktext[5] == "<b>✕ motorcycle</b> · unused"
    assert figure.layout.yaxis.ticktext[0] == "car"
    crossed = ["✕" in text for text in figure.data[0].text[5]]
    assert crossed == [False, True, True, True]
    assert not any("✕" in text for text in figure.data[0].text[0])


def test_many_validations_are_crossed_by_marks_instead_of_numbers() -> None:
    many = made_reports(Scene(validations=30, dead=5, pull=0.0, tokens=200))
    heat, marks = figures.usage(one(many), "light", "r").data
    assert heat.texttemplate is None
    assert set(marks.y) == {5}
    assert min(marks.x) == 600  # 40 % of 30 validations of 50 steps
    assert len(marks.x) == 19


def test_entropies_stand_under_their_bounds() -> None:
    figure = figures.entropies(one(REPORTS), "light", "r")
    assert [trace.name for trace in figure.data] == ["usage", "routing", "gate"]
    bounds = [shape.y0 for shape in figure.layout.shapes]
    assert bounds == pytest.approx([math.log(6), math.log(2)])
    assert max(figure.data[0].y) <= bounds[0]
    assert max(figure.data[2].y) <= bounds[1]


def test_balance_is_drawn_for_each_router_over_one() -> None:
    figure = figures.balance(REPORTS, "query/0", "light", "r")
    assert figure.data[-1].name == "queries, layer 0"
    assert {trace.name for trace in figure.data} == {
        "tokens", "queries, layer 0", "queries, layer 1",
    }  # fmt: skip
    assert figure.layout.shapes[0].y0 == 1
    assert min(min(trace.y) for trace in figure.data) > 0.99


def test_an_expert_has_one_colour_and_twelve_are_told_apart() -> None:
    val, train = (figures.losses(REPORTS, which, "light", "r") for which in ("val", "train"))
    colors = [[trace.line.color for trace in figure.data] for figure in (val, train)]
    assert colors[0] == colors[1]
    assert len({expert_style(expert) for expert in range(12)}) == 12


def test_parts_of_the_loss_add_up_and_those_per_object_do_not() -> None:
    parts = figures.losses(REPORTS, "val", "light", "r").data
    whole = sum(loss.total for loss in REPORTS[0].losses)
    assert sum(trace.y[0] for trace in parts) == pytest.approx(whole)
    each = figures.losses(REPORTS, "per_object", "light", "r")
    assert each.layout.yaxis.title.text == "Loss per object"
    assert sum(trace.y[0] for trace in each.data) > 2 * whole


def test_the_class_matrix_frames_who_is_in_charge_and_says_what_is_missing() -> None:
    report = made_reports(Scene(validations=1, absent=("bus",), final=False))[0]
    matrix = class_matrix(report)
    figure = matrices.weights(matrix, [report.per_class[n] for n in matrix.rows], [5], "dark", "r")
    assert figure.layout.yaxis.ticktext[2] == "bus · 0"
    assert figure.layout.xaxis.ticktext[5] == "<b>✕ motorcycle</b>"
    frames = [(round(shape.x0 + 0.47), round(shape.y0 + 0.45)) for shape in figure.layout.shapes]
    assert frames == [(i, i) for i in (0, 1, 3, 4, 5)]
    said = [note.text for note in figure.layout.annotations]
    assert "no objects" in said
    assert sum(text.startswith("AP ") for text in said) == 5


def test_a_difference_is_signed_around_nothing() -> None:
    figure = matrices.change(affinity_change(REPORTS[0], REPORTS[-1]), "light", "r")
    axis = figure.layout[CHANGE]
    assert axis.cmin == -axis.cmax
    assert figure.data[0].z[0][0] > 0
    assert HEAT not in figure.layout


def test_experts_alone_are_framed_at_home() -> None:
    matrix = solo_matrix(REPORTS[-1])
    assert matrix is not None
    figure = matrices.alone(matrix, [(0, 0)], "light", "r")
    assert figure.data[0].z[0][0] == figure.layout[HEAT].cmax
    assert len(figure.layout.shapes) == 1


def test_a_study_is_drawn_by_configuration_and_k() -> None:
    points = [
        TopKPoint(0, "a", "A", 1, 0.4, 1.2), TopKPoint(1, "b", "A", 2, 0.5, 1.4),
        TopKPoint(2, "c", "dense", 2, 0.55, 1.4), TopKPoint(3, "d", "A", 3, 0.6, None),
    ]  # fmt: skip
    figure = top_k(points, "val/mAP50-95", "light", "r")
    assert list(figure.data[0].x) == [1.2, 1.4]
    assert list(figure.data[1].marker.symbol) == ["diamond-open"]
    assert [t.name for t in figure.data[2:]] == ["top-1", "top-2", "top-3"]


def test_the_newest_run_with_experts_is_shown_unless_another_is_named() -> None:
    store = expert_store(2)
    picked = [moment(store, query)[2] for query in ("", "?runs=dense,experts-b", "?run=dead")]
    assert picked == ["training", "experts-b", "dead"]


def test_facts_never_call_even_usage_informative_where_all_are_chosen() -> None:
    store = expert_store(2)
    said = text_of(moment(store, "?run=all-of-three")[11])
    assert "not informative" in said
    assert "even by construction" in said
    assert "of ln 3" in said


def test_the_dense_twin_stands_beside_also_when_it_wins_and_is_asked_for_when_missing() -> None:
    store = expert_store(2)
    assert "not better than the dense model" in text_of(moment(store, "?run=experts-a")[11])
    store.run_list = [run for run in store.run_list if run.params["moe.experts"] != "dense"]
    said = text_of(moment(store, "?run=experts-a")[11])
    assert "not trained" in said
    assert "moe.experts=dense" in said


def test_an_unsupervised_router_is_said_to_be_one_and_its_dead_expert_named() -> None:
    said = text_of(moment(expert_store(2), "?run=dead")[11])
    assert "emergent" in said
    assert "motorcycle was never chosen" in said


def test_a_moment_is_a_step_or_the_final_evaluation() -> None:
    store = expert_store(3)
    steps = moment(store, "?run=experts-a")[10]
    assert [step["value"] for step in steps] == ["50", "100", "150", "final"]
    early, late = (moment(store, f"?run=experts-a{q}")[11] for q in ("&step=50", ""))
    assert text_of(early) != text_of(late)
    assert text_of(moment(store, "?run=experts-a&step=7")[11]) == text_of(late)


def test_matrices_are_made_once_and_then_redrawn() -> None:
    store = expert_store(2)
    first = moment(store, "?run=experts-a")
    shown = [
        {"name": f"{name} experts-a experts-a"}
        for name in ("sizes", "classes", "left", "right", "change")
    ]
    again = moment(store, "?run=experts-a&step=50", shown)
    assert text_of(first[12]).count('"type": "Graph"') == 2
    assert (again[12], again[13]) == (no_update, no_update)
    assert len(again[-1][0].data[0].z) == 3  # sizes come first on this screen
    other = moment(store, "?run=experts-a&other=experts-b", shown)
    assert other[-1] == [no_update] * 5
    assert "different experts" in text_of(other[14])


def test_new_validations_touch_nothing_but_data() -> None:
    store = expert_store(4)
    first = course(store, "?run=training")
    names = ("usage", "entropy", "balance", "purpose", "headline", "val", "train")
    shown = [{"name": f"{name} training"} for name in names]
    assert all(name in text_of(first[2]) for name in ("usage training", "train training"))
    reports = made_reports(Scene(validations=4, final=False, seed=6))
    add_expert_run(store, "training", "A", reports[:3])
    store.run_list.pop()
    empty, style, cards, patches = course(store, "?run=training", shown)
    assert (empty, style, cards) == (None, {}, no_update)
    assert all(isinstance(patch, Patch) for patch in patches)
    operations = json.loads(text_of(patches[0]))["operations"]
    assert not [o for o in operations if "range" in o["location"]]
    assert operations[0]["params"]["value"][0]["x"] == [50, 100, 150]


def test_the_study_is_told_once() -> None:
    store = expert_store(2)
    drawn, news = page.study(store, "?run=experts-a", "0", "light", None)
    assert "trial 4" in text_of(drawn)
    assert text_of(drawn).count("is not better than the dense model") == 3
    assert page.study(store, "?run=experts-a", "1", "light", news) == (no_update, no_update)
    store.study_list = []
    drawn, _ = page.study(store, "?run=experts-a", "2", "light", news)
    assert "assay study run moe_top_k" in text_of(drawn)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?run=dense", "dense has no experts"),
        ("?run=gone", "No run of this store is called 'gone'"),
        ("?run=young", "first has not ended yet"),
    ],
)
def test_a_run_without_reports_says_why(query: str, words: str) -> None:
    store = expert_store(2)
    young = store.run("experts-a").model_copy(update={"key": "young", "name": "young"})
    store.run_list.append(young)
    empty, style, _, figures_ = course(store, query, [{"name": "usage x"}])
    assert words in text_of(empty)
    assert "experts-b" in text_of(empty)
    assert (style, figures_) == ({"display": "none"}, [no_update])
    assert len(moment(store, query)) == len(moment(store, "?run=experts-a"))


def test_a_store_without_experts_says_how_to_train_some() -> None:
    assert "configs/train/moe_rtdetr.yaml" in text_of(course(MemoryStore(), "")[0])


def test_each_chain_reads_the_experts_of_a_run_once() -> None:
    class Counting(MemoryStore):
        reads = 0

        def experts(self, key: str) -> list[ExpertReport]:
            self.reads += 1
            return super().experts(key)

    store = Counting()
    vars(store).update(vars(expert_store(2)))
    for call in (course, moment):
        store.reads = 0
        call(store, "?run=experts-a")
        assert store.reads == 1
    store.reads = 0
    moment(store, "?run=experts-a&other=experts-b")
    assert store.reads == 2
