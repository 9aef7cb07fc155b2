"""Runs that others trained are judged by what they have, and say what they have not."""

from pathlib import Path

from backend.adopt import take_in
from backend.core.events import Diagnosed
from backend.core.sinks import read_events
from backend.core.workdir import WorkDir
from backend.diagnose import diagnose_run
from backend.importers import ultralytics
from backend.importers.source import Asked, Found, described
from backend.report import make
from backend.tracking.home import Home
from backend.tracking.store import MlflowStore
from tests.support.foreign_runs import ultralytics_run


def found(folder: Path) -> Found:
    return described(ultralytics.read(folder, Asked()), Asked())


def test_an_import_is_diagnosed_and_shown_with_what_it_has(home: Home, tmp_path: Path) -> None:
    folder = ultralytics_run(tmp_path / "exp", 5)
    adopted = take_in(home, [found(folder)])
    work, store = WorkDir(Path(adopted.work_dir)), MlflowStore(home)
    events = [envelope.event for envelope in read_events(work.events)]
    kept = store.diagnosis(adopted.key)
    assert kept is not None
    assert [event.diagnosis for event in events if isinstance(event, Diagnosed)] == [kept]
    assert diagnose_run(events, work, store, store.run(adopted.key)) == kept
    missing = {one.rule for one in kept.not_evaluated}
    assert {"D01", "D02", "B04", "B12", "B13"} <= missing, "nothing of that was recorded"
    assert not any(finding.action.command for finding in kept.findings), "it is trained elsewhere"
    again = take_in(home, [found(folder)])
    assert again.nothing_new
    assert [envelope.event for envelope in read_events(work.events)] == events

    document = make(home, store, adopted.key).document
    assert "## Diagnosis" in document.markdown()
    assert kept.verdict in document.markdown().replace("\\", "")
