"""What is said at the running /api/ is answered, by the model and on the bill."""

import requests

from tests.support.factories import make_key
from tests.support.live import DEADLINE_S, Customer, eventually
from tests.support.provider.scripts import stream, usage_of


def test_a_reply_that_was_begun_is_read_until_it_is_over(scripted, patient_gateway, fake):
    customer = Customer(patient_gateway)
    headers = {"Authorization": f"Bearer {make_key(customer.user, scopes=['chat'])[1]}"}

    def call(method: str, path: str, body: dict | None = None) -> dict:
        url = f"{customer.gateway.url}/api/conversations{path}"
        answer = requests.request(method, url, json=body, headers=headers, timeout=DEADLINE_S)
        assert answer.ok, answer.text
        return answer.json()

    conversation = call("POST", "", {"model": scripted.model.slug})["id"]
    prompt = fake.script(stream("By the moon.", usage=usage_of(10, 5)))
    begun = call("POST", f"/{conversation}/messages", {"text": prompt})
    assert begun["role"] == "assistant"
    path = f"/{conversation}/messages/{begun['id']}"
    reply = eventually(lambda: call("GET", path), lambda one: one["cost"] is not None)
    assert (reply["state"], reply["text"]) == ("finished", "By the moon.")
    (entry,) = customer.usage_entries()
    assert reply["cost"]["nano"] == -entry.amount_nano > 0
    assert reply["request_id"] == str(entry.request_id)
