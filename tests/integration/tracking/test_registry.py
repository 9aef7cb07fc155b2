"""Versions that load in a process that knows only where MLflow is, and their aliases."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.core.digest import sha256
from backend.core.errors import CheckpointError, StoreError
from backend.core.records import Checkpoint, PromotionDecision
from backend.core.trainer import TrainerSpec
from backend.core.workdir import WorkDir
from backend.tracking.client import connect, find_runs
from backend.tracking.home import Home
from backend.tracking.registry import Registry
from backend.tracking.store import MlflowStore
from tests.support.comparisons import comparison
from tests.support.scripted_run import make_work

MODEL = "test-spots"
CONFIG = "kind: spots\ndata: /gone/data.yaml\ndevice: cuda:3\nlabel: bright\n"
SUPPORT = Path(__file__).parents[2] / "support"


@pytest.fixture(autouse=True)
def nothing_global(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """MLflow falls back to a database in the current folder wherever it is not told another."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield
    assert list(folder.iterdir()) == []


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainerSpec:
    """A trainer whose module lies outside of ``backend``."""
    folder = tmp_path / "plugin"
    folder.mkdir()
    shutil.copy(SUPPORT / "served.py", folder / "spot_plugin.py")
    monkeypatch.syspath_prepend(str(folder))
    found = spec_from_file_location("spot_plugin", folder / "spot_plugin.py")
    assert found is not None
    assert found.loader is not None
    module = module_from_spec(found)
    monkeypatch.setitem(sys.modules, "spot_plugin", module)
    found.loader.exec_module(module)
    return TrainerSpec(
        kind="spots", title="Spots", task="detection", config=module.SpotConfig,
        entry="spot_plugin:SpotTrainer", metrics=(), headline="val/m", primary="m", strategies={},
        pip_requirements=("numpy", "pydantic", "not-a-package"),
    )  # fmt: skip


def judged(home: Home, number: int, model: str = MODEL, **more: object) -> PromotionDecision:
    """A checkpoint of a run with its facts, and the gate's word on it."""
    key = f"20260101-00000{number}-spots-000{number}"
    work = WorkDir(home.work_dir(key)) if home.work_dir(key).exists() else make_work(home, key)
    path = work.path / "checkpoints" / "epoch-1.safetensors"
    path.parent.mkdir(exist_ok=True)
    path.write_text(str(100 + number))
    path.with_suffix(".json").write_text(json.dumps({"score": 0.5 + number / 10}))
    checkpoint = Checkpoint(path=str(path), sha256=sha256(path), step=5, epoch=1, run=key)
    return PromotionDecision.model_validate(
        {
            "key": f"20260101-00000{number}-promote-000{number}", "created": 1000.0 + number,
            "model": model, "checkpoint": checkpoint, "policy": {"min_delta": 0.0},
            "evidence": "compare-1", "promote": True, "reasons": ("better beyond its interval",),
            **more,
        }
    )  # fmt: skip


def aliases(home: Home, model: str = MODEL) -> dict[str, str]:
    found = connect(home).get_registered_model(model).aliases
    return {alias: str(version) for alias, version in found.items()}


def run_elsewhere(home: Home, code: str, folder: Path, *paths: Path) -> str:
    """Run ``code`` in a fresh process that is told nothing but the tracking URI."""
    keep = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "OMP_NUM_THREADS")}
    paths_given = os.pathsep.join(map(str, paths))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False,
        env={**keep, "MLFLOW_TRACKING_URI": home.tracking_uri, "PYTHONPATH": paths_given,
             "MLFLOW_DISABLE_TELEMETRY": "true"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


SERVE = f"""
import json, sys
import mlflow.pyfunc, numpy as np, pandas as pd
model = mlflow.pyfunc.load_model("models:/{MODEL}@champion")
image = np.zeros((20, 30, 3), np.uint8)
image[5:9, 10:16, 0] = 200
try:
    model.predict([image / 255])
except ValueError as error:
    print(error)
answers = [
    model.predict([image, np.zeros_like(image)]),
    model.predict(np.stack([image, image])),
    model.predict(["spot.png", "spot.png"]),
    model.predict(pd.DataFrame({{"image": ["spot.png"]}})),
    model.predict([image], params={{"conf": 0.9}}),
]
print(json.dumps([[list(a.columns), a.values.tolist()] for a in answers]))
import backend
print(backend.__file__)
print(model.metadata.signature.outputs.input_names())
"""
COLUMNS = ["image", "x1", "y1", "x2", "y2", "score", "label"]
BOX = [10.0, 5.0, 16.0, 9.0, 0.6, "bright"]


@pytest.mark.parametrize("assay_is_there", [False, True])
def test_the_champion_predicts_in_a_fresh_process(
    home: Home, spec: TrainerSpec, tmp_path: Path, assay_is_there: bool
) -> None:
    done = Registry(home).register(judged(home, 1), spec, CONFIG, comparison())
    assert (done.version, done.previous) == ("1", "")
    shutil.rmtree(home.work)  # the version needs nothing of the training
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[5:9, 10:16, 0] = 200
    Image.fromarray(pixels).save(tmp_path / "spot.png")
    paths = [Path(__file__).parents[3]] if assay_is_there else []
    refusal, answers, where, outputs = run_elsewhere(home, SERVE, tmp_path, *paths).splitlines()
    assert refusal.endswith("got float64 (20, 30, 3)")  # as bytes it would be black
    rows = json.loads(answers)
    assert all(columns == COLUMNS for columns, _ in rows)
    assert [values for _, values in rows] == [
        [[0, *BOX]],
        [[0, *BOX], [1, *BOX]],
        [[0, *BOX], [1, *BOX]],
        [[0, *BOX]],
        [],
    ]
    assert Path(where).is_relative_to(home.artifacts)  # the code that was judged, not another
    assert outputs == str(COLUMNS)


def test_what_a_version_carries(home: Home, spec: TrainerSpec) -> None:
    decision = judged(home, 1)
    Registry(home).register(decision, spec, CONFIG, comparison())
    version = connect(home).get_model_version_by_alias(MODEL, "champion")
    assert version.tags["decision"] == decision.key
    assert version.tags["sha256"] == decision.checkpoint.sha256
    assert version.tags["forced"] == "false"
    folder = Path(version.source)
    evidence = folder / "artifacts" / "evidence"
    assert (
        PromotionDecision.model_validate_json((evidence / "decision.json").read_text()) == decision
    )
    assert json.loads((evidence / "comparison.json").read_text())["key"] == "compare-1"
    assert (folder / "artifacts" / "config.yaml").read_text() == CONFIG
    requirements = (folder / "requirements.txt").read_text().split()
    assert f"numpy=={np.__version__}" in requirements
    assert "not-a-package" in requirements  # not installed here, so not pinned
    assert not [path for path in folder.rglob("*") if path.suffix in (".pkl", ".pyc")]


def test_a_champion_is_judged_again_from_its_own_copy(home: Home, spec: TrainerSpec) -> None:
    decision = judged(home, 1)
    registry = Registry(home)
    assert MODEL not in MlflowStore(home).champions()
    registry.register(decision, spec, CONFIG)
    Path(decision.checkpoint.path).unlink()
    champion = MlflowStore(home).champions()[MODEL]
    assert sha256(Path(champion.path)) == champion.sha256 == decision.checkpoint.sha256
    assert champion.run == decision.checkpoint.run
    work = WorkDir(Path(champion.path).parent.parent)  # laid out like a work directory
    assert work.read_run().key == champion.run
    assert work.config.read_text() == CONFIG


def test_the_aliases_move_and_go_back(home: Home, spec: TrainerSpec) -> None:
    registry = Registry(home)
    made = [registry.register(judged(home, i), spec, CONFIG) for i in (1, 2, 3)]
    assert [(d.version, d.previous) for d in made] == [("1", ""), ("2", "1"), ("3", "2")]
    assert aliases(home) == {"champion": "3", "previous": "2"}
    assert registry.rollback(MODEL) == "2"
    assert aliases(home) == {"champion": "2", "previous": "3"}
    champion = MlflowStore(home).champions()[MODEL]
    assert champion.sha256 == made[1].checkpoint.sha256
    back, *decisions = MlflowStore(home).promotions(MODEL)
    assert (back.version, back.previous, back.checkpoint.sha256) == ("2", "3", champion.sha256)
    assert "rolled back from version 3 to version 2" in back.reasons
    assert decisions == [made[2], made[1], made[0]]


def test_refused_and_forced_decisions_are_kept(home: Home, spec: TrainerSpec) -> None:
    registry = Registry(home)
    refused = judged(home, 1, promote=False)
    registry.record(refused)
    forced = registry.register(judged(home, 2, promote=False, forced=True), spec, CONFIG)
    assert MlflowStore(home).promotions() == [forced, refused]
    assert connect(home).get_model_version(MODEL, "1").tags["forced"] == "true"


def test_there_may_be_nothing_to_go_back_to(home: Home, spec: TrainerSpec) -> None:
    registry = Registry(home)
    with pytest.raises(StoreError, match=f"'{MODEL}' has no earlier champion"):
        registry.rollback(MODEL)
    registry.register(judged(home, 1), spec, CONFIG)
    with pytest.raises(StoreError, match="no earlier champion"):
        registry.rollback(MODEL)
    assert aliases(home) == {"champion": "1"}


def test_models_have_champions_of_their_own(home: Home, spec: TrainerSpec) -> None:
    registry = Registry(home)
    registry.register(judged(home, 1), spec, CONFIG)
    registry.register(judged(home, 2, model="other"), spec, CONFIG)
    champions = MlflowStore(home).champions()
    assert {m: c.run[-1] for m, c in champions.items()} == {MODEL: "1", "other": "2"}


def test_another_file_than_the_judged_one_is_refused(home: Home, spec: TrainerSpec) -> None:
    decision = judged(home, 1)
    path = Path(decision.checkpoint.path)
    path.write_text("7")
    with pytest.raises(CheckpointError, match="has changed since it was judged"):
        Registry(home).register(decision, spec, CONFIG)
    path.unlink()
    with pytest.raises(CheckpointError, match="no such weight file"):
        Registry(home).register(decision, spec, CONFIG)
    pickled = path.with_suffix(".pt")
    pickled.write_text("7")
    checkpoint = decision.checkpoint.model_copy(update={"path": str(pickled)})
    with pytest.raises(CheckpointError, match=r"Spots serves \.safetensors files"):
        Registry(home).register(
            decision.model_copy(update={"checkpoint": checkpoint}), spec, CONFIG
        )


def test_a_failed_registration_leaves_nothing(
    home: Home, spec: TrainerSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(home)
    first = registry.register(judged(home, 1), spec, CONFIG)
    before = snapshot(home)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    for step in ("log_model_artifacts", "create_model_version", "set_registered_model_alias"):
        with monkeypatch.context() as patch:
            patch.setattr(type(connect(home)), step, full)
            with pytest.raises(StoreError, match="the disk is full"):
                registry.register(judged(home, 2), spec, CONFIG)
            with pytest.raises(StoreError, match="the disk is full"):
                registry.register(judged(home, 3, model="new"), spec, CONFIG)
        assert snapshot(home) == before
    assert MlflowStore(home).promotions() == [first]
    assert registry.register(judged(home, 2), spec, CONFIG).previous == "1"


def test_aliases_go_back_where_only_one_of_them_could_be_moved(
    home: Home, spec: TrainerSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(home)
    registry.register(judged(home, 1), spec, CONFIG)
    move = type(connect(home)).set_registered_model_alias

    def stuck(client: object, model: str, alias: str, version: str) -> None:
        if alias == "champion":
            raise OSError(28, "No space left on device")
        move(client, model, alias, version)

    for number in (2, 3):  # without a previous version, and with one
        before = aliases(home)
        assert len(before) == number - 1
        with monkeypatch.context() as patch:
            patch.setattr(type(connect(home)), "set_registered_model_alias", stuck)
            with pytest.raises(StoreError, match="the disk is full"):
                registry.register(judged(home, number), spec, CONFIG)
            if "previous" in before:
                with pytest.raises(StoreError, match="the disk is full"):
                    registry.rollback(MODEL)
        assert aliases(home) == before
        registry.register(judged(home, number), spec, CONFIG)


def test_nothing_goes_back_to_a_version_of_somebody_else(
    home: Home, spec: TrainerSpec, tmp_path: Path
) -> None:
    registry = Registry(home)
    registry.register(judged(home, 1), spec, CONFIG)
    client = connect(home)
    foreign = client.create_model_version(MODEL, str(tmp_path)).version
    client.set_registered_model_alias(MODEL, "previous", foreign)
    with pytest.raises(StoreError, match=r"version 2, its 'previous', was not registered by A"):
        registry.rollback(MODEL)
    assert aliases(home) == {"champion": "1", "previous": "2"}


def snapshot(home: Home) -> object:
    client = connect(home)
    return (
        {m.name: m.aliases for m in client.search_registered_models()},
        [v.version for v in client.search_model_versions()],
        [m.model_id for m in client.search_logged_models(["0", "1"])],
        find_runs(client, "decision"),
        sorted(p.name for p in home.artifacts.rglob("*.safetensors")),
        sorted(p.name for p in home.root.iterdir() if p.name.startswith(".")),
    )
