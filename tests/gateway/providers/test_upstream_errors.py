"""What the words and heads of providers' errors mean."""

import pytest

from gateway.failures import Declined, Faulty, Overloaded, from_status, wait_told
from tests.support.gateway.receipts import refused
from tests.support.live import Customer
from tests.support.provider.scripts import Event, Head, error, json_answer

# --- A prompt that is too long -------------------------------------------------------------------

TOO_LONG = {
    "vLLM": (
        400,
        {
            "object": "error",
            "message": "This model's maximum context length is 4096 tokens. However, you requested "
            "5000 tokens (4000 in the messages, 1000 in the completion). Please reduce the length "
            "of the messages or completion.",
            "type": "BadRequestError",
            "code": 400,
        },
    ),
    "vLLM, the prompt alone": (
        400,
        {
            "error": {
                "message": "The decoder prompt (length 5000) is longer than the maximum model "
                "length of 4096. Make sure that `max_model_len` is no smaller than that.",
                "type": "BadRequestError",
                "code": 400,
            }
        },
    ),
    "vLLM, nothing left": (
        400,
        {"object": "error", "message": "max_tokens must be at least 1, got -904.", "code": 400},
    ),
    "SGLang": (
        400,
        {
            "object": "error",
            "message": "The input (5000 tokens) is longer than the model's context length "
            "(4096 tokens).",
            "code": 400,
        },
    ),
    "SGLang, with the answer": (
        400,
        {
            "object": "error",
            "message": "Requested token count exceeds the model's maximum context length of 4096 "
            "tokens. You requested a total of 5000 tokens.",
        },
    ),
    "SGLang, the input alone": (
        400,
        {
            "object": "error",
            "message": "Input length (5000 tokens) exceeds the maximum allowed length "
            "(4090 tokens). Use a shorter input.",
        },
    ),
    "llama.cpp": (
        400,
        {
            "error": {
                "code": 400,
                "message": "the request exceeds the available context size, try increasing it",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 5000,
                "n_ctx": 4096,
            }
        },
    ),
    "llama.cpp, by its type": (
        400,
        {"error": {"code": 400, "message": "No.", "type": "exceed_context_size_error"}},
    ),
    "Ollama": (
        400,
        {"error": {"message": "prompt too long; exceeded max context length by 904 tokens"}},
    ),
    "Ollama, embeddings": (400, {"error": "the input length exceeds the context length"}),
    "TGI": (
        422,
        {
            "error": "Input validation error: `inputs` must have less than 4096 tokens. "
            "Given: 5000",
            "error_type": "validation",
        },
    ),
    "Together": (
        422,
        {
            "error": {
                "message": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= "
                "8193. Given: 9000 `inputs` tokens and 100 `max_new_tokens`",
                "type": "invalid_request_error",
            }
        },
    ),
    "Groq": (
        400,
        {
            "error": {
                "message": "Please reduce the length of the messages or completion.",
                "type": "invalid_request_error",
                "param": "messages",
                "code": "context_length_exceeded",
            }
        },
    ),
    "Mistral": (
        400,
        {
            "object": "error",
            "message": "Prompt contains 5000 tokens, too large for model with 4096 maximum "
            "context length",
            "type": "invalid_request_error",
            "code": "3051",
        },
    ),
    "Fireworks": (
        400,
        {
            "error": {
                "message": "The prompt is too long: 5000, model maximum context length: 4096",
                "type": "invalid_request_error",
            }
        },
    ),
    "DeepInfra": (
        400,
        {"error": {"message": "Requested input length 5000 exceeds maximum input length 4096"}},
    ),
    "Cerebras": (
        400,
        {
            "message": "Please reduce the length of the messages or completion. Current length is "
            "5000 while limit is 4096",
            "type": "invalid_request_error",
            "code": "context_length_exceeded",
        },
    ),
    "OpenRouter": (
        400,
        {
            "error": {
                "message": "This endpoint's maximum context length is 4096 tokens. However, you "
                "requested about 5000 tokens.",
                "code": 400,
            }
        },
    ),
}


@pytest.mark.parametrize(("status", "body"), TOO_LONG.values(), ids=TOO_LONG)
def test_every_known_server_is_understood_when_a_prompt_is_too_long(status, body):
    failure = from_status(status, body)
    assert isinstance(failure, Declined)
    assert failure.too_long
    told = failure.gateway_error()
    assert (told.status, told.error_type) == (400, "context_length_exceeded")
    assert told.message.startswith("The prompt is too long.")


@pytest.mark.parametrize(
    "message",
    [
        "Invalid schema for function 'f': too long a name",
        "Image is too large: 20 MB",
        "temperature must be at most 2, got 3",
        "Request too large for model `x` on tokens per minute (TPM): Limit 6000, Requested 9000",
        "Invalid 'stop': array too long. Expected at most 4.",
    ],
)
def test_what_is_too_long_for_something_else_is_no_long_prompt(message):
    failure = from_status(400, {"error": {"message": message}})
    assert isinstance(failure, Declined)
    assert not failure.too_long


SAID_IN_A_WORD = {"error": {"message": "It doesn't fit.", "code": "context_length_exceeded"}}
CONTEXT = (400, "context_length_exceeded")


def test_a_long_prompt_inside_of_a_200_is_told_as_one(customer, fake):
    refused(customer.ask(fake.script(json_answer(SAID_IN_A_WORD))), *CONTEXT)
    streamed = fake.script([Head(), Event(SAID_IN_A_WORD)])
    response = customer.ask(streamed, stream=True)
    assert refused(response, *CONTEXT)["message"].endswith("It doesn't fit.")


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("rate_limit_exceeded", (429, "rate_limit_exceeded")),
        ("429", (429, "rate_limit_exceeded")),
        ("400", (400, "invalid_request")),
        ("server_error", (502, "provider_unavailable")),
        (None, (502, "provider_unavailable")),
        (200, (502, "provider_unavailable")),
        ("9" * 5000, (502, "provider_unavailable")),
    ],
)
def test_an_error_inside_of_a_200_is_told_by_its_code(customer, fake, code, told):
    refused(customer.ask(fake.script(json_answer({"error": {"code": code}}))), *told)


# --- For how long to leave a provider alone ------------------------------------------------------

NOON = "Sat, 28 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("head", "wait_s"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "1.5"}, 2),
        ({"retry-after": "0.02"}, 1),
        ({"retry-after": "0"}, None),
        ({"retry-after": "0.0"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "600"}, 60),
        ({"retry-after": "9" * 5000}, 60),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "²"}, None),
        ({"retry-after-ms": "900"}, 1),
        ({"retry-after-ms": "2100", "retry-after": "30"}, 3),
        ({"retry-after-ms": "soon", "retry-after": "30"}, 30),
        ({"retry-after": "Sat, 28 Nov 2026 12:00:09 GMT", "date": NOON}, 9),
        ({"retry-after": "Sat, 28 Nov 2026 11:59:00 GMT", "date": NOON}, None),
        ({"retry-after": "Sun, 29 Nov 2026 12:00:00 GMT", "date": NOON}, 60),
        ({"retry-after": "Sat, 28 Nov 2026 12:00:09 GMT"}, None),
        ({"retry-after": "Sat, 28 Nov 2026 12:00:09 -0000", "date": NOON}, None),
        ({"retry-after": "tomorrow", "date": NOON}, None),
        ({"date": NOON}, None),
    ],
)
def test_a_provider_may_say_in_many_ways_how_long_to_wait(head, wait_s):
    assert wait_told(lambda name: head.get(name.decode(), "")) == wait_s


def test_a_wait_is_told_with_what_it_is_for():
    busy, down = from_status(429, None, 7), from_status(503, None, 8)
    assert isinstance(busy, Overloaded)
    assert isinstance(down, Faulty)
    assert busy.gateway_error().headers == {"Retry-After": "7"}
    assert down.gateway_error().headers == {"Retry-After": "8"}


@pytest.mark.parametrize(
    "head",
    [
        {"retry-after-ms": "8700"},
        {"retry-after": "8.2"},
        {"retry-after": "Sat, 28 Nov 2026 12:00:09 GMT", "date": NOON},
    ],
)
def test_a_wait_reaches_the_caller(gateway, customer: Customer, fake, head):
    response = customer.ask(fake.script(error(429, headers=head)))
    refused(response, 429, "rate_limit_exceeded")
    assert response.headers["Retry-After"] == "9"
