"""The proof that nothing frozen moved: ``freeze_report.json`` (specs/motrv2.md, 3.3)."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from backend.core.digest import sha256
from backend.core.errors import TrainingError
from backend.core.events import Event, FileSaved, Noted
from backend.core.workdir import write_atomic
from backend.nn.finetune.weights import distinct
from backend.trainers.motrv2.checkpoint import read_checkpoint
from backend.trainers.motrv2.model.learner import ClipLearner
from backend.trainers.motrv2.parts import rate_groups
from backend.trainers.motrv2.selection import ALIASES, size
from backend.trainers.motrv2.spec import Motrv2Config
from backend.trainers.motrv2.weights import Start

FILE = "freeze_report.json"
SHOWN = 4


class Proof:
    """Remembers a network as training begins, and compares with it what training made of it.

    What must not move is every parameter that does not train and every buffer but the running
    statistics of batch norms that train.
    """

    def __init__(self, start: Start, config: Motrv2Config, work_dir: Path) -> None:
        self._start, self._config, self._work_dir = start, config, work_dir
        self._before = prints(start.learner.state_dict())
        moving = set(start.selection.trainable)
        if not config.learning.still_norms:
            moving |= set(_statistics(start.learner, start.selection.trainable))
        self._still = tuple(name for name in self._before if name not in moving)

    def __call__(self, models: Mapping[str, nn.Module], checkpoint: Path) -> tuple[Event, ...]:
        """Write the report, and tell of it. ``models`` are ``model`` and perhaps ``ema``.

        Raises TrainingError if a frozen tensor moved, in one of them or in the checkpoint.
        """
        after = {which: prints(model.state_dict()) for which, model in models.items()}
        after["file"] = prints(read_checkpoint(checkpoint).weights)
        moved = [
            f"{name} ({which})"
            for which, found in after.items()
            for name in self._still
            if found.get(name) != self._before[name]
        ]
        unmoved = {
            name: self._why(name)
            for name in sorted(self._start.selection.trainable)
            if after["model"][name] == self._before[name]
        }
        told = self._report(moved, unmoved, tuple(after))
        path = self._work_dir / FILE
        write_atomic(path, json.dumps(told, indent=1) + "\n")
        if moved:
            more = f" and {len(moved) - SHOWN} more" if len(moved) > SHOWN else ""
            raise TrainingError(
                f"{path}: frozen, and yet it moved: {', '.join(moved[:SHOWN])}{more}; do not use "
                "these weights and report this"
            )
        facts: dict[str, bool | int | float | str] = {
            "frozen_entries": len(self._still),
            "moved_frozen": len(moved),
            "unmoved_trainable": len(unmoved),
        }
        saved = FileSaved(path=FILE, kind="freeze_report", sha256=sha256(path), facts=facts)
        return saved, *_unmoved_note(unmoved)

    def _report(
        self, moved: list[str], unmoved: Mapping[str, str], compared: tuple[str, ...]
    ) -> dict[str, Any]:
        start, freeze = self._start, self._config.freeze
        selection, report = start.selection, start.report
        return {
            "strategy": freeze.strategy,
            "names": freeze.names,
            "expressions": [
                {"name": one, "expression": _expression(one), "tensors": count}
                for one, count in selection.matched.items()
            ],
            "forced": sorted(selection.forced),
            "mismatched": [one.name for one in report.mismatched] if report else [],
            "missing": [one.name for one in report.missing] if report else [],
            "parameters": summary(start),
            "groups": {
                name: group._asdict() for name, group in rate_groups(start, self._config).items()
            },
            "compared": list(compared),
            "moved_frozen": moved,
            "unmoved_trainable": dict(unmoved),
            "sha256": {name: self._before[name] for name in self._still},
        }

    def _why(self, name: str) -> str:
        """Why a parameter that trains did not move, as far as the config tells."""
        if name.startswith("refine_embed.") and self._config.model.denoising == 0:
            return "there are no denoising queries: model.denoising is 0"
        if name.startswith("yolox_") and not self._config.det_db.use:
            return "there are no proposal queries: det_db.use is false"
        if name.startswith("track_embed.") and max(self._config.clips.lengths) == 1:
            return "clips of one frame pass nothing on: clips.lengths"
        if name.startswith("track_embed."):
            return "no gradient: no query passed the score at which it is renewed"
        return "no gradient reached it, or head warm-up took the whole run"


def prints(state: Mapping[str, Tensor]) -> dict[str, str]:
    """SHA-256 of each tensor's kind, shape and bytes, by the first of its names."""
    return {name: _print(tensor) for name, tensor in distinct(state).items()}


def summary(start: Start) -> dict[str, dict[str, float]]:
    """Tensors, numbers and percent of what trains, of what is frozen and of all."""
    selection = start.selection
    sets = {
        "trainable": selection.trainable,
        "frozen": selection.frozen,
        "total": selection.trainable | selection.frozen,
    }
    sizes = {name: size(start.learner, chosen) for name, chosen in sets.items()}
    return {
        name: {"tensors": tensors, "numbers": numbers, "percent": share(numbers, sizes)}
        for name, (tensors, numbers) in sizes.items()
    }


def share(numbers: int, sizes: Mapping[str, tuple[int, int]]) -> float:
    """Percent of all numbers."""
    return round(100 * numbers / sizes["total"][1], 4)


def summary_line(start: Start, strategy: str) -> str:
    """What trains, in a sentence."""
    found = summary(start)
    trains, frozen, total = (found[name] for name in ("trainable", "frozen", "total"))
    return (
        f"strategy {strategy}: trainable {trains['numbers']:,} ({trains['percent']:.4g} %), "
        f"frozen {frozen['numbers']:,} ({frozen['percent']:.4g} %), total {total['numbers']:,}; "
        f"{trains['tensors']:,} of {total['tensors']:,} tensors train"
    )


def _print(tensor: Tensor) -> str:
    values = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{values.dtype} {tuple(values.shape)} ".encode())
    digest.update(values.numpy().tobytes())
    return digest.hexdigest()


def _statistics(learner: ClipLearner, trainable: frozenset[str]) -> Iterator[str]:
    """Running statistics of batch norms that train."""
    for at, module in learner.named_modules():
        own = [f"{at}.{name}" for name, _ in module.named_parameters(recurse=False)]
        if isinstance(module, _BatchNorm) and not trainable.isdisjoint(own):
            yield from (f"{at}.{name}" for name, _ in module.named_buffers(recurse=False))


def _expression(name: str) -> str:
    bare = name.removeprefix("!")
    return name.replace(bare, ALIASES.get(bare, bare))


def _unmoved_note(unmoved: Mapping[str, str]) -> tuple[Noted, ...]:
    if not unmoved:
        return ()
    name, why = next(iter(unmoved.items()))
    message = f"{len(unmoved)} tensors that train did not move, for example {name}: {why}"
    return (Noted(level="warning", message=f"{message} ({FILE} lists them)"),)
