"""The served model: images in, boxes out.

MLflow stores this file beside the weights and runs it where the model is loaded ("models from
code"), so it must not be imported, and knows Assay only by the names in ``model_config``.
"""

import importlib
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel
from numpy.typing import NDArray
from PIL import Image, ImageOps

COLUMNS = ("image", "x1", "y1", "x2", "y2", "score", "label")


class Detector(PythonModel):  # type: ignore[misc]
    """A trainer's predictor behind MLflow's interface."""

    def load_context(self, context: Any) -> None:
        """Build the trainer from its stored config and load the weights."""
        facts = context.model_config
        text = Path(context.artifacts["config"]).read_text(encoding="utf-8")
        config = {**yaml.safe_load(text), "device": "auto"}  # the training's GPU may not be here
        self._scratch = tempfile.TemporaryDirectory(prefix="assay-")
        trainer = _named(facts["entry"])(
            _named(facts["config_class"]).model_validate(config), Path(self._scratch.name)
        )
        weights = Path(context.artifacts["checkpoint"]) / facts["checkpoint"]
        self._predictor = trainer.predictor(weights)

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Detect objects in images: a list, or a table with one column.

        Images are uint8 RGB arrays (height, width, 3), or paths of files. (The annotation names
        the table only, because it is the one that MLflow takes without checks or warnings.)
        Gives a table with one row per box; ``image`` counts the inputs from zero, corners are
        in pixels. ``params["conf"]`` is the lowest score that counts.
        """
        conf = float((params or {}).get("conf", 0.25))
        found = self._predictor.predict([_pixels(image) for image in _items(model_input)], conf)
        rows = [
            (index, *detection.box, detection.score, detection.label)
            for index, detections in enumerate(found)
            for detection in detections
        ]
        return pd.DataFrame(rows, columns=list(COLUMNS))


def _items(model_input: Any) -> Iterable[Any]:
    """The images of a list, of an array that stacks them, or of a table; or the only image."""
    if isinstance(model_input, dict):
        model_input = pd.DataFrame(model_input)
    if isinstance(model_input, pd.DataFrame):
        named = "image" in model_input.columns
        return list(model_input["image"] if named else model_input.iloc[:, 0])
    alone = isinstance(model_input, str | Path) or getattr(model_input, "ndim", 0) in {2, 3}
    return [model_input] if alone else list(model_input)


def _pixels(image: Any) -> NDArray[np.uint8]:
    if isinstance(image, str | Path):
        with Image.open(image) as file:
            return np.asarray(ImageOps.exif_transpose(file).convert("RGB"))
    pixels = np.asarray(image)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype.kind not in "iu":
        raise ValueError(
            "expected images of whole numbers from 0 to 255, shape (height, width, 3), "
            f"got {pixels.dtype} {pixels.shape}"
        )
    return pixels.astype(np.uint8, copy=False)


def _named(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


set_model(Detector())
