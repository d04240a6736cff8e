import itertools

from playwright.sync_api import expect

from tests.support.browser.accessibility import axe
from tests.support.factories import make_user


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


def test_a_snippet_is_copied_and_its_button_keeps_its_name(page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto("/")
    button = page.get_by_role("button", name="Copy the request")
    button.click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.locator("#landing-curl").text_content()
    expect(button.locator(".visually-hidden")).to_have_text(" the request")


def test_on_a_phone_the_links_of_who_is_signed_in_lie_apart(open_page, signed_in):
    page = signed_in(open_page(viewport={"width": 360, "height": 780}), make_user())
    page.goto("/docs")
    links = page.get_by_role("navigation", name="Site").get_by_role("link").all()
    boxes = [link.bounding_box() for link in links]
    assert len(boxes) == 4
    assert not any(overlap(one, other) for one, other in itertools.combinations(boxes, 2))


def overlap(one: dict, other: dict) -> bool:
    return all(
        one[start] < other[start] + other[size] and other[start] < one[start] + one[size]
        for start, size in (("x", "width"), ("y", "height"))
    )
