"""What a finished answer costs, over real HTTP: the usage, or what the bytes tell without one."""

import pytest

from gateway.models import Route
from tests.support.gateway.receipts import (
    CACHED,
    END,
    HELLO,
    INPUT,
    OUTPUT,
    STOP,
    WORLD,
    billed,
    both,
    estimate,
    events_of,
    finished,
    text_of,
)
from tests.support.live import USD
from tests.support.provider.scripts import (
    Event,
    Head,
    answer,
    chunk,
    either,
    stream,
    tool_call_answer,
    tool_call_stream,
    usage_chunk,
    usage_of,
)

TEXT = "Grüße aus Oslo"  # 16 bytes: 4 tokens, if nobody counts them.


COUNTED = {
    "usage": (usage_of(10, 2), (10, 0, 2, 0), 10 * INPUT + 2 * OUTPUT),
    "cached tokens": (
        usage_of(10, 2, cached_tokens=4),
        (10, 4, 2, 0),
        6 * INPUT + 4 * CACHED + 2 * OUTPUT,
    ),
    "reasoning tokens": (
        usage_of(10, 5) | {"completion_tokens_details": {"reasoning_tokens": 3}},
        (10, 0, 5, 3),
        10 * INPUT + 5 * OUTPUT,
    ),
    "zero": (usage_of(0, 0), (0, 0, 0, 0), 0),
}


@both
@pytest.mark.parametrize(("usage", "tokens", "nano"), COUNTED.values(), ids=COUNTED)
def test_usage_is_believed_and_billed(customer, fake, streamed, usage, tokens, nano):
    prompt = fake.script(either(stream(TEXT, usage=usage), answer(TEXT, extra={"usage": usage})))
    shown = finished(customer, streamed, prompt)
    row = billed(customer, nano, outcome="finished", status=200, streamed=streamed)
    prompt_tokens, cached, completion, reasoning = tokens
    assert (row.prompt_tokens, row.cached_tokens) == (prompt_tokens, cached)
    assert (row.completion_tokens, row.reasoning_tokens) == (completion, reasoning)
    assert (row.estimated, row.flagged, row.loss_nano) == (False, False, 0)
    assert (row.upstream_cost_nano, row.finish_reason) == (nano, "stop")
    assert shown == {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion,
        "total_tokens": prompt_tokens + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
        "cost": nano / USD,
        "is_byok": False,
    }


UNCOUNTED = {
    "absent": (None, False, False),
    "null": ("null", False, False),
    "texts": ({"prompt_tokens": "10", "completion_tokens": "2"}, False, False),
    "prompt alone": ({"prompt_tokens": 10}, True, False),
    "negative prompt": (usage_of(-10, 2), False, True),
    "negative completion": (usage_of(10, -2), True, True),
    "prompt beyond the context": (usage_of(8193, 2), False, True),
    "completion beyond the context": (usage_of(10, 10**12), True, True),
}


@both
@pytest.mark.parametrize(("usage", "knows_prompt", "absurd"), UNCOUNTED.values(), ids=UNCOUNTED)
def test_without_usable_usage_the_bytes_are_counted(
    customer, fake, streamed, usage, knows_prompt, absurd
):
    whole = answer(TEXT, prompt_tokens=None)
    if usage is not None:
        usage = None if usage == "null" else usage
        whole = answer(TEXT, extra={"usage": usage})
    prompt = fake.script(either(stream(TEXT, usage=usage), whole))
    shown = finished(customer, streamed, prompt)
    prompt_tokens, completion = estimate(prompt, 16)
    prompt_tokens = 10 if knows_prompt else prompt_tokens
    nano = prompt_tokens * INPUT + completion * OUTPUT
    billed(
        customer,
        nano,
        outcome="finished",
        prompt_tokens=prompt_tokens,
        completion_tokens=4,
        estimated=True,
        flagged=absurd,
        upstream_cost_nano=nano,
    )
    assert (shown["prompt_tokens"], shown["completion_tokens"]) == (prompt_tokens, 4)
    assert shown["cost"] == nano / USD


TOOLS = [("look", '{"city":"Oslo"}'), ("add", {"a": 1})]  # 4 + 15 and 3 + 7 bytes
REASONED = [{"reasoning": "Well"}, {"reasoning_content": "then"}, {"content": "Oslo!"}]  # 13 bytes
SPOKEN = {
    "reasoning": (
        either(
            [Head(), *(Event(chunk(delta)) for delta in REASONED), STOP, *END],
            answer(
                "Oslo!",
                prompt_tokens=None,
                extra={
                    "choices": [
                        {
                            "index": 0,
                            "message": {"content": "Oslo!", "reasoning": "Wellthen"},
                            "finish_reason": "stop",
                        }
                    ]
                },
            ),
        ),
        13,
    ),
    "tool calls": (
        either(
            tool_call_stream(TOOLS, usage=None),
            tool_call_answer(TOOLS, prompt_tokens=-1, completion_tokens=-1),
        ),
        29,
    ),
}


@both
@pytest.mark.parametrize(("script", "content_bytes"), SPOKEN.values(), ids=SPOKEN)
def test_reasoning_and_tool_calls_count_in_an_estimate(
    customer, fake, streamed, script, content_bytes
):
    prompt = fake.script(script)
    finished(customer, streamed, prompt)
    prompt_tokens, completion = estimate(prompt, content_bytes)
    nano = prompt_tokens * INPUT + completion * OUTPUT
    billed(customer, nano, completion_tokens=completion, estimated=True)


LATE_USAGE = {
    "on a chunk with choices": stream(TEXT, usage=usage_of(10, 2), usage_with_choices=True),
    "in every chunk, the last counts": [
        Head(),
        Event(chunk({"content": "Hello "}, usage=usage_of(10, 1))),
        Event(chunk({"content": "World"}, usage=usage_of(10, 900))),
        Event(chunk({}, finish_reason="stop", usage=usage_of(10, 2))),
        *END,
    ],
    "before the end": [Head(), HELLO, Event(usage_chunk(usage_of(10, 2))), WORLD, STOP, *END],
}


@pytest.mark.parametrize("steps", LATE_USAGE.values(), ids=LATE_USAGE)
def test_usage_counts_wherever_it_comes(customer, fake, steps):
    shown = finished(customer, True, fake.script(steps))
    assert (shown["prompt_tokens"], shown["completion_tokens"]) == (10, 2)
    billed(customer, 10 * INPUT + 2 * OUTPUT, completion_tokens=2, estimated=False)


def test_usage_is_shown_only_to_those_who_ask_and_asked_of_the_provider_always(customer, fake):
    prompt = fake.script(stream(TEXT, usage_with_choices=True))
    events = list(events_of(customer.ask(prompt, stream=True)))
    assert events.pop() == "[DONE]"
    assert text_of(events) == TEXT
    assert not any("usage" in one for one in events)
    call = fake.wait_for_finish(prompt)
    assert call.hung_up_at is None
    assert call.json["stream_options"] == {"include_usage": True}
    assert call.json["max_tokens"] == 4096


@both
@pytest.mark.parametrize("usage", [usage_of(10, 0), None], ids=["usage", "no usage"])
def test_an_answer_without_content_costs_nothing(customer, fake, streamed, usage):
    whole = answer("", **({"extra": {"usage": usage}} if usage else {"prompt_tokens": None}))
    prompt = fake.script(either(stream([], usage=usage), whole))
    finished(customer, streamed, prompt)
    billed(customer, 0, outcome="empty", status=200, completion_tokens=0)


@both
def test_more_than_was_held_is_not_charged_but_recorded(customer, fake, streamed):
    usage = usage_of(10, 300)
    prompt = fake.script(either(stream(TEXT, usage=usage), answer(TEXT, extra={"usage": usage})))
    shown = finished(customer, streamed, prompt, max_tokens=3)
    template = Route.objects.get(model__slug="scripted").template_tokens
    held = (len(prompt) + 16 + template) * INPUT + 1 + 3 * OUTPUT
    full = 10 * INPUT + 300 * OUTPUT
    billed(
        customer,
        held,
        hold_nano=held,
        loss_nano=full - held,
        upstream_cost_nano=full,
        completion_tokens=300,
    )
    assert shown["cost"] == held / USD
