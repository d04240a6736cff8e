"""All pages that a browser can show somebody, found through the URL configuration."""

import itertools

from django.conf import settings
from django.test import Client

from accounts.models import User
from tests.belongings import Belongings, owned_places, path_to, unknown_places
from tests.routes import routes

PHONE = {"width": 360, "height": 780}
DESKTOP = {"width": 1280, "height": 800}
SIZES = {"phone": PHONE, "desktop": DESKTOP}
SCHEMES = ("light", "dark")
NOT_OURS = ("admin/",)  # Django's own pages


def public_pages() -> list[str]:
    return _pages(Client(), None)


def pages_of(person: User, belongings: Belongings | None = None) -> list[str]:
    """The pages that only who is signed in sees; with `belongings`, those about each thing too."""
    client = Client()
    client.force_login(person)
    public = public_pages()
    return [path for path in _pages(client, belongings) if path not in public]


def _pages(client: Client, belongings: Belongings | None) -> list[str]:
    paths = []
    for route in routes(settings.ROOT_URLCONF):
        if route.text.startswith(NOT_OURS) or unknown_places(route):
            continue
        if belongings is None and owned_places(route):
            continue
        path = path_to(route, itertools.repeat(belongings))
        if _is_page(client.get(path)):
            paths.append(path)
    return paths


def _is_page(answer) -> bool:
    """A whole page: no redirect, no download, no part of a page."""
    if answer.status_code != 200 or answer.streaming:
        return False
    return answer.content.lstrip().lower().startswith(b"<!doctype html>")
