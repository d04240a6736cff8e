"""Everything can be done without a mouse, and one always sees where one is."""

import pytest
from playwright.sync_api import expect

from tests.support.account_pages import PASSWORD
from tests.support.browser.keyboard import Keyboard
from tests.support.browser.looks import PHONE
from tests.support.chat.writing import talk
from tests.support.factories import make_account, make_user
from tests.support.live import USD

LONG = ["/docs", "/dashboard", "/usage", "/keys/new", "/settings/security", "/billing", "/chat"]


@pytest.fixture
def person(scripted_model, committed):
    user = make_user(password=PASSWORD)
    make_account(user, balance_nano=USD)
    return user


def test_from_signing_in_to_a_key_and_an_answer(page, person):
    keyboard = Keyboard(page)
    page.goto("/")
    keyboard.follow(page.get_by_role("link", name="Sign in"))
    keyboard.go_to(page.get_by_label("Email"))
    keyboard.type(person.email)
    keyboard.go_to(page.get_by_label("Password"))
    keyboard.type(PASSWORD)
    keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()

    keyboard.follow(page.get_by_role("link", name="API keys", exact=True))
    expect(page.get_by_role("heading", name="API keys")).to_be_visible()
    keyboard.follow(page.get_by_role("link", name="Make your first key"))
    expect(page.get_by_role("heading", name="New API key")).to_be_visible()
    keyboard.go_to(page.get_by_label("Name"))
    keyboard.type("by keyboard")
    keyboard.follow(page.get_by_role("button", name="Make the key"), "Space")
    expect(page.get_by_role("heading", name="by keyboard")).to_be_visible()

    keyboard.follow(page.get_by_role("link", name="Chat", exact=True))
    expect(page.get_by_label("Your message", exact=True)).to_be_focused()
    keyboard.type("Hello?")
    keyboard.press("Enter")
    expect(page.locator(".message.assistant")).to_contain_text("tokens in")
    expect(page.get_by_label("Your message", exact=True)).to_be_focused()

    keyboard.follow(page.get_by_role("button", name="Sign out"))
    expect(page.get_by_role("link", name="Sign in")).to_be_visible()


def test_the_first_step_skips_the_navigation(page, signed_in, person):
    keyboard = Keyboard(signed_in(page, person))
    page.goto("/keys")
    assert keyboard.step()
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    keyboard.step()
    expect(page.get_by_role("link", name="Make your first key")).to_be_focused()


@pytest.mark.parametrize("path", LONG)
def test_no_page_holds_the_focus(path, page, signed_in, person):
    talk(person, "Hello", "Hi", title="Whales")
    keyboard = Keyboard(signed_in(page, person))
    page.goto(path)
    first, last = page.locator(".skip"), page.locator("footer a").last
    keyboard.go_to(first)
    forth = keyboard.walk()
    keyboard.go_to(last)
    back = keyboard.walk("Shift+Tab")
    assert set(forth) == set(back)
    assert len(set(forth)) > 10


def test_the_menu_of_a_phone_opens_and_closes(open_page, signed_in, person):
    page = signed_in(open_page(viewport=PHONE), person)
    keyboard = Keyboard(page)
    page.goto("/dashboard")
    menu, link = page.locator("summary", has_text="Menu"), page.get_by_role("link", name="Usage")
    keyboard.follow(menu)
    expect(link).to_be_visible()
    keyboard.press("Escape")
    expect(link).to_be_hidden()
    keyboard.press("Space")
    keyboard.follow(link)
    expect(page.get_by_role("heading", name="Usage", level=1)).to_be_visible()


def test_menus_of_a_chat_open_and_close(page, signed_in, person):
    conversation = talk(person, "Hello", "Hi", title="Whales")
    keyboard = Keyboard(signed_in(page, person))
    page.goto(f"/chat/{conversation.id}")
    manage, title = page.locator("summary", has_text="Manage"), page.get_by_label("Title")
    keyboard.go_to(manage, "Shift+Tab")  # The focus begins where one writes.
    keyboard.press("Enter")
    keyboard.go_to(title)
    keyboard.press("Escape")
    expect(title).to_be_hidden()

    picker = page.locator("summary", has_text="Model")
    keyboard.follow(picker, "Space")
    choice = page.get_by_role("radio", name="scripted")
    keyboard.go_to(choice)
    keyboard.press("ArrowDown")
    expect(page.get_by_role("radio", checked=True)).to_be_focused()
    keyboard.press("Escape")
    expect(choice).to_be_hidden()


def test_the_list_of_chats_on_a_phone_opens_and_closes(open_page, signed_in, person):
    talk(person, "Hello", "Hi", title="Whales")
    page = signed_in(open_page(viewport=PHONE), person)
    keyboard = Keyboard(page)
    page.goto("/chat")
    opener = page.get_by_role("button", name="Your chats")
    keyboard.go_to(opener, "Shift+Tab")
    keyboard.press("Enter")
    link = page.get_by_role("link", name="Whales")
    keyboard.go_to(link)
    keyboard.press("Escape")
    expect(link).to_be_hidden()
    expect(opener).to_be_focused()
