"""Public weights into the network, from a path or from the local cache of Hugging Face.

No code from a file runs and nothing is fetched.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from huggingface_hub import try_to_load_from_cache
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

import backend.nn.hermetic  # noqa: F401 (the Hugging Face client stays offline)
from backend.core.errors import CheckpointError
from backend.nn.finetune.transfer import transfer
from backend.trainers.adatad.key_map import to_our_names

FILES = ("model.safetensors", "pytorch_model.bin")
"""What a model of Hugging Face is saved as, the safe one first."""
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_WRAPPED = ("state_dict_ema", "state_dict", "model", "module")
_ADAPTER = re.compile(r"^backbone\.blocks\.\d+\.adapter\.")
CLASS_HEAD = ("head.cls_head.weight", "head.cls_head.bias")
"""The tensors that have a row for each class."""


@dataclass(frozen=True)
class LoadReport:
    """What became of each tensor of the network and of the file.

    ``loaded`` maps our names to the file's. ``missing`` keep their initial values; ``replaced``
    too, as the file has other classes. ``unexpected`` are the file's that no part here is for.
    """

    source: str
    loaded: Mapping[str, str]
    missing: tuple[str, ...]
    replaced: tuple[str, ...]
    unexpected: tuple[str, ...]

    @property
    def new(self) -> frozenset[str]:
        """Tensors that did not come from the file: they must be trained."""
        return frozenset(self.missing + self.replaced)

    @property
    def untrained_backbone(self) -> tuple[str, ...]:
        """Tensors of the backbone itself, without adapters, that the file has not."""
        of_backbone = (name for name in self.missing if name.startswith("backbone."))
        return tuple(name for name in of_backbone if not _ADAPTER.match(name))

    def as_json(self) -> dict[str, object]:
        """For a file."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people: the counts, then what was not loaded, part by part."""
        total = len(self.loaded) + len(self.new)
        adapters = [name for name in self.missing if _ADAPTER.match(name)]
        detector = [name for name in self.missing if not name.startswith("backbone.")]
        found = {
            "adapters start as the identity": adapters,
            "the detector starts fresh": detector,
            "missing in the backbone": list(self.untrained_backbone),
            "other classes, starts fresh": list(self.replaced),
            "unexpected": list(self.unexpected),
        }
        return [
            f"{self.source}: loaded {len(self.loaded)} of {total} tensors, missing "
            f"{len(self.missing)}, replaced {len(self.replaced)}, unexpected "
            f"{len(self.unexpected)}",
            *(f"{what}: {_few(names)}" for what, names in found.items() if names),
        ]


def load_public(network: nn.Module, name_or_path: str) -> LoadReport:
    """Weights of VideoMAE or of AdaTAD into ``network`` as far as they fit, and what did not.

    Nothing is copied if it raises CheckpointError: for a file that is missing, damaged, unsafe,
    of another architecture or of another size.
    """
    path = find_file(name_or_path)
    return load_into(network, read_tensors(path), str(path))


def load_into(network: nn.Module, tensors: Mapping[str, Tensor], source: str) -> LoadReport:
    """The same for tensors by any known names. Raises CheckpointError."""
    mapped = to_our_names(tensors)
    target = network.state_dict()
    known = {name: one for name, one in mapped.state.items() if name in target}
    if not any(name.startswith("backbone.") for name in known):
        raise CheckpointError(
            f"{source}: no weights of VideoMAE or AdaTAD; its tensors are called "
            f"{_few(list(tensors)) or 'nothing'}"
        )
    other = [name for name, one in known.items() if one.shape != target[name].shape]
    if wrong := [name for name in other if name not in CLASS_HEAD]:
        raise CheckpointError(
            f"{source}: of another size: {mapped.origin[wrong[0]]} is "
            f"{list(known[wrong[0]].shape)}, the network's is {list(target[wrong[0]].shape)}; "
            "set model.preset, model.adapter_ratio and model.detector_width as it was made with"
        )
    report = transfer(network, known)
    return LoadReport(
        source=source,
        loaded={name: mapped.origin[name] for name in report.loaded},
        missing=report.missing,
        replaced=report.mismatched,
        unexpected=tuple(
            sorted({mapped.origin[name] for name in mapped.state if name not in target})
        ),
    )


def find_file(name_or_path: str) -> Path:
    """The weight file: a path, a folder saved by transformers, or a name in the local cache of
    Hugging Face. Raises CheckpointError."""
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        inside = next((path / name for name in FILES if (path / name).is_file()), None)
        if inside is None:
            raise CheckpointError(f"{path}: no {' and no '.join(FILES)} in this folder")
        return inside
    if _HUB_NAME.fullmatch(name_or_path):
        for name in FILES:
            cached = try_to_load_from_cache(name_or_path, name)
            if isinstance(cached, str):
                return Path(cached)
        raise CheckpointError(
            f"{name_or_path}: neither a file nor in the local cache of Hugging Face; fetch it "
            f"with 'hf download {name_or_path}' or give a path"
        )
    raise CheckpointError(
        f"{name_or_path}: no such checkpoint; give a file, a folder saved by transformers or a "
        "name in Hugging Face's local cache ('assay demo adatad --data-only' makes the demo's)"
    )


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors or torch file; of averaged and live weights the averaged.

    Raises CheckpointError.
    """
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path}: damaged checkpoint ({error})") from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's reader meets damaged files with errors of any kind
        raise CheckpointError(
            f"{path}: damaged, not written by torch, or it carries code and was not run "
            f"({type(error).__name__}); save its weights alone"
        ) from error
    return _tensors(content)


def _tensors(content: object) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        return {}
    for key in _WRAPPED:
        if isinstance(content.get(key), Mapping):
            return _tensors(content[key])
    return {str(name): one for name, one in content.items() if isinstance(one, Tensor)}


def _few(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
