"""Each key of the config changes what is trained or answered, or is refused."""

import json
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from backend.datasets.spotting import SpottingSplit
from backend.nn.finetune.weights import save_weights
from backend.trainers.mdfed.checkpoint import facts_of
from backend.trainers.mdfed.data import Tiles
from backend.trainers.mdfed.evaluation import judge, read_split
from backend.trainers.mdfed.learner import Learner
from backend.trainers.mdfed.spec import MdFedConfig
from backend.trainers.mdfed.training import build
from tests.support.every_key import Options, Outcome, filled, keys, outcome

STAGE_1: Mapping[str, object] = {}
CONTEXT = {"model.context": True}
MASKED = {"skeletons.pose_dir": "/nowhere", "skeletons.missing": "mask"}
SHORT = {"clips.length": 8}
STAGE_2 = {"stage": 2, "model.pretrained": "SKELETON"}

CHANGES: Mapping[str, tuple[Mapping[str, object], object]] = {
    "seed": (STAGE_1, 1),
    "freeze.strategy": (STAGE_1, "encoder"),
    "separator": (STAGE_1, " "),
    "groups": (STAGE_1, "GROUPS"),
    "stage": (STAGE_2, 3),
    "skeletons.pose_dir": (STAGE_1, "/nowhere"),
    "skeletons.missing": (MASKED, "zeros"),
    "clips.length": (STAGE_1, 24),
    "clips.stride": (STAGE_1, 3),
    "clips.per_epoch": (STAGE_1, 8),
    "clips.dilation": (STAGE_1, 1),
    "clips.few_shot": (STAGE_1, 3),
    "model.preset": (SHORT, "base"),
    "model.pretrained": (STAGE_1, "SKELETON"),
    "model.fusion": (STAGE_1, "mean"),
    "model.dropout": (STAGE_1, 0.5),
    "model.context": (STAGE_1, True),
    "model.bias_init": (STAGE_1, True),
    "visual.size": (STAGE_2, 48),
    "visual.width": (STAGE_2, 16),
    "loss.fg_weight": (STAGE_1, 2.0),
    "loss.pos_weight": (STAGE_1, "sqrt"),
    "loss.focal_gamma": (STAGE_1, 2.0),
    "loss.lcl": (STAGE_1, 2.0),
    "loss.mlc": (STAGE_1, 2.0),
    "loss.ctx": (CONTEXT, 2.0),
    "inference.overlap": (STAGE_1, 0.25),
    "inference.suppress": (STAGE_1, 9),
    "inference.order": (STAGE_1, "average_then_suppress"),
    "inference.threshold": (STAGE_1, 0.9),
    "inference.tolerance": (STAGE_1, 0),
    "inference.compat": (STAGE_1, "f3ed"),
}  # fmt: skip
REFUSED = {"stage", "skeletons.pose_dir"}
ELSEWHERE = (
    *("kind", "name", "experiment", "source", "hardware.", "device", "tensorboard"),  # launcher's
    *("data", "epochs", "runner.", "diagnostics."),  # the Runner's, which has tests of its own
)


@pytest.fixture(scope="module")
def files(few: MdFedConfig, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a value in capitals stands for: a checkpoint of stage 1, other groups."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "groups.json").write_text(json.dumps([{"one_of": ["near", "far"]}]))
    config, path = few.replace({"seed": 9}), folder / "skeleton.safetensors"
    facts = facts_of(config, read_split(config, "train"))
    save_weights(path, build(config, folder).model.state_dict(), facts)
    return {"SKELETON": str(path), "GROUPS": str(folder / "groups.json")}


@pytest.fixture(scope="module")
def known() -> dict[str, Any]:
    """What unchanged configs come to, which many keys share."""
    return {}


def test_no_key_is_forgotten() -> None:
    assert [key for key in keys(MdFedConfig) if not key.startswith(ELSEWHERE)] == list(CHANGES)


@pytest.mark.parametrize("key", CHANGES)
def test_each_key_has_an_effect_or_is_refused(
    key: str, few: MdFedConfig, files: dict[str, str], known: dict[str, Any], tmp_path: Path
) -> None:
    base, value = CHANGES[key]
    before, after = filled(base, files), filled({**base, key: value}, files)

    def come_to(options: Options) -> Outcome:
        return outcome(lambda: effects(few.replace(options), tmp_path))

    usual = known.get(repr(before)) or come_to(before)
    known[repr(before)] = usual
    assert not isinstance(usual, str), usual
    changed = come_to(after)
    assert changed != usual
    assert isinstance(changed, str) == (key in REFUSED), changed


def effects(config: MdFedConfig, work: Path) -> list[object]:
    """All that a training is made of, short of training: start values, what is frozen, windows,
    the loss of a batch, and the conditions and events of an evaluation."""
    training = build(config, work)
    learner = training.model
    assert isinstance(learner, Learner)
    start = {name: tensor.double().sum().item() for name, tensor in learner.state_dict().items()}
    random.seed(0)
    batch = training.data.collate([training.data.samples[0] for _ in range(4)])
    torch.manual_seed(0)
    with torch.no_grad():
        loss = learner.train().loss(batch)["loss"].item()
    val = read_split(config, "val")
    facts = training.facts
    seen = (batch.joints.sum().item(), batch.fine.sum().item(), batch.valid.sum().item())
    return [start, training.parts.frozen, len(training.data.samples), seen, loss, facts["groups"],
            answers(config, learner, val)]  # fmt: skip


def answers(config: MdFedConfig, learner: Learner, val: SpottingSplit) -> object:
    """Events of a network that says something of everything."""
    small = replace(val, clips=val.clips[:2])
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    tiles = Tiles(small, config, config.inference.overlap)
    found = judge(learner.network, tiles, small, config)
    return [[clip.found.frames.tolist() for clip in found.clips],
            [clip.scores.tolist() for clip in found.clips if clip.scores is not None],
            found.evidence.scores().metrics]  # fmt: skip
