"""What differs between both sides, and under which conditions they were judged."""

from collections.abc import Sequence
from datetime import UTC, datetime

from backend.analysis import text
from backend.analysis.changes import changes
from backend.analysis.report.blocks import Block, cell, code, facts, table
from backend.analysis.report.settings import value_of
from backend.analysis.weights import summary
from backend.core.comparisons import (
    Comparison,
    Contender,
    DataComparison,
    LayerChange,
)

METHODS = {"bca": "BCa", "percentile": "expanded percentile", "student": "Student's"}


def weights(layers: Sequence[LayerChange]) -> list[Block]:
    """How far each layer moved."""
    if not layers:
        return []
    note = (
        "Distance of the new weights from the old, relative to the old weights' size "
        f"(Euclidean norms). {cell(summary(layers))}"
    )
    rows = [
        (
            code(layer.layer),
            f"{layer.parameters:,}",
            text.ABSENT if layer.relative is None else text.percent(layer.relative, 2),
            _buffers(layer),
            cell(layer.note),
        )
        for layer in layers
    ]
    head = ("layer", "parameters", "moved", "buffers moved", "note")
    return ["## Weights", note, table(head, rows, left=1)]


def changed(comparison: Comparison) -> list[Block]:
    """Configuration, data, code and environment, as far as they are not the same."""
    sides = (comparison.baseline, comparison.candidate)
    blocks: list[Block] = ["## What changed"]
    missing = [side for side, its in zip(("baseline", "candidate"), sides, strict=True)
               if not its.params]  # fmt: skip
    if missing:
        blocks.append(f"The training parameters of the {' and the '.join(missing)} are not known.")
    found = comparison.changes or changes(*sides)
    rows = [
        (change.kind, code(change.name), value_of(change.baseline), value_of(change.candidate))
        for change in found
    ]
    if rows:
        note = "Only what differs; nothing is said of what one side does not tell."
        return [*blocks, note, table(("kind", "name", "old", "new"), rows, left=4)]
    return blocks if missing else [*blocks, "Both were trained with the same configuration."]


def conditions(comparison: Comparison) -> list[Block]:
    """Files, data, evaluator and statistics."""
    target = comparison.target
    when = datetime.fromtimestamp(comparison.created, tz=UTC)
    settings = target.baseline_report.settings
    rows = [
        ("old", _side(comparison.baseline)),
        ("new", _side(comparison.candidate)),
        _data(target),
        *([_data(comparison.source)] if comparison.source else []),
        ("evaluator", cell(target.evaluator)),
        ("settings", ", ".join(f"{cell(k)} {cell(v)}" for k, v in sorted(settings.items()))),
        ("statistics", _statistics(comparison)),
        ("made", f"{when:%Y-%m-%d %H:%M} UTC, key {code(comparison.key)}"),
    ]
    return ["## Conditions", facts(rows)]


def _statistics(comparison: Comparison) -> str:
    target = comparison.target
    used = {delta.interval for delta in target.metrics if delta.interval}
    methods = " or ".join(METHODS.get(name, name) for name in sorted(used)) or "percentile"
    tested = any(delta.p_value is not None for delta in target.metrics)
    test = f"paired permutation test, {comparison.permutations:,} swaps; " if tested else ""
    return (
        f"paired bootstrap over {target.unit}s, {comparison.replicates:,} replicates, seed "
        f"{comparison.seed}; {methods} intervals at {text.level(comparison.confidence)}; {test}"
        f"margin ±{comparison.margin:g}"
    )


def _side(side: Contender) -> str:
    known = f", sha256 {code(side.checkpoint.sha256[:12])}" if side.checkpoint.sha256 else ""
    picked = ""
    if side.selection is not None:
        picked = (
            f", picked as the best of {side.selection.trials} trials of study "
            f"'{cell(side.selection.study)}' by {cell(side.selection.metric)}"
        )
    return f"{code(side.checkpoint.path)}{known}{picked}"


def _data(data: DataComparison) -> tuple[str, str]:
    on = cell(text.scored_on(data.units, data.unit, data.split))
    return f"{data.role} data", f"{code(data.data)}, {on}, sha256 {code(data.data_digest[:12])}"


def _buffers(layer: LayerChange) -> str:
    return f"{len(layer.buffers_moved)} of {layer.buffers}" if layer.buffers else text.ABSENT
