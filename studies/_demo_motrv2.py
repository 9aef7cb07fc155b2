"""From one class to eight in one command: what fine-tuning gains, and what it forgets.

A small tracker learns people in synthetic videos, and is then fine-tuned to eight classes of
volleyball players three times: a part of it, more, and all. Every number that is printed comes
from these runs.
"""

import json
import time
from pathlib import Path

from backend import launch
from backend.analysis.track_video import render_tracks
from backend.analysis.tracks import Recording, changed_most
from backend.catalog import load_config
from backend.cli._common import number, show, table
from backend.cli.checkpoints import sentences
from backend.cli.evidence import deltas
from backend.config.schema import TrainConfig
from backend.core.comparisons import Comparison, DataComparison
from backend.core.records import Run
from backend.synthetic.volleyball import write_volleyball
from backend.tracking.home import Home
from studies._demo_parts import Parts

CONFIGS = Path(__file__).parents[1] / "configs" / "demo"
POLICY = CONFIGS.parent / "policies" / "tracking.yaml"
MODEL = "volleyball"
STRATEGIES = ("moderate", "aggressive", "full")
COMPARED = ("HOTA", "DetA", "AssA", "IDSW", "cls_HOTA")
HOLDOUT = 20
"""Sequences: as many as the gate asks for."""
METRICS = (
    *("val/HOTA", "val/cls_HOTA", "val/class_accuracy", "val/swept_HOTA", "val/best_thresh"),
    *("source/HOTA", "source/forgetting"),
)


def make_data(home: Home) -> dict[str, Path]:
    """Write both domains once; return their folders by name."""
    return write_volleyball(home.root / "data" / "volleyball", holdout=HOLDOUT)


class Demo:
    """One pass through everything, in ``home``; a second one continues where the first ended."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.parts = Parts(home, "motrv2")
        self.started = time.monotonic()

    def run(self) -> None:
        """Do it all and print what each strategy gains and forgets."""
        self.home.prepare()
        launch.reap(self.home)
        show("1/6  data: 80 synthetic videos, of people (source) and of players (target)")
        data = make_data(self.home)
        show("2/6  the source model: people are one class, from scratch")
        config = load_config(CONFIGS / "volleyball-source.yaml", {"data": str(data["source"])})
        source = self.parts.train(config)
        show(f"3/6  fine-tuned to eight classes: {', '.join(STRATEGIES)}, at the same time")
        runs = self.parts.train_all(self._configs(data, self.parts.weights(source)))
        show(f"4/6  {STRATEGIES[0]} against {STRATEGIES[-1]}, on the holdout that no run saw")
        verdict = self.parts.compare(runs[0].key, runs[-1].key)
        show("5/6  promotion: both meet the gate, which also asks what was forgotten")
        for name, run in ((STRATEGIES[0], runs[0]), (STRATEGIES[-1], runs[-1])):
            show(f"     {name}")
            decision = self.parts.promote(run.key, MODEL, POLICY)
            show(*(f"       {line}" for line in sentences(decision)))
        show("6/6  the sequence that changed most, as a video")
        video = self._video(verdict)
        self._summary(source, runs, verdict, video)

    def _configs(self, data: dict[str, Path], weights: str) -> list[TrainConfig]:
        given = {
            "data": str(data["target"]),
            "source": str(data["source"]),
            "model.pretrained": weights,
        }
        base = load_config(CONFIGS / "volleyball-target.yaml", given)
        return [
            base.replace({"freeze.strategy": name, "name": f"volleyball {name}"})
            for name in STRATEGIES
        ]

    def _video(self, verdict: Comparison) -> Path:
        recording = Recording.of(verdict.target)
        tracked = recording.sequence(changed_most(verdict.target, recording.names)[0])
        return render_tracks(
            self.home.work / verdict.key / "tracks.mp4",
            tracked.files(),
            tracked.old.all(tracked.numbers),
            tracked.new.all(tracked.numbers),
            (f"old: {verdict.baseline.label}", f"new: {verdict.candidate.label}"),
            tracked.video.fps,
        )

    def _summary(self, source: Run, runs: list[Run], verdict: Comparison, video: Path) -> None:
        minutes = (time.monotonic() - self.started) / 60
        before = source.best.get(source.headline)
        show(
            "",
            f"source model: {source.headline} {number(before, 3)} (run {source.key})",
            "",
            table("at the end, on val: eight classes (target), and people with the old head",
                  ("strategy", "trains", "HOTA", "per class", "class named", "best threshold",
                   "source HOTA", "forgotten"),
                  [self._row(*pair) for pair in zip(STRATEGIES, runs, strict=True)]),
            "",
            *_compared(verdict),
            "",
            f"{minutes:.1f} minutes. Where to look:",
            f"  {video}",
            "  make dashboard                  Compare: both sides, frame by frame",
            f"  assay compare {runs[0].key} {runs[-1].key}",
            f"  assay study run tracking --config {Path(runs[0].work_dir) / 'config.yaml'}",
        )  # fmt: skip

    def _row(self, strategy: str, run: Run) -> tuple[str, ...]:
        curves = self.parts.store.series([run.key], METRICS)
        last = {name: curves[run.key, name].values[-1] for name in METRICS
                if (run.key, name) in curves}  # fmt: skip
        found = {name: number(last.get(name), 3) for name in METRICS}
        return (
            strategy,
            f"{trained_percent(Path(run.work_dir)):.1f} %",
            *(found[name] for name in METRICS[:3]),
            f"{found['val/swept_HOTA']} at {number(last.get('val/best_thresh'), 1)}",
            *(found[name] for name in METRICS[5:]),
        )


def _compared(verdict: Comparison) -> list[object]:
    """Both sides of it: the target's holdout and the source domain."""
    sides = {f"eight classes: {STRATEGIES[0]} → {STRATEGIES[-1]}": verdict.target}
    if verdict.source is not None:
        sides["people: the same two on the source domain, with the old head"] = verdict.source
    return [deltas(title, _short(data), verdict.confidence) for title, data in sides.items()]


def _short(data: DataComparison) -> DataComparison:
    kept = tuple(metric for metric in data.metrics if metric.name in COMPARED)
    return data.model_copy(update={"metrics": kept})


def trained_percent(work: Path) -> float:
    """How much of a run's network trained."""
    told = json.loads((work / "freeze_report.json").read_text(encoding="utf-8"))
    return float(told["parameters"]["trainable"]["percent"])
