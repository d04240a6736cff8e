"""From a stranger to the first answer, by the pages alone and with OpenAI's own package."""

import re
import uuid

from openai import OpenAI
from playwright.sync_api import expect

from accounts import mailbox
from billing.templatetags.money import usd
from gateway.models import ApiRequest
from tests.support.account_pages import PASSWORD
from tests.support.browser.accessibility import axe
from tests.support.live import eventually


def test_a_stranger_signs_up_and_gets_an_answer(open_page, site, scripted_model):
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    sign_up(page, f"{uuid.uuid4().hex}@example.org")
    expect(page.get_by_text("$0.50", exact=True)).to_be_visible()
    expect(page.locator("#main")).to_contain_text(f"{site.url}/v1")

    key = make_key(page)
    question = [{"role": "user", "content": "Hello?"}]
    client = OpenAI(base_url=f"{site.url}/v1", api_key=key, max_retries=0)
    with client:
        answer = client.chat.completions.create(model="scripted", messages=question)
    assert answer.choices[0].message.content

    request = eventually(lambda: ApiRequest.objects.filter(account__user__email=page.email).first())
    assert 0 < request.cost_nano < 500_000_000
    page.goto("/dashboard")
    expect(page.get_by_text(usd(500_000_000 - request.cost_nano), exact=True)).to_be_visible()
    page.get_by_role("link", name="Requests", exact=True).click()
    row = page.get_by_role("row").filter(has_text="my laptop")
    expect(row).to_contain_text("scripted")
    expect(row).to_contain_text(usd(request.cost_nano))
    row.get_by_role("link").click()
    expect(page.get_by_role("article").filter(has_text="user")).to_contain_text("Hello?")


def sign_up(page, address: str) -> None:
    """By the landing page, and with the code from the mailbox that the page points to."""
    page.email = address
    page.goto(mailbox.link())  # As `make run` prints it.
    expect(page).to_have_url(re.compile(r"/mailbox$"))
    page.goto("/")
    page.get_by_role("navigation", name="Site").get_by_role("link", name="Sign up").click()
    page.get_by_label("Email").fill(address)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign up").click()
    expect(page.get_by_text(address)).to_be_visible()
    with page.expect_popup() as opened:
        page.get_by_role("link", name="local mailbox").click()
    mail = opened.value.get_by_role("article").filter(has_text=address)
    page.get_by_label("Code").fill(mail.locator(".secret code").inner_text())
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_label("Only providers that keep nothing")).to_be_checked()
    assert axe(page) == []
    page.get_by_role("button", name="Save and go on").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()


def make_key(page) -> str:
    """What the button beside it copies; the page shows it this once."""
    page.get_by_role("link", name="API keys", exact=True).click()
    page.get_by_role("link", name="Make your first key").click()
    page.get_by_label("Name").fill("my laptop")
    page.get_by_role("button", name="Make the key").click()
    key = page.locator("#new-key").inner_text()
    assert axe(page) == []
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == key
    page.get_by_role("link", name="I have copied it").click()
    page.get_by_role("link", name="my laptop").click()
    expect(page.get_by_role("heading", name="my laptop")).to_be_visible()
    assert key not in page.content()
    return key
