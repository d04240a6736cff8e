"""What an answer costs, whatever its end and whatever its provider says of it."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.pricing import Price, Usage, cost_nano
from gateway.dialects.chat.answer import content_bytes
from gateway.dialects.chat.chunks import Identity, own_chunk
from gateway.dialects.chat.mending import Mender
from gateway.providers.metering import MALFORMED, Bill, Ending, Meter, read_usage
from gateway.serving.delivery import GatheredAnswer
from gateway.serving.settlement import price_of

CONTEXT = 1000
PRICE = Price(input=1_500_000, cached_input=500_000, output=7_300_000, request=11, image=3)
FINISHED, GONE = Ending.FINISHED, Ending.CLIENT_GONE
FAILURES = (Ending.UPSTREAM_FAILED, Ending.KYMA_FAILED)


def meter(*chunks: dict, delivered: int = 0, answers: int = 1, images: int = 0) -> Meter:
    one = Meter(prompt_estimate=30, context_length=CONTEXT, answers=answers, images=images)
    for chunk in chunks:
        one.saw(chunk)
    one.delivered_bytes = delivered
    return one


def said(delta: object, **fields) -> dict:
    return {"choices": [{"index": 0, "delta": delta, **fields}]}


def counts(prompt, completion, *, cached=None, reasoning=None) -> dict:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


# --- The table of endings ------------------------------------------------------------------------

TEN_BYTES = said({"content": "0123456789"})
GIVEN = counts(20, 7, cached=4, reasoning=5)
GIVEN_USAGE = Usage(prompt=20, cached=4, completion=7, reasoning=5)
ESTIMATE = Usage(prompt=30, completion=3)  # ⌈10 / 4⌉
NOTHING = Usage()
DELIVERIES = (0, 5, 10)

# What the provider said → what all is estimated at, and whether it is an estimate, and absurd.
REPORTS = {
    "absent": (None, ESTIMATE, True, False),
    "null": ("null", ESTIMATE, True, False),
    "given": (GIVEN, GIVEN_USAGE, False, False),
    "zero": (counts(0, 0), NOTHING, False, False),
    "prompt alone": ({"prompt_tokens": 20}, Usage(prompt=20, completion=3), True, False),
    "the whole context": (counts(1000, 1000), Usage(prompt=1000, completion=1000), False, False),
    "prompt beyond the context": (counts(1001, 7), ESTIMATE, True, True),
    "completion beyond it": (counts(20, 1001), Usage(prompt=20, completion=3), True, True),
    "negative prompt": (counts(-1, 7), ESTIMATE, True, True),
    "negative completion": (counts(20, -7), Usage(prompt=20, completion=3), True, True),
    "texts": (counts("20", "7"), ESTIMATE, True, False),
    "fractions": (counts(20.0, 7.0), ESTIMATE, True, False),
    "booleans": (counts(True, True), ESTIMATE, True, False),
}


def metered(report: object, delivered: int) -> Meter:
    usage = {} if report is None else {"usage": None if report == "null" else report}
    return meter(TEN_BYTES, {"choices": [], **usage}, delivered=delivered)


@pytest.mark.parametrize("delivered", DELIVERIES)
@pytest.mark.parametrize(("report", "usage", "estimated", "absurd"), REPORTS.values(), ids=REPORTS)
def test_a_finished_answer(report, usage, estimated, absurd, delivered):
    bill = metered(report, delivered).bill(FINISHED)
    assert bill == Bill(usage, usage, is_free=False, estimated=estimated, flagged=absurd)


@pytest.mark.parametrize("ending", FAILURES)
@pytest.mark.parametrize("delivered", DELIVERIES)
@pytest.mark.parametrize(("report", "usage", "estimated", "absurd"), REPORTS.values(), ids=REPORTS)
def test_a_failed_answer_is_free_and_its_cost_to_us_is_known(
    report, usage, estimated, absurd, delivered, ending
):
    bill = metered(report, delivered).bill(ending)
    assert bill == Bill(usage, usage, is_free=True, estimated=estimated, flagged=absurd)
    assert price_of(bill, PRICE) == 0


@pytest.mark.parametrize(("report", "usage", "estimated", "absurd"), REPORTS.values(), ids=REPORTS)
def test_an_answer_of_which_nothing_was_delivered(report, usage, estimated, absurd):
    bill = metered(report, 0).bill(GONE)
    assert bill == Bill(NOTHING, usage, is_free=False, flagged=absurd)
    assert price_of(bill, PRICE) == 0


@pytest.mark.parametrize(
    ("report", "delivered", "prompt", "completion"),
    [
        ("absent", 5, 30, 2),
        ("absent", 10, 30, 3),
        ("null", 5, 30, 2),
        ("given", 1, 20, 0),
        ("given", 5, 20, 3),
        ("given", 9, 20, 6),
        ("given", 10, 20, 7),
        ("zero", 5, 0, 0),
        ("prompt alone", 5, 20, 2),
        ("the whole context", 5, 1000, 500),
        ("prompt beyond the context", 5, 30, 2),
        ("completion beyond it", 5, 20, 2),
        ("negative completion", 9, 20, 3),
        ("texts", 4, 30, 1),
    ],
)
def test_a_client_that_is_gone_pays_for_what_was_delivered(report, delivered, prompt, completion):
    raw, upstream, estimated, absurd = REPORTS[report]
    bill = metered(raw, delivered).bill(GONE)
    assert (bill.usage.prompt, bill.usage.completion) == (prompt, completion)
    assert bill.usage.reasoning <= completion
    assert bill.usage.cached == upstream.cached
    assert (bill.upstream, bill.is_free) == (upstream, False)
    assert (bill.estimated, bill.flagged) == (estimated, absurd)


@pytest.mark.parametrize("ending", list(Ending))
def test_an_answer_that_never_began_has_no_tokens(ending):
    bill = meter(said({"role": "assistant", "content": ""})).bill(ending)
    assert (bill.usage, bill.is_free, bill.estimated) == (NOTHING, True, False)


@pytest.mark.parametrize("ending", list(Ending))
def test_an_answer_without_content_is_free_even_with_usage(ending):
    bill = meter(said({}, finish_reason="stop"), {"usage": GIVEN}).bill(ending)
    assert (bill.upstream, bill.is_free) == (GIVEN_USAGE, True)


@pytest.mark.parametrize("ending", [FINISHED, GONE])
def test_images_are_billed_with_what_they_came_with(ending):
    for usage in ({}, {"usage": GIVEN}):
        bill = meter(TEN_BYTES, usage, delivered=10, images=2).bill(ending)
        assert bill.usage.images == 2


sizes = st.integers(1, 10**7)


@given(seen=sizes, data=st.data(), completion=st.integers(0, CONTEXT), reported=st.booleans())
def test_a_share_is_rounded_down_and_never_more_than_the_whole(seen, data, completion, reported):
    one = meter({"usage": counts(20, completion, reasoning=completion)} if reported else {})
    one.seen_bytes, one.delivered_bytes = seen, data.draw(st.integers(1, seen))
    share, whole = one.bill(GONE), one.bill(FINISHED)
    assert share.upstream == whole.usage
    assert price_of(share, PRICE) <= price_of(whole, PRICE)
    assert share.usage.prompt == whole.usage.prompt
    if reported:
        exact = completion * one.delivered_bytes / seen
        assert exact - 1 < share.usage.completion <= exact + 1e-9
        assert share.usage.reasoning == share.usage.completion
    if one.delivered_bytes == seen:
        assert share == whole


def test_a_bill_is_priced_by_class_and_a_free_one_not_at_all():
    usage = Usage(prompt=20, cached=4, completion=7, images=2)
    expected = 24 + 2 + 52 + 11 + 6  # 16 × 1.5, 4 × 0.5, ⌈7 × 7.3⌉, the request, 2 images
    assert cost_nano(PRICE, usage) == expected
    assert price_of(Bill(usage, usage, is_free=False), PRICE) == expected
    assert price_of(Bill(usage, usage, is_free=True), PRICE) == 0


# --- Counting ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "size"),
    [
        ({}, 0),
        ({"role": "assistant", "content": ""}, 0),
        ({"content": None}, 0),
        ({"content": "Grüße"}, 7),
        ({"text": "abc"}, 3),
        ({"refusal": "no"}, 2),
        ({"content": "a", "reasoning": "bc"}, 3),
        ({"reasoning_content": "abc"}, 3),
        ({"reasoning": "abc", "reasoning_content": "abc"}, 3),  # Twice the same.
        ({"content": [{"type": "text", "text": "ab"}, {"type": "thinking", "thinking": "c"}]}, 3),
        ({"tool_calls": [{"function": {"name": "look", "arguments": '{"a":1}'}}]}, 11),
        ({"tool_calls": [{"function": {"arguments": "ab"}}, {"function": None}, {}]}, 2),
    ],
)
def test_what_counts_as_content(message, size):
    assert content_bytes(message) == size
    assert meter(said(message)).seen_bytes == size
    assert meter({"choices": [{"message": message}]}).seen_bytes == size


def test_the_last_usage_counts():
    one = meter(TEN_BYTES, {"usage": counts(20, 1)}, {"usage": GIVEN}, {"usage": None})
    assert one.bill(FINISHED).usage == GIVEN_USAGE


def test_an_answer_is_complete_with_all_its_finish_reasons():
    one = meter(said({}, finish_reason="stop"), answers=2)
    assert one.has_begun
    assert not one.is_complete
    one.saw({"choices": [{"index": 1, "delta": {}, "finish_reason": "length"}]})
    assert one.is_complete
    assert one.finish_reasons == {0: "stop", 1: "length"}


@pytest.mark.parametrize("nothing", [{}, {"choices": []}, said({"content": ""}), said(None)])
def test_an_answer_is_content_or_an_end_and_usage_alone_may_be_billed(nothing):
    assert not meter(nothing).has_begun
    for something in (TEN_BYTES, said({}, finish_reason="stop")):
        assert meter(nothing, something).has_answered
        assert meter(nothing, something).has_begun
    only_usage = meter(nothing, {"usage": counts(0, 0)})
    assert (only_usage.has_begun, only_usage.has_answered) == (True, False)


@pytest.mark.parametrize(
    ("raw", "cached", "reasoning"),
    [
        (counts(20, 7, cached=21, reasoning=8), 20, 7),
        (counts(20, 7, cached=-1, reasoning=-1), 0, 0),
        (counts(20, 7, cached="4", reasoning=True), 0, 0),
        (counts(20, 7) | {"prompt_tokens_details": 4, "completion_tokens_details": [5]}, 0, 0),
        ({"prompt_tokens": 20, "completion_tokens": 7}, 0, 0),
        # As Kimi and DeepSeek tell it.
        ({"prompt_tokens": 20, "completion_tokens": 7, "cached_tokens": 4}, 4, 0),
        ({"prompt_tokens": 20, "completion_tokens": 7, "prompt_cache_hit_tokens": 4}, 4, 0),
        (counts(20, 7, cached=3) | {"cached_tokens": 4}, 3, 0),
        (counts(20, 7) | {"cached_tokens": 21}, 20, 0),
        (counts(20, 7) | {"cached_tokens": "4", "prompt_cache_hit_tokens": -1}, 0, 0),
    ],
)
def test_details_stay_within_what_they_are_part_of(raw, cached, reasoning):
    usage, absurd = read_usage(raw, images=0, most_prompt=CONTEXT, most_completion=CONTEXT)
    assert usage == Usage(prompt=20, cached=cached, completion=7, reasoning=reasoning)
    assert not absurd


def test_several_answers_may_each_fill_the_context():
    usage = {"usage": counts(20, 2 * CONTEXT)}
    assert meter(TEN_BYTES, usage, answers=2).bill(FINISHED).usage.completion == 2 * CONTEXT
    assert meter(TEN_BYTES, usage, answers=1).bill(FINISHED).flagged


# --- Shapes that are none ------------------------------------------------------------------------

IDENTITY = Identity(id="i", created=1, model="m", provider="p")
DEEP = orjson.loads(b"[" * 900 + b"]" * 900)


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": {"index": 0}},
        {"choices": "text"},
        {"choices": 5},
        {"choices": [None]},
        {"choices": [["delta"]]},
        said("text"),
        said(["text"]),
        said(7),
        said({"tool_calls": {"function": {}}}),
        said({"tool_calls": ["look"]}),
        said({"tool_calls": [{"function": "look"}]}),
        said({"content": DEEP}),
    ],
)
def test_a_shape_that_is_no_answers_is_told_as_malformed(chunk):
    with pytest.raises(MALFORMED):
        meter(chunk)


@pytest.mark.parametrize(
    "usage", ["7", 7, [7], {}, {"prompt_tokens": None}, {"completion_tokens": 10**30}]
)
def test_usage_of_no_shape_is_no_usage(usage):
    bill = meter(TEN_BYTES, {"usage": usage}).bill(FINISHED)
    assert (bill.usage, bill.estimated, bill.flagged) == (ESTIMATE, True, False)


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9**18), st.floats(0, 9), st.text()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


def likely(**fields: st.SearchStrategy) -> st.SearchStrategy:
    """Objects with these fields, some of them missing, or anything else."""
    return st.one_of(st.fixed_dictionaries({}, optional=fields), anything)


def several(items: st.SearchStrategy) -> st.SearchStrategy:
    return st.one_of(st.lists(items, max_size=3), anything)


deltas = likely(
    content=anything,
    reasoning=anything,
    reasoning_content=anything,
    refusal=anything,
    tool_calls=several(
        likely(index=anything, id=anything, function=likely(name=anything, arguments=anything))
    ),
)
chunks = st.fixed_dictionaries(
    {
        "choices": several(
            likely(index=anything, delta=deltas, message=deltas, finish_reason=anything)
        )
    },
    optional={
        "usage": likely(
            prompt_tokens=anything,
            completion_tokens=anything,
            prompt_tokens_details=likely(cached_tokens=anything),
        )
    },
)


@given(answer=st.lists(chunks, max_size=4), delivered=st.integers(0, 20))
def test_whatever_a_provider_sends_is_counted_or_told_as_malformed(answer, delivered):
    one, gathered = meter(delivered=delivered), GatheredAnswer()
    mender = Mender(IDENTITY.id)
    for chunk in answer:
        try:
            one.saw(chunk)
        except MALFORMED:
            break
        if own := own_chunk(chunk, IDENTITY, include_usage=True):
            mender.mend(own)
            gathered.add(own)
    one.delivered_bytes = min(delivered, one.seen_bytes)
    for ending in Ending:
        assert price_of(one.bill(ending), PRICE) >= 0
    orjson.dumps(gathered.messages())
