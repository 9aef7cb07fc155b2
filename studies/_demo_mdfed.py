"""Why does it not converge? The brief's failure, made, diagnosed and cured in one command.

A small event spotter is trained on synthetic tennis skeletons twice: as somebody did whose F1
stayed at zero, and with the change that the diagnosis proposes. Every number that is printed
comes from this run.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from backend import diagnose, launch
from backend.catalog import load_config
from backend.cli._common import number, show
from backend.cli.checkpoints import sentences
from backend.cli.diagnosing import lines
from backend.config.schema import TrainConfig
from backend.core.diagnosis import DiagnosticFinding
from backend.core.records import Run
from backend.synthetic.skeletons import write_spotting
from backend.tracking.home import Home
from studies._demo_parts import Parts

CONFIG = Path(__file__).parents[1] / "configs" / "demo" / "rallies.yaml"
MODEL = "rallies"
SHOWN = ("val/loss", "val/f1_lcl", "val/f1_event", "val/f1_element", "val/edit")


@dataclass(frozen=True)
class Failure:
    """A way to end with every F1 at zero: what was done, and what undoes it.

    ``cure`` is what the diagnosis is expected to propose; the demo applies the proposal.
    """

    title: str
    config: Path
    cure: Mapping[str, object]


FAILURES = {
    name: CONFIG.with_name(f"rallies-{name}.yaml") for name in ("skeletons", "rate", "weighting")
}
