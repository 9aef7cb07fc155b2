"""What a training took, from its events."""

from backend.core.costs import costs_of
from backend.core.events import CostsMeasured, Envelope, FreezeGroup, FreezeReported
from backend.core.records import Costs

DECLARED = FreezeReported(
    phase="declared",
    strategy="adapter",
    groups=(
        FreezeGroup(name="backbone", trainable=0, frozen=900),
        FreezeGroup(name="adapter", trainable=70, frozen=0),
        FreezeGroup(name="detector", trainable=30, frozen=0, always_frozen=5),
    ),
    frozen_tensors=9,
)


def measured(seconds: dict[int, float], memory: int = 100) -> CostsMeasured:
    return CostsMeasured(step=8, seconds=seconds, memory=memory, memory_of="host")


def test_nothing_told_is_nothing_known() -> None:
    assert costs_of([]) == Costs()


def test_parameters_that_train_are_counted_as_declared() -> None:
    verified = DECLARED.model_copy(update={"phase": "verified", "groups": ()})
    assert costs_of([DECLARED, verified]) == Costs(trainable=100)


def test_epochs_have_their_median() -> None:
    found = costs_of([DECLARED, measured({1: 9.0, 2: 2.0, 3: 3.0})])
    assert found == Costs(trainable=100, seconds=3.0, memory=100, memory_of="host")


def test_attempts_count_together_and_the_last_one_s_memory() -> None:
    """A batch that was halved for lack of memory takes less."""
    found = costs_of([measured({1: 5.0}, 900), measured({2: 7.0, 3: 9.0}, 400)])
    assert (found.seconds, found.memory) == (7.0, 400)


def test_a_training_that_ended_within_its_first_epoch_has_no_time() -> None:
    found = costs_of([measured({})])
    assert (found.seconds, found.memory) == (None, 100)


def test_the_event_survives_its_file() -> None:
    envelope = Envelope(seq=0, time=1.0, event=measured({1: 0.5, 12: 2.0}))
    assert Envelope.model_validate_json(envelope.model_dump_json()) == envelope
