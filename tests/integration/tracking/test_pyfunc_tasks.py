"""Each task's champion in a process that knows only where MLflow is."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backend.tracking.home import Home
from backend.tracking.registry import Registry
from tests.support.registering import judged, run_elsewhere
from tests.support.spots import load_spec, write_plugin

CLIPS = "kind: clips\ndata: /gone/data.yaml\ndevice: cuda:3\nfps: 5.0\n"
SPOTS = "kind: spots\ndata: /gone/data.yaml\ndevice: cuda:3\nlabel: bright\n"
TASKS = ("detection", "tracking", "temporal", "spotting")

SERVE = """
import json, pathlib, sys
import mlflow.pyfunc, numpy as np, pandas as pd
model = None

def told(given, **how):
    try:
        answer = model.predict(given, **how)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return [list(answer.columns), answer.values.tolist()]

def asked(array, path, column):
    dark = np.zeros_like(array)
    return {
        "arrays": told([dark, array]), "stack": told(np.stack([dark, array])),
        "one": told(array), "paths": told([path, path]), "path": told(path),
        "pathlib": told([pathlib.Path(path)]),
        "table": told(pd.DataFrame({"fold": [1, 2], column: [path, path]})),
        "only column": told(pd.DataFrame({"whatever": [path]})),
        "none above": told([array], params={"conf": 0.9}), "nothing": told([]),
        "missing": told(["no such file"]), "floats": told([array / 255]),
        "shape": told([array[..., 0]]), "negative": told([array.astype(int) - 1]),
        "columns": told(pd.DataFrame({"a": [path], "b": [path]})),
    }

clip = np.zeros((6, 20, 30, 3), np.uint8)
clip[2:4, 5:9, 10:16, 0] = 200
np.save("clip.npy", clip)
answers = {}
for task in json.loads(sys.argv[1]):
    model = mlflow.pyfunc.load_model(f"models:/test-{task}@champion")
    single = (clip[2], "spot.png", "image") if task == "detection" else (clip, "clip.npy", "video")
    answers[task] = asked(*single)
    answers[task]["broken"] = told(["broken.png"])
    answers[task]["outputs"] = model.metadata.signature.outputs.input_names()
print(json.dumps(answers))
"""

ROWS: dict[str, list[list[Any]]] = {
    "detection": [[10.0, 5.0, 16.0, 9.0, 0.5, "bright"]],
    "tracking": [[frame, 1, 10.0, 5.0, 6.0, 4.0, 0.5, "lamp"] for frame in (2, 3)],
    "temporal": [[0.4, 0.8, "shine", 0.5]],
    "spotting": [[2, "far_serve_in", 0.5]],
}
COLUMNS = {
    "detection": ["image", "x1", "y1", "x2", "y2", "score", "label"],
    "tracking": ["input", "frame", "id", "x", "y", "w", "h", "score", "class"],
    "temporal": ["input", "start", "end", "label", "score"],
    "spotting": ["input", "frame", "label", "score"],
}


@pytest.fixture(scope="module")
def answers(template_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the champions of all tasks say to everything, in one fresh process."""
    from tests.support.mlflow_home import copy_home

    folder = tmp_path_factory.mktemp("served")
    home = copy_home(template_home, folder / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path])
        for module in ("spot_plugin", "clip_plugin"):
            patch.setitem(sys.modules, module, sys)  # so that it is taken out again
        plugin = write_plugin(folder / "plugin")
        for number, task in enumerate(TASKS):
            register(home, plugin, task, number)
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[5:9, 10:16, 0] = 200
    Image.fromarray(pixels).save(folder / "spot.png")
    (folder / "broken.png").write_text("no picture")
    code = SERVE.replace("sys.argv[1]", repr(json.dumps(TASKS)))
    return json.loads(run_elsewhere(home, code, folder).splitlines()[-1])


def register(home: Home, plugin: Path, task: str, number: int) -> None:
    config = SPOTS if task == "detection" else CLIPS
    decision = judged(home, number, model=f"test-{task}")
    Registry(home).register(decision, load_spec(plugin, task), config)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("given", "hits"),
    [
        ("arrays", [1]), ("stack", [1]), ("one", [0]), ("paths", [0, 1]), ("path", [0]),
        ("pathlib", [0]), ("table", [0, 1]), ("only column", [0]), ("none above", []),
        ("nothing", []),
    ],
)  # fmt: skip
def test_every_task_predicts_from_paths_and_arrays(
    answers: Any, task: str, given: str, hits: list[int]
) -> None:
    columns, rows = answers[task][given]
    assert columns == answers[task]["outputs"] == COLUMNS[task]
    assert rows == [[hit, *row] for hit in hits for row in ROWS[task]]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("given", ["missing", "floats", "shape", "negative", "columns"])
def test_wrong_inputs_get_one_sentence(answers: Any, task: str, given: str) -> None:
    what = "an image" if task == "detection" else "a video"
    column = "image" if task == "detection" else "video"
    told = answers[task][given]
    assert isinstance(told, str)
    assert told.startswith("ValueError: ")
    assert "\n" not in told
    if given == "missing":
        assert told.endswith("no such file: no such file")
    elif given == "columns":
        assert told.endswith(f"expected a table with a column '{column}', got the columns a, b")
    else:
        assert f"expected {what} of whole numbers from 0 to 255, shape (" in told


def test_a_file_that_is_no_image_gets_one_sentence(answers: Any) -> None:
    assert answers["detection"]["broken"] == (
        "ValueError: broken.png: not an image that can be read"
    )
