"""The ASGI application: /v1 goes to the gateway's lean handler, most else to Django's.

If a caller asks a model without the /v1, the gateway answers too, because a page would be no help.
"""

import asyncio
import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kyma.settings")
django_application = get_asgi_application()  # First: it loads the apps for the imports below.

from chat import replies  # noqa: E402
from gateway.errors import Unavailable  # noqa: E402
from gateway.untrusted.helper import helper  # noqa: E402
from gateway.v1.handler import close, gateway_application, start  # noqa: E402
from gateway.v1.urls import WITHOUT_VERSION  # noqa: E402
from kyma import health, password_gate  # noqa: E402
from kyma.connections import bodies, strangers  # noqa: E402
from kyma.connections.refusals import Refusal  # noqa: E402
from kyma.metrics import PATH, metrics_application  # noqa: E402

django_application = password_gate.Gate(django_application)


async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    with strangers.counted(scope) as is_admitted:
        if is_admitted:
            await _serve(scope, receive, send)
        else:
            error = Unavailable("Too many requests without a valid key run at this address.")
            await Refusal.of(error, scope["path"]).send(send)


async def _serve(scope, receive, send):
    if _is_for_gateway(scope):
        await gateway_application(scope, receive, send)
    elif scope["path"] == health.PATH and scope["method"] == "GET":
        await health.live_application(scope, receive, send)
    elif scope["path"] == PATH:
        await metrics_application(scope, receive, send)
    else:
        await bodies.apply(django_application, scope, receive, send)


def _is_for_gateway(scope) -> bool:
    path = scope["path"]
    if path == "/v1" or path.startswith("/v1/"):
        return True
    return scope.get("method") == "POST" and path in WITHOUT_VERSION


async def _live(receive, send) -> None:
    """Start gateway and helper; at the end, store what chats and gateway still have to write."""
    while (await receive())["type"] != "lifespan.shutdown":
        helper.start()
        await start()
        await send({"type": "lifespan.startup.complete"})
    await replies.close()
    await close()
    await asyncio.to_thread(helper.close)
    await send({"type": "lifespan.shutdown.complete"})
