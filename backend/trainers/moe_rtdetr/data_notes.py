"""What a user should know of the data before the first step, and would not be told by a number."""

from backend.datasets.detection import DetectionSplit
from backend.trainers.moe_rtdetr.model.weights import Loaded
from backend.trainers.moe_rtdetr.spec import MoeRtDetrConfig

SMALL = 10_000
"""Images; far fewer than COCO's 118,000, from which RT-DETR learns without pretrained weights."""


def small_set_notes(loaded: Loaded, images: int) -> tuple[str, ...]:
    """A warning for a run that has neither pretrained weights nor many training images."""
    if loaded.names or images >= SMALL:
        return ()
    return (
        f"nothing was loaded and there are {images} training images: from scratch, RT-DETR "
        "usually stays near 0 mAP on a small set of photographs; give model.pretrained",
    )


def crowded_notes(split: DetectionSplit, config: MoeRtDetrConfig) -> tuple[str, ...]:
    """A warning where frames hold more objects than can be found: each query finds one, and
    ``max_det`` boxes of an image are kept."""
    most = max(split.frames, key=lambda frame: len(frame.labels))
    limits = {"model.queries": config.model.queries, "max_det": config.max_det}
    key = min(limits, key=lambda name: limits[name])
    crowded = sum(len(frame.labels) > limits[key] for frame in split.frames)
    if not crowded:
        return ()
    return (
        f"images of {split.split} that hold more objects than {key} ({limits[key]}) can find: "
        f"{crowded}, up to {len(most.labels)} in {most.name}; raise {key}",
    )
