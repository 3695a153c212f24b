"""Writes deliveries.json: what python-socketio's own server sends its clients for each captured message.

    pip install python-socketio==5.18.1 && python3 deliveries.py
"""

import asyncio
import base64
import glob
import json
import os

import socketio
from socketio.async_manager import AsyncManager
from socketio.async_pubsub_manager import AsyncPubSubManager
from socketio.packet import EVENT, Packet

HERE = os.path.dirname(os.path.abspath(__file__))


class Manager(AsyncPubSubManager):
    """Hands every message to python-socketio's own rules, and keeps what they would emit."""

    async def _publish(self, data):
        raise AssertionError("a received message is not published again")


async def deliveries(payload):
    emitted = []

    async def emit(self, event, data, namespace, room=None, skip_sid=None, callback=None, **_):
        # As AsyncManager.emit and AsyncServer._send_packet do it.
        args = list(data) if isinstance(data, tuple) else [] if data is None else [data]
        frames = Packet(EVENT, namespace=namespace, data=[event, *args]).encode()
        frames = frames if isinstance(frames, list) else [frames]
        emitted.append({
            "namespace": namespace,
            "room": room,
            "skip_sid": skip_sid,
            "frames": [f if isinstance(f, str) else {"base64": base64.b64encode(f).decode()} for f in frames],
        })

    AsyncManager.emit = emit
    server = socketio.AsyncServer(client_manager=Manager(), async_mode="asgi")
    try:
        message = json.loads(payload)
    except ValueError:
        return None
    if message["method"] != "emit":
        return None
    await server.manager._handle_emit(message)
    return emitted


async def main():
    found = {}
    for path in sorted(glob.glob(os.path.join(HERE, "python", "*.json"))):
        with open(path) as sample:
            payload = base64.b64decode(json.load(sample)["payload_base64"])
        delivered = await deliveries(payload)
        if delivered is not None:
            found[os.path.basename(path)] = delivered
    with open(os.path.join(HERE, "deliveries.json"), "w") as out:
        json.dump(found, out, indent=1)
        out.write("\n")


asyncio.run(main())
