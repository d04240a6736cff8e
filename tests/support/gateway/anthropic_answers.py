"""Answers to make Messages of; and their streams, read with Anthropic's own package."""

from collections.abc import Collection

import orjson
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import TypeAdapter

from gateway.dialects.anthropic.api import MessageStream, message
from gateway.dialects.anthropic.message import SIGNATURE
from gateway.dialects.chat.mending import Mender, mend_whole

USAGE = {
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "total_tokens": 15,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
    "cost": orjson.Fragment("0.000001"),
    "is_byok": False,
}
THINKING = {"type": "thinking", "thinking": "hm", "signature": SIGNATURE}
TEXT = {"type": "text", "text": "Hi"}
EVENT = TypeAdapter(RawMessageStreamEvent)


def answer_with(finish_reason="stop", **said) -> dict:
    choice = {
        "index": 0,
        "message": {"role": "assistant", **said},
        "finish_reason": finish_reason,
    }
    return {"id": "chatcmpl-req1", "model": "kyma/m", "choices": [choice]}


def message_with(finish_reason="stop", **said) -> dict:
    made = message(mended(answer_with(finish_reason, **said)), USAGE)
    return Message.model_validate(orjson.loads(orjson.dumps(made))).to_dict()


def mended(answer: dict) -> dict:
    """Return a whole answer as a dialect gets it."""
    answer = orjson.loads(orjson.dumps(answer))
    mend_whole(answer)
    return answer


def call(name="search", arguments="{}", **members) -> dict:
    return {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}} | (
        members
    )


def tool_use(**members) -> dict:
    return {"type": "tool_use", "id": "c1", "name": "search", "input": {}, **members}


def chunk(finish_reason=None, **delta) -> dict:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


def fragment(index: int, arguments: str = "", **members) -> dict:
    """A chunk with a piece of a tool call."""
    call_id = {"id": members["id"]} if "id" in members else {}
    function = {"arguments": arguments, **({"name": members["name"]} if "name" in members else {})}
    return chunk(tool_calls=[{"index": index, **call_id, "function": function}])


def streamed(
    *chunks: dict, stop_sequences: Collection[str] = (), shows_thinking: bool = True
) -> list[dict]:
    """The events of a whole stream, in good order."""
    stream = MessageStream(stop_sequences, shows_thinking=shows_thinking)
    raw = stream.start(answer_id="chatcmpl-req1", model="kyma/m", input_tokens=9)
    mender = Mender("chatcmpl-req1")
    for one in orjson.loads(orjson.dumps(chunks)):
        mender.mend(one)
        raw += stream.feed(one)
    events = read(raw + stream.finish(USAGE))
    check_order(events)
    return events


def read(raw: bytes) -> list[dict]:
    events = []
    for frame in raw.decode().split("\n\n")[:-1]:
        name, data = frame.split("\n")
        event = orjson.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    assert raw.endswith(b"\n\n")
    return events


def check_order(events: list[dict]) -> None:
    """One block at a time is open, and holds only what belongs there."""
    start, *blocks, delta, stop = events
    kinds = (start["type"], delta["type"], stop["type"])
    assert kinds == ("message_start", "message_delta", "message_stop")
    said = {
        "text": {"text_delta"},
        "thinking": {"thinking_delta", "signature_delta"},
        "tool_use": {"input_json_delta"},
    }
    opened, allowed = -1, None
    for event in blocks:
        if event["type"] == "content_block_start":
            assert allowed is None
            opened += 1
            allowed = said[event["content_block"]["type"]]
        elif event["type"] == "content_block_delta":
            assert event["delta"]["type"] in allowed
        else:
            assert event["type"] == "content_block_stop"
            assert allowed is not None
            allowed = None
        assert event["index"] == opened
    assert allowed is None


def accumulated(events: list[dict]) -> dict:
    snapshot = None
    buffers: dict[int, bytes] = {}
    for event in events:
        snapshot = accumulate_event(
            event=EVENT.validate_python(event), current_snapshot=snapshot, json_bufs=buffers
        )
    return Message.model_validate(snapshot.to_dict()).to_dict()


def as_accumulated(whole: dict) -> dict:
    """Anthropic's accumulator takes only the counts that it knows."""
    usage = {name: value for name, value in whole["usage"].items() if name != "cost"}
    return {**whole, "usage": usage, "stop_details": None}


def blocks_of(*chunks: dict) -> list[dict]:
    return accumulated(streamed(*chunks))["content"]


def deltas_of(events: list[dict], index: int) -> list[dict]:
    wanted = ("content_block_delta", index)
    return [event["delta"] for event in events if (event["type"], event.get("index")) == wanted]


def inputs_of(events: list[dict]) -> list[object]:
    """Each tool call's input as a strict reader has it: the accumulator closes what is open."""
    tools = [
        event["index"]
        for event in events
        if event["type"] == "content_block_start" and event["content_block"]["type"] == "tool_use"
    ]
    said = ("".join(one["partial_json"] for one in deltas_of(events, index)) for index in tools)
    return [orjson.loads(arguments) for arguments in said]
