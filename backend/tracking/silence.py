"""MLflow's chatter: what matters reaches the user as a StoreError."""

import logging


def silence_mlflow() -> None:
    """Quiet its loggers, which print migrations and whole tracebacks to the terminal.

    To be called after MLflow was imported, which sets their levels.
    """
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
