"""assay dataset check | convert | detections | paste."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.cli._common import JsonOption, SetOption, show, table

if TYPE_CHECKING:
    from backend.datasets import DetectionSplit

DataArgument = Annotated[
    Path,
    typer.Argument(
        help="A DAIR-V2X-I folder, a COCO folder or .yaml, a YOLO data.yaml, a MOT folder, "
        "ActivityNet's .json or its folder."
    ),
]
SplitOption = Annotated[
    list[str] | None, typer.Option(help="May be repeated; default: every split with labels.")
]
ClassesOption = Annotated[
    str | None,
    typer.Option(help="Names, separated by commas, in the wanted order; default: all."),
]
MapOption = Annotated[
    Path | None,
    typer.Option(help="A YAML of names in the dataset to classes, null, or ignore."),
]
AnywayOption = Annotated[
    bool, typer.Option("--anyway", help="Go on where training would stop: too much is unusable.")
]

app = typer.Typer(help="Datasets: look before training, convert.", no_args_is_help=True)


def register(parent: typer.Typer) -> None:
    """Add this group's commands."""
    parent.add_typer(app, name="dataset")


@app.command()
def check(
    data: DataArgument,
    split: SplitOption = None,
    classes: ClassesOption = None,
    class_map: MapOption = None,
    anyway: AnywayOption = False,
    detections: Annotated[
        Path | None,
        typer.Option(help="A detection database for a MOT folder; default: det_db.json in it."),
    ] = None,
    fields: Annotated[
        str, typer.Option(help="Its fields: xywhs, xywhcs, xywhsc; auto decides from the file.")
    ] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Read a dataset as training would; say what is in it and what is left out."""
    from backend.cli._temporal_data import check_temporal, is_temporal
    from backend.cli._tracking_data import is_mot
    from backend.core.errors import ConfigError

    if is_temporal(data):
        if class_map is not None or detections is not None:
            raise ConfigError(f"{data}: --class-map and --detections are not for ActivityNet data")
        check_temporal(data, split or (), classes, anyway=anyway, as_json=as_json)
        return
    if is_mot(data):
        if class_map is not None:
            raise ConfigError(f"--class-map {class_map}: {data} is a MOT folder, which has none")
        _check_mot(data, split, classes, detections, fields, anyway=anyway, as_json=as_json)
        return
    from backend.datasets import shared_images

    if detections is not None:
        raise ConfigError(f"--detections {detections}: {data} is no MOT folder")
    splits = _read(data, split, classes, class_map, anyway)
    warnings = shared_images(splits)
    if as_json:
        import json

        facts = {"splits": [_facts(one) for one in splits], "warnings": list(warnings)}
        show(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    show(f"{data}: {_format(data)}", *_tables(splits))
    for one in splits:
        show(*one.notes, *one.remarks)
    show(*(f"warning: {warning}" for warning in warnings))


@app.command()
def convert(
    data: DataArgument,
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    split: SplitOption = None,
    classes: ClassesOption = None,
    class_map: MapOption = None,
    copy: Annotated[
        bool, typer.Option("--copy", help="Copy the images too, so that the folder can travel.")
    ] = False,
    anyway: AnywayOption = False,
    to: Annotated[str, typer.Option(help="coco, or mot: from COCO to MOT folders.")] = "coco",
    ids: Annotated[
        str, typer.Option(help="For mot: annotated, link, per-box or from:FIELD.")
    ] = "annotated",
    gap: Annotated[int, typer.Option(min=0, help="For --ids link: frames missed at most.")] = 0,
    keep_groups: Annotated[
        bool, typer.Option("--keep-groups", help="For mot: keep categories that name a group.")
    ] = False,
) -> None:
    """Write COCO json for each split, and a coco.yaml that names it; images stay in place.

    With --to mot, write MOT folders from COCO; identities are never made up unless asked for.
    """
    from backend.core.errors import ConfigError
    from backend.datasets import write_coco

    if to == "mot":
        from backend.cli._tracking_data import convert_to_mot
        from backend.datasets.tracking import Conversion

        if classes is not None or class_map is not None or anyway:
            raise ConfigError("--classes, --class-map and --anyway are not for --to mot")
        convert_to_mot(data, split or (), out, Conversion(ids, gap, keep_groups, copy))
        return
    if to != "coco":
        raise ConfigError(f"--to {to}: expected coco or mot")
    splits = _read(data, split, classes, class_map, anyway)
    written = write_coco(splits, out, copy=copy)
    show(*_tables(splits))
    for one in splits:
        show(*one.notes, *one.remarks)
    show(f"written: {written}")


@app.command()
def detections(
    data: Annotated[Path, typer.Argument(help="A MOT folder.")],
    out: Annotated[Path, typer.Option(help="The detection database to write, .json.")],
    sources: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            metavar="FILE|FOLDER",
            help="What a detector wrote; may be repeated; default: det/det.txt in DATA.",
        ),
    ] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="mot, coco or yolo; default: as it seems.")
    ] = None,
    annotations: Annotated[
        list[Path] | None,
        typer.Option(help="For COCO results: the file with their images, one for each --from."),
    ] = None,
    split: SplitOption = None,
    classes: Annotated[
        str | None,
        typer.Option(help="The detector's classes in its order; NAME=OURS renames one."),
    ] = None,
    min_score: Annotated[float, typer.Option(min=0, max=1, help="Leave out what is below.")] = 0.0,
    scores: Annotated[
        str, typer.Option(help="given, or sigmoid, range: for scores beyond 0 to 1.")
    ] = "given",
    as_json: JsonOption = False,
) -> None:
    """Make a detection database from any detector's results; say how it covers the data."""
    from backend.cli._detections import Asked, build

    names = tuple(name for name in (classes or "").split(",") if name.strip())
    asked = Asked(tuple(sources or [data]), form, tuple(annotations or ()), tuple(split or ()))
    build(data, out, asked, (names, min_score, scores), as_json=as_json)


@app.command()
def paste(
    config: Annotated[Path, typer.Argument(help="A training's config with synthetic folders.")],
    out: Annotated[Path, typer.Option(help="The picture to write, .png or .jpg.")],
    count: Annotated[int, typer.Option(min=1, help="Made images on it.")] = 16,
    overrides: SetOption = None,
) -> None:
    """Draw some of the images that copy-paste would make in a training, with their boxes."""
    from backend.catalog import load_config
    from backend.config.compose import parse_overrides
    from backend.config.synthetic import SyntheticConfig
    from backend.core.errors import ConfigError
    from backend.datasets.pasting import contact_sheet, prepare_composer, remarks_of
    from backend.scoring.detection.yolo_datafile import read_datafile

    made = load_config(config, parse_overrides(overrides or ()))
    how = getattr(made, "synthetic", None)
    if not isinstance(how, SyntheticConfig) or not how.active:
        raise ConfigError(
            f"{config}: nothing is pasted; name synthetic.annotated_dir and "
            "synthetic.backgrounds_dir of a detection training"
        )
    flat = made.flat()
    names = read_datafile(made.data).names
    composer = prepare_composer(how, names, int(flat["imgsz"]), float(flat["augment.fliplr"]))
    try:
        contact_sheet(composer, count, made.seed).save(out)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--out {out}: cannot be written as a picture ({error})") from None
    show(*remarks_of(composer), f"written: {out}")


def _check_mot(
    data: Path,
    split: list[str] | None,
    classes: str | None,
    detections: Path | None,
    fields: str,
    *,
    anyway: bool,
    as_json: bool,
) -> None:
    from backend.cli._tracking_data import check_mot, end_if_faulty
    from backend.datasets.tracking import Detections, MotOptions

    names = tuple(name.strip() for name in (classes or "").split(",") if name.strip())
    database = Detections(detections, fields) if detections else Detections.beside(data, fields)
    read = check_mot(data, split or (), database, MotOptions(names), as_json=as_json)
    if not anyway:
        end_if_faulty(read)


def _read(
    data: Path,
    split: list[str] | None,
    classes: str | None,
    class_map: Path | None,
    anyway: bool,
) -> "list[DetectionSplit]":
    from backend.core.errors import ConfigError
    from backend.datasets import Limits, open_dataset, read_split

    dataset = open_dataset(data)
    names = dataset.class_names()
    if classes is not None:
        names = tuple(name.strip() for name in classes.split(",") if name.strip())
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"--classes {classes}: expected different names, separated by commas")
    limits = Limits(1.0, 1.0) if anyway else Limits()
    return [read_split(data, one, names, class_map, limits) for one in split or dataset.splits]


def _format(data: Path) -> str:
    from backend.datasets import open_dataset

    return open_dataset(data).format


def _tables(splits: "list[DetectionSplit]") -> list[object]:
    """How much there is of what, per split, then per class."""
    from backend.datasets import summary

    numbers = [summary(one) for one in splits]
    rows = [
        (one.split, str(n.images), str(n.without_objects), str(sum(n.objects.values())),
         str(n.ignored), str(len(one.findings.left_out)))
        for one, n in zip(splits, numbers, strict=True)
    ]  # fmt: skip
    columns = ("split", "images", "without objects", "objects", "ignored regions", "left out")
    sizes = ("small", "medium", "large")
    classes = [
        (name, *(str(n.objects[name]) for n in numbers),
         *(str(sum(n.sizes[name][size] for n in numbers)) for size in sizes))
        for name in splits[0].classes
    ]  # fmt: skip
    heads = ("class", *(one.split for one in splits), *sizes)
    return [table("splits", columns, rows), "", table("objects per class", heads, classes), ""]


def _facts(split: "DetectionSplit") -> dict[str, object]:
    from backend.datasets import summary

    return {
        "split": split.split,
        "digest": split.digest,
        **summary(split)._asdict(),
        "findings": vars(split.findings),
        "notes": split.notes,
        "remarks": split.remarks,
    }
