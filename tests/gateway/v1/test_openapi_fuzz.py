"""The running gateway, asked whatever its own document allows and what it doesn't (schemathesis).

It never fails, and what it answers is what the document says: the status, the type, the headers
and the schema. The document's examples work as they stand.
"""

import uuid

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gateway.models import Model
from gateway.v1.openapi.document import document
from gateway.v1.openapi.requests import EXAMPLES
from tests.gateway.conftest import live_route
from tests.support.counts import counts
from tests.support.factories import make_key
from tests.support.gateway.key_manager import Manager
from tests.support.live import DEADLINE_S, USD

MODEL = EXAMPLES["ChatRequest"]["model"]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
OPERATIONS = [(path, method) for path, methods in document()["paths"].items() for method in methods]


class Caller(Manager):
    """Asks operations of the document, and fills in what exists where that is asked for."""

    def __init__(self, gateway):
        super().__init__(gateway, balance_nano=100_000 * USD, unlimited=True)
        self.schema = schemathesis.openapi.from_url(f"{gateway.url}/v1/openapi.json")

    def operation(self, path: str, method: str):
        return self.schema[path][method]

    def send(self, case):
        """The answer, once it was held to the document."""
        is_for_managers = case.operation.path.startswith("/v1/keys")
        text = self.management_text if is_for_managers else self.key_text
        headers = {"Authorization": f"Bearer {text}"}
        response = case.call(self.gateway.url, headers=headers, timeout=DEADLINE_S)
        case.validate_response(response, checks=CHECKS)
        return response

    def aim(self, case) -> None:
        """Name a model, a key and a generation that exist, and repeat nothing."""
        if "Idempotency-Key" in (case.headers or {}):
            case.headers["Idempotency-Key"] = uuid.uuid4().hex
        if isinstance(case.body, dict) and "model" in case.body:
            case.body["model"] = MODEL
        if "model" in case.path_parameters:
            case.path_parameters["model"] = MODEL
        if "hash" in case.path_parameters:
            case.path_parameters["hash"] = make_key(self.user)[0].id.hex
        if "id" in (case.query or {}):
            case.query["id"] = self.ask("Hello", model=MODEL).json()["id"]


@pytest.fixture
def caller(scripted, fake, patient_gateway):
    live_route(MODEL, fake.base_url)
    Model.objects.filter(slug=MODEL).update(capabilities=["json", "embedding"])
    return Caller(patient_gateway)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_the_example_of_an_operation_works(caller, path, method):
    operation = caller.operation(path, method)
    fields = {}
    if body := operation.definition.raw.get("requestBody"):
        content = body["content"]["application/json"]
        fields = {"body": dict(content["example"]), "media_type": "application/json"}
    case = operation.Case(path_parameters={"model": MODEL, "hash": ""}, query={"id": ""}, **fields)
    caller.aim(case)
    assert caller.send(case).status_code in (200, 201)


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"]
)
def test_a_stream_is_taken_for_what_it_is(caller, path):
    operation = caller.operation(path, "post")
    example = operation.definition.raw["requestBody"]["content"]["application/json"]["example"]
    body = {**example, "model": MODEL, "stream": True}
    response = caller.send(operation.Case(body=body, media_type="application/json"))
    assert response.headers["content-type"] == ["text/event-stream; charset=utf-8"]


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
@pytest.mark.parametrize("examples", counts(5, proof=20, endurance=100))
def test_an_operation_does_what_it_says(caller, path, method, examples):
    operation = caller.operation(path, method)
    wanted = operation.as_strategy(GenerationMode.POSITIVE)
    cases = wanted | operation.as_strategy(GenerationMode.NEGATIVE)
    statuses = []

    @settings(max_examples=examples, suppress_health_check=list(HealthCheck))
    @given(case=cases, is_aimed=st.booleans())
    def keeps_to_its_document(case, is_aimed) -> None:
        if is_aimed:
            caller.aim(case)
        statuses.append(caller.send(case).status_code)

    keeps_to_its_document()
    assert examples < 100 or {200, 201} & set(statuses)
