"""The running /api/, asked whatever its own document allows and what it doesn't (schemathesis),
by who is signed in and by a key of the scope.

It never fails, and what it answers is what the document says.
"""

import pytest
import schemathesis
from django.conf import settings as kyma
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from tests.gateway.conftest import live_route
from tests.gateway.v1.test_openapi_fuzz import CHECKS
from tests.support.api_client import signed_in
from tests.support.api_things import BODIES, MODEL, OPERATIONS, PATHS, QUERIES, Things
from tests.support.counts import counts
from tests.support.factories import make_key
from tests.support.live import DEADLINE_S, USD, Customer

WAYS_IN = ("session", "key")
TOKEN = "a" * 32


class Developer(Customer):
    """Calls operations of the document, on things that exist where that is asked for."""

    def __init__(self, gateway):
        super().__init__(gateway, balance_nano=100_000 * USD, unlimited=True)
        self.schema = schemathesis.openapi.from_url(f"{gateway.url}/api/schema")
        self.session = signed_in(self.user).cookies[kyma.SESSION_COOKIE_NAME].value

    def send(self, case, way_in: str):
        """The answer, once it was held to the document."""
        scope = case.operation.definition.raw.get("x-scope")
        case.cookies, headers = {}, {}
        if way_in == "session":
            case.cookies = {kyma.SESSION_COOKIE_NAME: self.session, "csrftoken": TOKEN}
            headers["X-CSRFToken"] = TOKEN
        elif scope:
            _, text = make_key(self.user, scopes=[scope])
            headers["Authorization"] = f"Bearer {text}"
        case.headers = {}
        response = case.call(self.gateway.url, headers=headers, timeout=DEADLINE_S)
        case.validate_response(response, checks=CHECKS)
        return response

    def aim(self, case) -> None:
        """Name things that exist."""
        things = Things(self.user)
        is_about_reply = case.operation.path.endswith("/regenerate")
        for place in case.path_parameters:
            name = place.removesuffix("_id")
            name = "reply" if name == "message" and is_about_reply else name
            case.path_parameters[place] = MODEL if name == "slug" else str(getattr(things, name).id)


@pytest.fixture
def developer(scripted, fake, patient_gateway):
    live_route(MODEL, fake.base_url)
    return Developer(patient_gateway)


def works(operation):
    """The call of an operation that works."""
    method, path = operation.method.lower(), operation.path
    fields = {}
    if (body := BODIES.get((method, path))) is not None:
        fields = {"body": dict(body), "media_type": "application/json"}
    places = {
        one["name"]: "" for one in PATHS[path][method].get("parameters", ()) if one["in"] == "path"
    }
    return operation.Case(path_parameters=places, query=QUERIES.get((method, path), {}), **fields)


@pytest.mark.parametrize("way_in", WAYS_IN)
def test_every_operation_works(way_in, developer):
    for method, path in OPERATIONS:
        case = works(developer.schema[path][method])
        developer.aim(case)
        assert developer.send(case, way_in).status_code < 300, (method, path)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
@pytest.mark.parametrize("examples", counts(5, proof=25, endurance=100))
def test_an_operation_does_what_it_says(developer, method, path, examples):
    operation = developer.schema[path][method]
    wanted = operation.as_strategy(GenerationMode.POSITIVE)
    cases = wanted | operation.as_strategy(GenerationMode.NEGATIVE)

    @settings(max_examples=examples, suppress_health_check=list(HealthCheck))
    @given(case=cases, is_aimed=st.booleans(), way_in=st.sampled_from(WAYS_IN))
    def keeps_to_its_document(case, is_aimed, way_in) -> None:
        if is_aimed:
            developer.aim(case)
        developer.send(case, way_in)

    keeps_to_its_document()
