"""assay train with a model that is not there: said at once, and nothing is loaded or written."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CODE = """
import sys
sys.argv = ["assay", "train", "mine.yaml"]
from backend.cli.main import main
try:
    main()
except SystemExit as end:
    print(end.code)
print("HEAVY", sorted({"torch", "mlflow", "ultralytics"} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ("weights_dir: {folder}", "model: expected {folder}/yolov8m.pt; put the file there"),
        ("", "model: 'yolov8m.pt' is not in this folder and weights_dir is not set; nothing is"),
    ],
)
def test_a_bare_name_is_looked_up_before_anything_is_loaded(
    more: str, sentence: str, tmp_path: Path
) -> None:
    settings = f"kind: yolo\nmodel: yolov8m.pt\ndata: data.yaml\n{more.format(folder=tmp_path)}\n"
    (tmp_path / "mine.yaml").write_text(settings)
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True,
                          cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, check=True)  # fmt: skip
    assert done.stdout.splitlines() == ["1", "HEAVY []"]
    assert done.stderr.startswith(f"assay: {sentence.format(folder=tmp_path)}")
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]
