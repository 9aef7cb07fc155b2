"""Promises about the house itself: its map, its borders, what it ships."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from backend.analysis.promotion import Policy
from backend.catalog import CATALOG
from backend.promote import load_policy

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_import_contracts_hold() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_what_arrives_by_name_keeps_the_borders_too() -> None:
    """The linter cannot see imports by string: look at what a fresh process has loaded."""
    code = (
        "import sys, dashboard.app, backend.promote, backend.compare\n"
        "print(sorted({'torch', 'mmengine', 'ultralytics', 'optuna'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, text=True,
                          capture_output=True, check=True)  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_the_wheel_holds_three_packages_and_nothing_else(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "backend", "dashboard", "studies",
    }  # fmt: skip
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.endswith(".css") for name in names), "the app's stylesheet travels along"


def test_the_lock_is_whole_and_names_no_host() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"https?://|--index-url|--find-links", lock)
    locked = dict(re.findall(r"^([A-Za-z0-9_.\-]+)==(\S+)", lock, flags=re.M))
    assert locked["torch"] == "2.13.0"
    assert locked["torchvision"] == "0.28.0"
    wanted = [
        *PROJECT["project"]["dependencies"],
        *(r for rs in PROJECT["project"]["optional-dependencies"].values() for r in rs),
        *PROJECT["dependency-groups"]["dev"],
    ]
    names = {re.split(r"[\[<>=~! ]", r)[0].lower() for r in wanted}
    assert names <= {name.lower() for name in locked}
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "uv.lock" not in tracked.stdout.splitlines()


def test_every_dependency_has_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    section = text[text.index("dependencies = [") : text.index("[project.scripts]")]
    for line in section.splitlines():
        if re.match(r'\s+"', line):
            assert re.search(r'",\s+# \S', line), f"no reason beside {line.strip()}"


def test_every_trainer_is_in_the_readme_and_has_a_config() -> None:
    for kind, spec in CATALOG.items():
        assert f"`{kind}`" in README
        assert (ROOT / "configs" / "train" / f"{kind}.yaml").exists()
        for strategy in spec.strategies:
            assert f"`{strategy}`" in README, f"{strategy} is not explained"


def test_the_readmes_tree_is_true() -> None:
    block = README.split("```text", 1)[1].split("```", 1)[0]
    for line in block.strip().splitlines():
        path = line.split()[0]
        assert (ROOT / path).exists(), f"{path} is on the map but not in the house"
    listed = {line.split()[0].strip("/").split("/")[0] for line in block.strip().splitlines()}
    there = {
        path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")
    }
    assert there - {"__pycache__", "build", "dist"} <= listed


def commands() -> list[str]:
    """Lines of the README's shell blocks that call assay or make."""
    blocks = re.findall(r"```bash\n(.*?)```", README, flags=re.S)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith(("assay ", "make "))]


def test_the_readme_shows_commands() -> None:
    assert len(commands()) > 10


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_the_readmes_commands_exist(command: str) -> None:
    """Each command is parsed by the real parser, each target is in the Makefile."""
    words = command.split()
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), flags=re.M)
        return
    import typer

    from backend.cli.main import app

    node = typer.main.get_command(app)
    rest = words[1:]
    while hasattr(node, "commands"):
        assert rest[0] in node.commands, f"assay has no '{rest[0]}'"
        node = node.commands[rest.pop(0)]
    known = {option for parameter in node.params for option in parameter.opts}
    flags = {word.split("=")[0] for word in rest if word.startswith("--")}
    assert flags <= known, f"unknown options {flags - known}"
    for word in rest:
        if word.startswith("configs/"):
            assert (ROOT / word).exists()


def test_ci_runs_the_readmes_command() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text().splitlines()
    assert "make test" in README


def test_shipped_policies_are_valid_and_the_default_is_the_default() -> None:
    folder = ROOT / "configs" / "policies"
    assert load_policy(folder / "default.yaml") == load_policy(None) == Policy()
    for path in folder.glob("*.yaml"):
        load_policy(path)


def test_pre_commit_runs_what_make_check_runs() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    entries = " ".join(hook["entry"] for hook in hooks)
    for tool in ("ruff format", "ruff check", "mypy", "lint-imports"):
        assert tool in entries
