#!/usr/bin/env bash
# aiomqtt 2.5.1 (with paho-mqtt 2.2.0): a broker that takes the connection, reads the CONNECT and closes is noticed after ten seconds only, as "Operation timed
# out", though the end of the connection arrives at once. A CONNACK with an error is noticed at once.
#
# seen: CONNACK 3 -> MqttError in less than a second, "[code:136] Server unavailable"; close -> MqttError after 10 s, "Operation timed out".
# Fails (exit 1) if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check aiomqtt==2.5.1 paho-mqtt==2.2.0
timeout 60 "$folder/venv/bin/python" - <<'END'
import asyncio
import socket
import sys
import threading
import time

import aiomqtt

print("aiomqtt 2.5.1, paho-mqtt 2.2.0, Python", sys.version.split()[0])


def serve(listener, answer):
    stream, _ = listener.accept()
    stream.recv(4096)
    stream.sendall(answer)
    stream.close()


async def attempt(answer):
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, args=(listener, answer), daemon=True).start()
    began = time.monotonic()
    try:
        async with aiomqtt.Client("127.0.0.1", listener.getsockname()[1], identifier="c"):
            raise SystemExit("it was served")
    except aiomqtt.MqttError as error:
        return time.monotonic() - began, str(error)


async def main():
    refused = await attempt(b"\x20\x02\x00\x03")
    closed = await attempt(b"")
    print(f"CONNACK 3: after {refused[0]:.1f} s: {refused[1]}")
    print(f"close: after {closed[0]:.1f} s: {closed[1]}")
    is_as_seen = refused[0] < 5 and 9 < closed[0] < 15 and closed[1] == "Operation timed out"
    sys.exit(0 if is_as_seen else 1)


asyncio.run(main())
END
