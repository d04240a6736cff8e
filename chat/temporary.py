"""A conversation that is stored nowhere: the page holds it and sends all of it each time."""

import dataclasses
from collections.abc import AsyncGenerator
from typing import Any, TypeVar

import orjson

from accounts.models import User
from chat import replies
from chat.errors import NotAllowed
from chat.models import Message
from chat.prompt import Said
from chat.stored_replies import Snapshot

Kind = TypeVar("Kind", str, list, dict)

_NAMES = {str: "text", list: "list", dict: "object"}


@dataclasses.dataclass(frozen=True)
class TemporaryChat:
    """A request of the right shape. `replies` checks whether it is allowed."""

    model: str
    said: list[Said]
    system_prompt: str
    parameters: dict

    @classmethod
    def of(cls, body: bytes) -> "TemporaryChat":
        """Read the body of a request. Raises NotAllowed."""
        try:
            sent = _checked(orjson.loads(body), dict, "The request")
        except orjson.JSONDecodeError as error:
            raise NotAllowed("The request is no JSON. Reload the page.") from error
        said = _field(sent, "messages", list)
        return cls(
            model=_field(sent, "model", str),
            said=[_said(one, f"messages[{index}]") for index, one in enumerate(said)],
            system_prompt=_field(sent, "system_prompt", str),
            parameters=_field(sent, "parameters", dict),
        )

    async def reply(self, user: User) -> AsyncGenerator[Snapshot]:
        """Start the reply. Raises NotAllowed, NoVision, or Unavailable without a database."""
        return await replies.temporary(
            user,
            said=self.said,
            model=self.model,
            system_prompt=self.system_prompt,
            parameters=self.parameters,
        )


def _said(sent: Any, place: str) -> Said:
    fields = _checked(sent, dict, place)
    role = _field(fields, "role", str, place)
    if role not in Message.Role.values:
        raise NotAllowed(f"{place}.role is neither user nor assistant. Reload the page.")
    images = [
        _checked(one, str, f"{place}.images") for one in _field(fields, "images", list, place)
    ]
    return Said(role, _field(fields, "text", str, place), images)


def _field(sent: dict, name: str, kind: type[Kind], place: str = "") -> Kind:
    """Return the value, or an empty one if it is missing or null."""
    value = sent.get(name)
    return kind() if value is None else _checked(value, kind, f"{place}.{name}".lstrip("."))


def _checked(value: Any, kind: type[Kind], place: str) -> Kind:
    if not isinstance(value, kind):
        raise NotAllowed(f"{place} is no {_NAMES[kind]}. Reload the page.")
    return value
