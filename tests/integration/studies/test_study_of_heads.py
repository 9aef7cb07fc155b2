"""A study over head settings: its trials share features, which change no value; and its trials
tell what they took."""

from pathlib import Path

import pytest

import backend.trainers.adatad.trainer  # noqa: F401 (preloaded: it takes long to import)
from backend import launch
from backend.core.events import MetricsLogged
from backend.core.records import StudyRecord
from backend.core.sinks import read_events
from backend.core.workdir import WorkDir
from backend.synthetic.untrimmed import write_untrimmed
from backend.tracking.home import Home
from backend.tracking.store import MlflowStore
from studies._run import StudyRun, base_config, run_study
from studies._spec import find
from tests.support.mlflow_home import copy_home

CONFIG = Path(__file__).parents[3] / "configs" / "demo" / "untrimmed.yaml"
TRIALS = 2
SHORT: dict[str, object] = {
    "epochs": 1,
    "windows.per_video": 1,
    "runner.schedule.warmup_steps": 0,
    "diagnostics.stop": "never",
}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_untrimmed(tmp_path_factory.mktemp("made") / "films", train=4, val=1)


def searched(home: Home, films: Path, workers: launch.Workers, features: str) -> StudyRecord:
    spec = find("heads")
    base = base_config(spec, CONFIG, {**SHORT, "data": str(films), "reuse.features": features})
    return run_study(StudyRun(home, spec, base, name="detector heads", trials=TRIALS), workers)


def logged(home: Home, record: StudyRecord) -> list[dict[str, float]]:
    """All losses and metrics of all trials, in order."""
    works = [WorkDir(home.work_dir(trial.run)) for trial in record.trials]
    return [
        event.metrics
        for work in works
        for event in (envelope.event for envelope in read_events(work.events))
        if isinstance(event, MetricsLogged)
    ]


def test_features_are_computed_once_per_study_and_change_nothing(
    films: Path, tmp_path: Path, template_home: Path, workers: launch.Workers
) -> None:
    with_store = copy_home(template_home, tmp_path / "with")
    without = copy_home(template_home, tmp_path / "without")
    shared = searched(with_store, films, workers, "auto")
    alone = searched(without, films, workers, "off")
    assert [trial.state for trial in shared.trials] == ["complete"] * TRIALS
    assert [dict(t.params) for t in shared.trials] == [dict(t.params) for t in alone.trials]
    assert logged(with_store, shared) == logged(without, alone), "to the bit"
    assert [t.value for t in shared.trials] == [t.value for t in alone.trials]

    folder = with_store.root / "features" / "detector-heads"
    for trial in shared.trials:
        config = WorkDir(with_store.work_dir(trial.run)).read_config()
        assert config["reuse"]["folder"] == str(folder)
    assert len(list(folder.glob("*/*.safetensors"))) == 5, "one file per video, of one backbone"
    assert not (without.root / "features").exists()
    first = min(trial.started or 0 for trial in shared.trials[1:])
    assert all(file.stat().st_mtime < first for file in folder.glob("*/*.safetensors"))

    for trial in shared.trials:
        assert trial.costs.trainable is not None
        assert trial.costs.seconds is not None
        assert trial.costs.memory is not None
        assert trial.costs.memory_of == "host"
    (stored,) = MlflowStore(with_store).studies()
    assert stored.trials == shared.trials
    (run,) = (r for r in MlflowStore(with_store).runs() if r.trial == 0)
    seconds = run.metrics["system/train_seconds_per_epoch"]
    assert seconds == pytest.approx(shared.trials[0].costs.seconds)
    assert run.tags["freeze.trainable"] == str(shared.trials[0].costs.trainable)
