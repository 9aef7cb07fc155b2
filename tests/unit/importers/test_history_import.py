"""JSON histories."""

import gc
import json
from pathlib import Path

import pytest

from backend.core.errors import DataError
from backend.importers.history import read
from backend.importers.source import Asked, Found, described
from tests.support.foreign_runs import MDFED, json_text, write


def of(folder: Path, data: object) -> Found:
    text = data if isinstance(data, str) else json.dumps(data)
    return described(read(write(folder / "loss.json", text), Asked()), Asked())


def values(found: Found) -> list[tuple[int, int, dict[str, float]]]:
    return [(p.step, p.epoch, p.metrics) for p in found.points]


def test_the_history_of_the_mdfed_brief(tmp_path: Path) -> None:
    found = of(tmp_path, MDFED)
    metrics = {"train/loss": 0.77, "val/loss": 0.78, "val/f1": 0.0, "val/edit": 0.0}
    assert values(found) == [(e, e, metrics) for e in range(3)]
    assert found.headline == "val/edit"


def test_short_names_and_nested_ones(tmp_path: Path) -> None:
    found = of(tmp_path, [{"epoch": 4, "train": 0.5, "val": 0.4, "val_mAP": "60%", "note": "x",
                           "test": {"f1": 0.3}, "flag": True, "none": None}])  # fmt: skip
    metrics = {"train/loss": 0.5, "val/loss": 0.4, "val/mAP": 0.6, "test/f1": 0.3}
    assert values(found) == [(4, 4, metrics)]
    assert "flag, note" in found.notes[0]


def test_lists_by_name(tmp_path: Path) -> None:
    found = of(tmp_path, {"loss": [3, 2], "val_loss": [4, None]})
    assert values(found) == [(1, 1, {"train/loss": 3, "val/loss": 4}), (2, 2, {"train/loss": 2})]
    with pytest.raises(DataError, match=r"different lengths \(loss 2, val_loss 1\)"):
        of(tmp_path, {"loss": [3, 2], "val_loss": [4]})


def test_lines_with_a_torn_last_one(tmp_path: Path) -> None:
    text = json_text([{"epoch": 1, "loss": 3}, {"epoch": 2, "loss": 2}])
    found = of(tmp_path, text + '{"epoch": 3, "lo')
    assert values(found) == [(1, 1, {"train/loss": 3}), (2, 2, {"train/loss": 2})]
    with pytest.raises(DataError, match="line 2: not JSON"):
        of(tmp_path, '{"epoch": 1, "loss": 3}\n{"epoch": 2, "lo\n{"epoch": 3, "loss": 1}\n')


def test_nan_is_kept(tmp_path: Path) -> None:
    found = of(tmp_path, '[{"epoch": 1, "loss": NaN, "b_loss": -Infinity, "c_loss": "nan"}]')
    assert {key: repr(value) for key, value in found.points[0].metrics.items()} == {
        "train/loss": "nan", "train/b_loss": "-inf", "train/c_loss": "nan",
    }  # fmt: skip


def test_hugging_face(tmp_path: Path) -> None:
    log = [
        {"epoch": 0.5, "step": 10, "loss": 2.0, "learning_rate": 1e-4, "grad_norm": 1.0},
        {"epoch": 1.0, "step": 20, "loss": 1.0, "learning_rate": 5e-5},
        {"epoch": 1.0, "step": 20, "eval_loss": 1.5, "eval_accuracy": 0.5},
        {"epoch": 1.0, "step": 20, "train_loss": 1.5, "train_runtime": 9.0},
    ]
    found = of(tmp_path, {"log_history": log, "num_train_epochs": 2, "epoch": 1.0})
    assert found.trainer == "huggingface"
    assert (found.epochs, found.finished, found.headline) == (2, False, "val/accuracy")
    assert values(found) == [
        (10, 0, {"train/loss": 2.0, "lr/lr": 1e-4, "train/grad_norm": 1.0}),
        (20, 1, {"train/loss": 1.0, "lr/lr": 5e-5, "val/loss": 1.5, "val/accuracy": 0.5,
                 "summary/train_loss": 1.5, "summary/train_runtime": 9.0}),
    ]  # fmt: skip


def test_a_folder_with_its_parameters(tmp_path: Path) -> None:
    write(tmp_path / "config.json", '{"learning_rate": 0.001, "feature_arch": "rny002"}')
    of(tmp_path, MDFED)
    assert read(tmp_path, Asked()).params == {"learning_rate": 0.001, "feature_arch": "rny002"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[{", "not whole JSON"),
        ("3", "neither a list"),
        ("[1, 2]", "entry 1 is not an object"),
        ('[{"epoch": "x", "loss": 1}]', "counts nothing"),
        ('[{"epoch": -1, "loss": 1}]', "counts nothing"),
        ("[]", "no measured value"),
        ('[{"train_loss": 1, "train": 2}]', "'train_loss' and 'train' both mean train/loss"),
    ],
)
def test_one_sentence_for_each_bad_file(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        of(tmp_path, text)


def test_epochs_that_count_from_zero_reach_their_plan(tmp_path: Path) -> None:
    file = write(tmp_path / "loss.json", json.dumps(MDFED))
    for planned, finished in ((3, True), (4, False)):
        asked = Asked(epochs=planned)
        assert described(read(file, asked), asked).finished is finished


def test_a_bottomless_file(tmp_path: Path) -> None:
    """Finalizers of other tests must not run at the bottom of the stack."""
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(DataError, match="nested too deeply"):
            of(tmp_path, "[" * 100_000)
    finally:
        gc.enable()


def test_a_folder_without_a_history(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none of loss\.json"):
        read(tmp_path, Asked())
