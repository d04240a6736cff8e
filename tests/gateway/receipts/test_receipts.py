"""A receipt is checked by the published key alone, and nothing in it can be changed."""

import base64
import copy
import datetime as dt
import json

import pytest

from accounts.ids import uuid7
from billing.models import PriceVersion
from gateway.models import ApiRequest
from gateway.receipts import keys as receipt_keys
from gateway.receipts import receipt as receipts
from gateway.receipts.canonical_json import canonical
from gateway.receipts.receipt import checks, content_hashes, signed_receipt

SEEDS = [base64.b64encode(bytes([number]) * 32).decode() for number in range(3)]
# 10 other, 4 cached, 5 output tokens at 100.5, 50.25 and 400 nano-dollars.
PRICE = {"input_nano": 100_500_000, "cached_input_nano": 50_250_000, "output_nano": 400_000_000}
USAGE = {"prompt_tokens": 14, "cached_tokens": 4, "completion_tokens": 5, "images": 2}
LINES_NANO = 1005 + 201 + 2000 + 7 + 2 * 3


@pytest.fixture(autouse=True)
def _keys(settings):
    settings.RECEIPT_SIGNING_KEYS = f"1:{SEEDS[0]}"


def row_of(**columns) -> ApiRequest:
    """A request that cost what its lines say, unless `columns` say otherwise."""
    price = PriceVersion(**PRICE, request_nano=7, image_nano=3)
    defaults = {
        "id": uuid7(),
        "created_at": dt.datetime(2031, 6, 1, 12, tzinfo=dt.UTC),
        "api": "chat",
        "model": "scripted",
        "provider": "scripted",
        "outcome": ApiRequest.Outcome.FINISHED,
        "price_version": price,
        "hold_nano": 10_000,
        "cost_nano": LINES_NANO,
        "attempts": [
            {"provider": "a", "route": "r1", "status": 500, "error": "faulty", "ms": 1.5},
            {"provider": "b", "route": "r2", "status": 200, "ms": 21.4},
            {"provider": "c", "route": "r3", "status": None},
        ],
        **USAGE,
    }
    return ApiRequest(**{**defaults, **columns})


def wrong_in(receipt: dict) -> list[str]:
    return [one.sentence for one in checks(receipt, receipt_keys.own()) if not one.is_right]


def resigned(receipt: dict) -> dict:
    """The receipt as it is now, signed by Kyma."""
    plain = {name: value for name, value in receipt.items() if name != "signature"}
    return {**plain, "signature": receipt_keys.sign(canonical(plain))}


def leaves(value, path=()):
    """The path of each value that holds no other."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for name, one in inner:
        if isinstance(one, dict | list) and one:
            yield from leaves(one, (*path, name))
        else:
            yield (*path, name)


def changed(receipt: dict, path: tuple) -> dict:
    receipt = copy.deepcopy(receipt)
    *way, last = path
    owner = receipt
    for name in way:
        owner = owner[name]
    old = owner[last]
    if isinstance(old, bool):
        owner[last] = not old
    elif isinstance(old, int):
        owner[last] = old + 1
    elif isinstance(old, str):
        owner[last] = ("B" if old[:1] == "A" else "A") + old[1:]
    else:
        owner[last] = "something"
    return receipt


FULL = dict.fromkeys(("ip", "user_agent"), "")
CONTENT = json.dumps({**FULL, "request": {"a": 1}, "answer": [{"content": "b"}]}).encode()


# --- What it says


def test_a_receipt_is_right_and_holds_whole_numbers_and_texts_alone():
    receipt = signed_receipt(row_of(), CONTENT)
    assert wrong_in(receipt) == []
    assert receipt["lines_nano"] == receipt["total_nano"] == LINES_NANO
    assert [line["quantity"] for line in receipt["lines"]] == [10, 4, 5, 1, 2]
    assert [line["cost_nano"] for line in receipt["lines"]] == [1005, 201, 2000, 7, 6]
    assert [one["ms"] for one in receipt["attempts"]] == [2, 21, None]
    assert [one["error"] for one in receipt["attempts"]] == ["faulty", None, None]
    assert "float" not in {type(value_at(receipt, path)).__name__ for path in leaves(receipt)}


def value_at(receipt, path):
    for name in path:
        receipt = receipt[name]
    return receipt


def test_it_names_no_account_and_no_key():
    names = {path[-1] for path in leaves(signed_receipt(row_of(), CONTENT))}
    assert not names & {"account", "account_id", "key", "user", "email", "ip", "session_hash"}


def test_a_cost_beyond_the_hold_is_capped_and_says_so():
    receipt = signed_receipt(row_of(hold_nano=3000, cost_nano=3000), None)
    assert (receipt["capped"], receipt["lines_nano"], receipt["total_nano"]) == (
        True,
        LINES_NANO,
        3000,
    )
    assert wrong_in(receipt) == []


@pytest.mark.parametrize("outcome", ["empty", "upstream-failed", "lost"])
def test_what_was_not_billed_is_free_whatever_was_counted(outcome):
    receipt = signed_receipt(row_of(outcome=outcome, cost_nano=0), None)
    assert (receipt["lines_nano"], receipt["total_nano"]) == (LINES_NANO, 0)
    assert wrong_in(receipt) == []


def test_a_refused_request_has_no_lines_and_no_price():
    nothing = dict.fromkeys(USAGE, 0)
    columns = {"outcome": "refused", "price_version": None, "hold_nano": 0, "cost_nano": 0}
    receipt = signed_receipt(row_of(**nothing, **columns, attempts=[]), None)
    assert (receipt["lines"], receipt["price_version"], receipt["total_nano"]) == ([], None, 0)
    assert wrong_in(receipt) == []


def test_a_usage_of_zero_costs_neither_request_nor_image():
    usage = {**dict.fromkeys(USAGE, 0), "images": 2}
    receipt = signed_receipt(row_of(**usage, cost_nano=0), None)
    assert {line["quantity"] for line in receipt["lines"]} == {0}
    assert wrong_in(receipt) == []


def test_an_estimate_says_so():
    assert signed_receipt(row_of(estimated=True), None)["estimated"] is True


# --- The hashes


def test_without_content_there_is_no_hash():
    assert content_hashes(None) == {"request_sha256": None, "answer_sha256": None}


def test_what_was_no_json_and_got_no_answer_has_no_hash():
    content = json.dumps({**FULL, "request": "not { json", "answer": None}).encode()
    assert content_hashes(content) == {"request_sha256": None, "answer_sha256": None}


CALL = {"name": "look", "arguments": '{"city": "Oslo", "days": 1.0}'}
SAME = {
    "whole": [
        {"index": 1, "message": {"content": None, "refusal": "No."}},
        {
            "index": 0,
            "message": {
                "content": "Grüße",
                "reasoning": "Hm.",
                "tool_calls": [{"id": "1", "type": "function", "function": CALL}],
            },
        },
    ],
    "streamed": [
        {"content": "Grüße", "reasoning": "Hm.", "tool_calls": [{"id": "1", **CALL}]},
        {"refusal": "No."},
    ],
    "in parts": [
        {"content": [{"type": "text", "text": "Grü"}, {"text": "ße"}], "tool_calls": [CALL]},
        {"content": "No."},
    ],
}


@pytest.mark.parametrize("how", SAME)
def test_the_hash_of_an_answer_is_the_same_however_it_came(how):
    assert receipts.answers_hashed(SAME[how]) == [
        {
            "text": "Grüße",
            "tool_calls": [{"name": "look", "arguments": {"city": "Oslo", "days": 1.0}}],
        },
        {"text": "No.", "tool_calls": []},
    ]


@pytest.mark.parametrize("odd", [None, "text", [None], [{}], [{"function": None}], [{"name": 1}]])
def test_odd_tool_calls_are_no_obstacle(odd):
    hashed = receipts.answers_hashed([{"content": "Hi", "tool_calls": odd}])
    assert hashed[0]["text"] == "Hi"


# --- The signature


@pytest.mark.parametrize("path", list(leaves(receipts.receipt_of(row_of(), CONTENT))), ids=str)
def test_a_change_of_any_member_breaks_the_signature(path):
    receipt = signed_receipt(row_of(), CONTENT)
    assert wrong_in(receipt) == []
    assert len(wrong_in(changed(receipt, path))) == 1


def test_a_member_more_or_less_breaks_the_signature():
    receipt = signed_receipt(row_of(), CONTENT)
    for name in set(receipt) - {"signature"}:
        assert wrong_in({one: receipt[one] for one in receipt if one != name})
    assert wrong_in({**receipt, "more": 0})


@pytest.mark.parametrize("member", ["algorithm", "key_id", "value"])
def test_a_signature_that_was_changed_is_wrong(member):
    receipt = signed_receipt(row_of(), CONTENT)
    assert wrong_in(changed(receipt, ("signature", member)))


@pytest.mark.parametrize(
    "signature", [None, "text", {}, {"algorithm": "Ed25519", "key_id": 1, "value": None}]
)
def test_what_is_no_signature_is_told_apart(signature):
    assert wrong_in({**signed_receipt(row_of(), None), "signature": signature})


@pytest.mark.parametrize("value", [float("nan"), 10**400, "\ud800"], ids=repr)
def test_values_that_no_receipt_has_are_no_obstacle(value):
    receipt = {**signed_receipt(row_of(), None), "model": value}
    assert wrong_in(receipt) == ["It holds values that no receipt has."]


# --- Wrong receipts of Kyma's own


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (("lines", 0, "cost_nano"), "input: 10 × 100500000 / 1000000 = 1005 nano-dollars, but"),
        (("lines", 2, "quantity"), "output: 6 × 400000000 / 1000000 = 2400 nano-dollars, but"),
        (("lines", 4, "price_nano"), "image: 2 × 4 / 1 = 8 nano-dollars, but"),
        (("lines_nano",), "sum of the lines: it is 3219 nano-dollars, but"),
        (("total_nano",), "total (the outcome is finished): it is 3219 nano-dollars, but"),
        (("capped",), "capped by the hold: it is no, but the receipt says yes."),
    ],
)
def test_a_wrong_figure_is_found_though_it_is_signed(path, told):
    receipt = resigned(changed(signed_receipt(row_of(), None), path))
    found = wrong_in(receipt)
    assert found
    assert found[0].startswith(told)


def test_a_charge_for_a_broken_answer_is_found_though_it_is_signed():
    receipt = resigned({**signed_receipt(row_of(), None), "outcome": "upstream-failed"})
    assert wrong_in(receipt) == [
        "total (the outcome is upstream-failed): it is 0 nano-dollars, but the receipt says "
        "3219 nano-dollars."
    ]


# --- The keys


def test_the_newest_key_signs_and_the_older_ones_still_check(settings):
    old = signed_receipt(row_of(), None)
    settings.RECEIPT_SIGNING_KEYS = f"2:{SEEDS[1]},1:{SEEDS[0]}"
    new = signed_receipt(row_of(), None)
    newest, oldest = (key["key_id"] for key in receipt_keys.published()["keys"])
    assert (old["signature"]["key_id"], new["signature"]["key_id"]) == (oldest, newest)
    assert wrong_in(old) == wrong_in(new) == []
    settings.RECEIPT_SIGNING_KEYS = f"2:{SEEDS[1]}"
    assert wrong_in(new) == []
    assert wrong_in(old) == [f"Its key {oldest} is not among the published ones."]


def test_another_installation_cannot_sign_for_this_one(settings):
    own = receipt_keys.own()
    settings.RECEIPT_SIGNING_KEYS = f"1:{SEEDS[2]}"
    foreign = signed_receipt(row_of(), None)
    foreign["signature"]["key_id"] = own[0].id
    (check,) = checks(foreign, own)
    assert not check.is_right
    assert check.sentence.startswith("The signature doesn't fit")


def test_published_keys_can_be_read_again_and_hold_no_secret():
    published = json.loads(json.dumps(receipt_keys.published()))
    assert receipt_keys.read(published) == receipt_keys.own()
    assert SEEDS[0] not in json.dumps(published)
    assert published["keys"][0]["pem"].startswith("-----BEGIN PUBLIC KEY-----")


@pytest.mark.parametrize(
    "odd", [{}, {"keys": None}, {"keys": [{}]}, {"keys": [{"public_key": "AAAA"}]}, {"keys": ["x"]}]
)
def test_what_holds_no_keys_is_refused(odd):
    with pytest.raises(ValueError):  # noqa: PT011 - it is one kind of error, of many messages
        receipt_keys.read(odd)
