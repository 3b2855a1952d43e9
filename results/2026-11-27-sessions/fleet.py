"""Writes a fleet document: so many SIMs in so many groups, each with an address of its own where it is told so.

Arguments: SIMs, groups, the file, and `ip`.
"""

import json
import sys

sims, groups, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
has_address = sys.argv[4:] == ["ip"]
KEY = "mqtt://beam.soracom.io:1883"


def group(number):
    entry_point = {
        "name": "measured", "enabled": True, "destination": "mqtt://127.0.0.1:1884", "username": "u-#{imsi}",
        "password": "secret", "addSubscriberHeader": True, "replaceTopic": True, "version": "201912",
    }
    return {"groupId": f"g{number}", "configuration": {"SoracomBeam": {KEY: entry_point}}}


def sim(number):
    made = {"simId": f"8942310{number:012d}", "imsi": f"44010{number:010d}", "groupId": f"g{number % groups}"}
    if has_address:
        place = number + 256
        made["ip"] = f"10.{place >> 16}.{place >> 8 & 255}.{place & 255}"
    return json.dumps(made, separators=(",", ":"))


with open(path, "w") as file:
    head = json.dumps([group(number) for number in range(groups)])
    file.write(f'{{"groups":{head},"credentials":[],"simRanges":[],"sims":[')
    file.write(",".join(map(sim, range(sims))))
    file.write("]}")
