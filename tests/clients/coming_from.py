"""Finds public calls and options of other servers that docs/coming-from.md, given as the argument, does not name."""

import inspect
import re
import sys
from pathlib import Path

import flask_socketio
import socketio

NODE = Path(__file__).parent / "node_modules"


def public(thing):
    return {name for name in dir(thing) if not name.startswith("_")}


def of_module(module):
    """What a module defines, and what it hands on of socketio."""
    names = ((name, getattr(module, name)) for name in public(module))
    return {name for name, value in names if getattr(value, "__module__", "").split(".")[0] in ("flask_socketio", "socketio")
            and not inspect.ismodule(value)}


def parameters(thing):
    return set(re.findall(r":param (\w+):", inspect.getdoc(thing))) - {"kwargs"}


def declared(file, *types):
    """The public members of types in a TypeScript declaration."""
    text = (NODE / file).read_text()
    names = set()
    for name in types:
        body = re.search(rf"(?:class|interface) {name}\b.*?\{{\n(.*?)\n\}}", text, re.S)[1]
        names |= set(re.findall(r"^    (?:get |readonly )*(?!private|constructor|_)(\w+)\??[(<:]", body, re.M))
    return names


SECTIONS = {
    "`AsyncServer`": public(socketio.AsyncServer),
    "`AsyncNamespace`": public(socketio.AsyncNamespace),
    "`SocketIO`": public(flask_socketio.SocketIO),
    "Functions of the module": of_module(flask_socketio),
    "`Namespace`": public(flask_socketio.Namespace),
    "`Server` and `Namespace`": declared("socket.io/dist/index.d.ts", "Server")
    | declared("socket.io/dist/namespace.d.ts", "Namespace", "ServerReservedEventsMap", "NamespaceReservedEventsMap")
    | declared("socket.io/dist/parent-namespace.d.ts", "ParentNamespace"),
    "`Socket`": declared("socket.io/dist/socket.d.ts", "Socket")
    | declared("socket.io/dist/socket-types.d.ts", "SocketReservedEventsMap"),
    "`BroadcastOperator` and `RemoteSocket`": declared(
        "socket.io/dist/broadcast-operator.d.ts", "BroadcastOperator", "RemoteSocket"
    ),
    "Options": parameters(socketio.AsyncServer)
    | parameters(flask_socketio.SocketIO)
    | declared("socket.io/dist/index.d.ts", "ServerOptions")
    | declared("engine.io/build/server.d.ts", "ServerOptions", "AttachOptions"),
}


def sections(page):
    """The lines of each section that speak of the other servers, by heading."""
    found = {}
    for line in page.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.startswith("|"):
            # The column with what it is here, and the remark, do not count; options of two kinds stand in two columns.
            line = "|".join(line.split("|")[1:3 if heading == "Options" else 2])
            found[heading] = found.get(heading, "") + line
        elif line:
            found[heading] = found.get(heading, "") + line
    return found


page = sections(Path(sys.argv[1]).read_text())
missing = 0
for heading, names in SECTIONS.items():
    assert len(names) > 5, f"{heading}: nothing is known of it"
    named = set(re.findall(r"`(\w+)", page.get(heading, "")))
    for name in sorted(names - named):
        print(f"{heading}: {name} is missing")
        missing += 1
sys.exit(missing > 0)
