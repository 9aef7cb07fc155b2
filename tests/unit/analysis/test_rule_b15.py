"""B15: a gain that the comparison does not show."""

from typing import Any

from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.rules.b15_unsupported import RULE
from backend.core.comparisons import Change, Comparison, Selection
from backend.core.events import RunStarted
from tests.support.comparisons import comparison, data, delta
from tests.support.detections import contender
from tests.support.rule_checks import clear, fired, unknown


def compared(*made: Comparison, seeds: tuple[float, ...] = (), picked_of: int = 1) -> Evidence:
    started = RunStarted(trainer="made", epochs=1, headline="val/mAP50-95", metrics=(), data=(),
                         environment={})  # fmt: skip
    return Evidence((started,), {}, made, seeds, picked_of)


def gained(change: float = 0.05, spread: float = 0.02, **more: Any) -> Comparison:
    return comparison(data(delta(change=change, spread=spread), **more))


def changed(*names: str, kind: Any = "config") -> tuple[Change, ...]:
    return tuple(Change(kind=kind, name=name, baseline="0", candidate="1") for name in names)


def test_an_interval_that_includes_no_gain() -> None:
    found = fired(RULE, compared(gained(0.02, 0.03)))
    assert found.severity == "warning"
    assert "+0.020 in mAP50-95 is claimed" in found.headline
    assert "includes no gain" in found.headline
    clear(RULE, compared(gained(0.03, 0.02)))
    assert fired(RULE, compared(gained(0.02, 0.02)))
    assert fired(RULE, compared(comparison(data(delta(low=None, high=None)))))


def test_no_claim_needs_no_support() -> None:
    clear(RULE, compared(gained(-0.02, 0.03)))
    clear(RULE, compared(gained(0.0, 0.03)))
    lower = delta(change=0.02, spread=0.03, direction="minimize")
    clear(RULE, compared(comparison(data(lower))))
    assert fired(RULE, compared(comparison(data(delta(change=-0.02, spread=0.03,
                                                      direction="minimize")))))  # fmt: skip


def test_few_units() -> None:
    assert "9 images are too few" in fired(RULE, compared(gained(units=9))).headline
    clear(RULE, compared(gained(units=10)))


def test_two_seeds_of_one_config_show_no_difference() -> None:
    sure = gained(0.05, 0.01)
    twins = sure.model_copy(update={"changes": changed("name", "seed")})
    found = fired(RULE, compared(twins))
    assert found.headline.startswith("No difference shown")
    assert "only the seed differs" in found.headline
    clear(RULE, compared(sure.model_copy(update={"changes": changed("seed", "epochs")})))
    clear(RULE, compared(sure.model_copy(update={"changes": changed("name")})))
    other = (*changed("seed"), *changed("val", kind="data"))
    clear(RULE, compared(sure.model_copy(update={"changes": other})))


def test_the_best_of_many_trials_against_the_spread_of_seeds() -> None:
    seeds = (0.40, 0.42, 0.44)  # sigma 0.02; sqrt(2 ln 20) is 2.45
    found = fired(RULE, compared(gained(0.045, 0.02), seeds=seeds, picked_of=20))
    assert "the best of 20 trials gains 0.049 by its seed alone" in found.headline
    clear(RULE, compared(gained(0.055, 0.02), seeds=seeds, picked_of=20))
    clear(RULE, compared(gained(0.045, 0.02), seeds=seeds))
    assert fired(RULE, compared(gained(0.02, 0.01), seeds=seeds, picked_of=2))


def test_the_comparison_knows_of_its_trials_too() -> None:
    picked = contender("new").model_copy(
        update={"selection": Selection(study="sweep", trials=20, metric="val/mAP50-95")}
    )
    made = gained(0.045, 0.02).model_copy(update={"candidate": picked})
    assert fired(RULE, compared(made, seeds=(0.40, 0.42, 0.44)))


def test_without_repeats_a_pick_on_the_same_split_is_not_shown() -> None:
    found = fired(RULE, compared(gained(split="val"), picked_of=5))
    assert "no repeats" in found.headline
    clear(RULE, compared(gained(split="holdout"), picked_of=5))
    clear(RULE, compared(gained(split="val")))
    assert fired(RULE, compared(gained(split="val"), picked_of=5, seeds=(0.4,)))


def test_seeds_of_another_metric_say_nothing() -> None:
    made = comparison(data(delta(change=0.045), delta("mAP50", change=0.001)))
    other = compared(made, seeds=(0.40, 0.42, 0.44), picked_of=20)
    told = RunStarted(trainer="made", epochs=1, headline="val/none", metrics=(), data=(),
                      environment={})  # fmt: skip
    clear(RULE, Evidence((told,), {}, other.comparisons, other.seeds, 20))


def test_what_would_show_it() -> None:
    few = comparison(data(delta(change=0.02, spread=0.03, needed=400)))
    assert "score about 400 images" in fired(RULE, compared(few)).advice.text
    assert "three seeds" in fired(RULE, compared(few)).advice.text
    told = fired(RULE, compared(few, seeds=(0.40, 0.42, 0.44))).advice.text
    assert "train 16 seeds of each side" in told


def test_every_comparison_is_looked_at() -> None:
    assert fired(RULE, compared(gained(0.05, 0.01), gained(0.02, 0.03)))


def test_without_a_comparison_it_is_not_evaluated() -> None:
    unknown(RULE, compared(seeds=(0.4, 0.5)), "not compared")
