"""Losses and metrics of predictors that see nothing, against loops, the loss itself and numbers
measured on real annotations."""

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backend.core.errors import AssayError
from backend.datasets.spotting.reading import ReadOptions, read_spotting
from backend.datasets.spotting.records import SpottingSplit
from backend.scoring.spotting.decoding import Decoder
from backend.scoring.spotting.matching import Clip, Events
from backend.scoring.spotting.options import SpottingOptions
from backend.trainers.mdfed.baselines import (
    Labels,
    LabelTable,
    positive_weights,
    start_probabilities,
    trivial_baselines,
    trivial_metrics,
)
from backend.trainers.mdfed.data import Windows, label_stream
from backend.trainers.mdfed.inference import decoder_of, truth_of
from backend.trainers.mdfed.losses import Criterion, LossSums
from backend.trainers.mdfed.model.network import Outputs
from backend.trainers.mdfed.spec import InferenceConfig, LossConfig
from tests.support.event_clips import literal_metrics, made_clips
from tests.support.mdfed_batches import made_batch, mdfed_config

SHARED = Path(__file__).parents[4] / "shared"
TENNIS = ["near", "far", "serve", "return", "stroke", "fh", "bh", "gs", "slice", "volley", "smash",
          "drop", "lob", "approach"]  # fmt: skip
FLOAT32 = 1e-7
PLAIN = Decoder("clip_then_average", 5, 0.5, ())


def made_stream(windows: int = 60, frames: int = 20, elements: int = 3) -> Iterator[Labels]:
    """Events cluster at frame 4, and element 0 goes with it."""
    rng = np.random.default_rng(0)
    for _ in range(windows):
        valid = np.arange(frames) >= rng.integers(0, 4)
        coarse = rng.random(frames) < 0.03
        coarse[4] = rng.random() < 0.6
        fine = rng.random((frames, elements)) < 0.3
        fine[4, 0] = rng.random() < 0.9
        yield coarse, fine & coarse[:, None], valid


def logits_of(probability: np.ndarray[Any, Any]) -> torch.Tensor:
    return torch.from_numpy(np.log(probability / (1 - probability)))


def measured(
    labels: list[Labels], event: Any, elements: Any, criterion: Criterion, batch: int
) -> dict[str, float]:
    """What the training's own loss says of fixed probabilities (T,) and (T, K), as a mean over
    batches."""
    means: list[dict[str, float]] = []
    for first in range(0, len(labels), batch):
        part = labels[first : first + batch]
        sums = LossSums(criterion)
        coarse, fine, valid = (
            torch.from_numpy(np.stack(kind)) for kind in zip(*part, strict=True)
        )
        said = logits_of(event).expand(len(part), -1)
        given = made_batch(len(part), coarse.shape[1], fine.shape[2])
        given = type(given)(
            given.joints, given.roots, valid, coarse.long(), fine.double(), given.hands,
            given.starts, given.names,
        )  # fmt: skip
        bits = logits_of(elements).expand(len(part), -1, -1)
        sums.add(criterion(Outputs(torch.stack([-said / 2, said / 2], -1), bits), given))
        means.append(sums.means())
    return {name: float(np.mean([mean[name] for mean in means])) for name in means[0]}


@pytest.mark.parametrize("batch", [0, 7])
@pytest.mark.parametrize("loss", [{}, {"fg_weight": 1.0, "mlc": 0.5}, {"focal_gamma": 2.0},
                                  {"pos_weight": "sqrt", "focal_gamma": 0.5}])  # fmt: skip
def test_they_are_the_training_s_own_loss_of_a_constant(loss: dict[str, Any], batch: int) -> None:
    labels, config = list(made_stream()), LossConfig(**loss)
    table = LabelTable.of(labels)
    positive = positive_weights(table.element_rates, config.pos_weight)
    found = trivial_baselines("train", table, config, batch=batch).losses
    criterion = Criterion(config, torch.from_numpy(positive))
    event, bits = start_probabilities(table, config)
    for name, p, q in (
        ("constant", np.full(20, event), np.tile(bits, (20, 1))),
        ("untrained", np.full(20, 0.5), np.full((20, 3), 0.5)),
    ):
        expected = measured(labels, p, q, criterion, batch or len(labels))
        assert found[name] == pytest.approx(expected, rel=1e-5), name


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_no_constant_is_better(gamma: float) -> None:
    """Among a fine grid of constants, one at a time for the event and each element."""
    table = LabelTable.of(made_stream())
    config = LossConfig(focal_gamma=gamma, pos_weight="inverse")
    constant = trivial_baselines("val", table, config).losses["constant"]
    labels, grid = list(made_stream()), np.linspace(0.01, 0.99, 99)
    positive = torch.from_numpy(positive_weights(table.element_rates, "inverse"))
    event, bits = start_probabilities(table, config)
    criterion = Criterion(config, positive)
    for p in grid:
        loss = measured(labels, np.full(20, p), np.full((20, 3), p), criterion, len(labels))
        assert constant["lcl_loss"] <= loss["lcl_loss"] + FLOAT32
        assert constant["mlc_loss"] <= loss["mlc_loss"] + FLOAT32
    for element, p in product(range(3), (0.9, 1.1)):
        other = bits.copy()
        other[element] = np.clip(p * other[element], 0.001, 0.999)
        loss = measured(labels, np.full(20, event), np.tile(other, (20, 1)), criterion, 60)
        assert constant["mlc_loss"] < loss["mlc_loss"]


def test_position_is_what_the_specification_says() -> None:
    """Rates per frame index smoothed by a box of 5, 50 pseudo-clips and 20 pseudo-events."""
    labels, config = list(made_stream()), LossConfig()
    table = LabelTable.of(labels)
    coarse, fine, valid = (np.stack(kind).astype(float) for kind in zip(*labels, strict=True))
    coarse *= valid
    rate = coarse.sum() / valid.sum()
    rates = (fine * coarse[..., None]).sum((0, 1)) / coarse.sum()
    said, bits = np.zeros(20), np.zeros((20, 3))
    for t in range(20):
        box = [u for u in range(t - 2, t + 3) if 0 <= u < 20]
        events = sum(coarse[:, u].sum() for u in box) / 5
        there = sum(valid[:, u].sum() for u in box) / 5
        p = (events + 50 * rate) / (there + 50)
        said[t] = 5 * p / (5 * p + 1 - p)
        with_event = (fine[:, t] * coarse[:, t, None]).sum(0)
        bits[t] = (with_event + 20 * rates) / (coarse[:, t].sum() + 20)
    expected = measured(labels, said, bits, Criterion(config, torch.ones(3)), 60)
    found = trivial_baselines("val", table, config)
    assert found.losses["position"] == pytest.approx(expected, rel=1e-5)
    assert found.losses["position"]["loss"] < 0.95 * found.losses["constant"]["loss"]
    assert (found.split, found.counted) == ("val", 60)


def test_context_counts_as_a_second_classifier() -> None:
    table, config = LabelTable.of(made_stream()), LossConfig(ctx=0.5)
    for parts in trivial_baselines("val", table, config, context=True).losses.values():
        assert parts["ctx_loss"] == parts["mlc_loss"]
        assert parts["loss"] == pytest.approx(parts["lcl_loss"] + 1.5 * parts["mlc_loss"])


def test_a_stream_without_events_or_frames_has_finite_baselines() -> None:
    nothing = (np.zeros(8), np.zeros((8, 2)), np.ones(8))
    absent = (np.ones(8), np.ones((8, 2)), np.zeros(8))
    for stream in ([nothing] * 3, [absent] * 3, [nothing, absent]):
        found = trivial_baselines("val", LabelTable.of(stream), LossConfig(), batch=2)
        assert all(np.isfinite(list(parts.values())).all() for parts in found.losses.values())
        assert found.losses["constant"]["mlc_loss"] == 0
    with pytest.raises(ValueError, match="no window"):
        LabelTable.of([])


def test_the_table_counts_what_the_loader_yields() -> None:
    coarse = np.array([[1, 0, 0, 1], [0, 1, 0, 0]])
    fine = np.zeros((2, 4, 2))
    fine[0, 0, 1] = fine[0, 3, 0] = fine[1, 1, 1] = 1
    valid = np.array([[1, 1, 1, 0], [1, 1, 1, 1]])
    table = LabelTable.of(zip(coarse, fine, valid, strict=True))
    sampled = table.sampled("train", ("near", "far"), 5.0)
    assert (sampled.positions, sampled.positive, sampled.weight) == (7, 2, 5.0)
    assert sampled.counts == {"near": 0, "far": 2}
    assert table.frame_rate == pytest.approx(2 / 7)
    assert table.element_rates.tolist() == [0, 1]


@pytest.mark.parametrize("batch", [0, 4])
def test_tennis_as_it_was_measured(batch: int, tmp_path: Path) -> None:
    """Real labels through the training's own loader. The public code has no mask: what lies
    outside of a clip counts as background, as with ``missing: zeros``."""
    expected = golden()
    split = tennis(tmp_path)
    config = mdfed_config(data=str(tmp_path), skeletons={"missing": "zeros"})
    table = LabelTable.of(label_stream(Windows(split, config), 6000))
    assert table.frame_rate == pytest.approx(expected["frame_rate"], rel=0.02)
    found = trivial_baselines("val", table, LossConfig(), batch=batch).losses
    for name in ("constant", "position"):
        for part, theirs in (("lcl_loss", "frame_head"), ("mlc_loss", "element_head"),
                             ("loss", "total")):  # fmt: skip
            assert found[name][part] == pytest.approx(expected[name][theirs], abs=0.01), name


def test_metrics_of_saying_nothing_and_everything() -> None:
    clips = made_clips(3, scores=False)
    names, rates = [f"e{n}" for n in range(4)], np.array([0.6, 0.1, 0.7, 0.2])
    found = trivial_metrics(clips, names, rates, PLAIN, SpottingOptions())
    for name, said in (("nothing", []), ("everything", [0, 2])):
        expected = literal_metrics([_saying(clip, said) for clip in clips], d=1, f3ed=False)
        assert set(found[name]) == {"edit", "f1_event", "f1_element", "f1_lcl", "ap_frame",
                                    "auroc_frame"}  # fmt: skip
        for key in ("edit", "f1_event", "f1_element", "f1_lcl"):
            assert found[name][key] == pytest.approx(expected[key]), key
        assert found[name]["auroc_frame"] == 0.5
    assert found["nothing"]["f1_lcl"] == found["nothing"]["edit"] == 0
    assert found["everything"]["f1_lcl"] > 0


def test_every_frame_an_event_finds_a_fifth_of_tennis(tmp_path: Path) -> None:
    """The specification gives 0.18 for the F1 of frames."""
    golden()
    split = tennis(tmp_path)
    found = trivial_metrics(truth_of(split), split.elements, np.zeros(14),
                            decoder_of(InferenceConfig(), split), SpottingOptions())  # fmt: skip
    assert found["everything"]["f1_lcl"] == pytest.approx(0.18, abs=0.005)
    assert found["nothing"]["f1_event"] == 0


def _saying(clip: Clip, elements: list[int]) -> Clip:
    """Every frame an event with these elements; no elements: no event."""
    event = np.full(clip.frames, bool(elements))
    bits = np.zeros((clip.frames, 4), dtype=np.bool_)
    bits[:, elements] = True
    return replace(clip, found=Events.from_masks(event, bits), scores=event.astype(float))


def golden() -> Any:
    path = SHARED / "golden" / "fed" / "expected.json"
    if not path.is_file() or not (SHARED / "data" / "f3set-tennis").is_dir():
        pytest.skip(f"{SHARED}: the golden cases or the tennis annotations are not here")
    return json.loads(path.read_text())["trivial_baseline"]["val_14_elements"]


def tennis(folder: Path) -> SpottingSplit:
    source = SHARED / "data" / "f3set-tennis" / "val.json"
    (folder / "val.json").symlink_to(source)
    (folder / "elements.txt").write_text("\n".join(TENNIS))
    try:
        return read_spotting(folder, "val", ReadOptions())
    except AssayError as error:
        raise AssertionError(error) from error
