"""Every page, by every look: nothing that axe calls serious, and nothing wider than its screen."""

import pytest

from tests.support.browser.accessibility import faults, too_wide
from tests.support.browser.looks import SIZES
from tests.support.browser.moments import TEMPLATES
from tests.support.browser.visitors import ROUTES, is_no_page, is_page

# What leads to another page, hands out a file, or answers scripts only.
NO_PAGES = {
    "accounts/2fa/",
    "accounts/2fa/webauthn/",
    "accounts/sessions/",
    "accounts/login/code/confirm/",
    "accounts/2fa/webauthn/login/",
    "accounts/2fa/recovery-codes/download/",
}
NO_PAGES_BELOW = ("admin/", "allauth/", "account/email/", "gateway/email/", "mfa/email/")


def test_every_page_is_looked_at(visitors):
    known = set().union(
        *(one.routes_that(is_page) | one.routes_that(is_no_page) for one in visitors)
    )
    unknown = {route.text for route in ROUTES} - known
    assert unknown - NO_PAGES == set(), (
        "Nobody in tests/support/browser/visitors.py sees a page there. Add somebody who does, "
        "or say in NO_PAGES that there is none."
    )
    assert unknown == NO_PAGES


def test_every_template_of_a_page_is_looked_at(visitors, moments):
    answers = [answer for one in visitors for answer in one.answers.values() if is_page(answer)]
    answers += [answer for _, answer in moments]
    seen = {template.name for answer in answers for template in answer.templates}
    assert templates_of_pages() - seen == set(), "Add to moments.py what shows them."


def templates_of_pages() -> set[str]:
    """Those that extend another and aren't extended themselves."""
    texts = {path.relative_to(TEMPLATES).as_posix(): path for path in TEMPLATES.rglob("*.html")}
    texts = {name: path.read_text() for name, path in texts.items()}
    return {
        name
        for name, text in texts.items()
        if text.startswith("{% extends")
        and not name.startswith(NO_PAGES_BELOW)
        and not any(f'extends "{name}"' in other for other in texts.values())
    }


@pytest.mark.parametrize("size", SIZES)
def test_everybody_can_use_every_page(size, open_page, visitors, become):
    found = []
    public = set(visitors[0].pages)
    for visitor in visitors:
        page = become(open_page(viewport=SIZES[size]), visitor)
        for path in visitor.pages:
            if visitor is visitors[0] or path not in public:
                page.goto(path)
                found += [f"{path}: {fault}" for fault in faults(page)]
    assert found == []


@pytest.mark.parametrize("width", [833, 1025])  # The least that tables and the side have.
def test_tables_show_all_their_columns_in_half_a_window_too(width, open_page, visitors, become):
    found = []
    for visitor in (visitors[0], visitors[-1]):
        page = become(open_page(viewport={"width": width, "height": 800}), visitor)
        for path in visitor.pages:
            page.goto(path)
            found += [f"{path}: {fault}" for fault in too_wide(page)]
    assert found == []


@pytest.mark.parametrize("size", SIZES)
def test_everybody_can_use_what_no_address_shows(size, open_page, moments, show):
    page = open_page(viewport=SIZES[size])
    found = []
    for name, answer in moments:
        show(page, answer)
        found += [f"{name}: {fault}" for fault in faults(page)]
    assert found == []
