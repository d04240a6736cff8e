"""Every page, by every look: nothing that axe calls serious, and nothing wider than its screen."""

import pytest

from tests.belongings import Belongings
from tests.browser.accessibility import axe
from tests.browser.pages import SCHEMES, SIZES, pages_of, public_pages
from tests.factories import make_account, make_user
from tests.live import USD

OVERFLOW_PX = "document.documentElement.scrollWidth - window.innerWidth"


@pytest.mark.parametrize("size", SIZES)
def test_everybody_can_use_the_public_pages(size, open_page):
    page = open_page(viewport=SIZES[size])
    assert [fault for path in public_pages() for fault in faults(page, path)] == []


@pytest.mark.parametrize("size", SIZES)
def test_everybody_can_use_their_own_pages(size, open_page, signed_in):
    person = make_user()
    make_account(person, balance_nano=10 * USD)
    page = signed_in(open_page(viewport=SIZES[size]), person)
    paths = pages_of(person, Belongings(person))
    assert [fault for path in paths for fault in faults(page, path)] == []


@pytest.mark.parametrize("size", SIZES)
def test_somebody_new_can_use_their_empty_pages(size, open_page, signed_in):
    person = make_user()
    page = signed_in(open_page(viewport=SIZES[size]), person)
    assert [fault for path in pages_of(person) for fault in faults(page, path)] == []


def faults(page, path: str) -> list[str]:
    """What is wrong with the page at `path`, in the light and in the dark."""
    page.goto(path)
    found = []
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        found += [f"{path}, {scheme}: {violation}" for violation in axe(page)]
    too_wide = page.evaluate(OVERFLOW_PX)
    return [*found, f"{path}: {too_wide} px too wide"] if too_wide > 0 else found
