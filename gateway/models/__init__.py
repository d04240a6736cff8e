"""The tables of the gateway: its catalogue, the log of requests, and what the log adds up to."""

from gateway.models.catalogue import Model, Provider, Route
from gateway.models.log import (
    BILLED,
    ApiRequest,
    IdempotentRequest,
    RequestContent,
    content_place,
    kept_answer_place,
)
from gateway.models.operator import OperatorMail
from gateway.models.rollups import (
    RollupState,
    ServiceDay,
    ServiceHour,
    UsageDay,
    UsageHour,
)

__all__ = [
    "BILLED",
    "ApiRequest",
    "IdempotentRequest",
    "Model",
    "OperatorMail",
    "Provider",
    "RequestContent",
    "RollupState",
    "Route",
    "ServiceDay",
    "ServiceHour",
    "UsageDay",
    "UsageHour",
    "content_place",
    "kept_answer_place",
]
