import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from backend.analysis.weights import layer_of, summary, weights_moved
from backend.core.comparisons import LayerChange
from backend.core.errors import CheckpointError

Tensors = dict[str, NDArray[np.generic]]


def written(path: Path, tensors: Tensors) -> Path:
    save_file(tensors, path)
    return path


def moved(folder: Path, old: Tensors, new: Tensors) -> dict[str, tuple[int, Any, str]]:
    changes = weights_moved(
        written(folder / "old.safetensors", old), written(folder / "new.safetensors", new)
    )
    return {c.layer: (c.parameters, c.relative, c.note) for c in changes}


def ones(*shape: int, value: float = 1.0, dtype: type = np.float32) -> NDArray[np.generic]:
    return np.full(shape, value, dtype=dtype)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("model.4.cv1.conv.weight", "model.4"),
        ("model.22.cv3.0.0.conv.weight", "model.22"),
        ("model.model.0.weight", "model.model.0"),
        ("backbone.layer1.weight", "backbone.layer1"),
        ("head.weight", "head"),
        ("alpha", "alpha"),
        ("0.weight", "0"),
    ],
)
def test_a_layer_is_the_name_up_to_its_first_number(name: str, layer: str) -> None:
    assert layer_of(name) == layer


def test_relative_is_the_distance_over_the_old_norm_of_the_whole_layer(tmp_path: Path) -> None:
    old = {"model.0.weight": ones(3, 3), "model.0.bias": ones(7, value=0.0)}
    new = {"model.0.weight": ones(3, 3), "model.0.bias": ones(7, value=0.5)}

    found = moved(tmp_path, old, new)

    assert found == {"model.0": (16, pytest.approx(np.sqrt(7 * 0.25 / 9)), "")}


def test_layers_come_in_the_order_of_the_model(tmp_path: Path) -> None:
    old = {f"model.{i}.weight": ones(2) for i in (10, 2, 0)}

    assert list(moved(tmp_path, old, old)) == ["model.0", "model.2", "model.10"]


def test_an_untouched_layer_is_equal_to_the_bit(tmp_path: Path) -> None:
    tensors = {"model.0.weight": ones(4), "model.0.bn.running_mean": ones(2)}

    assert moved(tmp_path, tensors, tensors) == {"model.0": (4, 0.0, "equal to the bit")}


def test_running_statistics_are_no_weights_but_are_noted(tmp_path: Path) -> None:
    old = {
        "model.0.weight": ones(4),
        "model.0.bn.running_var": ones(2),
        "model.0.bn.num_batches_tracked": np.array(3),
    }
    new = old | {"model.0.bn.running_var": ones(2, value=9.0)}

    assert moved(tmp_path, old, new) == {
        "model.0": (4, 0.0, "weights equal to the bit, but 1 of 2 buffers differ")
    }


def changed(folder: Path, old: Tensors, new: Tensors) -> tuple[LayerChange, ...]:
    return weights_moved(
        written(folder / "old.safetensors", old), written(folder / "new.safetensors", new)
    )


def test_a_layer_is_identical_only_with_its_buffers(tmp_path: Path) -> None:
    old = {
        "model.0.weight": ones(4),
        "model.0.bn.running_mean": ones(2),
        "model.0.bn.num_batches_tracked": np.array(3),
        "model.1.weight": ones(4),
        "model.1.index": np.arange(4),
    }
    new = old | {
        "model.0.bn.running_mean": ones(2, value=2.0),
        "model.0.bn.num_batches_tracked": np.array(9),
    }

    first, second = changed(tmp_path, old, new)

    assert (first.identical, first.relative, first.buffers) == (False, 0, 2)
    assert first.buffers_moved == ("model.0.bn.num_batches_tracked", "model.0.bn.running_mean")
    assert (second.identical, second.buffers, second.buffers_moved) == (True, 1, ())
    assert second.parameters == 4  # an index is no weight


def test_a_lost_buffer_is_a_moved_one(tmp_path: Path) -> None:
    old = {"model.0.weight": ones(4), "model.0.bn.running_mean": ones(2)}

    (layer,) = changed(tmp_path, old, {"model.0.weight": ones(4)})

    assert (layer.identical, layer.buffers_moved) == (False, ("model.0.bn.running_mean",))


def test_all_layers_are_summed_up(tmp_path: Path) -> None:
    old = {f"model.{i}.weight": ones(4) for i in range(5)} | {"model.1.bn.running_var": ones(1)}
    new = old | {
        "model.1.bn.running_var": ones(1, value=3.0),
        "model.2.weight": ones(4, value=1.5),
        "model.3.weight": ones(4, value=1.1),
        "model.4.weight": ones(5),
    }

    assert summary(changed(tmp_path, old, new)) == (
        "1 of 5 layers are equal to the bit, buffers included; 1 kept their weights while their "
        "buffers or number format changed; 2 moved, most model.2 by 50.0%; 1 could not be "
        "compared."
    )
    assert summary(()) == ""


def test_half_precision_is_compared_in_full(tmp_path: Path) -> None:
    """65504 is the largest 16-bit number; its square is not one."""
    old = {"model.0.weight": ones(4, value=60_000, dtype=np.float16)}
    new = {"model.0.weight": ones(4, value=30_000, dtype=np.float16)}

    assert moved(tmp_path, old, new)["model.0"] == (4, pytest.approx(0.5, rel=1e-3), "")


def test_another_precision_is_noted(tmp_path: Path) -> None:
    old, new = {"m.0.w": ones(4)}, {"m.0.w": ones(4, dtype=np.float16)}

    assert moved(tmp_path, old, new) == {"m.0": (4, 0.0, "stored as float32 and float16")}


def test_bfloat16_is_read(tmp_path: Path) -> None:
    """numpy cannot write it, so the file is made by hand: length, header, bytes."""
    for name, bits in (("old", 0x4000), ("new", 0x4040)):  # 2.0 and 3.0
        header = json.dumps({"m.0.w": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}})
        data = len(header).to_bytes(8, "little") + header.encode() + bits.to_bytes(2, "little") * 4
        (tmp_path / f"{name}.safetensors").write_bytes(data)

    change = weights_moved(tmp_path / "old.safetensors", tmp_path / "new.safetensors")[0]

    assert (change.parameters, change.relative) == (4, 0.5)


def test_a_type_that_numpy_lacks_is_named(tmp_path: Path) -> None:
    header = '{"m.0.w":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}}'
    path = tmp_path / "eight.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + b"\0" * 4)
    with pytest.raises(CheckpointError, match=r"tensor m\.0\.w has the type F8_E4M3, unknown"):
        weights_moved(path, path)


def test_what_cannot_be_compared_is_noted(tmp_path: Path) -> None:
    old = {"m.0.w": ones(2, 3), "m.1.w": ones(2), "m.2.w": ones(2, value=0), "m.3.w": ones(2)}
    new = {"m.0.w": ones(4, 3), "m.1.v": ones(5), "m.2.w": ones(2), "m.3.w": ones(2, value=np.nan)}

    assert moved(tmp_path, old, new) == {
        "m.0": (12, None, "m.0.w has shape 2x3 and 4x3"),
        "m.1": (7, None, "m.1.v is only in the candidate; m.1.w is only in the baseline"),
        "m.2": (2, None, "all old weights are zero"),
        "m.3": (2, None, "weights are not finite"),
    }


def test_a_pickle_is_refused_by_its_name(tmp_path: Path) -> None:
    good = written(tmp_path / "good.safetensors", {"m.0.w": ones(2)})
    with pytest.raises(CheckpointError, match=r"best\.pt: weights are compared between \.safet"):
        weights_moved(good, tmp_path / "best.pt")


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"\x08" + b"\0" * 7 + b"{}"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    good = written(tmp_path / "good.safetensors", {"m.0.w": ones(2)})
    (tmp_path / "bad.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"bad\.safetensors: damaged or not a safetensors"):
        weights_moved(tmp_path / "bad.safetensors", good)


def test_a_torn_file_is_refused(tmp_path: Path) -> None:
    good = written(tmp_path / "good.safetensors", {"m.0.w": ones(200)})
    (tmp_path / "torn.safetensors").write_bytes(good.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"torn\.safetensors: damaged"):
        weights_moved(good, tmp_path / "torn.safetensors")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gone\.safetensors: no such weight file"):
        weights_moved(tmp_path / "gone.safetensors", tmp_path / "gone.safetensors")


def test_a_folder_is_no_weight_file(tmp_path: Path) -> None:
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(CheckpointError, match="cannot be read"):
        weights_moved(tmp_path / "folder.safetensors", tmp_path / "folder.safetensors")
