"""Work directories of mmengine and mmcv."""

from pathlib import Path

import pytest

from backend.core.errors import DataError
from backend.importers.literals import literals_of
from backend.importers.mmengine import read
from backend.importers.source import Asked, described
from tests.support.foreign_runs import json_text, mmengine_lines, mmengine_run, write


def test_curves_parameters_and_weights(tmp_path: Path) -> None:
    run = mmengine_run(tmp_path / "rtdetr", 3, mark=str(tmp_path / "mark"))
    found = described(read(run, Asked()), Asked())
    assert [(p.step, p.epoch) for p in found.points] == [
        (10, 1), (20, 1), (30, 2), (40, 2), (50, 3), (60, 3)
    ]  # fmt: skip
    last = found.points[-1].metrics
    assert last["train/loss"] == 2 / 60
    assert (last["val/mAP50-95"], last["val/mAP50"]) == pytest.approx((0.3, 0.6))
    assert {"lr/lr", "train/time", "val/time", "train/memory"} <= last.keys()
    assert sum(len(p.metrics) for p in found.points) == 6 * 6 + 3 * 4
    assert (found.headline, found.epochs, found.finished) == ("val/mAP50-95", 3, True)
    assert found.params["train_cfg"] == {
        "type": "EpochBasedTrainLoop", "max_epochs": 3, "val_interval": 1
    }  # fmt: skip
    assert "secret" not in found.params
    assert not (tmp_path / "mark").exists()
    weights = {w.path.name: (w.epoch, w.step, w.best) for w in found.weights}
    assert weights == {
        "epoch_1.pth": (1, 20, False),
        "epoch_2.pth": (2, 40, False),
        "epoch_3.pth": (3, 60, False),
        "best_coco_bbox_mAP_epoch_3.pth": (3, 60, True),
    }


def test_times_add_up_from_the_name_of_the_log(tmp_path: Path) -> None:
    points = read(mmengine_run(tmp_path, 1), Asked()).points
    assert points[1].time - points[0].time == 0.5 * 10


def test_a_resumed_run_is_joined_and_its_void_part_dropped(tmp_path: Path) -> None:
    """Killed in the third epoch, resumed after the second with other numbers."""
    first = mmengine_lines(range(1, 4))[:-1]
    second = [{**line, "loss": 9.0} for line in mmengine_lines([3])[:-1]]
    write(tmp_path / "20251122_120000" / "vis_data" / "scalars.json", json_text(first))
    write(tmp_path / "20251122_180000" / "vis_data" / "scalars.json", json_text(second[1:]))
    points = read(tmp_path, Asked()).points
    assert [p.step for p in points] == [10, 20, 30, 40, 50, 60]
    assert [p.metrics["train/loss"] for p in points[4:]] == [2 / 50, 9.0]
    write(tmp_path / "20251122_180000" / "vis_data" / "scalars.json", json_text(second[:1]))
    assert [p.step for p in read(tmp_path, Asked()).points] == [10, 20, 30, 40, 50]


def test_a_line_still_being_written(tmp_path: Path) -> None:
    text = json_text(mmengine_lines([1, 2]))
    write(tmp_path / "20251122_120000" / "20251122_120000.json", text[:-20])
    found = read(tmp_path, Asked())
    assert found.points[-1].step == 40
    assert "val/mAP50-95" not in found.points[-1].metrics


def test_iterations_without_epochs(tmp_path: Path) -> None:
    lines = [{"lr": 1.0, "loss": 2.0, "step": 50}, {"lr": 1.0, "loss": 1.0, "step": 100},
             {"mIoU": 40.0, "step": 100}]  # fmt: skip
    write(tmp_path / "20251122_120000" / "vis_data" / "scalars.json", json_text(lines))
    write(tmp_path / "seg.py", "train_cfg = dict(type='IterBasedTrainLoop', max_iters=200)\n")
    write(tmp_path / "iter_100.pth", "weights")
    found = described(read(tmp_path, Asked()), Asked())
    assert [(p.step, p.epoch) for p in found.points] == [(50, 50), (100, 100)]
    assert found.points[-1].metrics["val/mIoU"] == 40.0
    assert found.finished is False
    assert [(w.epoch, w.step) for w in found.weights] == [(100, 100)]


def test_validations_of_old_versions_have_no_iteration(tmp_path: Path) -> None:
    lines = [{"lr": 1.0, "loss": 2.0, "step": 50}, {"mIoU": 30.0, "step": 0},
             {"lr": 1.0, "loss": 1.0, "step": 100}, {"mIoU": 40.0, "step": 0}]  # fmt: skip
    write(tmp_path / "20251122_120000" / "vis_data" / "scalars.json", json_text(lines))
    points = read(tmp_path, Asked()).points
    assert [(p.step, p.metrics["val/mIoU"]) for p in points] == [(50, 30.0), (100, 40.0)]


def test_minus_one_is_not_measured(tmp_path: Path) -> None:
    lines = [{"lr": 1.0, "loss": -1.0, "epoch": 1, "step": 50},
             {"coco/bbox_mAP": 0.5, "coco/bbox_mAP_s": -1.0, "AR_s@9": -1, "MOTA": -1,
              "step": 1}]  # fmt: skip
    write(tmp_path / "20251122_120000" / "vis_data" / "scalars.json", json_text(lines))
    (point,) = read(tmp_path, Asked()).points
    assert point.metrics == {"lr/lr": 1.0, "train/loss": -1.0, "val/mAP50-95": 0.5,
                             "val/MOTA": -1.0}  # fmt: skip


def test_mmcv(tmp_path: Path) -> None:
    """Iterations count from 1 in each epoch; the first line tells of the environment."""
    lines: list[dict[str, object]] = [{"env_info": "linux", "seed": 1, "exp_name": "x.py"}]
    for epoch in (1, 2):
        for part in (50, 100):
            lines.append({"mode": "train", "epoch": epoch, "iter": part, "lr": 1e-3, "loss": 1.0})
        lines.append({"mode": "val", "epoch": epoch, "iter": 7, "lr": 1e-3,
                      "bbox_mAP": 0.1 * epoch, "bbox_mAP_copypaste": "0.1 0.2"})  # fmt: skip
    write(tmp_path / "20200101_000000.log.json", json_text(lines))
    found = read(tmp_path, Asked())
    assert [(p.step, p.epoch) for p in found.points] == [(50, 1), (100, 1), (150, 2), (200, 2)]
    assert [p.metrics.get("val/mAP50-95") for p in found.points] == [None, 0.1, None, 0.2]
    assert "bbox_mAP_copypaste" in found.notes[0]
    resumed = [{**line, "loss": 5.0} for line in lines[4:6]]
    write(tmp_path / "20200102_000000.log.json", json_text(resumed))
    points = read(tmp_path, Asked()).points
    assert [(p.step, p.epoch) for p in points] == [(50, 1), (100, 1), (150, 2), (200, 2)]
    assert points[2].metrics["train/loss"] == 5.0


def test_a_config_is_read_and_never_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    bang = f"__import__('os').mkdir({str(mark)!r})"
    text = f"""
a = 1
b = [1, -2.5, 'x', None]
c = dict(d={{'e': (1, 2)}}, f={bang})
g = {bang}
h = a + 1
i: int = 3
j, k = 1, 2
{bang}
"""
    config = write(tmp_path / "config.py", text)
    assert literals_of(config) == {"a": 1, "b": [1, -2.5, "x", None], "c": {"d": {"e": [1, 2]}}}
    assert not mark.exists()
    for text in ("def (", "x = " + "(" * 10_000, "x = " + "-" * 100_000 + "1"):
        assert literals_of(write(config, text)) == {}


def test_one_sentence_for_each_bad_directory(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no <timestamp>/vis_data/scalars\.json"):
        read(tmp_path, Asked())
    write(tmp_path / "20251122_120000" / "vis_data" / "scalars.json", "{]\n{}\n")
    with pytest.raises(DataError, match="line 1: not JSON"):
        read(tmp_path, Asked())
