"""Each key of the config changes what is trained or answered, or is refused."""

import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from backend.core.events import Event
from backend.nn.finetune.weights import save_weights
from backend.synthetic.untrimmed import write_untrimmed
from backend.trainers.adatad.data import SlidingWindows, read_data
from backend.trainers.adatad.evaluation import judge
from backend.trainers.adatad.model.network import AdaTad
from backend.trainers.adatad.spec import AdaTadConfig
from backend.trainers.adatad.training import build
from backend.trainers.adatad.validation import Validation
from tests.support.every_key import Options, Outcome, filled, keys, outcome

USUAL: Mapping[str, object] = {}
LAST = {"freeze.strategy": "last-layers", "freeze.layers": 1}
HEAD_ONLY = {"freeze.strategy": "head-only", "frames.augment": False, "windows.align": 16}
REUSED = {**HEAD_ONLY, "reuse.folder": "FEATURES"}
COLOURED = {"data": "FILM", "subsets.val": "training"}

CHANGES: Mapping[str, tuple[Mapping[str, object], object]] = {
    "seed": (USUAL, 1),
    "freeze.strategy": (USUAL, "plain-adapter"),
    "freeze.layers": (LAST, 2),
    "classes": (USUAL, ["run", "jump"]),
    "ignored": (USUAL, ["jump"]),
    "subsets.train": (USUAL, "validation"),
    "subsets.val": (USUAL, "training"),
    "videos.folder": (USUAL, "EMPTY"),
    "videos.allow_missing": ({"videos.folder": "FEW"}, True),
    "windows.length": (USUAL, 64),
    "windows.stride": (USUAL, 2),
    "windows.trunc_thresh": (USUAL, 0.2),
    "windows.crop_ratio": (USUAL, None),
    "windows.per_video": (USUAL, 2),
    "windows.align": (USUAL, 16),
    "frames.size": (USUAL, 48),
    "frames.augment": (USUAL, False),
    "frames.short": (USUAL, 64),
    "frames.area": (USUAL, [0.9, 1.0]),
    "frames.aspect": (USUAL, [1.0, 1.0]),
    "frames.flip": (USUAL, 1.0),
    "frames.operations": (USUAL, 0),
    "frames.brightness": (USUAL, 0.0),
    "frames.contrast": (USUAL, 0.0),
    "frames.saturation": (USUAL, 0.0),
    "frames.hue": (COLOURED, 0.5),
    "model.preset": (USUAL, "videomae-small"),
    "model.pretrained": (USUAL, "CHECKPOINT"),
    "model.adapter_ratio": (USUAL, 0.5),
    "model.drop_path": (USUAL, 0.9),
    "model.detector_drop_path": (USUAL, 0.9),
    "model.detector_width": (USUAL, 24),
    "reuse.features": (REUSED, "off"),
    "reuse.folder": (HEAD_ONLY, "FEATURES"),
    "inference.overlap": (USUAL, 0.75),
    "inference.val_overlap": (USUAL, 0.75),
    "inference.min_score": (USUAL, 0.5),
    "inference.top_k": (USUAL, 3),
    "inference.sigma": (USUAL, 0.1),
    "inference.max_segments": (USUAL, 3),
    "inference.per_class": (USUAL, False),
}
REFUSED = {"videos.folder"}
ELSEWHERE = (
    *("kind", "name", "experiment", "source", "hardware.", "device", "tensorboard"),  # launcher's
    *("data", "epochs", "runner.", "diagnostics."),  # the Runner's, which has tests of its own
    *("videos.threads", "inference.batch"),  # must change nothing but the time
)


@pytest.fixture(scope="module")
def files(
    smallest: AdaTadConfig, films: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """What a value in capitals stands for."""
    folder = tmp_path_factory.mktemp("files")
    named = {name: folder / name.lower() for name in ("EMPTY", "FEW", "FEATURES")}
    named["EMPTY"].mkdir()
    shutil.copytree(films / "videos", named["FEW"])
    (named["FEW"] / "a.mp4").unlink()
    named["FILM"] = write_untrimmed(folder / "film", train=1, val=1)
    named["CHECKPOINT"] = folder / "checkpoint.safetensors"
    made = build(smallest.replace({"seed": 9}), folder)
    save_weights(named["CHECKPOINT"], made.model.state_dict(), made.facts)
    return {name: str(path) for name, path in named.items()}


@pytest.fixture(scope="module")
def known() -> dict[str, Any]:
    """What unchanged configs come to, which many keys share."""
    return {}


def test_no_key_is_forgotten() -> None:
    assert [key for key in keys(AdaTadConfig) if not key.startswith(ELSEWHERE)] == list(CHANGES)


@pytest.mark.parametrize("key", CHANGES)
def test_each_key_has_an_effect_or_is_refused(
    key: str, smallest: AdaTadConfig, files: dict[str, str], known: dict[str, Any], tmp_path: Path
) -> None:
    base, value = CHANGES[key]
    before, after = filled(base, files), filled({**base, key: value}, files)

    def come_to(options: Options) -> Outcome:
        return outcome(lambda: effects(smallest.replace(options), tmp_path))

    usual = known.get(repr(before)) or come_to(before)
    known[repr(before)] = usual
    assert isinstance(usual, str) == (base == {"videos.folder": "FEW"}), usual
    changed = come_to(after)
    assert changed != usual
    assert isinstance(changed, str) == (key in REFUSED), changed


def effects(config: AdaTadConfig, work: Path) -> list[object]:
    """All that a training is made of, short of training: start values, what is frozen, windows,
    the loss of a batch, and the segments of an evaluation."""
    training = build(config, work)
    assert training.refuse is not None
    training.refuse()
    prepared: list[Event] = []
    if training.prepare is not None:
        training.prepare(prepared.append, lambda: None)
    network, validation = training.model, training.validate
    assert isinstance(network, AdaTad)
    assert isinstance(validation, Validation)
    start = {name: one.double().sum().item() for name, one in network.state_dict().items()}
    random.seed(0)
    samples = training.data.samples
    batch = training.data.collate([samples[index % len(samples)] for index in range(4)])
    torch.manual_seed(0)
    with torch.no_grad():
        loss = sum(one.item() for one in network.train().loss(batch).values())
    seen = batch.frames.double().sum().item(), batch.valid.sum().item(), batch.starts
    return [start, training.parts.frozen, len(samples), seen, loss, training.facts["classes"],
            prepared, len(validation.windows), answers(config, network)]  # fmt: skip


def answers(config: AdaTadConfig, network: AdaTad) -> object:
    """Segments of a network that says something of everything."""
    (split,) = read_data(config, ("val",)).splits
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    windows = SlidingWindows(split.usable[:1], config, config.inference.overlap)
    return judge(network, split, windows, config).predictions
