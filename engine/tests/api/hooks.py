"""Has schemathesis ask for what is there, most of the time: random names alone would only ever meet 404.

RINGBEAM_SEEDS names a file that run.py has written: for each parameter of a path, names that exist. What a DELETE
takes away is never what another operation needs.
"""

import json
import os
import zlib

import schemathesis

with open(os.environ["RINGBEAM_SEEDS"]) as file:
    SEEDS = json.load(file)


def pick(known, value):
    """One of these for three in four values, always the same for the same value; else the value."""
    number = zlib.crc32(repr(value).encode())
    return known[number // 4 % len(known)] if known and number % 4 else value


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    method, path = context.operation.method.upper(), context.operation.path
    # What is made must not be there yet.
    if not path_parameters or (method, path.rsplit("/", 2)[-2]) == ("POST", "credentials"):
        return path_parameters
    is_doomed = method == "DELETE" and path.endswith("_id}")
    seeds = {**SEEDS["kept"], **(SEEDS["doomed"] if is_doomed else {})}
    return {name: pick(seeds.get(name), value) for name, value in path_parameters.items()}


@schemathesis.hook
def map_body(context, body):
    """What a body names exists, and what is hard to guess is whole, most of the time."""
    path = context.operation.path
    if path.endswith("/preview"):
        return pick([SEEDS["entry_point"]], body)
    if path.endswith("/configuration/{namespace}"):
        return pick([[{"key": SEEDS["kept"]["name"][0], "value": SEEDS["entry_point"]}]], body)
    if not isinstance(body, dict):
        return body
    if isinstance(body.get("groupId"), str):
        return {**body, "groupId": pick(SEEDS["kept"]["group_id"], body["groupId"])}
    if isinstance(body.get("credentials"), dict) and isinstance(body.get("type"), str):
        return pick([{**body, **SEEDS["credential"]}], body)
    return body
