"""What trials took, as columns, fronts and a section of the report."""

from backend.analysis.costs import COSTS, bought, compact, known_costs
from backend.analysis.report.study import Search, document
from backend.core.records import Costs
from tests.support.priced import TRIALS, made, trial

BY_KEY = {cost.key: cost for cost in COSTS}


def test_only_costs_that_are_known_are_columns() -> None:
    assert [cost.key for cost in known_costs(made())] == ["trainable", "minutes", "device"]
    old = made((trial(0, "full", 0.5, Costs()),))
    assert known_costs(old) == ()
    assert "### By" not in document(Search(old)).markdown()


def test_memory_says_whose_it_is() -> None:
    on_cpu = Costs(memory=3 * 2**29, memory_of="host")
    found = made((trial(0, "full", 0.5, on_cpu),))
    (cost,) = known_costs(found)
    assert cost.title == "peak memory of the process (GiB)"
    assert cost.text(found.trials[0]) == "1.50"
    assert BY_KEY["device"].text(found.trials[0], "–") == "–"


def test_the_front_is_what_nobody_reaches_for_less() -> None:
    def front(key: str) -> list[int]:
        return [t.number for t in bought(made(), BY_KEY[key])]

    assert front("trainable") == [3, 1, 0]
    assert front("minutes") == [3, 2, 1, 0]
    assert front("device") == [3, 1, 0]


def test_the_front_of_a_value_that_is_to_be_small() -> None:
    study = made().model_copy(update={"direction": "minimize"})
    assert [t.number for t in bought(study, BY_KEY["minutes"])] == [3, 4]


def test_of_equal_trials_the_first_one_is_on_the_front() -> None:
    twice = (*TRIALS[:1], TRIALS[0].model_copy(update={"number": 9}))
    assert [t.number for t in bought(made(twice), BY_KEY["minutes"])] == [0]


def test_counts_are_short() -> None:
    assert [compact(n) for n in (0, 950, 12_345, 4_560_000, 1.5e9)] == [
        "0", "950", "12.3 k", "4.56 M", "1.5 G",
    ]  # fmt: skip


def test_the_report_has_the_costs_beside_the_metric() -> None:
    text = document(Search(made())).markdown()
    head = next(line for line in text.splitlines() if line.startswith("| trial | `freeze"))
    for title in ("trainable parameters", "minutes per epoch", "peak GPU memory (GiB)"):
        assert f"| {title} |" in head
    row = next(line for line in text.splitlines() if line.startswith("| 1 | adapter"))
    assert row == "| 1 | adapter | complete | 0.6280 | 1.9 M | 8 | 3.00 |"
    failed = next(line for line in text.splitlines() if line.startswith("| 6 |"))
    assert failed.count("–") == 4


def test_the_report_says_what_more_buys() -> None:
    text = document(Search(made())).markdown()
    part = text[text.index("## What more buys") :]
    rows = [line for line in part.splitlines() if line.startswith("| ") and "trial" not in line]
    assert rows[1] == "| 3 | head-only | 600 k | 0.5930 |"


def test_equal_costs_are_no_choice() -> None:
    same = tuple(one.model_copy(update={"costs": TRIALS[0].costs}) for one in TRIALS)
    assert "## What more buys" not in document(Search(made(same))).markdown()
