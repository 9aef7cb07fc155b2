"""Why does it not converge? A failure made, diagnosed and cured in one command.

A small event spotter is trained on synthetic tennis skeletons as somebody did whose F1 stayed at
zero, and once more with the one change that the diagnosis proposes. Every number that is printed
comes from these two runs.
"""

import time
from pathlib import Path

from backend import launch
from backend.catalog import load_config
from backend.cli._common import number, show, table
from backend.cli.checkpoints import sentences
from backend.cli.diagnosing import lines
from backend.cli.evidence import conclusion
from backend.config.schema import TrainConfig
from backend.core.comparisons import Comparison
from backend.core.diagnosis import Action, Diagnosis
from backend.core.errors import TrainingError
from backend.core.records import Run
from backend.core.sinks import read_events
from backend.core.workdir import WorkDir
from backend.diagnose import diagnose_run
from backend.synthetic.skeletons import write_spotting
from backend.tracking.home import Home
from studies._demo_parts import Parts

CONFIGS = Path(__file__).parents[1] / "configs" / "demo"
MODEL = "rallies"
SHOWN = ("loss", "lcl_loss", "mlc_loss", "f1_lcl", "f1_event", "f1_element", "edit")


def make_data(home: Home) -> dict[str, Path]:
    """Write the clips once; return their folder by name."""
    return {"rallies": write_spotting(home.root / "data" / "rallies")}


class Demo:
    """One pass through everything, in ``home``; a second one continues where the first ended."""

    def __init__(self, home: Home, failure: str) -> None:
        self.home = home
        self.failure = failure
        self.parts = Parts(home, "mdfed")
        self.started = time.monotonic()

    def run(self) -> None:
        """Do it all and print both runs side by side."""
        self.home.prepare()
        launch.reap(self.home)
        show("1/5  data: 240 synthetic tennis clips as skeletons, in F3Set's layout")
        data = make_data(self.home)["rallies"]
        sick = self._config(data)
        show(f"2/5  a training that goes wrong: {sick.name}")
        failed = self.parts.train(sick)
        show("3/5  what the diagnosis says", "")
        diagnosis = self._diagnosed(failed)
        show(*lines(diagnosis), "")
        action = _proposed(diagnosis)
        changes = {change.key: change.proposed for change in action.changes}
        told = ", ".join(f"{key}={value}" for key, value in changes.items())
        show(f"4/5  the same training with that one change: {told}")
        cured = self.parts.train(sick.replace({**changes, "name": f"{sick.name}, cured"}))
        show("5/5  both on the holdout that neither saw, and the gate")
        verdict = self.parts.compare(failed.key, cured.key)
        decision = self.parts.promote(cured.key, MODEL)
        show(*(f"     {line}" for line in sentences(decision)))
        self._summary(failed, cured, verdict)

    def _config(self, data: Path) -> TrainConfig:
        """The failing training; in the first one the skeletons are looked for beside the data."""
        found = {"data": str(data)}
        if self.failure == "skeletons":
            found["skeletons.pose_dir"] = str(data / "poses")
        return load_config(CONFIGS / f"rallies-{self.failure}.yaml", found)

    def _diagnosed(self, run: Run) -> Diagnosis:
        work = WorkDir(Path(run.work_dir))
        events = [envelope.event for envelope in read_events(work.events)]
        return diagnose_run(events, work, self.parts.store, run)

    def _summary(self, failed: Run, cured: Run, verdict: Comparison) -> None:
        minutes = (time.monotonic() - self.started) / 60
        keys = [failed.key, cured.key]
        curves = self.parts.store.series(keys, [f"val/{name}" for name in SHOWN])
        rows = [
            (name, *(number(curves[key, f"val/{name}"].values[-1], 3) for key in keys))
            for name in SHOWN
        ]
        verdicts = [self._diagnosed(run).verdict for run in (failed, cured)]
        show(
            "",
            table("at the end, on val", ("", "as it was", "cured"), rows),
            f"as it was: {verdicts[0]}",
            f"cured:     {verdicts[1]}",
            *conclusion(verdict),
            "",
            f"{minutes:.1f} minutes. Where to look:",
            "  make dashboard                  the Convergence page: both runs, side by side",
            f"  assay diagnose {failed.key}",
            "  assay demo mdfed --failure rate   another cause of the same zeros; or weighting",
        )


def _proposed(diagnosis: Diagnosis) -> Action:
    """The first config change of the gravest finding. Raises TrainingError if there is none."""
    for finding in diagnosis.findings:
        if finding.action.changes:
            return finding.action
    raise TrainingError(f"no finding proposes a change: {diagnosis.verdict}")
