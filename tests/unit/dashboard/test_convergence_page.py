"""The page *Convergence* without a browser: what its callbacks say and draw."""

from typing import Any

import pytest
from dash import Patch, no_update

from backend.catalog import CATALOG
from dashboard.app import find_page
from dashboard.pages import convergence as page
from dashboard.pages.convergence_charts import finding_figures
from dashboard.pages.convergence_data import MOST_RUNS, scope_of, subject_of
from dashboard.view import View
from tests.support.convergence_runs import add_made, converged, convergence_store
from tests.support.evidence_made import healthy
from tests.support.memory_store import MemoryStore
from tests.support.shown import text_of

STORE = convergence_store()


def judge(store: MemoryStore, query: str, known: Any = None, shown: Any = ()) -> Any:
    return page.judge(store, query, "0", "light", known, shown)


def course(store: MemoryStore, query: str, shown: Any = ()) -> Any:
    return page.course(store, query, "0", "light", shown)


def names_in(children: Any, group: str) -> list[str]:
    """The names of the graphs of a group in a tree, without their runs."""
    found: list[str] = []

    def walk(node: Any) -> None:
        if isinstance(node, list | tuple):
            for child in node:
                walk(child)
        elif hasattr(node, "to_plotly_json"):
            id_ = getattr(node, "id", None)
            if isinstance(id_, dict) and id_.get("group") == group:
                found.append(id_["name"].split(" ")[0])
            walk(getattr(node, "children", None))

    walk(children)
    return found


def test_it_has_an_address() -> None:
    assert isinstance(find_page("/convergence"), page.ConvergencePage)


def test_runs_are_the_selected_ones_the_named_one_or_the_newest() -> None:
    runs = STORE.runs()
    picked = [scope_of(runs, View.parse(query)) for query in
              ("?runs=zeros,cured", "?runs=zeros,cured&run=cured", "?run=young", "")]  # fmt: skip
    assert [one.focus.key for one in picked if one] == ["zeros", "cured", "young", "healthy"]
    assert [len(one.runs) for one in picked if one] == [2, 2, 1, 1]
    assert scope_of(runs, View.parse("?runs=gone")) is None
    assert scope_of([], View.parse("")) is None


def test_runs_that_are_gone_are_named_and_others_shown() -> None:
    summary = text_of(judge(STORE, "?runs=zeros,gone")[0])
    assert "not found in this store: gone" in summary


def test_of_too_many_runs_the_focus_is_kept() -> None:
    store = MemoryStore()
    for number in range(MOST_RUNS + 2):
        add_made(store, f"run-{number}", healthy(2), None, number)
    keys = ",".join(f"run-{number}" for number in range(MOST_RUNS + 2))
    scope = scope_of(store.runs(), View.parse(f"?runs={keys}&run=run-9"))
    assert scope is not None
    assert (len(scope.runs), scope.more, scope.focus.key) == (MOST_RUNS, 2, "run-9")
    assert scope.focus in scope.runs


def test_a_finding_shows_what_was_seen_why_and_the_fix() -> None:
    *_, lines, findings, _, _ = judge(STORE, "?runs=zeros")
    assert "Not learning: 160 of 160 skeleton files are all zeros." in text_of(lines)
    said = text_of(findings)
    for words in (
        "D02", "before the first step", "proven by the evidence", "clips that are all zeros",
        "0.4093", "0.3990", "skeletons.missing", "zeros", "error", "not set", "data/poses",
        "--set skeletons.pose_dir=data/poses", "Copy the command",
        "explained by this", "Edit, F1 event, element and LCL were 0",
        "assay study run sweep --config config.yaml --over loss.fg_weight=5,10,26.7,30",
        "3 rules not evaluated, and why", "no comparison is stored",
        "8 rules looked and found nothing",
    ):  # fmt: skip
        assert words in said, words
    assert said.index('"D02"') < said.index('"D04"')


def test_a_cause_is_not_told_again_below_a_headline_that_tells_it() -> None:
    store = convergence_store()
    was = store.diagnoses["zeros"]
    told = was.findings[0].model_copy(update={"cause": "N4: no classes"})
    for headline, times in (("Something else.", 1), ("N4: no classes; N6: one class.", 0)):
        finding = told.model_copy(update={"headline": headline})
        store.diagnoses["zeros"] = was.model_copy(update={"findings": (finding,)})
        said = text_of(judge(store, "?runs=zeros")[-3])
        assert said.count("Cause: ") == times


def test_the_curves_of_a_finding_have_their_levels_and_its_step() -> None:
    subject = subject_of(STORE, View.parse("?runs=zeros"))
    assert subject is not None
    drawn = finding_figures(subject, "light")
    assert list(drawn) == ["0/val/loss", "0/val/mlc_loss", "0/val/lcl_loss"]
    assert [trace.name for trace in drawn["0/val/loss"].data[1:]] == [
        "untrained 1.386", "constant 0.815", "position 0.762",
    ]  # fmt: skip
    explained = drawn["0/val/mlc_loss"]  # of B03, which D02 explains
    assert explained.layout.shapes[0].x0 == 150
    assert explained.layout.annotations[0].text == "B03"


def test_a_run_that_was_never_looked_at_says_how_to() -> None:
    *_, lines, findings, _, _ = judge(STORE, "?runs=unseen")
    assert "Not looked at yet." in text_of(lines)
    assert "assay diagnose unseen" in text_of(findings)


def test_a_run_without_findings_says_how_many_rules_looked() -> None:
    assert "No rule fired: 3 rules looked" in text_of(judge(STORE, "?runs=young")[6])


def test_findings_stay_while_they_are_the_same_and_their_curves_grow() -> None:
    store = convergence_store()
    first = judge(store, "?runs=healthy")
    news = first[7]
    shown = [{"name": name + " healthy"} for name in names_in(first[6], "shown")]
    assert shown == [{"name": "0/val/edit healthy"}]
    store.extend("healthy", "val/edit", 625, 90.0)
    again = judge(store, "?runs=healthy", news, shown)
    assert again[6] is no_update
    assert isinstance(again[8][0], Patch)
    store.diagnoses["healthy"] = converged().model_copy(update={"findings": ()})
    other = judge(store, "?runs=healthy", news, shown)
    assert "No rule fired" in text_of(other[6])
    assert other[8] == [no_update]


def test_several_runs_have_a_line_each_that_leads_to_their_details() -> None:
    lines = text_of(judge(STORE, "?runs=zeros,cured&run=zeros")[5])
    assert "runs=zeros,cured&run=cured" in lines
    assert "Remove zeros" in lines
    assert "Remove" not in text_of(judge(STORE, "?runs=zeros")[5])


def test_the_picker_knows_all_runs_and_those_on_screen() -> None:
    _, _, _, options, picked, *_ = judge(STORE, "?runs=zeros,cured")
    assert len(options) == len(STORE.run_list)
    assert picked == ["zeros", "cured"]


@pytest.mark.parametrize(
    ("store", "query", "words"),
    [
        (STORE, "?runs=gone", "No run of this store is called 'gone'"),
        (MemoryStore(), "", "assay demo mdfed"),
    ],
)
def test_without_a_run_the_page_says_what_to_do(
    store: MemoryStore, query: str, words: str
) -> None:
    _, empty, style, *_ = judge(store, query)
    assert words in text_of(empty)
    assert style == {"display": "none"}
    assert course(store, query) == ({"display": "none"}, None, None, [])
    assert page.tables(store, CATALOG, query, "0") is None
    assert page.moment(store, query, "0", "light", [])[0] == {"display": "none"}


def test_a_whole_run_has_all_charts() -> None:
    drawn = names_in(course(STORE, "?runs=cured"), "courses")
    assert drawn == [
        "course", "headline", "loss/lcl_loss", "loss/mlc_loss", "gap", "norm", "mean_abs",
        "update", "grad_norm", "clipped", "scores/event", "auroc",
    ]  # fmt: skip


def test_new_points_touch_nothing_but_data() -> None:
    store = convergence_store()
    shown = [{"name": f"{name} young"} for name in names_in(course(store, "?runs=young"),
                                                           "courses")]  # fmt: skip
    store.extend("young", "val/loss", 150, 0.3)
    _, cards, panels, figures = course(store, "?runs=young", shown)
    assert (cards, panels) == (no_update, no_update)
    assert all(isinstance(figure, Patch) for figure in figures)
    assert course(store, "?runs=zeros", shown)[3] == [no_update] * len(shown)


def test_an_imported_run_shows_its_curves_and_one_line_for_the_rest() -> None:
    drawn = names_in(course(STORE, "?runs=elsewhere"), "courses")
    assert drawn == ["course", "headline", "loss/loss_bbox", "loss/loss_cls"]
    said = text_of(page.tables(STORE, CATALOG, "?runs=elsewhere", "0"))
    assert "Others trained this run: its curves are all there is." in said
    assert "assay epochs elsewhere" in said
    assert "What moved" not in said
    assert page.moment(STORE, "?runs=elsewhere", "0", "light", [])[0] == {"display": "none"}


def test_a_run_stopped_before_its_first_step_has_findings_only() -> None:
    assert course(STORE, "?runs=before-step-1")[0] == {"display": "none"}
    beside = course(STORE, "?runs=before-step-1,elsewhere")
    assert names_in(beside, "courses") == ["course", "loss/loss_bbox", "loss/loss_cls"]
    said = text_of(page.tables(STORE, CATALOG, "?runs=before-step-1", "0"))
    assert "Curves and which epoch to ship, gradients and updates" in said
    assert "Input files are missing" in text_of(judge(STORE, "?runs=before-step-1")[6])


def test_a_run_that_observed_nothing_says_which_key_does() -> None:
    store = MemoryStore()
    bare = healthy(3).replace(plan=None, survey=None, observers=(), extra=())
    add_made(store, "bare", bare, None, 1)
    assert "diagnostics.observe: false" in text_of(page.tables(store, CATALOG, "", "0"))


def test_the_table_of_epochs_names_the_candidates_and_how_to_look_closer() -> None:
    said = text_of(page.tables(STORE, CATALOG, "?runs=cured", "0"))
    for words in ("best by the headline metric", "lowest validation loss", "within noise",
                  "assay epochs cured", "val/edit, higher is better"):  # fmt: skip
        assert words in said
    flat = text_of(page.tables(STORE, CATALOG, "?runs=zeros", "0"))
    assert "it cannot tell one from another" in flat


def test_an_unused_input_is_said_to_be_unused() -> None:
    assert "not used" in text_of(page.tables(STORE, CATALOG, "?runs=zeros", "0"))
    assert "not used" not in text_of(page.tables(STORE, CATALOG, "?runs=cured", "0"))


def test_what_moved_is_marked_where_it_should_not_have() -> None:
    store = convergence_store()
    event = next(e for e in reversed(store.told["cured"]) if e.type == "MovementObserved")
    frozen = event.groups[0].model_copy(update={"planned": "frozen", "changed": 2})
    moved = event.model_copy(update={
        "groups": (frozen, *event.groups[1:]), "thawed": ("encoder.bn.running_mean",),
        "training": ("teacher",),
    })  # fmt: skip
    store.told["cured"] = (*store.told["cured"], moved)
    said = text_of(page.tables(store, CATALOG, "?runs=cured", "0"))
    assert "moved, though it is frozen" in said
    assert "planned as frozen, but changed: encoder.bn.running_mean" in said
    assert "frozen, but in training mode: teacher" in said


def test_labels_and_predictions_are_of_a_validation_or_the_last() -> None:
    style, steps, notes, cards, _ = page.moment(STORE, "?runs=cured", "0", "light", [])
    assert style == {}
    assert [steps[0]["value"], steps[-1]["label"]] == ["25", "step 600"]
    assert names_in(cards, "labels") == ["labels/event", "labels/elements"]
    assert "background is 96.1 % of the truth" in text_of(notes)
    shown = [{"name": "labels/event cured"}, {"name": "labels/elements cured"}]
    early = page.moment(STORE, "?runs=cured&step=25", "0", "light", shown)
    assert early[3] is no_update
    assert all(isinstance(figure, Patch) for figure in early[4])
    assert text_of(early[2]) != text_of(notes)


def test_each_chain_reads_the_evidence_of_a_run_once() -> None:
    class Counting(MemoryStore):
        reads = 0

        def evidence(self, key: str) -> Any:
            self.reads += 1
            return super().evidence(key)

    store = Counting()
    vars(store).update(vars(convergence_store()))
    course(store, "?runs=zeros,cured")
    assert store.reads == 2
