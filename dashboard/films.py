"""The frames of tracking comparisons: boxes read once, images drawn one at a time, as JSON."""

import base64
from collections.abc import Callable
from functools import lru_cache, partial
from io import BytesIO

from flask import Flask, Response, jsonify, request
from PIL import Image

from backend.analysis.track_frames import Side, panels
from backend.analysis.track_matching import Judged, Mistake, judge
from backend.analysis.track_summary import Summary, summarise
from backend.analysis.tracks import Recording
from backend.core.comparisons import Comparison, DataComparison
from backend.core.errors import AssayError, DataError
from backend.core.store import RunStore

ADDRESS = "/tracking/frame"
QUALITY = 85
KEPT = 8
"""Comparisons and sequences whose boxes stay in memory."""


class Films:
    """The recordings of stored comparisons, which never change; each is read once."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self.recording: Callable[[str, str], Recording] = lru_cache(KEPT)(self._recording)
        self.summary: Callable[[str, str], Summary] = lru_cache(KEPT)(self._summary)
        self.judged: Callable[[str, str], Judged] = lru_cache(KEPT)(self._judged)

    def comparison(self, key: str) -> Comparison:
        """Raises DataError for one that there is not."""
        for found in self._store.comparisons():
            if found.key == key:
                return found
        raise DataError(f"no comparison '{key}' in this store")

    def _recording(self, key: str, role: str) -> Recording:
        """What was compared on the ``target`` or the ``source`` data. Raises DataError."""
        data = data_of(self.comparison(key)).get(role)
        if data is None:
            raise DataError(f"the comparison has no '{role}' data")
        return Recording.of(data)

    def _summary(self, key: str, role: str) -> Summary:
        """Raises DataError for files that are gone."""
        return summarise(self.recording(key, role))

    def _judged(self, key: str, sequence: str) -> Judged:
        """One sequence, called ``role/name``. Raises DataError."""
        role, _, name = sequence.partition("/")
        recording = self.recording(key, role)
        return judge(recording.sequence(name), recording.threshold)


def data_of(comparison: Comparison) -> dict[str, DataComparison]:
    """The data of a comparison by their role."""
    found = {"target": comparison.target, "source": comparison.source}
    return {role: data for role, data in found.items() if data is not None}


def serve_frames(server: Flask, films: Films) -> None:
    """Answer at ``ADDRESS``; asked for are comparison, sequence, number and truth."""
    server.add_url_rule(ADDRESS, "tracking-frame", partial(frame, films))


def frame(films: Films) -> Response:
    """One frame of both models as JSON: two images, and in words what is wrong in each."""
    asked = request.args
    try:
        found = films.judged(asked.get("comparison", ""), asked.get("sequence", ""))
        number = asked.get("number", -1, type=int)
        if number not in found.tracked.numbers:
            raise DataError(f"{found.tracked.name}: has no frame {number}")
        made = jsonify(drawn(found, number, asked.get("truth") == "1"))
    except AssayError as error:
        made = jsonify({"problem": f"{error}."})
    made.headers["Cache-Control"] = "no-store"
    return made


def drawn(found: Judged, number: int, with_truth: bool) -> dict[str, str]:
    """Both images as data URLs, what is wrong in each, and why there is no photograph, if so."""
    tracked, note = found.tracked, ""
    try:
        photo = tracked.photo(number)
    except DataError as error:
        photo, note = tracked.blank(), tracked.note or str(error)
    truth = tracked.truth.at(number) if with_truth else ()
    sides = [Side("", boxes.at(number), truth) for boxes in (tracked.old, tracked.new)]
    old, new = (_encoded(image) for image in panels(photo, sides))
    return {
        "old": old,
        "new": new,
        "old_text": _said(found.old.get(number, [])),
        "new_text": _said(found.new.get(number, [])),
        "note": note,
    }


def _said(mistakes: list[Mistake]) -> str:
    return "; ".join(one.text for one in mistakes) or "all right"


def _encoded(image: Image.Image) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg(image)).decode()}"


def jpeg(image: Image.Image) -> bytes:
    """The content of an image file."""
    buffer = BytesIO()
    image.save(buffer, "jpeg", quality=QUALITY)
    return buffer.getvalue()
