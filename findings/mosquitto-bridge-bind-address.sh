#!/usr/bin/env bash
# mosquitto 2.0.11 (Debian 12): a bridge takes `bridge_bind_address` and connects from another address.
#
# The manual: "use bridge_bind_address to tell the bridge which local IP address the socket should bind to".
# Seen: the option is accepted, and the connection comes from 127.0.0.1 though 127.0.0.9 was asked for. A gateway
# with two modems sends through whichever the routes say.
set -euo pipefail
version=2.0.11-1.2+deb12u2
folder=$(mktemp -d)
started=()
finish() { for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done; rm -rf "$folder"; }
trap finish EXIT
chmod 755 "$folder" # the broker gives up its rights
cd "$folder"
apt-get download -q "mosquitto=$version" "libmosquitto1=$version" libcjson1 libdlt2 libwrap0 libwebsockets17 libuv1 libev4 libcap2 > download.log 2>&1 \
  || { cat download.log; echo "no packages: this takes Debian 12"; exit 1; }
for package in ./*.deb; do dpkg -x "$package" root; done
export LD_LIBRARY_PATH=$folder/root/usr/lib/$(uname -m)-linux-gnu:$folder/root/lib/$(uname -m)-linux-gnu
broker() { timeout 60 root/usr/sbin/mosquitto -v -c "$1.conf" > "$1.log" 2>&1 & started+=($!); }
await() { for _ in $(seq 200); do grep -q "$2" "$1.log" 2>/dev/null && return; sleep 0.05; done; echo "waited in vain for: $2"; cat "$1.log"; exit 1; } >&2

printf 'listener 27311 127.0.0.1\nallow_anonymous true\n' > upstream.conf
printf 'listener 27312 127.0.0.1\nallow_anonymous true\nconnection up\naddress 127.0.0.1:27311\nbridge_bind_address 127.0.0.9\ntopic t out\n' > edge.conf
broker upstream
await upstream running
broker edge
await upstream "New bridge connected"
grep "New bridge connected" upstream.log
grep -q "New bridge connected from 127.0.0.1:" upstream.log || { echo "changed: no longer from 127.0.0.1"; exit 1; }
echo "seen: mosquitto $version, bridge_bind_address 127.0.0.9, connected from 127.0.0.1"
