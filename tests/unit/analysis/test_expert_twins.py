"""Experts beside the dense model of the same cost: in runs and in studies."""

import shlex
from pathlib import Path
from typing import Any

import pytest

from backend.analysis.experts import (
    DenseTwin,
    against_dense,
    beside_dense,
    dense_twin,
    gflops_by_run,
    gflops_of,
)
from backend.analysis.findings import other_findings
from backend.analysis.report.study import Search, document, remarks_of
from backend.config.compose import parse_overrides
from backend.core.records import Run, StudyRecord, TrialRecord
from backend.trainers.moe_rtdetr.spec import MoeRtDetrConfig


def run(key: str, score: float | None, /, status: str = "finished", **settings: Any) -> Run:
    """A run of a real config; ``settings`` with __ for a dot."""
    config = MoeRtDetrConfig(data=Path("/d.yaml")).replace(
        {name.replace("__", "."): value for name, value in settings.items()}
    )
    return Run.model_validate(
        {
            "key": key, "mlflow_run_id": key, "name": key, "trainer": "moe_rtdetr",
            "status": status, "started": 1.0, "headline": "val/mAP50-95",
            "params": config.flat(), "work_dir": f"/w/{key}",
            "best": {} if score is None else {"val/mAP50-95": score},
        }
    )  # fmt: skip


def dense(key: str, score: float | None, /, status: str = "finished", **settings: Any) -> Run:
    return run(key, score, status, moe__experts="dense", **settings)


def twin(of: Run, *others: Run) -> DenseTwin:
    found = dense_twin(of, [of, *others])
    assert found is not None
    return found


def test_the_twin_shares_everything_but_what_only_experts_have() -> None:
    mine = run("a", 0.5, moe__load_balance_weight=0.3, moe__route_sup=0.0, runner__workers=4,
               name="mine")  # fmt: skip
    found = twin(mine, dense("far", 0.9, epochs=7), dense("d", 0.4, name="other", analyze="never"))
    assert found.run is not None
    assert (found.run.key, found.differs, found.fair, found.better) == ("d", (), True, True)
    assert "are better than the dense model of the same cost: val/mAP50-95 0.5000 " in found.said
    assert "against 0.4000 (+0.1000, run d)" in found.said
    assert found.said.endswith("assay compare d a")


@pytest.mark.parametrize(("score", "better"), [(0.6, False), (0.5, False), (0.4, True)])
def test_a_dense_model_that_wins_or_draws_is_reported_too(score: float, better: bool) -> None:
    found = twin(run("a", 0.5), dense("d", score))
    assert found.better is better
    assert ("are not better than" in found.said) is not better


def test_cost_is_top_k_times_width_not_either_alone() -> None:
    mine = run("a", 0.5, moe__top_k=2, moe__hidden=256)
    assert twin(mine, dense("d", 0.4, moe__top_k=1, moe__hidden=512)).fair
    wide = twin(mine, dense("d", 0.4, moe__top_k=2, moe__hidden=512))
    assert wide.differs == ("moe.top_k x moe.hidden",)
    assert "(512 → 1024)" in wide.said


def test_another_seed_is_fair_and_said() -> None:
    found = twin(run("a", 0.5), dense("d", 0.4, seed=3))
    assert (found.fair, found.differs) == (True, ("seed",))
    assert "run d, of another seed)" in found.said
    assert twin(run("a", 0.5), dense("d", 0.4, seed=3), dense("e", 0.4)).run == dense("e", 0.4)


def test_other_settings_are_not_fair_and_the_command_is_given() -> None:
    found = twin(run("a", 0.5), dense("d", 0.9, epochs=3, model__image_size=(320, 320)))
    assert (found.fair, found.better) == (False, None)
    assert "epochs (50 → 3)" in found.said
    assert "model.image_size" in found.said
    assert "assay train /w/a/config.yaml --set moe.experts=dense" in found.said


def test_many_differences_are_not_all_listed() -> None:
    changes: dict[str, Any] = {
        "epochs": 3,
        "seed": 1,
        "new_lr": 0.5,
        "scratch_lr": 0.5,
        "conf": 0.5,
        "max_det": 7,
    }
    assert twin(run("a", 0.5), dense("d", 0.9, **changes)).said.count("→") == 5
    assert " and 1 more" in twin(run("a", 0.5), dense("d", 0.9, **changes)).said


@pytest.mark.parametrize("status", ["running", "failed", "stopped"])
def test_without_a_finished_dense_run_the_command_is_given(status: str) -> None:
    mine = run("a", 0.5, name="my run")
    found = twin(mine.model_copy(update={"name": "my run"}), dense("d", 0.9, status))
    assert found.run is None
    assert found.said.startswith("No finished dense run of the same cost stands beside it; train")


def test_the_command_makes_the_twin() -> None:
    """What it sets is accepted by the config, also for groups of one's own."""
    groups = {"moe.experts": "custom", "moe.groups": {"dogs": ["dog"]}, "classes": ["dog"],
              "moe.top_k": 1}  # fmt: skip
    config = MoeRtDetrConfig(data=Path("/d.yaml")).replace(groups)
    mine = run("a", 0.5).model_copy(update={"params": config.flat(), "name": "dogs & more/3"})
    words = shlex.split(twin(mine).said.partition("train one: ")[2])
    assert words[:3] == ["assay", "train", "/w/a/config.yaml"]
    made = config.replace(parse_overrides(words[4::2]))
    assert (made.moe.experts, made.moe.groups, made.name) == ("dense", {}, "dogs & more/3-dense")
    other = mine.model_copy(update={"key": "d", "params": made.flat()})
    assert twin(mine, other).fair, "what the command trains is the twin"


def test_a_run_without_experts_has_no_twin() -> None:
    assert dense_twin(dense("d", 0.5), []) is None
    assert dense_twin(run("a", 0.5).model_copy(update={"params": {}}), []) is None


def test_an_unknown_headline_is_no_verdict() -> None:
    found = twin(run("a", None), dense("d", 0.5))
    assert (found.fair, found.better) == (True, None)


def test_costs_are_told_where_both_are_known() -> None:
    mine = run("a", 0.5).model_copy(update={"metrics": {"cost/gflops": 60.25}})
    other = dense("d", 0.4)
    assert "GFLOP" not in twin(mine, other).said
    known = other.model_copy(update={"best": {**other.best, "cost/gflops": 60.0}})
    assert "at 60.250 and 60.000 GFLOP per image" in twin(mine, known).said
    assert gflops_by_run([mine, other, known]) == {"a": 60.25, "d": 60.0}
    assert gflops_of(other) is None


def test_experts_that_are_not_better_are_a_finding() -> None:
    (found,) = (f for f in other_findings([], dense=twin(run("a", 0.5), dense("d", 0.6)))
                if f.rule != "no-record")  # fmt: skip
    assert (found.rule, found.severity) == ("experts-not-better", "info")
    assert "moe.experts: dense" in found.action
    for twin_ in (twin(run("a", 0.5), dense("d", 0.4)), twin(run("a", 0.5)), None):
        assert "experts-not-better" not in {f.rule for f in other_findings([], dense=twin_)}


def study(*values: tuple[str, int, float | None], **changes: Any) -> StudyRecord:
    trials = tuple(
        TrialRecord(number=n, state="failed" if value is None else "complete", value=value,
                    params={"moe.experts": letter, "moe.top_k": k}, run=f"r{n}")
        for n, (letter, k, value) in enumerate(values)
    )  # fmt: skip
    made = StudyRecord(name="moe_top_k", metric="val/mAP50-95", direction="maximize", target=12,
                       trials=trials, best=1)  # fmt: skip
    return made.model_copy(update=changes)


def test_a_study_tells_of_each_top_k_who_won_and_what_it_costs() -> None:
    made = study(
        *(("dense", 1, 0.5), ("A", 1, 0.6), ("B", 1, 0.55)),
        *(("dense", 2, 0.7), ("A", 2, 0.6), ("C", 2, None), ("A", 3, 0.9)),
    )
    assert [(p.k, p.experts.number, p.dense.number) for p in beside_dense(made)] == [
        (1, 1, 0), (2, 4, 3),
    ]  # fmt: skip
    first, second = against_dense(made, {"r0": 60.0, "r1": 60.25})
    assert first == (
        "At top-k 1 the best with experts (A, 0.6000 at 60.2 GFLOP) is better than the dense "
        "model of the same cost (0.5000 at 60 GFLOP), one run each"
    )
    assert "(A, 0.6000) is not better than the dense model of the same cost (0.7000)" in second


def test_in_a_study_that_minimises_less_is_better() -> None:
    made = study(("dense", 1, 0.5), ("A", 1, 0.6), ("B", 1, 0.4), direction="minimize")
    (pair,) = beside_dense(made)
    assert pair.experts.number == 2
    assert "is better than" in against_dense(made, {})[0]


def test_the_studys_report_has_a_column_of_costs_and_the_dense_comparison() -> None:
    made = study(("dense", 1, 0.5), ("A", 1, 0.6))
    search = Search(made, gflops={"r0": 60.0, "r1": 61.5})
    text = document(search).markdown()
    assert "| GFLOP per image |" in text
    assert "| 61.50 |" in text
    remarks = {remark.rule: remark.said for remark in remarks_of(search)}
    assert remarks["dense"].startswith("At top-k 1 the best with experts (A, ")
    assert "no-plain" not in remarks, "it is no search over freezing"
    assert "GFLOP" not in document(Search(made)).markdown()
