"""Reports of what a home remembers, written by the command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from backend import report as reports
from backend.catalog import CATALOG
from backend.cli import importing, reporting
from backend.core.comparisons import Contender
from backend.core.errors import ComparisonError, StoreError
from backend.core.workdir import write_atomic
from backend.tracking.home import Home
from backend.tracking.store import MlflowStore
from backend.trainers.adatad.spec import AdaTadConfig
from tests.support.adatad_report import whole_brief
from tests.support.comparisons import comparison
from tests.support.detections import contender
from tests.support.foreign_runs import brief_tables
from tests.support.memory_store import MemoryStore, filled_store
from tests.support.scripted_run import log_run


def assay(home: Home, *arguments: str) -> str:
    app = typer.Typer()
    reporting.register(app)
    importing.register(app)
    done = CliRunner().invoke(app, list(arguments), obj=home)
    if done.exception is not None:
        raise done.exception
    return done.stdout


def test_a_run_by_its_key_prefix_or_name(home: Home) -> None:
    work = log_run(home, "20260101-toy-0001")
    before = MlflowStore(home).change_token()
    said = assay(home, "report", "20260101")

    text = (work.path / "report.md").read_text(encoding="utf-8")
    page = (work.path / "report.html").read_text(encoding="utf-8")
    assert str(work.path / "report.html") in said
    assert "# Training report: scripted" in text
    assert "| **2** (best) | 0.7000 | +0.2000 |" in text
    assert "After training all 3 frozen tensors were equal to the bit." in text
    assert "| `optimizer.lr0`" not in text, "grouped below its section"
    assert "### Optimisation" in text
    assert "| square | 0.7500 |" in text
    assert "<svg" in page
    assert "<script" not in page
    assert MlflowStore(home).change_token() == before, "a report logs nothing"
    again = json.loads(assay(home, "report", "scripted", "--json"))
    assert (again["kind"], again["key"]) == ("run", "20260101-toy-0001")
    assert {"rule", "said", "step"} == set(again["conclusions"][0])
    assert (work.path / "report.md").read_text(encoding="utf-8") == text


def test_beside_the_run_it_came_from(home: Home, tmp_path: Path) -> None:
    log_run(home, "old")
    log_run(home, "new")
    store = MlflowStore(home)
    started = str(home.work_dir("old") / "checkpoints" / "epoch-2.safetensors")
    tuned = store.run("new").model_copy(update={"params": {"weights": started}})

    alone = reports.of_run(store, store.run("new"))
    made = reports.of_run(store, tuned)
    branch = store.run("new").model_copy(update={"tags": {"resumed_from": "old@2"}})
    went_on = reports.of_run(store, branch).document.markdown()
    asked = reports.make(home, store, "new", against="old")

    assert "Old and new configuration" not in alone.document.markdown()
    assert "(`old`), the run that it goes on from." in went_on
    assert "| epochs before are of run | `old` |" in went_on
    assert "(`old`), the run that it was fine-tuned from." in made.document.markdown()
    assert "(`old`), as asked." in asked.document.markdown()
    assert "which of the two is better is not known" in asked.document.markdown()


def test_beside_the_run_it_was_compared_with(home: Home) -> None:
    for key in ("old", "new"):
        log_run(home, key)
    store = MemoryStore()
    store.run_list = MlflowStore(home).runs()
    store.comparison_list = [comparison(baseline=side("old"), candidate=side("new"))]

    for mine, other in (("new", "old"), ("old", "new")):
        made = reports.of_run(store, store.run(mine)).document.markdown()
        assert f"(`{other}`), the run that it was compared with last." in made
        assert "which of the two is better is not known" not in made


def side(key: str) -> Contender:
    found = contender(key)
    checkpoint = found.checkpoint.model_copy(update={"run": key})
    return found.model_copy(update={"checkpoint": checkpoint})


def test_files_of_ones_own(home: Home, tmp_path: Path) -> None:
    work = log_run(home, "run-1")
    files = [tmp_path / "deep" / name for name in ("r.html", "r.md")]
    assay(home, "report", "run-1", "--html", str(files[0]), "--markdown", str(files[1]))

    assert all(file.stat().st_size > 1000 for file in files)
    assert not (work.path / "report.md").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be made"):
        assay(home, "report", "run-1", "--html", str(tmp_path / "file" / "r.html"))


def test_a_run_without_its_events_is_one_sentence(home: Home) -> None:
    log_run(home, "run-1").events.unlink()
    with pytest.raises(StoreError, match="no event file"):
        assay(home, "report", "run-1")


def test_the_brief_without_its_claims(home: Home, tmp_path: Path) -> None:
    folder = str(brief_tables(tmp_path / "adatad"))
    assay(home, "import", "csv", folder, "--name", "AdaTAD 64 GB", "--epochs", "100")
    said = assay(home, "report", "AdaTAD 64 GB")
    text = (Path(MlflowStore(home).runs()[0].work_dir) / "report.md").read_text(encoding="utf-8")

    assert "Epochs 57 and 59 cannot be told apart by these numbers" in said
    assert "| **59** (best) | 0.6864 | +0.0004 | 0.8350 | 0.7955 | 0.7128 | 0.6195 |" in text
    assert "val/mAP_0.6 falls by 0.0005" in text
    assert "| 48 | 0.2658 | 0.5085 | 0.2427 |" in text
    assert "| before that | epochs 1 to 47 are not in this record |" in text
    assert "resumed" not in text
    for known in ("Not yet converged", "too few to tell whether it has converged"):
        text = text.replace(known, "")  # a rule's name, and the verdict
    for claim in ("converged", "stable", "GPU", "memory", "12 epochs", "improve"):
        assert claim not in text


def test_the_whole_brief_is_answered(home: Home, tmp_path: Path) -> None:
    """Its settings too: what it says of memory does not carry what it concludes from it."""
    folder = str(whole_brief(tmp_path / "adatad"))
    assay(home, "import", "csv", folder, "--name", "AdaTAD", "--epochs", "100")
    said = assay(home, "report", "AdaTAD")
    work = Path(MlflowStore(home).runs()[0].work_dir)
    text = (work / "report.md").read_text(encoding="utf-8")

    for sentence in (
        "The record holds epochs 48 to 59, 12 in all; of epochs 1 to 47 nothing is known",
        "val/average_mAP was first measured at epoch 49: 0.6848.",
        "at most 12.2 of 32.0 GB (38 %) were in use. Twice the batch would have fitted",
        "Epochs 57 and 59 cannot be told apart by these numbers",
        "against val/average_mAP: val/mAP_0.6 falls by 0.0005.",
        "train/loss goes from 0.5085 (epoch 48) to 0.3768 (epoch 59); its lowest is 0.3742, at "
        "epoch 56; from epoch 53 on it stays between 0.3742 and 0.3823, and no trend is shown "
        "over epochs 53 to 59.",
    ):
        assert sentence in said
        assert sentence in text
    assert "Before training the 41 epochs that are left: even an unbroken trend" in text
    rows = text.splitlines()
    for row in (
        "| `Batch Size` | 4 | 8 |",
        "| `帧采样方法` | Random Truncation | Sliding Window |",
        "| `Backbone学习率` | 0 (冻结) |",
        "| val/mAP_0.5 | 0.7112 | 0.7128 | +0.0016 | – |  |",
        "| how many these are | 12 |",
    ):
        assert row in rows
    for claim in ("optimiz", "utiliz", "stable", "improve", "64 GB", "resumed"):
        assert claim not in text.replace("优化", "").lower()

    assay(home, "report", "AdaTAD", "--epochs", "49", "59")
    asked = (work / "report.md").read_text(encoding="utf-8")
    assert "| val/average_mAP | 0.6848 | 0.6864 | +0.0016 | 0.0005 |  |" in asked
    with pytest.raises(ComparisonError, match="no metric was measured at both epoch 50"):
        assay(home, "report", "AdaTAD", "--epochs", "50", "59")


def test_an_action_detector_s_config_is_told_in_the_words_of_the_brief(home: Home) -> None:
    work = log_run(home, "run-1")
    config = CATALOG["adatad"].config.model_validate({"data": "/d/thumos.json"})
    assert isinstance(config, AdaTadConfig)
    write_atomic(work.config, yaml.safe_dump(config.model_dump(mode="json")))
    store = MlflowStore(home)
    trained = store.run("run-1").model_copy(update={"trainer": "adatad"})
    said = reports.of_run(store, trained).document.markdown().splitlines()

    assert "| window | 768 frames | 768 frames | 768 frames |" in said
    assert "| frames of a window | 768 (48 chunks) |" in said
    assert "| batch (windows) | 2 | 2 | 2 |" in said, "the trainer's own, in place of the Runner's"
    assert "| loader processes | 2 |" not in said
    assert "| optimizer | AdamW, betas 0.9 and 0.999 |" in said
    assert "| runner.batch | 2 | 1 | 1 | 2 | 2 | 4 | 8 |" in said, "the brief's last two columns"
    assert "| videos.threads | 4 | 2 | 2 | 4 | 6 | 8 | 12 |" in said

    work.config.write_text("kind: adatad\nwindow: 3\n", encoding="utf-8")
    old = reports.of_run(store, trained).document.markdown()
    assert "48 chunks" not in old, "a config of another version is no reason to refuse a report"


def test_studies_and_comparisons(tmp_path: Path) -> None:
    home, store = Home(tmp_path), filled_store()
    study = reports.make(home, store, store.study_list[0].name)
    found = store.comparison_list[0]
    judged = reports.make(home, store, found.key)

    assert study.kind == "study"
    assert study.folder == home.root / "reports" / store.study_list[0].name
    written = reports.write(study)
    assert "<svg" in written.html.read_text(encoding="utf-8")
    assert "## Trials" in written.markdown.read_text(encoding="utf-8")
    assert [remark.rule for remark in judged.remarks] == ["verdict"]
    assert judged.folder == home.root / "reports" / found.key, "it has no folder of its own"
    assert "## Forgetting" in reports.write(judged).markdown.read_text(encoding="utf-8")
    with pytest.raises(StoreError, match="--against has nothing"):
        reports.make(home, store, found.key, against="x")


def test_nothing_is_written_to_the_home_of_the_user(tmp_path: Path) -> None:
    """Matplotlib would put its settings and its list of fonts there."""
    code = (
        "from backend.analysis.report.curves import Panel, draw\n"
        "assert '<svg' in draw([Panel('a', {'b': {1: 0.5, 2: 0.7}})], 'c')\n"
        "import sys; assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    user, scratch = tmp_path / "user", tmp_path / "scratch"
    user.mkdir()
    scratch.mkdir()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MPL", "XDG"))}
    subprocess.run([sys.executable, "-c", code], check=True,
                   env={**kept, "HOME": str(user), "TMPDIR": str(scratch)})  # fmt: skip

    assert list(user.rglob("*")) == []
    assert list(scratch.rglob("*")) == []
