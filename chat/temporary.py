"""A conversation that is stored nowhere: the page holds it, and sends all of it each time."""

import dataclasses
from collections.abc import AsyncGenerator

import orjson

from accounts.models import User
from chat import conversations, replies
from chat.errors import NotAllowed
from chat.prompt import Said
from chat.stored_replies import Snapshot

ROLES = ("user", "assistant")


@dataclasses.dataclass(frozen=True)
class TemporaryChat:
    model: str
    said: list[Said]
    system_prompt: str
    parameters: dict

    @classmethod
    def of(cls, body: bytes) -> "TemporaryChat":
        """Raises NotAllowed."""
        try:
            sent = orjson.loads(body)
            said = [_said(one) for one in sent["messages"]]
            texts = sent["model"], sent.get("system_prompt", "")
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise NotAllowed("That is no conversation. Load the page anew.") from error
        if not said or not all(isinstance(text, str) for text in texts):
            raise NotAllowed("Write something first.")
        parameters = sent.get("parameters") or {}
        return cls(texts[0], said, texts[1], conversations.checked(parameters))

    async def reply(self, user: User) -> AsyncGenerator[Snapshot]:
        """Raises NotAllowed, NoVision."""
        return await replies.temporary(
            user,
            said=self.said,
            model=self.model,
            system_prompt=self.system_prompt,
            parameters=self.parameters,
        )


def _said(sent: dict) -> Said:
    role, text, images = sent["role"], sent["text"], sent.get("images", [])
    if role not in ROLES or not isinstance(text, str) or not isinstance(images, list):
        raise TypeError(role)
    if not all(isinstance(image, str) for image in images):
        raise TypeError("images")
    return Said(role, text, images)
