"""Train the healthy bank: real runs of every trainer that no rule may find fault with.

Each run is one file in ``benchmarks/data/healthy``: its config, its seed and what it told (curves
to four digits, evidence as it was). What is there already is left alone, so the script can be
stopped and started again; ``--anew`` trains everything. MD-FED four ways with five seeds each,
RT-DETR with experts four ways, YOLO with seven seeds: about 35 CPU minutes.

    python benchmarks/make_healthy_bank.py [--jobs 1] [--only mdfed] [--anew]
"""

import argparse
import multiprocessing
import tempfile
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from backend.catalog import load_config
from backend.config.schema import TrainConfig
from backend.core.events import (
    CheckpointRemoved,
    CheckpointSaved,
    Diagnosed,
    Evaluated,
    Event,
    ExpertsObserved,
    MetricsLogged,
    Noted,
    RunFinished,
)
from tests.support.healthy_bank import FOLDER, Banked, written

ROOT = Path(__file__).parents[1]
LEFT_OUT = CheckpointSaved | CheckpointRemoved | Evaluated | Noted | Diagnosed


@dataclass(frozen=True)
class Recipe:
    """A config file, what is changed in it, and the seeds to train it with."""

    name: str
    config: str
    data: str
    seeds: int
    changes: Mapping[str, object] = field(default_factory=dict)


RECIPES = (
    Recipe("mdfed-default", "configs/demo/rallies.yaml", "rallies", 5, {"epochs": 30}),
    Recipe("mdfed-mean", "configs/demo/rallies.yaml", "rallies", 5,
           {"model.fusion": "mean", "model.dropout": 0.0}),
    Recipe("mdfed-weighted", "configs/demo/rallies.yaml", "rallies", 5,
           {"loss.pos_weight": "sqrt", "model.bias_init": True, "loss.fg_weight": 10.0}),
    Recipe("mdfed-gentle", "configs/demo/rallies.yaml", "rallies", 5,
           {"runner.optimizer.lr.all": 2.0e-3, "model.dropout": 0.3, "clips.dilation": 1}),
    Recipe("moe-experts", "configs/demo/traffic.yaml", "traffic", 2, {"epochs": 4}),
    Recipe("moe-dense", "configs/demo/traffic.yaml", "traffic", 1,
           {"epochs": 4, "moe.experts": "dense"}),
    Recipe("moe-groups", "configs/demo/traffic.yaml", "traffic", 1,
           {"epochs": 4, "moe.experts": "B"}),
    Recipe("yolo-tiny", "configs/demo/source.yaml", "digits", 7, {"epochs": 12}),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1, help="Trainings at a time.")
    parser.add_argument("--only", default="", help="Recipes whose name begins so.")
    parser.add_argument("--anew", action="store_true", help="Also what is there already.")
    options = parser.parse_args()
    wanted = [
        (recipe, seed)
        for recipe in RECIPES
        if recipe.name.startswith(options.only)
        for seed in range(recipe.seeds)
        if options.anew or not (FOLDER / f"{recipe.name}-{seed}.json").exists()
    ]
    with tempfile.TemporaryDirectory() as room:
        data = make_data(Path(room), {recipe.data for recipe, _ in wanted})
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(options.jobs, mp_context=spawn, max_tasks_per_child=1) as workers:
            for line in workers.map(partial(train, data, Path(room)), *zip(*wanted, strict=True)):
                print(line, flush=True)


def make_data(room: Path, names: set[str]) -> dict[str, str]:
    """The demo's datasets, smaller where a run would take long."""
    from backend.synthetic.digits import write_digits
    from backend.synthetic.skeletons import write_spotting
    from backend.synthetic.traffic import write_traffic

    images = {"source": (160, 60, 8), "target-same": (4, 4, 4), "target-new": (4, 4, 4)}
    made = {}
    if "rallies" in names:
        made["rallies"] = str(write_spotting(room / "rallies"))
    if "traffic" in names:
        made["traffic"] = str(write_traffic(room / "traffic", frames=240))
    if "digits" in names:
        made["digits"] = str(write_digits(room / "digits", images=images).source)
    return made


def train(data: Mapping[str, str], room: Path, recipe: Recipe, seed: int) -> str:
    """One run, in this process."""
    name = f"{recipe.name}-{seed}"
    overrides = {**recipe.changes, "data": data[recipe.data], "seed": seed, "name": name}
    config = load_config(ROOT / recipe.config, overrides)
    events = fit(config, room / name)
    made = Banked(
        name=name, made_from=recipe.config, seed=seed,
        changes={key: str(value) for key, value in recipe.changes.items()},
        config={k: v for k, v in config.flat().items() if k not in {"data", "source"}},
        events=tuple(slim(event) for event in events if not isinstance(event, LEFT_OUT)),
    )  # fmt: skip
    path = FOLDER / f"{name}.json"
    path.write_text(written(made), encoding="utf-8")
    steps = max(event.step for event in made.events if isinstance(event, MetricsLogged))
    return f"{name}: {steps} steps, {path.stat().st_size / 1000:.0f} kB"


def fit(config: TrainConfig, work: Path) -> list[Event]:
    """What a training tells, with its end."""
    import importlib

    from backend.catalog import CATALOG

    module, _, entry = CATALOG[config.kind].entry.partition(":")
    events: list[Event] = []
    work.mkdir()
    outcome = getattr(importlib.import_module(module), entry)(config, work).fit(
        events.append, NoStop()
    )
    return [*events, RunFinished(status=outcome.status)]


class NoStop:
    """Nobody stops it."""

    def reason(self) -> str | None:
        return None


def slim(event: Event) -> Event:
    """Numbers to four digits; of experts the routers only."""
    if isinstance(event, MetricsLogged):
        kept = {k: v for k, v in event.metrics.items() if not k.startswith(("moe/", "cost/"))}
        return event.model_copy(update={"metrics": kept})
    if isinstance(event, ExpertsObserved):
        bare: dict[str, object] = {
            "losses": (),
            "train_losses": (),
            "per_class": {},
            "solo_ap": None,
        }
        return event.model_copy(update={"report": event.report.model_copy(update=bare)})
    return event


if __name__ == "__main__":
    main()
