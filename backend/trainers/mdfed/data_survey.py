"""The data before the first step, as evidence of rules D01 to D05. No baselines here."""

import re
from collections.abc import Callable, Sequence
from itertools import combinations

from backend.core.evidence import DataSurvey, LabelCensus
from backend.datasets.spotting.records import SpotClip, SpottingSplit
from backend.datasets.spotting.skeletons import survey_skeletons
from backend.trainers.mdfed.baselines import LabelTable
from backend.trainers.mdfed.data import Windows, label_stream
from backend.trainers.mdfed.spec import MdFedConfig

COUNTED = 4000
"""Windows whose labels are counted."""
_PART = re.compile(r"(?P<match>.+)_\d+_\d+")
"""A clip that is named after its match, first and last frame."""


def survey(splits: Sequence[SpottingSplit], config: MdFedConfig) -> DataSurvey:
    """Files, skeletons and labels of each split, the labels that training draws, and what is in
    two splits. Raises DataError for a skeleton file that cannot be read."""
    looks = [survey_skeletons(split, config.skeletons.missing) for split in splits]
    both = shared(splits, matches=not config.clips.few_shot)
    return DataSurvey(
        inputs=tuple(census for census, _ in looks),
        quality=tuple(quality for _, quality in looks),
        labels=tuple(_with_head(split) for split in splits),
        sampled=tuple(
            sampled_table(split, config).sampled("train", split.elements, config.loss.fg_weight)
            for split in splits
            if split.name == "train"
        ),
        shared=both,
        shared_counts={pair: len(names) for pair, names in both.items()},
    )


def sampled_table(split: SpottingSplit, config: MdFedConfig, count: int = COUNTED) -> LabelTable:
    """The labels of ``count`` training windows, drawn by the training's own loader."""
    return LabelTable.of(label_stream(Windows(split, config), count, config.seed))


def shared(splits: Sequence[SpottingSplit], matches: bool = True) -> dict[str, tuple[str, ...]]:
    """Clips that two splits share, else matches: a clip's name is its match, first and last
    frame. By pair, as ``train+val``."""
    found = {}
    for one, other in combinations(splits, 2):
        both = _both(one, other, lambda clip: clip.name)
        if not both and matches:
            both = _both(one, other, _match)
        if both:
            found[f"{one.name}+{other.name}"] = both
    return found


def _with_head(split: SpottingSplit) -> LabelCensus:
    return split.labels.model_copy(update={"head": len(split.elements)})


def _both(
    one: SpottingSplit, other: SpottingSplit, key: Callable[[SpotClip], str]
) -> tuple[str, ...]:
    names = {key(clip) for clip in other.clips} - {""}
    return tuple(dict.fromkeys(name for clip in one.clips if (name := key(clip)) in names))


def _match(clip: SpotClip) -> str:
    found = _PART.fullmatch(clip.name)
    return found["match"] if found else ""
