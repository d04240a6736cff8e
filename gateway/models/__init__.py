"""The tables of the gateway: catalogue, log of requests, what the log adds up to, web processes."""

from gateway.models.catalogue import Model, Provider, Route
from gateway.models.log import (
    BILLED,
    ApiRequest,
    ContentLeftOut,
    IdempotentRequest,
    RequestContent,
    content_place,
    kept_answer_place,
)
from gateway.models.operator import OperatorMail
from gateway.models.processes import SweeperState, WebProcess
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
    "ContentLeftOut",
    "IdempotentRequest",
    "Model",
    "OperatorMail",
    "Provider",
    "RequestContent",
    "RollupState",
    "Route",
    "ServiceDay",
    "ServiceHour",
    "SweeperState",
    "UsageDay",
    "UsageHour",
    "WebProcess",
    "content_place",
    "kept_answer_place",
]
