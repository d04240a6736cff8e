"""One of each thing that a person can own, for tests that go through all routes.

`PLACES` says which thing's id stands at each place of the URL configuration; whoever adds a
route with a new parameter adds a line there, or a test says so.
"""

import itertools
import uuid
from collections.abc import Callable, Iterable
from functools import cached_property

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.test import Client

from accounts.keyring import data_keys
from accounts.models import ApiKey, User
from chat.models import Conversation, Message
from gateway.v1 import urls as gateway_urls
from tests.support.api_things import PLACES as API_PLACES
from tests.support.api_things import Things
from tests.support.chat.writing import say, talk
from tests.support.factories import make_key
from tests.support.routes import Route, routes


class Belongings:
    """What `owner` has. Each thing is made when it is first asked for."""

    def __init__(self, owner: User):
        self.owner = owner

    @cached_property
    def key(self) -> ApiKey:
        return make_key(self.owner, name=f"key-{uuid.uuid4().hex}")[0]

    @cached_property
    def conversation(self) -> Conversation:
        return talk(self.owner, title=f"title-{uuid.uuid4().hex}")

    @cached_property
    def reply(self) -> Message:
        role, text = Message.Role.ASSISTANT, f"text-{uuid.uuid4().hex}"
        return say(self.conversation, text, role=role)

    @cached_property
    def session(self) -> UserSession:
        client = Client()
        client.force_login(self.owner)
        fields = {"session_key": client.session.session_key, "ip": "192.0.2.7"}
        return UserSession.objects.create(user=self.owner, user_agent="Firefox/140", **fields)

    @cached_property
    def at_the_api(self) -> Things:
        return Things(self.owner)

    def marks(self) -> list[str]:
        """Words that only pages of the owner may show."""
        cipher = data_keys.cipher_of(self.owner.id)
        said = [self.reply.opened(cipher, "text"), self.conversation.opened(cipher, "title")]
        return [self.owner.email, self.key.name, *said]


# What is somebody's.
PLACES: dict[str, Callable[[Belongings], object]] = {
    "v1/keys/<key_hash>": lambda has: has.key.id.hex,
    "chat/<conversation_id>": lambda has: has.conversation.id,
    "chat/messages/<message_id>": lambda has: has.reply.id,
    "settings/sessions/<pk>": lambda has: has.session.pk,
    "keys/<key_id>": lambda has: has.key.id,
    "requests/<request_id>": lambda has: has.at_the_api.request.id,
    **{
        place: lambda has, name=name: getattr(has.at_the_api, name).id
        for place, name in API_PLACES.items()
    },
}

# What is nobody's, and for all to name.
SHARED: dict[str, object] = {
    "v1/models/<slug>": "scripted",
    "models/<slug>": "scripted",
    # To stop one that isn't one's own does nothing, and tells nothing.
    "chat/temporary/<reply_id>": uuid.UUID(int=0),
    "api/models/<slug>": "scripted",
}

# What a query may name: route, parameter, thing.
QUERIES: list[tuple[str, str, Callable[[Belongings], object]]] = [
    ("/api/usage", "key", lambda has: has.key.id),
    ("/api/usage/lines", "key", lambda has: has.key.id),
    ("/api/requests", "key", lambda has: has.key.id),
    ("/api/requests", "cursor", lambda has: has.at_the_api.request.id),
]

# Signing in concerns nobody's things; the admin is for staff, with permissions of its own.
ELSEWHERE = ("admin/", "accounts/")


def routes_of_people(urlconf: str) -> list[Route]:
    return [route for route in routes(urlconf) if not route.text.startswith(ELSEWHERE)]


PAGES = routes_of_people(settings.ROOT_URLCONF)
GATEWAY = routes_of_people(gateway_urls.__name__)


def owned_places(route: Route) -> list[str]:
    return [place for place in route.places() if place not in SHARED]


def unknown_places(route: Route) -> list[str]:
    return [place for place in route.places() if place not in SHARED | PLACES]


def path_to(route: Route, owners: Iterable[Belongings]) -> str:
    """The path of `route`, with each place that is somebody's filled with the next owner's."""
    remaining = iter(owners)
    values = {
        place: SHARED[place] if place in SHARED else PLACES[place](next(remaining))
        for place in route.places()
    }
    return "/" + route.path(values)


def foreign_paths(route: Route, *, mine: Belongings, theirs: Belongings) -> list[str]:
    """The paths of `route` with something of theirs, in every mixture with what is mine."""
    mixtures = itertools.product((mine, theirs), repeat=len(owned_places(route)))
    return [path_to(route, owners) for owners in mixtures if theirs in owners]
