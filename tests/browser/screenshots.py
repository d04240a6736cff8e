"""A picture of each page, phone and desktop, light and dark. No test: `make screenshots`."""

import os
import re
from pathlib import Path

import pytest
from django.core.management import call_command
from django.utils.text import slugify

from tests.browser.conftest import apart
from tests.support.browser.looks import SCHEMES, SIZES
from tests.support.browser.visitors import everybody

FOLDER = Path(os.environ.get("SCREENSHOTS", "var/screenshots"))
ID = r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{32}-set-password"


@pytest.fixture(scope="session")
def visitors(site, django_db_blocker):
    """They find the whole catalogue, and the demo as `make demo` makes it."""
    with django_db_blocker.unblock():
        call_command("load_catalog", verbosity=0)
        yield apart(lambda: everybody(days=30, a_day=60))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("size", SIZES)
def test_pictures(size, scheme, open_page, visitors, moments, become, show):
    FOLDER.mkdir(parents=True, exist_ok=True)
    look = {"viewport": SIZES[size], "color_scheme": scheme}
    public = set(visitors[0].pages)
    for visitor in visitors:
        page = become(open_page(**look), visitor)
        for path in visitor.pages:
            if visitor is visitors[0] or path not in public:
                page.goto(path)
                _take(page, f"{visitor.name} {path}", size, scheme)
    page = open_page(**look)
    for name, answer in moments:
        show(page, answer)
        _take(page, f"moment {name}", size, scheme)


def _take(page, name: str, size: str, scheme: str) -> None:
    name = slugify(re.sub(ID, "x", name).replace("/", " "))
    page.screenshot(path=FOLDER / f"{name}-{size}-{scheme}.png", full_page=True)
