"""Does each key of a trainer's config have an effect? What such a test needs of any trainer."""

from collections.abc import Callable, Iterator, Mapping

from pydantic import BaseModel

from backend.core.errors import AssayError

Options = dict[str, object]
Outcome = list[object] | str


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The dotted keys of a config class, in order."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from keys(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def filled(options: Mapping[str, object], files: Mapping[str, str]) -> Options:
    """The options with the files that values in capitals stand for."""
    return {name: files.get(str(value), value) for name, value in options.items()}


def outcome(effects: Callable[[], list[object]]) -> Outcome:
    """What a config comes to, or the sentence it is refused with."""
    try:
        return effects()
    except (AssayError, ValueError) as error:
        return str(error)
