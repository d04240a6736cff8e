"""The `anthropic` package's tool runner, which wants a thread that Kyma doesn't keep."""

import anthropic
import pytest

from tests.support.gateway.anthropic_clients import asked, client_of
from tests.support.live import eventually
from tests.support.provider.scripts import answer, stream, tool_call_answer, tool_call_stream

CALLS = [("weather", {"city": "Oslo", "days": 3}), ("weather", {"city": "Zürich ☀", "days": 1})]
WHOLE = [tool_call_answer(CALLS), answer("Take a hat.")]
STREAMED = [tool_call_stream(CALLS), stream(["Take", " a hat."])]


@anthropic.beta_tool
def weather(city: str, days: int) -> str:
    return f"{city}: sun for {days} days"


@pytest.mark.parametrize("script", [WHOLE, STREAMED], ids=["whole", "streamed"])
def test_it_goes_on_with_the_whole_conversation(customer, fake, script):
    streamed = script is STREAMED
    token = fake.script_attempts(script)
    with client_of(customer) as client:
        runner = client.beta.messages.tool_runner(**asked(token), tools=[weather], stream=streamed)
        turns = [turn.get_final_message() if streamed else turn for turn in runner]
    assert turns[-1].content[0].text == "Take a hat."
    _, second = [call.json for call in fake.calls(token)]
    user, called, *results = second["messages"]
    assert user["content"] == token
    assert len(called["tool_calls"]) == 2
    assert [result["content"] for result in results] == [
        f"{call['city']}: sun for {call['days']} days" for _, call in CALLS
    ]
    rows = eventually(customer.requests, lambda rows: len(rows) == 3)
    refused, *billed = sorted(rows, key=lambda row: -row.status)
    assert (refused.status, refused.cost_nano) == (400, 0)
    assert all(row.status == 200 and row.cost_nano for row in billed)
