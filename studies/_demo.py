"""The whole of Assay in one command, on scenes of real handwriting.

Data, a source model trained from scratch, one study per target domain, old versus new on
images that no trial saw, promotion through the gate, and the promoted model used in a fresh
process. Every number that is printed comes from this run.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from backend import launch
from backend.analysis.report.study import plain_trial
from backend.catalog import CATALOG, load_config
from backend.cli._common import number, show, signed, table
from backend.cli._progress import TrainingProgress
from backend.cli.checkpoints import sentences
from backend.cli.study import describe, watcher
from backend.config.schema import TrainConfig
from backend.core.comparisons import Comparison
from backend.core.errors import StudyError
from backend.core.records import (
    PromotionDecision,
    Run,
    StudyRecord,
    TrialRecord,
)
from backend.synthetic.digits import write_digits
from backend.tracking.home import Home
from studies._demo_parts import Parts
from studies._run import StudyRun, run_study
from studies._spec import find

CONFIGS = Path(__file__).parents[1] / "configs" / "demo"
TARGETS = ("target-same", "target-new")
MODEL = "digits"


def make_data(home: Home) -> dict[str, Path]:
    """Write the three datasets once; return their data.yaml files by name."""
    data = write_digits(home.root / "data" / "digits")
    return {
        "source": data.source,
        "target-same": data.target_same,
        "target-new": data.target_new,
    }


@dataclass(frozen=True)
class Target:
    """What came out of one target domain; ``verdict`` is None if plain fine-tuning won."""

    name: str
    study: StudyRecord
    plain: TrialRecord
    best: TrialRecord
    verdict: Comparison | None
    seeds: Comparison


class Demo:
    """One pass through everything, in ``home``; a second one continues where the first ended."""

    def __init__(self, home: Home, trials: int) -> None:
        self.home = home
        self.trials = trials
        self.parts = Parts(home, "yolo")
        self.started = time.monotonic()

    def run(self) -> None:
        """Do it all and print a short table of what was found."""
        self.home.prepare()
        launch.reap(self.home)
        show("1/6  data: scenes of scanned digits (scikit-learn's load_digits)")
        data = make_data(self.home)
        show("2/6  a source model, trained from scratch")
        model = CONFIGS.parent / "models" / "yolo-tiny.yaml"
        given = {"data": str(data["source"]), "model": str(model)}
        source = self.parts.train(load_config(CONFIGS / "source.yaml", given))
        weights = self.parts.weights(source)
        targets = []
        for part, name in enumerate(TARGETS, start=3):
            show(f"{part}/6  study on {name}: what to freeze, how fast, layer by layer or not")
            base = load_config(
                CONFIGS / f"{name}.yaml",
                {"model": weights, "data": str(data[name]), "source": str(data["source"])},
            )
            targets.append(self._target(name, base))
        show("5/6  promotion: three candidates meet the gate")
        decisions = self._promote(*targets)
        show("6/6  the champion in a fresh process")
        holdout = data["target-same"].parent / "images" / "holdout"
        served = self.parts.serve(MODEL, sorted(holdout.iterdir())[:4])
        self._summary(source, targets, decisions, served)

    def _target(self, name: str, base: TrainConfig) -> Target:
        spec = find("freezing")
        with TrainingProgress(f"study digits-{name}", total=self.trials) as progress:
            study = run_study(
                StudyRun(
                    home=self.home, spec=spec, base=base, name=f"digits-{name}",
                    trials=self.trials, watch=watcher(progress),
                ),
                self.parts.workers,
            )  # fmt: skip
        plain, best = _plain(study), _best(study)
        verdict = self.parts.compare(plain.run, best.run) if best.run != plain.run else None
        again = base.replace(
            {
                **spec.overrides(best.params, CATALOG[base.kind], base),
                "seed": base.seed + 1,
                "name": f"digits-{name}/best, another seed",
            }
        )
        seeds = self.parts.compare(best.run, self.parts.train(again).key)
        return Target(name, study, plain, best, verdict, seeds)

    def _promote(self, same: Target, new: Target) -> list[PromotionDecision]:
        """A first version, a better one, and one that is good elsewhere but has forgotten."""
        candidates = {
            same.plain.run: "plain fine-tuning on target-same, the first version",
            same.best.run: "the best of the study on target-same",
            new.best.run: "the best of the study on target-new, judged by its new domain",
        }
        decisions = []
        for run, what in candidates.items():
            show(f"     {what}")
            decision = self.parts.promote(run, MODEL)
            show(*(f"       {line}" for line in sentences(decision)))
            decisions.append(decision)
        return decisions

    def _summary(
        self, source: Run, targets: list[Target], decisions: list[PromotionDecision], served: str
    ) -> None:
        minutes = (time.monotonic() - self.started) / 60
        best = source.best.get(source.headline)
        show("", f"source model: {source.headline} {number(best, 3)} (run {source.key})", "")
        show(table("what the studies found (mAP50-95 on the holdout, which no trial saw)",
                   ("target", "old → new", "old", "new", "difference", "95% interval", "verdict"),
                   [row for target in targets for row in _rows(target)]))  # fmt: skip
        for target in targets:
            show("", *_findings(target))
        promoted = [decision for decision in decisions if decision.version]
        refused = len(decisions) - len(promoted)
        champion = promoted[-1].version if promoted else "as it was"
        show(
            "",
            f"the gate promoted {len(promoted)} and refused {refused}; "
            f"models:/{MODEL}@champion is version {champion}; {served}",
            f"{minutes:.1f} minutes. Where to look:",
            "  make dashboard                  runs, comparisons and studies in the browser",
            f"  {self.home.work}/*compare*/report.md",
            f"  assay compare {targets[0].plain.run} {targets[0].best.run}",
            f"  mlflow ui --backend-store-uri {self.home.tracking_uri}",
        )


def _plain(study: StudyRecord) -> TrialRecord:
    """The trial of the plain recipe, or the one that repeated it after an interruption."""
    return _there(plain_trial(study), study.name, "plain fine-tuning never finished")


def _best(study: StudyRecord) -> TrialRecord:
    best = next((t for t in study.trials if t.number == study.best), None)
    return _there(best, study.name, "no trial finished")


def _there(found: TrialRecord | None, study: str, otherwise: str) -> TrialRecord:
    if found is None:
        raise StudyError(f"study {study}: {otherwise}; see: assay study show {study}")
    return found


def _rows(target: Target) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    pairs = (
        ("plain → best of study", target.verdict),
        ("best → best, another seed", target.seeds),
    )
    for label, comparison in pairs:
        if comparison is None:
            rows.append((target.name, label, "", "", "", "", "plain won the study"))
            continue
        head = comparison.headline
        rows.append(
            (
                *(target.name, label, number(head.baseline, 3), number(head.candidate, 3)),
                signed(head.delta, 3),
                f"{signed(head.low, 3)} … {signed(head.high, 3)}",
                head.verdict,
            )
        )
    return rows


def _findings(target: Target) -> list[str]:
    """What the study says, in sentences; also that plain fine-tuning won, if it did."""
    best = target.best
    reached: dict[str, float] = {}
    for trial in target.study.trials:
        strategy = str(trial.params["freeze.strategy"])
        reached[strategy] = max(reached.get(strategy, 0.0), trial.value or 0.0)
    ranked = sorted(reached.items(), key=lambda item: -item[1])
    lines = [
        f"{target.name}: best trial {best.number}: {describe(dict(best.params))}",
        "  best of each strategy on val: "
        + ", ".join(f"{strategy} {number(value, 3)}" for strategy, value in ranked),
    ]
    if target.verdict is None:
        return [*lines, "  no trial beat plain full fine-tuning"]
    head = target.verdict.headline
    claims = {
        "better": "beats plain full fine-tuning on the holdout",
        "worse": "is worse than plain full fine-tuning on the holdout, though better in the study",
        "equivalent": "is as good as plain full fine-tuning on the holdout",
        "undecided": "cannot be told from plain full fine-tuning on this holdout",
    }
    lines.append(f"  it {claims[head.verdict]}")
    if target.verdict.source is not None:
        source = next(m for m in target.verdict.source.metrics if m.name == head.name)
        lines.append(
            f"  on the source domain it keeps {number(source.candidate, 3)}, "
            f"plain fine-tuning {number(source.baseline, 3)} ({source.verdict})"
        )
    return lines
