from playwright.sync_api import expect

from tests.browser.accessibility import axe
from tests.factories import make_user


def test_a_stranger_finds_the_way_in(page):
    page.goto("/")
    page.get_by_role("navigation", name="Site").get_by_role("link", name="Sign in").click()
    expect(page).to_have_url(f"{page.url.split('/accounts')[0]}/accounts/login/")
    assert axe(page) == []


def test_who_is_signed_in_finds_their_dashboard(page, signed_in):
    signed_in(page, make_user())
    page.goto("/")
    page.get_by_role("link", name="Dashboard", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
