"""Which formats a config asks for."""

import pytest

from backend.trainers.yolo.spec import YoloConfig


@pytest.mark.parametrize(
    ("asked", "formats"),
    [
        ("onnx", ("onnx",)),
        (["onnx", "onnx"], ("onnx",)),
        (["ultralytics", "onnx", "ultralytics"], ("ultralytics", "onnx")),
        ([], ()),
    ],
)
def test_each_format_is_written_once(asked: object, formats: tuple[str, ...]) -> None:
    config = YoloConfig.model_validate({"model": "a.yaml", "data": "b.yaml", "export": asked})
    assert config.export == formats
