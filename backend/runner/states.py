"""States that a run keeps, so that another may begin at the end of an epoch. No torch here.

Each is a folder with all that an exact continuation needs: the state, what the machine made of
the config, and the best and the last checkpoint of that time. Its files are hard links where
the file system has them, so that only the state itself takes room. The run that begins with it
has it as its ``runner/start``.
"""

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from backend.core.errors import CheckpointError, StoreError
from backend.hardware.recovery import FILE as MEMO

FOLDER, START, STATE = Path("runner/states"), Path("runner/start"), "state.pt"
NAME = "epoch-{:04d}"


def keep(
    work_dir: Path, epoch: int, files: Iterable[Path], write: Callable[[Path], object]
) -> Path:
    """Keep what ``write`` writes, and ``files`` beside it; the whole folder or none of it.

    Returns the state's path. Raises OSError.
    """
    folder = work_dir / FOLDER
    kept, made = folder / NAME.format(epoch), folder / f".{NAME.format(epoch)}"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    write(made / STATE)
    for file in (*files, *(work_dir / MEMO,) * (work_dir / MEMO).exists()):
        share(file, made / file.name)
    shutil.rmtree(kept, ignore_errors=True)  # of an attempt that was interrupted
    made.rename(kept)
    return kept / STATE


def kept_epochs(work_dir: Path) -> tuple[int, ...]:
    """The epochs at whose end a run kept its state, rising."""
    names = [path.name for path in (work_dir / FOLDER).glob("epoch-*")]
    return tuple(sorted(int(name.removeprefix("epoch-")) for name in names))


def check_kept(work_dir: Path, epoch: int) -> None:
    """Raises CheckpointError, with the epochs that there are, if the state was not kept."""
    epochs = kept_epochs(work_dir)
    if epoch in epochs:
        return
    told = (
        f"it has those of epochs {', '.join(map(str, epochs))}"
        if epochs
        else "it kept none (runner.checkpoints.keep_states, which is off by default, keeps one "
        "with each checkpoint of runner.checkpoints.interval)"
    )
    raise CheckpointError(f"run {work_dir.name} has no state of the end of epoch {epoch}; {told}")


def begin_with(earlier: Path, epoch: int, work_dir: Path) -> None:
    """Let the new run in ``work_dir`` begin where another one was at the end of ``epoch``.

    Raises CheckpointError if that was not kept, and StoreError, which leaves no ``work_dir``.
    """
    check_kept(earlier, epoch)
    start = work_dir / START
    try:
        start.mkdir(parents=True)
        for file in (earlier / FOLDER / NAME.format(epoch)).iterdir():
            share(file, (work_dir if file.name == MEMO else start) / file.name)
    except OSError as error:
        shutil.rmtree(work_dir)
        raise StoreError(f"{work_dir}: cannot be made ({error.strerror})") from error


def share(source: Path, target: Path) -> None:
    """The same file under another name, in place of what is there; a copy where the file system
    has no links. Only for files that are replaced as a whole, never written to. Raises OSError."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copyfile(source, temporary)
    temporary.replace(target)
