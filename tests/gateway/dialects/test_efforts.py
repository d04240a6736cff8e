"""How hard to think, as each provider takes it: agents ask for it in every request."""

import pytest

from gateway.catalogue import files as catalogue_files
from gateway.catalogue.entries import PARAMETERS_OF, read_catalogue
from gateway.catalogue.strictness import marks_for
from gateway.dialects.anthropic import api as anthropic_api
from gateway.dialects.chat import request as chat_request
from gateway.dialects.chat.fields import EFFORTS
from gateway.dialects.responses import request as responses_request
from gateway.models import Model
from tests.gateway.conftest import live_route
from tests.support.gateway.chat_bodies import forwarded, request_with
from tests.support.live import Customer
from tests.support.provider.scripts import answer

# Claude Code with a high effort, and Codex.
CLAUDE_CODE = chat_request.parse(
    anthropic_api.chat_body(
        {
            "model": "m",
            "max_tokens": 32000,
            "thinking": {"type": "adaptive"},
            "output_config": {"effort": "xhigh"},
            "messages": [{"role": "user", "content": "Hi"}],
        }
    )
)
CODEX = chat_request.parse(
    responses_request.chat_body({"model": "m", "input": "Hi", "reasoning": {"effort": "minimal"}})
)
SWITCH = {"reasoning": {"enabled": True}}


def thinking(request, unsupported) -> dict:
    sent = forwarded(request, unsupported=frozenset(unsupported))
    return {name: sent[name] for name in PARAMETERS_OF["reasoning"] if name in sent}


def effort(value: str) -> dict:
    return {"reasoning_effort": value}


@pytest.mark.parametrize(
    ("slug", "upstream_model", "claude_code", "codex"),
    [
        ("groq", "openai/gpt-oss-120b", effort("high"), effort("low")),
        ("groq", "qwen/qwen3.8-27b", {}, {}),
        ("together", "openai/gpt-oss-120b", SWITCH | effort("high"), effort("low")),
        ("fireworks", "accounts/fireworks/models/glm-5p2", effort("high"), effort("low")),
        ("deepinfra", "deepseek-ai/DeepSeek-V3.2", SWITCH | effort("high"), effort("low")),
        ("cerebras", "gpt-oss-120b", effort("high"), effort("low")),
        ("sambanova", "gpt-oss-120b", effort("high"), effort("low")),
        ("openrouter", "z-ai/glm-5.2", SWITCH | effort("xhigh"), effort("minimal")),
        ("mistral", "mistral-small-2603", effort("high"), effort("high")),
        ("ollama", "gpt-oss:20b", effort("high"), effort("low")),
        ("vllm", "openai/gpt-oss-20b", effort("high"), effort("low")),
    ],
)
def test_each_shipped_provider_is_asked_as_it_takes_it(slug, upstream_model, claude_code, codex):
    (preset,) = (one for one in catalogue_files.read().presets if one.slug == slug)
    unsupported = marks_for(upstream_model, preset.provider.unsupported)
    assert thinking(CLAUDE_CODE, unsupported) == claude_code
    assert thinking(CODEX, unsupported) == codex


def test_only_efforts_that_there_are_are_marked():
    marks = [mark for one in catalogue_files.read().presets for mark in one.provider.unsupported]
    efforts = {mark.partition("@")[0] for mark in marks if mark.startswith("effort:")}
    assert efforts
    assert efforts <= {f"effort:{one}" for one in EFFORTS}


UP_TO_HIGH = {"effort:minimal", "effort:xhigh", "effort:max"}


@pytest.mark.parametrize(
    ("unsupported", "given", "sent"),
    [
        (UP_TO_HIGH, effort("max"), effort("high")),
        (UP_TO_HIGH, effort("minimal"), effort("low")),
        (UP_TO_HIGH, effort("none"), effort("none")),
        (UP_TO_HIGH | {"effort:none"}, effort("none"), effort("low")),
        ({f"effort:{one}" for one in EFFORTS[1:]}, effort("low"), {}),
        ({f"effort:{one}" for one in EFFORTS[1:]}, effort("none"), effort("none")),
        ({"reasoning"}, {"reasoning": {"effort": "xhigh", "exclude": True}}, effort("xhigh")),
        ({"reasoning", *UP_TO_HIGH}, {"reasoning": {"effort": "xhigh"}}, effort("high")),
        ({"reasoning"}, {"reasoning": {"effort": "low"}} | effort("high"), effort("high")),
        ({"reasoning"}, SWITCH, {}),
        ({"reasoning", "reasoning_effort"}, {"reasoning": {"effort": "low"}}, {}),
        ({"reasoning_effort"}, SWITCH | effort("low"), SWITCH),
        (
            UP_TO_HIGH,
            {"reasoning": {"effort": "max", "max_tokens": 9}},
            {"reasoning": {"effort": "high", "max_tokens": 9}},
        ),
    ],
)
def test_an_effort_goes_as_the_nearest_that_is_taken(unsupported, given, sent):
    assert thinking(request_with(**given), unsupported) == sent


def test_the_next_provider_gets_the_effort_as_it_came():
    given = {"reasoning": {"effort": "max"}}
    request = request_with(**given)
    thinking(request, UP_TO_HIGH)
    assert thinking(request, ()) == given


def test_a_mark_may_be_for_some_models_alone():
    unsupported = ["n", "effort:none@gpt-oss", "effort:low@qwen/"]
    assert marks_for("qwen/qwen3-32b", unsupported) == {"n", "effort:low"}
    assert marks_for("gpt-oss-120b", unsupported) == {"n", "effort:none"}
    assert marks_for("meta/qwen/x", unsupported) == {"n"}


@pytest.mark.parametrize(
    ("capabilities", "passthrough", "is_sent"),
    [(["reasoning"], False, True), ([], False, False), ([], True, True)],
)
def test_a_model_that_does_not_think_is_not_asked_how_hard(
    gateway, fake, capabilities, passthrough, is_sent
):
    slug = f"thinks-{'-'.join(capabilities)}-{passthrough}".lower()
    route = live_route(slug, fake.base_url)
    type(route).objects.filter(pk=route.pk).update(passthrough=passthrough)
    Model.objects.filter(slug=slug).update(capabilities=capabilities)
    assert ("reasoning" in read_catalogue()[slug].candidates[0].unsupported) is not is_sent
    prompt = fake.script(answer("Hi"))
    given = {"reasoning": {"effort": "low"}, "reasoning_effort": "low"}
    assert Customer(gateway).ask(prompt, model=slug, **given).ok
    (call,) = fake.calls(prompt)
    assert {name: call.json[name] for name in given if name in call.json} == (
        given if is_sent else {}
    )
