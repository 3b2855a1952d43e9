//! Entry point: from the configuration object as it was typed to the plan that sessions follow.
//! Every refusal is noted with its path; what has no effect becomes a warning.

use std::sync::Arc;

use ringbeam_proto::identity::Identity;
use ringbeam_proto::limits::{IMEI_DIGITS_MAX, IMSI_DIGITS_MAX, STRING_BYTES_MAX};
use ringbeam_proto::rules::{Rules, TopicRules};
use ringbeam_proto::template::Template;
use serde_json::Value;

use super::credential::{CredentialKind, Credentials};
use super::destination::{self, Destination, MQTT_PORT, MQTTS_PORT, PUBNUB_HOST, Url};
use super::json::JsonPath;
use super::service::Service;
use super::settings::Settings;
use crate::problem::{Problem, Problems, quoted};

/// One group's entry point.
#[derive(Debug)]
pub struct EntryPoint {
    /// Free text.
    pub name: String,
    /// Whether devices are let in.
    pub enabled: bool,
    /// Where their sessions go on to.
    pub destination: Destination,
    /// Who they are there.
    pub credentials: CredentialPlan,
    /// Which client certificate, where that depends on the SIM (B-CRED-1).
    pub certificate: Option<Template>,
    /// What becomes of their packets.
    pub rules: Rules,
    /// What its configuration says without effect.
    pub warnings: Vec<String>,
    /// The configuration object that it came from.
    pub settings: Settings,
}

/// The user name and password that go upstream (B-CON-2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialPlan {
    /// The device's own, unchanged.
    PassThrough,
    /// These; the device's own never.
    Configured {
        /// The user name, if any.
        username: Option<Template>,
        /// The password, if any; never without a user name.
        password: Option<Template>,
    },
}

impl EntryPoint {
    /// The entry point that a configuration object describes.
    ///
    /// # Errors
    /// Every refusal, with its path in the object (B-CFG-4).
    pub fn from_json(value: &Value, credentials: &Credentials) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        let entry_point = Self::read(value, &JsonPath::ROOT, credentials, &mut problems);
        problems.into_result(entry_point)
    }

    /// The configuration object in one spelling, unknown keys as they came (B-CFG-1). It holds the
    /// password in clear.
    #[must_use]
    pub fn to_json(&self) -> Value {
        self.settings.to_json()
    }

    /// B-CFG-4: the id of the credential that a SIM would need and that is not there, or is of another
    /// type. Whether there is one for every SIM shows at CONNECT alone.
    #[must_use]
    pub fn missing_credential(
        &self,
        credentials: &Credentials,
        identity: &Identity,
    ) -> Option<String> {
        let id = self.certificate.as_ref()?.render(identity);
        let found = credentials.find(&id);
        let fits = found.is_some_and(|credential| credential.kind == CredentialKind::X509);
        (!fits).then_some(id)
    }

    pub(super) fn read(
        value: &Value,
        path: &JsonPath<'_>,
        credentials: &Credentials,
        problems: &mut Problems,
    ) -> Option<Self> {
        let settings = Settings::read(value, path, problems)?;
        let reading = Reading {
            settings: &settings,
            path,
            credentials,
            problems,
        };
        let (service, plan) = reading.resolve();
        let plan = plan?;
        refuse_tls(&settings, service, &plan, path, problems);
        Some(Self { settings, ..plan })
    }
}

/// What needs TLS is refused as long as there is none.
fn refuse_tls(
    settings: &Settings,
    service: Service,
    plan: &EntryPoint,
    path: &JsonPath<'_>,
    problems: &mut Problems,
) {
    if !plan.destination.tls {
        return;
    }
    if service != Service::Standard {
        let accepted = "false; this service needs TLS, which is not in this version";
        problems.refuse(path.key(service.switch()), true, accepted);
    } else if settings
        .text("destination")
        .is_some_and(|url| Url::parse(url).is_ok_and(|u| u.tls))
    {
        let found = quoted(&plan.destination.to_string());
        let accepted = "mqtt://; mqtts:// is not in this version";
        problems.refuse(path.key("destination"), found, accepted);
    } else {
        // B-VER-4
        let accepted = "false; under 201509 it means TLS, which is not in this version";
        problems.refuse(path.key("useClientCert"), true, accepted);
    }
}

/// One configuration object on its way to a plan.
struct Reading<'a> {
    settings: &'a Settings,
    path: &'a JsonPath<'a>,
    credentials: &'a Credentials,
    problems: &'a mut Problems,
}

impl Reading<'_> {
    fn resolve(mut self) -> (Service, Option<EntryPoint>) {
        let settings = self.settings;
        let mut warnings = Vec::new();
        let service = self.service();
        let destination = self.destination(service, &mut warnings);
        let credentials = self.credential_plan(service, &mut warnings);
        self.check_credentials(service);
        self.warn(service, destination.as_ref(), &mut warnings);
        let entry_point = destination.map(|destination| EntryPoint {
            name: settings.text("name").unwrap_or_default().to_owned(),
            enabled: settings.is_on("enabled"),
            destination,
            credentials,
            certificate: self.certificate(service),
            rules: Rules {
                platform: settings.platform(),
                topics: TopicRules {
                    append_imsi: settings.is_on("addSubscriberHeader"),
                    replace_placeholders: settings.is_on("replaceTopic"),
                    rewrite_will: settings.is_on("rewriteWill"),
                },
            },
            warnings,
            settings: Settings::default(),
        });
        (service, entry_point)
    }

    /// The certificate's id where it depends on the SIM.
    fn certificate(&self, service: Service) -> Option<Template> {
        let is_used = service == Service::Standard && self.settings.is_on("useClientCert");
        let id = self.settings.certificate().filter(|_| is_used)?;
        Some(Template::compile(id)).filter(Template::has_placeholders)
    }

    /// B-CFG-3: at most one of the three switches.
    fn service(&mut self) -> Service {
        let on: Vec<Service> = Service::SPECIAL
            .into_iter()
            .filter(|service| self.settings.is_on(service.switch()))
            .collect();
        if let [_, second, ..] = on.as_slice() {
            let names = on
                .iter()
                .map(|service| service.switch())
                .collect::<Vec<_>>()
                .join(" and ");
            self.problems.refuse(
                self.path.key(second.switch()),
                format_args!("{names} at once"),
                "at most one of usePubnub, useGoogleIoT, useAzureIoT",
            );
        }
        on.first().copied().unwrap_or(Service::Standard)
    }

    fn destination(&mut self, service: Service, warnings: &mut Vec<String>) -> Option<Destination> {
        let has_certificate = service == Service::Standard && self.settings.is_on("useClientCert");
        let url = match self.settings.text("destination") {
            Some(text) => match Url::parse(text) {
                Ok(url) => url,
                Err(error) => {
                    // What stands before an @ may be a password.
                    let found = if text.contains('@') {
                        error.to_string()
                    } else {
                        format!("{} ({error})", quoted(text))
                    };
                    self.problems.refuse(
                        self.path.key("destination"),
                        found,
                        destination::ACCEPTED,
                    );
                    return None;
                }
            },
            None if self.settings.is_refused("destination") => return None,
            None if service == Service::Pubnub => Url {
                tls: true,
                host: PUBNUB_HOST,
                port: None,
                has_path: false,
            },
            None => {
                let accepted = destination::ACCEPTED;
                self.problems
                    .refuse(self.path.key("destination"), "nothing", accepted);
                return None;
            }
        };
        if url.has_path {
            warnings.push("destination: what follows host and port is ignored".to_owned());
        }
        if service != Service::Standard && !url.tls {
            // B-DST-1
            warnings.push(format!(
                "destination: mqtt:// is used as mqtts://, as {} requires",
                service.switch()
            ));
        }
        // B-VER-4, B-DST-1
        let tls = service != Service::Standard
            || self.settings.platform().uses_tls(url.tls, has_certificate);
        if has_certificate && !tls {
            warnings.push(
                "useClientCert: the client certificate is unused over mqtt:// under 201912"
                    .to_owned(),
            );
        }
        let port = url.port.unwrap_or(if tls { MQTTS_PORT } else { MQTT_PORT });
        Some(Destination {
            host: Arc::from(url.host),
            port,
            tls,
        })
    }

    /// B-CON-2, as far as B-CFG-3 lets the keys take effect.
    fn credential_plan(&mut self, service: Service, warnings: &mut Vec<String>) -> CredentialPlan {
        let none = CredentialPlan::Configured {
            username: None,
            password: None,
        };
        let username = self.settings.filled_text("username");
        let password = self.settings.filled_text("password");
        for (key, text) in [("username", username), ("password", password)] {
            self.check_size(key, text.unwrap_or_default());
        }
        if username.is_some_and(|text| text.contains('\0')) {
            self.problems.refuse(
                self.path.key("username"),
                "a NUL character",
                "text without it",
            );
        }
        if service != Service::Standard {
            return none;
        }
        let username_is_absent = username.is_none() && !self.settings.is_refused("username");
        if password.is_some() && username_is_absent {
            self.problems.refuse(
                self.path.key("username"),
                "nothing beside a password",
                "a user name, or no password",
            );
        }
        if self.settings.is_on("useClientCredentials") {
            if username.is_some() {
                warnings.push(
                    "username, password: no effect while useClientCredentials is on".to_owned(),
                );
            }
            return CredentialPlan::PassThrough;
        }
        CredentialPlan::Configured {
            username: username.map(Template::compile),
            password: password.map(Template::compile),
        }
    }

    /// A user name or password must fit into its field for the longest identity there is.
    fn check_size(&mut self, key: &str, text: &str) {
        let imsi = "9".repeat(IMSI_DIGITS_MAX).parse();
        let (Ok(imsi), Ok(sim_id)) = (imsi, "9".parse()) else {
            return;
        };
        let longest = Identity {
            imsi,
            sim_id,
            imei: "9".repeat(IMEI_DIGITS_MAX).parse().ok(),
        };
        let size = Template::compile(text).render(&longest).len();
        if size > STRING_BYTES_MAX {
            self.problems.refuse(
                self.path.key(key),
                format_args!("{size} bytes with its placeholders replaced"),
                format_args!("at most {STRING_BYTES_MAX} bytes"),
            );
        }
    }

    /// B-CFG-4: the credentials that are in use exist and are of the right kind.
    fn check_credentials(&mut self, service: Service) {
        if let Some((_, key, kind)) = service.keys() {
            self.check_credential(self.settings.reference(key), key, kind);
        } else if self.settings.is_on("useClientCert") {
            let id = self.settings.certificate();
            self.check_credential(id, "clientCerts", CredentialKind::X509);
        }
    }

    fn check_credential(&mut self, id: Option<&str>, key: &'static str, kind: CredentialKind) {
        let key_path = self.path.key(key);
        let default_path = key_path.key("default");
        let parent = if key == "clientCerts" {
            &default_path
        } else {
            &key_path
        };
        let path = parent.key("$credentialsId");
        let accepted = format!("the id of a credential of type {}", kind.as_str());
        let Some(id) = id else {
            if !self.settings.is_refused(key) {
                self.problems.refuse(path, "nothing", accepted);
            }
            return;
        };
        // B-CRED-1: which one it is turns out at CONNECT.
        if Template::compile(id).has_placeholders() {
            return;
        }
        match self.credentials.find(id) {
            Some(credential) if credential.kind == kind => {}
            Some(credential) => {
                let found = format!("{}, of type {}", quoted(id), credential.kind.as_str());
                self.problems.refuse(path, found, accepted);
            }
            None => {
                let found = format!("{}, which is not in credentials", quoted(id));
                self.problems.refuse(path, found, accepted);
            }
        }
    }

    /// What was written without effect.
    fn warn(
        &self,
        service: Service,
        destination: Option<&Destination>,
        warnings: &mut Vec<String>,
    ) {
        let settings = self.settings;
        if service != Service::Standard {
            // B-CFG-3
            let switch = service.switch();
            for key in [
                "username",
                "password",
                "useClientCredentials",
                "useClientCert",
            ] {
                if settings.filled_text(key).is_some() || settings.is_on(key) {
                    warnings.push(format!("{key}: no effect while {switch} is on"));
                }
            }
        }
        if settings.is_on("renewUpstream") {
            warnings.push("renewUpstream: not in this version, has no effect yet".to_owned());
        }
        if settings.is_set("ringbeamLimits") {
            warnings.push("ringbeamLimits: not in this version, has no effect yet".to_owned());
        }
        if settings.is_on("rewriteWill") && !settings.platform().keeps_will() {
            warnings.push("rewriteWill: no effect, under 201509 wills are removed".to_owned());
        }
        if destination.is_some_and(|destination| destination.port == MQTTS_PORT && !destination.tls)
        {
            warnings.push(format!(
                "destination: port {MQTTS_PORT} is MQTT over TLS as a rule, but mqtt:// is plain"
            ));
        }
        for key in settings.unknown_keys() {
            warnings.push(format!("{}: unknown key, kept without effect", quoted(key)));
        }
    }
}

#[cfg(test)]
mod tests;
