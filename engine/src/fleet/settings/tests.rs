//! Tests of the shapes and spellings of an entry point's keys.

use super::*;
use serde_json::json;

fn read(value: &Value) -> Result<Settings, Vec<String>> {
    let mut problems = Problems::default();
    let settings = Settings::read(value, &JsonPath::ROOT, &mut problems);
    problems
        .into_result(settings)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[test]
fn b_cfg_1_spellings_and_strings_come_back_in_one_form() {
    let check = |written: Value, expected: Value| {
        assert_eq!(read(&written).unwrap().to_json(), expected, "{written}");
    };
    for spelling in ["usePubnub", "usePubnum", "usePubNub"] {
        check(json!({ spelling: true }), json!({"usePubnub": true}));
        check(json!({ spelling: "false" }), json!({"usePubnub": false}));
    }
    check(
        json!({"usePubnum": "true", "usePubNub": true}),
        json!({"usePubnub": true}),
    );
    for key in KEYS.iter().filter(|key| key.shape == Shape::Switch) {
        let name = key.name;
        check(json!({ name: "true" }), json!({ name: true }));
        check(json!({ name: false }), json!({ name: false }));
        assert!(read(&json!({ name: "true" })).unwrap().is_on(name));
        assert!(!read(&json!({})).unwrap().is_on(name));
    }
    check(json!({}), json!({}));
    let unknown = json!({"x": [1, {"y": null}], "enable": "true", "UsePubnub": 5});
    check(unknown.clone(), unknown.clone());
    let settings = read(&unknown).unwrap();
    assert_eq!(
        settings.unknown_keys().collect::<Vec<_>>(),
        ["UsePubnub", "enable", "x"]
    );
}

#[test]
fn b_cfg_2_a_key_is_set_or_at_its_default() {
    let settings = read(&json!({"name": "n", "enabled": false})).unwrap();
    let set: Vec<_> = KEYS
        .iter()
        .filter(|key| settings.is_set(key.name))
        .collect();
    assert_eq!(
        set.iter().map(|key| key.name).collect::<Vec<_>>(),
        ["name", "enabled"]
    );
    assert_eq!(settings.platform(), Platform::V201912);
    assert_eq!(settings.text("username"), None);
}

#[test]
fn b_cfg_4_wrong_shapes_are_refused_and_no_password_is_shown() {
    let check = |written: Value, expected: &str| {
        assert_eq!(read(&written).unwrap_err(), [expected], "{written}");
    };
    check(json!([]), "found a list; accepted: an object");
    check(
        json!({"name": 5}),
        "name: found the number 5; accepted: a string",
    );
    check(
        json!({"enabled": "yes"}),
        "enabled: found \"yes\"; accepted: true or false",
    );
    check(
        json!({"enabled": 1}),
        "enabled: found the number 1; accepted: true or false",
    );
    check(
        json!({"enabled": null}),
        "enabled: found null; accepted: true or false",
    );
    check(
        json!({"password": 4711}),
        "password: found a number; accepted: a string",
    );
    check(
        json!({"password": ["hush"]}),
        "password: found a list; accepted: a string",
    );
    for version in [json!("201911"), json!("")] {
        let shown = version.to_string();
        check(
            json!({ "version": version }),
            &format!("version: found {shown}; accepted: \"201912\" or \"201509\""),
        );
    }
    check(
        json!({"version": 201912}),
        "version: found the number 201912; accepted: \"201912\" or \"201509\"",
    );
    check(
        json!({"clientCerts": {"default": {"$credentialsId": 5}}}),
        "clientCerts.default.$credentialsId: found a number; accepted: the id of a credential",
    );
    check(
        json!({"clientCerts": {"default": "x"}}),
        "clientCerts.default: found a string; accepted: an object",
    );
    check(
        json!({"pubnubCredential": "x"}),
        "pubnubCredential: found \"x\"; accepted: {\"$credentialsId\": \"an id\"}",
    );
    check(
        json!({"usePubnum": true, "usePubNub": false}),
        "usePubnum: found true, but another spelling says otherwise; \
         accepted: one of usePubnub, usePubnum, usePubNub",
    );
    let both = read(&json!({"version": 5, "enabled": 5})).unwrap_err();
    assert_eq!(both.len(), 2);
}

#[test]
fn b_cfg_4_limits_are_whole_numbers() {
    let check = |written: Value, expected: &str| {
        assert_eq!(read(&written).unwrap_err(), [expected], "{written}");
    };
    let rate = "a whole number from 0 to 4294967295; 0 is no limit";
    for name in ["messagesPerSecond", "bytesPerSecond"] {
        let check_rate = |written: Value, found: &str| {
            check(
                json!({"ringbeamLimits": { name: written }}),
                &format!("ringbeamLimits.{name}: found {found}; accepted: {rate}"),
            );
        };
        check_rate(json!(-1), "the number -1");
        check_rate(json!(4_294_967_296_u64), "the number 4294967296");
        check_rate(json!(1.5), "the number 1.5");
        check_rate(json!("5"), "\"5\"");
        check_rate(json!(true), "true");
        check_rate(Value::Null, "null");
    }
    for written in [json!(5), Value::Null] {
        let found = describe(&written);
        check(
            json!({ "ringbeamLimits": written }),
            &format!(
                "ringbeamLimits: found {found}; \
                 accepted: {{\"messagesPerSecond\": n, \"bytesPerSecond\": n}}"
            ),
        );
    }
    check(
        json!({"ringbeamLimits": {"messages": 1}}),
        "ringbeamLimits.messages: found an unknown key; \
         accepted: messagesPerSecond, bytesPerSecond",
    );
}

#[test]
fn b_cfg_1_limits_come_back_as_they_were_written() {
    let check = |written: Value, messages_per_second, bytes_per_second| {
        let object = json!({ "ringbeamLimits": written });
        let settings = read(&object).unwrap();
        let expected = LimitOverrides {
            messages_per_second,
            bytes_per_second,
        };
        assert_eq!(settings.limits(), expected, "{object}");
        assert_eq!(settings.to_json(), object);
    };
    check(json!({}), None, None);
    check(json!({"messagesPerSecond": 5}), Some(5), None);
    check(json!({"bytesPerSecond": 0}), None, Some(0));
    check(
        json!({"messagesPerSecond": 0, "bytesPerSecond": u32::MAX}),
        Some(0),
        Some(u32::MAX),
    );
    // B-CFG-2
    let omitted = read(&json!({})).unwrap().limits();
    assert_eq!(omitted, LimitOverrides::default());
}

#[test]
fn nothing_shows_a_password() {
    let settings = read(&json!({"password": "hush", "username": "u"})).unwrap();
    assert!(!format!("{settings:?}").contains("hush"));
    for key in &KEYS {
        assert!(!settings.shown(key).unwrap_or_default().contains("hush"));
    }
    assert_eq!(
        settings.to_json(),
        json!({"password": "hush", "username": "u"})
    );
}
