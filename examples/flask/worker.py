"""The same chat behind Hallporter: worker.py [BROKER]"""

import sys
from pathlib import Path

import socketio

sys.path.append(str(Path(__file__).parent.parent / "workers"))
from redis_worker import run

[BROKER] = sys.argv[1:] or ["redis://127.0.0.1:6379"]
CHANNEL = "flask-socketio"

manager = socketio.RedisManager(BROKER, channel=CHANNEL, write_only=True)


def connect(event):
    name = (event["handshake"]["auth"] or {}).get("name")
    if not name:
        return {"refuse": {"message": "what is your name?"}}
    return {"session": change(event, name=name), "emits": [to(event["sid"], "welcome", name)]}


def join(event, room):
    joined = {"room": room, "name": event["session"]["name"]}
    return {"join": [room], "emits": [to(room, "joined", joined)], "ack": ["ok"]}


def say(event, room, text):
    if not text.strip():
        return {"ack": ["error", "say something"]}
    session = event["session"]
    said = session.get("said", 0) + 1
    message = {"room": room, "name": session["name"], "text": text}
    return {"session": change(event, said=said), "emits": [to(room, "said", message)], "ack": ["ok", said]}


def leave(event, room):
    left = {"room": room, "name": event["session"]["name"]}
    return {"leave": [room], "emits": [to(room, "left", left)], "ack": ["ok"]}


def disconnect(event):
    """Many may have gone. Nobody waits for a reply, so this emits by itself."""
    for gone in event["disconnects"]:
        manager.emit("gone", gone["session"]["name"])


HANDLERS = {"connect": connect, "join": join, "say": say, "leave": leave, "disconnect": disconnect}


def to(room, event, data):
    return {"event": event, "args": [data], "rooms": [room]}


def change(event, **values):
    """Holds only if nobody else has changed the session since; otherwise the event comes again."""
    return {"version": event["session_version"], "set": values}


def handle(event):
    return HANDLERS[event["event"]](event, *event["args"])


if __name__ == "__main__":
    run(handle, BROKER, "chat", CHANNEL)
