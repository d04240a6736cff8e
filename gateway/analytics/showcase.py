"""The public view of all models and providers, for the pages.

It is the same for everybody, so each process builds it at most once in SHOWCASE_TTL_S, with a
fixed number of queries.
"""

import dataclasses
import datetime as dt
from collections import defaultdict
from collections.abc import Iterable

from django.conf import settings
from django.utils import timezone

from billing.pricing import Price
from gateway.access.consent import Standing
from gateway.analytics import history as route_history
from gateway.analytics import levels as service_levels
from gateway.analytics.levels import History, Level
from gateway.catalogue.entries import only_embeds
from gateway.models import Model, Provider, RollupState, Route
from gateway.short_cache import SharedValue

GOOD_UPTIME, FAIR_UPTIME = 99.0, 95.0  # percent


class State:
    """The present state of a model, of a provider or of all models together."""

    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"
    UNKNOWN = "unknown"


@dataclasses.dataclass(frozen=True, slots=True)
class Day:
    """The uptime on one day (UTC), and the grade by which it is drawn."""

    date: dt.date
    uptime: float | None

    @property
    def grade(self) -> str:
        if self.uptime is None:
            return "none"
        if self.uptime >= GOOD_UPTIME:
            return "good"
        return "fair" if self.uptime >= FAIR_UPTIME else "poor"


@dataclasses.dataclass(frozen=True, slots=True)
class Measured:
    """The service of some routes, in the figures that pages show."""

    last_24_hours: Level
    last_30_days: Level
    days: tuple[Day, ...]

    @classmethod
    def of(cls, histories: Iterable[History], now: dt.datetime) -> "Measured":
        history, dates = History.sum(histories), service_levels.days_until(now)
        levels = {date: Level.of(tally) for date, tally in history.days.items()}
        days = (Day(date, levels[date].uptime if date in levels else None) for date in dates)
        return cls(Level.of(history.last_24_hours), Level.of(history.last_30_days), tuple(days))

    @property
    def has_traffic(self) -> bool:
        return self.last_30_days.has_traffic


@dataclasses.dataclass(frozen=True, slots=True)
class Offer:
    """One route to a model, with its price; `is_open`: its breaker keeps requests away."""

    route: Route
    history: History
    measured: Measured
    is_open: bool
    states_retention: bool
    needed_choice: str

    @property
    def price(self) -> Price:
        return self.route.price_version.price

    @property
    def context_length(self) -> int:
        return self.route.context_length or self.route.model.context_length


@dataclasses.dataclass(frozen=True, slots=True)
class ShownModel:
    """A model that can be used, with its routes, the cheapest first."""

    model: Model
    offers: tuple[Offer, ...]
    measured: Measured

    @property
    def cheapest(self) -> Offer:
        return self.offers[0]

    def standing(self, choice: str) -> Standing:
        """Return which providers a person's choice allows (P7), and what others would add."""
        return Standing.of(choice, (offer.needed_choice for offer in self.offers))

    @property
    def only_embeds(self) -> bool:
        return only_embeds(tuple(self.model.capabilities))

    @property
    def state(self) -> str:
        return _state(self.offers, self.measured)


@dataclasses.dataclass(frozen=True, slots=True)
class ShownProvider:
    """A provider that serves at least one model."""

    provider: Provider
    offers: tuple[Offer, ...]
    measured: Measured

    @property
    def states_retention(self) -> bool:
        return self.offers[0].states_retention

    @property
    def needed_choice(self) -> str:
        return self.offers[0].needed_choice

    @property
    def state(self) -> str:
        state = _state(self.offers, self.measured)
        if state == State.UNKNOWN and self.provider.probe_ok:
            return State.UP
        if state != State.DOWN and self.provider.probe_ok is False:
            return State.DEGRADED
        return state


def _state(offers: tuple[Offer, ...], measured: Measured) -> str:
    open_ones = sum(offer.is_open for offer in offers)
    if open_ones == len(offers):
        return State.DOWN
    if open_ones:
        return State.DEGRADED
    return State.UP if measured.last_24_hours.has_answered else State.UNKNOWN


@dataclasses.dataclass(frozen=True, slots=True)
class Showcase:
    """All usable models and their providers, with their states."""

    models: tuple[ShownModel, ...]
    providers: tuple[ShownProvider, ...]
    measured_at: dt.datetime | None  # The last time at which the log was folded.

    @property
    def state(self) -> str:
        """The state of all models together."""
        states = {one.state for one in self.models}
        if not states - {State.UNKNOWN}:
            return State.UNKNOWN
        if states <= {State.DOWN}:
            return State.DOWN
        return State.DEGRADED if states & {State.DOWN, State.DEGRADED} else State.UP

    def model(self, slug: str) -> ShownModel | None:
        return next((one for one in self.models if one.model.slug == slug), None)


# --- Reading -------------------------------------------------------------------------------------


def showcase() -> Showcase:
    """Return the showcase as it was at most SHOWCASE_TTL_S ago."""
    return _showcase.get(settings.SHOWCASE_TTL_S)


def recent_levels() -> dict[str, Level]:
    """Return how each model served in the last 24 hours, by its slug."""
    return {one.model.slug: one.measured.last_24_hours for one in showcase().models}


def read(now: dt.datetime) -> Showcase:
    offers = _offers(now)
    by_model: dict[Model, list[Offer]] = defaultdict(list)
    by_provider: dict[Provider, list[Offer]] = defaultdict(list)
    for offer in offers:
        by_model[offer.route.model].append(offer)
        by_provider[offer.route.provider].append(offer)
    models = [
        ShownModel(one, tuple(found), _together(found, now)) for one, found in by_model.items()
    ]
    providers = [
        ShownProvider(one, tuple(found), _together(found, now))
        for one, found in by_provider.items()
    ]
    return Showcase(
        tuple(sorted(models, key=lambda one: one.model.slug)),
        tuple(sorted(providers, key=lambda one: one.provider.name.lower())),
        RollupState.objects.values_list("folded_at", flat=True).first(),
    )


def _offers(now: dt.datetime) -> list[Offer]:
    """Return all routes that can be used, the cheapest first."""
    histories = service_levels.read(now)
    open_routes = {route for route, one in route_history.read().items() if one.has_tripped}
    routes = Route.objects.filter(enabled=True, provider__enabled=True, model__enabled=True)
    found = [
        Offer(
            route=route,
            history=histories[route.id],
            measured=Measured.of([histories[route.id]], now),
            is_open=route.id.hex in open_routes,
            states_retention=route.provider.states_retention(now.date()),
            needed_choice=route.provider.needed_choice(now.date()),
        )
        for route in routes.select_related("model", "provider", "price_version")
    ]
    return sorted(found, key=lambda one: (one.price.input + one.price.output, one.route.id))


def _together(offers: list[Offer], now: dt.datetime) -> Measured:
    return Measured.of((one.history for one in offers), now)


_showcase = SharedValue(lambda: read(timezone.now()))
