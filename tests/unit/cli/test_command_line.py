"""The command line as a user meets it: in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
ASSAY = [sys.executable, "-m", "backend.cli"]

IMPORT = {
    "--name",
    "--headline",
    "--direction",
    "--map",
    "--epochs",
    "--follow",
    "--new",
    "--json",
}
OPTIONS = {
    "train": {"--set", "--fast", "--dry-run", "--resume"},
    "replay": set(),
    "trainers list": {"--json"},
    "config show": {"--set", "--fast", "--origins"},
    "config check": set(),
    "config schema": {"--write"},
    "study list": set(),
    "study run": {"--config", "--name", "--trials", "--workers", "--set", "--over"},
    "study show": {"--json"},
    "evaluate": {"--config", "--split", "--set", "--json"},
    "export": {
        *("--format", "--out", "--data", "--imgsz", "--dynamic", "--config", "--json"),
    },
    "compare": {
        *("--config", "--split", "--gt", "--task", "--margin", "--replicates", "--set"),
        *("--html", "--markdown", "--json"),
    },
    "epochs": {"--headline", "--margin", "--json"},
    "score detection": {
        *("--gt", "--pred", "--split", "--confidence", "--iou", "--first-category", "--json"),
    },
    "score tracking": {"--gt", "--pred", "--classes", "--json"},
    "score temporal": {"--gt", "--pred", "--subset", "--tiou", "--json"},
    "score spotting": {
        *("--gt", "--pred", "--elements", "--stride", "--tolerance", "--separator", "--frames"),
        *("--threshold", "--suppress", "--order", "--groups", "--compat", "--json"),
    },
    "import ultralytics": IMPORT,
    "import mmengine": IMPORT,
    "import tensorboard": IMPORT,
    "import csv": IMPORT | {"--epoch", "--step"},
    "import json": IMPORT,
    "import predictions": {
        *("--task", "--gt", "--pred", "--checkpoint", "--set", "--option", "--name", "--new"),
        "--json",
    },
    "import motrv2-args": {"--out", "--data", "--json"},
    "report": {"--against", "--epochs", "--html", "--markdown", "--json"},
    "render": {"--sequence", "--out", "--gt", "--classes", "--fps"},
    "dataset check": {
        *("--split", "--classes", "--class-map", "--anyway", "--detections", "--fields"),
        "--json",
    },
    "dataset convert": {
        *("--split", "--classes", "--class-map", "--anyway", "--copy"),
        *("--to", "--ids", "--gap", "--keep-groups"),
    },
    "dataset detections": {
        *("--out", "--from", "--format", "--annotations", "--split", "--classes"),
        *("--min-score", "--scores", "--json"),
    },
    "dataset paste": {"--out", "--count", "--set"},
    "hardware": {"--set", "--fast", "--json"},
    "diagnose": {"--rule", "--verbose", "--json"},
    "check": {"--set", "--json"},
    "experts": {"--step", "--watch", "--json"},
    "promote": {
        *("--model", "--policy", "--config", "--force", "--because", "--by", "--dry-run"),
        "--json",
    },
    "rollback": {"--to", "--because", "--by"},
    "promotions": {"--json"},
    "dashboard": {"--host", "--port"},
    "demo": {"--data-only", "--trials", "--failure"},
}


def assay(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    return subprocess.run(
        [*ASSAY, *arguments], capture_output=True, text=True, cwd=cwd, env=environment, check=False
    )


def test_the_option_list_is_frozen() -> None:
    """Hyperparameters never become flags: a new option must be added here on purpose."""
    import typer

    from backend.cli.main import app

    def walk(command: Any, path: tuple[str, ...]) -> dict[str, set[str]]:
        if hasattr(command, "commands"):
            found: dict[str, set[str]] = {}
            for name, inner in command.commands.items():
                found |= walk(inner, (*path, name))
            return found
        flags = {
            o for p in command.params if p.param_type_name == "option" for o in p.opts
            if o.startswith("--")
        }  # fmt: skip
        return {" ".join(path): flags - {"--help"}}

    assert walk(typer.main.get_command(app), ()) == OPTIONS


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "sys.argv = ['assay', '--help']\n"
        "from backend.cli.main import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        "heavy = {'torch', 'mlflow', 'optuna', 'dash', 'numpy', 'pandas', 'ultralytics'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT,
                          check=True)  # fmt: skip
    assert "HEAVY []" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("train", "absent.yaml"), "absent.yaml: no such config file"),
        (("config", "check", "wrong.yaml"), "unknown key 'epoch' (did you mean 'epochs'?)"),
        (("config", "show", "kind.yaml"), "unknown trainer 'yollo'; known: yolo"),
        (("train", "strategy.yaml", "--dry-run"), "unknown strategy 'half'; choose one of full"),
        (("train", "--resume", "nothing"), "not a run's work directory"),
        (("train", "--resume", "nothing@48"), "not a run's work directory"),
        (("study", "run", "nothing"), "unknown study 'nothing'; there is: adapters, copy_paste"),
        (("study", "run", "freezing"), "name one with --config"),
        (("replay", "nothing"), "nothing"),
        (("diagnose", "nothing"), "no run 'nothing'"),
        (("check", "absent.yaml"), "absent.yaml: no such config file"),
        (
            ("study", "run", "sweep", "--config", "strategy.yaml", "--over", "a=1"),
            "unknown strategy 'half'",
        ),
        (
            ("study", "run", "sweep", "--config", "right.yaml", "--over", "optimiser.lr0=1,2"),
            "--over optimiser.lr0: the config of kind 'yolo' has no such key",
        ),
        (("score", "detection", "--gt", "no.json", "--pred", "no.json"), "no.json"),
    ],
)
def test_a_users_mistake_is_one_sentence_and_exit_code_1(
    tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    yolo = "kind: yolo\nmodel: m.pt\ndata: d.yaml\n"
    (tmp_path / "wrong.yaml").write_text(yolo + "epoch: 3\n")
    (tmp_path / "kind.yaml").write_text(yolo.replace("yolo", "yollo"))
    (tmp_path / "right.yaml").write_text(yolo)
    (tmp_path / "strategy.yaml").write_text(yolo + "freeze: {strategy: half}\n")
    done = assay(*arguments, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert sentence in done.stderr
    assert done.stderr.startswith("assay: ")
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.glob("mlruns/work/*")), "no half-written run"


def test_usage_errors_have_their_own_code() -> None:
    assert assay("train").returncode == 2
    assert assay("nonsense").returncode == 2
    assert assay("dashboard", "--port", "0").returncode == 2
    assert assay("train", "--resume", "run", "--set", "epochs=3").returncode == 2
    assert assay("study", "run", "freezing", "--over", "epochs=3,4").returncode == 2


def test_a_dry_run_prints_a_config_that_is_valid_again(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: yolo\nmodel: m.pt\ndata: d.yaml\n")
    shown = assay("train", "a.yaml", "--dry-run", "--set", "optimizer.lr0=3e-4", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    (tmp_path / "b.yaml").write_text(shown.stdout)
    assert assay("config", "check", "b.yaml", cwd=tmp_path).returncode == 0
    assert "lr0: 0.0003" in shown.stdout
    assert not (tmp_path / "mlruns").exists()


def test_trainers_are_listed_for_people_and_machines() -> None:
    listed = json.loads(assay("trainers", "list", "--json").stdout)
    assert listed["yolo"]["task"] == "detection"
    text = assay("trainers", "list").stdout
    assert all(strategy in text for strategy in listed["yolo"]["strategies"])


def test_packages_of_another_distribution_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "__init__.py").touch()
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run([*ASSAY, "trainers", "list"], capture_output=True, text=True,
                          env=environment, cwd=tmp_path, check=False)  # fmt: skip
    assert done.returncode == 1
    assert f"the package 'studies' comes from {tmp_path}" in done.stderr
