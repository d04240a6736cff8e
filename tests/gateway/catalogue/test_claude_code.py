"""The models of Kyma in the picker of Claude Code, which takes names that hold "claude" alone; and
what its prompts say of itself.
"""

import anthropic
import pytest

from gateway.catalogue.claude_code import HEADER, HEADER_VALUE, PREFIX, own_name
from gateway.dialects.anthropic.api import chat_body, count_tokens
from tests.gateway.conftest import live_route
from tests.support.gateway.anthropic_bodies import CACHED, HELLO, body_with, text
from tests.support.gateway.anthropic_clients import asked, client_of
from tests.support.gateway.receipts import refused
from tests.support.live import eventually

NAMED = {HEADER: HEADER_VALUE}


def names(client: anthropic.Anthropic) -> set[str]:
    return {model.id for model in client.models.list(limit=1000)}


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("qwen3", "qwen3"),
        ("claude-code/qwen3", "qwen3"),
        ("claude-code/qwen/qwen3:floor", "qwen/qwen3:floor"),
        ("qwen/claude-code/3", "qwen/claude-code/3"),
    ],
)
def test_a_name_leads_to_the_model(name, slug):
    assert own_name(name) == slug


def test_who_asks_for_them_gets_names_that_the_picker_takes(customer):
    with client_of(customer) as plain, client_of(customer, default_headers=NAMED) as claude_code:
        assert "scripted" in names(plain)
        assert not any("claude" in name for name in names(plain))
        assert names(claude_code) == {PREFIX + name for name in names(plain)}


@pytest.mark.parametrize("suffix", ["", ":floor"])
def test_these_names_are_answered_like_the_models_own(customer, suffix):
    name = f"{PREFIX}scripted"
    with client_of(customer) as client:
        assert client.models.retrieve(name).id == "scripted"
        message = client.messages.create(**asked("Hello", model=name + suffix))
    assert message.model == "scripted"
    eventually(
        lambda: [(row.model, row.alias) for row in customer.requests() if row.api == "messages"],
        [("scripted", "")].__eq__,
    )


def test_an_alias_has_such_a_name_too(customer, fake):
    live_route("smollm2-135m", fake.base_url)
    response = customer.ask("Hello", model=f"{PREFIX}cheap")
    assert response.headers["x-kyma-model"] == "smollm2-135m"
    assert response.headers["x-kyma-alias"] == "cheap"


def test_a_key_that_may_not_use_the_model_may_not_by_this_name(customer):
    type(customer.key).objects.filter(pk=customer.key.pk).update(allowed_models=["another"])
    told = refused(customer.ask("Hello", model=f"{PREFIX}scripted"), 403, "permission_denied")
    assert told["code"] == "model_not_allowed"


def test_the_package_reads_what_a_model_is(customer):
    with client_of(customer) as client:
        (model,) = [one for one in client.models.list() if one.id == "scripted"]
    assert (model.type, model.lifecycle) == ("model", "active")
    assert model.display_name
    assert model.created_at.tzinfo
    assert model.max_input_tokens > 0


BILLING = "x-anthropic-billing-header: cc_version=2.1.197.a3f; cc_entrypoint=cli; cch=00000;"


@pytest.mark.parametrize("header", [BILLING, f"{BILLING}\n"])
def test_a_prompt_does_not_say_which_session_it_is_of(header):
    rules = text("You are Claude Code.", **CACHED)
    body = body_with(system=[text(header), rules])
    assert chat_body(body)["messages"] == [{"role": "system", "content": [rules]}, HELLO]
    assert count_tokens(body) == count_tokens(body_with(system=[rules]))
    assert chat_body(body_with(system=[text(header)]))["messages"] == [HELLO]


@pytest.mark.parametrize(
    "said", [f"{BILLING}\nYou are Claude Code.", f"Mind this: {BILLING}", "x-anthropic"]
)
def test_all_else_in_a_prompt_stays(said):
    assert chat_body(body_with(system=[text(said)]))["messages"][0]["content"] == said
    told = [{"role": "user", "content": BILLING}]
    assert chat_body(body_with(messages=told))["messages"] == told
