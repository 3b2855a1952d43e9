//! The API's description of itself: it is the one that is kept, whatever it describes is served, and nobody gets in
//! who has not signed in.

use std::fs;

use serde_json::{Value, json};

use super::super::harness::fleet::{ENTRY_POINT, entry_point, new_imsi};
use super::super::harness::http::{Answer, Api, read_head};
use super::super::harness::peer::Upstream;
use super::super::harness::ringbeam::{EMAIL, PASSWORD, Ringbeam, project_file};
use super::super::harness::wait_until;
use super::serving;

const SIM_ID: &str = "8981100000000000001";

/// Operations whose answers end when somebody else says so.
const ENDLESS: [&str; 2] = ["watchFigures", "tap"];

/// Those after which nothing is as before.
const LAST: [&str; 3] = ["importFleet", "logout", "drain"];

/// Those whose requests here name what is not there.
const NOT_THERE: [&str; 4] = [
    "exportBeamStats",
    "getExportedFile",
    "fetchExportedFile",
    "closeConnection",
];

/// One operation, with a request that would do something.
struct Operation {
    id: String,
    method: String,
    path: String,
    body: Value,
    statuses: Vec<u16>,
    is_public: bool,
}

impl Operation {
    fn ask(&self, api: &Api) -> Answer {
        api.send(&self.method, &self.path, Some(&self.body))
    }
}

fn description(api: &Api) -> Value {
    api.get("/openapi.json").expect(200).json()
}

/// Everything that is described.
fn operations(description: &Value) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for (method, described) in methods.as_object().unwrap() {
            let id = described["operationId"].as_str().unwrap().to_owned();
            let statuses = described["responses"].as_object().unwrap().keys();
            operations.push(Operation {
                path: format!("{}{}", filled(path), query(&id)),
                method: method.to_uppercase(),
                body: body(&id),
                statuses: statuses.map(|status| status.parse().unwrap()).collect(),
                is_public: described["security"] == json!([]),
                id,
            });
        }
    }
    assert!(operations.len() > 60, "{}", operations.len());
    operations
}

/// A path to something that is there.
fn filled(path: &str) -> String {
    [
        ("{group_id}", "new"),
        ("{namespace}", "SoracomBeam"),
        ("{name}", "mqtt:%2F%2Fbeam.soracom.io:1883"),
        ("{tag_name}", "site"),
        ("{sim_id}", SIM_ID),
        ("{imsi}", "440100000000001"),
        ("{credentials_id}", "made"),
        ("{operator_id}", "OP0"),
        ("{exported_file_id}", "x"),
        ("{file}", "x.csv"),
        ("{id}", "0-1"),
    ]
    .into_iter()
    .fold(path.to_owned(), |path, (part, text)| {
        path.replace(part, text)
    })
}

fn query(id: &str) -> String {
    match id {
        "tap" => format!("?seconds=1&imsi={}", new_imsi(1)),
        "explain" => "?ip=127.1.0.1".to_owned(),
        "getBeamStats" | "getUsage" => "?from=0&to=86400&period=day".to_owned(),
        _ => String::new(),
    }
}

fn body(id: &str) -> Value {
    let object = entry_point("127.0.0.1:1".parse().unwrap(), "201509");
    match id {
        "auth" => json!({"email": EMAIL, "password": PASSWORD}),
        "createCredential" | "updateCredential" => {
            json!({"type": "pubnub-credentials", "credentials": {"pubKey": "p", "subKey": "s"}})
        }
        "putConfigurationParameters" => json!([{"key": ENTRY_POINT, "value": object}]),
        "previewEntryPoint" => object,
        "putGroupTags" | "putSimTags" => json!([{"tagName": "site", "tagValue": "changed"}]),
        "createSim" => json!({"type": "virtual", "subscription": "planArc01"}),
        "setSimGroup" | "setGroup" => json!({"groupId": "bare"}),
        "exportBeamStats" => json!({"from": 0, "to": 86_400, "period": "day"}),
        "putSim" => json!({"simId": "7", "imsi": "001010000000007"}),
        "putSession" => json!({"ip": "10.1.2.3"}),
        "importFleet" => json!({"groups": []}),
        _ => json!({}),
    }
}

#[test]
fn the_description_that_is_served_is_the_one_that_is_kept() {
    let ringbeam = serving(&Upstream::listen());
    let answer = ringbeam.nobody().get("/openapi.json").expect(200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let kept = fs::read_to_string(project_file("engine/openapi.json")).unwrap();
    assert_eq!(answer.text(), kept);
}

#[test]
fn what_is_described_is_served_and_answers_as_described() {
    let mut ringbeam = serving(&Upstream::listen());
    let mut api = ringbeam.api();
    let mut operations = operations(&description(&api));
    // Whatever is needed comes before it is removed.
    operations.sort_by_key(|operation| {
        let is_last = LAST.iter().position(|id| *id == operation.id);
        let is_delete = operation.method == "DELETE";
        let length = operation.path.len();
        (
            is_last,
            is_delete,
            if is_delete { 1000 - length } else { length },
        )
    });
    for operation in &operations {
        let Operation {
            id, method, path, ..
        } = operation;
        let status = if ENDLESS.contains(&id.as_str()) {
            read_head(&mut api.begin(method, path, b"")).0
        } else {
            let answer = operation.ask(&api);
            let text = answer.text();
            assert!(!text.contains("the path does not exist"), "{id}: {text}");
            answer.status
        };
        assert!(
            operation.statuses.contains(&status),
            "{id}: {method} {path}: {status}"
        );
        let is_there = !NOT_THERE.contains(&id.as_str());
        assert_eq!(status < 300, is_there, "{id}: {method} {path}: {status}");
        if id == "logout" {
            operation.ask(&api).expect(401);
            api = ringbeam.api();
        }
    }
    ringbeam.ended();
}

/// Everybody who may not: a name, and what they show.
fn strangers(ringbeam: &Ringbeam) -> Vec<(&'static str, Api)> {
    let nobody = ringbeam.nobody();
    let (one, other, left) = (ringbeam.api(), ringbeam.api(), ringbeam.api());
    left.send("POST", "/v1/auth/logout", None).expect(204);
    let short = json!({"email": EMAIL, "password": PASSWORD, "tokenTimeoutSeconds": 1});
    let expired = nobody.with(&nobody.post("/v1/auth", &short).expect(200).json());
    wait_until("a token to expire", || {
        expired.get("/v1/groups").status == 401
    });
    let showing = |key: &Api, token: Option<(String, String)>| Api {
        credentials: std::iter::once(key.credentials[0].clone())
            .chain(token)
            .collect(),
        ..nobody.clone()
    };
    let (name, token) = one.credentials[1].clone();
    vec![
        ("nobody", nobody.clone()),
        ("a key alone", showing(&one, None)),
        (
            "a wrong token",
            showing(&one, Some((name.clone(), token[1..].to_owned()))),
        ),
        (
            "no token at all",
            showing(&one, Some((name, String::new()))),
        ),
        (
            "the token of another key",
            showing(&one, Some(other.credentials[1].clone())),
        ),
        ("somebody who has signed out", left),
        ("an expired token", expired),
    ]
}

#[test]
fn nobody_gets_in_who_has_not_signed_in() {
    let ringbeam = serving(&Upstream::listen());
    let (nobody, api) = (ringbeam.nobody(), ringbeam.api());
    let operations = operations(&description(&nobody));
    let state = || {
        [
            "/ringbeam/v1/fleet",
            "/ringbeam/v1/audit",
            "/v1/sims?limit=5",
        ]
        .map(|path| api.get(path).expect(200).text())
    };
    let before = state();
    let mut asked = 0;
    for (name, stranger) in strangers(&ringbeam) {
        for operation in operations.iter().filter(|operation| !operation.is_public) {
            let answer = operation.ask(&stranger);
            assert_eq!(answer.status, 401, "{}: {name}", operation.id);
            assert_eq!(answer.json()["code"], "RBM0401");
            asked += 1;
        }
    }
    assert!(asked > 7 * 50, "{asked}");
    assert_eq!(state(), before);
    let public = operations.iter().filter(|operation| operation.is_public);
    let ids: Vec<&str> = public
        .map(|operation| {
            let status = operation.ask(&nobody).status;
            let expected = if operation.id == "fetchExportedFile" {
                404
            } else {
                200
            };
            assert_eq!(status, expected, "{}", operation.id);
            operation.id.as_str()
        })
        .collect();
    assert_eq!(
        ids,
        [
            "getHealth",
            "getMetrics",
            "getDescription",
            "getReadiness",
            "fetchExportedFile",
            "auth"
        ]
    );
}
