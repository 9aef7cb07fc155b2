"""The dense model of the same cost, without which no result of experts says anything."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from backend.analysis.experts.keys import DENSE, EXPERTS, HIDDEN, TOP_K, gflops_of, is_dense
from backend.analysis.text import number, signed
from backend.core.records import Run

# What only experts have, and what decides neither data, cost nor training.
APART = frozenset(
    {
        *("name", "experiment", "device", "analyze", "prompt", "runner.workers", EXPERTS),
        *(TOP_K, HIDDEN, "moe.balance", "moe.load_balance_weight", "moe.bias_rate"),
        *("moe.z_loss_weight", "moe.route_sup", "moe.route_sup_token", "moe.noise"),
        "moe.capacity",
    }
)
APART_SECTIONS = ("moe.groups.", "hardware.")
SEED = "seed"


@dataclass(frozen=True)
class DenseTwin:
    """The dense run to hold experts against.

    ``run`` is the finished dense run with the fewest other settings, named in ``differs``; None
    if there is none. ``fair``: nothing but the seed differs. ``better`` tells who has the better
    headline where that is fair and known: the experts (True) or not (False). ``said`` is the
    whole in sentences, with the command that trains the twin where it is missing.
    """

    run: Run | None
    differs: tuple[str, ...]
    fair: bool
    better: bool | None
    said: str


def dense_twin(run: Run, runs: Sequence[Run], *, maximize: bool = True) -> DenseTwin | None:
    """The dense twin of a run with experts among ``runs``; None for a run without experts.

    A dense run costs the same if ``top_k * hidden`` is the same: as much of its feed-forward
    network works on each token. ``maximize``: a higher headline is better.
    """
    if run.params.get(EXPERTS) in (None, DENSE):
        return None
    found = [
        (_differences(run, other), other)
        for other in runs
        if is_dense(other) and other.trainer == run.trainer and other.status == "finished"
    ]
    if not found:
        said = "No finished dense run of the same cost stands beside it"
        return DenseTwin(None, (), False, None, f"{said}; train one: {command(run)}")
    differs, twin = min(found, key=lambda pair: (len(pair[0]), -pair[1].started))
    if not set(differs) <= {SEED}:
        said = (
            f"No dense run has the same settings; the nearest, {twin.key}, differs in "
            f"{_listed(run, twin, differs)}"
        )
        return DenseTwin(twin, differs, False, None, f"{said}. Train the twin: {command(run)}")
    better, said = _verdict(run, twin, maximize=maximize)
    return DenseTwin(twin, differs, True, better, said)


def command(run: Run) -> str:
    """What trains the dense twin of a run."""
    settings = [f"{EXPERTS}={DENSE}", f"name={run.name}-{DENSE}"]
    if any(key.startswith("moe.groups.") for key in run.params):
        settings.insert(1, "moe.groups={}")
    words = ["assay", "train", str(Path(run.work_dir) / "config.yaml")]
    words += [word for setting in settings for word in ("--set", setting)]
    return shlex.join(words)


def _differences(run: Run, other: Run) -> tuple[str, ...]:
    mine, theirs = _settings(run.params), _settings(other.params)
    keys = sorted(mine.keys() | theirs.keys())
    return tuple(key for key in keys if mine.get(key, "") != theirs.get(key, ""))


def _settings(params: Mapping[str, str]) -> dict[str, str]:
    """What a twin must share; the width that works on a token in one number."""
    kept = {
        key: value
        for key, value in params.items()
        if key not in APART and not key.startswith(APART_SECTIONS)
    }
    if TOP_K in params and HIDDEN in params:
        kept[f"{TOP_K} x {HIDDEN}"] = str(int(params[TOP_K]) * int(params[HIDDEN]))
    return kept


def _listed(run: Run, other: Run, differs: Sequence[str], most: int = 5) -> str:
    mine, theirs = _settings(run.params), _settings(other.params)
    shown = [f"{key} ({mine.get(key, '')} → {theirs.get(key, '')})" for key in differs[:most]]
    more = len(differs) - most
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _verdict(run: Run, twin: Run, *, maximize: bool) -> tuple[bool | None, str]:
    """Who has the better headline; one run each is no proof, and it says so."""
    mine, theirs = run.best.get(run.headline), twin.best.get(twin.headline)
    if mine is None or theirs is None or run.headline != twin.headline:
        return None, f"The dense run {twin.key} stands beside it; no headline of both is known."
    better = mine > theirs if maximize else mine < theirs
    costs = [gflops_of(one) for one in (run, twin)]
    cost = "" if None in costs else " at {} and {} GFLOP per image".format(*map(number, costs))
    seeds = "" if run.params.get(SEED) == twin.params.get(SEED) else ", of another seed"
    verb = "are better than" if better else "are not better than"
    return better, (
        f"The experts {verb} the dense model of the same cost: {run.headline} {number(mine, 4)} "
        f"against {number(theirs, 4)}{cost} ({signed(mine - theirs, 4)}, run {twin.key}{seeds}). "
        "One run each is no proof; compare them image by image: "
        f"assay compare {twin.key} {run.key}"
    )
