"""A chat with rooms, as a Flask-SocketIO application: app.py [PORT BROKER]"""

import sys

from flask import Flask, session
from flask_socketio import ConnectionRefusedError, SocketIO, emit, join_room, leave_room

PORT, BROKER = sys.argv[1:] or ("5000", "redis://127.0.0.1:6379")

app = Flask(__name__)
app.secret_key = "only for this example"
socketio = SocketIO(app, message_queue=BROKER, async_mode="threading", cors_allowed_origins="*")


@socketio.on("connect")
def connect(auth):
    name = (auth or {}).get("name")
    if not name:
        raise ConnectionRefusedError("what is your name?")
    session["name"] = name
    emit("welcome", name)


@socketio.on("join")
def join(room):
    join_room(room)
    emit("joined", {"room": room, "name": session["name"]}, to=room)
    return "ok"


@socketio.on("say")
def say(room, text):
    if not text.strip():
        return "error", "say something"
    session["said"] = session.get("said", 0) + 1
    emit("said", {"room": room, "name": session["name"], "text": text}, to=room)
    return "ok", session["said"]


@socketio.on("leave")
def leave(room):
    leave_room(room)
    emit("left", {"room": room, "name": session["name"]}, to=room)
    return "ok"


@socketio.on("disconnect")
def disconnect(reason):
    emit("gone", session["name"], broadcast=True)


if __name__ == "__main__":
    socketio.run(app, port=int(PORT), allow_unsafe_werkzeug=True)
