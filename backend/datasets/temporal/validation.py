"""What is wrong with temporal data before the first step: findings V1 to V10."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.core.evidence import DataFinding
from backend.core.wording import some
from backend.datasets.findings import errors_of, finding, refuse
from backend.datasets.temporal.census import TemporalCensus, census
from backend.datasets.temporal.checks import Expectations, check_split
from backend.datasets.temporal.reading import ReadOptions, fingerprint, read_temporal
from backend.datasets.temporal.records import TemporalSplit


@dataclass(frozen=True)
class TemporalData:
    """Splits, what was found, and each split in numbers."""

    splits: tuple[TemporalSplit, ...]
    findings: tuple[DataFinding, ...]
    census: tuple[TemporalCensus, ...]

    @property
    def errors(self) -> tuple[DataFinding, ...]:
        """The findings that training must not begin with."""
        return errors_of(self.findings)

    def refuse(self) -> None:
        """Raise DataError with the first error, if there is one."""
        refuse(self.splits[0].source, self.findings, "assay check")


def check_temporal(
    data: Path,
    subsets: Sequence[str],
    options: ReadOptions | None = None,
    wanted: Expectations | None = None,
) -> TemporalData:
    """Subsets as ``read_temporal`` reads them, validated. Raises DataError as that does."""
    splits = read_temporal(data, subsets, options)
    findings = validate(splits, wanted or Expectations())
    return TemporalData(splits, findings, tuple(census(split) for split in splits))


def validate(splits: Sequence[TemporalSplit], wanted: Expectations) -> tuple[DataFinding, ...]:
    """Every finding, in the order of its code."""
    found = [one for split in splits for one in check_split(split, wanted)]
    found += [*_unlearnt(splits, wanted), *_shared(splits)]
    return tuple(sorted(found, key=lambda one: int(one.code[1:])))


def shared_videos(splits: Sequence[TemporalSplit]) -> dict[str, tuple[str, ...]]:
    """Files that lie in two splits under different names: ``train+val`` to names in the second."""
    prints = [_prints(split) for split in splits]
    found = {}
    for at, split in enumerate(splits):
        for other, theirs in zip(splits[at + 1 :], prints[at + 1 :], strict=True):
            both = tuple(sorted(theirs[one] for one in prints[at].keys() & theirs.keys()))
            if both:
                found[f"{split.split}+{other.split}"] = both
    return found


def _prints(split: TemporalSplit) -> dict[bytes, str]:
    return {fingerprint(video.path): video.name for video in split.usable if video.path}


def _unlearnt(splits: Sequence[TemporalSplit], wanted: Expectations) -> Iterator[DataFinding]:
    """V8: classes that are evaluated but that no training split has."""
    trained = [split for split in splits if split.split in wanted.trained]
    if not trained:
        return
    known = {label for split in trained for video in split.videos for label in video.labels}
    for split in splits:
        met = np.unique(np.concatenate([video.labels for video in split.videos]))
        new = [split.classes[label] for label in met if label not in known]
        if new and split not in trained:
            yield finding(
                "V8", "error", split.split,
                f"{len(new)} classes occur here but never in training, so they score 0 "
                f"({some(new)}); 'classes' names those to learn",
                classes=len(new),
            )  # fmt: skip


def _shared(splits: Sequence[TemporalSplit]) -> Iterator[DataFinding]:
    """V10: files that lie in two splits."""
    for pair, names in shared_videos(splits).items():
        yield finding(
            "V10", "warning", pair,
            f"{len(names):,} video files lie in both splits ({some(names)}): scores would flatter",
            videos=len(names),
        )  # fmt: skip
