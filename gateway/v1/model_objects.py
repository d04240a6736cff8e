"""The public object of a model in `GET /v1/models`, for OpenAI's, OpenRouter's and Anthropic's
clients at once, with Kyma's own `providers` and `verified_price`.

The price is that of the cheapest route. Dollars are exact decimal strings without an exponent.
"""

import datetime as dt

from billing.pricing import Price
from gateway.catalogue.entries import EMBEDDING, PARAMETERS_OF, Candidate, ModelEntry, only_embeds

_USD_DECIMALS = 9  # of an amount in nano-dollars
_PER_TOKEN_DECIMALS = 15  # of a price in nano-dollars per million tokens

_TOKEN_LIMITS = ["max_tokens", "max_completion_tokens"]  # Kyma sends the provider's name for it.
_SAMPLING = (
    "temperature",
    "top_p",
    "stop",
    "seed",
    "frequency_penalty",
    "presence_penalty",
)
_OF_EMBEDDINGS = ("encoding_format",)


def model_object(model: ModelEntry) -> dict:
    """Return the model object of the wire protocol."""
    cheapest = model.candidates[0]
    return {
        "id": model.slug,
        "object": "model",
        "created": model.created,
        "owned_by": model.maker,
        "canonical_slug": model.slug,
        "hugging_face_id": model.hugging_face_id,
        "name": model.name,
        "description": model.description,
        "context_length": model.context_length,
        "knowledge_cutoff": None,  # The catalogue has no source for it.
        "architecture": _architecture(model.capabilities),
        "pricing": pricing(cheapest.price),
        "top_provider": {
            "context_length": cheapest.context_length,
            "max_completion_tokens": model.max_output_tokens,
            "is_moderated": False,
        },
        "per_request_limits": None,
        "supported_parameters": supported_parameters(model),
        "providers": [_provider(candidate) for candidate in model.candidates],
        "verified_price": cheapest.price_verified,
        **_for_anthropic(model),
    }


def alias_object(alias: str, model: ModelEntry) -> dict:
    """Return the object of an alias: that of its current model, under the name of the alias."""
    name = f"{alias} (now {model.name})"
    shown = {"id": alias, "name": name, "display_name": name, "alias_of": model.slug}
    return {**model_object(model), **shown}


def pricing(price: Price) -> dict[str, str]:
    """Return prices in dollars per token, per request and per image."""
    return {
        "prompt": _decimal(price.input, _PER_TOKEN_DECIMALS),
        "completion": _decimal(price.output, _PER_TOKEN_DECIMALS),
        "request": _decimal(price.request, _USD_DECIMALS),
        "image": _decimal(price.image, _USD_DECIMALS),
        "input_cache_read": _decimal(price.cached_input, _PER_TOKEN_DECIMALS),
    }


def supported_parameters(model: ModelEntry) -> list[str]:
    """Return the parameters that suit the model and that at least one of its routes accepts."""
    if only_embeds(model.capabilities):
        return list(_OF_EMBEDDINGS)
    possible = list(_SAMPLING)
    for capability, parameters in PARAMETERS_OF.items():
        if capability in model.capabilities:
            possible += parameters
    rejected = frozenset.intersection(*(one.unsupported for one in model.candidates))
    return _TOKEN_LIMITS + [parameter for parameter in possible if parameter not in rejected]


def _architecture(capabilities: tuple[str, ...]) -> dict:
    inputs = ["text", "image"] if "vision" in capabilities else ["text"]
    outputs = [] if only_embeds(capabilities) else ["text"]
    outputs += ["embeddings"] if EMBEDDING in capabilities else []
    return {
        "modality": f"{'+'.join(inputs)}->{'+'.join(outputs)}",
        "input_modalities": inputs,
        "output_modalities": outputs,
        "tokenizer": "Other",  # OpenRouter's word for a tokenizer that it has no name for.
        "instruct_type": None,
    }


def _for_anthropic(model: ModelEntry) -> dict:
    created_at = dt.datetime.fromtimestamp(model.created, dt.UTC)
    return {
        "type": "model",
        "display_name": model.name,
        "created_at": f"{created_at:%Y-%m-%dT%H:%M:%SZ}",
        "lifecycle": "active",
        "max_input_tokens": model.context_length,
        "max_tokens": model.max_output_tokens,
    }


def _provider(candidate: Candidate) -> dict:
    return {
        "name": candidate.provider_name,
        "slug": candidate.provider,
        "privacy_policy_url": candidate.privacy_policy_url,
        "retention": candidate.retention,
        "needed_choice": candidate.needed_choice,
        "quantization": candidate.quantization or None,
    }


def _decimal(amount: int, decimals: int) -> str:
    """Return `amount` × 10^-`decimals` as text: (30_000_000, 15) → "0.00000003"."""
    digits = str(amount).rjust(decimals + 1, "0")
    return f"{digits[:-decimals]}.{digits[-decimals:]}".rstrip("0").rstrip(".")
