#!/usr/bin/env bash
# Installs the clients in FOLDER, at the versions that were measured, and writes FOLDER/commands.json for measure.py.
# Needs node, npm, python3 with venv, gcc, cargo, and apt-get for paho.mqtt.c (Debian 12).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?a folder to install in}
mkdir -p "$folder/5.16" "$folder/5.15" "$folder/paho-c"
cd "$folder"; folder=$PWD
npm install --silent --prefix "$folder/5.16" mqtt@5.16.0
npm install --silent --prefix "$folder/5.15" mqtt@5.15.2
python3 -m venv venv
venv/bin/pip install -q paho-mqtt==2.2.0 gmqtt==0.8.0 aiomqtt==2.5.1 awscrt==0.36.1
(cd paho-c && apt-get download -q libpaho-mqtt-dev libpaho-mqtt1.3 && for package in *.deb; do dpkg -x "$package" .; done)
libraries=$(dirname "$(find "$folder/paho-c" -name libpaho-mqtt3a.so)")
gcc -o paho_c "$here/clients/paho_c.c" -I"$folder/paho-c/usr/include" -L"$libraries" -lpaho-mqtt3a -Wl,-rpath,"$libraries"
cp -r "$here/clients/rumqttc" . && (cd rumqttc && cargo build -q)
cat > commands.json <<END
{ "mqtt.js 5.16.0": ["env", "NODE_PATH=$folder/5.16/node_modules", "node", "$here/clients/mqttjs.cjs"],
  "mqtt.js 5.15.2": ["env", "NODE_PATH=$folder/5.15/node_modules", "node", "$here/clients/mqttjs.cjs"],
  "paho-mqtt 2.2.0": ["$folder/venv/bin/python", "$here/clients/paho_mqtt.py"],
  "gmqtt 0.8.0": ["$folder/venv/bin/python", "$here/clients/gmqtt_client.py"],
  "aiomqtt 2.5.1": ["$folder/venv/bin/python", "$here/clients/aiomqtt_client.py"],
  "awscrt 0.36.1": ["$folder/venv/bin/python", "$here/clients/awscrt_client.py"],
  "paho.mqtt.c 1.3.12": ["$folder/paho_c"],
  "rumqttc 0.25.1": ["$folder/rumqttc/target/debug/rumqttc-client"] }
END
