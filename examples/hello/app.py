"""A web page, served from a container."""

import os
import platform
import signal
import sys

from flask import Flask

app = Flask(__name__)


@app.get("/")
def hello() -> str:
    return f"Hello from Python {platform.python_version()} in {platform.node()}\n"


if __name__ == "__main__":
    # The first process of a container ignores every signal that it has no handler for: "stop" would have to wait.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    app.run(host="0.0.0.0", port=int(os.environ.get("PORT", "8000")))
