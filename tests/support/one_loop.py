"""Requests of Django's test client to the chat: each on one event loop, as in the web process.

The client's own loops end in the middle of a view, and leave replies, connections to providers and
Redis behind, for tests that have a loop to stumble over.
"""

from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async

from chat import replies
from gateway.v1 import handler as gateway

CHATS = ("/chat", "/api/conversations")


class OneLoop:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)

    def process_view(self, request, view, args, kwargs):
        if request.path.startswith(CHATS):
            return async_to_sync(_answered)(request, view, args, kwargs)
        return None


async def _answered(request, view, args, kwargs):
    answer = view if iscoroutinefunction(view) else sync_to_async(view)
    try:
        return await answer(request, *args, **kwargs)
    finally:
        await replies.close()
        await gateway.close()
