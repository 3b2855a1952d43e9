"""Asks a running ringbeam whatever a description of its API allows, and more, with schemathesis.

    run.py --url http://127.0.0.1:8080 --email E [--document FILE --base /v1] [--examples N] [--seed N]
           [--without ID]... [--last ID]...

The password comes from standard input. Without a document it is the one that ringbeam serves, and answers must then be
as it says to the last member and status; another's says less. First it makes groups, credentials and SIMs, so that
there is something to ask about. `--without` leaves an operation out; `--last` asks for it in a run of its own at the
end, because nothing is as before once it was served. At the end it prints requests and failures for each operation;
exit status 1 with any.
"""

import argparse
import collections
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

CHECKS = "not_a_server_error,content_type_conformance,response_schema_conformance"
OWN_CHECKS = CHECKS + (",status_code_conformance,response_headers_conformance,unsupported_method,allow_header_conformance"
                       ",ignored_auth")
ENTRY_POINT = "mqtt://beam.soracom.io:1883"
DOOMED = 40


class Api:
    def __init__(self, url, email, password):
        self.url, self.headers = url, {}
        issued = self.ask("POST", "/v1/auth", {"email": email, "password": password})
        self.operator_id = issued["operatorId"]
        self.headers = {"X-Soracom-API-Key": issued["apiKey"], "X-Soracom-Token": issued["token"]}

    def ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, self.headers, method=method)
        with urllib.request.urlopen(request) as answer:
            text = answer.read()
        return json.loads(text) if text else None


def seed(api):
    """Makes what is asked about, and says how it is called."""
    beam = {"enabled": True, "destination": "mqtt://127.0.0.1:9", "addSubscriberHeader": True, "replaceTopic": True,
            "version": "201912"}
    configuration = {"SoracomBeam": {ENTRY_POINT: beam}, "SoracomAir": {"useCustomDns": True}}

    def group(name):
        body = {"tags": {"name": name, "site": "x"}, "configuration": configuration}
        return api.ask("POST", "/v1/groups", body)["groupId"]

    whole = {"type": "azureIoT-credentials",
             "credentials": {"sharedAccessKeyName": "device", "sharedAccessKey": "YWJj"}}

    def credential(name):
        return api.ask("POST", f"/v1/credentials/{name}", {**whole, "description": name})["credentialsId"]

    def sim(number, group_id):
        body = {"simId": f"89811000000009{number:05}", "imsi": f"4401099{number:08}", "groupId": group_id,
                "ip": f"10.9.{number // 250}.{number % 250 + 1}", "tags": {"name": f"sim {number}", "site": "x"}}
        api.ask("PUT", "/ringbeam/v1/sims", body)
        return body

    export = {"from": 1_700_000_000, "to": 1_700_086_400, "period": "day"}
    exported = api.ask("POST", f"/v1/stats/beam/operators/{api.operator_id}/export", export)
    kept_groups, doomed_groups = [group("kept") for _ in range(3)], [group("doomed") for _ in range(DOOMED)]
    kept_sims = [sim(number, kept_groups[number % 3]) for number in range(6)]
    doomed_sims = [sim(number, kept_groups[0]) for number in range(100, 100 + DOOMED)]
    kept = {
        "group_id": kept_groups,
        "credentials_id": [credential(f"kept-{number}") for number in range(3)],
        "sim_id": [sim["simId"] for sim in kept_sims],
        "imsi": [sim["imsi"] for sim in kept_sims],
        "operator_id": [api.operator_id],
        "exported_file_id": [exported["exportedFileId"]],
        "file": [exported["exportedFileId"] + ".csv"],
        "namespace": ["SoracomBeam", "SoracomAir"],
        "tag_name": ["name", "site"],
        "name": [ENTRY_POINT, "useCustomDns"],
    }
    doomed = {
        "group_id": doomed_groups,
        "credentials_id": [credential(f"doomed-{number}") for number in range(DOOMED)],
        "sim_id": [sim["simId"] for sim in doomed_sims],
    }
    return {"kept": kept, "doomed": doomed, "credential": whole, "entry_point": beam}


def references(value):
    """The schemas that a part of a document refers to."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"].rsplit("/", 1)[-1]
        value = list(value.values())
    for part in value if isinstance(value, list) else []:
        yield from references(part)


def close(document):
    """What only answers have holds nothing that is not described."""
    schemas = document["components"]["schemas"]
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    waiting = {name for operation in operations for name in references(operation.get("requestBody"))}
    taken = set()
    while waiting:
        taken |= waiting
        waiting = {name for one in waiting for name in references(schemas[one])} - taken
    for name in schemas.keys() - taken:
        schemas[name]["additionalProperties"] = False
    return document


def run(options, api, folder, filters, number):
    """One run; requests and failures of every operation that was asked for."""
    report = folder / f"report-{number}.ndjson"
    command = [
        str(pathlib.Path(sys.executable).with_name("schemathesis")), "run", options.document,
        "--url", options.url + options.base, "--checks", options.checks, "--max-examples", str(options.examples),
        "--phases", "examples,coverage,fuzzing", "--workers", "1", "--continue-on-failure", "--no-color",
        "--generation-database", "none", "--seed", str(options.seed), "--suppress-health-check", "all",
        "--warnings", "off", "--request-timeout", "20", "--report", "ndjson", "--report-ndjson-path", str(report),
    ]
    for name, value in api.headers.items():
        command += ["--header", f"{name}:{value}"]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "RINGBEAM_SEEDS": str(folder / "seeds.json"),
                   "PYTHONPATH": str(pathlib.Path(__file__).parent), "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run(command + filters, cwd=folder, env=environment, capture_output=True, text=True)
    if ended.returncode:
        print(ended.stdout[-30_000:], ended.stderr[-5_000:], sep="\n")
    return ended.returncode, report


def count(report, counts):
    """Adds a run's requests, by status, and failures."""
    for line in report.open():
        recorder = json.loads(line).get("ScenarioFinished", {}).get("recorder")
        if recorder is None:
            continue
        statuses, failures = counts.get(recorder["label"], (collections.Counter(), 0))
        for interaction in recorder.get("interactions", {}).values():
            statuses[(interaction.get("response") or {}).get("status_code", 0)] += 1
        checks = [check for checks in recorder.get("checks", {}).values() for check in checks]
        failures += sum(check["status"] != "success" for check in checks)
        counts[recorder["label"]] = (statuses, failures)


def main():
    parser = argparse.ArgumentParser()
    for name in ["--url", "--email"]:
        parser.add_argument(name, required=True)
    parser.add_argument("--document")
    parser.add_argument("--base", default="")
    parser.add_argument("--examples", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--without", action="append", default=[])
    parser.add_argument("--last", action="append", default=[])
    options = parser.parse_args()
    api = Api(options.url, options.email, sys.stdin.readline().rstrip("\n"))
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "seeds.json").write_text(json.dumps(seed(api)))
        options.checks = CHECKS if options.document else OWN_CHECKS
        if not options.document:
            options.document = str(folder / "openapi.json")
            pathlib.Path(options.document).write_text(json.dumps(close(api.ask("GET", "/openapi.json"))))
        left_out = [f"--exclude-operation-id={id}" for id in options.without + options.last]
        counts, is_good = {}, True
        runs = [left_out] + [[f"--include-operation-id={id}"] for id in options.last]
        for number, filters in enumerate(runs):
            status, report = run(options, api, folder, filters, number)
            is_good &= status == 0
            count(report, counts)
    print("| operation | requests | answers | failures |\n|---|---|---|---|")
    for label, (statuses, failures) in sorted(counts.items()):
        answers = ", ".join(f"{status}: {number}" for status, number in sorted(statuses.items()))
        print(f"| {label} | {statuses.total()} | {answers} | {failures} |")
    requests = sum(statuses.total() for statuses, _ in counts.values())
    failures = sum(failures for _, failures in counts.values())
    print(f"{len(counts)} operations, {requests} requests, {failures} failures")
    return 0 if is_good and counts and not failures else 1


sys.exit(main())
