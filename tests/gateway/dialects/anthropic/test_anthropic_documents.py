"""Documents and search results, sent by the official `anthropic` package over HTTP."""

import pytest
from anthropic.types import (
    CitationsConfigParam,
    ContentBlockSourceParam,
    DocumentBlockParam,
    PlainTextSourceParam,
    SearchResultBlockParam,
    TextBlockParam,
    ToolResultBlockParam,
)

from gateway.log.transcript import transcript_of
from tests.support.gateway.anthropic_clients import asked, client_of
from tests.support.live import eventually
from tests.support.provider.scripts import answer, tool_call_answer

LOOK = {"name": "look", "input_schema": {"type": "object"}}


@pytest.fixture
def client(customer):
    with client_of(customer) as client:
        yield client


def test_documents_and_search_results_go_up_as_text(client, customer, fake):
    token = fake.script_attempts([tool_call_answer([("look", {})]), answer("Green, and blue.")])
    page = PlainTextSourceParam(type="text", media_type="text/plain", data="The grass is green.")
    asked_of = DocumentBlockParam(
        type="document", title="Lawn", source=page, cache_control={"type": "ephemeral"}
    )
    question = asked([asked_of, {"type": "text", "text": token}], tools=[LOOK])
    message = client.messages.create(**question)
    found = SearchResultBlockParam(
        type="search_result",
        title="Sky",
        source="https://example.org/sky",
        content=[TextBlockParam(type="text", text="The sky is blue.")],
        citations=CitationsConfigParam(enabled=False),
    )
    parts = ContentBlockSourceParam(type="content", content="Dew.")
    told = [found, DocumentBlockParam(type="document", source=parts)]
    result = ToolResultBlockParam(
        type="tool_result", tool_use_id=message.content[0].id, content=told
    )
    question["messages"] += [
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": [result]},
    ]
    assert client.messages.create(**question).content[0].text == "Green, and blue."

    user, _, reply = fake.calls(token)[1].json["messages"]
    lawn = "<document>\n<title>Lawn</title>\nThe grass is green.\n</document>\n"
    assert [part["text"] for part in user["content"]] == [lawn, token]
    assert reply["content"] == (
        "<search_result>\n<title>Sky</title>\n<source>https://example.org/sky</source>\n"
        "The sky is blue.\n</search_result>\n\n<document>\nDew.\n</document>\n"
    )
    rows = eventually(customer.requests, lambda rows: len(rows) == 2)
    assert [row.status for row in rows] == [200, 200]
    assert "The sky is blue." in transcript_of(customer.content(rows[1].id)).messages[2].text
