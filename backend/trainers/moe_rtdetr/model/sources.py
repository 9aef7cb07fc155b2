"""Weights of a plain RT-DETR from where a user has them: a folder of transformers, a .pth of the
original code, a name on the hub. No file is executed, nothing is fetched unless allowed."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from torch import Tensor
from transformers import PretrainedConfig, RTDetrForObjectDetection, RTDetrV2ForObjectDetection
from transformers.utils import logging

from backend.core.digest import sha256
from backend.core.errors import CheckpointError
from backend.nn.hermetic import online
from backend.trainers.moe_rtdetr.model.original import read_original
from backend.trainers.moe_rtdetr.spec import ModelConfig

HUB = {preset: f"PekingU/rtdetr_v2_{preset}vd" for preset in ("r18", "r34", "r50", "r101")}
"""A preset's own weights, trained on COCO."""

LOADERS = {"rt_detr_v2": RTDetrV2ForObjectDetection, "rt_detr": RTDetrForObjectDetection}

_WAYS = (
    "a folder of transformers (config.json and model.safetensors), an original RT-DETR .pth, a "
    "checkpoint of Assay (.safetensors), or none"
)
FOLDER_WEIGHTS = "model.safetensors"
_FILES = ("config.json", FOLDER_WEIGHTS)
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True)
class Source:
    """Tensors by the names of transformers' ``RTDetrV2ForObjectDetection``.

    ``identity`` tells these weights from any others. ``classes`` name the class outputs, as far
    as the source does; ``config`` is transformers' own, if there is one.
    """

    where: str
    identity: str
    state: Mapping[str, Tensor]
    classes: tuple[str, ...] = ()
    config: PretrainedConfig | None = None


def open_source(model: ModelConfig) -> Source:
    """The weights that ``model.pretrained`` means. Raises CheckpointError."""
    if model.pretrained == "torch_hub":
        return _from_hub(_own_name(model), model)
    path = Path(model.pretrained).expanduser().absolute()
    if path.is_dir():
        return read_folder(path)
    if path.name == FOLDER_WEIGHTS:
        return read_folder(path.parent)
    if path.suffix in {".pth", ".pt"}:
        state = read_original(path)
        return Source(str(path), f"sha256:{sha256(path)}", state)
    if not path.exists() and _HUB_NAME.fullmatch(model.pretrained):
        return _from_hub(model.pretrained, model)
    problem = "not a file that weights can be read from" if path.exists() else "no such file"
    raise CheckpointError(f"model.pretrained: {path} is {problem}; give {_WAYS}")


def read_folder(folder: Path) -> Source:
    """A detector saved by transformers, RT-DETR v2 or v1. Raises CheckpointError."""
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(
            f"{folder}: no {' and no '.join(missing)}; a folder of transformers has both, write "
            "it with model.save_pretrained(folder)"
        )
    kind = _kind(folder)
    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            model, info = LOADERS[kind].from_pretrained(
                folder, local_files_only=True, output_loading_info=True, dtype=torch.float32
            )
    except Exception as error:
        raise CheckpointError(
            f"{folder}: transformers cannot load it ({_first_line(error)}); is model.safetensors "
            "whole, and does config.json belong to it?"
        ) from error
    state = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if name.startswith("model.") and name not in info["missing_keys"]
    }
    labels: Mapping[int, str] = model.config.id2label
    return Source(
        where=str(folder),
        identity=", ".join(f"{name} sha256:{sha256(folder / name)}" for name in _FILES),
        state=state,
        classes=tuple(str(labels[row]) for row in sorted(labels)),
        config=model.config,
    )


def _kind(folder: Path) -> str:
    try:
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind = str(settings["model_type"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder}: config.json is not a model's config") from error
    if kind not in LOADERS:
        raise CheckpointError(
            f"{folder}: holds a model of the kind {kind}, not RT-DETR ({' or '.join(LOADERS)})"
        )
    backbone = settings.get("backbone_config") or {}
    if settings.get("use_timm_backbone") or backbone.get("model_type") != "rt_detr_resnet":
        raise CheckpointError(f"{folder}: its backbone is not RT-DETR's own ResNet")
    return kind


def _own_name(model: ModelConfig) -> str:
    if model.preset not in HUB:
        raise CheckpointError(
            f"model.pretrained: there are no weights for the preset {model.preset}; start from "
            f"none, or choose {', '.join(HUB)}"
        )
    return HUB[model.preset]


def _from_hub(name: str, model: ModelConfig) -> Source:
    if not model.allow_download:
        meant = name if name == model.pretrained else f"{model.pretrained} means {name}, which"
        raise CheckpointError(
            f"model.pretrained: {meant} is on the Hugging Face hub, and nothing is downloaded "
            f"unless model.allow_download is true; offline, give {_WAYS}"
        )
    try:
        with online(), quiet():
            folder = Path(snapshot_download(name, allow_patterns=list(_FILES)))
    except Exception as error:
        raise CheckpointError(
            f"model.pretrained: {name} cannot be downloaded from the Hugging Face hub "
            f"({_first_line(error)}); offline, give {_WAYS}"
        ) from error
    source = read_folder(folder)
    revision = f"{name}@{folder.name}"
    return Source(name, revision, source.state, source.classes, source.config)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"


@contextmanager
def quiet() -> Iterator[None]:
    """Neither progress bars nor a report of keys on the terminal; ours is more exact."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
