"""The page of a conversation, new or stored. A draft that is refused stays on the page."""

import contextlib
import uuid
from collections.abc import Iterator

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse

from accounts.keyring import data_keys
from accounts.models import User
from accounts.signed_in import SignedInRequest
from chat import conversations, messages, model_choice
from chat.conversations import Deletion
from chat.errors import Deleted
from chat.models import Conversation, Message
from chat.pages.articles import articles
from chat.pages.forms import SettingsForm

MOST_LISTED = 60  # beside a conversation; a link leads to the rest


def own_conversation(user: User, conversation_id: uuid.UUID) -> Conversation:
    """Return the conversation. Raises Http404 unless it is `user`'s."""
    return get_object_or_404(Conversation.objects.of(user), pk=conversation_id)


def own_message(user: User, message_id: uuid.UUID) -> Message:
    """Return the message. Raises Http404 unless it is `user`'s."""
    rows = Message.objects.of(user).select_related("conversation")
    return get_object_or_404(rows, pk=message_id)


@contextlib.contextmanager
def what_is_deleted_is_404() -> Iterator[None]:
    """Decorate a view: answer 404 also if a row is deleted after the view has looked it up."""
    try:
        yield
    except Deleted as error:
        raise Http404 from error


def remains_of(deletion: Deletion) -> str:
    """Return what a page adds to its notice if something of a deleted chat is left in a file."""
    if deletion.is_complete:
        return ""
    return (
        " Encrypted remains are left in the database's files, because something still reads them."
        " Kyma tries each hour to remove them."
    )


def render_conversation(
    request: SignedInRequest,
    conversation: Conversation,
    *,
    draft: str = "",
    model: str = "",
    error: str = "",
    error_code: str = "",
    settings_form: SettingsForm | None = None,
    status: int = 200,
) -> HttpResponse:
    cipher = data_keys.cipher_of(conversation.user_id)
    page = messages.page_of(conversation, at=_id_or_none(request.GET.get("at", "")))
    shown = articles(page.shown)
    context = {
        "conversation": conversation,
        "title": conversation.opened(cipher, "title") or "Untitled",
        "articles": shown,
        "earlier": page.earlier,
        "later": page.later,
        "streaming": next((one for one in shown if not one.is_over), None),
        "settings_form": settings_form or _settings_form(conversation, cipher),
        "settings_open": settings_form is not None,
        "draft": draft,
        "error": error,
        "error_code": error_code,
        **composer(request.user, chosen=model or conversation.model),
        **sidebar(request.user),
    }
    return render(request, "chat/conversation.html", context, status=status)


def render_new(
    request: SignedInRequest,
    *,
    draft: str = "",
    model: str = "",
    error: str = "",
    error_code: str = "",
    status: int = 200,
) -> HttpResponse:
    context = {
        "draft": draft,
        "error": error,
        "error_code": error_code,
        **composer(request.user, chosen=model),
        **sidebar(request.user),
    }
    return render(request, "chat/new.html", context, status=status)


def composer(user: User, *, chosen: str = "") -> dict:
    """Return the context of the box for the next message: the models, and the chosen one."""
    choices = model_choice.choices(user)
    return {
        "choices": choices,
        "choice": model_choice.preferring(chosen, user, choices),
        "withheld": model_choice.withheld(user),
        "some_see_images": any(one.has_vision for one in choices),
        "max_images": messages.MAX_IMAGES,
    }


def sidebar(user: User) -> dict:
    listed = conversations.listed(user, limit=MOST_LISTED)
    return {
        "section": "chat",
        "pinned": [one for one in listed if one.is_pinned],
        "recent": [one for one in listed if not one.is_pinned],
    }


def _settings_form(conversation: Conversation, cipher) -> SettingsForm:
    system_prompt = conversation.opened(cipher, "system_prompt")
    return SettingsForm(initial={"system_prompt": system_prompt, **conversation.parameters})


def redirect_to_message(message: Message) -> HttpResponse:
    page = reverse("conversation", args=[message.conversation_id])
    return redirect(f"{page}?at={message.id}#m-{message.id}")


def _id_or_none(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
