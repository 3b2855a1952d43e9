//! Azure IoT Hub: a shared access key, and the token that is signed with it (B-AZ-1).

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use super::fields::Fields;

/// Everything but what RFC 3986 leaves unreserved.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A shared access key.
pub struct AzureIot {
    key_name: Zeroizing<String>,
    key: Zeroizing<Vec<u8>>,
}

impl AzureIot {
    pub(super) fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let key_name = fields.text("sharedAccessKeyName");
        let key = fields.text("sharedAccessKey").and_then(|text| {
            let key = STANDARD.decode(text).ok().map(Zeroizing::new);
            if key.is_none() {
                fields.refuse_content(
                    "sharedAccessKey",
                    "text that is no base64",
                    "a key in base64",
                );
            }
            key
        });
        Some(Self {
            key_name: Zeroizing::new(key_name?.to_owned()),
            key: key?,
        })
    }

    /// B-AZ-1: the password of a device at a hub, until it expires.
    #[must_use]
    pub fn shared_access_signature(
        &self,
        host: &str,
        client_id: &str,
        expires_unix_seconds: u64,
    ) -> Zeroizing<String> {
        let resource = format!("{host}/devices/{client_id}");
        let resource = utf8_percent_encode(&resource, ENCODED);
        let signed = format!("{resource}\n{expires_unix_seconds}");
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.key);
        let signature = STANDARD.encode(hmac::sign(&key, signed.as_bytes()));
        let signature = utf8_percent_encode(&signature, ENCODED);
        let key_name = utf8_percent_encode(&self.key_name, ENCODED);
        Zeroizing::new(format!(
            "SharedAccessSignature sr={resource}&sig={signature}&se={expires_unix_seconds}&skn={key_name}"
        ))
    }
}

impl fmt::Debug for AzureIot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("AzureIot").finish_non_exhaustive()
    }
}
