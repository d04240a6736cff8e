"""Chat templates that demand an order of the messages: Kyma asks once more, in that order."""

import pytest

from tests.support.live import data_of
from tests.support.provider.scripts import answer, either, error, stream

REFUSALS = [
    "System message must be at the beginning.",  # Qwen's template
    "Conversation roles must alternate user/assistant/user/assistant/...",  # Gemma's
    "Unexpected message role.",  # Mistral's
]
GOOD = either(stream("Four."), answer("Four."))
STRICT = [
    {"role": "system", "content": "Be brief.\n\nUse digits."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi"},
]


def messages_with(token: str) -> list[dict]:
    return [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": "Use digits."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "Two and two?"},
        {"role": "user", "content": token},
    ]


@pytest.mark.parametrize("message", REFUSALS)
def test_a_refused_order_is_mended_and_the_same_provider_asked_again(customer, fake, message):
    token = fake.script_attempts([error(400, message), GOOD])
    response = customer.post({"model": "scripted", "messages": messages_with(token)})
    assert response.json()["choices"][0]["message"]["content"] == "Four."
    first, second = (call.json["messages"] for call in fake.calls(token))
    assert first == messages_with(token)
    assert second == [*STRICT, {"role": "user", "content": f"Two and two?\n\n{token}"}]
    row = customer.settled_request()
    assert [attempt["status"] for attempt in row.attempts] == [400, 200]
    assert len(customer.usage_entries()) == 1


def test_a_stream_is_asked_for_again_too(customer, fake):
    token = fake.script_attempts([error(400, REFUSALS[0]), GOOD])
    body = {"model": "scripted", "messages": messages_with(token), "stream": True}
    assert data_of(customer.post(body))[-1] == "[DONE]"
    assert fake.count(token) == 2


@pytest.mark.parametrize("message", [*REFUSALS[:1], "The field `stop` is unknown."])
def test_other_refusals_and_those_of_a_strict_order_are_final(customer, fake, message):
    token = fake.script_attempts([error(400, message), GOOD])
    messages = [{"role": "user", "content": token}]
    if "stop" in message:
        messages = messages_with(token)
    response = customer.post({"model": "scripted", "messages": messages})
    assert response.status_code == 400
    assert fake.count(token) == 1
