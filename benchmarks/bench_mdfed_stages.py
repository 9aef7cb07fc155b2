"""What distillation brings: stage 3 on a few labelled clips, from a distilled student and from
scratch (specs/mdfed.md, 3.4).

Stage 1 on all clips with skeletons, stage 2 without labels, then stage 3 twice on the same few
clips: once from the student of stage 2, once from random weights. Each is scored on the 40
held-out clips, whose events no stage has seen. On synthetic rallies; one seed each.

    python benchmarks/bench_mdfed_stages.py [--clips 20] [--keep FOLDER]
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from backend.config.compose import load_yaml, merge, validate
from backend.core.trainer import EvalRequest
from backend.nn.finetune.weights import load_weights, save_weights
from backend.runner.seeds import seed_model
from backend.synthetic.skeletons import write_spotting
from backend.trainers.mdfed.checkpoint import NETWORK, read_checkpoint
from backend.trainers.mdfed.model.network import build_network
from backend.trainers.mdfed.spec import MdFedConfig
from backend.trainers.mdfed.trainer import MdFedTrainer
from benchmarks._measuring import Never

DEMO = Path(__file__).parents[1] / "configs" / "demo"
SHOWN = ("ap_frame", "f1_lcl", "f1_event", "f1_element", "edit")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=20, help="labelled clips of stage 3")
    parser.add_argument("--keep", type=Path, help="stages 1 and 2 that lie here are not repeated")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options.keep or Path(folder))
        teacher = bench.stage("rallies")
        student = bench.stage("rallies-distill", teacher)
        few = {"clips": {"few_shot": options.clips}}
        tuned = bench.train("rallies-visual", student, few)
        scratch = bench.train("rallies-visual", bench.untrained(student), few, "scratch")
        edits = [
            bench.report(name, checkpoint)["edit"] or 0.0
            for name, checkpoint in (
                ("stage 1", teacher),
                ("stage 2", student),
                ("stage 3", tuned),
                ("scratch", scratch),
            )
        ]
    *_, best, alone = edits
    times = f"{best / alone:.1f} times" if alone else "and not 0"
    print(f"Edit of stage 3 on {options.clips} clips: {best:.1f} against {alone:.1f} ({times})")


class Bench:
    """Trainings in a folder, one after the other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._data = write_spotting(self._folder / "data")

    def stage(self, name: str, pretrained: Path | None = None) -> Path:
        """Its best checkpoint, trained unless that is there."""
        kept = sorted((self._folder / name / "checkpoints").glob("*.safetensors"))
        return kept[-1] if kept else self.train(name, pretrained)

    def train(
        self,
        name: str,
        pretrained: Path | None,
        over: Mapping[str, object] | None = None,
        called: str = "",
    ) -> Path:
        """Train a demo config; the best checkpoint."""
        work = self._folder / (called or name)
        began = time.process_time()
        outcome = MdFedTrainer(self._config(name, pretrained, over), work).fit(
            lambda event: None, Never()
        )
        print(f"{called or name}: {time.process_time() - began:.0f} CPU s", flush=True)
        assert outcome.best is not None
        return work / outcome.best

    def untrained(self, student: Path) -> Path:
        """A checkpoint of the same network with random weights."""
        saved = read_checkpoint(student)
        seed_model(0)
        network = build_network(
            saved.fitting(self._config("rallies-visual", student)), len(saved.elements)
        )
        state = {f"{NETWORK}{name}": value for name, value in network.state_dict().items()}
        path = self._folder / "untrained.safetensors"
        save_weights(path, state, load_weights(student)[1])
        return path

    def report(self, name: str, checkpoint: Path) -> dict[str, float | None]:
        """Score on the held-out clips, and print."""
        config = self._config("rallies", None)
        request = EvalRequest(
            checkpoint=str(checkpoint), data=str(self._data), split="holdout",
            out=str(self._folder / "scores" / name),
        )  # fmt: skip
        metrics = dict(MdFedTrainer(config, self._folder).evaluate(request).metrics)
        shown = ", ".join(f"{key} {metrics[key] or 0:.3f}" for key in SHOWN)
        print(f"{name}: {shown}", flush=True)
        return metrics

    def _config(
        self, name: str, pretrained: Path | None, over: Mapping[str, object] | None = None
    ) -> MdFedConfig:
        settings = merge(load_yaml(DEMO / f"{name}.yaml"), {"data": str(self._data)})
        if pretrained:
            settings = merge(settings, {"model": {"pretrained": str(pretrained)}})
        return validate(MdFedConfig, merge(settings, over or {}), name)


if __name__ == "__main__":
    main()
