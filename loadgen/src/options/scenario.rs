//! Scenario: a TOML file that names a command and its options, turned into the command line that it stands for.
//! So both have the same names, defaults and errors.

use std::path::Path;

use anyhow::{Context as _, bail};
use toml::{Table, Value};

/// The command line that a file stands for, with further options behind it.
///
/// # Errors
/// When the file cannot be read or is no scenario.
pub fn read(file: &Path, further: &[String]) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
    arguments(&text, further).with_context(|| format!("{}", file.display()))
}

fn arguments(text: &str, further: &[String]) -> anyhow::Result<Vec<String>> {
    let mut table: Table = text.parse()?;
    let command = match table.remove("command") {
        Some(Value::String(command)) => command,
        Some(other) => bail!("command: a name is wanted, found {other}"),
        None => bail!("command: missing; it is one of publish, connect, fanout, p2p, storm, mixed"),
    };
    if !COMMANDS.contains(&command.as_str()) {
        bail!("command: {command} is none of {}", COMMANDS.join(", "));
    }
    // For people, not for the generator.
    table.remove("about");
    let mut line = vec!["ringbeam-loadgen".to_owned(), command];
    for (key, value) in table {
        let option = format!("--{}", key.replace('_', "-"));
        let is_replaced = further
            .iter()
            .any(|word| *word == option || word.starts_with(&format!("{option}=")));
        if is_replaced {
            continue;
        }
        match value {
            Value::Boolean(false) => {}
            Value::Boolean(true) => line.push(option),
            Value::Array(values) => {
                line.push(option);
                for value in values {
                    line.push(word(&key, value)?);
                }
            }
            Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Datetime(_)
            | Value::Table(_) => {
                line.push(option);
                line.push(word(&key, value)?);
            }
        }
    }
    line.extend_from_slice(further);
    Ok(line)
}

const COMMANDS: [&str; 6] = ["publish", "connect", "fanout", "p2p", "storm", "mixed"];

fn word(key: &str, value: Value) -> anyhow::Result<String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        other @ (Value::Boolean(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_)) => {
            bail!("{key}: {other} is neither text, number, nor true or false")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, further: &[&str]) -> Result<String, String> {
        let further: Vec<_> = further.iter().map(|word| (*word).to_owned()).collect();
        arguments(text, &further)
            .map(|words| words.join(" "))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_stands_for_a_command_line() {
        let file = r#"
            about = "what it is for"
            command = "publish"
            sims = ["127.1.0.0/16", "127.2.0.0/16"]
            rate = 1000
            duration = "5s"
            lockstep = true
            wait = false
        "#;
        assert_eq!(
            line(file, &["--rate", "5", "--json=-"]).unwrap(),
            "ringbeam-loadgen publish --duration 5s --lockstep --sims 127.1.0.0/16 127.2.0.0/16 --rate 5 --json=-"
        );
    }

    #[test]
    fn what_is_no_scenario_is_named() {
        assert!(
            line("rate = 5", &[])
                .unwrap_err()
                .starts_with("command: missing")
        );
        assert!(
            line("command = \"sink\"", &[])
                .unwrap_err()
                .contains("none of publish")
        );
        assert!(
            line("command = \"publish\"\nrate = {}", &[])
                .unwrap_err()
                .starts_with("rate:")
        );
        line("command", &[]).unwrap_err();
    }
}
