"""The example irc as a worker: who comes is known by name and reads what was said before.

    HALLPORTER_API__KEY=… worker.py [BROKER [GATEWAY]]

BROKER is redis://, amqp:// or nats://, GATEWAY the URL of any gateway of the cluster: by its HTTP API the worker emits what is no
reply. What the room knows is in the SQLite file IRC_FILE (irc.db), so workers of one machine may share it, and a worker that dies loses
nothing. IRC_IDLE is how many seconds somebody may say nothing (600).
"""

import json
import os
import sqlite3
import sys
import threading
import time
import traceback
import urllib.request
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "workers"))

BROKER, GATEWAY = [*sys.argv[1:], *["redis://127.0.0.1:6379", "http://127.0.0.1:3000"][len(sys.argv) - 1 :]]
FILE, IDLE = os.environ.get("IRC_FILE", "irc.db"), float(os.environ.get("IRC_IDLE", "600"))
KEY = os.environ["HALLPORTER_API__KEY"]
WORKERS = {"redis": "redis_worker", "amqp": "rabbitmq_worker", "nats": "nats_worker"}
MAX_USERS, MAX_MESSAGES, ROOM = 20, 1000, "everyone"
SETTLED = 3  # seconds after which a gateway knows of a user that the worker has let in

TABLES = """
CREATE TABLE IF NOT EXISTS sockets (sid TEXT PRIMARY KEY, name TEXT, active REAL);
CREATE TABLE IF NOT EXISTS messages (event TEXT PRIMARY KEY, time INTEGER, author TEXT, text TEXT);
"""


@contextmanager
def room():
    """The room; what is changed is kept when nothing fails, and nobody else changes it meanwhile."""
    db = sqlite3.connect(FILE, timeout=10, isolation_level=None)
    try:
        db.execute("BEGIN IMMEDIATE")
        yield db
        db.execute("COMMIT")
    finally:
        db.close()


def online(db):
    return {name for [name] in db.execute("SELECT DISTINCT name FROM sockets")}


def connect(event):
    """Known users come in by their name, up to twenty of them; others are asked for one."""
    auth, sid = event["handshake"]["auth"], event["sid"]
    name = str(auth.get("name") or "").strip() if isinstance(auth, dict) else ""
    if not name or len(name) > 20 or not name.isprintable():
        return {"refuse": {"message": "what is your name?", "data": "name"}}
    with room() as db:
        # Without this socket, for the event may come twice.
        db.execute("DELETE FROM sockets WHERE sid = ?", [sid])
        before = online(db)
        if len(before) >= MAX_USERS and name not in before:
            return {"refuse": {"message": f"{MAX_USERS} users are here already"}}
        db.execute("INSERT INTO sockets VALUES (?, ?, ?)", [sid, name, time.time()])
        said = db.execute("SELECT time, author, text FROM messages ORDER BY time").fetchall()
    history = [{"time": when, "author": author, "text": text} for when, author, text in said]
    emits = [{"event": "history", "args": [history], "rooms": [sid]}]
    if name not in before:
        emits.append({"event": "joined", "args": [name, len(before) + 1], "rooms": [ROOM]})
    return {"user": name, "join": [ROOM], "emits": emits}


def say(event):
    text = event["args"][0] if event["args"] else None
    if not isinstance(text, str) or not text.strip() or len(text) > 500:
        return {"error": {"code": "bad_request", "message": "say something, in at most 500 letters"}}
    now, author = time.time(), event["user"]
    with room() as db:
        db.execute("UPDATE sockets SET active = ? WHERE name = ?", [now, author])
        message = (event.get("retry_of") or event["id"], int(now * 1000), author, text)
        db.execute("INSERT OR IGNORE INTO messages VALUES (?, ?, ?, ?)", message)
        oldest = "SELECT event FROM messages ORDER BY time DESC LIMIT -1 OFFSET ?"
        db.execute(f"DELETE FROM messages WHERE event IN ({oldest})", [MAX_MESSAGES])
    said = {"time": message[1], "author": author, "text": text}
    return {"ack": [], "emits": [{"event": "said", "args": [said], "rooms": [ROOM]}]}


def disconnect(event):
    """Nobody waits for a reply to this one."""
    leave([gone["sid"] for gone in event["disconnects"]])


def leave(sids):
    """Takes sockets away, and tells the others whose last it was."""
    with room() as db:
        before = online(db)
        db.executemany("DELETE FROM sockets WHERE sid = ?", [[sid] for sid in sids])
        after = online(db)
    for number, name in enumerate(sorted(before - after), 1):
        api("emit", {"event": "left", "args": [name, len(before) - number], "rooms": [ROOM]})


def watch():
    """Disconnects who has said nothing for long, and notices whom a gateway has taken with it."""
    with room() as db:
        sockets = db.execute("SELECT sid, name, active FROM sockets").fetchall()
    there, now = set(api("users")["users"]), time.time()
    leave([sid for sid, name, active in sockets if name not in there and now - active > SETTLED])
    for name in {name for _, name, active in sockets if name in there and now - active > IDLE}:
        api("users/disconnect", {"user": name})


def api(path, body=None):
    """Asks the gateway; what has a body is a POST."""
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    body = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{GATEWAY}/api/v1/{path}", body, headers)
    with urllib.request.urlopen(request, timeout=5) as response:
        return json.load(response)


def keep_watching():
    while True:
        time.sleep(0.5)
        try:
            watch()
        except Exception:
            traceback.print_exc()


HANDLERS = {"connect": connect, "disconnect": disconnect, "say": say}

if __name__ == "__main__":
    with room() as db:
        for table in filter(str.strip, TABLES.split(";")):
            db.execute(table)
    threading.Thread(target=keep_watching, daemon=True).start()
    worker = import_module(WORKERS[BROKER.split(":")[0]])
    worker.run(lambda event: HANDLERS[event["event"]](event), BROKER, "irc")
