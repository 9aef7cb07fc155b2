"""assay experts on running, finished, torn and empty logs, and what it prints."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from backend.cli import _experts_tables, experts
from backend.core.errors import StoreError
from backend.core.events import (
    Envelope,
    Event,
    ExpertsObserved,
    MetricsLogged,
    RunFinished,
    RunStarted,
)
from backend.core.experts import ExpertReport
from backend.core.sinks import JsonlSink
from backend.core.workdir import RunFile, WorkDir, write_atomic
from backend.tracking.home import Home
from tests.support.expert_reports import report, router

KEY = "20260101-000000-moe-0001"
STARTED = RunStarted(
    trainer="moe_rtdetr", epochs=4, headline="val/mAP50-95", metrics=(), data=(), environment={}
)
DONE = RunFinished(status="finished")
DEAD = (router("token", 1.0, 0.0), router("query/0", 0.6, 0.4))
SOLO = report(step=10, solo_ap=((0.4, 0.1), (0.2, 0.3)))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def write(home: Home, events: Sequence[Event], key: str = KEY) -> WorkDir:
    """A work directory with these events."""
    work = WorkDir(home.work_dir(key))
    work.path.mkdir(parents=True, exist_ok=True)
    made = RunFile(key=key, name=key, trainer="moe_rtdetr", trainer_entry="a:b",
                   config_class="a:b", created=1.0)  # fmt: skip
    write_atomic(work.run, made.model_dump_json())
    sink = JsonlSink(work.events)
    for number, event in enumerate(events):
        sink.receive(Envelope(seq=number, time=1.0 + number, event=event))
    sink.close()
    return work


def told(*reports: ExpertReport, final: ExpertReport | None = None) -> list[Event]:
    events: list[Event] = [STARTED]
    for one in reports:
        metrics = {"val/mAP50-95": 0.1}
        events += [MetricsLogged(step=one.step, epoch=one.epoch, metrics=metrics),
                   ExpertsObserved(report=one)]  # fmt: skip
    return [*events, *([ExpertsObserved(report=final, final=True)] if final else [])]


def asked(home: Home, *arguments: str) -> Result:
    app = typer.Typer()
    experts.register(app)
    return CliRunner().invoke(app, list(arguments), obj=home)


def printed(home: Home, *arguments: str) -> str:
    done = asked(home, *arguments)
    assert done.exception is None, done.exception
    return done.output


def refused(home: Home, *arguments: str) -> str:
    done = asked(home, *arguments)
    assert isinstance(done.exception, StoreError), done.exception
    assert "\n" not in str(done.exception)
    return str(done.exception)


def rows(text: str, start: str) -> list[list[str]]:
    """The cells of the lines that start so."""
    lines = [line for line in text.splitlines() if re.match(rf" *{start}\b", line)]
    return [[cell.strip() for cell in line.split("│")] for line in lines]


def test_a_finished_run_has_everything(home: Home) -> None:
    final = SOLO.model_copy(update={"train_losses": ()})
    write(home, [*told(report(step=10), report(step=20, routers=DEAD), final=final), DONE])
    text = printed(home, KEY)
    assert f"{KEY}: finished in epoch 1 of 4" in text
    assert "final evaluation of step 10, epoch 1, on 8 images of 'val'" in text
    assert "2 experts, top-k 1, supervised routing" in text
    assert rows(text, "1 │ a") == [
        ["1", "a", "50.0 %", "60.0 %", "0.600", "0.800", "0.700", "3"],
    ]  # fmt: skip
    assert "at most ln 2 = 0.693" in text
    assert rows(text, "query/0")[0][:4] == ["query/0", "0.35  50 %", "0.67  97 %", "1.040"]
    assert rows(text, "x") == [["x", "3", "0.500", "0.80*", "0.20"], ["x", "0.40*", "0.20"]]
    assert rows(text, "y")[0] == ["y", "1", "0.250", "0.30", "0.70*"]
    assert rows(text, "small")[0] == ["small", "0", "–", "–"]
    assert "alignment 0.750, 0.775 over objects, 0.50 by chance; specialisation 0.200" in text
    assert "alone at home 0.350, elsewhere 0.150, 2.3 times as much" in text
    assert "dead" not in text


def test_dead_experts_are_named(home: Home) -> None:
    write(home, [*told(report(step=10), report(step=20, routers=DEAD), final=SOLO), DONE])
    text = printed(home, KEY, "--step", "20")
    assert "validation at step 20" in text
    assert "dead: b was never chosen (the token router)" in text
    assert "b !" in text
    assert "measured in the final evaluation" in text


def test_a_work_directory_and_its_event_file_say_the_same(home: Home) -> None:
    work = write(home, [*told(report(step=10)), DONE])
    assert printed(home, KEY) == printed(home, str(work.path)) == printed(home, str(work.events))


def test_a_running_log_says_where_it_stands(home: Home) -> None:
    work = write(home, told(report(step=10), report(step=20, epoch=2)))
    text = printed(home, KEY)
    assert f"{KEY}: training, epoch 2 of 4" in text
    assert "validation at step 20" in text
    work.lock.touch()  # whoever held it is gone
    assert "nobody supervises it any more" in printed(home, KEY)
    with work.hold():
        assert f"{KEY}: training, epoch 2 of 4" in printed(home, KEY)


def test_a_torn_last_line_is_left_out_and_told(home: Home) -> None:
    work = write(home, told(report(step=10), report(step=20)))
    whole = work.events.read_bytes()
    work.events.write_bytes(whole[: len(whole) - 40])
    text = printed(home, KEY)
    assert "validation at step 10" in text
    assert "is cut short; what comes before it counts" in " ".join(text.split())
    work.events.write_bytes(whole)
    assert "cut short" not in printed(home, KEY)


def test_an_empty_or_missing_log_is_a_sentence(home: Home) -> None:
    work = write(home, [])
    for _ in range(2):
        text = printed(home, KEY)
        assert "nothing has been told yet" in text
        assert "No validation has told of experts yet; --watch waits for the first" in text
        work.events.unlink(missing_ok=True)


def test_before_the_first_validation(home: Home) -> None:
    write(home, [STARTED])
    assert "training, epoch 0 of 4" in printed(home, KEY)
    assert "No validation has told of experts yet" in printed(home, KEY)


def test_a_run_that_ended_without_experts_is_refused(home: Home) -> None:
    write(home, [STARTED, DONE])
    assert "is over and told nothing of experts" in refused(home, KEY)


def test_a_damaged_line_names_itself(home: Home) -> None:
    work = write(home, told(report(step=10)))
    with work.events.open("a") as file:
        file.write("{}\n")
    assert f"{work.events}, line 4" in refused(home, KEY)


def test_unknown_runs_and_steps(home: Home, tmp_path: Path) -> None:
    write(home, told(report(step=10)))
    assert "no run 'nobody'" in refused(home, "nobody")
    assert "no validation at step 15; there is: 10" in refused(home, KEY, "--step", "15")
    assert "is this a run's work directory?" in refused(home, str(tmp_path))


def test_a_resumed_step_counts_as_it_came_out_last(home: Home) -> None:
    again = told(report(step=20, alignment=0.9))
    write(home, [*told(report(step=10), report(step=20)), *again])
    assert "alignment 0.900" in printed(home, KEY)
    assert json.loads(printed(home, KEY, "--json"))["steps"] == [10, 20]


def test_json_has_the_report_and_what_is_said_of_it(home: Home) -> None:
    write(home, [*told(report(step=10), report(step=20, routers=DEAD)), DONE])
    found: dict[str, Any] = json.loads(printed(home, KEY, "--json"))
    assert (found["run"], found["over"], found["steps"]) == (KEY, True, [10, 20])
    assert ExpertReport.model_validate(found["report"]) == report(step=20, routers=DEAD)
    assert found["findings"][0]["rule"] == "dead"
    assert found["findings"][0]["experts"] == ["b"]
    assert found["dense"] is None
    early = json.loads(printed(home, KEY, "--json", "--step", "10"))
    assert early["report"]["step"] == 10
    write(home, [], "empty")
    assert json.loads(printed(home, "empty", "--json"))["report"] is None


def test_all_experts_at_once_are_flagged(home: Home) -> None:
    write(home, [*told(report(k=2)), DONE])
    assert "uninformative: top-k is 2 of 2 experts" in printed(home, KEY)


def test_unsupervised_alignment_is_called_emergent(home: Home) -> None:
    write(home, [*told(report(supervised=False)), DONE])
    assert "alignment 0.750 (emergent: nothing supervised it)" in printed(home, KEY)


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("count", [2, 6, 14])
def test_tables_fit_the_width(
    home: Home, monkeypatch: pytest.MonkeyPatch, width: int, count: int
) -> None:
    """No cell is cut, however many experts there are."""
    names = tuple(f"motorcycles_{number}" for number in range(count))
    groups = (("x",), ("y",), *(((),) * (count - 2)))
    share = (1 / count,) * count
    wide = report(
        experts=names, groups=groups, routers=(router("token", *share),),
        classes_to_experts=SOLO.classes_to_experts.model_copy(update={"matrix": (share, None)}),
        sizes_to_experts=SOLO.sizes_to_experts.model_copy(update={"matrix": (share,) * 3}),
        losses=SOLO.losses[:1] * count, train_losses=(0.7,) * count,
        solo_ap=((0.125, None),) * count,
    )  # fmt: skip
    write(home, [*told(wide), DONE])
    monkeypatch.setattr(_experts_tables, "PIPE", width)
    text = printed(home, KEY)
    tables = [line for line in text.splitlines() if "│" in line or "━" in line]
    assert max(map(len, tables)) <= width
    assert "…" not in text
    shown = {cell for line in tables for cell in line.replace("*", "").split() if "." in cell}
    assert f"{1 / count:.2f}" in shown


def test_watching_ends_when_the_training_does(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pause lets the training tell something more."""
    work = write(home, [STARTED])
    more = [*told(report(step=10))[1:], *told(report(step=20, epoch=2))[1:], DONE]
    seen: list[float] = []

    def pause(seconds: float) -> None:
        seen.append(seconds)
        write(home, [more.pop(0)])

    monkeypatch.setattr("time.sleep", pause)
    text = printed(home, KEY, "--watch")
    assert len(seen) == 5, "as often as something came"
    assert "finished in epoch 2 of 4" in text
    assert "validation at step 20" in text
    assert work.events.is_file()


@pytest.mark.parametrize("also", [("--json",), ("--step", "10")])
def test_watching_is_for_the_newest_and_for_people(home: Home, also: tuple[str, ...]) -> None:
    assert asked(home, KEY, "--watch", *also).exit_code == 2
