"""Keys that don't exist: how few queries they cost, and that others at the address are served."""

import asyncio
import secrets
import string
import time
import uuid

import pytest

from accounts import keys
from gateway.access import authentication, unknown_keys
from gateway.errors import TooManyRequests, Unauthenticated
from tests.support.factories import make_account, make_key, make_user

ALPHABET = string.ascii_letters + string.digits
PER_MINUTE = 5
FLOOD = 200


@pytest.fixture(autouse=True)
def fresh(monkeypatch, settings):
    settings.UNKNOWN_KEYS_PER_MINUTE = PER_MINUTE
    settings.CACHE_TTL_S = 60
    monkeypatch.setattr(unknown_keys, "known", unknown_keys.KnownKeys())
    monkeypatch.setattr(unknown_keys, "_lookups", unknown_keys.Lookups())
    monkeypatch.setattr(unknown_keys, "_tries", unknown_keys.Twin())


@pytest.fixture
def queries(committed, monkeypatch):
    """The look-ups in the database, each a query."""
    made = []

    def counted(look_up):
        def called(argument):
            made.append(argument)
            return look_up(argument)

        return called

    monkeypatch.setattr(keys, "authenticate", counted(keys.authenticate))
    monkeypatch.setattr(keys, "existing", counted(keys.existing))
    return made


def made_up() -> str:
    text = keys.PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(34))
    return text + keys._checksum(text)


async def outcome(text: str, ip: str = "192.0.2.1") -> str | Exception:
    try:
        caller = await authentication.authenticate({"authorization": f"Bearer {text}"}, ip)
    except (Unauthenticated, TooManyRequests) as error:
        return error
    return caller.key_id


def test_a_stream_of_unknown_keys_costs_few_queries(queries):
    async def flood():
        return await asyncio.gather(*(outcome(made_up()) for _ in range(FLOOD)))

    answers = asyncio.run(flood())
    assert [one.status for one in answers].count(401) == PER_MINUTE
    refused = [one for one in answers if one.status == 429]
    assert len(refused) == FLOOD - PER_MINUTE
    assert refused[0].code == "unknown_keys_per_minute"
    assert 0 < int(refused[0].headers["Retry-After"]) <= 60
    assert len(queries) == PER_MINUTE + 1


def test_valid_keys_of_the_same_address_work_all_the_same(queries):
    user = make_user(f"{uuid.uuid4().hex}@example.org")
    make_account(user)
    (known, known_text), (new, new_text) = make_key(user), make_key(user)

    async def story():
        assert await outcome(known_text) == known.id.hex
        await asyncio.gather(*(outcome(made_up()) for _ in range(FLOOD)))
        waiting = [asyncio.ensure_future(outcome(made_up())) for _ in range(FLOOD)]
        begun_at = time.monotonic()
        assert await outcome(known_text) == known.id.hex
        assert time.monotonic() - begun_at < unknown_keys.LOOK_UP_EVERY_S, "it didn't wait"
        assert await outcome(new_text) == new.id.hex
        assert {one.status for one in await asyncio.gather(*waiting)} == {429}

    asyncio.run(story())


def test_another_address_has_its_own_tries(queries):
    async def story():
        await asyncio.gather(*(outcome(made_up()) for _ in range(2 * PER_MINUTE)))
        return await outcome(made_up(), "192.0.2.2")

    assert asyncio.run(story()).status == 401


def test_the_same_unknown_key_is_looked_up_once(queries):
    text = made_up()

    async def story():
        return [(await outcome(text)).message for _ in range(20)]

    assert asyncio.run(story()) == ["This key doesn't exist."] * 20
    assert len(queries) == 1


def test_what_has_not_the_form_of_a_key_costs_no_query(queries):
    async def story():
        return await asyncio.gather(*(outcome(f"kyma-{n}") for n in range(FLOOD)))

    assert {one.status for one in asyncio.run(story())} == {401}
    assert queries == []


def test_beyond_those_that_wait_a_key_is_refused_at_once(queries, monkeypatch):
    monkeypatch.setattr(unknown_keys, "MOST_WAITING", 10)

    async def story():
        return await asyncio.gather(*(outcome(made_up()) for _ in range(FLOOD)))

    assert [one.status for one in asyncio.run(story())].count(429) == FLOOD - PER_MINUTE
    assert len(queries) == PER_MINUTE + 1


def test_a_failure_of_the_look_up_reaches_all_who_wait(queries, monkeypatch):
    async def story():
        await asyncio.gather(*(outcome(made_up()) for _ in range(PER_MINUTE)))
        monkeypatch.setattr(keys, "existing", fail)
        return await asyncio.gather(*(outcome(made_up()) for _ in range(3)), return_exceptions=True)

    assert {getattr(one, "status", None) for one in asyncio.run(story())} == {503}


def fail(digests):
    raise unknown_keys.DatabaseError


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(unknown_keys, "MOST_REMEMBERED", 3)
    known = unknown_keys.KnownKeys()
    for name in "abcd":
        known.worked(name)
    assert [name in known for name in "abcd"] == [False, True, True, True]
    known.failed("d", "revoked")
    assert "d" not in known
    assert known.why_refused("d") == "revoked"
    assert known.why_refused("a") is None
