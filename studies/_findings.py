"""What the rules say of a trial, and whether another one could do better."""

from collections.abc import Container

from backend.core.diagnosis import Diagnosis
from backend.core.events import Diagnosed, Envelope
from backend.core.trainer import Role, TrainerSpec

DATA_KEYS = ("data", "classes", "class_map", "groups")
DATA_ROLES: tuple[Role, ...] = ("missing", "separator", "pose_dir", "stride")
INPUT_UNUSED = "B04"
NOT_LEARNING = {"B01", "B02", "B03", INPUT_UNUSED}


class Doctor:
    """The reader that keeps a trial's newest diagnosis."""

    def __init__(self) -> None:
        self.newest: Diagnosis | None = None

    def receive(self, envelope: Envelope) -> None:
        if isinstance(envelope.event, Diagnosed):
            self.newest = envelope.event.diagnosis

    def close(self) -> None:
        """Nothing to release."""

    def named(self, rule: str) -> str:
        """A rule with its title."""
        found = self.newest.findings if self.newest else ()
        return next((f"{f.rule} {f.title}" for f in found if f.rule == rule), rule)

    def blind_cause(self) -> str:
        """The data's fault, or the unused input, for which nothing is learnt; else empty."""
        if self.newest is None or self.newest.state != "sick":
            return ""
        root = self.newest.findings[0]
        blind = root.rule == INPUT_UNUSED or NOT_LEARNING.intersection(root.silenced)
        ours = root.rule == INPUT_UNUSED or root.rule.startswith("D")
        return self.named(root.rule) if blind and ours else ""


def curable(searched: Container[str], trainer: TrainerSpec) -> bool:
    """Does the study change something by which data or input could become right?"""
    keys = {key for role in DATA_ROLES for key in trainer.levers.get(role, ())}
    return any(key in searched for key in (*DATA_KEYS, *keys))
