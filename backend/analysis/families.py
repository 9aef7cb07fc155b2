"""Several candidates against one baseline, with intervals that hold for all of them at once.

The largest of many differences is large by chance. All candidates share the resampled units,
so the distribution of their largest studentised deviation is known together with its
correlations: the max-statistic (Westfall and Young 1993), which gives away less than Holm or
Bonferroni do when candidates err on the same images.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import ndtri

from backend.analysis.intervals import FEW_UNITS, TIE, settled, stretched, verdict
from backend.analysis.paired import column_of, refuse_other_truth
from backend.analysis.resampling import bootstrap_counts
from backend.analysis.settings import DEFAULTS, ComparisonSettings
from backend.core.comparisons import Family, FamilyMember
from backend.core.errors import ComparisonError
from backend.scoring.evidence import Counts, Evidence, Floats, Task


def compare_family(
    task: Task,
    baseline: tuple[str, Evidence],
    candidates: Mapping[str, Evidence],
    settings: ComparisonSettings = DEFAULTS,
) -> Family:
    """Each candidate minus the baseline in the primary metric, adjusted for their number.

    ``baseline`` and ``candidates`` carry labels. Raises ComparisonError for no candidate,
    another ground truth or an unknown metric.
    """
    name, old = baseline
    if not candidates:
        raise ComparisonError("there is no candidate to compare; name at least one")
    refuse_other_truth(old, *candidates.values())
    metric = settings.primary or task.primary
    at = column_of(metric, old)
    units = int(old.carrying()[at])
    drawn = bootstrap_counts(len(old.units), settings.replicates, settings.seed)
    before, *after = (_values(side, drawn, at) for side in (old, *candidates.values()))
    differences = settled(np.stack(after, axis=1) - before[:, None])
    margin = settings.margin_of(task, metric)
    direction = task.direction(metric)
    low, high, p = _simultaneous(differences, units, settings.confidence)
    members = [
        FamilyMember(
            label=label,
            value=_known(values[0]),
            delta=_known(differences[0, k]),
            low=(bottom := _known(low[k])),
            high=(top := _known(high[k])),
            p_value=_known(p[k]) if units >= FEW_UNITS else None,
            verdict=verdict(bottom, top, margin, direction),
        )
        for k, (label, values) in enumerate(zip(candidates, after, strict=True))
    ]
    return Family(
        task=task.name,
        metric=metric,
        direction=direction,
        baseline=name,
        baseline_value=_known(before[0]),
        confidence=settings.confidence,
        margin=margin,
        replicates=settings.replicates,
        seed=settings.seed,
        units=units,
        members=tuple(members),
        warnings=_warnings(task, members, units),
    )


def _values(evidence: Evidence, drawn: Counts, at: int) -> Floats:
    """One column on the data as they are, then on each replicate."""
    as_is = np.ones((1, drawn.shape[1]), dtype=np.uint16)
    return np.asarray(evidence.table(np.concatenate([as_is, drawn]))[:, at])


def _simultaneous(
    differences: Floats, units: int, confidence: float
) -> tuple[Floats, Floats, Floats]:
    """Bounds and adjusted p of each candidate; NaN where there is no spread to go by.

    ``differences`` is (1 + replicates, candidates), the data as they are first. Student's t
    takes the place of the normal distribution, and few units that all differ by the same tell
    nothing, as for a single interval. A candidate without the metric is left out.
    """
    low, high, p = np.full((3, differences.shape[1]), np.nan)
    known = ~np.isnan(differences[0])
    delta, replicates = differences[0, known], differences[1:, known]
    replicates = replicates[~np.isnan(replicates).any(axis=1)]
    if units < 2 or len(replicates) < 2 or not known.any():
        return low, high, p
    spread = replicates.std(axis=0)
    alike = spread < TIE
    scale = np.where(alike, TIE, spread)
    widened = stretched(confidence, units) / ndtri((1 + confidence) / 2)
    largest = widened * (np.abs(replicates - delta) / scale)[:, ~alike].max(axis=1, initial=0.0)
    reach = np.quantile(largest, confidence) * np.where(alike, 0.0, spread)
    reach[alike & (units < FEW_UNITS)] = np.nan
    beyond = (largest[:, None] >= np.abs(delta) / scale).sum(axis=0)
    low[known], high[known] = delta - reach, delta + reach
    p[known] = (1 + beyond) / (1 + len(replicates))
    return low, high, p


def _warnings(task: Task, members: Sequence[FamilyMember], units: int) -> tuple[str, ...]:
    warnings = []
    if units < FEW_UNITS:
        warnings.append(
            f"Only {units} {task.unit}s carry ground truth; with fewer than {FEW_UNITS} the "
            "intervals are rough guesses and there is no p-value."
        )
    if len(members) > 1:
        warnings.append(
            f"Whichever of these {len(members)} candidates is picked, its measured value is "
            "likely to be better than new data will show, as it was picked on these."
        )
    return tuple(warnings)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
