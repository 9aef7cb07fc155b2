"""Actions in long videos in one command: what adapters on a frozen backbone are worth.

A small backbone learns a simple task of motion, and is then made to find actions in untrimmed
videos three times: with nothing but a new detector, with adapters, and as a whole. Every number
that is printed comes from these runs.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from backend import launch, report
from backend.analysis import text
from backend.analysis.actions import Action, ActionRecording, Detection, Timeline
from backend.analysis.costs import COSTS
from backend.catalog import load_config
from backend.cli._common import show, table
from backend.cli.checkpoints import sentences
from backend.core.comparisons import Comparison
from backend.core.costs import costs_of
from backend.core.records import PromotionDecision, Run
from backend.core.sinks import read_events
from backend.core.workdir import WorkDir
from backend.datasets.temporal import annotation_file
from backend.scoring.temporal.task import TemporalOptions
from backend.synthetic.untrimmed import write_untrimmed
from backend.tracking.home import Home
from backend.trainers.adatad.pretraining import Pretrained, Pretraining, pretrained
from studies._demo_parts import Parts

CONFIGS = Path(__file__).parents[1] / "configs"
CONFIG = CONFIGS / "demo" / "untrimmed.yaml"
POLICY = CONFIGS / "policies" / "temporal.yaml"
MODEL = "untrimmed"
STRATEGIES = ("head-only", "adapter", "full")
SURE, MATCHED = 0.3, 0.5
"""From which score on the champion's answers are shown, and from which temporal IoU on they count
as right."""


@dataclass(frozen=True)
class Size:
    """Videos of each split (of the holdout as many as the ``policy`` of the gate asks for), how
    the backbone is pre-trained, and what else is changed in the config."""

    train: int = 48
    val: int = 12
    holdout: int = 20
    pretraining: Pretraining = field(default_factory=Pretraining)
    changes: Mapping[str, object] = field(default_factory=dict)
    policy: Path = POLICY


def make_data(home: Home) -> dict[str, Path]:
    """Write the videos and the backbone's weights once; return where they are by name."""
    size = Size()
    return {"untrimmed": _videos(home, size), "backbone": _backbone(home, size).path}


class Demo:
    """One pass through everything, in ``home``; a second one continues where the first ended."""

    def __init__(self, home: Home, size: Size = Size()) -> None:
        self.home = home
        self.size = size
        self.parts = Parts(home, "adatad")
        self.started = time.monotonic()

    def run(self) -> None:
        """Do it all and print what each strategy costs and finds."""
        self.home.prepare()
        launch.reap(self.home)
        size = self.size
        show(f"1/6  data: {size.train + size.val + size.holdout} untrimmed videos, as mp4")
        videos = _videos(self.home, size)
        show("2/6  the backbone: a simpler task first, which way one shape moves, and its colour")
        backbone = _backbone(self.home, size)
        show(
            f"     named right in clips that it did not see: motion {backbone.motion:.0%}, "
            f"colour {backbone.colour:.0%}",
            f"3/6  actions, with the same steps for each: {', '.join(STRATEGIES)}",
        )
        runs = self._trained(videos, backbone)
        show("4/6  on the holdout that no run saw: strategies, and two epochs of one run")
        verdicts, epochs = self._compared(*(run.key for run in runs))
        show("5/6  promotion: the first version, and the best one, meet the gate")
        decisions = self._promoted(runs)
        show("6/6  a report of the run with adapters, and what the champion answers")
        store = self.parts.store
        written = report.write(report.make(self.home, store, runs[1].key)).html
        if any(decision.version for decision in decisions):
            show("", self._answered(videos))
        self._summary(runs, verdicts, epochs, written)

    def _trained(self, videos: Path, backbone: Pretrained) -> list[Run]:
        given = {
            "data": str(videos),
            "model.pretrained": str(backbone.path),
            "reuse.folder": str(self.home.root / "data" / "features"),
            **self.size.changes,
        }
        base = load_config(CONFIG, given)
        return self.parts.train_all(
            [
                base.replace({"freeze.strategy": name, "name": f"untrimmed {name}"})
                for name in STRATEGIES
            ]
        )

    def _compared(self, head: str, adapter: str, full: str) -> tuple[list[Comparison], list[str]]:
        """Each strategy with the next, and the first epoch that the run with adapters kept with
        its last; those two epochs."""
        kept = [str(one.epoch) for one in self.parts.store.checkpoints(adapter)]
        first, last = f"{adapter}@{kept[0]}", f"{adapter}@{kept[-1]}"
        pairs = ((head, adapter), (adapter, full), (first, last))
        return [self.parts.compare(old, new) for old, new in pairs], [kept[0], kept[-1]]

    def _promoted(self, runs: Sequence[Run]) -> list[PromotionDecision]:
        decisions = []
        best = max(runs, key=lambda run: run.best[run.headline])
        for run in dict.fromkeys((runs[0].key, best.key)):
            decision = self.parts.promote(run, MODEL, self.size.policy)
            show(*(f"     {line}" for line in sentences(decision)))
            decisions.append(decision)
        return decisions

    def _answered(self, videos: Path) -> object:
        """What the champion finds in the first video of the holdout, beside what is there."""
        truth, options = annotation_file(videos), TemporalOptions(subset="holdout")
        film = min((videos / "videos").glob("holdout_*"))
        rows = self.parts.answers(MODEL, [film], conf=SURE)
        found = [{**row, "segment": [row["start"], row["end"]]} for row in rows]
        with TemporaryDirectory() as folder:
            told = Path(folder) / "predictions.json"
            told.write_text(json.dumps({"results": {film.stem: found}}), encoding="utf-8")
            timeline = ActionRecording.read(truth, [told, told], options).timeline(
                film.stem, MATCHED, (SURE, SURE)
            )
        return _timeline_table(film.name, timeline)

    def _summary(
        self, runs: list[Run], verdicts: list[Comparison], epochs: Sequence[str], written: Path
    ) -> None:
        minutes = (time.monotonic() - self.started) / 60
        adapter = runs[1].key
        show(
            "",
            _costs_table(runs, verdicts),
            "",
            table("average mAP on the holdout, paired by video",
                  ("old → new", "old", "new", "difference", "95% interval", "verdict"),
                  [_verdict_row(verdict) for verdict in verdicts]),
            "",
            f"{minutes:.1f} minutes. Where to look:",
            f"  {written}",
            "  make dashboard                  Compare: found and true actions on a timeline",
            f"  assay compare {adapter}@{epochs[0]} {adapter}@{epochs[1]}",
            f"  assay study run adapters --config {Path(runs[1].work_dir) / 'config.yaml'}",
        )  # fmt: skip


def _costs_table(runs: Sequence[Run], verdicts: Sequence[Comparison]) -> object:
    """What each strategy took, and what it finds."""
    first, second = verdicts[0].headline, verdicts[1].headline
    holdout = (first.baseline, first.candidate, second.candidate)
    took = [costs_of(one.event for one in read_events(_events(run))) for run in runs]
    known = [cost for cost in COSTS if all(cost.value(one) is not None for one in took)]
    rows = [
        (
            name,
            *(cost.said(cost.value(one) or 0.0) for cost in known),
            text.number(run.best.get(run.headline)),
            text.number(score),
        )
        for name, run, one, score in zip(STRATEGIES, runs, took, holdout, strict=True)
    ]
    columns = ("strategy", *(cost.title for cost in known), "val", "holdout")
    return table("average mAP (mean at temporal IoU 0.3 to 0.7), and its price", columns, rows)


def _verdict_row(verdict: Comparison) -> tuple[str, ...]:
    head = verdict.headline
    return (
        f"{verdict.baseline.label} → {verdict.candidate.label}",
        text.number(head.baseline),
        text.number(head.candidate),
        text.signed(head.delta),
        text.interval(head),
        head.verdict,
    )


def _timeline_table(film: str, timeline: Timeline) -> object:
    """By time, each true action and what was found of it; then what was found besides."""
    besides = [one for one in timeline.new if one.action is None]
    pairs: list[tuple[str, Action | None, Detection | None]] = [
        *((one.label, one, one.new) for one in timeline.actions),
        *((one.label, None, one) for one in besides),
    ]
    rows = [
        (
            label,
            _seconds(true),
            _seconds(found),
            text.number(found.score) if found else text.ABSENT,
            text.number(found.iou) if found else text.ABSENT,
        )
        for label, true, found in pairs
    ]
    title = (
        f"models:/{MODEL}@champion, loaded in a fresh process, on {film}: scores from {SURE}, "
        f"right from temporal IoU {MATCHED}"
    )
    return table(title, ("action", "true (s)", "found (s)", "score", "temporal IoU"), rows)


def _seconds(one: Action | Detection | None) -> str:
    return f"{one.start:.1f} to {one.end:.1f}" if one else text.ABSENT


def _events(run: Run) -> Path:
    return WorkDir(Path(run.work_dir)).events


def _videos(home: Home, size: Size) -> Path:
    folder = home.root / "data" / "untrimmed"
    return write_untrimmed(folder, train=size.train, val=size.val, holdout=size.holdout)


def _backbone(home: Home, size: Size) -> Pretrained:
    return pretrained(home.root / "data" / "motion" / "backbone.safetensors", size.pretraining)
