"""Copy-paste: objects cut out of annotated images, pasted on backgrounds while training."""

from backend.datasets.pasting.composing import Composer, Made
from backend.datasets.pasting.preparing import (
    Judged,
    Pasting,
    prepare_composer,
    prepare_pasting,
    remarks_of,
)
from backend.datasets.pasting.sheet import contact_sheet

__all__ = [
    "Composer",
    "Judged",
    "Made",
    "Pasting",
    "contact_sheet",
    "prepare_composer",
    "prepare_pasting",
    "remarks_of",
]
