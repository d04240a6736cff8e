"""Searches 20 MB of one's own chats, for a hundred words and for few."""

from collections import Counter

import requests

from accounts.models import User
from tests.support.attacks.visits import LONGEST_ANSWER_S, again_and_again
from tests.support.chat.writing import talk

MESSAGES, LENGTH, THREADS = 20, 1_000_000, 4
QUERIES = ("a " * 100, "a a a a a a a a a b", "needle", "a" * 90 + "b" + "a" * 90)


def prepare(user: User) -> None:
    """Store the chats. The account has no limits, such as that of searches per minute."""
    user.credit_account.unlimited = True
    user.credit_account.save(update_fields=["unlimited"])
    texts = ("a " * LENGTH, "a" * LENGTH, "Some hay. " * LENGTH, "жa " * LENGTH)
    talk(user, *(texts[number % len(texts)][:LENGTH] for number in range(MESSAGES)))


def run(address: str, *, seconds: float, session: str) -> Counter[int]:
    def search(client: requests.Session, number: int) -> requests.Response:
        query = QUERIES[number % len(QUERIES)]
        return client.get(f"{address}/chat/all", params={"q": query}, timeout=LONGEST_ANSWER_S)

    return again_and_again(search, seconds=seconds, session=session, threads=THREADS)
