"""A network as an ONNX graph, and such a graph as a network that answers.

The graph is the one that Ultralytics' exporter makes. The exporter itself is not used: it
writes the dataset's path into the file, chooses the file's place and hides the GPUs.
"""

import ast
import contextlib
import copy
import importlib.metadata
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

import backend.trainers.yolo.hermetic  # noqa: F401 (must come before ultralytics)

from ultralytics.nn.modules import C2f, Detect  # isort: skip

OPSET = 18
"""ONNX Runtime has no CUDA kernel for some operations of later ones."""

IR_VERSION = 10
"""The newest that ONNX Runtimes of some age read."""

INPUT, OUTPUT = "images", "output0"
AXES = {INPUT: {0: "batch", 2: "height", 3: "width"}, OUTPUT: {0: "batch", 2: "anchors"}}
PACKAGES = ("ultralytics", "torch", "onnx", "onnxslim")
LICENSE = "AGPL-3.0 License (https://ultralytics.com/license)"

Facts = dict[str, bool | int | float | str]


@dataclass(frozen=True)
class GraphOptions:
    """``dynamic``: any batch, height and width (multiples of the stride), not 1 x imgsz x imgsz.
    ``checkpoint`` is the sha256 of the weights, noted in the file."""

    imgsz: int
    dynamic: bool
    checkpoint: str


def onnx_graph(network: Any, options: GraphOptions) -> tuple[bytes, Facts]:
    """The network as a checked ONNX file, and what the file is.

    It answers with the boxes and class scores of each place, before non-maximum suppression:
    (batch, 4 + classes, places). The same weights give the same bytes.
    """
    import onnx  # noqa: PLC0415 (of the extra)
    import onnxslim  # noqa: PLC0415

    image = torch.zeros(1, 3, options.imgsz, options.imgsz)
    traced = io.BytesIO()
    with _tracing():
        torch.onnx.export(
            _for_tracing(network, options.dynamic),
            (image,),
            cast(Any, traced),
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes=AXES if options.dynamic else None,
            dynamo=False,
        )
    graph = onnxslim.slim(onnx.load_model_from_string(traced.getvalue()))
    onnx.helper.set_model_props(graph, _metadata(network, options))
    graph.ir_version = min(graph.ir_version, IR_VERSION)
    onnx.checker.check_model(graph, full_check=True)
    content: bytes = graph.SerializeToString(deterministic=True)
    facts: Facts = {
        "opset": OPSET,
        "ir_version": graph.ir_version,
        "dynamic": options.dynamic,
        "input": _shape(graph.graph.input[0]),
        "output": _shape(graph.graph.output[0]),
        "nodes": len(graph.graph.node),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }
    return content, facts


def _shape(value: Any) -> str:
    """A tensor of the graph as ``images 1x3x640x640``."""
    sides = (str(side.dim_param or side.dim_value) for side in value.type.tensor_type.shape.dim)
    return f"{value.name} {'x'.join(sides)}"


class OnnxNetwork(nn.Module):
    """An ONNX file in the place of the network that it was made of, run by onnxruntime on the CPU.

    It reads ``names`` and ``stride`` from the file, as others will.
    """

    def __init__(self, content: bytes) -> None:
        import onnxruntime  # noqa: PLC0415 (of the extra)

        super().__init__()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # it warns of GPUs that are not there
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )
        told = self._session.get_modelmeta().custom_metadata_map
        self.names = dict(enumerate(ast.literal_eval(told["names"]).values()))
        self.stride = torch.tensor([int(told["stride"])])

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, 3, height, width) in 0 to 1."""
        (output,) = self._session.run([OUTPUT], {INPUT: images.cpu().numpy()})
        return torch.from_numpy(output)


def _for_tracing(network: Any, dynamic: bool) -> Any:
    """A fused copy that answers with its output alone."""
    copied = copy.deepcopy(network).cpu().float().eval().fuse(verbose=False)
    copied.requires_grad_(False)
    for module in copied.modules():
        if isinstance(module, Detect):
            module.export, module.format, module.dynamic = True, "onnx", dynamic
            module.shape = None  # what it remembers of the last image
        elif isinstance(module, C2f):
            module.forward = module.forward_split
    return copied


def _metadata(network: Any, options: GraphOptions) -> dict[str, str]:
    """What Ultralytics' own loader and others read; no path and no date."""
    facts = {
        "description": "Detection model of Ultralytics' architecture, exported by Assay",
        "author": "Assay",
        "version": importlib.metadata.version("ultralytics"),
        "license": LICENSE,
        "docs": "https://docs.ultralytics.com",
        "stride": int(network.stride.max()),
        "task": "detect",
        "head": type(network.model[-1]).__name__,
        "batch": 1,
        "imgsz": [options.imgsz, options.imgsz],
        "names": network.names,
        "args": {"batch": 1, "dynamic": options.dynamic, "opset": OPSET, "simplify": True},
        "channels": 3,
        "end2end": False,
        "checkpoint": options.checkpoint,
    }
    return {key: str(value) for key, value in facts.items()}


@contextlib.contextmanager
def _tracing() -> Iterator[None]:
    """What torch says to those who trace: that it will change, and that shapes are constants."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You are using the legacy", DeprecationWarning)
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"torch\.onnx")
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # type: ignore[attr-defined]
        yield
