"""YOLO label files, read as scoring reads them."""

from backend.scoring.yolo_labels import Labels, parse_labels

__all__ = ["Labels", "parse_labels"]
