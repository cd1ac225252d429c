"""Asks the service of this container how it is: `python -m tidemill.common.telemetry.probe [livez|readyz|startupz]`.

Its exit status is the answer, as container engines want it. Only the standard library is loaded: it runs every few
seconds.
"""

import http.client
import os
import sys

HOST = "127.0.0.1"
SECONDS = 4.0
PORT = "TIDEMILL_HEALTH__PORT"


def ask(question: str, port: int) -> str | None:
    """What is wrong; None when nothing is."""
    connection = http.client.HTTPConnection(HOST, port, timeout=SECONDS)
    try:
        connection.request("GET", f"/{question}")
        answer = connection.getresponse()
        said = answer.read().decode(errors="replace").strip()
    except OSError as error:
        return f"no answer at port {port}: {error}"
    finally:
        connection.close()
    return None if answer.status == http.client.OK else said


def main(arguments: list[str]) -> int:
    question = arguments[0] if arguments else "readyz"
    if not (port := os.environ.get(PORT, "")).isdigit():
        print(f"{PORT} says no port")
        return 2
    wrong = ask(question, int(port))
    if wrong is not None:
        print(wrong)
    return 0 if wrong is None else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
