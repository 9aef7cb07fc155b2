"""Each key of the config changes what is trained or answered, or is refused."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from backend.datasets import read_split
from backend.nn.finetune.weights import save_weights
from backend.runner.training import Point
from backend.trainers.moe_rtdetr.checkpoint import facts_of
from backend.trainers.moe_rtdetr.evaluation import Ask, look
from backend.trainers.moe_rtdetr.language.prompts import Prompts
from backend.trainers.moe_rtdetr.language.teaching import teach
from backend.trainers.moe_rtdetr.language.text import encoder_digest
from backend.trainers.moe_rtdetr.learner import Learner, make_learner
from backend.trainers.moe_rtdetr.parts import rates_of
from backend.trainers.moe_rtdetr.spec import LanguageConfig, MoeRtDetrConfig
from backend.trainers.moe_rtdetr.training import build
from tests.support.every_key import Options, Outcome, filled, keys, outcome

CUSTOM: dict[str, object] = {
    "moe.experts": "custom",
    "moe.groups": {"big": ["truck", "bus"], "small": ["car", "person", "bicycle", "motorcycle"]},
}
OTHER = {"big": ["truck", "bus", "car"], "small": ["person", "bicycle", "motorcycle"]}
STAGE_1: dict[str, object] = {}
BIAS: dict[str, object] = {"moe.balance": "bias"}
STAGE_2: dict[str, object] = {"language.enabled": True, "model.pretrained": "STAGE_2"}
ASKED = STAGE_2 | {"prompt": "find the giraffes"}
LOADED: dict[str, object] = {"model.pretrained": "STAGE_1"}
LANGUAGE = LanguageConfig(enabled=True, dimensions=256, hidden=8)
SMALL_GATE: dict[str, object] = {"language.dimensions": 256, "language.hidden": 8}
SIX = ["person", "car", "truck", "bus", "bicycle", "motorcycle"]

CHANGES: dict[str, tuple[dict[str, object], object]] = {
    "seed": (STAGE_1, 1),
    "freeze.strategy": (STAGE_1, "backbone"),
    "classes": (STAGE_1, SIX),
    "class_map": (STAGE_1, "CLASS_MAP"),
    "model.preset": (STAGE_1, "r18"),
    "model.pretrained": (STAGE_1, "STAGE_1"),
    "model.image_size": (STAGE_1, [96, 96]),
    "model.queries": (STAGE_1, 8),
    "model.denoising": (STAGE_1, 0),
    "moe.experts": (STAGE_1, "C"),
    "moe.groups": (CUSTOM, OTHER),
    "moe.top_k": (STAGE_1, 1),
    "moe.hidden": (STAGE_1, 24),
    "moe.balance": (STAGE_1, "none"),
    "moe.load_balance_weight": (STAGE_1, 1.0),
    "moe.bias_rate": (BIAS, 0.1),
    "moe.z_loss_weight": (STAGE_1, 0.5),
    "moe.route_sup": (STAGE_1, 1.0),
    "moe.route_sup_token": (STAGE_1, 1.0),
    "moe.noise": (STAGE_1, 3.0),
    "moe.capacity": (STAGE_1, 0.5),
    "language.enabled": (STAGE_2, False),
    "language.text_encoder": (STAGE_2, "/nowhere"),
    "language.dimensions": (STAGE_2, 512),
    "language.hidden": (STAGE_2, 16),
    "language.lr": (STAGE_2, 0.5),
    "language.weight": (STAGE_2, 9.0),
    "language.everything": (STAGE_2, 1.0),
    "language.prune": (STAGE_2, False),
    "language.gate_query_selection": (STAGE_2, "on"),
    "language.unknown": (ASKED, "error"),
    "language.freeze_stage1": (STAGE_2, True),
    "pretrained_lr": (LOADED, 0.5),
    "new_lr": (LOADED, 0.5),
    "scratch_lr": (STAGE_1, 0.5),
    "augment.fliplr": (STAGE_1, 1.0),
    "augment.hsv": (STAGE_1, 0.5),
    "augment.scale": (STAGE_1, 0.5),
    "prompt": (STAGE_2, "find the pedestrians"),
    "conf": (STAGE_1, 0.5),
    "max_det": (STAGE_1, 3),
}
ELSEWHERE = (
    *("kind", "name", "experiment", "source", "hardware.", "device", "tensorboard"),  # launcher's
    *("data", "epochs", "runner.", "diagnostics."),  # the Runner's, which has tests of its own
    "model.allow_download",  # test_moe_weights_refused
    "analyze",  # test_moe_training
)


@pytest.fixture(scope="module")
def files(smallest: MoeRtDetrConfig, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a value in capitals stands for: checkpoints (the first one dense), a class map."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "map.yaml").write_text("Van: null\n", encoding="utf-8")
    dense = smallest.replace({"moe.experts": "dense", "moe.hidden": 8})  # at top-k 2: 16
    gated = smallest.model_copy(update={"language": LANGUAGE})
    for name, config in (("one", dense), ("two", gated)):
        torch.manual_seed(2)
        made = make_learner(config.model, config.moe, config.language, config.classes)
        if made.language is not None:
            random.seed(0)
            teach(made.language, Prompts(config.classes, config.moe.named_groups), 9)
        facts = facts_of(config, encoder_digest(config.language))
        save_weights(folder / f"{name}.safetensors", made.state_dict(), facts)
    return {
        "STAGE_1": str(folder / "one.safetensors"),
        "STAGE_2": str(folder / "two.safetensors"),
        "CLASS_MAP": str(folder / "map.yaml"),
    }


@pytest.fixture(scope="module")
def known() -> dict[str, Any]:
    """What unchanged configs come to, which many keys share."""
    return {}


def test_no_key_is_forgotten() -> None:
    untold = [key for key in keys(MoeRtDetrConfig) if not key.startswith(ELSEWHERE)]
    assert untold == list(CHANGES)


@pytest.mark.parametrize("key", CHANGES)
def test_each_key_has_an_effect_or_is_refused(
    key: str,
    smallest: MoeRtDetrConfig,
    files: dict[str, str],
    known: dict[str, Any],
    tmp_path: Path,
) -> None:
    base, value = CHANGES[key]
    before, after = filled(base, files), filled({**base, key: value}, files)

    def come_to(options: Options) -> Outcome:
        return outcome(lambda: effects(smallest.replace(SMALL_GATE | options), tmp_path))

    usual = known.get(repr(before)) or come_to(before)
    known[repr(before)] = usual
    assert not isinstance(usual, str), usual
    assert come_to(after) != usual


def effects(config: MoeRtDetrConfig, work: Path) -> list[object]:
    """All that a training is made of, short of training: start values, rates, what is frozen,
    samples, the loss of a batch, where the routers' biases go, and answers."""
    training = build(config, work)
    learner = training.model
    assert isinstance(learner, Learner)
    start = {name: tensor.double().sum().item() for name, tensor in learner.state_dict().items()}
    rates = rates_of(config)
    groups = {name: rates[training.parts.group_of(name)] for name in start if "weight" in name}
    random.seed(0)
    samples = [training.data.samples[at] for at in range(4)]
    batch = training.data.collate(samples)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in learner.parameters():  # what starts at zero would hide its part
            parameter.add_(torch.randn_like(parameter) * 0.05)
    loss = learner.train().loss(batch)["loss"].item()
    training.watch.stepped(Point(step=1, steps=2, epoch=1, epochs=1))
    biases = [v.tolist() for n, v in learner.state_dict().items() if n.endswith("router.bias")]
    val = read_split(config.data, "val", config.classes, config.class_map)
    answers = look(learner, val, Ask.of(config))
    return [start, groups, training.parts.frozen, batch.prompts,
            batch.images.sum().item(), loss, biases, answers]  # fmt: skip
