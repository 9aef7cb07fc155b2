"""A diagnosis and its evidence, to MLflow and back; a store in memory answers alike."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from backend.core.diagnosis import Diagnosis, DiagnosticFinding, Severity
from backend.core.errors import StoreError
from backend.core.events import (
    DataSurveyed,
    Diagnosed,
    Event,
    InputProbed,
    MetricsLogged,
    RunFinished,
)
from backend.core.evidence import DataSurvey, InputCensus
from backend.core.records import Run
from backend.core.store import RunStore
from backend.core.workdir import WorkDir
from backend.tracking import evidence as evidence_module
from backend.tracking import store as store_module
from backend.tracking.client import connect, find_runs
from backend.tracking.home import Home
from backend.tracking.replay import replay
from backend.tracking.store import MlflowStore
from tests.support.memory_store import MemoryStore
from tests.support.scripted_run import log_events, make_work, started

KEY = "20260101-000000-toy-0001"
PLAIN = "20260102-000000-toy-0002"
SURVEYED = DataSurveyed(
    survey=DataSurvey(
        inputs=(InputCensus(split="train", what="files", expected=4, found=4, searched="here"),)
    )
)
DONE = RunFinished(status="finished")


def probed(step: int) -> InputProbed:
    return InputProbed(
        step=step, split="val", samples=60, losses={"loss": 1.0}, permuted={"loss": 2.0}
    )


def diagnosis(step: int, **rules: Severity) -> Diagnosis:
    found = tuple(
        DiagnosticFinding(rule=rule, title=rule, severity=severity, headline="h")
        for rule, severity in rules.items()
    )
    return Diagnosis(step=step, state="sick" if found else "finished",
                     verdict=f"at step {step}", findings=found)  # fmt: skip


FIRST, LAST = diagnosis(4, B03="error", D04="info"), diagnosis(8, B04="error", D04="warning")


def events() -> list[Event]:
    return [
        started(), SURVEYED, MetricsLogged(step=4, epoch=1, metrics={"val/mAP50-95": 0.0}),
        probed(4), Diagnosed(diagnosis=FIRST), probed(8), Diagnosed(diagnosis=LAST), DONE,
    ]  # fmt: skip


EVIDENCE = (started(), SURVEYED, probed(4), probed(8), DONE)


def log(home: Home, told: Sequence[Event], key: str = KEY) -> WorkDir:
    return log_events(home, make_work(home, key), told)


def artifacts(home: Home) -> Path:
    (run_id,) = find_runs(connect(home), "training", run=KEY)
    return Path(connect(home).get_run(run_id).info.artifact_uri)


@pytest.fixture(params=["sqlite", "client", "memory"])
def store(request: pytest.FixtureRequest, home: Home, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    """A store with a diagnosed run and a plain one."""
    if request.param == "memory":
        memory = MemoryStore()
        for key in (KEY, PLAIN):
            memory.run_list.append(
                Run(key=key, mlflow_run_id="", name=key, trainer="", status="finished", started=0)
            )
        memory.diagnoses[KEY], memory.told[KEY] = LAST, EVIDENCE
        memory.told[PLAIN] = (DONE,)
        return memory
    log(home, events())
    log(home, [started(), DONE], PLAIN)
    if request.param == "client":  # as with a schema that the quick way does not know
        monkeypatch.setattr(store_module, "SCHEMA", "another")
    return MlflowStore(home)


def test_the_newest_diagnosis_and_all_evidence_come_back(store: RunStore) -> None:
    assert store.diagnosis(KEY) == LAST
    assert store.evidence(KEY) == EVIDENCE
    assert store.diagnosis(PLAIN) is None
    assert store.evidence(PLAIN)[-1] == DONE
    assert store.diagnosis("20260101") == LAST, "found as any run is found"
    for ask in (store.diagnosis, store.evidence):
        with pytest.raises(StoreError, match="nobody"):
            ask("nobody")


def test_findings_are_tags_and_those_that_went_away_are_gone(home: Home) -> None:
    log(home, events())
    tags = MlflowStore(home).run(KEY).tags
    found = {name: value for name, value in tags.items() if name.startswith("finding.")}
    assert found == {"finding.B04": "error", "finding.D04": "warning"}
    assert tags["diagnosis"] == "at step 8"
    assert Diagnosis.model_validate_json((artifacts(home) / "diagnosis.json").read_text()) == LAST


def test_evidence_grows_in_parts_and_stays_whole(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence_module, "PART_LETTERS", 200)
    log(home, events())
    parts = sorted(path.name for path in (artifacts(home) / "evidence").iterdir())
    assert parts[0] == "part-00000.jsonl"
    assert MlflowStore(home).evidence(KEY) == EVIDENCE


def test_only_the_newest_part_is_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence_module, "PART_LETTERS", 500)
    kept, written = evidence_module.EvidenceLog(), []
    for step in range(30):
        kept.add(probed(step))
        written += list(kept.flush())
    assert list(kept.flush()) == [], "nothing is new"
    assert max(len(text) for _, text in written) < 800
    newest = dict(written)
    told = [e for _, text in sorted(newest.items())
            for e in evidence_module.read_part(text.encode())]  # fmt: skip
    assert told == [probed(step) for step in range(30)]


def test_a_replay_gives_the_same(home: Home) -> None:
    work = log(home, events())
    replay(home, work.path)
    store = MlflowStore(home)
    assert (store.diagnosis(KEY), store.evidence(KEY)) == (LAST, EVIDENCE)


def test_a_resumed_run_keeps_what_it_told_before(home: Home) -> None:
    log(home, [*events(), started(resumed_from=2), probed(12), DONE])
    assert [e.step for e in MlflowStore(home).evidence(KEY) if isinstance(e, InputProbed)] == [
        4, 8, 12,
    ]  # fmt: skip


@pytest.mark.parametrize("content", [b"{}", b'{"cut": ', b"\xff\xfe"])
@pytest.mark.parametrize("name", ["diagnosis.json", "evidence/part-00000.jsonl"])
def test_a_damaged_artifact_is_one_sentence_and_the_way_to_mend_it(
    home: Home, name: str, content: bytes
) -> None:
    work = log(home, events())
    (artifacts(home) / name).write_bytes(content)
    store = MlflowStore(home)
    ask = store.diagnosis if name == "diagnosis.json" else store.evidence
    with pytest.raises(StoreError) as caught:
        ask(KEY)
    said = str(caught.value)
    assert f"{name} of MLflow run" in said
    assert f"assay replay {work.path}" in said
    assert "\n" not in said
    replay(home, work.path)
    assert (MlflowStore(home).diagnosis(KEY), MlflowStore(home).evidence(KEY)) == (LAST, EVIDENCE)
