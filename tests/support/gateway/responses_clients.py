"""The Responses API of Kyma, asked through the official `openai` package."""

import openai
from openai.types.responses import Response

from gateway.models import ApiRequest
from tests.support.gateway.receipts import paid
from tests.support.gateway.responses_bodies import events_in
from tests.support.live import Customer


def ask(client: openai.OpenAI, token: str, **fields) -> Response:
    return client.responses.create(model="scripted", input=token, **fields)


def events_of(client: openai.OpenAI, token: str, **fields) -> list[dict]:
    """The events of a stream, each checked strictly against the type that the package has."""
    with client.responses.with_streaming_response.create(
        model="scripted", input=token, stream=True, **fields
    ) as raw:
        assert raw.headers["content-type"] == "text/event-stream; charset=utf-8"
        return events_in(raw.read())


def check_price(customer: Customer, response: Response) -> ApiRequest:
    """The customer's only answer told the tokens and the price that the books have."""
    usage = response.usage
    row = paid(customer, usage.cost)
    assert row.api == "responses"
    assert row.id.hex == response.id.removeprefix("resp_")
    assert (usage.input_tokens, usage.output_tokens) == (row.prompt_tokens, row.completion_tokens)
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    assert usage.input_tokens_details.cached_tokens == row.cached_tokens
    assert usage.output_tokens_details.reasoning_tokens == row.reasoning_tokens
    return row
