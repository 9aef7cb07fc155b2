"""The command line: parse, call one function, print.

Nothing heavy is imported here: ``assay --help`` loads neither torch, MLflow, Optuna nor Dash.
Exit codes: 0 done, 1 user error (one line), 2 usage, 3 decided not to promote; of ``diagnose`` and
``check`` 4 warning, 5 error, 6 going on is a waste.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from backend.cli import (
    checkpoints,
    configs,
    dashboard,
    datasets,
    demo,
    diagnosing,
    evidence,
    experts,
    exporting,
    hardware,
    importing,
    rendering,
    reporting,
    scoring,
    study,
    training,
)
from backend.core.errors import AssayError, StudyStoppedError

app = typer.Typer(
    name="assay",
    help="Is the new checkpoint really better? Train, search, compare and promote vision models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for module in (
    training,
    configs,
    study,
    evidence,
    scoring,
    exporting,
    datasets,
    importing,
    reporting,
    rendering,
    experts,
    diagnosing,
    hardware,
    checkpoints,
    dashboard,
    demo,
):
    module.register(app)


@app.callback()
def home(
    context: typer.Context,
    home: Annotated[
        Path, typer.Option(envvar="ASSAY_HOME", help="Where runs and databases are kept.")
    ] = Path("mlruns"),
    tracking_uri: Annotated[
        str | None,
        typer.Option(envvar="ASSAY_TRACKING_URI", help="An MLflow server instead of the home's."),
    ] = None,
) -> None:
    """Where everything is kept."""
    from backend.tracking.home import Home

    context.obj = Home(Path(os.path.expanduser(home)), tracking_uri)  # noqa: PTH111


def main() -> None:
    """The ``assay`` command."""
    _refuse_foreign_packages()
    try:
        app()
    except AssayError as error:
        print(f"assay: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(130 if isinstance(error, StudyStoppedError) else 1)
    except KeyboardInterrupt:
        print("assay: stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        print(f"assay: {error.filename or 'system'}: {error.strerror}", file=sys.stderr)
        sys.exit(1)


def _refuse_foreign_packages() -> None:
    """Our three packages have plain names; another distribution may have overwritten one."""
    import importlib.util

    import backend

    here = Path(str(backend.__file__)).parent.parent
    for name in ("dashboard", "studies"):
        found = importlib.util.find_spec(name)
        where = Path(str(found.origin)).parent.parent if found and found.origin else None
        if where != here:
            print(
                f"assay: the package '{name}' comes from {where}, not from {here}; another "
                "distribution overwrote it: reinstall assay in an environment of its own",
                file=sys.stderr,
            )
            sys.exit(1)
