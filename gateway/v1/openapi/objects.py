"""The schemas of Kyma's own objects at /v1, by name. An object has only the members named here.

Tests check the answers of a running gateway against them.
"""

from accounts.models import ProviderChoice
from billing.key_caps import CAPS
from billing.tiers import TIERS
from gateway.keys.fields import RESETS
from gateway.models import ApiRequest, Provider
from gateway.receipts.keys import ALGORITHM
from gateway.receipts.receipt import ROUNDING, SCHEMA
from gateway.v1.openapi.answers import USD
from gateway.v1.price_objects import RATES
from gateway.wire.schema import (
    ANY_OBJECT,
    BOOLEAN,
    COUNT,
    ID,
    INTEGER,
    NULL,
    NUMBER,
    TEXT,
    TIME,
    Schema,
    array,
    choice,
    const,
    obj,
    or_null,
    ref,
    same,
)

NANO: Schema = {"type": "integer", "description": "Nano-dollars: 10⁻⁹ USD."}


def data(schema: Schema) -> Schema:
    return obj({"data": schema})


# --- Models, prices, providers -------------------------------------------------------------------

_RETENTION = choice(*Provider.Retention.values)
_NEEDED_CHOICE = {
    **choice(*ProviderChoice.values),
    "description": "The least choice in an account's privacy settings with which it is used.",
}
_PER_TOKEN = {"type": "string", "description": "USD as a decimal number."}
_PRICE_CLASSES = ("input", "cached_input", "output", "request", "image")
_OFFER = obj(
    {
        "provider": TEXT,
        "price_version": ID,
        "verified": BOOLEAN,
        "usd": obj(same(_PER_TOKEN, *_PRICE_CLASSES)),
        "nano_usd": obj(same(NANO, *_PRICE_CLASSES)),
    }
)

_CATALOGUE: dict[str, Schema] = {
    "Model": obj(
        {
            "id": TEXT,
            "object": const("model"),
            "created": COUNT,
            **same(TEXT, "owned_by", "canonical_slug", "name", "description"),
            "hugging_face_id": or_null(TEXT),
            "context_length": COUNT,
            "knowledge_cutoff": NULL,
            "architecture": obj(
                {
                    "modality": TEXT,
                    **same(array(TEXT), "input_modalities", "output_modalities"),
                    "tokenizer": TEXT,
                    "instruct_type": or_null(TEXT),
                }
            ),
            "pricing": obj(
                same(_PER_TOKEN, "prompt", "completion", "request", "image", "input_cache_read"),
                description="Prices of the cheapest route: per token, per request, per image.",
            ),
            "top_provider": obj(
                {
                    "context_length": COUNT,
                    "max_completion_tokens": or_null(COUNT),
                    "is_moderated": BOOLEAN,
                }
            ),
            "per_request_limits": NULL,
            "supported_parameters": array(TEXT),
            "providers": array(
                obj(
                    {
                        **same(TEXT, "name", "slug"),
                        "privacy_policy_url": or_null(TEXT),
                        "retention": _RETENTION,
                        "needed_choice": _NEEDED_CHOICE,
                        "quantization": or_null(TEXT),
                    }
                )
            ),
            "verified_price": BOOLEAN,
            "type": const("model"),
            "display_name": TEXT,
            "created_at": TIME,
            "lifecycle": const("active"),
            "max_input_tokens": COUNT,
            "max_tokens": or_null(COUNT),
            "alias_of": {**TEXT, "description": "For an alias: the model that it means now."},
        },
        optional=("alias_of",),
    ),
    "ModelList": obj(
        {
            "object": const("list"),
            "data": array(ref("Model")),
            "total_count": {**COUNT, "description": "The number of models that fit the filters."},
            **same(or_null(TEXT), "first_id", "last_id"),
            "has_more": BOOLEAN,
        }
    ),
    "Prices": obj(
        {
            "currency": const("USD"),
            "unit": TEXT,
            "models": array(
                obj(
                    {
                        **same(TEXT, "id", "name"),
                        "cheapest": _OFFER,
                        "providers": array(_OFFER, minItems=1),
                    }
                )
            ),
            "credits": obj(
                {
                    "packages_usd": array(COUNT),
                    "expire": BOOLEAN,
                    "signup_credit_usd": _PER_TOKEN,
                }
            ),
        }
    ),
    "Providers": data(
        array(
            obj(
                {
                    **same(TEXT, "slug", "name"),
                    **same(or_null(TEXT), "privacy_policy_url", "retention_evidence_url"),
                    "retention": _RETENTION,
                    "needed_choice": _NEEDED_CHOICE,
                    "retention_evidence_date": or_null({**TEXT, "format": "date"}),
                    **same(BOOLEAN, "states_retention", "self_hosted"),
                }
            )
        )
    ),
}

# --- The account ---------------------------------------------------------------------------------

_TIER = {
    "tier": {"type": "integer", "minimum": 0, "maximum": len(TIERS) - 1},
    "name": TEXT,
    "lifetime_purchases_usd": COUNT,
}
_RATE = or_null({**COUNT, "minimum": 1})
_OUTCOME = choice(*ApiRequest.Outcome.values)
_ATTEMPT = obj(
    {
        "provider": TEXT,
        "status": or_null(INTEGER),
        "ms": or_null(COUNT),
        "error": or_null(TEXT),
    }
)
_KEY = obj(
    {
        "hash": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        **same(TEXT, "label", "name"),
        **same(or_null(USD), "limit", "limit_remaining"),
        "limit_reset": or_null(choice(*RESETS)),
        **same(USD, "usage", "usage_daily", "usage_weekly", "usage_monthly"),
        "expires_at": or_null(TIME),
        "disabled": BOOLEAN,
        "created_at": TIME,
        "caps": obj(same(or_null(USD), *CAPS)),
        **same(or_null(array(TEXT)), "allowed_models", "allowed_networks"),
        "requests_per_minute": _RATE,
        "rate_limit": obj({"requests": _RATE, "interval": TEXT}),
        "retention_days": COUNT,
        "is_management": BOOLEAN,
    }
)

_ACCOUNT: dict[str, Schema] = {
    "Balance": obj({"currency": const("USD"), **same(USD, "balance", "held", "owed", "available")}),
    "Credits": data(obj(same(USD, "total_credits", "total_usage"))),
    "Tiers": obj({"tiers": array(obj({**_TIER, **same({**COUNT, "minimum": 1}, *RATES)}))}),
    "Limits": data(
        obj(
            {
                **_TIER,
                **same(_RATE, *RATES),
                "unlimited": BOOLEAN,
                "next_tier": or_null(COUNT),
                "key": obj(same(_RATE, "requests_per_minute", "effective_requests_per_minute")),
            }
        )
    ),
    "Key": _KEY,
    "KeyAnswer": data(ref("Key")),
    "KeyList": data(array(ref("Key"))),
    "NewKey": obj({"key": {**TEXT, "description": "Shown only once."}, "data": ref("Key")}),
    "KeyRevoked": obj({"deleted": const(True)}),
}

# --- Receipts ------------------------------------------------------------------------------------

_SHA256 = or_null({"type": "string", "pattern": "^[0-9a-f]{64}$"})

_RECEIPTS: dict[str, Schema] = {
    "Receipt": obj(
        {
            "schema": const(SCHEMA),
            "request_id": ID,
            "created_at": TIME,
            **same(TEXT, "api", "model", "provider"),
            "outcome": _OUTCOME,
            "price_version": or_null(ID),
            "rounding": const(ROUNDING),
            "lines": array(
                obj(
                    {
                        "class": choice(*_PRICE_CLASSES),
                        **same(COUNT, "quantity", "price_nano", "per", "cost_nano"),
                    }
                )
            ),
            **same(NANO, "lines_nano", "hold_nano", "total_nano"),
            **same(BOOLEAN, "capped", "estimated"),
            "attempts": array(_ATTEMPT),
            **same(_SHA256, "request_sha256", "answer_sha256"),
            "signature": obj({"algorithm": const(ALGORITHM), **same(TEXT, "key_id", "value")}),
        }
    ),
    "Generation": data(
        obj(
            {
                "id": TEXT,
                "request_id": ID,
                **same(TEXT, "api_type", "model", "provider_name"),
                "created_at": TIME,
                **same(BOOLEAN, "streamed", "cancelled", "estimated", "is_byok"),
                "outcome": _OUTCOME,
                "status": INTEGER,
                **same(or_null(NUMBER), "latency", "generation_time", "overhead"),
                **same(COUNT, "tokens_prompt", "tokens_completion"),
                **same(COUNT, "native_tokens_prompt", "native_tokens_completion"),
                **same(COUNT, "native_tokens_reasoning", "native_tokens_cached"),
                "finish_reason": {**or_null(TEXT), "description": "As the answer gave it."},
                "native_finish_reason": or_null(TEXT),
                **same(USD, "total_cost", "usage"),
                "cost_details": or_null(obj({"price_version": ID, **same(USD, *_PRICE_CLASSES)})),
                "attempts": array(ANY_OBJECT),
                "content_kept": BOOLEAN,
                "why_no_content": {**or_null(TEXT), "description": "A sentence for people."},
                "receipt": ref("Receipt"),
            }
        )
    ),
    "ReceiptKeys": obj(
        {
            "keys": array(
                obj({"algorithm": const(ALGORITHM), **same(TEXT, "key_id", "public_key", "pem")})
            )
        }
    ),
}


SCHEMAS: dict[str, Schema] = _CATALOGUE | _ACCOUNT | _RECEIPTS
