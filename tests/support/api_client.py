"""Asking /api/ as a program does."""

from django.test import Client

from accounts.models import ApiKey, User
from tests.support.api_things import BODIES, QUERIES, Things
from tests.support.factories import make_key

ALL_SCOPES = list(ApiKey.Scope.values)


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def by_key(user: User, *, scopes: list[str] = ALL_SCOPES, **fields) -> Client:
    """With a new key of `user`."""
    return bearing(make_key(user, name="asking", scopes=scopes, **fields)[1])


def bearing(text: str) -> Client:
    return Client(headers={"Authorization": f"Bearer {text}"})


def ask(client: Client, method: str, template: str, things: Things):
    """Call an operation on what is in `things`, as it works for their owner."""
    path = things.path(template)
    body = BODIES.get((method, template))
    if body is None:
        query = QUERIES.get((method, template))
        return client.generic(method.upper(), path, query_params=query)
    return getattr(client, method)(path, body, content_type="application/json")
