"""Sixty people who sign in at once, again and again, each from an address of its own."""

import http.client
import threading
import time
from collections import Counter
from urllib.parse import urlencode, urlsplit

AT_ONCE = 60
TIMEOUT_S = 30
TOKEN = "a" * 32  # A stranger chooses both the cookie and the field that must be equal.


def run(address: str, *, seconds: float) -> Counter[int]:
    """Sign in with wrong passwords at the Kyma at `address`. Returns the answers by status."""
    ends_at = time.monotonic() + seconds
    statuses: Counter[int] = Counter()
    attackers = [
        threading.Thread(target=_attack, args=[address, number, ends_at, statuses])
        for number in range(AT_ONCE)
    ]
    for one in attackers:
        one.start()
    for one in attackers:
        one.join()
    return statuses


def _attack(address: str, number: int, ends_at: float, statuses: Counter[int]) -> None:
    tries = 0
    while time.monotonic() < ends_at:
        # Each try comes from another address, below every limit on addresses and on accounts.
        source = f"127.{1 + number}.{tries // 250 % 250}.{1 + tries % 250}"
        statuses[log_in(address, f"{number}-{tries}@example.org", source=source)] += 1
        tries += 1


def log_in(address: str, email: str, *, password: str = "wrong", source: str = "") -> int:
    """Post one sign-in and return the status of the answer."""
    place = urlsplit(address)
    body = urlencode({"csrfmiddlewaretoken": TOKEN, "login": email, "password": password})
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Cookie": f"csrftoken={TOKEN}",
    }
    connection = http.client.HTTPConnection(
        str(place.hostname), place.port, timeout=TIMEOUT_S, source_address=(source, 0)
    )
    try:
        connection.request("POST", "/accounts/login/", body, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()
