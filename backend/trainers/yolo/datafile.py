"""``data.yaml``, read as scoring reads it."""

from backend.scoring.yolo_datafile import DataFile, label_path, read_datafile

__all__ = ["DataFile", "label_path", "read_datafile"]
