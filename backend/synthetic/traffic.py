"""A synthetic road scene set in the layout of DAIR-V2X-I, for the demo and tests.

Car, truck, bus, person, bicycle and motorcycle, told apart by their shape, on a road with
perspective. Each frame depends on the seed and its own number only. Unlike the real dataset's,
its test split has labels, so it can be held out; neither point clouds nor lidar labels exist.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from backend.core.errors import ConfigError
from backend.synthetic._once import write_json, write_once
from backend.synthetic._traffic_scene import CAMERA, Placed, compose

VERSION = 1  # rises when the same seed gives other files
SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}
QUALITY = 92
_SPLITS = "single-infrastructure-split-data.json"


def write_traffic(
    folder: Path,
    *,
    frames: int = 720,
    size: tuple[int, int] = (416, 240),
    seed: int = 0,
    shares: Mapping[str, float] = SHARES,
) -> Path:
    """The set in ``folder``, made unless it is there already; returns the folder.

    ``size`` is width and height in pixels; ``shares`` of the frames go to train, val and test.
    The folder appears whole or not at all.

    Raises:
        ConfigError: too few frames for the splits, or too small a size.
        DataError: ``folder`` holds something else or cannot be written.
    """
    splits = _splits(frames, shares)
    if min(size) < 64:
        raise ConfigError(f"size {size[0]} x {size[1]}: traffic needs at least 64 x 64 pixels")
    stamp = {"generator": "backend.synthetic.traffic", "version": VERSION, "seed": seed,
             "frames": frames, "size": list(size), "splits": splits}  # fmt: skip

    def write(making: Path) -> None:
        _write(making, range(frames), size, seed)
        write_json(making / _SPLITS, splits)

    write_once(folder, stamp, "traffic", write)
    return folder


def _splits(frames: int, shares: Mapping[str, float]) -> dict[str, list[str]]:
    """Frames are independent of each other, so the first ones are for training."""
    bounds = [round(share * frames) for share in np.cumsum(list(shares.values())).tolist()]
    starts = [0, *bounds[:-1]]
    splits = {
        name: [f"{frame:06d}" for frame in range(start, end)]
        for name, start, end in zip(shares, starts, bounds, strict=True)
    }
    if bounds[-1] != frames or not all(splits.values()):
        raise ConfigError(
            f"{frames} frames cannot be shared out as {dict(shares)}; every split needs one frame "
            "and the shares must add up to 1"
        )
    return splits


def _write(folder: Path, frames: Sequence[int], size: tuple[int, int], seed: int) -> None:
    calibration = ("calib/camera_intrinsic", "calib/virtuallidar_to_camera")
    for place in ("image", "label/camera", *calibration):
        (folder / place).mkdir(parents=True)
    width, height = size
    cam_k = [width, 0, width / 2, 0, width, height / 2, 0, 0, 1]
    pose = {"rotation": np.eye(3).tolist(), "translation": [[0.0], [0.0], [0.0]]}
    rows = []
    for frame in frames:
        key = f"{frame:06d}"
        scene = compose(size, np.random.default_rng([seed, frame, VERSION]))
        Image.fromarray(scene.image).save(folder / f"image/{key}.jpg", quality=QUALITY)
        write_json(folder / f"label/camera/{key}.json", [_label(one) for one in scene.objects])
        write_json(folder / f"{calibration[0]}/{key}.json", {"cam_K": cam_k, "cam_D": [0.0] * 5})
        write_json(folder / f"{calibration[1]}/{key}.json", pose)
        rows.append(_row(key))
    write_json(folder / "data_info.json", rows)


def _row(key: str) -> dict[str, str]:
    return {
        "image_path": f"image/{key}.jpg",
        "calib_virtuallidar_to_camera_path": f"calib/virtuallidar_to_camera/{key}.json",
        "calib_camera_intrinsic_path": f"calib/camera_intrinsic/{key}.json",
        "label_camera_std_path": f"label/camera/{key}.json",
    }


def _label(one: Placed) -> dict[str, object]:
    """Numbers are texts, as in the real files."""
    kind, (x, z) = one.kind, one.ground
    corners = zip(("xmin", "ymin", "xmax", "ymax"), one.box, strict=True)
    sizes = zip("hwl", (kind.height, kind.length, kind.width), strict=True)
    place = zip("xyz", (x, CAMERA - kind.height / 2, z), strict=True)
    return {
        "type": kind.type,
        "truncated_state": str(one.truncation),
        "occluded_state": str(one.occlusion),
        "alpha": "0",
        "2d_box": {key: f"{value:.6f}" for key, value in corners},
        "3d_dimensions": {key: f"{value:.2f}" for key, value in sizes},
        "3d_location": {key: f"{value:.2f}" for key, value in place},
        "rotation": "3.141593" if one.mirrored else "0",
    }
