"""A process that has one reply written, and lives until it is killed."""

import asyncio
import sys

import django

django.setup()

from chat import replies  # noqa: E402
from chat.models import Conversation  # noqa: E402


async def main(conversation_id: str, text: str) -> None:
    conversation = await Conversation.objects.aget(pk=conversation_id)
    reply = await replies.send(conversation, text=text)
    print(reply.id, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
