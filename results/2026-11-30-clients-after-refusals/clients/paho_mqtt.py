"""paho_mqtt.py PORT VERSION: loop_forever, which is to come back by itself."""
import sys

import paho.mqtt.client as mqtt

port, version = int(sys.argv[1]), sys.argv[2]
protocol = mqtt.MQTTv5 if version == "5" else mqtt.MQTTv311
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="c1", protocol=protocol)
client.on_connect = lambda *a: print("on_connect", a[3], flush=True)
client.on_disconnect = lambda *a: print("on_disconnect", a[3], flush=True)
client.connect("127.0.0.1", port)
client.loop_forever()
