"""What a training wants of its tracking data."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Expectations:
    """The parts of a config that data are held against.

    ``num_classes`` and ``classes`` (names in the order of labels) None: whatever the data have.
    ``embeds_classes``: proposals carry their class into the model. ``clip_length`` is the longest.
    ``pseudo_clips``: clips are made of single images, so ids need not go on. ``confirmed`` are
    the names of label filters that may drop whole classes.
    """

    num_classes: int | None = None
    classes: tuple[str, ...] | None = None
    embeds_classes: bool = True
    clip_length: int = 5
    pseudo_clips: bool = False
    confirmed: frozenset[str] = frozenset()

    @property
    def wanted(self) -> int | None:
        """The number of classes that is asked for."""
        if self.num_classes is None and self.classes is not None:
            return len(self.classes)
        return self.num_classes
