"""Images to maps: a ResNet-50 whose batch norms are constants, or a small network for tests."""

from collections import OrderedDict

from torch import Tensor, nn
from torchvision.models import resnet50
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.ops import FrozenBatchNorm2d

from backend.trainers.motrv2.model.geometry import Backbone as Kind

RESNET_CHANNELS = (512, 1024, 2048)
TINY_CHANNELS = (16, 24, 48, 64)
UNTRAINED = ("conv1", "layer1")
"""Of the ResNet: they never train."""


class Backbone(nn.Module):
    """``body`` gives maps from fine to coarse; the last ``levels`` of them are used.

    ``channels`` are theirs: strides 8, 16 and 32 for the ResNet, 8 and 16 for the small one.
    """

    def __init__(self, kind: Kind, levels: int) -> None:
        super().__init__()
        self.body = _resnet() if kind == "resnet50" else _tiny()
        every = RESNET_CHANNELS if kind == "resnet50" else TINY_CHANNELS[2:]
        self.channels = every[-levels:]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Maps (B, C, h, w) of images (B, 3, H, W)."""
        maps = list(self.body(images).values())
        return maps[-len(self.channels) :]


def _resnet() -> nn.Module:
    network = resnet50(weights=None, norm_layer=FrozenBatchNorm2d)
    for name in UNTRAINED:
        network.get_submodule(name).requires_grad_(False)
    names = {"layer2": "0", "layer3": "1", "layer4": "2"}
    body: nn.Module = IntermediateLayerGetter(network, return_layers=names)
    return body


def _tiny() -> nn.Module:
    """Four strided convolutions; each of the last two is followed by a plain one."""
    stages = OrderedDict[str, nn.Module]()
    inputs = 3
    for at, outputs in enumerate(TINY_CHANNELS, start=1):
        parts = _convolution(inputs, outputs, stride=2)
        if at > 2:
            parts += _convolution(outputs, outputs, stride=1)
        stages[f"stage{at}"] = nn.Sequential(*parts)
        inputs = outputs
    body: nn.Module = IntermediateLayerGetter(
        nn.Sequential(stages), return_layers={"stage3": "0", "stage4": "1"}
    )
    return body


def _convolution(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
