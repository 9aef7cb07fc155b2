"""The images that got better or worse most, with what both models found drawn in.

Each model is drawn where its precision, recall and F1 are taken, so that the picture shows what
the numbers count. Ground truth is white. A detection of its class that overlaps it enough is
green, any other is red; each truth is given to the surest detection that claims it. What was
missed is yellow. Sequences are drawn by ``track_gallery``.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

from backend.analysis import track_gallery
from backend.analysis.reports import evidence_of
from backend.core.comparisons import DataComparison, UnitDelta
from backend.core.records import EvalReport
from backend.scoring.detection.task import (
    TASK,
    DetectionEvidence,
    DetectionOptions,
    load_ground_truth,
    load_predictions,
    load_truth,
)
from backend.scoring.files import options_of

SHORTEST, LONGEST = 320, 640  # pixels of a drawn image's long edge
GAP, HEAD, LINE = 8, 22, 15
TRUTH, RIGHT, WRONG, MISSED = "#ffffff", "#19c37d", "#ff4d4f", "#ffd43b"
PAPER, INK = "#16181d", "#e6e8eb"

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Mark:
    """A box to draw: x, y, width, height in pixels of the image."""

    box: Box
    color: str
    text: str = ""


@dataclass(frozen=True)
class Pair:
    """One image under both models, side by side: old left, new right."""

    unit: UnitDelta
    image: Image.Image


def pairs(data: DataComparison, most: int = 12) -> Iterator[Pair]:
    """The first ``most`` of the units that changed most, where their images can be read.

    Half of them from either end of ``data.per_unit``. Nothing for a task without images, for
    evaluations whose files are gone, or for images that are not known.
    """
    if data.baseline_report.task == "tracking":
        for unit, image in track_gallery.sheets(data, _ends(data.per_unit, most)):
            yield Pair(unit, image)
    reports = (data.baseline_report, data.candidate_report)
    if data.baseline_report.task != "detection" or not data.per_unit:
        return
    files = [file for one in reports for file in (one.ground_truth, one.predictions)]
    if not all(file and Path(file).is_file() for file in files):
        return
    sides = [_Side.of(report) for report in reports]
    for unit in _ends(data.per_unit, most):
        known = sides[0].images.get(unit.unit)
        photo = _open(known, Path(data.data)) if known else None
        if known is not None and photo is not None:
            yield Pair(unit, _side_by_side(photo, known, sides))


def named(data: DataComparison) -> DataComparison:
    """The same with images called by their files, where the ground truth tells these."""
    truth = Path(data.baseline_report.ground_truth)
    if data.baseline_report.task != "detection" or truth.suffix != ".json" or not truth.is_file():
        return data
    images = load_ground_truth(truth)["images"]
    names = {str(image["id"]): str(image.get("file_name", image["id"])) for image in images}

    def renamed(unit: UnitDelta) -> UnitDelta:
        return unit.model_copy(update={"unit": names.get(unit.unit, unit.unit)})

    units = tuple(renamed(unit) for unit in data.per_unit)
    pictures = tuple(p.model_copy(update={"unit": renamed(p.unit)}) for p in data.pictures)
    return data.model_copy(update={"per_unit": units, "pictures": pictures})


@dataclass(frozen=True)
class _Side:
    """What one model was asked and answered, by image id.

    ``found`` holds the detections from ``confidence`` on; ``iou`` is the overlap that is enough.
    """

    iou: float
    confidence: float | None
    images: Mapping[str, Mapping[str, Any]]
    names: Mapping[int, str]
    truths: Mapping[Any, Sequence[Mapping[str, Any]]]
    found: Mapping[Any, Sequence[Mapping[str, Any]]]

    @classmethod
    def of(cls, report: EvalReport) -> "_Side":
        found = load_predictions(Path(report.predictions))
        asked = {k: v for k, v in report.settings.items() if k in ("split", "first_category")}
        options = cast(DetectionOptions, options_of(TASK, asked))
        truth = load_truth(Path(report.ground_truth), found, options)
        point = cast(DetectionEvidence, evidence_of(report)).point
        lowest = math.inf if point.confidence is None else point.confidence
        sure = [item for item in found if item["score"] >= lowest]
        return cls(
            iou=point.iou,
            confidence=point.confidence,
            images={str(image["id"]): image for image in truth["images"]},
            names={item["id"]: item.get("name", str(item["id"])) for item in truth["categories"]},
            truths=_by_image(truth["annotations"]),
            found=_by_image(sorted(sure, key=lambda item: -item["score"])),
        )

    def title(self, name: str) -> str:
        """``old, from confidence 0.31``."""
        from_ = "" if self.confidence is None else f", from confidence {self.confidence:.2f}"
        return f"{name}{from_}"

    def marks(self, image: Any) -> list[Mark]:
        """What to draw of one image, the least important first."""
        open_truths = [t for t in self.truths.get(image, ()) if not t.get("iscrowd")]
        truths = [Mark(tuple(t["bbox"]), TRUTH) for t in open_truths]
        marks: list[Mark] = []
        for item in self.found.get(image, ()):
            fits = [t for t in open_truths if _claim(t, item) >= self.iou]
            if fits:
                open_truths.remove(max(fits, key=lambda t: _claim(t, item)))
            text = f"{self.names[item['category_id']]} {item['score']:.2f}"
            marks.append(Mark(tuple(item["bbox"]), RIGHT if fits else WRONG, text))
        missed = [
            Mark(tuple(t["bbox"]), MISSED, self.names[t["category_id"]]) for t in open_truths
        ]
        return truths + marks[::-1] + missed


def _by_image(items: Sequence[Mapping[str, Any]]) -> dict[Any, list[Mapping[str, Any]]]:
    grouped: dict[Any, list[Mapping[str, Any]]] = {}
    for item in items:
        grouped.setdefault(item["image_id"], []).append(item)
    return grouped


def _claim(truth: Mapping[str, Any], item: Mapping[str, Any]) -> float:
    """IoU with a truth of the same class; 0 with any other."""
    if truth["category_id"] != item["category_id"]:
        return 0.0
    (ax, ay, aw, ah), (bx, by, bw, bh) = truth["bbox"], item["bbox"]
    width = min(ax + aw, bx + bw) - max(ax, bx)
    height = min(ay + ah, by + bh) - max(ay, by)
    both = max(width, 0.0) * max(height, 0.0)
    return float(both / max(aw * ah + bw * bh - both, 1e-9))


def _ends(units: Sequence[UnitDelta], most: int) -> list[UnitDelta]:
    """The largest gains, then the largest losses, worst first."""
    gains = [unit for unit in units if unit.delta > 0]
    losses = [unit for unit in reversed(units) if unit.delta < 0]
    return gains[: most // 2] + losses[: most // 2]


def _open(image: Mapping[str, Any], data: Path) -> Image.Image | None:
    """The photograph, from where it was or from beside the ground truth."""
    name = str(image.get("file_name", ""))
    for path in (
        Path(str(image.get("path", ""))),
        data.parent / name,
        data.parent / "images" / name,
    ):
        try:
            with Image.open(path) as photo:
                return photo.convert("RGB")
        except (OSError, UnidentifiedImageError, ValueError):
            continue
    return None


def _side_by_side(
    photo: Image.Image, known: Mapping[str, Any], sides: Sequence[_Side]
) -> Image.Image:
    long = max(photo.size)
    scale = min(max(long, SHORTEST), LONGEST) / long
    width, height = (max(1, round(edge * scale)) for edge in photo.size)
    smooth = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    small = photo.resize((width, height), smooth)
    sheet = Image.new("RGB", (2 * width + GAP, height + HEAD), PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, (side, name) in enumerate(zip(sides, ("old", "new"), strict=True)):
        left = number * (width + GAP)
        drawn = _drawn(small, side.marks(known["id"]), scale)
        sheet.paste(drawn, (left, HEAD))
        pen.text((left + 4, 3), side.title(name), fill=INK, font=ImageFont.load_default(14))
    return sheet


def _drawn(photo: Image.Image, marks: Sequence[Mark], scale: float) -> Image.Image:
    sheet = photo.copy()
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for mark in marks:
        x, y, w, h = (value * scale for value in mark.box)
        pen.rectangle((x, y, x + max(w, 1), y + max(h, 1)), outline=mark.color, width=2)
        if mark.text:  # above the box; what was missed below, clear of what took its place
            left = max(min(x, sheet.width - font.getlength(mark.text)), 0)
            top = min(y + h, sheet.height - LINE) if mark.color == MISSED else max(y - LINE, 0)
            place = (left, top)
            pen.rectangle(pen.textbbox(place, mark.text, font=font), fill=mark.color)
            pen.text(place, mark.text, fill="#000000", font=font)
    return sheet
