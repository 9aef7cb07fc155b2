"""What a training shows of itself, beside its metrics: what the diagnostics judge.

Each record is a part of an event (``backend.core.events``). Absent evidence is absent: None, an
empty tuple or no event at all, never a zero.
"""

from typing import Literal

from pydantic import Field

from backend.core.records import Record


class TrainingPlan(Record):
    """What was planned, in optimizer steps. Part of ``RunStarted``.

    ``first_validation`` is None if the training ends before any was due. ``losses`` are the parts
    of the loss, ``loss`` apart, as they appear behind ``train/`` and ``val/``. ``loaders`` says
    how each split's loss is taken: split to what (``sampler``, ``reduction``, ``weights``) to how.
    ``samples_per_epoch`` are those that an epoch trains on, made ones too. In the first ``held``
    steps only a part of what trains does (head warm-up). In the first ``settling`` steps what
    training losses are divided by still moves, so that they say little.
    """

    steps: int
    steps_per_epoch: int
    warmup_steps: int = 0
    validations: int = 0
    first_validation: int | None = None
    clip: float = 0.0
    losses: tuple[str, ...] = ()
    loaders: dict[str, dict[str, str]] = Field(default_factory=dict)
    samples_per_epoch: int | None = None
    held: int = 0
    settling: int = 0


class InputCensus(Record):
    """Which input files of a split are there (rule D01).

    ``what`` are they (``skeleton files``), ``searched`` where; ``missing`` the first five names;
    ``elsewhere`` says in words if they exist under another rule of naming, ``folder`` is the one
    that has them under their own names. ``policy`` is what the
    config does about a missing one. ``formats``: ending of a file's name to how many have it.
    """

    split: str
    what: str
    expected: int
    found: int
    searched: str
    missing: tuple[str, ...] = ()
    formats: dict[str, int] = Field(default_factory=dict)
    elsewhere: str = ""
    folder: str = ""
    policy: str = ""


class Channel(Record):
    """One channel of the input: its standard deviation, and how many values it takes."""

    name: str
    std: float
    distinct: int


class InputQuality(Record):
    """What up to 200 inputs of a split look like (rule D02).

    ``units`` were looked at (``clips``, ``images``). ``nonfinite``: units with NaN or infinity.
    ``zero_frames``: share of frames that are all zero; ``zero_units``: units of which at least
    95 % is zero, or whatever else says nothing, which ``empty`` names. ``outside``: share of
    joints or boxes outside the image. ``mismatched``: units whose length is not the annotation's.
    ``swapped``: units in which the near person is smaller than the far one. ``integer``: units
    whose coordinates are whole numbers, as they are after a careless cast. ``examples``: field
    name to the first five unit names (``integer`` with its channels).
    """

    split: str
    units: int
    channels: tuple[Channel, ...] = ()
    nonfinite: int = 0
    zero_frames: float | None = None
    zero_units: int | None = None
    outside: float | None = None
    mismatched: int | None = None
    swapped: int | None = None
    integer: int | None = None
    empty: str = "all zeros"
    examples: dict[str, tuple[str, ...]] = Field(default_factory=dict)


class LabelCensus(Record):
    """The labels of a split as annotated (rules D03, D05).

    ``units`` are clips or images, ``labels`` events or objects. ``counts``: class to how often.
    ``unknown``: token to how often; ``empty``: labels of which nothing is known. ``head``: outputs
    of the network for classes; ``highest``: largest class id met. ``past_end``, ``unsorted``,
    ``collisions``: events after their clip's end, clips whose events do not rise, events that
    share a strided frame with an earlier one. ``separator`` parts labels as they were read;
    ``better`` is one under which more labels are understood, if there is one.
    """

    split: str
    units: int
    labels: int
    counts: dict[str, int]
    unknown: dict[str, int] = Field(default_factory=dict)
    empty: int = 0
    head: int | None = None
    highest: int | None = None
    past_end: int | None = None
    unsorted: int | None = None
    collisions: int | None = None
    examples: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    separator: str = ""
    better: str = ""


class SampledLabels(Record):
    """The labels that the training's own loader really yields (rule D04).

    ``positions`` (frames, images) of which ``positive`` have an event or object; ``weight`` is the
    positive class's in the loss. ``counts``: class to how often it was met.
    """

    split: str
    positions: int
    positive: int
    counts: dict[str, int]
    weight: float = 1.0


class Baselines(Record):
    """What a predictor gets that never looks at its input (rules B01, B03).

    Name (``untrained``, ``constant``, ``position``) to part of the loss to value, with the run's
    own sampler, weights, mask and reduction; ``metrics``: name (``nothing``, ``everything``) to
    metric to value. ``counted``: samples that went into it.
    """

    split: str
    losses: dict[str, dict[str, float]]
    metrics: dict[str, dict[str, float]] = Field(default_factory=dict)
    counted: int = 0


class TrackCensus(Record):
    """The sequences of a tracking split, its detector's proposals among them.

    ``targets`` are the boxes that count for training, ``boxes`` all of them; ``counts``: class to
    targets. ``track_length`` is the median over tracks, in frames. ``recall``: the share of
    targets with a proposal at IoU 0.5, over ``sampled`` frames. What belongs to proposals is None
    without a detection database; ``fields`` is its order of fields. ``identities``: whether ids
    are as annotated (``file``), linked (``pseudo``) or none at all (``per-box``).
    """

    split: str
    sequences: int
    frames: int
    images: int
    boxes: int
    targets: int
    ids: int
    counts: dict[str, int]
    empty_frames: int
    track_length: float | None = None
    identities: str = "file"
    fields: str = ""
    proposals: int | None = None
    proposals_per_frame: float | None = None
    without_proposals: int | None = None
    recall: float | None = None
    sampled: int = 0


class DataFinding(Record):
    """One thing that a data set's validation found; ``code`` as in its list (N1, S3, V7).
    A ``note`` is as the config asks for.

    ``numbers`` are what it was found by, ``sentence`` says it to a person.
    """

    code: str
    level: Literal["error", "warning", "note"]
    split: str
    sentence: str
    numbers: dict[str, float] = Field(default_factory=dict)


class DataSurvey(Record):
    """The data before the first step. ``shared``: split pair (``train+val``) to what lies in
    both, at least the first five; ``shared_counts``: to how many that are. ``tracks`` are
    of tracking data; ``validated``: if there were something wrong, ``findings`` would say so."""

    inputs: tuple[InputCensus, ...] = ()
    quality: tuple[InputQuality, ...] = ()
    labels: tuple[LabelCensus, ...] = ()
    sampled: tuple[SampledLabels, ...] = ()
    baselines: tuple[Baselines, ...] = ()
    shared: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    shared_counts: dict[str, int] = Field(default_factory=dict)
    tracks: tuple[TrackCensus, ...] = ()
    findings: tuple[DataFinding, ...] = ()
    validated: bool = False


class GroupMovement(Record):
    """How far a named part of the network moved since the last look (rules B12, B13).

    A part that is frozen in half appears twice. ``change`` is the L2 norm of the change over the
    norm before; None at the first look. ``rate`` is its learning rate as a share of its peak, the
    highest of the steps since the last look; 0 if there was none.
    """

    name: str
    planned: Literal["trainable", "frozen"]
    tensors: int
    requires_grad: int
    in_optimizer: int
    changed: int | None = None
    change: float | None = None
    rate: float = 1.0


class PredictionHistogram(Record):
    """What one output of the network says in a validation, beside the truth (rules B01, B02).

    ``truth`` and ``predicted``: class (``background`` too) to how often. ``quantiles`` of the
    score of something being there: "0.5", "0.9", "0.99", "1". ``auroc`` of that score.
    """

    output: str
    truth: dict[str, int]
    predicted: dict[str, int]
    background: str = ""
    quantiles: dict[str, float] = Field(default_factory=dict)
    auroc: float | None = None


class ThresholdSwept(Record):
    """What there would be at another score threshold, counted from stored scores: ``boxes`` in
    ``tracks``, and HOTA and its mean over classes (None where they are not defined)."""

    threshold: float
    boxes: int
    tracks: int
    hota: float | None = None
    cls_hota: float | None = None


class TracksSeen(Record):
    """What a tracker did in the ``frames`` of a split, and why there may be no tracks.

    ``proposals`` and ``targets`` (class to how many) are what reached the network. ``scores`` are
    quantiles ("0.5", "0.99", "0.999", "1") of the scores of all queries in all frames, ``highest``
    those of each frame's highest one, ``histogram`` counts all scores in equal bins from 0 to 1.
    ``first_class`` is the highest score of the first class alone. ``births``: tracks that began
    at the ``threshold``; ``lengths``: quantiles ("0.5", "1") of their frames shown, ``short`` how
    many of them have fewer than three. ``untrained``: tensors that came from no checkpoint and
    are frozen. ``swept`` rises by threshold.
    """

    frames: int
    proposals: int
    targets: dict[str, int]
    threshold: float
    scores: dict[str, float]
    highest: dict[str, float]
    histogram: tuple[int, ...]
    first_class: float
    births: int
    lengths: dict[str, float] = Field(default_factory=dict)
    short: int = 0
    untrained: tuple[str, ...] = ()
    swept: tuple[ThresholdSwept, ...] = ()
