"""The JSON versions of the pages /models and /status, with the same figures for programs."""

import datetime as dt

from billing.pricing import usd
from gateway.analytics.levels import LEAST_SAMPLES, Level, Times
from gateway.analytics.showcase import Measured, Offer, Showcase, ShownModel, ShownProvider
from gateway.v1.model_objects import pricing


def models_object(seen: Showcase) -> dict:
    return {**_head(seen), "models": [_model(one) for one in seen.models]}


def status_object(seen: Showcase) -> dict:
    return {
        **_head(seen),
        "state": seen.state,
        "providers": [_provider_status(one) for one in seen.providers],
        "models": [
            {"id": one.model.slug, "state": one.state, "measured": _history(one.measured)}
            for one in seen.models
        ],
    }


def _head(seen: Showcase) -> dict:
    return {"measured_at": _time(seen.measured_at), "least_samples": LEAST_SAMPLES}


def _model(one: ShownModel) -> dict:
    return {
        "id": one.model.slug,
        "name": one.model.name,
        "maker": one.model.maker,
        "context_length": one.model.context_length,
        "max_output_tokens": one.model.max_output_tokens,
        "capabilities": one.model.capabilities,
        "pricing": pricing(one.cheapest.price),
        "usd_per_million_tokens": _prices(one.cheapest),
        "state": one.state,
        "measured": _measured(one.measured),
        "providers": [_offer(offer) for offer in one.offers],
    }


def _offer(offer: Offer) -> dict:
    provider = offer.route.provider
    return {
        "slug": provider.slug,
        "name": provider.name,
        "privacy_policy_url": provider.privacy_policy_url or None,
        "retention": provider.effective_retention,
        "states_retention": offer.states_retention,
        "needed_choice": offer.needed_choice,
        "context_length": offer.context_length,
        "quantization": offer.route.quantization or None,
        "usd_per_million_tokens": _prices(offer),
        "verified_price": offer.route.price_version.verified,
        "measured": _measured(offer.measured),
    }


def _prices(offer: Offer) -> dict[str, str]:
    price = offer.price
    return {
        "input": usd(price.input),
        "cached_input": usd(price.cached_input),
        "output": usd(price.output),
    }


def _provider_status(one: ShownProvider) -> dict:
    return {
        "slug": one.provider.slug,
        "name": one.provider.name,
        "state": one.state,
        "probed_at": _time(one.provider.probed_at),
        "probe_ok": one.provider.probe_ok,
        "measured": _history(one.measured),
    }


def _history(measured: Measured) -> dict:
    days = [{"date": day.date.isoformat(), "uptime_percent": day.uptime} for day in measured.days]
    return {**_measured(measured), "days": days}


def _measured(measured: Measured) -> dict:
    return {
        "last_24_hours": _level(measured.last_24_hours),
        "last_30_days": _level(measured.last_30_days),
    }


def _level(level: Level) -> dict:
    return {
        "uptime_percent": level.uptime,
        "samples_at_least": level.samples,
        "first_token_ms": _times(level.first_token),
        "latency_ms": _times(level.latency),
        "tokens_per_second": level.tokens_per_second,
        "streams_at_least": level.streams,
    }


def _times(times: Times) -> dict:
    return {"p50": times.p50_ms, "p95": times.p95_ms, "samples_at_least": times.samples}


def _time(moment: dt.datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None
