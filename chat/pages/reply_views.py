"""Views that send messages and follow the replies.

A reply is a task of its own: only a temporary chat's reply ends when the browser goes away. A page
with JavaScript asks for JSON, and keeps its draft until it gets the address of the reply.
"""

import uuid
from collections.abc import AsyncGenerator

from asgiref.sync import sync_to_async
from django.http import Http404, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from accounts.keyring import data_keys
from accounts.models import User
from accounts.signed_in import SignedInRequest
from billing.accounts import open_account
from chat import events, messages, model_choice, replies
from chat.errors import NoCredit, NotAllowed, NoVision
from chat.model_choice import Choice
from chat.models import Conversation, Message
from chat.pages.articles import unstored
from chat.pages.conversation_page import (
    own_conversation,
    own_message,
    redirect_to_message,
    render_conversation,
    render_new,
)
from chat.pages.forms import MessageForm
from chat.stored_replies import Snapshot
from chat.temporary import TemporaryChat
from gateway.database import give_connections_back
from gateway.errors import Unavailable

Refusal = NotAllowed | Unavailable
REFUSALS = (NotAllowed, Unavailable)

# --- Saying something ----------------------------------------------------------------------------


@require_POST
async def start(request: SignedInRequest) -> HttpResponse:
    """Begin a conversation with its first message."""
    form = MessageForm(request.POST, request.FILES)
    try:
        await sync_to_async(_check)(request.user, form)
        reply = await replies.start(request.user, **form.cleaned_data)
    except REFUSALS as refusal:
        if _wants_json(request):
            return _refusal_as_json(refusal)
        return await sync_to_async(render_new)(request, **_draft(form), **_refused(refusal))
    return _to_the_end_of(request, reply.conversation)


@require_POST
async def send(request: SignedInRequest, conversation_id: uuid.UUID) -> HttpResponse:
    found = await sync_to_async(own_conversation)(request.user, conversation_id)
    form = MessageForm(request.POST, request.FILES)
    try:
        await sync_to_async(_check)(request.user, form)
        await replies.send(found, **form.cleaned_data)
    except REFUSALS as refusal:
        return await _refuse(request, found, refusal, **_draft(form))
    return _to_the_end_of(request, found)


@require_POST
async def edit(request: SignedInRequest, message_id: uuid.UUID) -> HttpResponse:
    """Add another version of a message, with the same images."""
    message = await sync_to_async(own_message)(request.user, message_id)
    model = await sync_to_async(_model_for)(request, message.conversation)
    form = MessageForm({**request.POST.dict(), "model": model})
    try:
        images = await sync_to_async(_images_of)(message)
        await sync_to_async(_check)(request.user, form, images)
        await replies.edit(message, text=form.cleaned_data["text"], images=images, model=model)
    except REFUSALS as refusal:
        return await _refuse(request, message.conversation, refusal, **_draft(form))
    return _to_the_end_of(request, message.conversation)


@require_POST
async def regenerate(request: SignedInRequest, message_id: uuid.UUID) -> HttpResponse:
    reply = await sync_to_async(own_message)(request.user, message_id)
    model = await sync_to_async(_model_for)(request, reply.conversation)
    try:
        await sync_to_async(_usable)(request.user, model)
        await sync_to_async(_check_credit)(request.user)
        await replies.regenerate(reply, model=model)
    except REFUSALS as refusal:
        return await _refuse(request, reply.conversation, refusal, model=model)
    return _to_the_end_of(request, reply.conversation)


def _check(user: User, form: MessageForm, images: list[str] | None = None) -> None:
    """Raise NotAllowed unless this message may be sent to this model."""
    if not form.is_valid():
        raise NotAllowed(
            " ".join(str(error) for errors in form.errors.values() for error in errors)
        )
    said = form.cleaned_data
    shown = said["images"] if images is None else images
    messages.check(said["text"], shown)
    choice = _usable(user, said["model"])
    if shown and not choice.has_vision:
        raise NoVision(f"{choice.name} sees no images. Choose a model with vision.")
    _check_credit(user)


def _usable(user: User, model: str) -> Choice:
    choice = model_choice.named(model, model_choice.choices(user))
    if choice is None:
        model_choice.check_consent(model, user)
        raise NotAllowed("This model can't be used right now. Choose another.")
    return choice


def _model_for(request: SignedInRequest, conversation: Conversation) -> str:
    """Return the model picked on the page, or else the one that its picker starts with."""
    if picked := request.POST.get("model"):
        return picked
    choices = model_choice.choices(request.user)
    choice = model_choice.preferring(conversation.model, request.user, choices)
    return choice.slug if choice else conversation.model


def _check_credit(user: User) -> None:
    if open_account(user).available_nano <= 0:
        raise NoCredit("You are out of credit, so nothing was sent.")


def _images_of(message: Message) -> list[str]:
    cipher = data_keys.cipher_of(message.conversation.user_id)
    return messages.opened(message, cipher).images


def _draft(form: MessageForm) -> dict[str, str]:
    """Return what a page keeps after a refusal: the text in its box and the picked model."""
    return {"draft": form.data.get("text", ""), "model": form.data.get("model", "")}


def _refused(refusal: Refusal) -> dict:
    return {"error": str(refusal), "error_code": refusal.code, "status": _status_of(refusal)}


async def _refuse(
    request: SignedInRequest, found: Conversation, refusal: Refusal, **draft: str
) -> HttpResponse:
    if _wants_json(request):
        return _refusal_as_json(refusal)
    return await sync_to_async(render_conversation)(request, found, **draft, **_refused(refusal))


def _refusal_as_json(refusal: Refusal) -> HttpResponse:
    content = {"code": refusal.code, "message": str(refusal)}
    return JsonResponse(content, status=_status_of(refusal))


def _status_of(refusal: Refusal) -> int:
    if isinstance(refusal, Unavailable):
        return refusal.status
    return 402 if isinstance(refusal, NoCredit) else 422


def _to_the_end_of(request: SignedInRequest, conversation: Conversation) -> HttpResponse:
    place = reverse("conversation", args=[conversation.id]) + "#end"
    return JsonResponse({"location": place}) if _wants_json(request) else redirect(place)


def _wants_json(request: SignedInRequest) -> bool:
    return request.headers.get("Accept") == "application/json"


# --- Watching, and stopping ----------------------------------------------------------------------


@require_GET
async def follow(request: SignedInRequest, message_id: uuid.UUID) -> HttpResponseBase:
    """Stream the reply as server-sent events, from its present text to its end."""
    reply = await sync_to_async(_own_reply)(request.user, message_id)
    await sync_to_async(give_connections_back)()
    return _stream(events.of(replies.follow(reply), at_the_end=lambda _: {}))


@require_POST
async def stop(request: SignedInRequest, message_id: uuid.UUID) -> HttpResponse:
    reply = await sync_to_async(_own_reply)(request.user, message_id)
    if not reply.is_over:
        await replies.stop(request.user, reply_id=reply.id)
    if _wants_json(request):
        return HttpResponse(status=204)
    return await sync_to_async(redirect_to_message)(reply)


def _own_reply(user: User, message_id: uuid.UUID) -> Message:
    message = own_message(user, message_id)
    if not message.is_reply:
        raise Http404
    return message


def _stream(content: AsyncGenerator[bytes]) -> StreamingHttpResponse:
    response = StreamingHttpResponse(content, content_type="text/event-stream")
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"
    return response


# --- What is stored nowhere ----------------------------------------------------------------------


@require_POST
async def temporary_reply(request: SignedInRequest) -> HttpResponseBase:
    """Stream the next reply of a chat that only the page holds, as server-sent events."""
    try:
        chat = TemporaryChat.of(request.body)
        await sync_to_async(_check_credit)(request.user)
        snapshots = await chat.reply(request.user)
    except REFUSALS as refusal:
        return _refusal_as_json(refusal)
    await sync_to_async(give_connections_back)()
    return _stream(events.of(snapshots, at_the_end=_unstored_html))


@require_POST
async def temporary_stop(request: SignedInRequest, reply_id: uuid.UUID) -> HttpResponse:
    """Stop the person's own reply. The answer is the same if there is none, and reveals nothing."""
    await replies.stop_temporary(request.user, reply_id=reply_id)
    return HttpResponse(status=204)


def _unstored_html(snapshot: Snapshot) -> dict:
    context = {"article": unstored(snapshot), "is_temporary": True}
    return {"html": render_to_string("chat/_message.html", context), "text": snapshot.text}
