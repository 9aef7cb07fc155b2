"""The frame viewer of *Compare* in a real browser: slider, keys, differences, address."""

from pathlib import Path

import pytest

from tests.browser.visit import Visit
from tests.support.memory_store import MemoryStore
from tests.support.tracked import Folders, tracking_comparison, write_folders

pytestmark = pytest.mark.browser
ADDRESS = "/compare?comparison=tracked"


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return write_folders(tmp_path)


@pytest.fixture
def store(tmp_path: Path, folders: Folders) -> MemoryStore:
    made = MemoryStore()
    made.comparison_list = [tracking_comparison(tmp_path, folders)]
    return made


def shown(visit: Visit, text: str) -> None:
    """Until the viewer shows this frame, with both images."""
    visit.wait(
        f"(document.querySelector('#tracks-text') || {{}}).textContent === '{text}' && "
        "[...document.querySelectorAll('.track-side img')].every(i => i.naturalWidth === 512)"
    )


def test_the_viewer_is_drawn_light_and_dark(visit: Visit, scheme: str) -> None:
    page = visit.open(ADDRESS)
    shown(visit, "frame 2 of 8")
    assert page.input_value("#tracks-sequence") == "rally-a", "it changed most"
    assert page.inner_text("#tracks-old-text") == "missed Block"
    assert page.inner_text("#tracks-new-text") == "all right"
    assert page.get_attribute("#tracks-old", "alt") == "Old, frame 2 of 8: missed Block"
    assert "All classes together" in page.inner_text("#tracks-tables")
    assert visit.nameless() == []
    assert page.locator("#tracks-slider [role=slider]").get_attribute("aria-label")


def test_buttons_and_keys_step_through_frames_and_differences(visit: Visit) -> None:
    page = visit.open(ADDRESS)
    shown(visit, "frame 2 of 8")
    page.click("#tracks-on")
    shown(visit, "frame 3 of 8")
    page.click("#tracks-next")
    shown(visit, "frame 5 of 8")
    assert page.inner_text("#tracks-old-text") == "id switch 1 → 9 of Attack"
    page.wait_for_url("**sequence=target/rally-a&frame=5")
    page.locator(".tracks-viewer").focus()
    page.keyboard.press("ArrowLeft")
    shown(visit, "frame 4 of 8")
    page.keyboard.press("n")
    shown(visit, "frame 5 of 8")
    page.keyboard.press("p")
    shown(visit, "frame 3 of 8")
    page.locator("#tracks-slider [role=slider]").focus()
    page.keyboard.press("End")
    shown(visit, "frame 8 of 8")
    page.click("label:has-text('Only differences')")
    page.click("#tracks-back")
    shown(visit, "frame 7 of 8")
    page.click("#tracks-back")
    shown(visit, "frame 5 of 8")


def test_playing_ends_at_the_last_frame(visit: Visit) -> None:
    page = visit.open(f"{ADDRESS}&sequence=target/rally-a&frame=6")
    shown(visit, "frame 6 of 8")
    page.click("#tracks-play")
    shown(visit, "frame 8 of 8")
    visit.wait("document.querySelector('#tracks-play').textContent === 'Play'")


def test_a_kind_of_difference_and_another_sequence(visit: Visit) -> None:
    page = visit.open(ADDRESS)
    shown(visit, "frame 2 of 8")
    page.click("#tracks-kind")
    page.click("[role=option]:visible:has-text('Class (1)')")
    shown(visit, "frame 8 of 8")
    assert page.inner_text("#tracks-old-text") == "2 Attack is Block"
    page.click("#tracks-sequence")
    page.click("[role=option]:visible:has-text('rally-b')")
    page.wait_for_url("**sequence=target/rally-b*")
    shown(visit, "frame 1 of 8")
    page.go_back()
    visit.wait("document.querySelector('#tracks-sequence').value === 'rally-a'")


def test_files_that_are_gone_are_said(visit: Visit, folders: Folders) -> None:
    (folders.old / "rally-a.txt").unlink()
    page = visit.open(ADDRESS)
    page.wait_for_selector("text=No frames and no track lengths")
    assert not page.is_visible("#tracks-slider")
    assert "All classes together" in page.inner_text("#tracks-tables")


def test_nothing_sticks_out_of_a_narrow_window(visit: Visit) -> None:
    visit.page.set_viewport_size({"width": 390, "height": 900})
    page = visit.open(ADDRESS)
    shown(visit, "frame 2 of 8")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
