"""Second factors as people use them. What staff need is in tests/accounts/test_mfa.py."""

import re
import time

import pytest
from allauth.mfa import app_settings
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from playwright.sync_api import expect

from tests.support.account_pages import PASSWORD
from tests.support.browser.accessibility import axe
from tests.support.factories import make_user

TIME_TO_TYPE_S = 8
INSIDE_THE_COMPUTER = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@pytest.fixture
def dora(committed):
    return make_user(password=PASSWORD)


@pytest.fixture
def authenticator(page):
    """A device that says yes to whatever the browser asks of it."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    devtools.send("WebAuthn.addVirtualAuthenticator", {"options": INSIDE_THE_COMPUTER})


def test_an_app_is_set_up_and_then_signing_in_takes_its_code(page, dora):
    say_password(page, dora)
    secret, codes = set_up_app(page)
    assert len(codes) == 10
    page.get_by_role("link", name="I have kept them").click()
    expect(page.locator(".badge", has_text=re.compile("^on$"))).to_be_visible()

    sign_out(page)
    say_password(page, dora)
    expect(page.get_by_role("heading", name="One more step")).to_be_visible()
    assert axe(page) == []
    answer(page, current_code(page, secret))
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()

    sign_out(page)
    say_password(page, dora)
    answer(page, codes[0])
    page.get_by_role("link", name="Security", exact=True).click()
    expect(page.get_by_text("9 left")).to_be_visible()


def test_a_passkey_signs_in_alone_and_as_the_second_step(page, dora, authenticator):
    say_password(page, dora)
    page.get_by_role("link", name="Security", exact=True).click()
    page.get_by_role("link", name="Add a passkey").click()
    say_password_again(page)
    assert axe(page) == []
    page.get_by_role("button", name="Add it").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    page.get_by_role("link", name="I have kept them").click()
    expect(page.get_by_role("row").filter(has_text="Passkey 1")).to_contain_text("signs in alone")

    sign_out(page)
    page.goto("/accounts/login/")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()

    sign_out(page)
    say_password(page, dora)
    page.get_by_role("button", name="Use a passkey or security key").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()


def test_a_passkey_says_once_more_who_one_is_is_renamed_and_removed(
    page, signed_in, dora, authenticator
):
    signed_in(page, dora).goto("/accounts/2fa/webauthn/add/")
    page.get_by_role("button", name="Add it").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    page.goto("/accounts/2fa/webauthn/reauthenticate/?next=/settings/security")
    page.get_by_role("button", name="Use a passkey or security key").click()
    page.get_by_role("link", name="Rename").click()
    page.get_by_label("Name").fill("My phone")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("row").filter(has_text="My phone").get_by_role("link", name="Remove").click()
    page.get_by_role("button", name="Remove it").click()
    expect(page.get_by_text("None yet. A passkey")).to_be_visible()


def test_a_device_that_knows_no_passkey_is_no_dead_end(page, authenticator):
    page.goto("/accounts/login/")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("Please try again")


# --- What they do --------------------------------------------------------------------------------


def say_password(page, person) -> None:
    page.goto("/accounts/login/")
    page.get_by_label("Email").fill(person.email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()


def say_password_again(page) -> None:
    expect(page.get_by_role("heading", name="Is it you?")).to_be_visible()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Go on").click()


def sign_out(page) -> None:
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("link", name="Sign in")).to_be_visible()


def set_up_app(page) -> tuple[str, list[str]]:
    """The secret that the page shows, and the recovery codes."""
    page.get_by_role("link", name="Security", exact=True).click()
    page.get_by_role("link", name="Set up an app").click()
    say_password_again(page)
    expect(page.get_by_role("img", name="QR code")).to_be_visible()
    secret = page.locator("#secret").inner_text()
    assert axe(page) == []
    page.get_by_label("code").fill(current_code(page, secret))
    page.get_by_role("button", name="Turn it on").click()
    codes = page.locator("#recovery_codes").inner_text().split()
    assert axe(page) == []
    return secret, codes


def answer(page, code: str) -> None:
    page.get_by_label("Code").fill(code)
    page.get_by_role("button", name="Sign in", exact=True).click()


def current_code(page, secret: str) -> str:
    """What an app shows now; one that is about to run out is waited for."""
    period = app_settings.TOTP_PERIOD
    while period - time.time() % period < TIME_TO_TYPE_S:
        page.wait_for_timeout(100)
    return format_hotp_value(hotp_value(secret, int(time.time()) // period))
