"""Three ways of asking Kyma through the official packages, each with the same few verbs.

ask      put turns to the model "scripted"; the package's own object, gathered if streamed
said     what that object puts into the conversation for the next turn
results  what the caller's tools found, as the next turn
"""

import base64
from contextlib import AbstractContextManager
from typing import Any

import orjson
from pydantic import BaseModel

from tests.support.gateway import anthropic_clients, openai_clients
from tests.support.live import Customer

PNG = b"\x89PNG\r\n\x1a\n"
DATA_URL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
WEB_URL = "https://example.org/cat.png"
DESCRIPTION = "The weather in a city."
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}

Call = tuple[str, str, dict]  # its id, the name of the function, the arguments


class Chat:
    name = "chat"
    tool = {
        "type": "function",
        "function": {
            "name": "weather",
            "description": DESCRIPTION,
            "parameters": PARAMETERS,
            "strict": True,
        },
    }
    image_parts = (
        {"type": "image_url", "image_url": {"url": DATA_URL}},
        {"type": "image_url", "image_url": {"url": WEB_URL}},
    )
    text_type = "text"
    thinks: dict = {}

    @staticmethod
    def client(customer: Customer) -> AbstractContextManager:
        return openai_clients.client_of(customer)

    @staticmethod
    def ask(client, turns: list, *, streamed: bool, wanted: type[BaseModel] | None = None, **more):
        fields = {"model": "scripted", "messages": turns, **more}
        if wanted:
            fields["response_format"] = wanted
        if streamed:
            with client.chat.completions.stream(**fields) as events:
                return events.get_final_completion()
        if wanted:
            return client.chat.completions.parse(**fields)
        return client.chat.completions.create(**fields)

    @staticmethod
    def text(done) -> str:
        return done.choices[0].message.content

    @staticmethod
    def parsed(done) -> Any:
        return done.choices[0].message.parsed

    @staticmethod
    def thought(done) -> str:
        return done.choices[0].message.reasoning_content

    @staticmethod
    def calls(done) -> list[Call]:
        assert done.choices[0].finish_reason == "tool_calls"
        found = done.choices[0].message.tool_calls
        return [(one.id, one.function.name, orjson.loads(one.function.arguments)) for one in found]

    @staticmethod
    def said(done) -> list:
        return [done.choices[0].message]

    @staticmethod
    def results(found: dict[str, str]) -> list:
        return [
            {"role": "tool", "tool_call_id": call_id, "content": text}
            for call_id, text in found.items()
        ]


class Responses:
    name = "responses"
    tool = {
        "type": "function",
        "name": "weather",
        "description": DESCRIPTION,
        "parameters": PARAMETERS,
        "strict": True,
    }
    image_parts = (
        {"type": "input_image", "image_url": DATA_URL},
        {"type": "input_image", "image_url": WEB_URL},
    )
    text_type = "input_text"
    thinks: dict = {}

    @staticmethod
    def client(customer: Customer) -> AbstractContextManager:
        return openai_clients.client_of(customer)

    @staticmethod
    def ask(client, turns: list, *, streamed: bool, wanted: type[BaseModel] | None = None, **more):
        fields = {"model": "scripted", "input": turns, **more}
        if wanted:
            fields["text_format"] = wanted
        if streamed:
            with client.responses.stream(**fields) as events:
                return events.get_final_response()
        return client.responses.parse(**fields) if wanted else client.responses.create(**fields)

    @staticmethod
    def text(done) -> str:
        return done.output_text

    @staticmethod
    def parsed(done) -> Any:
        return done.output_parsed

    @staticmethod
    def thought(done) -> str:
        return "".join(
            part.text for item in done.output if item.type == "reasoning" for part in item.content
        )

    @staticmethod
    def calls(done) -> list[Call]:
        assert {item.type for item in done.output} == {"function_call"}
        return [(one.call_id, one.name, orjson.loads(one.arguments)) for one in done.output]

    @staticmethod
    def said(done) -> list:
        return done.output

    @staticmethod
    def results(found: dict[str, str]) -> list:
        return [
            {"type": "function_call_output", "call_id": call_id, "output": text}
            for call_id, text in found.items()
        ]


class Messages:
    name = "messages"
    tool = {"name": "weather", "description": DESCRIPTION, "input_schema": PARAMETERS}
    image_parts = (
        {
            "type": "image",
            "source": {
                "type": "base64",
                "media_type": "image/png",
                "data": base64.b64encode(PNG).decode(),
            },
        },
        {"type": "image", "source": {"type": "url", "url": WEB_URL}},
    )
    text_type = "text"
    thinks = {"thinking": {"type": "adaptive"}}

    @staticmethod
    def client(customer: Customer) -> AbstractContextManager:
        return anthropic_clients.client_of(customer)

    @staticmethod
    def ask(client, turns: list, *, streamed: bool, wanted: type[BaseModel] | None = None, **more):
        fields = {"model": "scripted", "max_tokens": 100, "messages": turns, **more}
        if wanted:
            fields["output_format"] = wanted
        if streamed:
            with client.messages.stream(**fields) as events:
                return events.get_final_message()
        return client.messages.parse(**fields) if wanted else client.messages.create(**fields)

    @staticmethod
    def text(done) -> str:
        return "".join(block.text for block in done.content if block.type == "text")

    @staticmethod
    def parsed(done) -> Any:
        return done.parsed_output

    @staticmethod
    def thought(done) -> str:
        return "".join(block.thinking for block in done.content if block.type == "thinking")

    @staticmethod
    def calls(done) -> list[Call]:
        assert done.stop_reason == "tool_use"
        return [(block.id, block.name, block.input) for block in done.content]

    @staticmethod
    def said(done) -> list:
        return [{"role": "assistant", "content": done.content}]

    @staticmethod
    def results(found: dict[str, str]) -> list:
        blocks = [
            {"type": "tool_result", "tool_use_id": call_id, "content": text}
            for call_id, text in found.items()
        ]
        return [{"role": "user", "content": blocks}]


Api = type[Chat] | type[Responses] | type[Messages]
APIS: tuple[Api, ...] = (Chat, Responses, Messages)
