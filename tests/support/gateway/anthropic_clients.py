"""The official `anthropic` package pointed at Kyma."""

import anthropic
from anthropic.types import Message

from gateway.models import ApiRequest
from tests.support.gateway.receipts import paid
from tests.support.live import Customer


def client_of(customer: Customer, **options) -> anthropic.Anthropic:
    """A client with the customer's key that doesn't repeat what failed, unless told to."""
    defaults = {"api_key": customer.key_text, "max_retries": 0, "timeout": 60}
    return anthropic.Anthropic(**{"base_url": customer.gateway.url} | defaults | options)


def asked(prompt: str | list, **fields) -> dict:
    """The arguments of a question that makes the scripted provider play what `prompt` names."""
    messages = [{"role": "user", "content": prompt}]
    return {"model": "scripted", "max_tokens": 100, "messages": messages, **fields}


def check_price(customer: Customer, message: Message) -> ApiRequest:
    """The customer's only answer told the tokens and the price that the books have."""
    usage = message.usage
    row = paid(customer, usage.cost)
    assert row.api == "messages"
    assert row.id.hex == message.id.removeprefix("msg_")
    assert usage.input_tokens + usage.cache_read_input_tokens == row.prompt_tokens
    assert usage.cache_read_input_tokens == row.cached_tokens
    assert usage.output_tokens == row.completion_tokens
    return row
