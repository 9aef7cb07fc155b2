"""How large a run the machine invites to: a tier, by the memory of the smallest GPU in use."""

from collections.abc import Mapping, Sequence

from backend.config.hardware import TierName
from backend.core.errors import ConfigError
from backend.core.events import Setting
from backend.core.knobs import Knobs
from backend.core.records import Record
from backend.hardware.ladder import whole
from backend.hardware.machine import GIB, Gpu, Machine

NOMINAL = 0.04
"""A card of 12 GB may report a little less or more; within this share it counts as 12."""

ENOUGH_FREE = 0.8
"""Of the tier's lower bound; with less free memory, the next tier down."""


AUTO = "auto"
"""A model that the tier is to choose."""


class Tier(Record):
    """What a GPU of ``lower`` GiB and more is asked to do; ``size`` is the image's long side.

    Batches and sizes are those of the brief; the estimate of a run's memory caps them.
    """

    name: TierName
    lower: float
    batch: int
    size: int
    workers: int
    prefetch: int


TIERS = {
    tier.name: tier
    for tier in (
        Tier(name="cpu", lower=0, batch=4, size=320, workers=2, prefetch=2),
        Tier(name="low", lower=0, batch=8, size=480, workers=4, prefetch=2),
        Tier(name="medium", lower=6, batch=16, size=640, workers=8, prefetch=2),
        Tier(name="high", lower=12, batch=32, size=640, workers=8, prefetch=4),
        Tier(name="workstation", lower=24, batch=64, size=800, workers=16, prefetch=4),
        Tier(name="server", lower=48, batch=64, size=800, workers=16, prefetch=4),
    )
}
"""Up to 24 GiB is high, above it workstation; the other bounds belong to the tier above them. A
server asks for more only of a trainer that says so (``Knobs.by_tier``)."""


class Choice(Record):
    """A tier, why it was chosen, and what a person should know; ``free`` are the bytes that the
    smallest GPU in use has left, None where that is not known."""

    tier: Tier
    reason: str
    free: int | None = None
    warnings: tuple[str, ...] = ()


def choose(machine: Machine, asked: str = "auto", places: Sequence[int] | None = None) -> Choice:
    """The tier of the visible GPUs at ``places`` (None: the first one; empty: the CPU), or the
    one that was asked for.

    Raises ConfigError for a tier that is not known.
    """
    places = (0,) if places is None else places
    used = [machine.visible[at] for at in places if at < len(machine.visible)]
    if asked != "auto":
        if asked not in TIERS:
            raise ConfigError(f"tier '{asked}' is unknown; choose one of {', '.join(TIERS)}")
        return Choice(tier=TIERS[asked], reason="asked for", free=_least_free(used))
    if not places:
        return Choice(tier=TIERS["cpu"], reason="trains on the CPU")
    known = [gpu for gpu in used if gpu.total is not None]
    if not known:
        reason = machine.reason or "no GPU tells how much memory it has"
        return Choice(tier=TIERS["cpu"], reason=reason)
    choice = _by_memory(min(known, key=lambda gpu: gpu.total or 0))
    return choice.model_copy(update={"free": _least_free(used)})


def _least_free(gpus: Sequence[Gpu]) -> int | None:
    return min((gpu.free for gpu in gpus if gpu.free is not None), default=None)


def scaled(
    requested: Mapping[str, Setting],
    knobs: Knobs,
    tier: Tier,
    cores: int | None,
    keep: Sequence[str] = (),
) -> dict[str, Setting]:
    """The settings that a tier asks for, by config key: those that ``knobs`` has, but for
    ``keep``; and the model, where that is ``auto``.

    ``cores`` are those of one training process, None as many as the tier could use: it has no
    more loader processes than others, and these no more threads in all.
    """
    usual: dict[str | None, int] = {
        knobs.batch: tier.batch,
        knobs.workers: tier.workers,
        knobs.prefetch: tier.prefetch,
        **{key: tiers[tier.name] for key, tiers in knobs.by_tier.items() if tier.name in tiers},
    }
    asked: dict[str, Setting] = {
        key: value for key, value in usual.items() if key is not None and key not in keep
    }
    if knobs.size and knobs.size.key not in keep:
        side = knobs.size.tiers.get(tier.name, tier.size)
        asked[knobs.size.key] = knobs.size.scaled(requested[knobs.size.key], side)
    if knobs.model and requested[knobs.model] == AUTO:
        asked[knobs.model] = knobs.models[tier.name]
    return asked if cores is None else asked | _within(cores, asked, requested, knobs)


def _within(
    cores: int, asked: Mapping[str, Setting], requested: Mapping[str, Setting], knobs: Knobs
) -> dict[str, Setting]:
    """The loader processes and their threads that so many cores serve."""
    found: dict[str, Setting] = {}
    workers, threads = knobs.workers, knobs.threads
    if workers and workers in asked:
        found[workers] = min(whole(asked[workers]), max(cores - 1, 0))
    if threads and threads in asked:
        loaders = whole({**requested, **found}[workers]) if workers else 0
        found[threads] = min(whole(asked[threads]), max(cores // max(loaders, 1), 1))
    return found


def _by_memory(gpu: Gpu) -> Choice:
    assert gpu.total is not None
    gib = gpu.total / GIB
    bounds = [tier.lower for tier in TIERS.values()]
    nominal = next((b for b in bounds if b and abs(gib / b - 1) <= NOMINAL), gib)
    names = list(TIERS)
    above = nominal > 24
    place = max(at for at, name in enumerate(names) if TIERS[name].lower <= nominal)
    if not above:
        place = min(place, names.index("high"))
    what = f"{gpu.name or 'a GPU'}, {gib:.2f} GiB" + (", a MIG instance" if gpu.mig else "")
    tier = TIERS[names[place]]
    if gpu.free is None or gpu.free >= ENOUGH_FREE * tier.lower * GIB:
        return Choice(tier=tier, reason=what)
    lower = TIERS[names[place - 1]]
    warning = (
        f"only {gpu.free / GIB:.1f} of {gib:.1f} GiB are free on {gpu.name or 'the GPU'}: "
        f"scaled as tier {lower.name} instead of {tier.name}; end what else uses it"
    )
    return Choice(tier=lower, reason=what, warnings=(warning,))
