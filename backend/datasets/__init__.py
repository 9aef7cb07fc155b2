"""Detection datasets in the formats people have them in, read into one."""

from backend.datasets.detection import EVERY_CLASS, DetectionSplit, Findings, Frame
from backend.datasets.export import shared_images, summary, to_coco, write_coco
from backend.datasets.gathering import Limits
from backend.datasets.reading import open_dataset, read_split

__all__ = [
    "EVERY_CLASS",
    "DetectionSplit",
    "Findings",
    "Frame",
    "Limits",
    "open_dataset",
    "read_split",
    "shared_images",
    "summary",
    "to_coco",
    "write_coco",
]
