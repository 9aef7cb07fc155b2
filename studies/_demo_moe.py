"""Routed experts in one command, on synthetic traffic scenes.

A small RT-DETR with an expert per class and the dense one of the same cost are trained side by
side, compared on images that neither saw, and the better one is promoted. Every number that is
printed comes from this run.
"""

import time
from pathlib import Path

from backend import launch
from backend.catalog import load_config
from backend.cli._common import number, show
from backend.cli.checkpoints import sentences
from backend.cli.evidence import conclusion
from backend.cli.experts import tables
from backend.core.comparisons import Comparison
from backend.synthetic.traffic import write_traffic
from backend.tracking.home import Home
from studies._demo_parts import Parts

CONFIG = Path(__file__).parents[1] / "configs" / "demo" / "traffic.yaml"
MODEL = "traffic"


def make_data(home: Home) -> dict[str, Path]:
    """Write the scenes once; return their folder by name."""
    return {"traffic": write_traffic(home.root / "data" / "traffic")}


class Demo:
    """One pass through everything, in ``home``; a second one continues where the first ended."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.parts = Parts(home, "moe_rtdetr")
        self.started = time.monotonic()

    def run(self) -> None:
        """Do it all and print what the experts do."""
        self.home.prepare()
        launch.reap(self.home)
        show("1/4  data: 720 synthetic road scenes in the layout of DAIR-V2X-I")
        data = make_data(self.home)["traffic"]
        show("2/4  an expert per class, and the dense detector of the same cost, at the same time")
        experts = load_config(CONFIG, {"data": str(data)})
        dense = experts.replace({"name": "traffic dense", "moe.experts": "dense"})
        runs = self.parts.train_all([experts, dense])
        show("3/4  experts against dense, on the holdout that neither saw")
        verdict = self.parts.compare(runs[1].key, runs[0].key)
        show("4/4  promotion: the better one meets the gate")
        best = runs[1] if verdict.headline.verdict == "worse" else runs[0]
        decision = self.parts.promote(best.key, MODEL)
        show(*(f"     {line}" for line in sentences(decision)))
        images = sorted((data / "image").iterdir())[-4:]
        served = self.parts.serve(MODEL, images)
        show("", *tables(self.parts.store, runs[0].key))
        self._summary(verdict, runs[0].key, served)

    def _summary(self, verdict: Comparison, run: str, served: str) -> None:
        minutes = (time.monotonic() - self.started) / 60
        head = verdict.headline
        show(
            "",
            f"mAP50-95 on the holdout: dense {number(head.baseline, 3)}, experts "
            f"{number(head.candidate, 3)}",
            *conclusion(verdict),
            "",
            f"models:/{MODEL}@champion in a fresh process: {served}",
            f"{minutes:.1f} minutes. Where to look:",
            "  make dashboard                  the Experts page, and the comparison",
            f"  assay experts {run}",
            "  assay study run moe_top_k --config configs/train/moe_rtdetr.yaml --name top-k",
        )
