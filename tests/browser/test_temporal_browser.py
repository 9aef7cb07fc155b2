"""The timeline of *Compare* in a real browser: chart, video or stills, table, address."""

from pathlib import Path

import pytest

from tests.browser.visit import Visit
from tests.support.acted import action_comparison
from tests.support.memory_store import MemoryStore

pytestmark = pytest.mark.browser
ADDRESS = "/compare?comparison=acted"
CHART = "document.querySelector('#actions-chart .js-plotly-plot')"


@pytest.fixture
def store(tmp_path: Path) -> MemoryStore:
    made = MemoryStore()
    made.comparison_list = [action_comparison(tmp_path)]
    return made


def drawn(visit: Visit, video: str) -> None:
    """Until this video's timeline is there."""
    visit.wait(f"{CHART} && {CHART}.layout && {CHART}.layout.uirevision === '{video}'")


def test_the_timeline_is_drawn_light_and_dark(visit: Visit, scheme: str) -> None:
    page = visit.open(ADDRESS)
    drawn(visit, "dive")
    section = page.locator("#actions")
    assert "finds 3 of 4 actions" in section.locator("#actions-summary").inner_text()
    assert section.locator("tbody tr").count() == 4
    assert section.locator("tbody").inner_text().count("▲ new only") == 1
    assert visit.nameless() == []


def test_an_action_is_shown_in_chart_and_film(visit: Visit) -> None:
    page = visit.open(ADDRESS)
    drawn(visit, "dive")
    still = page.locator("#actions-still")
    still.wait_for()  # the made film has a codec that browsers do not play
    page.get_by_role("button", name="run at 10.0 s").click()
    visit.wait(f"{CHART}.layout.xaxis.range[0] === 0 && {CHART}.layout.xaxis.range[1] === 20")
    visit.wait("document.querySelector('#actions-moment-text').textContent === '10.0 s'")
    visit.wait(f"{CHART}.layout.shapes.some(s => s.name === 'now' && s.x0 === 10)")
    visit.wait("document.querySelector('#actions-still').naturalWidth === 64")


def test_what_is_chosen_is_in_the_address_and_comes_back(visit: Visit) -> None:
    page = visit.open(f"{ADDRESS}&sequence=target/track&tiou=0.7&score=0.1")
    drawn(visit, "track")
    summary = page.locator("#actions-summary")
    assert "At tIoU 0.7: Old (scores from 0.1) finds 0 of 1 action" in summary.inner_text()
    page.locator("#actions-video").click()
    page.get_by_role("option", name="dive").click()
    drawn(visit, "dive")
    visit.wait("location.search.includes('sequence=target/dive')")
    page.locator("#actions-best").focus()
    page.keyboard.press("Space")
    visit.wait("!location.search.includes('score=')")
    visit.wait(
        "document.querySelector('#actions-summary').textContent.includes('scores from 0.7')"
    )


def test_files_that_are_gone_are_said(visit: Visit, tmp_path: Path) -> None:
    (tmp_path / "new/predictions.json").unlink()
    page = visit.open(ADDRESS)
    page.get_by_text("No timeline of the target data").wait_for()
    assert not page.locator("#actions-video").is_visible()


def test_nothing_sticks_out_of_a_narrow_window(visit: Visit) -> None:
    visit.page.set_viewport_size({"width": 390, "height": 800})
    visit.open(ADDRESS)
    drawn(visit, "dive")
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
