"""The description of /api/ and the page made from it."""

import re

import pytest
from django.test import Client
from drf_spectacular.validation import validate_schema

from kyma.api.description import document
from tests.support.api_client import signed_in
from tests.support.api_things import OPERATIONS, PATHS

pytestmark = pytest.mark.usefixtures("books")


def test_the_description_is_openapi_and_needs_no_key():
    answer = Client().get("/api/schema")
    assert answer["Content-Type"] == "application/json"
    assert answer.json() == document()
    assert answer.json()["openapi"] == "3.1.0"
    validate_schema(answer.json())


def test_every_operation_has_a_name_of_its_own_and_says_what_it_does():
    operations = [PATHS[path][method] for method, path in OPERATIONS]
    assert len({one["operationId"] for one in operations}) == len(operations)
    assert all(one["summary"] for one in operations)
    answers = [answer for one in operations for answer in one["responses"].values()]
    assert all(answer["description"] for answer in answers)
    assert all({"429", "500"} <= set(one["responses"]) for one in operations)


def test_what_has_no_body_can_be_refused_too():
    reply = "/api/conversations/{conversation_id}/messages/{message_id}/regenerate"
    assert {"400", "409"} <= set(PATHS[reply]["post"]["responses"])


def test_private_operations_take_a_key_or_a_session():
    for method, path in OPERATIONS:
        operation = PATHS[path][method]
        wanted = [{"key": []}, {"session": []}] if "x-scope" in operation else None
        assert operation.get("security") == wanted


@pytest.fixture
def page(alice):
    answer = signed_in(alice).get("/api/docs")
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_page_shows_every_operation(page):
    for method, path in OPERATIONS:
        operation_id = PATHS[path][method]["operationId"]
        assert page.count(f'id="{operation_id}"') == 1
        assert f">{method.upper()}</span> <code>{path}</code>" in page


def test_all_links_within_the_page_lead_somewhere(page):
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    links = set(re.findall(r'href="#([^"]+)"', page))
    assert {"Key", "Money", "Problem", "usage"} <= links <= set(ids)


def test_the_page_is_for_everybody_and_runs_nothing(page):
    assert Client().get("/api/docs").status_code == 200
    assert " style=" not in page
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", page))
