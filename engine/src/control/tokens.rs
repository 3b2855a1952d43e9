//! Tokens: who has signed in, until when. They are kept as hashes and in memory alone: a restart asks everybody
//! to sign in again.

use ahash::RandomState;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hashbrown::HashMap;
use serde_json::json;

use super::limits::{PROOF_MS, TOKENS};
use crate::registry::{StoreError, hash_text, is_hash_of, random};

/// Random bytes of an API key and of a token.
const KEY_BYTES: usize = 24;
const TOKEN_BYTES: usize = 64;

/// How long a token is good for where nobody says, and at the most, in seconds.
pub(super) const LIFETIME_SECONDS: u64 = 86_400;
pub(super) const LIFETIME_SECONDS_MAX: u64 = 172_800;

/// What somebody is given who signs in.
pub(super) struct Issued {
    pub(super) api_key: String,
    pub(super) token: String,
}

/// What somebody was let in by. A token holds no longer than that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// The password of the hash of which this is the hash.
    Password(Vec<u8>),
    /// The key of this id.
    Key(String),
}

struct Token {
    user: String,
    hash: Vec<u8>,
    expires_ms: u64,
    proof: Proof,
    /// When the proof was last seen to hold.
    proved_ms: u64,
}

/// Everybody who has signed in.
#[derive(Default)]
pub(super) struct Tokens {
    by_key: HashMap<String, Token, RandomState>,
}

impl Tokens {
    /// Lets somebody in, to what is this operator's.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(super) fn issue(
        &mut self,
        operator_id: &str,
        (user, proof): (&str, Proof),
        lifetime_seconds: u64,
        now_ms: u64,
    ) -> Result<Issued, StoreError> {
        let issued = Issued {
            api_key: format!("api-{}", random::<KEY_BYTES>()?),
            token: format!("{}.{}", label(operator_id), random::<TOKEN_BYTES>()?),
        };
        self.by_key.retain(|_, token| token.expires_ms > now_ms);
        if self.by_key.len() >= TOKENS {
            // The one that would expire first makes room.
            let first = self.by_key.iter().min_by_key(|(_, token)| token.expires_ms);
            let first = first.map(|(key, _)| key.clone());
            first.and_then(|key| self.by_key.remove(&key));
        }
        let token = Token {
            user: user.to_owned(),
            hash: hash_text(&issued.token),
            expires_ms: now_ms.saturating_add(lifetime_seconds.saturating_mul(1000)),
            proof,
            proved_ms: now_ms,
        };
        self.by_key.insert(issued.api_key.clone(), token);
        Ok(issued)
    }

    /// Who this is.
    pub(super) fn user(&self, api_key: &str, token: &str, now_ms: u64) -> Option<&str> {
        let known = self.by_key.get(api_key)?;
        let is_valid = is_hash_of(&known.hash, token) && known.expires_ms > now_ms;
        is_valid.then_some(known.user.as_str())
    }

    /// What this one was let in by, where it is time to look whether that still holds.
    pub(super) fn unproved(&self, api_key: &str, now_ms: u64) -> Option<Proof> {
        let known = self.by_key.get(api_key)?;
        let is_due = now_ms.saturating_sub(known.proved_ms) >= PROOF_MS;
        is_due.then(|| known.proof.clone())
    }

    /// It does.
    pub(super) fn proved(&mut self, api_key: &str, now_ms: u64) {
        if let Some(known) = self.by_key.get_mut(api_key) {
            known.proved_ms = now_ms;
        }
    }

    /// Lets nobody in by this key any more.
    pub(super) fn revoke(&mut self, api_key: &str) {
        self.by_key.remove(api_key);
    }
}

/// What a token starts with: two parts that anybody may read, as those of a JSON Web Token. The vendor's command line
/// takes the operator's id from there for the paths that need it; here nothing is read but the whole.
fn label(operator_id: &str) -> String {
    let part = |content: &serde_json::Value| URL_SAFE_NO_PAD.encode(content.to_string());
    let header = json!({"typ": "opaque"});
    let payload = json!({"operator": {"operatorId": operator_id}});
    format!("{}.{}", part(&header), part(&payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_the_operator_where_the_vendors_command_line_looks() {
        let issued = Tokens::default().issue("OP0012345678", ("a", proof()), 1, 0);
        let token = issued.unwrap().token;
        let parts: Vec<&str> = token.split('.').collect();
        let [_, payload, secret] = parts[..] else {
            panic!("{token}");
        };
        let payload = URL_SAFE_NO_PAD.decode(payload).unwrap();
        let payload: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(payload["operator"]["operatorId"], "OP0012345678");
        assert_eq!(URL_SAFE_NO_PAD.decode(secret).unwrap().len(), TOKEN_BYTES);
    }

    fn proof() -> Proof {
        Proof::Key("keyId-x".to_owned())
    }

    #[test]
    fn what_a_token_was_given_for_is_looked_at_now_and_then() {
        let mut tokens = Tokens::default();
        let issued = tokens.issue("OP", ("a", proof()), 1000, 1).unwrap();
        assert_eq!(tokens.unproved(&issued.api_key, PROOF_MS), None);
        let due = tokens.unproved(&issued.api_key, PROOF_MS + 1);
        assert_eq!(due, Some(proof()));
        tokens.proved(&issued.api_key, PROOF_MS + 1);
        assert_eq!(tokens.unproved(&issued.api_key, PROOF_MS + 2), None);
    }

    #[test]
    fn a_token_holds_for_its_time_and_until_it_is_revoked() {
        let mut tokens = Tokens::default();
        let first = tokens.issue("OP", ("a", proof()), 10, 1000).unwrap();
        let second = tokens.issue("OP", ("b", proof()), 10, 1000).unwrap();
        assert_eq!(tokens.user(&first.api_key, &first.token, 10_999), Some("a"));
        assert_eq!(tokens.user(&first.api_key, &second.token, 2000), None);
        assert_eq!(tokens.user(&first.api_key, &first.token, 11_000), None);
        tokens.revoke(&second.api_key);
        assert_eq!(tokens.user(&second.api_key, &second.token, 2000), None);
    }

    #[test]
    fn tokens_are_bounded() {
        let mut tokens = Tokens::default();
        let first = tokens.issue("OP", ("a", proof()), 5, 0).unwrap();
        for _ in 0..TOKENS {
            tokens.issue("OP", ("b", proof()), 10, 0).unwrap();
        }
        assert_eq!(tokens.by_key.len(), TOKENS);
        assert_eq!(tokens.user(&first.api_key, &first.token, 1), None);
    }
}
