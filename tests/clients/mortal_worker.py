"""A worker of examples/workers that can be made to die: mortal_worker.py MODULE BROKER_URL

`hold` keeps the first worker that gets it until it is killed, whose process id it writes into the file of its argument; `die` ends every worker.
"""

import importlib
import os
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "examples" / "workers"))

module, url = sys.argv[1:]
worker = importlib.import_module(module)
# So that what it leaves behind need not wait for long.
worker.IDLE = worker.WAIT = 2


def handle(event):
    if event["event"] == "die":
        os._exit(9)
    if event["event"] == "hold":
        file = Path(event["args"][0])
        if not file.exists():
            half = file.with_suffix(".half")
            half.write_text(str(os.getpid()))
            half.rename(file)
            while True:
                time.sleep(60)
    if event["event"] == "raise":
        raise ValueError(event["args"][0])
    return {"ack": [*event["args"], os.getpid()]}


worker.run(handle, url, "orders")
