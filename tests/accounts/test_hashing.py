"""Passwords are hashed a few at a time, and every page says so that has waited in vain."""

import re
import threading
from pathlib import Path

import pytest
from django.core import mail
from django.db import connection
from django.test import Client

from accounts import hashing
from accounts.errors import PasswordsBusy
from accounts.models import User
from kyma.api import problems
from tests.support.account_pages import (
    PASSWORD,
    is_signed_in,
    just_signed_in,
    last_link,
    sign_in,
    sign_up,
    text_of,
)
from tests.support.attacks import log_ins
from tests.support.factories import make_user
from tests.support.live import Gateway, eventually

AT_ONCE = 2
PATIENT_S = 30.0
TRY_AGAIN = "Nothing was changed: try again in a moment."
NEW_PASSWORD = "battery staple correct"
NEW = {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD}


@pytest.fixture
def dora(books):
    return make_user("dora@example.org", password=PASSWORD)


@pytest.fixture
def busy(monkeypatch):
    """Take the only turn as soon as it is called, until the end of the test."""
    turns = hashing.Turns(1, wait_s=0)

    def begin():
        monkeypatch.setattr(hashing, "turns", turns)
        held.__enter__()

    held = turns.take()
    yield begin
    monkeypatch.undo()


def check_busy(response) -> None:
    assert response.status_code == 503
    assert response["Retry-After"]
    assert TRY_AGAIN in text_of(response)
    assert PASSWORD not in response.content.decode()


# --- Pages ---------------------------------------------------------------------------------------


def test_signing_in_keeps_the_address_and_says_the_same_of_known_and_unknown_ones(
    dora, client, busy
):
    busy()
    pages = []
    for address in ("dora@example.org", "nobody@example.org"):
        response = sign_in(client, address)
        check_busy(response)
        assert f'value="{address}"' in response.content.decode()
        pages.append(text_of(response))
    assert pages[0] == pages[1]


def test_a_busy_answer_is_no_wrong_try(dora, client, busy, monkeypatch):
    busy()
    for _ in range(6):
        check_busy(sign_in(client, "dora@example.org"))
    monkeypatch.setattr(hashing, "turns", hashing.Turns(1, wait_s=0))
    sign_in(client, "dora@example.org")
    assert is_signed_in(client)


@pytest.mark.parametrize("address", ["new@example.org", "dora@example.org"])
def test_signing_up_keeps_the_address_and_makes_no_account(dora, client, busy, address):
    busy()
    response = sign_up(client, address)
    check_busy(response)
    assert f'value="{address}"' in response.content.decode()
    assert User.objects.get() == dora
    assert mail.outbox == []


def test_the_hash_of_a_new_password_is_made_before_the_transaction(committed_books, monkeypatch):
    inside = []
    take = hashing.Turns.take

    def taken(self):
        inside.append(connection.in_atomic_block)
        return take(self)

    monkeypatch.setattr(hashing.Turns, "take", taken)
    sign_up(Client(), "new@example.org")
    assert User.objects.get().check_password(PASSWORD)
    assert inside[0] is False


@pytest.mark.parametrize("path", ["reauthenticate", "password/change"])
def test_pages_of_a_signed_in_person_answer_too(dora, client, busy, path):
    sign_in(client, "dora@example.org")
    busy()
    fields = {"password": PASSWORD, "oldpassword": PASSWORD, **NEW}
    check_busy(client.post(f"/accounts/{path}/", fields))
    dora.refresh_from_db()
    assert is_signed_in(client)


def test_setting_a_first_password_answers_too(books, busy):
    client = just_signed_in(make_user("erik@example.org"))
    busy()
    check_busy(client.post("/accounts/password/set/", NEW))


def test_the_link_of_a_reset_still_works_afterwards(dora, client, busy, monkeypatch):
    client.post("/accounts/password/reset/", {"email": "dora@example.org"})
    action = client.get(last_link(), follow=True).context["action_url"]
    busy()
    check_busy(client.post(action, NEW))
    monkeypatch.setattr(hashing, "turns", hashing.Turns(1, wait_s=0))
    client.post(action, NEW)
    dora.refresh_from_db()
    assert dora.check_password(NEW_PASSWORD)


def test_the_admin_answers_by_a_page_of_its_own(books, busy):
    client = just_signed_in(make_user("root@example.org", is_staff=True, is_superuser=True))
    busy()
    fields = {"email": "new@example.org", "usable_password": "true", **NEW}
    check_busy(client.post("/admin/accounts/user/add/", fields))


def test_a_program_gets_a_problem():
    answer = problems.handle(PasswordsBusy(), {})
    assert (answer.status_code, answer.data["code"]) == (503, "busy")
    assert TRY_AGAIN in answer.data["detail"]
    assert answer.headers["Retry-After"]


# --- Turns ---------------------------------------------------------------------------------------


class Crowd:
    """Threads that each take a turn and keep it until they may go."""

    def __init__(self, turns: hashing.Turns, size: int) -> None:
        self._turns = turns
        self._now = self.most = 0
        self.may_go = threading.Event()
        self.inside: list[str] = []
        self.threads = [threading.Thread(target=self._run) for _ in range(size)]
        for one in self.threads:
            one.start()

    def _run(self) -> None:
        with self._turns.take():
            self._now += 1
            self.most = max(self.most, self._now)
            self.inside.append(threading.current_thread().name)
            self.may_go.wait(PATIENT_S)
            self._now -= 1


def test_no_more_than_so_many_are_inside_at_once():
    crowd = Crowd(hashing.Turns(AT_ONCE, PATIENT_S), 10)
    eventually(lambda: len(crowd.inside), lambda count: count == AT_ONCE)
    crowd.may_go.set()
    for one in crowd.threads:
        one.join()
    assert len(crowd.inside) == 10
    assert crowd.most == AT_ONCE


def test_a_turn_that_does_not_come_in_time_is_given_up_and_one_that_fails_is_given_back():
    turns = hashing.Turns(1, wait_s=0.01)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), turns.take():
            raise ZeroDivisionError
    with turns.take(), pytest.raises(PasswordsBusy), turns.take():
        pass
    with turns.take():
        pass


def test_nobody_keeps_a_connection_to_the_database_while_waiting(committed_books):
    turns = hashing.Turns(1, wait_s=0)
    User.objects.count()
    assert connection.connection is not None
    with turns.take():
        with pytest.raises(PasswordsBusy), turns.take():
            pass
        assert connection.connection is None


def test_a_request_that_waited_too_long_outside_is_refused_at_once():
    turns = hashing.Turns(1, wait_s=PATIENT_S)
    with hashing.refused(), pytest.raises(PasswordsBusy), turns.take():
        pass
    with turns.take():
        pass


# --- A real process ------------------------------------------------------------------------------


def memory_mb(gateway: Gateway, what: str) -> float:
    status = Path(f"/proc/{gateway.pid}/status").read_text()
    return int(re.search(rf"{what}:\s+(\d+) kB", status)[1]) / 1024


@pytest.mark.proof
def test_sixty_sign_ins_at_once_take_little_memory(committed):
    with Gateway(DJANGO_SETTINGS_MODULE="kyma.settings") as gateway:
        log_ins.log_in(gateway.url, "first@example.org")
        idle_mb = memory_mb(gateway, "VmRSS")
        Path(f"/proc/{gateway.pid}/clear_refs").write_text("5")  # Begin a new peak.
        answers = log_ins.run(gateway.url, seconds=4)
        assert answers[503] > answers[200] > 0
        assert memory_mb(gateway, "VmHWM") < idle_mb + 300
