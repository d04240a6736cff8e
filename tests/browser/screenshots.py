"""A picture of each page, phone and desktop, light and dark. No test: `make screenshots`."""

import os
from pathlib import Path

import pytest
from django.utils.text import slugify

from tests.belongings import Belongings
from tests.browser.pages import SCHEMES, SIZES, pages_of, public_pages
from tests.factories import make_account, make_user
from tests.live import USD

FOLDER = Path(os.environ.get("SCREENSHOTS", "var/screenshots"))
NOWHERE = "/nowhere"


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("size", SIZES)
def test_pictures(size, scheme, open_page, signed_in, committed):
    FOLDER.mkdir(parents=True, exist_ok=True)
    look = {"viewport": SIZES[size], "color_scheme": scheme}
    stranger = open_page(**look)
    for path in public_pages():
        _take(stranger, path, f"{size}-{scheme}")
    with stranger.watch.allowing("404"):
        _take(stranger, NOWHERE, f"{size}-{scheme}")
    person = make_user()
    make_account(person, balance_nano=10 * USD)
    theirs = signed_in(open_page(**look), person)
    for path in pages_of(person, Belongings(person)):
        _take(theirs, path, f"{size}-{scheme}")


def _take(page, path: str, look: str) -> None:
    page.goto(path, wait_until="load")
    name = slugify(path.replace("/", " ")) or "landing"
    page.screenshot(path=FOLDER / f"{name}-{look}.png", full_page=True)
