//! User: `ringbeam user`, whoever may use the API and the console of an embedded registry.

use std::io::{self, IsTerminal as _, Read as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde_json::json;
use zeroize::Zeroizing;

use crate::registry::{EmbeddedRegistry, StoreError};
use crate::sys::clock::unix_ms;

/// More than any password has.
const INPUT_BYTES: u64 = 4096;

/// Takes a user, or a new password of one, with the password from standard input. What there is to say.
///
/// # Errors
/// When the password cannot be read. Inside is why the user is not taken.
pub fn add(registry: &EmbeddedRegistry, email: &str) -> io::Result<Result<String, StoreError>> {
    let password = password()?;
    let added = registry.change(|moment| {
        let is_new = moment.put_user(email, password.as_bytes(), unix_ms())?;
        let action = if is_new { "addUser" } else { "changePassword" };
        moment.add_audit("ringbeam user", action, email, unix_ms())?;
        Ok::<_, StoreError>(is_new)
    });
    Ok(added.map(|is_new| {
        let what = if is_new {
            "added"
        } else {
            "has a new password"
        };
        format!("{email} {what}")
    }))
}

/// Makes a key for a user: one JSON object, shown this once.
///
/// # Errors
/// When there is no such user, or the registry cannot be written.
pub fn add_key(registry: &EmbeddedRegistry, email: &str) -> Result<Zeroizing<String>, StoreError> {
    let key = registry.change(|moment| {
        moment.add_audit("ringbeam user", "addAuthKey", email, unix_ms())?;
        moment.add_auth_key(email, unix_ms())
    })?;
    let shown = json!({"authKeyId": key.id, "authKey": &*key.key});
    Ok(Zeroizing::new(shown.to_string()))
}

/// Standard input to its end, without the line's end; from a terminal one line, which it does not show.
fn password() -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    let input = io::stdin();
    if input.is_terminal() {
        write!(io::stderr(), "Password: ")?;
        let shown = tcgetattr(&input)?;
        let mut hidden = shown.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&input, OptionalActions::Flush, &hidden)?;
        let read = input.read_line(&mut text);
        tcsetattr(&input, OptionalActions::Flush, &shown)?;
        writeln!(io::stderr())?;
        read?;
    } else {
        input.lock().take(INPUT_BYTES).read_to_string(&mut text)?;
    }
    let length = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(length);
    Ok(text)
}
