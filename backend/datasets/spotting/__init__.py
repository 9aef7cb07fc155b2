"""Datasets of event spotting: clips with events in F3Set's layout, skeletons beside them."""

from backend.datasets.spotting.reading import ReadOptions, read_spotting
from backend.datasets.spotting.records import Skeleton, SpotClip, SpotEvent, SpottingSplit
from backend.datasets.spotting.skeleton_files import read_skeleton, skeleton_file
from backend.datasets.spotting.skeletons import body_height, missing_skeletons, survey_skeletons

__all__ = [
    "ReadOptions",
    "Skeleton",
    "SpotClip",
    "SpotEvent",
    "SpottingSplit",
    "body_height",
    "missing_skeletons",
    "read_skeleton",
    "read_spotting",
    "skeleton_file",
    "survey_skeletons",
]
