"""Somebody who manages keys over HTTP, and what a key looks like there."""

import json
from decimal import Decimal

from tests.support.factories import make_key
from tests.support.gateway.http_client import send
from tests.support.live import Customer

FIELDS = {
    *("hash", "label", "name", "limit", "limit_remaining", "limit_reset", "usage", "usage_daily"),
    *("usage_weekly", "usage_monthly", "expires_at", "disabled", "created_at", "caps"),
    *("allowed_models", "allowed_networks", "requests_per_minute", "rate_limit"),
    *("retention_days", "is_management"),
}


class Manager(Customer):
    """Somebody with a management key beside their ordinary one."""

    def __init__(self, gateway, **fields):
        super().__init__(gateway, **fields)
        self.management_key, self.management_text = make_key(self.user, is_management=True)

    def manage(self, method: str, path: str = "", body=None, *, raw: bytes | None = None):
        headers = {"Authorization": f"Bearer {self.management_text}"}
        headers["Content-Type"] = "application/json"
        data = raw if raw is not None or body is None else json.dumps(body)
        return send(self.gateway, method, f"/v1/keys{path}", headers=headers, data=data)

    def make(self, **body) -> dict:
        response = self.manage("POST", "", {"name": "made", **body})
        assert response.status_code == 201, response.text
        return exactly(response)


def exactly(response) -> dict:
    """The JSON of a response, its numbers as they were written."""
    return json.loads(response.text, parse_float=Decimal)


def with_key(gateway, text: str, path: str = "/v1/key"):
    return send(gateway, "GET", path, headers={"Authorization": f"Bearer {text}"})
