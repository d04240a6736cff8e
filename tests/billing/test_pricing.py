from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.pricing import Price, Usage, cost_lines, cost_nano, nano, tokens_nano, usd

PRICE = Price(input=100_000_000, cached_input=25_000_000, output=400_000_000)
tokens = st.integers(0, 10_000_000)
prices = st.integers(0, 1_000_000_000_000)


@given(tokens, prices)
def test_tokens_are_rounded_up_to_the_nano_dollar(count, price):
    exact = Fraction(count * price, 1_000_000)
    assert exact <= tokens_nano(count, price) < exact + 1


def test_one_token_of_the_lowest_price_costs_one_nano_dollar():
    assert tokens_nano(1, 1) == 1
    assert tokens_nano(1_000_000, 1) == 1
    assert tokens_nano(1_000_001, 1) == 2


def test_no_tokens_and_free_tokens_cost_nothing():
    assert tokens_nano(0, 500) == 0
    assert tokens_nano(500, 0) == 0


def test_cached_tokens_are_part_of_the_prompt_and_priced_apart():
    lines = cost_lines(PRICE, Usage(prompt=1000, cached=600, completion=10))
    assert lines == {
        "input": 400 * 100,
        "cached_input": 600 * 25,
        "output": 10 * 400,
        "request": 0,
        "image": 0,
    }


def test_reasoning_tokens_are_part_of_the_completion():
    usage = Usage(prompt=1, completion=10, reasoning=9)
    assert cost_nano(PRICE, usage) == 100 + 10 * 400


def test_each_request_and_each_image_has_its_price():
    price = Price(input=0, cached_input=0, output=0, request=7, image=11)
    assert cost_nano(price, Usage(prompt=1, images=3)) == 7 + 3 * 11


def test_an_explicit_zero_usage_costs_nothing_even_with_a_price_per_request():
    price = Price(input=5, cached_input=5, output=5, request=7, image=11)
    assert cost_nano(price, Usage(images=3)) == 0


@given(tokens, tokens, tokens, prices, prices, prices)
def test_the_lines_of_a_receipt_add_up_to_its_cost(prompt, cached, completion, a, b, c):
    usage = Usage(prompt=prompt, cached=min(cached, prompt), completion=completion)
    price = Price(a, b, c)
    assert sum(cost_lines(price, usage).values()) == cost_nano(price, usage)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0.0"),
        (1, "0.000000001"),
        (1500, "0.0000015"),
        (500_000_000, "0.5"),
        (1_000_000_000, "1.0"),
        (12_345_678_901, "12.345678901"),
        (-1, "-0.000000001"),
        (2**62, "4611686018.427387904"),
    ],
)
def test_nano_dollars_are_written_as_exact_dollars(amount, text):
    assert usd(amount) == text


@given(st.integers(0, 2**63 - 1))
def test_dollars_read_back_are_the_same_nano_dollars(amount):
    assert nano(usd(amount)) == amount


def test_dollars_are_read_without_loss():
    assert nano("0.1") == 100_000_000
    assert nano(" 20 ") == 20_000_000_000
    assert nano(".5") == 500_000_000


@pytest.mark.parametrize("text", ["", ".", "-1", "1.0000000001", "1e3", "NaN", "1,5", "1.2.3", "½"])
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(ValueError, match="not an amount"):
        nano(text)
