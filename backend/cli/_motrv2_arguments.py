"""assay import motrv2-args: a config from the arguments that MOTRv2 was trained with."""

from pathlib import Path
from typing import TYPE_CHECKING

from backend.cli._common import show, table

if TYPE_CHECKING:
    from backend.importers.motrv2_args import Imported

HEAD = """\
# From {path}, by assay import motrv2-args.
# Values that the file leaves open are written out too: they are those of MOTRv2's config.
"""


def write_config(path: Path, out: Path, data: Path | None, *, as_json: bool) -> None:
    """Write the config and say where each value is from. Raises DataError, ConfigError."""
    import yaml

    from backend.config.compose import apply_overrides, validate
    from backend.core.errors import ConfigError
    from backend.core.workdir import write_atomic
    from backend.importers.motrv2_args import import_arguments
    from backend.trainers.motrv2.spec import Motrv2Config

    if out.exists():
        raise ConfigError(f"--out {out}: it is there already; name a new file")
    made = import_arguments(path, data)
    values = apply_overrides({}, made.values)
    validate(Motrv2Config, values, str(path))
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, default_flow_style=None)
    try:
        write_atomic(out, HEAD.format(path=path.name) + text)
    except OSError as error:
        raise ConfigError(f"--out {out}: cannot be written ({error.strerror})") from None
    if as_json:
        _show_json(made, out)
    else:
        _show(made, out)


def _show(made: "Imported", out: Path) -> None:
    from backend.importers.motrv2_args import shown

    taken = [(one.argument, one.key, shown(one.value)) for one in made.taken]
    opened = [
        (one.argument, one.theirs, one.key, "none" if one.value is None else shown(one.value))
        for one in made.opened
    ]
    left = [(one.argument, one.reason) for one in made.left]
    show(table("taken from the file", ("argument", "key", "value"), taken), "")
    columns = ("argument", "MOTRv2's parser", "key", "value used")
    show(table("left open by the file", columns, opened), "")
    if left:
        show(table("without effect", ("argument", "why"), left), "")
    show(*(f"warning: {warning}" for warning in made.warnings))
    show(f"written: {out}", f"look at its data next: {_check(made)}")


def _check(made: "Imported") -> str:
    database = made.values.get("det_db.path")
    more = f" --detections {database}" if database else ""
    return f"assay dataset check {made.values['data']}{more}"


def _show_json(made: "Imported", out: Path) -> None:
    import json

    facts = {
        "written": str(out),
        "taken": [vars(one) for one in made.taken],
        "open": [vars(one) for one in made.opened],
        "without_effect": [vars(one) for one in made.left],
        "warnings": made.warnings,
    }
    show(json.dumps(facts, indent=2, ensure_ascii=False))
