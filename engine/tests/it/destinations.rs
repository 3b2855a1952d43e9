//! Destinations: what CONNECT arrives at each kind of them, byte for byte through a real TLS connection, with
//! tokens that openssl and Python verify; and that nothing secret of it shows anywhere else.

use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::harness::authority::{Authority, Wish};
use super::harness::peer::{Peer, connack, connect_packet, packet, string};
use super::harness::ringbeam::{Ringbeam, Setup, output};
use super::harness::tls_server::TlsServer;

/// The groups, each with one SIM: number n has address 127.0.30.n.
const GROUPS: [&str; 7] = [
    "standard", "passing", "aws", "azure", "rs256", "es256", "pubnub",
];

const PASSWORD: &str = "hush-password";
const AZURE_KEY: &str = "aHVzaC1henVyZS1rZXk=";

fn sim(group: &str) -> Ipv4Addr {
    let number = GROUPS.iter().position(|name| *name == group).unwrap();
    Ipv4Addr::new(127, 0, 30, u8::try_from(number).unwrap() + 1)
}

fn imsi(group: &str) -> String {
    let number = GROUPS.iter().position(|name| *name == group).unwrap();
    format!("44010000000030{number}")
}

/// Keys that Google knows the other halves of, PEM.
struct Keys {
    rsa: String,
    ec: String,
}

impl Keys {
    fn new() -> Self {
        let rsa = [
            "genpkey",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
        ];
        let ec = [
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ];
        Self {
            rsa: openssl(&rsa, b""),
            ec: openssl(&ec, b""),
        }
    }
}

fn openssl(arguments: &[&str], input: &[u8]) -> String {
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Every kind of destination at one server.
fn fleet(port: u16, authority: &Authority, keys: &Keys) -> Value {
    let certificate = authority.issue(Wish::client("fleet"));
    let google = |id: &str, key: &str, algorithm: &str| {
        json!({ "credentialsId": id, "type": "googleIoT-credentials", "credentials": {
            "projectId": "project-1", "region": "europe-west1", "registryId": "registry-1",
            "deviceId": "sim-#{imsi}-#{imei}", "privateKey": key, "algorithm": algorithm } })
    };
    let by = |id: &str| json!({ "$credentialsId": id });
    let objects = GROUPS.map(|group| {
        let mut object = match group {
            "standard" => json!({ "username": "user-#{imsi}", "password": PASSWORD }),
            "passing" => json!({ "useClientCredentials": true }),
            "aws" => json!({ "useClientCert": true,
                             "clientCerts": { "default": by("cert-#{imsi}") } }),
            "azure" => json!({ "useAzureIoT": true, "azureIoTCredential": by("hub") }),
            "rs256" => json!({ "useGoogleIoT": true, "googleIoTCredential": by("rs256") }),
            "es256" => json!({ "useGoogleIoT": true, "googleIoTCredential": by("es256") }),
            _ => json!({ "usePubnub": true, "pubnubCredential": by("keys") }),
        };
        object["enabled"] = true.into();
        object["destination"] = format!("mqtts://localhost:{port}").into();
        json!({ "groupId": group, "configuration": {
            "SoracomBeam": { "mqtt://beam.soracom.io:1883": object } } })
    });
    let sims = GROUPS.map(|group| {
        json!({ "simId": format!("898110000000000{}", &imsi(group)[11..]), "imsi": imsi(group),
                "groupId": group, "ip": sim(group).to_string() })
    });
    json!({
        "groups": objects,
        "credentials": [
            { "credentialsId": format!("cert-{}", imsi("aws")), "type": "x509", "credentials": {
                "cert": certificate.chain.concat(), "key": certificate.key } },
            { "credentialsId": "hub", "type": "azureIoT-credentials", "credentials": {
                "sharedAccessKeyName": "policy", "sharedAccessKey": AZURE_KEY } },
            google("rs256", &keys.rsa, "RS256"),
            google("es256", &keys.ec, "ES256"),
            { "credentialsId": "keys", "type": "pubnub-credentials", "credentials": {
                "pubKey": "pub-c-hush-1", "subKey": "sub-c-hush-2" } },
            { "credentialsId": "names", "type": "username-password-credentials", "credentials": {
                "username": "hush-user", "password": PASSWORD } },
        ],
        "sims": sims,
    })
}

/// A device's CONNECT with credentials of its own.
fn device_connect() -> Vec<u8> {
    let body = [
        &b"\x00\x04MQTT\x04\xc2\x00\x3c"[..],
        &string("device"),
        &string("hush-own-user"),
        &string("hush-own-password"),
    ];
    packet(0x10, &body.concat())
}

/// A CONNECT of 3.1.1 with these names.
fn expected(client_id: &str, names: Option<(&str, &str)>) -> Vec<u8> {
    let flags = if names.is_some() { 0xc2 } else { 0x02 };
    let mut body = b"\x00\x04MQTT\x04\x00\x00\x3c".to_vec();
    body[7] = flags;
    body.extend(string(client_id));
    if let Some((username, password)) = names {
        body.extend(string(username));
        body.extend(string(password));
    }
    packet(0x10, &body)
}

/// The last string of a packet.
fn password(connect: &[u8]) -> String {
    let start = (0..connect.len() - 2)
        .find(|at| {
            let length = usize::from(u16::from_be_bytes([connect[*at], connect[at + 1]]));
            at + 2 + length == connect.len() && length > 40
        })
        .unwrap();
    String::from_utf8(connect[start + 2..].to_vec()).unwrap()
}

struct Stage {
    ringbeam: Ringbeam,
    server: TlsServer,
    keys: Keys,
    _authority: Authority,
}

impl Stage {
    fn new() -> Self {
        let authority = Authority::new("Private Root");
        let server = TlsServer::listen(&authority.server());
        let keys = Keys::new();
        let fleet = fleet(server.address().port(), &authority, &keys);
        let ringbeam = Setup::new(&fleet).section(&authority.section()).start();
        Self {
            ringbeam,
            server,
            keys,
            _authority: authority,
        }
    }

    /// The CONNECT that arrives for a group's device.
    fn connect(&self, group: &str) -> Vec<u8> {
        let mut device = Peer::connect(sim(group), self.ringbeam.address());
        device.send(&device_connect());
        let mut peer = self.server.accept();
        let connect = peer.packet();
        peer.send(connack(4));
        device.expect(connack(4));
        connect
    }
}

#[test]
fn b_con_2_and_b_aws_1_and_b_pn_1_connects_of_destinations_without_tokens() {
    let stage = Stage::new();
    let username = format!("user-{}", imsi("standard"));
    let names = Some((username.as_str(), PASSWORD));
    assert_eq!(stage.connect("standard"), expected("device", names));
    assert_eq!(stage.connect("passing"), device_connect());
    assert_eq!(stage.connect("aws"), expected("device", None));
    let client_id = "pub-c-hush-1/sub-c-hush-2/device";
    assert_eq!(stage.connect("pubnub"), expected(client_id, None));
}

#[test]
fn b_az_1_the_hub_gets_a_signature_that_python_makes_too() {
    let stage = Stage::new();
    let connect = stage.connect("azure");
    let password = password(&connect);
    let username = "localhost/device/?api-version=2021-04-12";
    assert_eq!(connect, expected("device", Some((username, &password))));
    let script = format!(
        "import base64, hashlib, hmac, sys, time, urllib.parse\n\
         fields = dict(f.split('=', 1) for f in sys.argv[1].removeprefix('SharedAccessSignature ').split('&'))\n\
         assert list(fields) == ['sr', 'sig', 'se', 'skn'], fields\n\
         assert urllib.parse.unquote(fields['sr']) == 'localhost/devices/device', fields\n\
         text = (fields['sr'] + '\\n' + fields['se']).encode()\n\
         key = base64.b64decode('{AZURE_KEY}')\n\
         made = base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()\n\
         assert urllib.parse.quote(made, safe='') == fields['sig'], fields\n\
         assert abs(int(fields['se']) - time.time() - 3600) < 60, fields\n\
         assert fields['skn'] == 'policy', fields\n"
    );
    python(&script, &[&password]);
}

#[test]
fn b_gcp_1_google_gets_a_token_that_openssl_verifies() {
    let stage = Stage::new();
    for (group, key) in [("rs256", &stage.keys.rsa), ("es256", &stage.keys.ec)] {
        let connect = stage.connect(group);
        let token = password(&connect);
        let device = format!("sim-{}-unknown-imei", imsi(group));
        let client_id = format!(
            "projects/project-1/locations/europe-west1/registries/registry-1/devices/{device}"
        );
        assert_eq!(connect, expected(&client_id, Some(("unused", &token))));
        let folder = tempfile::tempdir().unwrap();
        let public = openssl(&["pkey", "-pubout"], key.as_bytes());
        fs::write(folder.path().join("public.pem"), public).unwrap();
        let script = "import base64, json, subprocess, sys, time\n\
             folder, token, algorithm = sys.argv[1:]\n\
             unpad = lambda text: base64.urlsafe_b64decode(text + '=' * (-len(text) % 4))\n\
             head, claims, signature = token.split('.')\n\
             assert json.loads(unpad(head)) == {'typ': 'JWT', 'alg': algorithm}, head\n\
             said = json.loads(unpad(claims))\n\
             assert set(said) == {'iat', 'exp', 'aud'} and said['aud'] == 'project-1', said\n\
             assert said['exp'] - said['iat'] == 3600 and abs(said['iat'] - time.time()) < 90, said\n\
             signature = unpad(signature)\n\
             if algorithm == 'ES256':\n\
             \x20   def number(part):\n\
             \x20       part = part.lstrip(b'\\0')\n\
             \x20       part = b'\\0' + part if part[0] & 0x80 else part\n\
             \x20       return b'\\x02' + bytes([len(part)]) + part\n\
             \x20   both = number(signature[:32]) + number(signature[32:])\n\
             \x20   signature = b'\\x30' + bytes([len(both)]) + both\n\
             open(folder + '/signature', 'wb').write(signature)\n\
             verify = ['openssl', 'dgst', '-sha256', '-verify', folder + '/public.pem',\n\
             \x20         '-signature', folder + '/signature']\n\
             subprocess.run(verify, input=(head + '.' + claims).encode(), check=True)\n";
        let algorithm = group.to_uppercase();
        let folder = folder.path().to_str().unwrap();
        python(script, &[folder, &token, &algorithm]);
    }
}

#[test]
fn b_pn_1_pubnub_needs_no_destination() {
    let authority = Authority::new("Private Root");
    let server = TlsServer::listen(&authority.server());
    let keys = Keys::new();
    let mut fleet = fleet(1, &authority, &keys);
    for group in fleet["groups"].as_array_mut().unwrap() {
        let object = &mut group["configuration"]["SoracomBeam"]["mqtt://beam.soracom.io:1883"];
        if object["usePubnub"] == true {
            object.as_object_mut().unwrap().remove("destination");
        }
    }
    let host = format!("localhost:{}", server.address().port());
    let section = format!("{}\npubnub_host = \"{host}\"", authority.section());
    let ringbeam = Setup::new(&fleet).section(&section).start();
    let mut device = Peer::connect(sim("pubnub"), ringbeam.address());
    device.send(&device_connect());
    let mut peer = server.accept();
    let client_id = "pub-c-hush-1/sub-c-hush-2/device";
    assert_eq!(peer.packet(), expected(client_id, None));
    assert_eq!(peer.server_name(), Some("localhost"));
}

fn python(script: &str, arguments: &[&str]) {
    let mut command = Command::new("python3");
    command.arg("-c").arg(script).args(arguments);
    let (code, stdout, stderr) = output(&mut command);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
}

#[test]
fn no_secret_shows_in_logs_refusals_check_or_explain() {
    let stage = Stage::new();
    for group in GROUPS {
        stage.connect(group);
    }
    // Devices that are refused: a broken CONNECT, and an upstream that is gone.
    let address = stage.ringbeam.address();
    let mut broken = device_connect();
    broken[9] |= 1;
    for group in GROUPS {
        let mut device = Peer::connect(sim(group), address);
        device.send(&broken);
        device.rest();
    }
    drop(stage.server);
    for group in GROUPS {
        let mut device = Peer::connect(sim(group), address);
        device.send(&device_connect());
        device.expect_closed();
    }
    // A reload in which everything is spoilt.
    let setup = stage.ringbeam.setup();
    let good = fs::read_to_string(setup.config().with_file_name("fleet.json")).unwrap();
    setup.write_fleet_text(&good.replace("BEGIN", "BEGUN").replace(AZURE_KEY, "hush*"));
    assert!(!stage.ringbeam.reload());
    let (code, checked, refused) = output(&mut setup.command("check"));
    assert_eq!(code, Some(2), "{checked}{refused}");
    setup.write_fleet_text(&good);
    let mut seen = vec![stage.ringbeam.log_text(), checked, refused];
    let (code, checked, _) = output(&mut setup.command("check"));
    assert_eq!(code, Some(0), "{checked}");
    seen.push(checked);
    for group in GROUPS {
        let mut explain = setup.command("explain");
        let (code, shown, _) = output(explain.args(["--ip", &sim(group).to_string()]));
        assert_eq!(code, Some(0), "{shown}");
        seen.push(shown);
    }
    let mut secrets = vec![
        "hush".to_owned(),
        AZURE_KEY.to_owned(),
        "SharedAccess".to_owned(),
    ];
    for key in [&stage.keys.rsa, &stage.keys.ec] {
        secrets.push(key.lines().nth(1).unwrap()[..24].to_owned());
    }
    for text in &seen {
        for secret in &secrets {
            let line = text.lines().find(|line| line.contains(secret.as_str()));
            assert_eq!(line, None, "{secret}");
        }
        assert!(!text.contains("eyJ"), "a token: {text}");
    }
    assert!(seen[0].contains("session ended") && seen[0].contains("connection refused"));
    // The words are not compared for nothing.
    assert!(
        connect_packet(4, "hush")
            .windows(4)
            .any(|word| word == b"hush")
    );
}
