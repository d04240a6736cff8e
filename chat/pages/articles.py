"""Messages as pages show them: the answer's Markdown as HTML, and its place among its siblings."""

import dataclasses
import uuid
from collections.abc import Sequence

from chat import markdown
from chat.errors import NoConsent
from chat.messages import Shown
from chat.models import Message
from chat.stored_replies import Snapshot

NOT_AFFORDED = "insufficient_credits"


@dataclasses.dataclass(frozen=True)
class Article:
    """`html` and `reasoning` are safe HTML; `text` is the text as it was written."""

    message: Message
    text: str
    html: str
    reasoning: str
    images: list[str]
    error_text: str
    position: int
    count: int
    previous: uuid.UUID | None
    next: uuid.UUID | None

    @property
    def is_over(self) -> bool:
        return self.message.is_over

    @property
    def is_billed(self) -> bool:
        return bool(self.message.cost_nano) or self.message.state == Message.State.FINISHED

    @property
    def wants_credit(self) -> bool:
        return self.message.error == NOT_AFFORDED

    @property
    def wants_consent(self) -> bool:
        return self.message.error == NoConsent.code


def article(shown: Shown) -> Article:
    (made,) = articles([shown])
    return made


def articles(branch: Sequence[Shown]) -> list[Article]:
    """Return the articles of a branch. If rendering all takes too long, the oldest stay plain."""
    newest_first = branch[::-1]
    html = iter(markdown.render_all([text for shown in newest_first for text in _texts(shown)]))
    return [_article(shown, next(html), next(html)) for shown in newest_first][::-1]


def _texts(shown: Shown) -> tuple[str, str]:
    """Return what may be Markdown: the text of an answer, and its reasoning."""
    return (shown.text if shown.message.is_reply else ""), shown.reasoning


def _article(shown: Shown, html: str, reasoning: str) -> Article:
    message, siblings, position = shown.message, shown.siblings, shown.position
    return Article(
        message=message,
        text=shown.text,
        html=html,
        reasoning=reasoning,
        images=shown.images,
        error_text=shown.error_text,
        position=position,
        count=len(siblings),
        previous=siblings[position - 2] if position > 1 else None,
        next=siblings[position] if position < len(siblings) else None,
    )


def unstored(snapshot: Snapshot) -> Article:
    """Return the article of a temporary reply, which is stored nowhere."""
    message = Message(
        id=snapshot.id,
        role=Message.Role.ASSISTANT,
        state=snapshot.state,
        model=snapshot.model,
        provider=snapshot.provider,
        prompt_tokens=snapshot.prompt_tokens,
        completion_tokens=snapshot.completion_tokens,
        estimated=snapshot.estimated,
        cost_nano=snapshot.cost_nano,
        error=snapshot.error,
    )
    error_text = snapshot.error_text
    return article(Shown(message, snapshot.text, snapshot.reasoning, [], error_text, (message.id,)))
