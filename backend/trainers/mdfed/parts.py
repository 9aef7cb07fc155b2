"""What trains and what is frozen, by exact name."""

from collections.abc import Iterator, Mapping

from torch import nn

from backend.core.errors import ConfigError
from backend.runner.training import Parts
from backend.trainers.mdfed.spec import MdFedConfig

NETWORK = "network."
CRITERION = "criterion."
TEACHER = "teacher"
HEADS = ("lcl", "mlc", "ctx")
FROZEN_PARTS: Mapping[str, tuple[str, ...]] = {
    "full": (),
    "encoder": ("encoder",),
    "encoder+gru": ("encoder", "temporal"),
    "all-but-mlc": ("encoder", "temporal", "lcl", "ctx"),
}


def part_of(name: str) -> str:
    """The part of the learner that a parameter belongs to: ``encoder``, ``temporal``, ``lcl``,
    ``mlc``, ``ctx``, or ``teacher``."""
    return name.removeprefix(NETWORK).removeprefix(CRITERION).partition(".")[0]


def parts_of(learner: nn.Module, config: MdFedConfig) -> Parts:
    """The freezing plan for a learner with ``network.*`` and perhaps ``teacher.*``.

    A teacher never trains; in a distillation neither do the student's heads, which get no loss.
    Raises ConfigError if nothing that has a loss would train.
    """
    strategy = config.freeze.strategy
    idle = {TEACHER, *FROZEN_PARTS[strategy], *(HEADS if config.stage == 2 else ())}
    names = [name for name, _ in learner.named_parameters()]
    frozen = frozenset(name for name in names if part_of(name) in idle)
    if strategy == "all-but-mlc" and not config.loss.mlc:
        raise ConfigError(
            "freeze.strategy 'all-but-mlc' trains the element classifier only, but loss.mlc is 0: "
            "nothing would train"
        )
    return Parts(frozen=frozen, part_of=part_of, notes=tuple(_notes(frozen, config)))


def _notes(frozen: frozenset[str], config: MdFedConfig) -> Iterator[str]:
    blind = [name for name in frozen if part_of(name) != TEACHER]
    if blind and config.stage != 2 and config.model.pretrained is None:
        yield (
            f"{config.freeze.strategy} freezes {len(blind)} parameters at random values: nothing "
            "was loaded (model.pretrained)"
        )
