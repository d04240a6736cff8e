"""Pages of conversations, and actions on one conversation as a whole."""

import uuid

from django.contrib import messages as notices
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from accounts.signed_in import SignedInRequest
from chat import conversations, messages
from chat.errors import NotAllowed
from chat.pages.articles import article
from chat.pages.conversation_page import (
    composer,
    own_conversation,
    own_message,
    redirect_to_message,
    remains_of,
    render_conversation,
    render_new,
    sidebar,
    what_is_deleted_is_404,
)
from chat.pages.forms import RenameForm, SettingsForm


@require_GET
def new(request: SignedInRequest) -> HttpResponse:
    return render_new(request, model=request.GET.get("model", ""))


@require_GET
def temporary(request: SignedInRequest) -> HttpResponse:
    """Show a conversation that only the page holds."""
    context = {
        "is_temporary": True,
        "no_id": uuid.UUID(int=0),  # The page replaces it by a reply's id.
        "settings_form": SettingsForm(),
        **composer(request.user),
        **sidebar(request.user),
    }
    return render(request, "chat/temporary.html", context)


@require_GET
def conversation(request: SignedInRequest, conversation_id: uuid.UUID) -> HttpResponse:
    return render_conversation(request, own_conversation(request.user, conversation_id))


@require_GET
def message(request: SignedInRequest, message_id: uuid.UUID) -> HttpResponse:
    """Return one message as HTML, for a page whose reply is over."""
    found = own_message(request.user, message_id)
    return render(request, "chat/_message.html", {"article": article(messages.alone(found))})


@require_POST
@what_is_deleted_is_404()
def show(request: SignedInRequest, message_id: uuid.UUID) -> HttpResponse:
    """Show the branch with this message."""
    found = own_message(request.user, message_id)
    messages.switch_to(found)
    return redirect_to_message(found)


@require_POST
@what_is_deleted_is_404()
def rename(request: SignedInRequest, conversation_id: uuid.UUID) -> HttpResponse:
    found = own_conversation(request.user, conversation_id)
    form = RenameForm(request.POST)
    if not form.is_valid():
        notices.error(request, f"A title has 1 to {conversations.MAX_TITLE} characters.")
    else:
        conversations.change(found, title=form.cleaned_data["title"])
    return redirect("conversation", found.id)


@require_POST
@what_is_deleted_is_404()
def pin(request: SignedInRequest, conversation_id: uuid.UUID) -> HttpResponse:
    found = own_conversation(request.user, conversation_id)
    conversations.change(found, pinned=request.POST.get("pinned") == "yes")
    return redirect("conversation", found.id)


@require_POST
@what_is_deleted_is_404()
def archive(request: SignedInRequest, conversation_id: uuid.UUID) -> HttpResponse:
    found = own_conversation(request.user, conversation_id)
    is_archived = request.POST.get("archived") == "yes"
    conversations.change(found, archived=is_archived)
    notices.success(request, "Archived." if is_archived else "Back among your chats.")
    return redirect("chat") if is_archived else redirect("conversation", found.id)


@require_POST
def settings(request: SignedInRequest, conversation_id: uuid.UUID) -> HttpResponse:
    found = own_conversation(request.user, conversation_id)
    form = SettingsForm(request.POST)
    if not form.is_valid():
        return render_conversation(request, found, settings_form=form, status=422)
    try:
        system_prompt = form.cleaned_data["system_prompt"]
        conversations.change(found, system_prompt=system_prompt, parameters=form.parameters())
    except NotAllowed as refusal:
        form.add_error(None, str(refusal))
        return render_conversation(request, found, settings_form=form, status=422)
    notices.success(request, "Saved. This applies from the next answer on.")
    return redirect("conversation", found.id)


@require_POST
def delete(request: SignedInRequest, conversation_id: uuid.UUID) -> HttpResponse:
    found = own_conversation(request.user, conversation_id)
    deletion = conversations.delete(request.user, ids=[found.id])
    notices.success(request, f"Deleted, with every message in it.{remains_of(deletion)}")
    return redirect("chat")
