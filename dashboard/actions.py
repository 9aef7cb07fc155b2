"""The videos of temporal comparisons: segments read and matched once, files served in ranges."""

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

from flask import Flask, Response, request, send_file

from backend.analysis.action_videos import still
from backend.analysis.actions import ActionRecording
from backend.core.errors import AssayError, DataError
from backend.core.store import RunStore
from dashboard.films import Films, data_of, jpeg

VIDEO, STILL = "/temporal/video", "/temporal/frame"
KEPT = 4
"""Data of comparisons whose segments stay in memory: of a large set some 100 MB each."""


class Recordings:
    """The segments of stored comparisons, which never change; each is read once."""

    def __init__(self, store: RunStore) -> None:
        self.comparison = Films(store).comparison
        self.recording: Callable[[str, str], ActionRecording] = lru_cache(KEPT)(self._recording)

    def _recording(self, key: str, role: str) -> ActionRecording:
        """What was compared on the ``target`` or the ``source`` data. Raises DataError."""
        data = data_of(self.comparison(key)).get(role)
        if data is None:
            raise DataError(f"the comparison has no '{role}' data")
        return ActionRecording.of(data)


def serve_videos(server: Flask, recordings: Recordings) -> None:
    """Answer at ``VIDEO`` and ``STILL``; asked for are comparison, video (``role/name``), and at
    the latter ``t``, a moment in seconds."""
    server.add_url_rule(VIDEO, "temporal-video", partial(video, recordings))
    server.add_url_rule(STILL, "temporal-still", partial(still_frame, recordings))


def video(recordings: Recordings) -> Response:
    """The file of a video as the evaluation recorded it, or the range of it that is asked for."""
    try:
        return send_file(_asked(recordings), conditional=True)
    except (AssayError, OSError) as error:
        return _missing(error)


def still_frame(recordings: Recordings) -> Response:
    """One frame, for a browser that cannot play the file's codec."""
    moment = request.args.get("t", 0.0, type=float)
    try:
        return Response(jpeg(still(_asked(recordings), moment)), mimetype="image/jpeg")
    except AssayError as error:
        return _missing(error)


def _asked(recordings: Recordings) -> Path:
    role, _, name = request.args.get("video", "").partition("/")
    return recordings.recording(request.args.get("comparison", ""), role).film(name)


def _missing(error: Exception) -> Response:
    return Response(f"{error}.", 404, mimetype="text/plain")
