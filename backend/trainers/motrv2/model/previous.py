"""What fine-tuning replaced, kept beside the new: so that forgetting can be measured."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor, nn

from backend.trainers.motrv2.model.geometry import Geometry

PREVIOUS = "previous."
"""Before the names of replaced tensors in a checkpoint."""
HEADS = ("class_embed.", "yolox_class_embed.")
"""What goes by classes: their classifiers and the vectors of a detector's classes."""


class Previous(nn.Module):
    """Tensors under their names, as buffers: nothing trains them, and they are saved."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            *path, last = name.split(".")
            holder: nn.Module = self
            for part in path:
                if not hasattr(holder, part):
                    holder.add_module(part, nn.Module())
                holder = holder.get_submodule(part)
            holder.register_buffer(last, tensor.detach().clone())


def split_previous(
    state: Mapping[str, Tensor],
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A network's tensors, and those that it had before, under the same names."""
    now = {name: one for name, one in state.items() if not name.startswith(PREVIOUS)}
    before = {name[len(PREVIOUS) :]: one for name, one in state.items() if name not in now}
    return now, before


def put_back(
    geometry: Geometry, state: Mapping[str, Tensor]
) -> tuple[Geometry, dict[str, Tensor]]:
    """The network with the classes that it had before: its sizes and tensors.

    ``state`` holds the replaced ones, at least one classifier.
    """
    now, before = split_previous(state)
    body = {name: one for name, one in now.items() if not name.startswith(HEADS)}
    vectors = before.get("yolox_class_embed.weight")
    sizes = replace(
        geometry,
        classes=len(before["class_embed.0.bias"]),
        proposal_classes=0 if vectors is None else len(vectors),
    )
    return sizes, body | before
