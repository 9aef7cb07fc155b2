"""Work directories as other frameworks leave them behind."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

STAMP = 1_760_000_000.0

LOSS_TABLE = """Epoch,Total Loss,cls_loss,reg_loss
48,0.5085,0.2658,0.2427
49,0.4642,0.2412,0.2230
50,0.4301,0.2234,0.2067
51,0.4012,0.2085,0.1927
52,0.3891,0.2021,0.1870
53,0.3823,0.1985,0.1838
54,0.3785,0.1965,0.1820
55,0.3759,0.1951,0.1808
56,0.3742,0.1942,0.1800
57,0.3779,0.1979,0.1800
58,0.3810,0.1983,0.1827
59,0.3768,0.1987,0.1781
"""

VALIDATION_TABLE = """Epoch,Average-mAP
49,68.48%
51,68.52%
53,68.56%
55,68.58%
57,68.60%
59,68.64%
"""

METRIC_TABLE = """指标,Epoch 57,Epoch 59 (最终),变化
Average-mAP,68.60%,68.64%,+0.04%
mAP@0.3,83.48%,83.50%,+0.02%
mAP@0.4,79.51%,79.55%,+0.04%
mAP@0.5,71.12%,71.28%,+0.16%
mAP@0.6,62.00%,61.95%,-0.05%
mAP@0.7,46.90%,46.94%,+0.04%
"""
"""The three tables of the AdaTAD brief."""

BRIEF_VALUES = 12 * 3 + 6 + 6 * 2 - 2
"""Its numbers, but for the average that two tables repeat."""


def brief_tables(folder: Path) -> Path:
    """The brief's tables, one file each."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"loss": LOSS_TABLE, "validation": VALIDATION_TABLE, "metrics": METRIC_TABLE}
    for name, text in texts.items():
        write(folder / f"{name}.csv", text)
    return folder


def write(path: Path, text: str) -> Path:
    """A file, written at STAMP."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    os.utime(path, (STAMP, STAMP))
    return path


HEADER = (
    "                  epoch,                   time,         train/box_loss,"
    "       metrics/precision(B),          metrics/recall(B),       metrics/mAP50(B),"
    "    metrics/mAP50-95(B),           val/box_loss,                 lr/pg0"
)
SCORES = (0.20, 0.31, 0.28, 0.31, 0.25)


def ultralytics_table(epochs: int, first: int = 1) -> str:
    """``results.csv`` after some epochs."""
    lines = [HEADER]
    for place in range(epochs):
        score = SCORES[place % len(SCORES)]
        values = (first + place, 10.5 * (place + 1), 1.5 - 0.1 * place, 0.6, 0.5, score + 0.2,
                  score, 1.7 - 0.1 * place, 0.01)  # fmt: skip
        lines.append(",".join(f"{value:>23.6g}" for value in values))
    return "\n".join(lines) + "\n"


def ultralytics_run(folder: Path, epochs: int, planned: int = 5, first: int = 1) -> Path:
    """A run directory of Ultralytics with weights (any bytes)."""
    write(folder / "results.csv", ultralytics_table(epochs, first))
    write(folder / "args.yaml", f"task: detect\ndata: coco8.yaml\nepochs: {planned}\nlr0: 0.01\n")
    for name in ("best", "last", "epoch1"):
        write(folder / "weights" / f"{name}.pt", f"{name} after {epochs}")
    return folder


CONFIG = """
import os
os.makedirs({mark!r})
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs={epochs}, val_interval=1)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.0001))
data_root = 'data/coco/'
secret = os.environ.get('HOME')
"""


def mmengine_lines(epochs: Sequence[int], per_epoch: int = 2) -> list[Mapping[str, object]]:
    """The entries of ``scalars.json``: training every 10 iterations, then a validation."""
    lines: list[Mapping[str, object]] = []
    for epoch in epochs:
        for part in range(1, per_epoch + 1):
            step = 10 * ((epoch - 1) * per_epoch + part)
            lines.append({"lr": 1e-4, "data_time": 0.1, "loss": 2 / step, "loss_cls": 1 / step,
                          "time": 0.5, "epoch": epoch, "iter": step, "memory": 900,
                          "step": step})  # fmt: skip
        lines.append({"coco/bbox_mAP": 0.1 * epoch, "coco/bbox_mAP_50": 0.2 * epoch,
                      "data_time": 0.1, "time": 0.2, "step": epoch})  # fmt: skip
    return lines


def json_text(lines: Sequence[Mapping[str, object]]) -> str:
    """One object per line."""
    return "".join(json.dumps(line) + "\n" for line in lines)


def mmengine_run(folder: Path, epochs: int, planned: int = 3, mark: str = "/nowhere") -> Path:
    """A work directory of mmengine, its config hostile: it would make the folder ``mark``."""
    log = folder / "20251122_120000" / "vis_data"
    write(log / "scalars.json", json_text(mmengine_lines(range(1, epochs + 1))))
    write(log / "config.py", CONFIG.format(mark=mark, epochs=planned))
    for epoch in range(1, epochs + 1):
        write(folder / f"epoch_{epoch}.pth", f"weights {epoch}")
    write(folder / f"best_coco_bbox_mAP_epoch_{epochs}.pth", f"weights {epochs}")
    write(folder / "last_checkpoint", str(folder / f"epoch_{epochs}.pth"))
    return folder


MDFED = [
    {"epoch": e, "train_loss": 0.77, "val_loss": 0.78, "val_f1": 0.0, "val_edit": 0.0}
    for e in range(3)
]
"""The history of the MD-FED brief."""
