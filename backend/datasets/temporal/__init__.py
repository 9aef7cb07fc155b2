"""Temporal action data: ActivityNet's JSON, video files, windows of frames, and their checks."""

from backend.datasets.temporal.census import TemporalCensus
from backend.datasets.temporal.checks import Expectations
from backend.datasets.temporal.decoding import Decoded, load_window, read_frames
from backend.datasets.temporal.reading import (
    ReadOptions,
    annotation_file,
    read_temporal,
    subsets_of,
)
from backend.datasets.temporal.records import LoadedWindow, TemporalSplit, TemporalVideo
from backend.datasets.temporal.survey import survey_temporal
from backend.datasets.temporal.validation import TemporalData, check_temporal, validate
from backend.datasets.temporal.video_files import VideoFile, probe_video, probe_videos
from backend.datasets.temporal.views import Augmentation, View, centre_view, draw_view
from backend.datasets.temporal.windows import (
    Cut,
    Sampling,
    draw_cut,
    seconds_of,
    sliding_cuts,
    trainable,
)

__all__ = [
    "Augmentation",
    "Cut",
    "Decoded",
    "Expectations",
    "LoadedWindow",
    "ReadOptions",
    "Sampling",
    "TemporalCensus",
    "TemporalData",
    "TemporalSplit",
    "TemporalVideo",
    "VideoFile",
    "View",
    "annotation_file",
    "centre_view",
    "check_temporal",
    "draw_cut",
    "draw_view",
    "load_window",
    "probe_video",
    "probe_videos",
    "read_frames",
    "read_temporal",
    "seconds_of",
    "sliding_cuts",
    "subsets_of",
    "survey_temporal",
    "trainable",
    "validate",
]
