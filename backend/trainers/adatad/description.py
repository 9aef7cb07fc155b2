"""What a config of AdaTAD comes to, in tables for the report of a run. No torch here."""

from backend.core.description import Described
from backend.runner.description import per_step
from backend.trainers.adatad.model.geometry import PRESETS, Geometry
from backend.trainers.adatad.spec import ADAPTERS, STRATEGIES, AdaTadConfig, FramesConfig

SPLITS = ("", "training", "validation", "test")
Row = tuple[str, str, str, str]


def described(config: AdaTadConfig) -> tuple[Described, ...]:
    """Data, preprocessing, model and loading."""
    return (
        Described("data", "Windows and frames", _data(config), SPLITS),
        Described("data", "Preprocessing, in order", _steps(config), SPLITS),
        Described("model", "Backbone", _backbone(config)),
        Described("model", "Detector", _detector(config)),
        Described("optimisation", "Loading", _loading(config), SPLITS),
        Described("optimisation", "Inference", _inference(config)),
    )


def _data(config: AdaTadConfig) -> tuple[Row, ...]:
    windows, frames = config.windows, config.frames
    length = f"{windows.length} frames" + (
        f", one of every {windows.stride} of the video" if windows.stride > 1 else ""
    )
    side = f"{frames.size} x {frames.size}"
    cropped = "random resized crop" if frames.augment else "centre crop"
    threads = f"{config.videos.threads}" if config.videos.threads else "FFmpeg's choice"
    decoder = "PyAV (FFmpeg)"
    return (
        ("subset of the annotations", config.subsets.train, config.subsets.val, "as asked for"),
        ("sampling", _drawn(config), *_slid(config)),
        _same("window", length),
        ("crop", cropped, "centre crop", "centre crop"),
        _same("input", side),
        ("augmentation", _augmented(frames), "none", "none"),
        _same("decoder", decoder),
        _same("decoding threads of a loader", threads),
        ("frozen features used again", _reused(config), _reused(config), "no"),
    )


def _same(name: str, value: str) -> Row:
    return (name, value, value, value)


def _drawn(config: AdaTadConfig) -> str:
    windows = config.windows
    many = f"{windows.per_video} windows" if windows.per_video > 1 else "one window"
    return f"random truncation: {many} per video and epoch"


def _slid(config: AdaTadConfig) -> tuple[str, str]:
    found = config.inference
    first, second = (
        f"sliding windows, {100 * overlap:g} % shared with the next"
        for overlap in (found.val_overlap, found.overlap)
    )
    return first, second


def _augmented(frames: FramesConfig) -> str:
    if not frames.augment:
        return "none"
    named = {
        "brightness": frames.brightness, "contrast": frames.contrast,
        "saturation": frames.saturation, "hue": frames.hue,
    }  # fmt: skip
    jitter = ", ".join(f"{name} {value:g}" for name, value in named.items() if value)
    parts = [
        f"flip {frames.flip:g}" if frames.flip else "",
        f"{frames.operations} of RandAugment's operations" if frames.operations else "",
        f"colour jitter ({jitter})" if jitter else "",
    ]
    return "; ".join(filter(None, parts)) or "crop alone"


def _reused(config: AdaTadConfig) -> str:
    """As the config asks for; see ``spec.ReuseConfig``."""
    chunk = PRESETS[config.model.preset].chunk
    can = (
        config.freeze.strategy == "head-only"
        and not config.frames.augment
        and config.windows.align % chunk == 0
    )
    wanted = config.reuse.features == "auto" and config.reuse.folder is not None
    return "yes" if can and wanted else "no"


def _steps(config: AdaTadConfig) -> tuple[Row, ...]:
    windows, frames = config.windows, config.frames
    crop = windows.crop_ratio
    filled = f", of which {crop[0]:g} to {crop[1]:g} are filled" if crop else ""
    drawn = (
        f"{windows.length} frames at random{filled}; at least one action keeps "
        f"{windows.trunc_thresh:g} of its length"
    )
    slid = f"windows of {windows.length} frames over the whole video"
    centre = (f"short side to {frames.size}", f"the middle {frames.size} x {frames.size}", "none")
    views = centre
    if frames.augment:
        views = (
            f"short side to {frames.short}",
            f"crop of {frames.area[0]:g} to {frames.area[1]:g} of the area, aspect "
            f"{frames.aspect[0]:.2f} to {frames.aspect[1]:.2f}, to {frames.size} x {frames.size}",
            f"{_augmented(frames)}; one draw for all frames of a window",
        )
    pad = "shorter videos are padded and masked"
    scale = "ImageNet's mean and standard deviation"
    steps = ((drawn, slid), (pad, pad), *zip(views, centre, strict=True), (scale, scale))
    done = (step for step in steps if set(step) != {"none"})
    return tuple((str(at), train, still, still) for at, (train, still) in enumerate(done, 1))


def _backbone(config: AdaTadConfig) -> tuple[tuple[str, str], ...]:
    sizes, windows = PRESETS[config.model.preset], config.windows
    chunks = windows.length // sizes.chunk
    return (
        ("type", f"VideoMAE ({config.model.preset})"),
        ("starts from", config.model.pretrained or "random weights"),
        ("what trains", f"{config.freeze.strategy}: {STRATEGIES[config.freeze.strategy]}"),
        ("input", _input(config.frames.size, sizes.native)),
        ("patch", f"{sizes.patch} x {sizes.patch} pixels, {sizes.tubelet} frames"),
        ("width", str(sizes.width)),
        ("layers", str(sizes.layers)),
        ("attention heads", str(sizes.heads)),
        ("MLP ratio", f"{sizes.mlp_ratio:g}"),
        ("frames of a chunk", str(sizes.chunk)),
        ("frames of a window", f"{windows.length} ({chunks} chunks)"),
        ("adapters", _adapters(config, sizes)),
        ("activation checkpointing", _checkpointed(config)),
    )  # fmt: skip


def _input(size: int, native: int) -> str:
    stretched = f"; positions of {native} x {native} are interpolated" if size != native else ""
    return f"{size} x {size}{stretched}"


def _adapters(config: AdaTadConfig, sizes: Geometry) -> str:
    if config.freeze.strategy not in ADAPTERS:
        return "none"
    hidden = int(sizes.width * config.model.adapter_ratio)
    along = "along time" if config.freeze.strategy == "adapter" else "without a look along time"
    return f"in all {sizes.layers} layers, {hidden} of {sizes.width} channels wide, {along}"


def _checkpointed(config: AdaTadConfig) -> str:
    named = ", ".join(config.runner.checkpointing)
    return f"yes: {named}" if named else "no"


def _detector(config: AdaTadConfig) -> tuple[tuple[str, str], ...]:
    sizes = PRESETS[config.model.preset]
    width = config.model.detector_width or sizes.detector_width
    strides = ", ".join(map(str, sizes.strides))
    return (
        ("type", "ActionFormer: pyramid over time, classes and borders at each point"),
        ("width", str(width)),
        ("attention heads", str(sizes.detector_heads)),
        ("pyramid", f"{sizes.levels} levels, strides {strides}"),
    )


def _loading(config: AdaTadConfig) -> tuple[Row, ...]:
    runner, batch = config.runner, str(config.inference.batch)
    threads = f"{runner.workers} threads" if runner.workers else "none"
    ahead = str(runner.prefetch) if runner.workers else "none"
    one = "1" if runner.workers else "none"
    return (
        ("batch (windows)", str(runner.batch), batch, batch),
        ("windows of an optimizer step", per_step(runner), "", ""),
        ("loaders", f"{runner.workers} processes" if runner.workers else "none", threads, threads),
        ("batches that each has ready", ahead, one, one),
        ("pinned memory", "where a GPU trains", "no", "no"),
    )


def _inference(config: AdaTadConfig) -> tuple[tuple[str, str], ...]:
    found = config.inference
    classes = "each class by itself" if found.per_class else "all classes together"
    return (
        ("kept of a window", f"the best {found.top_k:,} above {found.min_score:g}"),
        ("merged by", f"soft-NMS, Gaussian with sigma {found.sigma:g}, {classes}"),
        ("kept of a video", f"at most {found.max_segments:,}"),
    )
