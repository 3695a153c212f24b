"""The tiny app on python-socketio and uvicorn, as src/apps/mod.rs describes it. `app.py [REDIS_URL]`"""

import socket
import sys

import socketio
import uvicorn

manager = socketio.AsyncRedisManager(sys.argv[1]) if len(sys.argv) > 1 else None
sio = socketio.AsyncServer(async_mode="asgi", client_manager=manager)


@sio.event
async def connect(sid, environ, auth):
    if auth and "room" in auth:
        await sio.enter_room(sid, auth["room"])


@sio.event
async def broadcast(sid, room, first, count):
    for number in range(first, first + count):
        await sio.emit("news", f"{number:08}".ljust(128, "x"), room=room)


@sio.event
async def echo(sid, text):
    return text


listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
print(f"listening address=127.0.0.1:{listener.getsockname()[1]}", flush=True)
config = uvicorn.Config(socketio.ASGIApp(sio), log_level="warning", access_log=False)
uvicorn.Server(config).run(sockets=[listener])
