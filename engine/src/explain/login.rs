//! The lines on who a SIM is at its destination: TLS, client id, user name, password, certificate. It renders
//! as a CONNECT would, and masks what is secret.

use ringbeam_proto::identity::Identity;

use super::{Context, MASK, Page};
use crate::fleet::{Account, Content, EntryPoint, Login, Names, Validity};
use crate::problem::quoted;

/// What stands for the device's client id.
const CLIENT_ID: &str = "{client id}";

const OWN: &str = "the device's own, unchanged";
const NONE: &str = "none; the device's own stays here";

impl Page {
    /// B-AWS-1: what the TLS handshake says.
    pub(super) fn tls(&mut self, entry_point: &EntryPoint) {
        let destination = &entry_point.destination;
        if !destination.tls {
            return;
        }
        self.line("TLS name", destination.server_name_text());
        if let Some(protocol) = entry_point.alpn() {
            self.line("ALPN", String::from_utf8_lossy(protocol));
        }
    }

    /// B-CON-1, B-CON-2, B-AZ-1, B-GCP-1, B-PN-1
    pub(super) fn login(
        &mut self,
        context: &Context<'_>,
        entry_point: &EntryPoint,
        identity: &Identity,
    ) {
        let credentials = context.fleet.credentials();
        // Of its tokens nothing is shown, so that any time will do.
        let lifetime_seconds = context.config.upstream.token_lifetime.as_secs();
        let validity = Validity {
            issued_unix_seconds: 0,
            lifetime_seconds,
        };
        let account = match entry_point.account(CLIENT_ID, credentials, identity, validity) {
            Ok(account) => account,
            Err(refusal) => {
                let missing = entry_point.missing_credential(credentials, identity);
                let (what, why) = match &missing {
                    Some(id) if credentials.unusable(id).is_some() => (
                        quoted(id),
                        "is needed; it cannot be used, and check says why",
                    ),
                    Some(id) => (quoted(id), "is needed; it is not there, or of another type"),
                    None => (
                        refusal.name().to_owned(),
                        "is what a CONNECT would end with",
                    ),
                };
                return self.line("credential", format_args!("{what} {why}"));
            }
        };
        self.client_id(&entry_point.login, &account);
        self.names(&entry_point.login, &account.names, lifetime_seconds);
        self.certificate(entry_point, &account);
    }

    fn client_id(&mut self, login: &Login, account: &Account) {
        match (login, &account.client_id) {
            (Login::Pubnub { .. }, _) => {
                self.line("client id", format_args!("{MASK}/{MASK}/{CLIENT_ID}"));
            }
            (_, Some(client_id)) => self.line("client id", client_id),
            (_, None) => self.line("client id", OWN),
        }
    }

    fn names(&mut self, login: &Login, names: &Names, lifetime_seconds: u64) {
        let Names::Replaced { username, password } = names else {
            self.line("user name", OWN);
            self.line("password", OWN);
            return;
        };
        self.line("user name", username.as_deref().unwrap_or(NONE));
        match login.token_name() {
            Some(token) => self.line(
                "password",
                format_args!("{token}, good for {lifetime_seconds} seconds"),
            ),
            None => self.line("password", if password.is_some() { MASK } else { NONE }),
        }
    }

    fn certificate(&mut self, entry_point: &EntryPoint, account: &Account) {
        let Some(credential) = &account.certificate else {
            if entry_point.destination.tls {
                self.line("certificate", "none");
            }
            return;
        };
        let Content::X509(certificate) = &credential.content else {
            return;
        };
        self.line(
            "certificate",
            format_args!(
                "{}: {}, expires {}",
                quoted(&credential.id),
                certificate.subject,
                certificate.expires
            ),
        );
        let check = match (certificate.skips_verification, certificate.roots.len()) {
            (true, _) => "NOT CHECKED (insecureSkipVerify)".to_owned(),
            (false, 0) => "checked against the usual roots".to_owned(),
            (false, roots) => {
                format!("checked against the usual roots and {roots} of the credential")
            }
        };
        self.line("", format_args!("the broker's own is {check}"));
    }
}
