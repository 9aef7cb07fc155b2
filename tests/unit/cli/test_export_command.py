"""assay export: what it refuses before any work, and where it writes."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from backend import launch
from backend.catalog import CATALOG, load_config
from backend.cli.exporting import _place
from backend.cli.main import app
from backend.core.errors import AssayError, ConfigError
from backend.core.exporting import SUFFIXES, check_request
from backend.core.trainer import ExportRequest
from backend.nn.finetune.weights import save_weights
from backend.tracking.home import Home
from tests.support.mlflow_home import copy_home, template_home

__all__ = ["template_home"]

pytestmark = pytest.mark.skipif(find_spec("onnxslim") is None, reason="needs the extra 'onnx'")
ROOT = Path(__file__).parents[3]
KNOWN = {kind: spec.exports for kind, spec in CATALOG.items()}


@pytest.fixture
def home(tmp_path: Path, template_home: Path) -> Home:
    return copy_home(template_home, tmp_path / "home")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file that says whose it is; nobody gets to read more of it here."""
    path = tmp_path / "best.safetensors"
    save_weights(path, {"a": torch.zeros(1)}, {"trainer": "yolo", "imgsz": 64})
    return path


def export(home: Home, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--home", str(home.root), "export", *arguments])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--format", "tflite"), "unknown format 'tflite'; yolo exports to onnx, ultralytics"),
        (("--out", "best.bin"), "best.bin: a file of the format onnx is called *.onnx"),
        (("--format", "ultralytics", "--dynamic"), "dynamic is for onnx; a file of the format"),
        (("--imgsz", "50"), "'imgsz': input should be a multiple of 32, got 50"),
        (("--config", "absent.yaml"), "absent.yaml: no such config file"),
    ],
)
def test_a_wrong_request_is_refused_before_a_process_is_started(
    home: Home, weights: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    done = export(home, str(weights), *arguments)
    assert isinstance(done.exception, AssayError)
    assert sentence in str(done.exception)
    assert sorted(path.name for path in weights.parent.iterdir()) == [
        *["best.json", "best.safetensors", "home"],
    ]


@pytest.mark.parametrize("given", [(), ("--out", "mine.pt")], ids=["itself", "another"])
def test_a_file_that_is_no_export_is_not_replaced(
    home: Home, weights: Path, monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...]
) -> None:
    monkeypatch.chdir(weights.parent)
    theirs, mine = weights.with_suffix(".pt"), weights.with_name("mine.pt")
    for path in (theirs, mine):
        path.write_bytes(b"weights")
    (weights.parent / "a.yaml").write_text("kind: yolo\nmodel: best.pt\ndata: d.yaml\n")
    asked = ("--format", "ultralytics", "--config", "a.yaml", *given)
    done = export(home, str(theirs), *asked)
    assert isinstance(done.exception, ConfigError)
    assert "there is a file already that is no export of Assay" in str(done.exception)
    assert (theirs.read_bytes(), mine.read_bytes()) == (b"weights", b"weights")


@pytest.mark.parametrize("package", CATALOG["yolo"].exports["onnx"])
def test_a_missing_package_is_named_with_its_extra(
    home: Home, weights: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    done = export(home, str(weights))
    assert str(done.exception) == (
        f"the export to onnx needs {package}, not installed here; install the extra: pip install "
        "'assay[onnx]'"
    )


def test_a_trainer_without_exports_names_those_that_have() -> None:
    request = ExportRequest(checkpoint="best.safetensors", format="onnx", out="best.onnx")
    with pytest.raises(ConfigError) as refused:
        check_request(request, "mdfed", KNOWN)
    there = "yolo: onnx, ultralytics; motrv2: motrv2"
    sentence = f"mdfed exports to no other format; there is {there}"
    assert str(refused.value) == sentence


def test_weights_of_nobody_need_a_config(home: Home, tmp_path: Path) -> None:
    (tmp_path / "theirs.pt").write_bytes(b"PK")
    done = export(home, str(tmp_path / "theirs.pt"))
    assert "name them with --config FILE" in str(done.exception)


def test_every_format_of_a_trainer_has_a_suffix_and_an_extra() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text()
    for exports in KNOWN.values():
        for name, packages in exports.items():
            assert name in SUFFIXES
            for package in packages:
                section = pyproject.partition(f"\n{name} = [")[2].partition("\n]")[0]
                assert f'"{package}>=' in section


def test_the_file_lies_in_its_run_or_beside_the_weights(tmp_path: Path) -> None:
    inside = tmp_path / "run" / "checkpoints" / "epoch-007.safetensors"
    assert _place(inside, "onnx") == inside.with_suffix(".onnx")
    inside.parent.mkdir(parents=True)
    (tmp_path / "run" / "run.json").touch()
    assert _place(inside, "onnx") == tmp_path / "run" / "export" / "epoch-007.onnx"
    assert _place(inside, "ultralytics").name == "epoch-007.pt"


CONFIG = "kind: yolo\nmodel: m.pt\ndata: d.yaml\nexport: [onnx]\n"


def test_a_training_that_could_not_export_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.yaml").write_text(CONFIG)
    config = load_config(tmp_path / "a.yaml")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match="the export to onnx needs onnxruntime"):
        launch.prepare(Home(tmp_path / "home"), config, launch.spec_for(config))
    assert not (tmp_path / "home").exists()


def test_it_is_refused_before_anything_heavy_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(CONFIG)
    code = (
        "import sys\n"
        "sys.modules['onnxslim'] = None\n"
        "sys.argv = ['assay', 'train', 'a.yaml']\n"
        "from backend.cli.main import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    print(end.code)\n"
        "heavy = {'torch', 'mlflow', 'ultralytics', 'onnx'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, check=True)  # fmt: skip
    assert done.stdout.splitlines() == ["1", "HEAVY []"]
    assert done.stderr == (
        "assay: the export to onnx needs onnxslim, not installed here; install the extra: pip "
        "install 'assay[onnx]'\n"
    )
    assert not list(tmp_path.glob("mlruns/work/*"))
