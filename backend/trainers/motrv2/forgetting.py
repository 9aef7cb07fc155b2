"""What fine-tuning forgets: HOTA on the source domain, before and now.

The source domain is tracked with the classifiers and class vectors that the network had before
they were replaced: so it tells of the body, whatever the new head knows.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from backend.core.errors import DataError
from backend.core.workdir import write_json
from backend.datasets.tracking.records import TrackingSplit
from backend.trainers.motrv2.checkpoint import with_previous_heads
from backend.trainers.motrv2.data_reading import as_input, read_data
from backend.trainers.motrv2.inference import follow_split
from backend.trainers.motrv2.judging import expected_names, matched, refuse_wrong
from backend.trainers.motrv2.model.learner import ClipLearner
from backend.trainers.motrv2.spec import Motrv2Config

HOTA, FORGETTING = "source/HOTA", "source/forgetting"
KEPT = "source.json"
"""Where a run keeps what was measured before it began."""


@dataclass(frozen=True)
class Source:
    """The source domain's validation split, and HOTA on it before training."""

    split: TrackingSplit
    config: Motrv2Config
    hota: float

    @property
    def measured(self) -> dict[str, float]:
        """The metric of step 0."""
        return {HOTA: self.hota}

    def metrics(self, learner: ClipLearner) -> dict[str, float]:
        """HOTA now, and how much of it was lost."""
        now = source_hota(learner, self.split, self.config)
        return {HOTA: now, FORGETTING: self.hota - now}


def before(
    learner: ClipLearner,
    config: Motrv2Config,
    previous: Sequence[str] = (),
    work_dir: Path | None = None,
) -> Source | None:
    """The source domain, measured with a network that was not trained yet; None if the config
    names none.

    ``previous`` are the classes whose classifiers were replaced, empty if none were. What was
    measured is kept in ``work_dir``: a run that goes on does not measure it again. Raises
    DataError, also if the source domain has other classes than the network had.
    """
    if config.source is None:
        return None
    data = read_data(config, ("val",), config.source, expected_names(config.source, previous))
    refuse_wrong(data)
    (split,) = data.splits
    known = len(previous) or learner.geometry.classes
    if len(split.classes) != known or not _agree(previous, split.classes):
        raise DataError(
            f"{config.source}: source has {len(split.classes)} classes "
            f"({', '.join(split.classes)}), but model.pretrained was trained on {known}"
            f"{f' ({names})' if (names := ', '.join(filter(None, previous))) else ''}; name the "
            "data that it was trained on, or leave source out"
        )
    if work_dir is None:
        return Source(split, config, source_hota(learner, split, config))
    key, path = _decided_by(learner, split, config), work_dir / KEPT
    hota = _kept(path, key)
    if hota is None:
        hota = source_hota(learner, split, config)
        write_json(path, {"decided_by": key, HOTA: hota})
    return Source(split, config, hota)


def _kept(path: Path, key: str) -> float | None:
    """HOTA as it was measured, if nothing that decides it has changed since."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return float(found[HOTA]) if found["decided_by"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _decided_by(learner: ClipLearner, split: TrackingSplit, config: Motrv2Config) -> str:
    """Sha256 over the weights, the data, and the settings of the tracker and its images."""
    settings = {
        "geometry": asdict(learner.geometry),
        "tracker": config.tracker.model_dump(mode="json", exclude={"sweep"}),
        "images": [config.images.short, config.images.long],
        "data": as_input(split).digest,
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name, tensor in learner.state_dict().items():
        digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _agree(known: Sequence[str], names: Sequence[str]) -> bool:
    """Are the names the same, as far as they are known?"""
    return all(one in ("", other) for one, other in zip(known, names, strict=False))


def source_hota(learner: ClipLearner, split: TrackingSplit, config: Motrv2Config) -> float:
    """HOTA of a learner on its source domain, with the classifiers from before. 0 without
    tracks."""
    config = config.replace({"tracker.sweep": ()})
    was_training = learner.training
    network = with_previous_heads(learner) if has_previous(learner) else learner.eval()
    followed = follow_split(network, split, config)
    learner.train(was_training)
    found = matched(split, [(one, one.shown) for one in followed]).scores()
    return found.metrics["HOTA"] or 0.0


def has_previous(learner: ClipLearner) -> bool:
    """Did fine-tuning replace classifiers?"""
    return any(name.startswith("previous.class_embed.") for name, _ in learner.named_buffers())
