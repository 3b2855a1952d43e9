#!/usr/bin/env bash
# The recipe of tuning/load-host.md with two network namespaces instead of two hosts: `tunload` owns the
# SIMs' addresses and has the broker, `tunproxy` runs ringbeam. RINGBEAM=path/to/ringbeam
set -euo pipefail
folder=$(mktemp -d)
clean() {
    kill "${serve:-}" "${broker:-}" "${subscriber:-}" 2>/dev/null || true
    ip netns del tunload; ip netns del tunproxy; rm -r "$folder"
}
trap clean EXIT
ip netns add tunload
ip netns add tunproxy
ip link add veth0 netns tunload type veth peer name veth0 netns tunproxy
ip -n tunload addr add 192.0.2.2/24 dev veth0
ip -n tunproxy addr add 192.0.2.1/24 dev veth0
for n in tunload tunproxy; do ip -n $n link set lo up; ip -n $n link set veth0 up; done

# The two lines that matter.
ip -n tunload route add local 10.64.0.0/12 dev lo
ip -n tunproxy route add 10.64.0.0/12 via 192.0.2.2

cat >"$folder/ringbeam.toml" <<'END'
[[listener]]
network = "default"
address = "192.0.2.1:1883"
[[listener]]
network = "default"
address = "192.0.2.1:1884"
END
cat >"$folder/fleet.json" <<'END'
{ "groups": [ { "groupId": "g", "configuration": { "SoracomBeam": { "mqtt://beam.soracom.io:1883": {
    "name": "n", "enabled": true, "destination": "mqtt://192.0.2.2:18830", "addSubscriberHeader": true } } } } ],
  "simRanges": [ { "network": "default", "cidr": "10.64.0.0/12", "imsiBase": "440100000000000",
    "simIdBase": "8981100000000000000", "groupId": "g" } ] }
END
printf 'listener 18830 192.0.2.2\nallow_anonymous true\n' >"$folder/broker.conf"
ip netns exec tunload mosquitto -c "$folder/broker.conf" >/dev/null 2>&1 & broker=$!
ip netns exec tunproxy "$RINGBEAM" --log error serve --config "$folder/ringbeam.toml" >"$folder/ready" & serve=$!
until grep -q ready "$folder/ready" && ip netns exec tunload mosquitto_pub -h 192.0.2.2 -p 18830 -t probe -n 2>/dev/null; do
    [ $SECONDS -lt 10 ]
done
cat "$folder/ready"
ip netns exec tunload mosquitto_sub -h 192.0.2.2 -p 18830 -v -t 'sensors/#' -C 3 -W 10 >"$folder/got" & subscriber=$!
until ip netns exec tunload ss -tnH state established | grep -q :18830; do [ $SECONDS -lt 10 ]; done
for sim in 10.64.0.7:1883 10.70.1.2:1884 10.79.255.254:1883; do
    ip netns exec tunload mosquitto_pub -A "${sim%:*}" -h 192.0.2.1 -p "${sim#*:}" -q 1 -t sensors/a -m "from $sim"
done
wait $subscriber
cat "$folder/got"
