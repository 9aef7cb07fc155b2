"""A frame of each sequence that changed most, as both models tracked it, side by side."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from PIL import Image

from backend.analysis.track_frames import Side, side_by_side
from backend.analysis.track_matching import Judged, judge
from backend.analysis.tracks import Recording
from backend.core.comparisons import DataComparison, UnitDelta
from backend.core.errors import DataError


def sheets(
    data: DataComparison, units: Sequence[UnitDelta]
) -> Iterator[tuple[UnitDelta, Image.Image]]:
    """Old left and new right, the truth in white below; only sequences whose images are left."""
    try:
        recording = Recording.of(data)
    except DataError:
        return
    for unit in units:
        try:
            found = judge(recording.sequence(unit.unit), recording.threshold)
            number = telling(found, unit.delta)
            photo = found.tracked.photo(number)
        except DataError:
            continue
        tracked = found.tracked
        truth = tracked.truth.at(number)
        sides = [
            Side(name, boxes.at(number), truth)
            for name, boxes in (("old", tracked.old), ("new", tracked.new))
        ]
        yield unit, side_by_side(photo, sides, f"frame {number}")


def telling(found: Judged, delta: float) -> int:
    """The number of the frame in which the two differ most, in the direction of ``delta``.

    Of several, the first of the longest run of such frames. Raises DataError without frames.
    """
    numbers = found.tracked.numbers
    if not numbers:
        raise DataError(f"{found.tracked.name}: has no frames")
    sign = 1 if delta > 0 else -1
    gains = [
        sign * (len(found.old.get(number, ())) - len(found.new.get(number, ())))
        for number in numbers
    ]
    most = max(gains)
    runs = [
        [place for place, _ in run]
        for gain, run in groupby(enumerate(gains), key=lambda item: item[1])
        if gain == most
    ]
    return numbers[max(runs, key=len)[0]]
