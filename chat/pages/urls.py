"""The addresses of the chat: a page for each conversation, and the actions on it."""

from django.urls import path

from chat.pages import list_views, reply_views, views

urlpatterns = [
    path("chat", views.new, name="chat"),
    path("chat/start", reply_views.start, name="chat_start"),
    path("chat/all", list_views.all_conversations, name="conversations"),
    path("chat/delete", list_views.delete_many, name="conversations_delete"),
    path("chat/import", list_views.import_file, name="conversations_import"),
    path("chat/export.json", list_views.export_many, {"kind": "json"}, name="chats_as_json"),
    path("chat/export.md", list_views.export_many, {"kind": "md"}, name="chats_as_markdown"),
    path("chat/temporary", views.temporary, name="chat_temporary"),
    path("chat/temporary/reply", reply_views.temporary_reply, name="chat_temporary_reply"),
    path(
        "chat/temporary/<uuid:reply_id>/stop",
        reply_views.temporary_stop,
        name="chat_temporary_stop",
    ),
    path("chat/<uuid:conversation_id>", views.conversation, name="conversation"),
    path("chat/<uuid:conversation_id>/send", reply_views.send, name="conversation_send"),
    path("chat/<uuid:conversation_id>/rename", views.rename, name="conversation_rename"),
    path("chat/<uuid:conversation_id>/pin", views.pin, name="conversation_pin"),
    path("chat/<uuid:conversation_id>/archive", views.archive, name="conversation_archive"),
    path("chat/<uuid:conversation_id>/settings", views.settings, name="conversation_settings"),
    path("chat/<uuid:conversation_id>/delete", views.delete, name="conversation_delete"),
    path(
        "chat/<uuid:conversation_id>/export.json",
        list_views.export,
        {"kind": "json"},
        name="conversation_as_json",
    ),
    path(
        "chat/<uuid:conversation_id>/export.md",
        list_views.export,
        {"kind": "md"},
        name="conversation_as_markdown",
    ),
    path("chat/messages/<uuid:message_id>", views.message, name="message"),
    path("chat/messages/<uuid:message_id>/show", views.show, name="message_show"),
    path("chat/messages/<uuid:message_id>/events", reply_views.follow, name="message_events"),
    path("chat/messages/<uuid:message_id>/stop", reply_views.stop, name="message_stop"),
    path("chat/messages/<uuid:message_id>/edit", reply_views.edit, name="message_edit"),
    path(
        "chat/messages/<uuid:message_id>/regenerate",
        reply_views.regenerate,
        name="message_regenerate",
    ),
]
