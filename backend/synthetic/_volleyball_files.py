"""Made sequences on disk: MOT folders, COCO json, and detection databases as people have them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from backend.synthetic._once import write_json
from backend.synthetic._volleyball_clip import Clip
from backend.synthetic._volleyball_motion import FRAMES, HEIGHT, WIDTH

QUALITY = 92
FIELDS = ("xywhs", "xywhcs", "xywhsc")
"""Orders of a line's fields; c is the class, s the score."""
KEYS = {"reference": "{:08d}.txt", "brief": "{:06d}"}
"""How the last part of a key is written; the reference is the published MOTRv2."""
FPS = 25
Names = Sequence[str]


def write_mot(folder: Path, clip: Clip) -> None:
    """``seqinfo.ini``, ``img1/000001.jpg`` and so on, and ``gt/gt.txt``.

    A row is frame, identity, x, y, w, h, 1 (it counts), class, visibility. Raises OSError.
    """
    for place in ("img1", "gt"):
        (folder / place).mkdir(parents=True)
    for number, image in enumerate(clip.images, start=1):
        path = folder / f"img1/{number:06d}.jpg"
        Image.fromarray(image).save(path, quality=QUALITY, subsampling=0)
    about = {"name": clip.name, "imDir": "img1", "frameRate": FPS, "seqLength": FRAMES,
             "imWidth": WIDTH, "imHeight": HEIGHT, "imExt": ".jpg"}  # fmt: skip
    lines = "".join(f"{key}={value}\n" for key, value in about.items())
    (folder / "seqinfo.ini").write_text(f"[Sequence]\n{lines}", encoding="utf-8")
    truth = clip.truth
    rows = "".join(
        f"{frame},{number},{x},{y},{w},{h},1,{label},{seen:.3f}\n"
        for frame, number, (x, y, w, h), label, seen in zip(
            truth.frames, truth.ids, truth.boxes.tolist(), truth.labels, truth.visibility,
            strict=True,
        )
    )  # fmt: skip
    (folder / "gt/gt.txt").write_text(rows, encoding="utf-8")


def write_classes(path: Path, names: Names) -> None:
    """Class names by their number in the files, from 1. Raises OSError."""
    numbered = {str(number): name for number, name in enumerate(names, start=1)}
    write_json(path, {"base": 1, "names": numbered})


def database(
    clips: Sequence[Clip], names: Names, fields: str = "xywhcs", keys: str = "brief",
    meta: bool = True,
) -> dict[str, object]:  # fmt: skip
    """What a detector found in each frame, as the json of a detection database.

    ``fields`` is one of ``FIELDS`` and ``keys`` of ``KEYS``; every frame has its key,
    ``<split>/<sequence>/img1/<frame>``. ``meta`` adds the header that declares the fields.
    """
    found: dict[str, object] = {}
    if meta:
        classes = {"classes": list(names), "class_base": 1} if "c" in fields else {}
        found["_meta"] = {"fields": fields, **classes, "detector": "synthetic",
                          "image_size": [WIDTH, HEIGHT]}  # fmt: skip
    for clip in clips:
        lines: dict[int, list[str]] = {frame: [] for frame in range(1, FRAMES + 1)}
        one = clip.detections
        for frame, (x, y, w, h), label, score in zip(
            one.frames.tolist(), one.boxes.tolist(), one.labels, one.scores, strict=True
        ):
            said = {"c": f"{label}", "s": f"{score:.6f}"}
            rest = ",".join(said[field] for field in fields[4:])
            lines[frame].append(f"{x:.2f},{y:.2f},{w:.2f},{h:.2f},{rest}\n")
        for frame, found_there in lines.items():
            found[f"{clip.split}/{clip.name}/img1/{KEYS[keys].format(frame)}"] = found_there
    return found


def coco(clips: Sequence[Clip], names: Names, identities: bool = True) -> dict[str, object]:
    """The truth as COCO json with ``video_id`` and ``frame_id``; without identities, if wanted.

    Files are named from the folder of the splits on; all ids count from 1.
    """
    videos: list[dict[str, object]] = []
    images: list[dict[str, object]] = []
    boxes: list[dict[str, object]] = []
    for video, clip in enumerate(clips, start=1):
        videos.append({"id": video, "name": clip.name})
        before = len(images)
        images += [
            {"id": before + frame, "file_name": f"{clip.split}/{clip.name}/img1/{frame:06d}.jpg",
             "width": WIDTH, "height": HEIGHT, "video_id": video, "frame_id": frame}
            for frame in range(1, FRAMES + 1)
        ]  # fmt: skip
        truth = clip.truth
        for frame, number, box, label in zip(
            *(truth.frames.tolist(), truth.ids.tolist(), truth.boxes.tolist()),
            truth.labels.tolist(),
            strict=True,
        ):
            track: Mapping[str, int] = {"track_id": number} if identities else {}
            place = {"bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            boxes.append({"id": len(boxes) + 1, "image_id": before + frame,
                          "category_id": label, **place, **track})  # fmt: skip
    categories = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
    return {"videos": videos, "images": images, "annotations": boxes, "categories": categories}
