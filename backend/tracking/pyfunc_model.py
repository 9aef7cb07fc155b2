"""The served model: images or videos in, a table out.

MLflow stores this file beside the weights and runs it where the model is loaded ("models from
code"), so it must not be imported; ``model_config`` names the trainer and its task.
"""

import importlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel
from numpy.typing import NDArray
from PIL import Image, ImageOps

from backend.tracking.tables import TABLES


class Served(PythonModel):  # type: ignore[misc]
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
        self._table = TABLES[facts["task"]]
        self._conf = float(facts["conf"])
        self._predictor = trainer.predictor(weights)

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Predict for images or videos: one, a list, an array that stacks them, or a table.

        Each is the path of a file, or a uint8 RGB array: (height, width, 3) for an image,
        (frames, height, width, 3) for a video. A table has one column, or one called ``image``,
        ``video`` or ``path``. (The annotation names the table only, because it is the one that
        MLflow takes without checks or warnings.) ``params["conf"]`` is the lowest score that
        counts, by default the threshold that the model was evaluated with. Gives a table with a
        row per prediction, whose first column counts the inputs from zero:

        - detection: image, x1, y1, x2, y2 (corners in pixels), score, label;
        - tracking: input, frame, id, x, y, w, h (upper left corner and size in pixels), score,
          class;
        - temporal: input, start, end (seconds), label, score;
        - spotting: input, frame, label (elements joined by ``_``), score.

        Frames count from zero. Raises ValueError with one sentence for what is none of these.
        """
        conf = float((params or {}).get("conf", self._conf))
        read = _video if self._table.videos else _image
        inputs = [read(item) for item in self._items(model_input)]
        rows = [
            (index, *self._table.row(prediction))
            for index, predictions in enumerate(self._predictor.predict(inputs, conf))
            for prediction in predictions
        ]
        return pd.DataFrame(rows, columns=list(self._table.columns))

    def _items(self, model_input: Any) -> list[Any]:
        """What to predict for, one by one."""
        if isinstance(model_input, dict):
            model_input = pd.DataFrame(model_input)
        if isinstance(model_input, pd.DataFrame):
            return list(model_input[self._column(model_input)])
        if isinstance(model_input, np.ndarray) and model_input.ndim > 1:
            one = 4 if self._table.videos else 3
            return [model_input] if model_input.ndim <= one else list(model_input)
        return [model_input] if isinstance(model_input, str | Path) else list(model_input)

    def _column(self, table: pd.DataFrame) -> Any:
        named = [name for name in self._table.inputs if name in table.columns]
        if named:
            return named[0]
        if len(table.columns) == 1:
            return table.columns[0]
        raise ValueError(
            f"expected a table with a column '{self._table.inputs[0]}', got the columns "
            f"{', '.join(map(str, table.columns)) or '(none)'}"
        )


def _image(image: Any) -> NDArray[np.uint8]:
    if not isinstance(image, str | Path):
        return _pixels(image, 3, "an image", "(height, width, 3)")
    try:
        with Image.open(_file(image)) as file:
            return np.asarray(ImageOps.exif_transpose(file).convert("RGB"))
    except OSError:
        raise ValueError(f"{image}: not an image that can be read") from None


def _video(video: Any) -> Path | NDArray[np.uint8]:
    """An array of frames, or a path: the trainer decodes as it did for training."""
    if isinstance(video, str | Path):
        return _file(video)
    return _pixels(video, 4, "a video", "(frames, height, width, 3)")


def _file(path: str | Path) -> Path:
    if not Path(path).exists():
        raise ValueError(f"{path}: no such file")
    return Path(path)


def _pixels(pixels: Any, dimensions: int, what: str, shape: str) -> NDArray[np.uint8]:
    array = np.asarray(pixels)
    whole = array.dtype.kind in "iu" and (not array.size or 0 <= array.min() <= array.max() <= 255)
    if array.ndim != dimensions or array.shape[-1] != 3 or not array.size or not whole:
        raise ValueError(
            f"expected {what} of whole numbers from 0 to 255, shape {shape}, "
            f"got {array.dtype} {array.shape}"
        )
    return array.astype(np.uint8, copy=False)


def _named(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


set_model(Served())
