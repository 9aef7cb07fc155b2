"""What rare events weigh in the loss, and what to do if it is too little."""

from dataclasses import dataclass

from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.rule import Advice, Turn
from backend.analysis.text import percent, plain, share

SCARCE = 0.05
"""Share of positions with an event under which they are rare."""
LIGHT = 0.25
"""Share of the loss under which a network does well to say background everywhere."""
FEATHER = 0.1
"""Share under which the weighting alone explains that nothing is found."""
WEIGHTS = (5.0, 10.0, 30.0)
"""Tried beside the break-even weight (1 - p) / p."""


@dataclass(frozen=True)
class Weighting:
    """Rare events: ``rate`` of the positions, ``weight`` in the loss, ``share`` of it."""

    rate: float
    weight: float

    @property
    def share(self) -> float:
        """The best constant probability of an event: q = w p / (w p + 1 - p)."""
        carried = self.weight * self.rate
        return carried / (carried + 1 - self.rate)

    @property
    def explains(self) -> bool:
        """Is it light enough to explain by itself that nothing is found?"""
        return self.share < FEATHER

    @property
    def said(self) -> str:
        """In one clause."""
        return (
            f"{percent(self.rate, 1)} of the sampled positions have an event; with weight "
            f"{plain(self.weight)} they carry {share(self.share)} of the loss"
        )

    @property
    def cause(self) -> str:
        """As the cause of a network that says background everywhere."""
        return (
            f"events are rare and weigh too little: with weight {plain(self.weight)} they carry "
            f"{share(self.share)} of the loss (D04)"
        )

    @property
    def advice(self) -> Advice:
        """The next higher weight, and a study over the usual ones and the break-even weight."""
        even = float(f"{(1 - self.rate) / self.rate:.3g}")
        values = tuple(sorted({*WEIGHTS, even}))
        higher = next((value for value in values if value > self.weight), values[-1])
        return Advice(
            f"Raise the weight of events in the loss from {plain(self.weight)} to {plain(higher)}"
            f"; at {plain(even)} they balance the background. Starting the last layer at the rate "
            "of events saves the first steps.",
            change=(Turn("positive_weight", values=(higher,)),),
            study=(Turn("positive_weight", values=values),),
        )


def weighting_of(evidence: Evidence) -> Weighting | None:
    """The weighting if events are rare and carry little of the loss, else None."""
    told = evidence.survey.sampled if evidence.survey else ()
    train = next((s for s in told if s.split == "train" and s.positions), None)
    if train is None or not train.positive:
        return None
    found = Weighting(train.positive / train.positions, train.weight)
    return found if found.rate < SCARCE and found.share < LIGHT else None
