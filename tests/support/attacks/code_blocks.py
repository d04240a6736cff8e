"""Opens chats whose code takes Pygments days, and whose Markdown takes long."""

from collections import Counter

import requests

from accounts.models import User
from chat.models import Conversation
from tests.support.attacks.visits import LONGEST_ANSWER_S, again_and_again
from tests.support.chat.writing import talk

CHATS, BLOCKS, THREADS = 20, 20, 4


def forever(number: int) -> str:
    """A block of code in C; each repetition doubles the time that Pygments takes for it."""
    return f"```c\nint f{number}()" + "//\\\n" * 40 + "x\n```\n\n"


def prepare(user: User) -> list[str]:
    """Store chats, each with code of its own and long Markdown. Returns their ids."""
    hard = "![](" * 2_000 + "\n\n" + "|a" * 5_000 + "\n\n"
    chats: list[Conversation] = []
    for chat in range(CHATS):
        blocks = "".join(forever(chat * BLOCKS + number) for number in range(BLOCKS))
        chats.append(talk(user, "Show me some code.", blocks + hard))
    return [str(chat.id) for chat in chats]


def run(address: str, *, seconds: float, session: str, chats: list[str]) -> Counter[int]:
    def open_chat(client: requests.Session, number: int) -> requests.Response:
        chat = chats[number % len(chats)]
        return client.get(f"{address}/chat/{chat}", timeout=LONGEST_ANSWER_S)

    return again_and_again(open_chat, seconds=seconds, session=session, threads=THREADS)
