"""assay diagnose on finished, running, imported and lost runs, and assay check: what is printed,
and with which exit code."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from backend.cli import diagnosing
from backend.core.errors import AssayError, ConfigError, StoreError
from backend.core.events import (
    DataSurveyed,
    Envelope,
    Event,
    MetricsLogged,
    NonfiniteSeen,
    RunFinished,
    RunStarted,
)
from backend.core.evidence import DataFinding, DataSurvey, InputCensus
from backend.core.records import MetricSpec
from backend.core.sinks import JsonlSink
from backend.core.workdir import RunFile, WorkDir, write_atomic
from backend.tracking.home import Home

KEY = "20260101-000000-mdfed-0001"
HEADLINE = "val/edit"
STARTED = RunStarted(
    trainer="mdfed", epochs=4, headline=HEADLINE,
    metrics=(MetricSpec(name="edit", direction="maximize"),), data=(), environment={},
)  # fmt: skip
DONE = RunFinished(status="finished")
NAN = NonfiniteSeen(step=3, where="loss", name="mlc_loss", samples=("clip 7",))
CONFIG = {"kind": "mdfed", "data": "/rallies",
          "runner": {"optimizer": {"lr": {"all": 0.001}}, "clip": 0.0}}  # fmt: skip


def surveyed(found: int) -> DataSurveyed:
    census = InputCensus(
        split="train", what="skeleton files", expected=100, found=found, searched="/poses",
        missing=("a", "b"),
    )  # fmt: skip
    return DataSurveyed(survey=DataSurvey(inputs=(census,)))


def measured(step: int, value: float = 0.5) -> MetricsLogged:
    return MetricsLogged(step=step, epoch=step, metrics={HEADLINE: value})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.chdir(tmp_path)
    return Home(tmp_path / "mlruns")


def write(home: Home, *events: Event, config: dict[str, Any] | None = CONFIG) -> WorkDir:
    work = WorkDir(home.work_dir(KEY))
    work.path.mkdir(parents=True, exist_ok=True)
    run = RunFile(key=KEY, name="n", trainer="mdfed", trainer_entry="a:b", config_class="a:b",
                  created=1.0)  # fmt: skip
    write_atomic(work.run, run.model_dump_json())
    if config is not None:
        write_atomic(work.config, yaml.safe_dump(config))
    sink = JsonlSink(work.events)
    for number, event in enumerate(events):
        sink.receive(Envelope(seq=number, time=1.0 + number, event=event))
    sink.close()
    return work


def asked(home: Home, *arguments: str) -> Result:
    app = typer.Typer()
    diagnosing.register(app)

    @app.callback()
    def top(context: typer.Context) -> None:
        context.obj = home

    return CliRunner().invoke(app, ["diagnose", *arguments])


def told(home: Home, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(asked(home, KEY, "--json", *arguments).stdout)
    return found


def refused(result: Result) -> AssayError:
    assert isinstance(result.exception, AssayError)
    assert "\n" not in str(result.exception)
    return result.exception


def rules(found: Sequence[dict[str, Any]]) -> list[str]:
    return [one["rule"] for one in found]


@pytest.mark.parametrize(
    ("events", "code", "worst"),
    [
        ([surveyed(100), measured(1), DONE], 0, None),
        ([surveyed(99), measured(1), DONE], 4, "warning"),
        ([surveyed(90), measured(1), DONE], 5, "error"),
        ([surveyed(0), RunFinished(status="stopped", finding="D01")], 6, "stop"),
        ([surveyed(100), measured(1), NAN, RunFinished(status="failed")], 6, "stop"),
    ],
)
def test_the_exit_code_is_the_gravest_finding(
    home: Home, events: list[Event], code: int, worst: str | None
) -> None:
    write(home, STARTED, *events)
    assert asked(home, KEY).exit_code == code
    assert told(home)["worst"] in ({worst} if worst else {None, "info"})


def test_a_finding_is_told_with_numbers_cause_and_what_to_type(home: Home) -> None:
    write(home, STARTED, surveyed(90), measured(1), DONE)
    text = " ".join(asked(home, KEY).stdout.split())
    assert f"{KEY}: finished in epoch 1 of 4" in text
    assert "error: Input files are missing (D01, proven" in text
    assert "10 of 100 skeleton files of 'train' are missing in /poses" in text
    assert "skeletons.missing: error -> mask" not in text, "the config does not have the key"
    assert "not evaluated: " in text


def test_a_cause_that_the_headline_tells_is_not_told_again(home: Home) -> None:
    sentences = {"N4": "the detection database tells no classes.", "N6": "1 class is asked for."}
    found = [
        DataFinding(code=code, level="error", split="train", sentence=text)
        for code, text in sentences.items()
    ]
    survey = DataSurveyed(survey=DataSurvey(findings=tuple(found)))
    write(home, STARTED, survey, RunFinished(status="failed"))
    (finding,) = told(home)["findings"]
    assert finding["cause"] == "N4 (train): the detection database tells no classes"
    text = " ".join(asked(home, KEY).stdout.split())
    assert text.count(finding["cause"]) == 2, "the verdict and the finding"
    assert "cause:" not in text


def test_the_action_is_a_difference_of_this_runs_config(home: Home) -> None:
    write(home, STARTED, surveyed(100), measured(1), NAN, RunFinished(status="failed"))
    (finding,) = [f for f in told(home)["findings"] if f["rule"] == "B06"]
    changes = {c["key"]: (c["now"], c["proposed"]) for c in finding["action"]["changes"]}
    assert changes["runner.optimizer.lr.all"] == (0.001, 0.0001)
    command = f"assay train mlruns/work/{KEY}/config.yaml --set runner.optimizer.lr.all=0.0001"
    assert finding["action"]["command"].startswith(command)
    text = " ".join(asked(home, KEY).stdout.split())
    assert "runner.optimizer.lr.all: 0.001 -> 0.0001" in text
    assert command in text


def test_json_has_every_finding_and_every_rule_that_was_not_evaluated(home: Home) -> None:
    write(home, STARTED, surveyed(90), measured(1))
    found = told(home)
    assert (found["run"], found["where"]) == (KEY, "training, epoch 1 of 4")
    assert {"rule", "severity", "headline", "evidence", "action"} <= found["findings"][0].keys()
    said = {*rules(found["findings"]), *rules(found["also_seen"]), *found["clear"],
            *rules(found["not_evaluated"])}  # fmt: skip
    assert said == {*(f"D0{n}" for n in range(1, 7)), *(f"B{n:02d}" for n in range(1, 21))}, (
        "rules for trackers are silent where there is none"
    )
    assert all(one["reason"] for one in found["not_evaluated"])


def test_one_rule_may_be_asked_for(home: Home) -> None:
    write(home, STARTED, surveyed(90), measured(1), DONE)
    found = told(home, "--rule", "d01")
    assert (rules(found["findings"]), found["clear"], found["not_evaluated"]) == (["D01"], [], [])
    quiet = asked(home, KEY, "--rule", "B14")
    assert quiet.exit_code == 0, "by that rule alone"
    assert "B14" in quiet.stdout
    assert "D01" not in quiet.stdout.partition("\n\n")[2]
    assert str(refused(asked(home, KEY, "--rule", "B99"))).startswith("no rule 'B99'; there is: B")
    assert isinstance(asked(home, KEY, "--rule", "B99").exception, ConfigError)


def test_a_running_run_and_its_files_say_the_same(home: Home) -> None:
    work = write(home, STARTED, surveyed(90), measured(1))
    by_key = asked(home, KEY).stdout
    assert by_key == asked(home, str(work.path)).stdout == asked(home, str(work.events)).stdout
    assert "training, epoch 1 of 4" in by_key


def test_a_run_without_a_config_is_judged_and_proposes_nothing_to_type(home: Home) -> None:
    write(home, STARTED, surveyed(100), measured(1), NAN, DONE, config=None)
    (finding,) = [f for f in told(home)["findings"] if f["rule"] == "B06"]
    assert finding["action"]["advice"]
    assert (finding["action"]["changes"], finding["action"]["command"]) == ([], "")


def test_a_damaged_config_is_a_sentence(home: Home) -> None:
    work = write(home, STARTED, measured(1), DONE)
    work.config.write_text("a: [b")
    assert str(refused(asked(home, KEY))) == f"{work.config}: damaged (not YAML)"


def test_unknown_runs_are_a_sentence(home: Home, tmp_path: Path) -> None:
    write(home, STARTED)
    assert "no run 'nobody'" in str(refused(asked(home, "nobody")))
    assert isinstance(asked(home, str(tmp_path)).exception, StoreError)


def test_a_log_with_nothing_in_it_has_every_rule_not_evaluated(home: Home) -> None:
    write(home)
    found = told(home)
    assert found["findings"] == found["clear"] == []
    assert len(found["not_evaluated"]) == 34
