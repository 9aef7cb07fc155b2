"""What the experts of a mixture did over one whole pass: who was asked, how surely, for what."""

from typing import Literal

from pydantic import Field

from backend.core.records import Record


class ExpertLoss(Record):
    """An expert's part of the detection loss: its class columns and its targets.

    ``total`` is divided by all targets, so that the experts add up to the whole;
    ``per_object`` by the expert's own, None if it has none.
    """

    vfl: float
    bbox: float
    giou: float
    total: float
    objects: int
    per_object: float | None


class RouterReport(Record):
    """One router over a pass. Tuples have one entry per expert; entropies are in nats.

    ``name`` is ``token`` or ``query/<decoder layer>``. ``counts`` are choices and sum to
    ``tokens * k`` unless experts are skipped; ``usage`` is an expert's share of them,
    ``importance`` the mean weight it was given, ``probability`` the mean softmax over all
    experts. ``load_balance`` is the Switch loss with k divided out: 1 when even.
    ``dead``: less than a tenth of an even share; ``unused``: not once chosen.
    """

    name: str
    tokens: int
    counts: tuple[int, ...]
    usage: tuple[float, ...]
    importance: tuple[float, ...]
    probability: tuple[float, ...]
    routing_entropy: float
    usage_entropy: float
    gate_entropy: float
    load_balance: float
    z_loss: float
    max_violation: float
    dead: tuple[int, ...] = ()
    unused: tuple[int, ...] = ()
    overloaded: tuple[int, ...] = ()
    dropped: float = 0.0


class Affinity(Record):
    """Mean weight of each expert (columns) on matched objects of each row: classes, or sizes.

    Rows sum to 1; a row without ``objects`` is None.
    """

    rows: tuple[str, ...]
    objects: tuple[int, ...]
    matrix: tuple[tuple[float, ...] | None, ...]


class ExpertReport(Record):
    """The experts of one checkpoint on one split, at ``step`` of the run.

    ``experts`` are their names and ``groups`` the classes that each is in charge of;
    ``supervised`` tells whether the router was trained to respect the groups, without which
    ``alignment`` is only what emerged. ``alignment`` is the mean weight of the expert in charge
    (over classes; ``alignment_micro`` over objects), ``specialisation`` is 0 for uniform routing
    and for collapse, 1 for an expert per class. ``losses`` (of this pass) and ``train_losses``
    (mean of the epoch so far, total only) have one entry per expert. ``solo_ap`` is AP by class
    (columns, None without objects) when the query routers may use one expert (rows) only; None
    where it was not measured. ``gflops`` is of one image, ``dense_gflops`` that of the dense
    model of the same cost. ``pruned``: a prompt skipped experts in this pass, so that their use
    says nothing of the routers.
    """

    split: str
    step: int
    epoch: int
    images: int
    experts: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]
    classes: tuple[str, ...]
    k: int
    supervised: bool
    routers: tuple[RouterReport, ...]
    classes_to_experts: Affinity
    sizes_to_experts: Affinity
    alignment: float | None
    alignment_micro: float | None
    specialisation: float | None
    losses: tuple[ExpertLoss, ...]
    train_losses: tuple[float, ...] = ()
    per_class: dict[str, float | None] = Field(default_factory=dict)
    solo_ap: tuple[tuple[float | None, ...], ...] | None = None
    gflops: float | None = None
    dense_gflops: float | None = None
    pruned: bool = False

    def router(self, name: Literal["token", "query"]) -> tuple[RouterReport, ...]:
        """The routers of one kind, in the order of their layers."""
        return tuple(r for r in self.routers if r.name.partition("/")[0] == name)
