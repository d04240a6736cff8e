"""Builds the request to the model: the system prompt, then the branch from its root.

Nothing is left out to make it fit: the gateway refuses what is too long and says so. Messages
without text or images are left out, and so is the model's earlier reasoning.
"""

import dataclasses
from collections.abc import Iterable, Sequence

from accounts.encryption import Cipher
from chat import messages
from chat.models import Message


@dataclasses.dataclass(frozen=True, slots=True)
class Said:
    """One message of the prompt; `role` is user or assistant."""

    role: str
    text: str
    images: Sequence[str] = ()

    def as_openai(self) -> dict:
        if not self.images:
            return {"role": self.role, "content": self.text}
        parts: list[dict] = [{"type": "text", "text": self.text}] if self.text else []
        parts += [{"type": "image_url", "image_url": {"url": url}} for url in self.images]
        return {"role": self.role, "content": parts}


def body_of(
    *, model: str, system_prompt: str, said: Iterable[Said], parameters: dict, session: str = ""
) -> dict:
    """Return the body of a chat completion. Requests of one chat have the same `session`."""
    written = [{"role": "system", "content": system_prompt}] if system_prompt else []
    written += [one.as_openai() for one in said if one.text or one.images]
    body = {**parameters, "model": model, "messages": written, "stream": True}
    return {**body, "session_id": session} if session else body


def body_for(reply: Message, cipher: Cipher) -> dict:
    """Return the body of the request for `reply`."""
    conversation = reply.conversation
    before = messages.path_to(conversation, leaf_id=reply.parent_id, cipher=cipher)
    return body_of(
        model=reply.model,
        system_prompt=conversation.opened(cipher, "system_prompt"),
        said=[Said(one.message.role, one.text, one.images) for one in before],
        parameters=conversation.parameters,
        session=str(conversation.id),
    )
