"""From windows to events, metrics, histograms and files that are scored alike."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.core.evidence import LabelCensus
from backend.datasets.spotting.records import SpotClip, SpotEvent, SpottingSplit
from backend.scoring.spotting.decoding import Decoder, Group, Window, decode
from backend.scoring.spotting.options import SpottingOptions
from backend.scoring.spotting.task import match, read
from backend.trainers.mdfed.evidence import histograms
from backend.trainers.mdfed.inference import (
    decoder_of,
    found_in,
    look,
    options_of,
    truth_of,
    write_predictions,
    write_truth,
)
from backend.trainers.mdfed.losses import Criterion
from backend.trainers.mdfed.model.network import MdFed, build_network
from backend.trainers.mdfed.spec import InferenceConfig, LossConfig
from tests.support.mdfed_batches import made_batch, mdfed_config, picked

ELEMENTS = ("near", "far", "serve", "in")
GROUPS = (Group((0, 1), None), Group((3,), 2))
RULE = Decoder("clip_then_average", 3, 0.45, GROUPS)
FRAMES = 40


def split_of(clips: int = 4) -> SpottingSplit:
    """Clips of 40 strided frames and one raw frame more; two events share a strided frame."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(clips):
        frames = sorted(rng.choice(2 * FRAMES, 5, replace=False).tolist())
        events = [SpotEvent(f, "", tuple(np.flatnonzero(rng.random(4) < 0.5))) for f in frames]
        twin = SpotEvent(frames[0] // 2 * 2 + 1, "", (3,))
        made.append(SpotClip(f"clip {number}", 2 * FRAMES + 1, 25.0, (*events, twin)))
    census = LabelCensus(split="val", units=clips, labels=6 * clips, counts={})
    return SpottingSplit(
        "val", Path("val.json"), Path("skeletons"), ELEMENTS, tuple(made), "_", 2, GROUPS,
        "digest", census,
    )  # fmt: skip


def windows_of(split: SpottingSplit, seed: int = 0) -> dict[str, list[Window]]:
    """Two overlapping windows of each clip, from before its start to past its end."""
    rng = np.random.default_rng(seed)

    def window(start: int) -> Window:
        event = rng.random(28)
        return Window(start, np.column_stack([1 - event, event]), rng.random((28, 4)))

    return {clip.name: [window(-5), window(14)] for clip in split.clips}


def network_of(context: bool = False) -> MdFed:
    torch.manual_seed(0)
    config = mdfed_config(model={"preset": "tiny", "context": context})
    network = build_network(config, elements=4)
    for head in (network.lcl, network.mlc):
        torch.nn.init.normal_(head.weight)
    if network.ctx is not None:
        torch.nn.init.normal_(network.ctx.head.weight)
    return network.train()


def test_truth_is_strided_and_joined() -> None:
    split = split_of()
    for clip, given in zip(truth_of(split), split.clips, strict=True):
        assert clip.frames == FRAMES
        assert clip.truth.frames.tolist() == sorted({e.frame // 2 for e in given.events})
        for frame, bits in zip(clip.truth.frames, clip.truth.elements, strict=True):
            elements = {n for e in given.events if e.frame // 2 == frame for n in e.elements}
            assert set(np.flatnonzero(bits)) == elements
        assert len(clip.found.frames) == 0


@pytest.mark.parametrize("config", [
    InferenceConfig(),
    InferenceConfig(tolerance=3, threshold=0.3, suppress=9, order="average_then_suppress"),
    InferenceConfig(compat="f3ed"),
])  # fmt: skip
def test_a_written_file_is_scored_the_same(config: InferenceConfig, tmp_path: Path) -> None:
    split = split_of()
    clips = found_in(windows_of(split), truth_of(split), decoder_of(config, split))
    here = match(ELEMENTS, clips, options_of(config)).scores()
    write_predictions(tmp_path / "predictions.json", ELEMENTS, clips)
    write_truth(tmp_path / "truth.json", split)
    there = read(
        tmp_path / "truth.json", tmp_path / "predictions.json",
        SpottingOptions(tolerance=config.tolerance, compat=config.compat),
    ).scores()  # fmt: skip
    assert there.metrics == here.metrics
    assert there.per_class == here.per_class
    assert there.per_unit == here.per_unit
    assert here.metrics["ap_frame"] is not None


def test_raw_windows_written_by_hand_give_the_same_events(tmp_path: Path) -> None:
    """Decoding is the scorer's own: groups travel in the ground truth."""
    split, config = split_of(), InferenceConfig()
    windows = windows_of(split)
    clips = found_in(windows, truth_of(split), decoder_of(config, split))
    raw = {
        name: {"windows": [{"start": w.start, "p_event": w.scores.tolist(),
                            "p_elements": w.elements.tolist()} for w in parts]}
        for name, parts in windows.items()
    }  # fmt: skip
    (tmp_path / "predictions.json").write_text(json.dumps(raw))
    write_truth(tmp_path / "truth.json", split)
    there = read(tmp_path / "truth.json", tmp_path / "predictions.json", SpottingOptions())
    assert there.scores().metrics == match(ELEMENTS, clips, options_of(config)).scores().metrics


@pytest.mark.parametrize("context", [False, True])
def test_windows_hold_the_network_s_probabilities(context: bool) -> None:
    """However they are cut into batches; without a trace in the network."""
    network, batch = network_of(context), made_batch(windows=4, frames=30)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    looked = look(network, [batch], stride=2, rule=RULE)
    assert list(looked.windows) == list(batch.names)
    assert looked.losses == {}
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not network.training
    parts = [picked(batch, [0, 1, 2]), picked(batch, [3])]
    for again in (look(network, parts, 2, RULE), look(network, [batch], 2, RULE)):
        for name, (window,) in again.windows.items():
            (expected,) = looked.windows[name]
            assert window.start == expected.start == -3
            assert window.scores == pytest.approx(expected.scores, abs=1e-5)
            assert window.elements == pytest.approx(expected.elements, abs=1e-5)
    with torch.no_grad():
        event = network(batch).event_logits.softmax(-1)[..., 1]
    for row, (window,) in enumerate(looked.windows.values()):
        valid = batch.valid[row].numpy()
        assert window.scores.sum(1) == pytest.approx(1)
        assert window.scores[valid, 1] == pytest.approx(event[row].numpy()[valid], abs=1e-6)
        assert not window.scores[~valid, 1].any(), "nothing was seen there"


def test_context_refines_the_elements_of_predicted_events_only() -> None:
    """At the frames where the decoder then finds events; labels are not looked at."""
    network, batch = network_of(context=True), made_batch(windows=4, frames=30)
    blind = replace(batch, coarse=torch.zeros_like(batch.coarse))
    looked, same = (look(network, [given], 2, RULE) for given in (batch, blind))
    with torch.no_grad():
        plain = network(batch).element_logits.sigmoid().numpy()
    found = 0
    for row, (window,) in enumerate(looked.windows.values()):
        changed = np.abs(window.elements - plain[row]).max(1) > 1e-6
        events, _ = decode([window._replace(start=0)], 30, RULE)
        assert set(np.flatnonzero(changed)) <= set(events.frames.tolist())
        found += changed.sum()
        assert np.array_equal(window.elements, same.windows[batch.names[row]][0].elements)
    assert found > 0


def test_losses_come_from_the_same_pass() -> None:
    network, batch = network_of(), made_batch(windows=4)
    criterion = Criterion(LossConfig(), torch.ones(4))
    parts = [picked(batch, [row]) for row in range(4)]
    looked = look(network, parts, 2, RULE, criterion)
    with torch.no_grad():
        expected = criterion.means(criterion(network(batch), batch))
    assert looked.losses == pytest.approx({k: v.item() for k, v in expected.items()}, rel=1e-5)


def test_clips_of_several_windows_are_put_together() -> None:
    network = network_of()
    first, second = made_batch(windows=2, frames=30), made_batch(windows=2, frames=30, seed=5)
    second = replace(second, starts=second.starts + 30)
    looked = look(network, [first, second], 2, RULE)
    assert [[w.start for w in parts] for parts in looked.windows.values()] == [[-3, 12]] * 2


def test_histograms_show_both_heads_by_themselves() -> None:
    split = split_of()
    windows, truth = windows_of(split), truth_of(split)
    clips = found_in(windows, truth, RULE)
    frame, elements = histograms(ELEMENTS, windows, clips, RULE, 0.6)
    scores = np.concatenate([clip.scores for clip in clips if clip.scores is not None])
    true = sum(len(clip.truth.frames) for clip in truth)
    assert frame.truth == {"background": len(scores) - true, "event": true}
    assert frame.predicted["event"] == (scores > 0.5).sum()
    assert sum(frame.predicted.values()) == len(scores)
    assert frame.quantiles == pytest.approx(
        {"0.5": np.median(scores), "0.9": np.quantile(scores, 0.9),
         "0.99": np.quantile(scores, 0.99), "1": scores.max()}
    )  # fmt: skip
    assert (frame.auroc, frame.background) == (0.6, "background")
    assert sum(clip.truth.elements.sum() for clip in truth) == sum(elements.truth.values())
    assert elements.predicted["near"] + elements.predicted["far"] == true, "one of the group"
    silent = {
        name: [w._replace(scores=np.tile([1.0, 0.0], (len(w.scores), 1))) for w in parts]
        for name, parts in windows.items()
    }
    nothing = found_in(silent, truth, RULE)
    frame, same = histograms(ELEMENTS, silent, nothing, RULE, None)
    assert frame.predicted["event"] == 0
    assert same.predicted == elements.predicted, "whatever the localiser says"
