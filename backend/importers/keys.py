"""Names that others gave their metrics, as keys of ours: ``split/name``.

Only names of a table are understood; the rest keep their own, in the letters that a key allows.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from backend.core.errors import DataError
from backend.core.records import Direction

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "eval": "val",
    "evaluation": "val",
    "test": "test",
    "testing": "test",
    "lr": "lr",
}

CHINESE = {
    "训练": "train ",
    "验证": "val ",
    "测试": "test ",
    "总损失": "loss",
    "损失": "loss",
    "分类": "cls ",
    "回归": "reg ",
    "平均": "average ",
    "准确率": "accuracy",
    "精确率": "precision",
    "查准率": "precision",
    "精度": "precision",
    "召回率": "recall",
    "查全率": "recall",
    "学习率": "lr",
    "分数": "",
}
"""Words of Chinese tables, the longer ones before those that they contain."""

SAME = {
    "averagemap": "average_mAP",
    "avgmap": "average_mAP",
    "map5095": "mAP50-95",
    "map50-95": "mAP50-95",
    "map05095": "mAP50-95",
    "totalloss": "loss",
    "losstotal": "loss",
    "loss": "loss",
    "learningrate": "lr",
}
"""Names without blanks, underscores, dots and colons, in lower case; and ours."""

HIGHER = {
    *("map", "ap", "ar", "f1", "acc", "accuracy", "precision", "recall", "hota", "deta", "assa"),
    *("loca", "idf1", "idp", "idr", "mota", "motp", "edit", "auc", "auroc", "iou", "miou", "giou"),
    *("dice", "top1", "top5", "fitness", "psnr", "ssim", "bleu", "rouge", "mcc", "kappa", "r2"),
}
LOWER = {
    *("loss", "error", "err", "mae", "mse", "rmse", "idsw", "frag", "fid", "perplexity", "ppl"),
    *("wer", "cer", "nll", "ece"),
}

HEADLINES = (
    "average_mAP",
    "mAP50-95",
    "mAP",
    "HOTA",
    "edit",
    "f1",
    "accuracy",
    "acc",
    "IDF1",
    "MOTA",
    "AP",
    "mIoU",
    "mAP50",
)
"""What ranks a run, the first that it has; the letters' case does not matter."""

LONGEST = 200
"""Letters of a key; MLflow takes 250."""

_WORD = re.compile(r"[A-Z]+(?![a-z])\d*|[A-Za-z]?[a-z]+\d*|\d+")
_SEPARATORS = re.compile(r"[\s_\-.:]+")


def metric_key(name: str, split: str = "") -> str:
    """The key of a foreign name.

    The split is the first or last part of the name if that is one (``val_f1``, ``Loss/train``);
    else ``split``; else ``val`` for a score and ``train`` for anything else.
    """
    text = _english(name)
    lead, rest = _split_of(text)
    if not lead and not split and (head := re.match(r"([a-z]+)/(.+)", rest)):
        lead, rest = head[1], head[2]
    rest = _own(rest) or {"": "unnamed", "lr": "lr"}.get(lead, "loss")
    if rest == "lr" and not lead:
        lead = "lr"
    lead = lead or split or ("val" if _way(rest) == "maximize" else "train")
    return f"{lead}/{rest}"[:LONGEST].rstrip("/.")


class Keys:
    """The keys of one file's names, of which no two may be the same.

    ``rename`` overrules ``translate``, which makes a key of a name and a split.
    """

    def __init__(
        self,
        file: Path,
        rename: Mapping[str, str],
        translate: Callable[[str, str], str] = metric_key,
    ) -> None:
        self._file = file
        self._rename = rename
        self._translate = translate
        self._known: dict[tuple[str, str], str] = {}
        self._names: dict[str, str] = {}

    def of(self, name: str, split: str = "") -> str:
        """The key of a name. Raises DataError if another name has it."""
        if (split, name) not in self._known:
            key = self._rename.get(name) or self._translate(name, split)
            other = self._names.setdefault(key, name)
            if other != name:
                raise DataError(
                    f"{self._file}: '{other}' and '{name}' both mean {key}; tell them apart with "
                    f"--map '{name}=split/name'"
                )
            self._known[split, name] = key
        return self._known[split, name]


def direction_of(key: str) -> Direction | None:
    """Whether more is better, if a word of the name is in the table; the last word counts."""
    return _way(key.split("/", 1)[1]) if not key.startswith("lr/") else None


def headline_among(keys: Iterable[str]) -> str:
    """The key that ranks a run: the best known score, else a loss of validation, else any."""
    keys = sorted(keys, key=lambda key: (not key.startswith(("val/", "test/")), key))
    for name in HEADLINES:
        for key in keys:
            if key.split("/", 1)[1].lower() == name.lower():
                return key
    for ways, splits in ((("maximize",), ("val/", "test/")), (("minimize",), ("val/", "test/"))):
        for key in keys:
            if key.startswith(splits) and direction_of(key) in ways:
                return key
    return next((key for key in keys if direction_of(key) is not None), keys[0])


def _way(name: str) -> Direction | None:
    for word in reversed(_WORD.findall(name)):
        for form in (word.lower(), word.lower().rstrip("0123456789")):
            if form in LOWER:
                return "minimize"
            if form in HIGHER:
                return "maximize"
    return None


def _english(name: str) -> str:
    text = unicodedata.normalize("NFKC", name).strip()
    for word, english in CHINESE.items():
        text = text.replace(word, english)
    return text.strip()


def _split_of(text: str) -> tuple[str, str]:
    """The split that a name begins or ends with, and the rest of the name."""
    first = re.match(r"([A-Za-z]+)(?:[\s/_:.\-]+|$)(.*)", text)
    if first and first[1].lower() in SPLITS:
        return SPLITS[first[1].lower()], first[2]
    last = re.fullmatch(r"(.+)/([A-Za-z]+)", text)
    if last and last[2].lower() in SPLITS:
        return SPLITS[last[2].lower()], last[1]
    return "", text


def _own(name: str) -> str:
    """A name in the letters of a key; ours where the table knows it."""
    known = SAME.get(_SEPARATORS.sub("", name).lower())
    if known is not None:
        return known
    parts = (_letters(part) for part in re.sub(r"[@\s()\[\]]+", "_", name).strip("_").split("/"))
    return "/".join(part for part in parts if part.strip("."))


def _letters(part: str) -> str:
    """A letter that a key cannot hold becomes its code point, so that names stay different."""
    return "".join(
        c if re.fullmatch(r"[A-Za-z0-9_.\-]", c) else ("" if c in "%#" else f"u{ord(c):x}")
        for c in part
    )
