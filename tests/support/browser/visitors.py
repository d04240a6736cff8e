"""Who comes to the site. Each of them sees other pages; together they see all that there are.

Pages are found by asking for each route of the URL configuration. What only the answer to a form
shows, or what only stands where something went wrong, is in `moments.py`.
"""

import dataclasses
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.conf import settings
from django.test import Client

from accounts import mailbox
from accounts.models import User
from gateway.models import ApiRequest, RequestContent
from kyma.demo import making
from tests.support.account_pages import PASSWORD, just_signed_in, last_link, sign_in, sign_up
from tests.support.belongings import PLACES, SHARED, Belongings
from tests.support.browser.passkeys import make_passkey
from tests.support.factories import make_user
from tests.support.routes import Route, routes

NOT_OURS = ("admin/",)  # Django's own pages
ROUTES = [route for route in routes(settings.ROOT_URLCONF) if not route.text.startswith(NOT_OURS)]

PASSKEY = "accounts/2fa/webauthn/keys/<pk>"
RESET_LINK = "accounts/password/reset/key/<uidb36>"


@dataclasses.dataclass(frozen=True)
class Visitor:
    """`things` stand at the places of routes.

    Who is in the middle of something looks only `below` a route: to go elsewhere would end it.
    """

    name: str
    client: Client
    things: Mapping[str, object] = dataclasses.field(default_factory=dict)
    below: str = ""

    @property
    def cookies(self) -> dict[str, str]:
        """What the browser of this visitor keeps: the session, and the key of the mailbox."""
        kept = (settings.SESSION_COOKIE_NAME, mailbox.COOKIE)
        return {name: one.value for name, one in self.client.cookies.items() if name in kept}

    @cached_property
    def answers(self) -> dict[str, Any]:
        """What each path answers them. Asked once: some pages are shown only then."""
        paths = (self._path_to(route) for route in ROUTES)
        return {path: self.client.get(path) for path in paths if path}

    @cached_property
    def pages(self) -> list[str]:
        return [path for path, answer in self.answers.items() if is_page(answer)]

    def routes_that(self, answer_so) -> set[str]:
        return {
            route.text
            for route in ROUTES
            if (path := self._path_to(route)) and answer_so(self.answers[path])
        }

    def _path_to(self, route: Route) -> str | None:
        known = {**SHARED, **self.things}
        if not route.text.startswith(self.below) or set(route.places()) - set(known):
            return None
        return "/" + route.path(known)


def is_page(answer) -> bool:
    """A whole page: no redirect, no download, no part of a page."""
    if answer.status_code != 200 or answer.streaming:
        return False
    return answer.content.lstrip().lower().startswith(b"<!doctype html>")


def is_no_page(answer) -> bool:
    """Data, a part of a page, or what only takes forms."""
    if not answer.headers.get("Content-Type", "").startswith("text/html"):
        return True  # That it is refused makes no page of it.
    return answer.status_code == 405 or (answer.status_code == 200 and not is_page(answer))


# --- Who comes -----------------------------------------------------------------------------------


def everybody(*, days: int, a_day: int) -> list[Visitor]:
    """One of each, on a site with `days` of usage, all of it looked at. Strangers come first."""
    making.make(days=days, a_day=a_day)
    comers = (newcomer(), halfway(), forgetful(), careful(), unasked(), beginner(), regular())
    everybody = [stranger(), *comers]
    assert all(visitor.pages for visitor in everybody)
    return everybody


def stranger() -> Visitor:
    """Finds a mail in the mailbox, which is open, and the model that was asked most lately."""
    mailbox.put(to="newcomer@example.org", subject="Confirm your address", text="123456\n")
    asked = ApiRequest.objects.filter(route__provider__enabled=True).latest("id")
    client = Client()
    client.get(mailbox.link())
    return Visitor("stranger", client, {"models/<slug>": asked.model})


def newcomer() -> Visitor:
    """Is asked for the code that was mailed."""
    client = Client()
    sign_up(client, "newcomer@example.org")
    return Visitor("newcomer", client, below="accounts/confirm-email/")


def halfway() -> Visitor:
    """Has said the password, and is asked for a second factor."""
    person = make_user(password=PASSWORD)
    add_factors(person)
    client = Client()
    sign_in(client, person.email)
    return Visitor("halfway", client, below="accounts/2fa/authenticate/")


def forgetful() -> Visitor:
    """Has followed the link for a new password."""
    person = make_user(password=PASSWORD)
    client = Client()
    client.post("/accounts/password/reset/", {"email": person.email})
    page = client.get(last_link(), follow=True)
    user, key = re.search(r"/key/(\w+)-([\w-]+)/$", page.request["PATH_INFO"]).groups()
    return Visitor(
        "forgetful", client, {RESET_LINK: user, f"{RESET_LINK}-<key>": key}, below=RESET_LINK
    )


def careful() -> Visitor:
    """Has a password and no second factor."""
    return Visitor("careful", just_signed_in(make_user(password=PASSWORD)), below="accounts/")


def unasked() -> Visitor:
    """Hasn't chosen yet which providers may answer."""
    client = just_signed_in(make_user(provider_choice=""))
    return Visitor("unasked", client, below="settings/privacy/choose")


def beginner() -> Visitor:
    """Has nothing yet, not even a password."""
    return Visitor("beginner", just_signed_in(make_user()))


def regular() -> Visitor:
    """The demo's person: has one of each thing, and both second factors."""
    person = User.objects.get(email=making.EMAIL)
    passkey = add_factors(person)
    has = Belongings(person)
    has.conversation = person.conversations.latest("id")
    has.reply = has.conversation.leaf
    logged = RequestContent.objects.filter(account_id=person.credit_account.id).latest("id")
    things = {place: thing_of(has) for place, thing_of in PLACES.items()}
    things["requests/<request_id>"] = logged.id
    return Visitor("regular", just_signed_in(person), {**things, PASSKEY: passkey.pk})


def add_factors(person: User):
    """An authenticator app, recovery codes and a passkey: the row of the passkey."""
    TOTP.activate(person, generate_totp_secret())
    RecoveryCodes.activate(person)
    return make_passkey(person)
