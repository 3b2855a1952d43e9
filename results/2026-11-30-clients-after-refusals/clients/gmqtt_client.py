"""gmqtt_client.py PORT VERSION: connect once, as its README has it; what follows is the library's."""
import asyncio
import sys

from gmqtt import Client
from gmqtt.mqtt.constants import MQTTv50, MQTTv311

port, version = int(sys.argv[1]), sys.argv[2]


async def main():
    client = Client("c1")
    client.on_connect = lambda *a: print("on_connect", flush=True)
    client.on_disconnect = lambda *a, **k: print("on_disconnect", flush=True)
    try:
        await client.connect("127.0.0.1", port, version=MQTTv50 if version == "5" else MQTTv311)
    except Exception as error:
        print("connect failed:", type(error).__name__, error, flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
