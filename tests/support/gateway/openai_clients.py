"""The official `openai` package pointed at Kyma, and what its answers cost."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import openai

from tests.support.gateway.receipts import paid
from tests.support.live import Customer
from tests.support.provider.fake import FakeProvider


def client_of(customer: Customer, **options) -> openai.OpenAI:
    """A client with the customer's key that doesn't repeat what failed, unless told to."""
    return openai.OpenAI(**_options(customer) | options)


def run_async(customer: Customer, story: Callable[[openai.AsyncOpenAI], Awaitable[Any]]) -> Any:
    """What `story` returns, which is given an async client."""

    async def whole() -> Any:
        async with openai.AsyncOpenAI(**_options(customer)) as client:
            return await story(client)

    return asyncio.run(whole())


def _options(customer: Customer) -> dict:
    base_url = f"{customer.gateway.url}/v1"
    return {"base_url": base_url, "api_key": customer.key_text, "max_retries": 0, "timeout": 60}


def says(token: str) -> list[dict]:
    """The messages that make the scripted provider play `token`."""
    return [{"role": "user", "content": f"Please: {token}"}]


def upstream(fake: FakeProvider, token: str) -> dict:
    """The body that the scripted provider got, asked once."""
    (call,) = fake.calls(token)
    return call.json


def check_price(customer: Customer, usage) -> None:
    """The customer's only answer told the tokens and the price that the books have."""
    row = paid(customer, usage.cost)
    assert usage.prompt_tokens == row.prompt_tokens
    assert usage.completion_tokens == row.completion_tokens
