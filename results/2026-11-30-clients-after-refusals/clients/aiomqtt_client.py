"""aiomqtt_client.py PORT VERSION: its documented loop: reconnect in a second upon MqttError."""
import asyncio
import sys

import aiomqtt

port, version = int(sys.argv[1]), sys.argv[2]


async def main():
    while True:
        try:
            protocol = aiomqtt.ProtocolVersion.V5 if version == "5" else aiomqtt.ProtocolVersion.V311
            async with aiomqtt.Client("127.0.0.1", port, identifier="c1", protocol=protocol) as client:
                print("connected", flush=True)
                await client.subscribe("t")
                async for _ in client.messages:
                    pass
        except aiomqtt.MqttError as error:
            print("MqttError", error, flush=True)
            await asyncio.sleep(1)


asyncio.run(main())
