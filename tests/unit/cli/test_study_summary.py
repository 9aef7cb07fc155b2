"""What `assay study show` prints of a study."""

import io
import json

from rich.console import Console

from backend.cli.study import summary
from backend.core.records import StudyRecord, TrialRecord
from tests.support.fronts import DOWN, TRIALS, UP, made


def printed(record: StudyRecord) -> list[str]:
    file = io.StringIO()
    console = Console(width=200, file=file, highlight=False)
    for thing in summary(record, {}):
        console.print(thing)
    return file.getvalue().splitlines()


def test_the_front_has_a_table_of_its_own() -> None:
    lines = printed(made())
    heads = [line for line in lines if line.strip().startswith("study both")]
    assert [head.split(",")[1].split(":")[0].strip() for head in heads] == [
        "Pareto front", "the rest",
    ]  # fmt: skip
    numbers = [line.split("│")[0].strip() for line in lines if "│" in line]
    assert numbers == ["2", "5", "1", "4", "0", "3", "6", "8", "7"]
    assert any("0.5500" in line and "0.1500" in line for line in lines)
    assert f"importance for {UP}: freeze.strategy 70%, runner.optimizer.lr.all 30%" in lines
    assert f"importance for {DOWN}: runner.optimizer.lr.all 80%, freeze.strategy 20%" in lines


def test_without_a_front_it_says_so() -> None:
    young = made().model_copy(update={"trials": (TRIALS[7],), "front": ()})
    assert "No trial has all values yet, so there is no front." in printed(young)


def test_one_objective_is_one_table() -> None:
    trials = [
        TrialRecord(number=n, state="complete", value=value, params={"lr": 0.1}, run=f"run-{n}")
        for n, value in enumerate((0.2, 0.6))
    ]
    record = StudyRecord(
        name="one", metric="val/mAP", direction="maximize", target=2, trials=tuple(trials),
        importances={"lr": 1.0}, best=1,
    )  # fmt: skip
    lines = printed(record)
    assert "study one: val/mAP, maximize" in lines[0]
    assert [line.split("│")[0].strip() for line in lines if "│" in line] == ["1", "0"]
    assert "importance: lr 100%" in lines


def test_a_record_of_before_is_read() -> None:
    old = {
        "name": "old", "metric": "val/mAP", "direction": "maximize", "target": 1,
        "trials": [{"number": 0, "state": "complete", "value": 0.5, "params": {}, "run": "r"}],
        "importances": None, "best": 0,
    }  # fmt: skip
    found = StudyRecord.model_validate_json(json.dumps(old))
    assert (found.objectives, found.front, found.trials[0].values) == ((), (), ())
    assert [(aim.metric, aim.direction) for aim in found.aims] == [("val/mAP", "maximize")]
    assert found.picked == (0,)
