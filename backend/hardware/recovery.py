"""How a run's settings came to be what they are, and the next ones when memory runs out.

A file in the work directory carries them from one attempt to the next; the process that died
cannot, so its parent notes there why it starts another.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from backend.core.errors import StoreError, TrainingError
from backend.core.events import Order, Recovered, Setting
from backend.core.knobs import Knobs
from backend.core.records import Record
from backend.core.workdir import write_atomic
from backend.hardware.ladder import step_down
from backend.hardware.memory import Shortage

FILE = "memory.json"

AGAIN = 75
"""Exit code of a training process that wants a fresh one to go on (EX_TEMPFAIL)."""

Phase = Literal["setup", "train", "val", "evaluation", "unknown"]


class Death(Record):
    """A process that ended without a word: why, and how far it was as far as was heard."""

    shortage: Shortage
    phase: Phase = "unknown"
    step: int | None = None


class Memo(Record):
    """``asked`` is what the ``tier`` asked for, ``planned`` what of it memory is expected to hold,
    by config key; ``died`` is how the last attempt's process ended, until the next attempt has
    drawn its conclusion."""

    tier: str = ""
    asked: dict[str, Setting] | None = None
    planned: dict[str, Setting] | None = None
    recovered: tuple[Recovered, ...] = ()
    died: Death | None = None

    @property
    def overrides(self) -> dict[str, Setting]:
        """What the machine decided, and not the person."""
        planned = self.planned or {}
        if not self.recovered:
            return planned
        last = self.recovered[-1]
        return {
            key: value
            for key, value in last.effective.items()
            if key in planned or value != last.requested[key]
        }


def read_memo(work_dir: Path) -> Memo:
    """What the earlier attempts left; empty if there were none. Raises StoreError."""
    path = work_dir / FILE
    try:
        return Memo.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Memo()
    except (OSError, ValidationError) as error:
        raise StoreError(f"{path}: cannot be read; start a new run") from error


def write_memo(work_dir: Path, memo: Memo) -> None:
    """The whole file or none of it. Raises StoreError."""
    work_dir.mkdir(parents=True, exist_ok=True)
    write_atomic(work_dir / FILE, memo.model_dump_json(indent=2) + "\n")


def note_death(work_dir: Path, death: Death) -> bool:
    """Let the next attempt step down; False if the last one died before it could."""
    memo = read_memo(work_dir)
    if memo.died is not None:
        return False
    write_memo(work_dir, memo.model_copy(update={"died": death}))
    return True


def exhausted(memo: Memo, shortage: Shortage, end: str) -> TrainingError:
    """Why there is no further attempt."""
    tried = "; ".join(f"{r.action}" for r in memo.recovered) or "nothing was left to lower"
    return TrainingError(
        f"memory ran out ({shortage.cause}), and {end}; tried: {tried}; use a smaller model or a "
        "machine with more memory"
    )


def _given(knobs: Knobs, phase: Phase) -> tuple[Knobs, ...]:
    """What there is to give in a phase, in order."""
    if phase == "evaluation":
        return (knobs.of_evaluation,)
    if phase == "val" and knobs.evaluating:
        return knobs.of_evaluation, knobs
    return (knobs,)


def stepped_down(
    memo: Memo,
    requested: Mapping[str, Setting],
    knobs: Knobs,
    shortage: Shortage,
    where: tuple[Phase, int | None] = ("unknown", None),
    order: Order = "batch",
) -> Memo:
    """The memo of the next attempt. Raises TrainingError at the ladder's end."""
    phase, step = where
    planned = {**requested, **(memo.planned or {})}
    effective = {**planned, **memo.overrides}
    rungs = (step_down(planned, effective, given, order) for given in _given(knobs, phase))
    rung = next((rung for rung in rungs if rung), None)
    if rung is None:
        raise exhausted(memo, shortage, "the run is as small as it may be")
    told = Recovered(
        attempt=len(memo.recovered) + 1,
        step=step,
        phase=phase,
        kind=shortage.kind,
        cause=shortage.cause,
        action=rung.action,
        requested=dict(requested),
        effective=rung.settings,
        skipped=rung.skipped,
        order=order,
    )
    return memo.model_copy(update={"recovered": (*memo.recovered, told), "died": None})
