"""Two hundred requests at once, on two gateway processes, each as dear as its hold.

What they race for is enough for exactly AFFORDABLE of them.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import aiohttp

from gateway.catalogue import entries
from gateway.dialects.chat import request as chat_request
from gateway.serving import reservation
from tests.support.provider.scripts import answer, either, stream, usage_of

REQUESTS = 200
AFFORDABLE = 10
MAX_TOKENS = 20
SLOWEST_S = 60


def body_of(token: str, *, streamed: bool) -> dict:
    body = {
        "model": "scripted",
        "messages": [{"role": "user", "content": token}],
        "max_tokens": MAX_TOKENS,
    }
    wants_usage = {"stream": True, "stream_options": {"include_usage": True}}
    return {**body, **wants_usage} if streamed else body


def most_that_it_costs() -> tuple[int, int]:
    """The hold of one request in nano-dollars, and the prompt tokens that it is made for."""
    entry = entries.read_catalogue()["scripted"]
    bounds = set()
    for streamed in (True, False):
        chat = chat_request.parse(body_of("script:" + 16 * "0", streamed=streamed))
        ask = reservation.ask_for(chat, entry.candidates)
        prompt_tokens = reservation.prompt_bound(chat, entry.candidates[0])
        bounds.add((ask.amount(MAX_TOKENS), prompt_tokens))
    (bound,) = bounds
    return bound


def dearest_script(fake, prompt_tokens: int) -> str:
    """An answer that costs all that is held for it."""
    pieces = ["word "] * MAX_TOKENS
    plain = answer("".join(pieces), prompt_tokens=prompt_tokens, completion_tokens=MAX_TOKENS)
    usage = usage_of(prompt_tokens, MAX_TOKENS)
    return fake.script(either(stream(pieces, usage=usage), plain))


def ask_all(gateways, customer, token) -> tuple[list[tuple[int, str]], list[tuple[int, int]]]:
    """Status and text of each answer; and (balance, held) as they were seen meanwhile."""
    books = []
    with ThreadPoolExecutor(1) as thread:
        asking = thread.submit(asyncio.run, _ask_all(gateways, customer, token))
        while not asking.done():
            customer.account.refresh_from_db()
            books.append((customer.account.balance_nano, customer.account.held_nano))
    return asking.result(), books


async def _ask_all(gateways, customer, token) -> list[tuple[int, str]]:
    async def ask(number: int) -> tuple[int, str]:
        url = f"{gateways[number % 2].url}/v1/chat/completions"
        body = body_of(token, streamed=number // 2 % 2 == 0)
        async with session.post(url, json=body) as response:
            return response.status, await response.text()

    timeout = aiohttp.ClientTimeout(SLOWEST_S)
    async with aiohttp.ClientSession(
        headers=customer.headers, connector=aiohttp.TCPConnector(limit=0), timeout=timeout
    ) as session:
        return await asyncio.gather(*map(ask, range(REQUESTS)))
