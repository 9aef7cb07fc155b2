"""Tracking data: MOT folders, detection databases, their validation, and clips of frames."""

from backend.datasets.tracking.coco_to_mot import Conversion, coco_to_mot
from backend.datasets.tracking.expectations import Expectations
from backend.datasets.tracking.mot_folder import (
    MotOptions,
    read_mot,
    read_sequence,
    read_together,
    split_folders,
)
from backend.datasets.tracking.records import TrackFrame, TrackingSplit, TrackSequence
from backend.datasets.tracking.survey import survey_tracking
from backend.datasets.tracking.validation import (
    Detections,
    TrackingData,
    read_tracking,
    validate,
)

__all__ = [
    "Conversion",
    "Detections",
    "Expectations",
    "MotOptions",
    "TrackFrame",
    "TrackSequence",
    "TrackingData",
    "TrackingSplit",
    "coco_to_mot",
    "read_mot",
    "read_sequence",
    "read_together",
    "read_tracking",
    "split_folders",
    "survey_tracking",
    "validate",
]
