"""assay experts and assay study show where MLflow knows the runs: the dense model beside them."""

import json
import shutil
from pathlib import Path

import typer
import yaml
from typer.testing import CliRunner

from backend import report as reports
from backend.cli import experts
from backend.cli.study import costs, summary
from backend.core.events import (
    CheckpointSaved,
    Evaluated,
    Event,
    ExpertsObserved,
    MetricsLogged,
    RunFinished,
)
from backend.core.records import StudyRecord, TrialRecord
from backend.tracking.home import Home
from backend.tracking.store import MlflowStore
from backend.tracking.writer import MlflowSink, log_study
from backend.trainers.moe_rtdetr.spec import MoeRtDetrConfig
from tests.support.expert_reports import report
from tests.support.scripted_run import (
    evaluated,
    make_work,
    save_checkpoint,
    started,
    write_events,
)

MOE, DENSE = "20260101-000000-moe-0001", "20260102-000000-moe-0002"


def log(home: Home, key: str, score: float, gflops: float, letter: str) -> None:
    """A finished run of the real config, with a validation and a final evaluation."""
    work = make_work(home, key)
    config = MoeRtDetrConfig(data=Path("/d.yaml")).replace({"moe.experts": letter})
    work.config.write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    saved = save_checkpoint(work, 1, score)
    seen = report(step=saved.step)
    events: list[Event] = [
        started(),
        MetricsLogged(step=0, epoch=0, metrics={"cost/gflops": gflops}),
    ]
    events += [MetricsLogged(step=saved.step, epoch=1, metrics=dict(saved.metrics))]
    events += [ExpertsObserved(report=seen)] if letter != "dense" else []
    events += [CheckpointSaved(checkpoint=saved, best=True)]
    final: Evaluated = evaluated(work, 1)
    events += [final]
    if letter != "dense":
        solo = seen.model_copy(update={"solo_ap": ((0.4, 0.1), (0.2, 0.3))})
        events += [ExpertsObserved(report=solo, final=True)]
    sink = MlflowSink(home, work.path)
    for envelope in write_events(work, [*events, RunFinished(status="finished")]):
        sink.receive(envelope)
    sink.close()


def printed(home: Home, *arguments: str) -> str:
    app = typer.Typer()
    experts.register(app)
    done = CliRunner().invoke(app, list(arguments), obj=home)
    assert done.exception is None, done.exception
    return done.output


def test_the_dense_model_stands_beside_the_experts_also_when_it_wins(home: Home) -> None:
    log(home, MOE, 0.5, 60.25, "A")
    text = printed(home, MOE)
    assert (
        "No finished dense run of the same cost stands beside it; train one: assay train" in text
    )
    log(home, DENSE, 0.6, 60.0, "dense")
    text = printed(home, MOE)
    assert "The experts are not better than the dense model of the same cost" in text
    assert (
        f"0.5000 against 0.6000 at 60.250 and 60.000 GFLOP per image (−0.1000, run {DENSE})"
        in text
    )
    found = json.loads(printed(home, MOE, "--json"))["dense"]
    assert (found["run"], found["experts_better"], found["differs"]) == (DENSE, False, [])

    made = reports.make(home, MlflowStore(home), MOE)
    assert "not better than the dense model" in made.document.markdown()

    beside = "".join(str(one) for one in experts.tables(MlflowStore(home), MOE))
    assert "are not better than the dense model" in beside

    shutil.rmtree(home.work_dir(MOE))
    text = printed(home, MOE)
    assert "its work directory is gone, so this is MLflow's" in text
    assert "alone at home 0.350" in text
    assert "are not better than the dense model" in text


def test_a_work_directory_is_known_by_any_way_to_it(home: Home, tmp_path: Path) -> None:
    log(home, MOE, 0.5, 60.25, "A")
    log(home, DENSE, 0.6, 60.0, "dense")
    link = tmp_path / "mine"
    link.symlink_to(home.work_dir(MOE))
    text = printed(home, str(link))
    assert text.startswith(f"{MOE}: finished")
    assert "are not better than the dense model" in text
    copy = tmp_path / "copy.jsonl"
    shutil.copyfile(link / "events.jsonl", copy)
    assert printed(home, str(copy)).startswith("copy.jsonl: finished")


def test_a_study_shows_what_an_image_costs(home: Home) -> None:
    log(home, MOE, 0.5, 60.25, "A")
    log(home, DENSE, 0.6, 60.0, "dense")
    trials = tuple(
        TrialRecord(number=n, state="complete", value=value, run=run,
                    params={"moe.experts": letter, "moe.top_k": 2})
        for n, (run, letter, value) in enumerate(((DENSE, "dense", 0.6), (MOE, "A", 0.5)))
    )  # fmt: skip
    study = StudyRecord(name="top-k", metric="val/mAP50-95", direction="maximize", target=2,
                        trials=trials, best=0)  # fmt: skip
    log_study(home, study)
    shown = summary(study, costs(home))
    assert any(
        "At top-k 2 the best with experts (A, 0.5000 at 60.2 GFLOP)" in str(s) for s in shown
    )
    text = reports.make(home, MlflowStore(home), "top-k").document.markdown()
    assert "| GFLOP per image |" in text
    assert "is not better than the dense model of the same cost (0.6000 at 60 GFLOP)" in text
