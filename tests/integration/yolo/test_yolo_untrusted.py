"""Files from outside: nothing in them is executed."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from backend.core.errors import CheckpointError, DataError
from backend.trainers.yolo.architecture import build, read_architecture
from backend.trainers.yolo.model import open_source
from backend.trainers.yolo.spec import YoloConfig
from tests.support.hostile import Bomb
from tests.support.yolo_runs import Training, fit


@pytest.fixture(scope="module")
def ultralytics_pt(trained: Training, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained detector as Ultralytics itself would save it: a pickled module."""
    source = open_source(trained.best())
    network = build(source.architecture, source.names, source.base, "test")
    network.load_state_dict(source.state)
    path = tmp_path_factory.mktemp("pt") / "model.pt"
    torch.save({"model": network.half(), "train_args": {}, "epoch": -1}, path)
    return path


def test_a_real_pt_is_read_safely(ultralytics_pt: Path, trained: Training) -> None:
    safe, source = open_source(ultralytics_pt), open_source(trained.best())
    assert safe.names == source.names
    assert safe.architecture == source.architecture
    for name, tensor in source.state.items():
        expected = tensor.half().float() if tensor.is_floating_point() else tensor
        assert torch.equal(safe.state[name], expected), name


def test_training_starts_from_a_pt(
    tuning: YoloConfig, ultralytics_pt: Path, tmp_path: Path
) -> None:
    config = tuning.replace({"model": str(ultralytics_pt), "epochs": 1, "optimizer.lr0": 1e-9})
    assert fit(config, tmp_path).evaluated().report.metrics["mAP50"] or 0 > 0.3


def test_a_hostile_pt_is_refused_and_runs_nothing(tuning: YoloConfig, tmp_path: Path) -> None:
    mark, path = tmp_path / "mark", tmp_path / "model.pt"
    torch.save({"model": Bomb(mark)}, path)
    with pytest.raises(CheckpointError, match=r"nothing was run.*trust_pickle: true"):
        fit(tuning.replace({"model": str(path)}), tmp_path / "work")
    assert not mark.exists()
    assert not (tmp_path / "work").exists()


def test_a_trusted_pt_may_run_code_and_must_still_be_a_model(
    tuning: YoloConfig, tmp_path: Path
) -> None:
    mark, path = tmp_path / "mark", tmp_path / "model.pt"
    torch.save({"model": Bomb(mark)}, path)
    with pytest.raises(CheckpointError, match="holds no Ultralytics model"):
        fit(tuning.replace({"model": str(path), "trust_pickle": True}), tmp_path / "work")
    assert mark.exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04cut"])
def test_a_file_that_is_no_pt_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"m\.pt: not a whole Ultralytics \.pt file"):
        open_source(tmp_path / "m.pt")


def test_bare_weights_are_no_model(tmp_path: Path) -> None:
    torch.save({"layer.weight": torch.zeros(2)}, tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match="holds no Ultralytics model"):
        open_source(tmp_path / "m.pt")


def test_a_hostile_architecture_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    content = {
        "nc": 2,
        "activation": f"__import__('os').mkdir({str(mark)!r})",
        "backbone": [[-1, 1, "Conv", [8, 3, 2]]],
        "head": [[[0], 1, "Detect", ["nc"]]],
    }
    (tmp_path / "evil.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(CheckpointError, match="cannot be built"):
        build(read_architecture(tmp_path / "evil.yaml"), ("a", "b"), 2, "evil.yaml")
    assert not mark.exists()


def test_caches_and_arrays_beside_the_data_are_never_opened(
    scratch: YoloConfig, shapes: Path, tmp_path: Path
) -> None:
    mark, folder = tmp_path / "mark", tmp_path / "data"
    shutil.copytree(shapes.parent, folder)
    cache: np.ndarray = np.array({"bomb": Bomb(mark)}, dtype=object)
    for place in ("labels/train.cache", "labels/val.cache", "images/train/000.npy"):
        with (folder / place).open("wb") as file:
            np.save(file, cache, allow_pickle=True)
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    fit(scratch.replace({"data": str(folder / "data.yaml"), "epochs": 1}), tmp_path / "work")
    assert not mark.exists()
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before
    np.load(folder / "labels/train.cache", allow_pickle=True)
    assert mark.exists()  # the file was dangerous indeed


def test_stale_arrays_beside_images_are_not_trained_on(
    scratch: YoloConfig, shapes: Path, tmp_path: Path
) -> None:
    """Ultralytics prefers ``<image>.npy`` to the image, whatever made it."""
    folder = tmp_path / "data"
    shutil.copytree(shapes.parent, folder)
    for image in (folder / "images").rglob("*.png"):
        np.save(image.with_suffix(".npy"), np.zeros((64, 64, 3), np.uint8))
    config = scratch.replace({"epochs": 1})
    moved = config.replace({"data": str(folder / "data.yaml")})
    with_arrays, without = fit(moved, tmp_path / "a"), fit(config, tmp_path / "b")
    assert with_arrays.epochs() == without.epochs()


def test_damaged_jpegs_of_the_user_are_not_rewritten(
    scratch: YoloConfig, shapes: Path, tmp_path: Path
) -> None:
    """Ultralytics saves a JPEG without its end mark anew; it must do so in the view only."""
    from PIL import Image

    folder = tmp_path / "data"
    shutil.copytree(shapes.parent, folder)
    image = folder / "images/train/000.png"
    with Image.open(image) as pixels:
        pixels.save(image.with_suffix(".jpg"))
    image.unlink()
    whole = image.with_suffix(".jpg")
    whole.write_bytes(whole.read_bytes() + b"trailing bytes of a camera")
    before = whole.read_bytes()
    fit(scratch.replace({"data": str(folder / "data.yaml"), "epochs": 1}), tmp_path / "work")
    assert whole.read_bytes() == before


def test_a_download_entry_is_not_run(scratch: YoloConfig, shapes: Path, tmp_path: Path) -> None:
    mark, folder = tmp_path / "mark", tmp_path / "data"
    shutil.copytree(shapes.parent, folder)
    shutil.rmtree(folder / "images/val")
    data = yaml.safe_load((folder / "data.yaml").read_text())
    data["download"] = f"import os; os.mkdir({str(mark)!r})"
    (folder / "data.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises(DataError, match="'download' is never run"):
        fit(scratch.replace({"data": str(folder / "data.yaml")}), tmp_path / "work")
    assert not mark.exists()


def test_a_read_only_dataset_can_be_trained_on(
    scratch: YoloConfig, shapes: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(shapes.parent, folder)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        run = fit(
            scratch.replace({"data": str(folder / "data.yaml"), "epochs": 1}), tmp_path / "work"
        )
    finally:
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755)
    assert run.outcome.status == "finished"
