//! Who may ask: passwords, keys, tokens, and how often somebody may be wrong.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;

use serde_json::json;

use super::super::harness::http::{Api, read_head};
use super::super::harness::peer::Upstream;
use super::super::harness::ringbeam::{EMAIL, PASSWORD, output};
use super::super::harness::wait_until;
use super::serving;

#[test]
fn a_user_signs_in_by_password_or_key_and_out_again() {
    let ringbeam = serving(&Upstream::listen());
    let nobody = ringbeam.nobody();
    let body = json!({"email": EMAIL, "password": PASSWORD});
    let issued = nobody.post("/v1/auth", &body).expect(200).json();
    assert!(issued["apiKey"].as_str().unwrap().starts_with("api-"));
    assert!(issued["operatorId"].as_str().unwrap().starts_with("OP"));
    let user = nobody.with(&issued);
    user.get("/v1/groups").expect(200);

    let (status, key, errors) = output(&mut ringbeam.setup().user_command("add-key", EMAIL));
    assert_eq!(status, Some(0), "{errors}");
    let key: serde_json::Value = serde_json::from_str(&key).unwrap();
    let program = nobody.with(&nobody.post("/v1/auth", &key).expect(200).json());
    program.get("/v1/groups").expect(200);

    user.send("POST", "/v1/auth/logout", None).expect(204);
    user.get("/v1/groups").expect(401);
    program.get("/v1/groups").expect(200);

    // Nothing of it stands in the log or in the database.
    let log = ringbeam.log_text();
    let database = std::fs::read(ringbeam.setup().path("ringbeam.db")).unwrap();
    for secret in [
        PASSWORD,
        key["authKey"].as_str().unwrap(),
        issued["token"].as_str().unwrap(),
    ] {
        assert!(!log.contains(secret));
        let is_there = database
            .windows(secret.len())
            .any(|window| window == secret.as_bytes());
        assert!(!is_there);
    }
}

#[test]
fn whoever_is_wrong_is_refused_and_after_a_while_not_heard() {
    let ringbeam = serving(&Upstream::listen());
    let nobody = ringbeam.nobody();
    for wrong in [
        json!({}),
        json!({"email": EMAIL}),
        json!({"operatorId": "OP1", "userName": "u", "password": PASSWORD}),
    ] {
        let answer = nobody.post("/v1/auth", &wrong).expect(401);
        assert_eq!(answer.json()["code"], "RBM0401");
    }
    let lifetime = json!({"email": EMAIL, "password": PASSWORD, "tokenTimeoutSeconds": 172_801});
    nobody.post("/v1/auth", &lifetime).expect(400);
    nobody.send_text("POST", "/v1/auth", b"{").expect(400);
    for email in [EMAIL, "nobody@example.com"] {
        let wrong = json!({"email": email, "password": "wrong password"});
        nobody.post("/v1/auth", &wrong).expect(401);
    }
    let wrong = json!({"authKeyId": "keyId-x", "authKey": "secret-x"});
    while nobody.post("/v1/auth", &wrong).status == 401 {}
    let answer = nobody.post("/v1/auth", &wrong).expect(429);
    assert!(answer.header("retry-after").is_some());
    // From this address nobody gets further for a while, even with the right one.
    let right = json!({"email": EMAIL, "password": PASSWORD});
    nobody.post("/v1/auth", &right).expect(429);
}

#[test]
fn users_that_cannot_be_are_refused() {
    let ringbeam = serving(&Upstream::listen());
    let (status, _, errors) = output(&mut ringbeam.setup().user_command("add", "nobody"));
    assert_eq!(status, Some(2));
    assert!(errors.contains("no e-mail address"), "{errors}");
    let (status, _, errors) = output(&mut ringbeam.setup().user_command("add", "a@example.com"));
    assert_eq!(status, Some(2));
    assert!(errors.contains("8 to 1024 bytes"), "{errors}");
    let (status, _, errors) =
        output(&mut ringbeam.setup().user_command("add-key", "a@example.com"));
    assert_eq!(status, Some(2));
    assert!(errors.contains("no user"), "{errors}");
}

#[test]
fn what_is_not_there_is_said_in_the_form_of_all_errors() {
    let ringbeam = serving(&Upstream::listen());
    let (nobody, user) = (ringbeam.nobody(), ringbeam.api());
    for (api, method, path, status) in [
        (&nobody, "GET", "/v1/groups", 401),
        (&nobody, "GET", "/nothing", 404),
        (&user, "GET", "/v1/nothing", 404),
        (&user, "PATCH", "/v1/groups", 405),
        (&user, "GET", "/v1/groups/none", 404),
        (&user, "GET", "/v1/groups?limit=x", 400),
        (&user, "GET", "/v1/groups?limit=0", 400),
    ] {
        let answer = api.send(method, path, None).expect(status);
        assert_eq!(answer.json()["code"], format!("RBM{status:04}"), "{path}");
        assert!(answer.json()["message"].is_string());
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert!(answer.header("content-security-policy").is_some());
    }
    let large = vec![b' '; 2 * 1024 * 1024];
    user.send_text("POST", "/v1/groups", &large).expect(413);
    let stranger = Api {
        credentials: vec![
            ("X-Soracom-API-Key".to_owned(), "api-x".to_owned()),
            ("X-Soracom-Token".to_owned(), "x".to_owned()),
        ],
        ..nobody
    };
    stranger.get("/v1/groups").expect(401);
}

#[test]
fn a_refusal_before_the_body_is_not_followed_by_a_reset() {
    let ringbeam = serving(&Upstream::listen());
    let address = ringbeam.nobody().address;
    let mut stream = TcpStream::connect(address).unwrap();
    // More than sockets hold.
    let body = vec![b' '; 16 * 1024 * 1024];
    let length = body.len();
    write!(
        stream,
        "POST /v1/groups HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    // Whoever has not looked at the answer yet still sends.
    stream.write_all(&body).unwrap();
}

#[test]
fn slow_bodies_of_nobody_keep_no_probe_waiting() {
    let ringbeam = serving(&Upstream::listen());
    let nobody = ringbeam.nobody();
    let head = "POST /v1/auth HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{";
    // As many as there are places.
    let slow: Vec<TcpStream> = (0..80)
        .map(|_| {
            let mut stream = TcpStream::connect(nobody.address).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    nobody.get("/healthz").expect(200);
    let answer = |mut stream: &TcpStream| {
        let mut answer = String::new();
        // It may be reset.
        drop(stream.read_to_string(&mut answer));
        answer
    };
    // The first made room, the others had their time.
    assert_eq!(answer(&slow[0]), "");
    let last = answer(&slow[79]);
    assert!(last.starts_with("HTTP/1.1 408 "), "{last}");
    let large = vec![b' '; 32 * 1024];
    nobody.send_text("POST", "/v1/auth", &large).expect(413);
}

#[test]
fn listeners_leave_places_for_others() {
    let ringbeam = serving(&Upstream::listen());
    let api = ringbeam.api();
    let live = || api.begin("GET", "/ringbeam/v1/live", b"");
    let mut listening: Vec<_> = (0..32).map(|_| live()).collect();
    for stream in &mut listening {
        assert_eq!(read_head(stream).0, 200);
    }
    api.get("/ringbeam/v1/live").expect(503);
    api.get("/ringbeam/v1/tap?imsi=440100000000001").expect(503);
    api.get("/healthz").expect(200);
    drop(listening);
    wait_until("a place", || read_head(&mut live()).0 == 200);
}

#[test]
fn what_is_too_long_to_be_somebodys_is_neither_looked_up_nor_remembered() {
    let ringbeam = serving(&Upstream::listen());
    let nobody = ringbeam.nobody();
    let long = "x".repeat(1025);
    for wrong in [
        json!({"email": &long[..255], "password": PASSWORD}),
        json!({"email": EMAIL, "password": long}),
        json!({"authKeyId": &long[..257], "authKey": "secret-x"}),
        json!({"authKeyId": "keyId-x", "authKey": &long[..257]}),
    ] {
        for _ in 0..5 {
            nobody.post("/v1/auth", &wrong).expect(401);
        }
    }
    // They are no attempts: this address may still try.
    ringbeam.api().get("/v1/groups").expect(200);
}

#[test]
fn a_burst_of_attempts_is_no_more_than_one_after_the_other() {
    let ringbeam = serving(&Upstream::listen());
    let nobody = ringbeam.nobody();
    let wrong = json!({"email": EMAIL, "password": "wrong password"}).to_string();
    let mut attempts: Vec<_> = (0..40)
        .map(|_| nobody.begin("POST", "/v1/auth", wrong.as_bytes()))
        .collect();
    let heard = attempts.iter_mut().map(|stream| read_head(stream).0);
    assert_eq!(heard.filter(|status| *status == 401).count(), 10);
}

#[test]
fn pages_of_other_hosts_ask_for_nothing() {
    let ringbeam = serving(&Upstream::listen());
    let nobody = ringbeam.nobody();
    let right = json!({"email": EMAIL, "password": PASSWORD});
    let from = |origin: String| Api {
        credentials: vec![("Origin".to_owned(), origin)],
        ..nobody.clone()
    };
    for origin in ["http://evil.example", "null"] {
        let foreign = from(origin.to_owned());
        for _ in 0..20 {
            foreign.post("/v1/auth", &json!({})).expect(403);
        }
        foreign.get("/healthz").expect(200);
    }
    let own = from(format!("http://{}", nobody.address));
    own.post("/v1/auth", &right).expect(200);
}

#[test]
fn what_is_wrong_with_a_query_is_said_in_our_words() {
    let ringbeam = serving(&Upstream::listen());
    let answer = ringbeam.api().get("/v1/groups?limit=x").expect(400).json();
    let message = answer["message"].as_str().unwrap();
    assert!(message.starts_with("the query: limit: "), "{message}");
}

#[test]
fn a_new_password_ends_what_the_old_one_let_in() {
    let ringbeam = serving(&Upstream::listen());
    let user = ringbeam.api();
    let (_, key, _) = output(&mut ringbeam.setup().user_command("add-key", EMAIL));
    let key: serde_json::Value = serde_json::from_str(&key).unwrap();
    let nobody = ringbeam.nobody();
    let program = nobody.with(&nobody.post("/v1/auth", &key).expect(200).json());
    let mut add = ringbeam.setup().user_command("add", EMAIL);
    let mut child = add
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"a new password")
        .unwrap();
    assert!(child.wait().unwrap().success());
    wait_until("the old token to end", || {
        user.get("/v1/groups").status == 401
    });
    program.get("/v1/groups").expect(200);
}
