"""A checkpoint in other formats: what the files are, and that they answer like the checkpoint."""

import ast
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from backend.cli.main import app
from backend.core.errors import CheckpointError, ConfigError
from backend.core.events import Evaluated, FileSaved, Noted
from backend.core.trainer import ExportReport, ExportRequest
from backend.scoring.detection.yolo_datafile import read_datafile
from backend.tracking.home import Home
from backend.trainers.yolo import export as exporting
from backend.trainers.yolo.dataset import Split, load_split
from backend.trainers.yolo.export import export_best
from backend.trainers.yolo.model import load_network
from backend.trainers.yolo.predictor import Detector, Settings
from backend.trainers.yolo.spec import YoloConfig
from backend.trainers.yolo.trainer import YoloTrainer
from tests.support.yolo_runs import Training, fit

onnx, onnxruntime, onnxslim = (
    pytest.importorskip(name, reason="needs the extra 'onnx'")
    for name in ("onnx", "onnxruntime", "onnxslim")
)

ROOT = Path(__file__).parents[3]
NAMES = {0: "square", 1: "disc", 2: "triangle"}


def export(run: Training, out: Path, data: bool = True, dynamic: bool = False) -> ExportReport:
    request = ExportRequest(
        checkpoint=str(run.best()),
        format="ultralytics" if out.suffix == ".pt" else "onnx",
        out=str(out),
        data=str(run.config.data) if data else "",
        dynamic=dynamic,
    )
    return YoloTrainer(run.config, out.parent / "work").export(request)


def pixels(run: Training, split: str = "val") -> torch.Tensor:
    """The images of a split as the network takes them."""
    files = sorted((run.config.data.parent / "images" / split).iterdir())
    stacked = np.stack([np.asarray(Image.open(file)) for file in files])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 255


def answers(file: Path, images: torch.Tensor) -> Any:
    """What onnxruntime makes of images, without our own code."""
    session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images.numpy()})[0]


def validation(run: Training) -> Split:
    return load_split(read_datafile(run.config.data), "val")


@pytest.fixture(scope="module")
def static(trained: Training, tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    return export(trained, tmp_path_factory.mktemp("static") / "deep" / "best.onnx")


@pytest.fixture(scope="module")
def dynamic(trained: Training, tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    return export(trained, tmp_path_factory.mktemp("dynamic") / "best.onnx", dynamic=True)


def test_an_independent_runtime_answers_like_the_checkpoint(
    static: ExportReport, trained: Training
) -> None:
    network, _ = load_network(trained.best())
    images = pixels(trained)
    with torch.inference_mode():
        expected = network(images)[0].numpy()
    found = np.concatenate([answers(Path(static.path), image[None]) for image in images])
    assert found.shape == (24, 7, 80)
    assert np.abs(found - expected).max() < 1e-3
    assert static.difference is not None
    assert 0 < static.difference < 1e-3


def test_it_scores_like_the_checkpoint(
    static: ExportReport, dynamic: ExportReport, trained: Training
) -> None:
    for report in (static, dynamic):
        assert report.reference["mAP50"] > 0.5
        for name in ("mAP50-95", "mAP50"):
            assert report.metrics[name] == pytest.approx(report.reference[name], abs=0.005)
    today = trained.evaluated().report.metrics
    known = {name: value for name, value in today.items() if value is not None}
    assert dynamic.reference == pytest.approx(known), "any size: framed as in an evaluation"


def test_the_file_is_a_valid_graph_that_tells_what_it_is(
    static: ExportReport, trained: Training
) -> None:
    graph = onnx.load(static.path)
    onnx.checker.check_model(graph, full_check=True)
    told = {item.key: item.value for item in graph.metadata_props}
    assert ast.literal_eval(told["names"]) == NAMES
    assert (told["stride"], told["task"], told["imgsz"]) == ("16", "detect", "[64, 64]")
    assert "AGPL-3.0" in told["license"]
    assert told["checkpoint"] == hashlib.sha256(trained.best().read_bytes()).hexdigest()
    assert (static.facts["input"], static.facts["output"]) == (
        *("images 1x3x64x64", "output0 1x7x80"),
    )
    assert static.facts["opset"] == graph.opset_import[0].version == 18
    content = Path(static.path).read_bytes()
    for place in (trained.work, trained.config.data.parent, trained.config.model, ROOT):
        assert str(place).encode() not in content


def test_the_report_lies_beside_the_file(static: ExportReport) -> None:
    file = Path(static.path)
    assert {path.name for path in file.parent.iterdir()} == {"best.onnx", "best.onnx.json"}
    beside = file.with_name("best.onnx.json").read_text()
    assert ExportReport.model_validate_json(beside) == static
    assert static.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert static.bytes == file.stat().st_size


def test_the_same_weights_give_the_same_bytes_with_and_without_data(
    static: ExportReport, trained: Training, tmp_path: Path
) -> None:
    again = export(trained, tmp_path / "again.onnx", data=False)
    assert again.sha256 == static.sha256
    assert (again.metrics, again.reference) == ({}, {})
    assert "nothing was scored" in again.warnings[0]


def test_a_dynamic_graph_takes_any_batch_and_size(
    dynamic: ExportReport, trained: Training
) -> None:
    network, _ = load_network(trained.best())
    for images in (pixels(trained)[:3], pixels(trained)[:2, :, :32], torch.rand(1, 3, 96, 128)):
        with torch.inference_mode():
            expected = network(images)[0].numpy()
        found = answers(Path(dynamic.path), images)
        assert np.abs(found - expected).max() < 2e-3


def spoiled(monkeypatch: pytest.MonkeyPatch, slope: float) -> None:
    """A simplifier that damages a bias of the head, so that boxes are moved."""
    simplify = onnxslim.slim

    def slim(graph: Any) -> Any:
        made = simplify(graph)
        hit = [t for t in made.graph.initializer if t.name.endswith("cv2.0.2.bias")]
        assert hit
        for tensor in hit:
            bias = onnx.numpy_helper.to_array(tensor)
            ramp = slope * np.arange(len(bias), dtype=np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(bias + ramp, tensor.name))
        return made

    monkeypatch.setattr(onnxslim, "slim", slim)


def test_a_file_that_answers_otherwise_is_not_written(
    trained: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoiled(monkeypatch, 0.001)
    with pytest.raises(CheckpointError, match=r"best.onnx: not written, because its outputs"):
        export(trained, tmp_path / "best.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_scores_otherwise_is_not_written(
    trained: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoiled(monkeypatch, 0.5)
    monkeypatch.setattr(exporting, "TOLERANCE", 1e9)
    with pytest.raises(CheckpointError, match=r"best.onnx: not written, because its mAP50-95"):
        export(trained, tmp_path / "best.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_magnifies_rounding_is_written_with_a_warning(
    trained: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "TOLERANCE", 1e-9)
    report = export(trained, tmp_path / "best.onnx", data=False)
    assert "magnifies rounding errors" in report.warnings[0]
    assert Path(report.path).is_file()


def test_an_earlier_export_is_replaced_and_it_is_said(trained: Training, tmp_path: Path) -> None:
    first = export(trained, tmp_path / "a.pt", data=False)
    again = export(trained, tmp_path / "a.pt", data=False)
    assert again.warnings == first.warnings, "the same again is no other"
    (tmp_path / "a.pt").write_bytes(b"of another checkpoint")
    third = export(trained, tmp_path / "a.pt", data=False)
    assert "it took the place of an earlier export of this name (sha256 " in third.warnings[-1]
    assert (tmp_path / "a.pt").stat().st_size == third.bytes


@pytest.mark.parametrize(
    ("name", "to", "sentence"),
    [
        ("best.engine", "onnx", "a file of the format onnx is called *.onnx"),
        ("best.onnx", "ultralytics", "a file of the format ultralytics is called *.pt"),
        ("best.tflite", "tflite", "unknown format 'tflite'; yolo exports to onnx, ultralytics"),
    ],
)
def test_a_wrong_name_is_refused(
    trained: Training, tmp_path: Path, name: str, to: str, sentence: str
) -> None:
    request = ExportRequest(checkpoint=str(trained.best()), format=to, out=str(tmp_path / name))
    with pytest.raises(ConfigError) as refused:
        YoloTrainer(trained.config, tmp_path).export(request)
    assert sentence in str(refused.value)


def test_the_command_exports_a_file_that_knows_itself(
    trained: Training, tmp_path: Path, home: Home
) -> None:
    weights = tmp_path / "lone.safetensors"
    weights.write_bytes(trained.best().read_bytes())
    arguments = ["--data", str(trained.config.data), "--json"]
    done = CliRunner().invoke(app, ["--home", str(home.root), "export", str(weights), *arguments])
    assert done.exception is None, done.exception
    report = ExportReport.model_validate_json(done.stdout)
    assert Path(report.path) == tmp_path / "lone.onnx"
    assert report.sha256 == hashlib.sha256(Path(report.path).read_bytes()).hexdigest()
    assert report.facts["input"] == "images 1x3x64x64", "the size that it was trained with"
    assert report.metrics == pytest.approx(report.reference)
    assert list(home.work.iterdir()) == []


@pytest.fixture(scope="module")
def exported(scratch: YoloConfig, tmp_path_factory: pytest.TempPathFactory) -> Training:
    """A training that ends with exports."""
    config = scratch.replace({"epochs": 1, "export": ["onnx", "ultralytics"]})
    return fit(config, tmp_path_factory.mktemp("exported") / "work")


def test_a_training_ends_with_its_exports(exported: Training) -> None:
    saved = [event for event in exported.events if isinstance(event, FileSaved)]
    assert [(e.kind, e.path) for e in saved] == [
        *[("onnx", "export/epoch-001.onnx"), ("ultralytics", "export/epoch-001.pt")],
    ]
    for event in saved:
        content = (exported.work / event.path).read_bytes()
        assert event.sha256 == hashlib.sha256(content).hexdigest()
        assert float(event.facts["difference"]) < 1e-3
        assert event.facts["mAP50"] == event.facts["checkpoint mAP50"]
    kinds = [type(event) for event in exported.events]
    assert kinds.index(Evaluated) < kinds.index(FileSaved)
    assert sorted(path.name for path in (exported.work / "export").iterdir()) == [
        *["epoch-001.onnx", "epoch-001.onnx.json", "epoch-001.pt", "epoch-001.pt.json"],
    ]


def test_memory_that_ends_an_export_does_not_end_the_training(
    exported: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told, not raised, and so no reason to step down either."""

    def exhausted(graph: Any) -> Any:
        raise MemoryError("no more")

    monkeypatch.setattr(onnxslim, "slim", exhausted)
    (run := tmp_path / "some-run").mkdir()
    config = exported.config.replace({"export": ["onnx"]})
    said: list[object] = []
    export_best(config, run, exported.best(), validation(exported), said.append)
    (note,) = said
    assert isinstance(note, Noted)
    assert note.level == "warning"
    assert note.message == (
        "the export to onnx failed (MemoryError: no more); to try again: assay export some-run "
        "--format onnx"
    )
    assert list((run / "export").iterdir()) == []


def test_what_a_process_died_of_is_not_tried_twice(exported: Training, tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    (tmp_path / "export/.epoch-001.onnx.begun").write_text(str(os.getppid()))
    (tmp_path / "export/.epoch-001.pt.begun").write_text(
        "0"
    )  # another one's, that somebody resumed
    said: list[object] = []
    export_best(exported.config, tmp_path, exported.best(), validation(exported), said.append)
    assert isinstance(said[0], Noted)
    assert "the export to onnx failed (its process died)" in said[0].message
    assert isinstance(said[1], FileSaved)
    assert sorted(path.name for path in (tmp_path / "export").iterdir()) == [
        *["epoch-001.pt", "epoch-001.pt.json"],
    ]


@pytest.mark.parametrize("package", ["onnx", "onnxslim", "onnxruntime"])
def test_a_missing_package_is_named_before_anything_is_trained(
    scratch: YoloConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError) as refused:
        fit(scratch.replace({"export": ["onnx"], "model": "absent.pt"}), tmp_path / "work")
    assert f"needs {package}, not installed here" in str(refused.value)
    assert "assay[onnx]" in str(refused.value)
    assert not (tmp_path / "work").exists()


BARE = """
import os, sys
from pathlib import Path

class Without:
    def __init__(self, finder): self.finder = finder
    def __getattr__(self, name): return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        hidden = name.partition(".")[0] in ("onnx", "onnxslim", "onnxruntime")
        return None if hidden else self.finder.find_spec(name, path, target)

def watch(event, arguments):
    if event.startswith("socket.") and event not in ("socket.__new__", "socket.gethostname"):
        raise SystemExit(f"{event} {arguments}")

sys.addaudithook(watch)
finders = list(sys.meta_path)
sys.meta_path[:] = map(Without, finders)

from backend.core.errors import ConfigError
from backend.core.trainer import EvalRequest, ExportRequest
from backend.trainers.yolo.predictor import Detector, Settings
from backend.trainers.yolo.spec import YoloConfig
from backend.trainers.yolo.trainer import YoloTrainer

out, best, data = (Path(os.environ[name]) for name in ("OUT", "BEST", "DATA"))
trainer = YoloTrainer(YoloConfig.model_validate_json(os.environ["CONFIG"]), out / "work")
trainer.evaluate(EvalRequest(checkpoint=str(best), data=str(data), split="val", out=str(out)))

def export(format, name):
    request = ExportRequest(checkpoint=str(best), format=format, out=str(out / name))
    return trainer.export(request)

export("ultralytics", "best.pt")
try:
    export("onnx", "best.onnx")
    raise SystemExit("not refused")
except ConfigError as error:
    assert "needs onnx, onnxslim, onnxruntime, not installed here" in str(error), error
assert not {"onnx", "onnxslim", "onnxruntime"} & set(sys.modules)
sys.meta_path[:] = finders
export("onnx", "best.onnx")
"""

THEIRS = """
import json, os, shutil
import numpy as np
import onnx
import ultralytics.utils
from ultralytics import YOLO

assert ultralytics.utils.SAFE_LOAD
image = np.load(os.environ["IMAGE"])
found = {}
for name in ("best.pt", "best.onnx"):
    model = YOLO(os.path.join(os.environ["OUT"], name), task="detect")
    (result,) = model.predict(image, imgsz=64, conf=0.2, iou=0.7, verbose=False, device="cpu")
    found[name] = [result.names, result.boxes.data.tolist()]
    if name == "best.pt":
        arguments = model.ckpt["train_args"]
shutil.copy(os.path.join(os.environ["OUT"], "best.pt"), "theirs.pt")
exported = onnx.load(YOLO("theirs.pt").export(format="onnx", imgsz=64))
nodes = [node.op_type for node in exported.graph.node]
print(json.dumps({"found": found, "arguments": arguments, "nodes": nodes}))
"""


def ran(code: str, folder: Path, **environment: str) -> str:
    """What a process with an empty home says."""
    for name in ("home", "cwd", "temp", "out"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder / "cwd",
        env={
            **{"PATH": os.environ["PATH"], "HOME": str(folder / "home")},
            **{"TMPDIR": str(folder / "temp"), "PYTHONDONTWRITEBYTECODE": "1"},
            **{"OMP_NUM_THREADS": "1", "OUT": str(folder / "out")},
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def bare(trained: Training, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a process without the extra, and then with it, has worked."""
    folder = tmp_path_factory.mktemp("bare")
    ran(
        BARE,
        folder,
        PYTHONPATH=str(ROOT),
        CONFIG=trained.config.model_dump_json(),
        BEST=str(trained.best()),
        DATA=str(trained.config.data),
    )
    return folder


def test_without_the_extra_all_but_onnx_works_and_nothing_is_written_elsewhere(
    bare: Path,
) -> None:
    assert all((bare / "out" / name).is_file() for name in ("best.pt", "best.onnx"))
    for name in ("home", "cwd", "temp"):
        assert list((bare / name).iterdir()) == []


def test_ultralytics_loads_both_files_safely_and_finds_the_same_boxes(
    bare: Path, trained: Training, tmp_path: Path
) -> None:
    file = sorted((trained.config.data.parent / "images/val").iterdir())[0]
    image = np.asarray(Image.open(file))
    np.save(tmp_path / "image.npy", np.ascontiguousarray(image[:, :, ::-1]))  # BGR is theirs
    told = json.loads(
        ran(
            THEIRS,
            tmp_path,
            OUT=str(bare / "out"),
            IMAGE=str(tmp_path / "image.npy"),
            ULTRALYTICS_SAFE_LOAD="1",
            ORT_DISABLE_TELEMETRY="1",
            YOLO_OFFLINE="1",
            YOLO_AUTOINSTALL="false",
            YOLO_CONFIG_DIR=str(tmp_path),
            YOLO_VERBOSE="false",
        ).splitlines()[-1]
    )
    assert told["arguments"] == {"task": "detect", "imgsz": 64}
    (names, theirs), (_, graph) = told["found"]["best.pt"], told["found"]["best.onnx"]
    assert names == {str(number): name for number, name in NAMES.items()}
    assert np.array(theirs) == pytest.approx(np.array(graph), abs=1e-3)
    ours = onnx.load(bare / "out/best.onnx").graph
    assert [node.op_type for node in ours.node] == told["nodes"], "as their exporter makes it"
    network, _ = load_network(bare / "out/best.pt")
    asked = Settings(imgsz=64, conf=0.2, iou=0.7, max_det=300, multi=False, square=True)
    (boxes,) = Detector(network, torch.device("cpu")).detect([image], asked)
    assert len(boxes.labels) > 0
    found = np.column_stack([boxes.corners, boxes.scores, boxes.labels])
    assert np.array(theirs) == pytest.approx(found, abs=1e-2)
    content = (bare / "out/best.pt").read_bytes()
    for place in (trained.work, trained.config.data.parent, ROOT):
        assert str(place).encode() not in content
