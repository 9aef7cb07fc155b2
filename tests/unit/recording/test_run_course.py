"""Epochs as they count, whatever interrupted them."""

from backend.core.events import Envelope, Event, MetricsLogged, RunFinished
from backend.recording.course import Epochs, surviving
from tests.support.courses import started


def point(step: int, epoch: int, ends: bool = False, **metrics: float) -> MetricsLogged:
    named = {key.replace("_", "/", 1): value for key, value in metrics.items()}
    return MetricsLogged(step=step, epoch=epoch, metrics=named or {"train/loss": 1.0}, ends=ends)


def start(resumed_from: int | None = None, epochs: int = 3) -> Event:
    return started("val/mAP", epochs, resumed_from)


def rows(*events: Event) -> list[tuple[int, dict[str, float]]]:
    epochs = Epochs()
    for event in events:
        epochs.add(event)
    return [(epoch.number, epoch.metrics) for epoch in epochs.over]


def steps(*events: Event) -> list[int]:
    envelopes = [Envelope(seq=i, time=float(i), event=event) for i, event in enumerate(events)]
    return [event.step for _, event in surviving(envelopes)]


def test_an_epoch_is_over_when_its_last_point_says_so() -> None:
    told = [start(), point(1, 1), point(2, 1, ends=True), point(3, 2)]
    assert [number for number, _ in rows(*told)] == [1]


def test_an_epoch_has_the_last_value_of_each_metric() -> None:
    found = rows(
        start(),
        point(2, 1, train_loss=3.0, val_mAP=0.1),
        point(4, 1, ends=True, train_loss=2.0),
    )
    assert found == [(1, {"train/loss": 2.0, "val/mAP": 0.1})]


def test_the_epoch_before_a_later_one_is_over_in_logs_that_do_not_tell() -> None:
    told = [start(epochs=2), point(2, 1), point(4, 2)]
    assert [number for number, _ in rows(*told)] == [1]
    whole = [*told, RunFinished(status="finished")]
    assert [number for number, _ in rows(*whole)] == [1, 2]
    cut = [*told, RunFinished(status="failed", interrupted=True)]
    assert [number for number, _ in rows(*cut)] == [1]


def test_a_run_that_finished_early_has_no_row_for_the_epoch_it_left() -> None:
    told = [start(), point(2, 1, ends=True), point(3, 2), RunFinished(status="finished")]
    assert [number for number, _ in rows(*told)] == [1]


def test_going_on_takes_later_epochs_back_at_once() -> None:
    told = [start(), point(2, 1, ends=True), point(4, 2, ends=True), start(1)]
    assert [number for number, _ in rows(*told)] == [1]
    again = [*told, point(3, 2), point(4, 2, ends=True, train_loss=7.0)]
    assert rows(*again)[1:] == [(2, {"train/loss": 7.0})]


def test_starting_from_scratch_takes_everything_back() -> None:
    told = [start(), point(2, 1, ends=True), point(4, 2, ends=True), start()]
    assert rows(*told) == []


def test_going_on_within_an_epoch_keeps_what_came_before() -> None:
    told = [
        *(start(), point(2, 1, ends=True), point(3, 2, val_mAP=0.2), point(4, 2, train_loss=9.0)),
        *(start(2), point(4, 2, ends=True, train_loss=5.0)),
    ]
    assert rows(*told)[1:] == [(2, {"val/mAP": 0.2, "train/loss": 5.0})]


def test_a_late_remark_on_an_epoch_takes_nothing_back() -> None:
    """A network may tell of its best checkpoint after the last epoch, also of a resumed run."""
    remark = point(2, 1, language_score=0.5)
    told = [start(epochs=2), point(2, 1, ends=True), point(4, 2, ends=True), start(2), remark]
    assert [number for number, _ in rows(*told)] == [1, 2]
    assert steps(*told) == [2, 4, 2]


def test_only_points_that_count_survive() -> None:
    told = [start(), point(10, 1), point(12, 1, ends=True), point(20, 2), point(22, 2)]
    assert steps(*told, start(1), point(20, 2)) == [10, 12, 20]
    assert steps(*told, start(2), point(22, 2)) == [10, 12, 20, 22]
    assert steps(*told, start(), point(10, 1)) == [10]


def test_what_was_logged_off_the_new_beat_after_the_interruption_is_gone() -> None:
    told = [start(), point(10, 1, ends=True), point(15, 2), start(1), point(18, 2)]
    assert steps(*told) == [10, 18]
