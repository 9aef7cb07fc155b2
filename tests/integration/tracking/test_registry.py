"""Versions that load in a process that knows only where MLflow is, and their aliases."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.core.digest import sha256
from backend.core.errors import BusyError, CheckpointError, StoreError
from backend.core.records import PromotionDecision
from backend.core.trainer import TrainerSpec
from backend.core.workdir import WorkDir
from backend.tracking.client import connect
from backend.tracking.home import Home
from backend.tracking.registry import Registry
from backend.tracking.store import MlflowStore
from tests.support.comparisons import comparison
from tests.support.registering import CONFIG, MODEL, aliases, judged, run_elsewhere, snapshot
from tests.support.spots import load_spec, write_plugin


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
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(sys.modules, "spot_plugin", sys)  # so that it is taken out again
    return load_spec(write_plugin(tmp_path / "plugin"))


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
    decision = judged(home, 1, by="ada@lab", digests={"target": "d" * 64})
    Registry(home).register(decision, spec, CONFIG, comparison())
    version = connect(home).get_model_version_by_alias(MODEL, "champion")
    assert version.tags["decision"] == decision.key
    assert version.tags["sha256"] == decision.checkpoint.sha256
    assert version.tags["forced"] == "false"
    assert (version.tags["by"], version.tags["data_sha"]) == ("ada@lab", "d" * 64)
    assert "pending" not in version.tags
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
    made = [
        registry.register(judged(home, i, previous=champion), spec, CONFIG)
        for i, champion in ((1, ""), (2, "1"), (3, "2"))
    ]
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
    asked = judged(home, 2, promote=False, forced=True, by="ada@lab", because="a demo")
    forced = registry.register(asked, spec, CONFIG)
    assert MlflowStore(home).promotions() == [forced, refused]
    version = connect(home).get_model_version(MODEL, "1")
    assert version.tags["forced"] == "true"
    assert version.description.startswith("forced: a demo\n")


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


def test_nothing_goes_back_to_a_version_of_somebody_else(
    home: Home, spec: TrainerSpec, tmp_path: Path
) -> None:
    registry = Registry(home)
    registry.register(judged(home, 1), spec, CONFIG)
    client = connect(home)
    foreign = client.create_model_version(MODEL, str(tmp_path)).version
    client.set_registered_model_alias(MODEL, "previous", foreign)
    for asked in ("", "2"):
        with pytest.raises(StoreError, match=r"version 2 was not registered by Assay"):
            registry.rollback(MODEL, asked)
    assert aliases(home) == {"champion": "1", "previous": "2"}


def test_any_version_can_be_gone_back_to_and_who_and_why_are_kept(
    home: Home, spec: TrainerSpec
) -> None:
    registry = Registry(home)
    for number in (1, 2, 3):
        before = str(number - 1) if number > 1 else ""
        registry.register(judged(home, number, previous=before), spec, CONFIG)
    assert registry.rollback(MODEL, "1", by="ada@lab", because="2 and 3 miss cyclists") == "1"
    assert aliases(home) == {"champion": "1", "previous": "3"}
    back = MlflowStore(home).promotions(MODEL)[0]
    assert (back.version, back.previous, back.by) == ("1", "3", "ada@lab")
    assert back.because == "2 and 3 miss cyclists"
    assert registry.rollback(MODEL) == "3"
    with pytest.raises(StoreError, match="version 3 is the champion already"):
        registry.rollback(MODEL, "3")
    with pytest.raises(StoreError, match=r"has no version 9; it has (\d, ){2}\d$"):
        registry.rollback(MODEL, "9")


def test_a_decision_is_carried_out_once(home: Home, spec: TrainerSpec) -> None:
    registry = Registry(home)
    done = registry.register(judged(home, 1), spec, CONFIG)
    before = snapshot(home)
    assert registry.register(judged(home, 1), spec, CONFIG) == done
    assert snapshot(home) == before


def test_a_champion_that_was_not_judged_is_not_replaced(home: Home, spec: TrainerSpec) -> None:
    registry = Registry(home)
    registry.register(judged(home, 1), spec, CONFIG)
    before = snapshot(home)
    with pytest.raises(StoreError, match=r"champion was no version when .* is version 1 now"):
        registry.register(judged(home, 2), spec, CONFIG)
    assert snapshot(home) == before


def test_a_models_folder_and_lock_are_its_own_whatever_its_name(
    home: Home, spec: TrainerSpec
) -> None:
    registry = Registry(home)
    with registry.hold("Robot 2.0"):
        registry.register(judged(home, 1, model="other"), spec, CONFIG)
        done = registry.register(judged(home, 2, model="Robot 2.0"), spec, CONFIG)
        with pytest.raises(BusyError, match=r"models:/Robot 2\.0: another process is promoting"):
            Registry(home).rollback("Robot 2.0")
    assert done.version == "1"
