"""The web application: its routes, and all errors in OpenAI's format."""

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from kyma.machine.local_provider import fields
from kyma.machine.local_provider.chat import complete_chat
from kyma.machine.local_provider.completions import complete_text
from kyma.machine.local_provider.embeddings import embed
from kyma.machine.local_provider.engine import MODEL_ID, Engine
from kyma.machine.local_provider.errors import ApiError, InvalidRequest, ModelNotFound, error_body
from kyma.machine.local_provider.worker import Worker

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 4 * 1024 * 1024
MODEL_RELEASED = 1_730_332_800  # 2024-10-31

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def create_app(engine: Engine) -> web.Application:
    app = web.Application(middlewares=[errors_as_json], client_max_size=MAX_BODY_BYTES)
    worker = Worker()

    async def stop_worker(_: web.Application) -> None:
        worker.stop()

    app.on_shutdown.append(stop_worker)
    app.router.add_get("/health", _health(engine))
    app.router.add_get("/v1/models", list_models)
    app.router.add_get("/v1/models/{model}", show_model)
    for path, endpoint in (
        ("/v1/chat/completions", complete_chat),
        ("/v1/completions", complete_text),
        ("/v1/embeddings", embed),
    ):
        app.router.add_post(path, _post(endpoint, engine, worker))
    return app


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ApiError as error:
        return web.json_response(error.body(), status=error.status)
    except web.HTTPException as error:
        body = error_body(error.reason, type="invalid_request_error", param=None, code=None)
        return web.json_response(body, status=error.status)
    except ConnectionError:
        raise
    except Exception:
        logger.exception("a request failed")
        body = error_body("The model failed.", type="server_error", param=None, code=None)
        return web.json_response(body, status=500)


async def list_models(_: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [_model()]})


async def show_model(request: web.Request) -> web.Response:
    _check_model(request.match_info["model"])
    return web.json_response(_model())


def _post(endpoint: Callable, engine: Engine, worker: Worker) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        body = await fields.read_body(request)
        _check_model(body.get("model"))
        return await endpoint(request, body, engine=engine, worker=worker)

    return handle


def _health(engine: Engine) -> Handler:
    async def health(_: web.Request) -> web.Response:
        return web.json_response(
            {
                "status": "ok",
                "engine": engine.name,
                "note": engine.note,
                "model": MODEL_ID,
                "context_length": engine.context_length,
            }
        )

    return health


def _model() -> dict:
    return {
        "id": MODEL_ID,
        "object": "model",
        "created": MODEL_RELEASED,
        "owned_by": "HuggingFaceTB",
    }


def _check_model(model: object) -> None:
    if not isinstance(model, str) or not model:
        raise InvalidRequest("model must be a text that isn't empty.", param="model")
    if model != MODEL_ID:
        raise ModelNotFound(model)
