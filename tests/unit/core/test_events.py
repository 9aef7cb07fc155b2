import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from backend.core.errors import StoreError
from backend.core.events import Envelope, MetricsLogged, Noted, RunFinished
from backend.core.sinks import Fanout, JsonlSink, MemorySink, Tail, read_events

NOTE = Noted(level="info", message="a note")


def envelope(seq: int = 0) -> Envelope:
    return Envelope(seq=seq, time=1.5, event=NOTE)


@given(
    st.dictionaries(
        st.sampled_from(["val/mAP50-95", "train/box_loss", "experts/enc.0/3"]), st.floats()
    )
)
def test_metrics_survive_json_even_when_not_finite(metrics: dict[str, float]) -> None:
    event = MetricsLogged(step=1, epoch=1, metrics=metrics)
    line = Envelope(seq=0, time=0.0, event=event).model_dump_json()
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not strict JSON"))
    back = Envelope.model_validate_json(line).event
    assert isinstance(back, MetricsLogged)
    for key, value in metrics.items():
        same = back.metrics[key] == value or (math.isnan(value) and math.isnan(back.metrics[key]))
        assert same


@pytest.mark.parametrize("key", ["loss", "Val/loss", "val/", "val/a b", "/x", "val/mAP50(B)"])
def test_keys_outside_the_grammar_are_refused(key: str) -> None:
    with pytest.raises(ValidationError, match="not 'split/name'"):
        MetricsLogged(step=1, epoch=1, metrics={key: 1.0})


def test_unknown_events_are_refused_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(
        envelope().model_dump_json() + "\n" + '{"seq": 1, "time": 0, "event": {"type": "X"}}\n'
    )
    with pytest.raises(StoreError, match=r"events.jsonl, line 2: not an event"):
        read_events(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no event file"):
        read_events(tmp_path / "events.jsonl")


def test_tail_waits_for_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    tail = Tail(path)
    assert tail.poll() == []
    line = envelope().model_dump_json() + "\n"
    path.write_text(line + line[:10])
    assert [e.seq for e in tail.poll()] == [0]
    with path.open("a") as file:
        file.write(line[10:])
    assert len(tail.poll()) == 1
    assert tail.poll() == []


def test_a_torn_line_is_cut_before_appending(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(envelope(0).model_dump_json() + '\n{"seq": 1, "ti')
    sink = JsonlSink(path)
    sink.receive(envelope(1))
    sink.close()
    assert [e.seq for e in read_events(path)] == [0, 1]


def test_every_line_is_on_disk_at_once(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sink = JsonlSink(path)
    for seq in range(3):
        sink.receive(envelope(seq))
        assert len(read_events(path)) == seq + 1
    sink.close()


class Broken(MemorySink):
    def close(self) -> None:
        raise StoreError("broken")


def test_fanout_closes_every_sink_and_then_complains() -> None:
    good = MemorySink()
    fanout = Fanout([Broken(), good])
    fanout.receive(envelope())
    with pytest.raises(StoreError, match="broken"):
        fanout.close()
    assert good.closed
    assert len(good.envelopes) == 1


def test_events_are_frozen() -> None:
    with pytest.raises(ValidationError):
        RunFinished(status="finished").status = "failed"  # type: ignore[misc]
