import subprocess
import sys
from pathlib import Path

import pytest

from backend.core.errors import StoreError
from backend.tracking.home import Home
from backend.tracking.store import MlflowStore


def test_everything_lies_in_the_root(tmp_path: Path) -> None:
    home = Home(tmp_path / "runs")
    assert home.tracking_uri == f"sqlite:///{tmp_path}/runs/mlflow.db"
    assert home.optuna_url == f"sqlite:///{tmp_path}/runs/optuna.db"
    assert home.database == tmp_path / "runs" / "mlflow.db"
    assert home.artifacts == tmp_path / "runs" / "artifacts"
    assert home.work_dir("k") == tmp_path / "runs" / "work" / "k"


def test_a_relative_root_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Home(Path("runs")).root == tmp_path / "runs"


def test_a_relative_database_is_one_of_this_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    home = Home(tmp_path / "runs", "sqlite:///runs.db")
    assert home.database == tmp_path / "runs.db"
    assert MlflowStore(home).runs() == []


def test_characters_that_mean_something_in_a_url_survive(tmp_path: Path) -> None:
    home = Home(tmp_path / "50% done?")
    assert "%25" in home.tracking_uri
    assert home.database == tmp_path / "50% done?" / "mlflow.db"


def test_a_server_has_no_database_file(tmp_path: Path) -> None:
    home = Home(tmp_path, "http://127.0.0.1:5000")
    assert home.database is None
    assert str(home) == "http://127.0.0.1:5000"
    home.prepare()
    assert home.work.is_dir()
    assert not (tmp_path / "mlflow.db").exists()


def test_homes_are_values(tmp_path: Path) -> None:
    assert Home(tmp_path) == Home(tmp_path, None)
    assert len({Home(tmp_path), Home(tmp_path), Home(tmp_path, "http://x")}) == 2


def test_keys_name_time_and_kind_and_differ(tmp_path: Path) -> None:
    home = Home(tmp_path)
    keys = {home.new_key("yolo") for _ in range(50)}
    assert len(keys) > 45  # four hexadecimal digits may collide
    day, clock, kind, tail = keys.pop().split("-")
    assert (len(day), len(clock), kind, len(tail)) == (8, 6, "yolo", 4)


def test_a_root_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file") as caught:
        Home(tmp_path / "file" / "runs").prepare()
    assert "\n" not in str(caught.value)


def test_paths_and_reading_need_no_mlflow() -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from backend.tracking.home import Home\n"
        "from backend.tracking.store import MlflowStore\n"
        "store = MlflowStore(Home(Path('/nowhere')))\n"
        "assert store.runs() == [] and store.champions() == {}\n"
        "sys.exit(sum(name.partition('.')[0] in ('mlflow', 'sqlalchemy') for name in sys.modules))"
    )
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
