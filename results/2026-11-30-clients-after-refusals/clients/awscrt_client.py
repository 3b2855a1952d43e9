"""awscrt_client.py PORT VERSION: for 3.1.1 mqtt.Connection, which leaves the first connect to the program (here: again in
a second); for 5 mqtt5.Client."""
import sys
import time

from awscrt import io, mqtt, mqtt5

port, version = int(sys.argv[1]), sys.argv[2]
bootstrap = io.ClientBootstrap.get_or_create_static_default()
if version == "5":
    options = mqtt5.ClientOptions(
        host_name="127.0.0.1", port=port, bootstrap=bootstrap,
        connect_options=mqtt5.ConnectPacket(client_id="c1", keep_alive_interval_sec=60),
        on_lifecycle_event_connection_success_fn=lambda d: print("connected", flush=True),
        on_lifecycle_event_connection_failure_fn=lambda d: print("failed", d.exception, flush=True),
        on_lifecycle_event_disconnection_fn=lambda d: print("disconnected", flush=True),
        on_lifecycle_event_stopped_fn=lambda d: print("stopped", flush=True))
    client = mqtt5.Client(options)
    client.start()
else:
    connection = mqtt.Connection(
        mqtt.Client(bootstrap), host_name="127.0.0.1", port=port, client_id="c1", keep_alive_secs=60, clean_session=True,
        on_connection_interrupted=lambda **k: print("interrupted", k.get("error"), flush=True),
        on_connection_resumed=lambda **k: print("resumed", k.get("return_code"), flush=True))
    while True:
        try:
            connection.connect().result()
            print("connected", flush=True)
            break
        except Exception as error:
            print("connect failed:", error, flush=True)
            time.sleep(1)
while True:
    time.sleep(60)
