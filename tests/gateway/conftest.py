import contextlib
import datetime as dt
import functools
import time
import uuid

import pytest

from tests.support.factories import make_price, make_route
from tests.support.gateway import local_provider_process
from tests.support.live import Customer, Gateway

LONGEST_TEST = dt.timedelta(minutes=1)


@pytest.fixture(scope="session")
def _process_with(django_db_setup, django_db_blocker):
    """Starts a gateway process with an environment that no test has asked for yet."""
    with django_db_blocker.unblock(), contextlib.ExitStack() as running:
        yield functools.cache(lambda **environment: running.enter_context(Gateway(**environment)))


@pytest.fixture
def patient_gateway(request, committed, _process_with):
    """A gateway process that knows only the models of other fixtures."""
    return _process_with(**asked_of(request.node))


@pytest.fixture
def scripted(committed, fake):
    """The route to the model "scripted", served by the fake provider."""
    return live_route("scripted", fake.base_url)


@pytest.fixture
def hosted(committed, fake) -> str:
    """A model whose provider stands elsewhere, and so is sent web addresses of pictures."""
    today = dt.datetime.now(dt.UTC).date()
    statement = {"retention": "none", "retention_evidence_date": today}
    return live_route("hosted", fake.base_url, self_hosted=False, **statement).model.slug


@pytest.fixture(scope="session")
def local_provider():
    """The local provider, a process with the real model; one for all tests."""
    provider = local_provider_process.start(KYMA_LOCAL_ENGINE="")
    yield provider
    local_provider_process.stop(provider)


@pytest.fixture
def smollm(committed, local_provider):
    """The route to the local provider's model, under the model's own name."""
    route = live_route(local_provider_process.MODEL, f"{local_provider.address}/v1")
    route.upstream_model = local_provider_process.MODEL
    route.save(update_fields=["upstream_model"])
    route.model.capabilities = ["json", "embedding"]
    route.model.save(update_fields=["capabilities"])
    return route


@pytest.fixture
def gateway(request, committed, scripted, _process_with):
    """A gateway process, and the model "scripted". It is patient, but for what the test's mark
    `gateway_with` says.
    """
    return _process_with(**asked_of(request.node))


def asked_of(test: pytest.Item) -> dict[str, str]:
    marker = test.get_closest_marker("gateway_with")
    return marker.kwargs if marker else {}


@pytest.fixture(scope="session")
def _two_processes(django_db_setup, django_db_blocker):
    with (
        django_db_blocker.unblock(),
        Gateway() as one,
        Gateway() as other,
    ):
        yield one, other


@pytest.fixture
def gateways(committed, scripted, _two_processes):
    """Two gateway processes on the same books, for many requests at once."""
    return _two_processes


@pytest.fixture
def within_a_day():
    """No day of UTC begins during the test. Caps begin anew then, by the clock of the gateway's
    process, which no test can set: so the last minute of a day is waited out.
    """
    now = dt.datetime.now(dt.UTC)
    midnight = dt.datetime.combine(now.date() + dt.timedelta(days=1), dt.time(), dt.UTC)
    if midnight - now < LONGEST_TEST:
        time.sleep((midnight - now).total_seconds())


@pytest.fixture
def customer(gateway):
    """Somebody with a dollar."""
    return Customer(gateway)


def live_route(slug: str, base_url: str, **provider_fields):
    """A route that stays: to `slug` through a provider of the same name."""
    from gateway.models import Model, Provider, Route

    fields = {
        "name": slug.title(),
        "self_hosted": True,
        "stops_billing_on_cancel": True,
        **provider_fields,
    }
    provider, _ = Provider.objects.update_or_create(
        slug=slug, defaults={"base_url": base_url, **fields}
    )
    fields = {"maker": "Test", "context_length": 8192, "capabilities": ["reasoning"]}
    model, _ = Model.objects.get_or_create(slug=slug, defaults={"name": slug, **fields})
    route = Route.objects.filter(model=model, provider=provider).first()
    return route or Route.objects.create(
        model=model, provider=provider, upstream_model=f"up/{slug}", price_version=make_price()
    )


def two_routes(base_url: str, dearer_base_url: str):
    """The second of two routes to a new model: at twice the price, through "dearer"."""
    from gateway.models import Provider

    slug = f"twofold-{uuid.uuid4().hex[:8]}"  # New, so that no breaker is open.
    live_route(slug, base_url)
    fields = {"name": "Dearer", "self_hosted": True, "stops_billing_on_cancel": True}
    provider, _ = Provider.objects.update_or_create(
        slug="dearer", defaults={"base_url": dearer_base_url, **fields}
    )
    price = make_price(input_nano=200_000_000, output_nano=800_000_000)
    return make_route(slug, provider=provider, price=price)
