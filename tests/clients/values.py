"""How values cross the pipe to the tests: as JSON.

Binary data is {"$bytes": base64}, a tuple is {"$tuple": [...]}, and what only Python calls JSON is {"$float": "nan"}.
"""

import base64
import math


def encode(value):
    """Turns a received value into what can be written as JSON."""
    if isinstance(value, (bytes, bytearray)):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(value)}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return {key: encode(item) for key, item in value.items()}
    return value


def decode(value):
    """The reverse of `encode`; only tests write tuples."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if isinstance(value, dict):
        if "$bytes" in value:
            return base64.b64decode(value["$bytes"])
        if "$tuple" in value:
            return tuple(decode(value["$tuple"]))
        return {key: decode(item) for key, item in value.items()}
    return value
