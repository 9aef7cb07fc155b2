"""The MLflow seam: the only package that names MLflow.

home.py      where everything is kept (no MLflow imported)
database.py  the SQLite file: made in one piece, refused when it is not MLflow's
errors.py    database and server trouble as one sentence
client.py    an explicit MlflowClient; silent, without telemetry
names.py     the tags by which everything is found again
projection.py, summaries.py, writer.py, replay.py    events and records into MLflow
rows.py, sqlite_rows.py, client_rows.py, curves.py, store.py    and back out as records
registry.py  model versions and their aliases
packaging.py, pyfunc_model.py, tables.py    what a version consists of, and how it answers
"""

import os

# Read by MLflow when it is imported, so they are set before any module here can import it.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # the writer retries by itself
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_UV_AUTO_DETECT", "false")  # not from whatever folder we are in
