//! One configuration object on its way to a plan: what each key means beside the others.

use std::sync::Arc;

use ringbeam_proto::identity::Identity;
use ringbeam_proto::limits::{IMEI_DIGITS_MAX, IMSI_DIGITS_MAX, STRING_BYTES_MAX};
use ringbeam_proto::rules::{Rules, TopicRules};
use ringbeam_proto::template::Template;

use super::EntryPoint;
use crate::fleet::credential::{CredentialKind, Credentials};
use crate::fleet::destination::{self, Destination, MQTT_PORT, MQTTS_PORT, PUBNUB_HOST, Url};
use crate::fleet::json::JsonPath;
use crate::fleet::login::CredentialPlan;
use crate::fleet::service::Service;
use crate::fleet::settings::Settings;
use crate::problem::{Problems, quoted};

/// One configuration object on its way to a plan.
pub(super) struct Reading<'a> {
    pub(super) settings: &'a Settings,
    pub(super) path: &'a JsonPath<'a>,
    pub(super) credentials: &'a Credentials,
    pub(super) problems: &'a mut Problems,
}

impl<'a> Reading<'a> {
    /// The plan, without its configuration object; `None` where too much was refused to make one.
    pub(super) fn resolve(mut self) -> Option<EntryPoint> {
        let settings = self.settings;
        let mut warnings = Vec::new();
        let service = self.service();
        let destination = self.destination(service, &mut warnings);
        let credentials = self.credential_plan(service, &mut warnings);
        let reference = self.reference(service);
        self.warn(service, destination.as_ref(), &mut warnings);
        Some(EntryPoint {
            name: settings.text("name").unwrap_or_default().to_owned(),
            enabled: settings.is_on("enabled"),
            destination: destination?,
            login: service.login(credentials, reference)?,
            renew_upstream: settings.is_on("renewUpstream"),
            when_unavailable: settings.when_unavailable(),
            limits: settings.limits(),
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
        })
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

    /// The destination as it was typed, or PubNub's where none was.
    fn url(&mut self, service: Service) -> Option<Url<'a>> {
        match self.settings.text("destination") {
            Some(text) => match Url::parse(text) {
                Ok(url) => Some(url),
                Err(error) => {
                    let found = format!("{} ({error})", quoted(&destination::shown(text)));
                    self.problems.refuse(
                        self.path.key("destination"),
                        found,
                        destination::ACCEPTED,
                    );
                    None
                }
            },
            None if self.settings.is_refused("destination") => None,
            None if service == Service::Pubnub => Some(Url {
                tls: true,
                host: PUBNUB_HOST,
                port: None,
                has_path: false,
            }),
            None => {
                let accepted = destination::ACCEPTED;
                self.problems
                    .refuse(self.path.key("destination"), "nothing", accepted);
                None
            }
        }
    }

    fn destination(&mut self, service: Service, warnings: &mut Vec<String>) -> Option<Destination> {
        let has_certificate = service == Service::Standard && self.settings.is_on("useClientCert");
        let url = self.url(service)?;
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
        let destination = Destination {
            host: Arc::from(url.host),
            port,
            tls,
        };
        if tls && destination.server_name().is_none() {
            let found = format!("{}, which TLS takes for no name", quoted(url.host));
            let accepted = "a host name or IP address that a certificate can be for";
            self.problems
                .refuse(self.path.key("destination"), found, accepted);
            return None;
        }
        Some(destination)
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

    /// The id of the credential that is in use, which exists and is of the right kind (B-CFG-4).
    fn reference(&mut self, service: Service) -> Option<Template> {
        let (id, key, kind) = match service.keys() {
            Some((_, key, kind)) => (self.settings.reference(key), key, kind),
            None if self.settings.is_on("useClientCert") => {
                let id = self.settings.certificate();
                (id, "clientCerts", CredentialKind::X509)
            }
            None => return None,
        };
        self.check_credential(id, key, kind);
        id.map(Template::compile)
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
        // B-CRED-1: which one it is turns out at CONNECT, but none of those it may be is unusable.
        let template = Template::compile(id);
        if template.has_placeholders() {
            for problem in self.credentials.unusable_of(&template) {
                self.problems.add(|| problem.clone());
            }
            return;
        }
        match self.credentials.find(id) {
            Some(credential) if credential.kind() == kind => {}
            Some(credential) => {
                let found = format!("{}, of type {}", quoted(id), credential.kind().as_str());
                self.problems.refuse(path, found, accepted);
            }
            None if self.credentials.unusable(id).is_some() => {
                for problem in self.credentials.unusable(id).unwrap_or_default() {
                    self.problems.add(|| problem.clone());
                }
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
