"""What every trainer must keep; subclass ``TrainerSuite`` and give it a config."""

import json
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest
from safetensors.numpy import load_file

from backend.config.schema import TrainConfig
from backend.core.digest import sha256
from backend.core.events import (
    METRIC_KEY,
    CheckpointRemoved,
    CheckpointSaved,
    Event,
    FreezeReported,
    MetricsLogged,
    RunStarted,
)
from backend.core.sinks import read_events
from backend.core.trainer import EvalRequest, TrainerSpec
from backend.core.workdir import WorkDir
from backend.launch import prepare
from backend.scoring.tasks import load_evidence
from backend.tracking.home import Home
from backend.worker import load_trainer


class Never:
    """A StopSignal that never stops."""

    def reason(self) -> str | None:
        return None


class After:
    """A StopSignal that stops at the n-th question."""

    def __init__(self, questions: int) -> None:
        self._left = questions

    def reason(self) -> str | None:
        self._left -= 1
        return "enough" if self._left <= 0 else None


class TrainerSuite:
    """Promises of the protocol. ``config`` is a fixture of the subclass: two or more epochs,
    strategy ``thawing`` trains everything, ``freezing`` keeps some tensors."""

    spec: ClassVar[TrainerSpec]
    thawing: ClassVar[str] = "full"
    freezing: ClassVar[str] = "head-only"

    @pytest.fixture(scope="class")
    @classmethod
    def fitted(
        cls, config: TrainConfig, tmp_path_factory: pytest.TempPathFactory
    ) -> tuple[Path, list[Event]]:
        """A finished training with the freezing strategy, in this process."""
        return cls.fit(config, cls.freezing, tmp_path_factory.mktemp("fitted"))

    @classmethod
    def fit(
        cls, config: TrainConfig, strategy: str, folder: Path, stop: object | None = None
    ) -> tuple[Path, list[Event]]:
        events: list[Event] = []
        work = prepare(Home(folder), config.replace({"freeze.strategy": strategy}), cls.spec)
        load_trainer(work).fit(events.append, stop or Never())  # type: ignore[arg-type]
        return work.path, events

    def test_the_first_event_tells_what_starts(self, fitted: tuple[Path, list[Event]]) -> None:
        _, events = fitted
        assert isinstance(events[0], RunStarted)
        assert events[0].headline == self.spec.headline
        assert events[0].data
        assert all(len(item.digest) == 64 for item in events[0].data)
        assert sum(isinstance(event, RunStarted) for event in events) == 1

    def test_keys_follow_the_grammar_and_the_headline_appears(
        self, fitted: tuple[Path, list[Event]]
    ) -> None:
        logged = [e for e in fitted[1] if isinstance(e, MetricsLogged)]
        keys = {key for event in logged for key in event.metrics}
        assert all(METRIC_KEY.fullmatch(key) for key in keys)
        assert self.spec.headline in keys

    def test_every_headline_metric_has_a_direction(self) -> None:
        names = {m.name: m.direction for m in self.spec.metrics}
        assert names[self.spec.primary] is not None
        assert self.spec.headline.partition("/")[2] in names

    def test_steps_never_go_back(self, fitted: tuple[Path, list[Event]]) -> None:
        last: dict[str, int] = {}
        for event in fitted[1]:
            if isinstance(event, MetricsLogged):
                for key in event.metrics:
                    assert event.step > last.get(key, -1), key
                    last[key] = event.step

    def test_each_epoch_ends_once(self, fitted: tuple[Path, list[Event]]) -> None:
        logged = [e for e in fitted[1] if isinstance(e, MetricsLogged)]
        ended = [e.epoch for e in logged if e.ends]
        assert ended == list(range(1, max(e.epoch for e in logged) + 1))

    def test_checkpoints_exist_and_hold_no_code(self, fitted: tuple[Path, list[Event]]) -> None:
        work, events = fitted
        removed = {e.path for e in events if isinstance(e, CheckpointRemoved)}
        saved = [e.checkpoint for e in events if isinstance(e, CheckpointSaved)]
        kept = [checkpoint for checkpoint in saved if checkpoint.path not in removed]
        assert kept
        for checkpoint in kept:
            path = work / checkpoint.path
            assert sha256(path) == checkpoint.sha256
            assert load_file(path)
            assert json.loads(path.with_suffix(".json").read_text())
        assert not any((work / path).exists() for path in removed)

    def test_frozen_stays_and_thawed_moves(
        self, fitted: tuple[Path, list[Event]], config: TrainConfig, tmp_path: Path
    ) -> None:
        frozen = self.verified(fitted[1])
        assert frozen.frozen_tensors > 0
        assert frozen.violations == ()
        thawed = self.verified(self.fit(config, self.thawing, tmp_path)[1])
        assert thawed.frozen_tensors == 0
        assert (thawed.changed_tensors or 0) > (frozen.changed_tensors or 0) > 0

    def verified(self, events: list[Event]) -> FreezeReported:
        reports = [e for e in events if isinstance(e, FreezeReported)]
        assert [report.phase for report in reports] == ["declared", "verified"]
        return reports[-1]

    def test_an_evaluation_keeps_its_evidence_and_tells_its_conditions(
        self, fitted: tuple[Path, list[Event]], config: TrainConfig, tmp_path: Path
    ) -> None:
        folder, events = fitted
        saved = [e.checkpoint for e in events if isinstance(e, CheckpointSaved)][-1]
        trainer = load_trainer(WorkDir(folder))
        request = EvalRequest(
            checkpoint=str(folder / saved.path), data=str(config.data), split="val",
            out=str(tmp_path),
        )  # fmt: skip
        report = trainer.evaluate(request)
        assert trainer.conditions(request).of(report)
        other = report.model_copy(update={"data_digest": "of other data"})
        assert not trainer.conditions(request).of(other)
        evidence = load_evidence(Path(report.evidence), report.task)
        assert evidence.scores().metrics.items() <= report.metrics.items()
        assert len(evidence.units) == report.units

    def test_a_raised_stop_ends_within_one_validation(
        self, config: TrainConfig, tmp_path: Path
    ) -> None:
        _, events = self.fit(config, self.thawing, tmp_path, After(1))
        epochs = {e.epoch for e in events if isinstance(e, MetricsLogged)}
        assert epochs == {1}
        assert any(isinstance(event, CheckpointSaved) for event in events)

    def test_same_seed_same_first_loss_and_another_seed_another(
        self, config: TrainConfig, tmp_path: Path
    ) -> None:
        def first_loss(seed: int, folder: str) -> dict[str, float]:
            seeded = config.replace({"seed": seed})
            _, events = self.fit(seeded, self.thawing, tmp_path / folder, After(1))
            logged = [e for e in events if isinstance(e, MetricsLogged)]
            return next(
                losses
                for event in logged
                if (losses := {k: v for k, v in event.metrics.items() if k.endswith("loss")})
            )

        one = first_loss(1, "a")
        assert one == first_loss(1, "b")
        assert one != first_loss(2, "c")

    def test_the_training_process_stays_clean(self, config: TrainConfig, tmp_path: Path) -> None:
        """A worker in a fresh process loads no tracking, and writes only where it may."""
        home, elsewhere = Home(tmp_path / "home"), tmp_path / "elsewhere"
        elsewhere.mkdir()
        work = prepare(home, config.replace({"epochs": 1}), self.spec)

        def outside() -> list[Path]:
            return sorted(p for p in home.root.rglob("*") if work.path not in p.parents)

        before = outside()
        code = (
            "import os, sys, backend.worker as w\n"
            "leave = w._leave\n"
            "def look(code):\n"
            "    bad = {'mlflow', 'optuna', 'dash'} & set(sys.modules)\n"
            "    leave(99 if bad else code)\n"
            "w._leave = look\n"
            f"w.fit({str(work.path)!r})\n"
        )
        environment = {
            "PATH": "/usr/bin:/bin", "HOME": str(elsewhere), "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }  # fmt: skip
        ended = subprocess.run(
            [sys.executable, "-c", code], cwd=elsewhere, env=environment, check=False
        )
        assert ended.returncode == 0, work.output_tail()
        assert read_events(work.events)[-1].event.type == "RunFinished"
        assert list(elsewhere.iterdir()) == []
        assert outside() == before
