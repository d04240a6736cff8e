"""Views on many conversations: the list and its search, deleting, export and import."""

import uuid

from django.contrib import messages as notices
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.models import User
from accounts.signed_in import SignedInRequest
from chat import conversations, model_choice, search
from chat.errors import ImportBusy, NotAllowed
from chat.files import transfer
from chat.models import Conversation
from chat.pages.conversation_page import own_conversation, remains_of, sidebar
from chat.pages.forms import ImportForm
from gateway.database import by_part
from gateway.errors import TooManyRequests

PAGE = 100  # conversations
CONTENT_TYPES = {"json": "application/json", "md": "text/markdown; charset=utf-8"}


@require_GET
def all_conversations(request: SignedInRequest) -> HttpResponse:
    text = request.GET.get("q", "").strip()
    return _found(request, text) if text else _list(request)


def _found(request: SignedInRequest, text: str) -> HttpResponse:
    before = next(iter(_ids([request.GET.get("before", "")])), None)
    context = {"q": text, "before": before, "is_list": True, **sidebar(request.user)}
    try:
        search.count(request.user)
        found = search.search(request.user, text=text, before=before)
    except TooManyRequests as refusal:
        response = render(request, "chat/all.html", context | {"refusal": refusal.message})
        response.status_code, response["Retry-After"] = 429, refusal.headers["Retry-After"]
        return response
    except NotAllowed as refusal:
        context |= {"refusal": str(refusal)}
        return render(request, "chat/all.html", context, status=422)
    return render(request, "chat/all.html", context | {"hits": found.hits, "cursor": found.cursor})


def _list(
    request: SignedInRequest, *, form: ImportForm | None = None, busy: str = "", status: int = 200
) -> HttpResponse:
    is_archive = request.GET.get("archived") == "yes"
    number = _page_number(request.GET.get("page", ""))
    listed = _listed(request.user, is_archive, number)
    context = {
        "is_archive": is_archive,
        "listed": listed[:PAGE],
        "newer": number - 1,
        "older": number + 1 if len(listed) > PAGE else None,
        "form": form or ImportForm(),
        "busy": busy,
        "is_list": True,
        **sidebar(request.user),
    }
    return render(request, "chat/all.html", context, status=status)


def _page_number(text: str) -> int:
    """Return the page number, from 1. Text that is no number means the first page."""
    return max(int(text), 1) if text.isdecimal() and len(text) < 7 else 1


def _listed(user: User, is_archive: bool, number: int) -> list[conversations.Listed]:
    """Return the conversations of a page, and one more if another page follows."""
    start = (number - 1) * PAGE
    return conversations.listed(user, archived=is_archive, start=start, limit=PAGE + 1)


@require_POST
def delete_many(request: SignedInRequest) -> HttpResponse:
    deletion = conversations.delete(request.user, ids=_ids(request.POST.getlist("ids")))
    if count := deletion.count:
        noun = "conversation" if count == 1 else "conversations"
        said = f"Deleted {count} {noun}, with every message in them.{remains_of(deletion)}"
        notices.success(request, said)
    else:
        notices.warning(request, "Tick what you want to delete first.")
    return redirect("conversations")


@require_http_methods(["GET", "HEAD", "POST"])
def export_many(request: SignedInRequest, kind: str) -> StreamingHttpResponse:
    """Export the ticked conversations, or all of them if none is ticked."""
    return _file(request, kind, _ids(request.POST.getlist("ids")) or None, "kyma-chats")


@require_GET
def export(
    request: SignedInRequest, conversation_id: uuid.UUID, kind: str
) -> StreamingHttpResponse:
    found = own_conversation(request.user, conversation_id)
    return _file(request, kind, [found.id], "kyma-chat")


@require_POST
def import_file(request: SignedInRequest) -> HttpResponse:
    form = ImportForm(request.POST, request.FILES)
    try:
        with transfer.importing():
            if not form.is_valid():
                return _list(request, form=form, status=422)
            return _imported(request, _import(request.user, form.cleaned_data["file"]))
    except ImportBusy as refusal:
        response = _list(request, busy=str(refusal), status=429)
        response["Retry-After"] = "5"
        return response
    except NotAllowed as refusal:
        form.add_error("file", str(refusal))
        return _list(request, form=form, status=422)


def _import(user: User, content: bytes) -> list[Conversation]:
    model = model_choice.default(user, model_choice.choices(user))
    return transfer.import_file(user, content=content, model=model)


def _imported(request: SignedInRequest, found: list[Conversation]) -> HttpResponse:
    if len(found) == 1:
        return redirect("conversation", found[0].id)
    notices.success(request, f"Imported {len(found)} conversations.")
    return redirect("conversations")


def _file(
    request: SignedInRequest, kind: str, ids: list[uuid.UUID] | None, name: str
) -> StreamingHttpResponse:
    make = transfer.json_parts if kind == "json" else transfer.markdown_parts
    parts = make(request.user, ids=ids)
    day = timezone.localdate().isoformat()
    return StreamingHttpResponse(
        by_part(request, parts),
        content_type=CONTENT_TYPES[kind],
        headers={"Content-Disposition": f'attachment; filename="{name}-{day}.{kind}"'},
    )


def _ids(texts: list[str]) -> list[uuid.UUID]:
    """Return the ids among `texts`, leaving out text that is no id."""
    found = []
    for text in texts:
        try:
            found.append(uuid.UUID(text))
        except ValueError:
            continue
    return found
