"""Where a model is looked for, without loading torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from backend.core.errors import CheckpointError
from backend.trainers.yolo.sources import find_model
from backend.trainers.yolo.spec import YoloConfig


def config(model: str, **more: object) -> YoloConfig:
    return YoloConfig.model_validate({"model": model, "data": "data.yaml", **more})


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_file_here_is_found(tmp_path: Path) -> None:
    (tmp_path / "m.pt").touch()
    assert find_model(config("m.pt")) == tmp_path / "m.pt"


def test_a_bare_name_is_found_in_weights_dir(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w/m.safetensors").touch()
    found = find_model(config("m.safetensors", weights_dir=tmp_path / "w"))
    assert found == tmp_path / "w/m.safetensors"


def test_a_missing_name_tells_the_expected_path(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"expected {tmp_path}/w/yolov8n\.pt"):
        find_model(config("yolov8n.pt", weights_dir=tmp_path / "w"))


def test_a_missing_name_without_weights_dir() -> None:
    with pytest.raises(CheckpointError, match="weights_dir is not set; nothing is downloaded"):
        find_model(config("yolov8n.pt"))
    with pytest.raises(CheckpointError, match="weights_dir"):
        find_model(config("yolov8n.pt", allow_download=True))


def test_a_download_goes_to_weights_dir(tmp_path: Path) -> None:
    found = find_model(config("yolov8n.pt", weights_dir=tmp_path, allow_download=True))
    assert found == tmp_path / "yolov8n.pt"


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"{tmp_path}/x/m\.pt: no such model file"):
        find_model(config("x/m.pt", weights_dir=tmp_path))


def test_other_endings_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"'model\.onnx' is no"):
        find_model(config("model.onnx"))


def test_finding_loads_no_torch() -> None:
    code = (
        "import sys, backend.trainers.yolo.sources, backend.trainers.yolo.dataset\n"
        "sys.exit(bool({'torch', 'ultralytics', 'mlflow', 'optuna'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
