"""Drives python-socketio for the tests: requests come in as JSON lines, reports go out as JSON lines.

A request {"id", "op", ...} is answered by {"reply": id, "ok": value} or {"reply": id, "error": text}.
What happens to a client or a server is reported as {"client": name, "kind": ..., ...}.
"""

import asyncio
import inspect
import json
import os
import sys
import threading

import socketio
from aiohttp import web

from managers import manager_kind
from values import decode, encode

output_lock = threading.Lock()
clients = {}
targets = {}


def write(line):
    """One line to the tests; clients of the synchronous kind write from threads of their own."""
    with output_lock:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def reporter(name):
    """What reports for the client or server of this name."""
    return lambda kind, **more: write({"client": name, "kind": kind, **more})


def handlers(report, sid_of, replies):
    """The handlers of a client, of which python-socketio wants the same for both kinds."""

    def on_connect():
        report("connect", sid=sid_of())

    def on_disconnect(reason=None):
        report("disconnect", reason=reason)

    def on_connect_error(error=None):
        message = error.get("message") if isinstance(error, dict) else error
        report("connect_error", message=message, data=error.get("data") if isinstance(error, dict) else None)

    def on_event(event, *args):
        report("event", event=event, args=encode(args))
        return tuple(decode(replies[event])) if event in replies else None

    return {"connect": on_connect, "disconnect": on_disconnect, "connect_error": on_connect_error, "*": on_event}


async def connect(request):
    """Connects an AsyncClient or, for "sync", a Client."""
    name, namespace = request["client"], request.get("namespace", "/")
    synchronous = request.get("kind") == "sync"
    client = socketio.Client() if synchronous else socketio.AsyncClient()
    table = handlers(reporter(name), lambda: client.get_sid(namespace), request.get("replies") or {})
    for event, handler in table.items():
        client.on(event, handler, namespace=namespace)
    clients[name] = (client, namespace)
    options = {
        "auth": request.get("auth"),
        "transports": request.get("transports"),
        "namespaces": [namespace],
        "socketio_path": (request.get("path") or "/socket.io/").strip("/"),
    }
    try:
        await ran(client.connect, request["url"], **options)
    except socketio.exceptions.ConnectionError:
        pass  # reported by the handler of connect_error


async def ran(method, *args, **kwargs):
    """Awaits an asynchronous method; runs a synchronous one in a thread."""
    if inspect.iscoroutinefunction(method):
        return await method(*args, **kwargs)
    return await asyncio.to_thread(method, *args, **kwargs)


async def emit(request):
    """Emits from a client, several arguments as python-socketio wants them: a tuple."""
    client, namespace = clients[request["client"]]
    data = tuple(decode(request["args"]))
    if not request.get("ack"):
        return await ran(client.emit, request["event"], data, namespace=namespace)
    loop, answered = asyncio.get_running_loop(), asyncio.Event()
    answer = []

    def on_ack(*args):
        answer.extend(args)
        loop.call_soon_threadsafe(answered.set)

    await ran(client.emit, request["event"], data, namespace=namespace, callback=on_ack)
    await asyncio.wait_for(answered.wait(), request.get("timeout", 8000) / 1000)
    return encode(answer)


async def transport(request):
    """The transport a client uses now."""
    client, _ = clients[request["client"]]
    return client.transport()


async def disconnect(request):
    """Disconnects a client."""
    client, _ = clients[request["client"]]
    await ran(client.disconnect)


async def server(request):
    """Starts an AsyncServer that is a host of the cluster, with the events `join` and, for all others, an echo."""
    name, report = request["server"], reporter(request["server"])
    manager = manager_kind("async", request["broker"])(request["broker"], channel=request.get("channel", "socketio"))
    sio = socketio.AsyncServer(async_mode="aiohttp", client_manager=manager)
    namespaces = request.get("namespaces", ["/"])

    for namespace in namespaces:

        async def on_join(sid, room, namespace=namespace):
            await sio.enter_room(sid, room, namespace=namespace)
            return "ok"

        def on_event(event, sid, *args):
            report("event", event=event, args=[sid, *encode(args)])
            return args

        sio.on("join", on_join, namespace=namespace)
        sio.on("*", on_event, namespace=namespace)
    app = web.Application()
    sio.attach(app)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    targets[name] = sio
    host, port = runner.addresses[0]
    return f"http://{host}:{port}"


async def worker(request):
    """Makes a write-only manager as a worker has it, synchronous or not."""
    kind = manager_kind(request["kind"], request["broker"])
    channel = request.get("channel")
    settings = {"channel": channel} if channel else {}
    targets[request["worker"]] = kind(request["broker"], write_only=True, **settings)


async def call(request):
    """Calls a method of a server or a worker as it stands; `callback: true` reports what the callback gets."""
    method = getattr(targets[request["target"]], request["method"])
    kwargs = decode(request.get("kwargs") or {})
    if kwargs.pop("callback", False):
        report = reporter(request["target"])
        kwargs["callback"] = lambda *args: report("ack", args=encode(args))
    return encode(await ran(method, *decode(request.get("args") or []), **kwargs))


OPERATIONS = {f.__name__: f for f in (connect, emit, transport, disconnect, server, worker, call)}


async def answer(line):
    """Carries out one request."""
    request = json.loads(line)
    try:
        write({"reply": request["id"], "ok": await OPERATIONS[request["op"]](request)})
    except Exception as error:  # whatever went wrong belongs to the test that asked
        write({"reply": request["id"], "error": f"{type(error).__name__}: {error}"})


async def main():
    """Serves requests until the tests close the pipe."""
    reader = asyncio.StreamReader(limit=64 * 1024 * 1024)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    running = set()
    while line := await reader.readline():
        task = asyncio.create_task(answer(line))
        running.add(task)
        task.add_done_callback(running.discard)
    os._exit(0)


asyncio.run(main())
