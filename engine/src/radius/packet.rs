//! Packet: one RADIUS accounting datagram, checked, and the answer to it (RFC 2865, 2866, 5997). Bytes and a secret in;
//! attributes, or an answer, out. It never panics, whatever the bytes are.
//!
//! ```text
//!  0      1            2        4               20
//! +------+------------+--------+---------------+----------------------------------+
//! | code | identifier | length | authenticator | attributes: type, length, value  |
//! +------+------------+--------+---------------+----------------------------------+
//! ```

use hmac::digest::CtOutput;
use hmac::{Hmac, Mac as _};
use md5::{Digest as _, Md5};

use crate::limits::RADIUS_PACKET_BYTES;

/// Bytes before the attributes.
const HEADER_BYTES: usize = 20;

/// Bytes of an authenticator, in the header and in a Message-Authenticator.
const AUTHENTICATOR_BYTES: usize = 16;

/// An attribute that proxies put into a request, and want back in its answer as it is.
const PROXY_STATE: u8 = 33;

/// An attribute that signs the whole packet.
const MESSAGE_AUTHENTICATOR: u8 = 80;

const ACCOUNTING_RESPONSE: u8 = 5;

/// What a datagram asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Accounting-Request: something happened to a session.
    Accounting,
    /// Status-Server: is anybody there (RFC 5997)?
    Status,
}

/// Why a datagram is no request of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It ends before what its length says, or before its header does.
    #[error("cut short")]
    Short,
    /// Its length is none that a packet may have.
    #[error("a length of {0}")]
    Length(u16),
    /// An attribute is longer than what is left, or shorter than its own head.
    #[error("an attribute that does not fit")]
    Attribute,
    /// A Message-Authenticator of another length, or two.
    #[error("no proper Message-Authenticator")]
    MessageAuthenticator,
    /// It asks for something else.
    #[error("code {0}")]
    Code(u8),
}

/// One attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// What it is.
    pub kind: u8,
    /// 253 bytes at most.
    pub value: &'a [u8],
}

/// Attributes one after the other, up to the first that does not fit.
#[derive(Clone, Debug)]
pub struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// Those that stand in these bytes, which may be a vendor's own list.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether nothing is left: at its end, that all of them fitted.
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let [_, length, ..] = self.0 else { return None };
        let (attribute, rest) = self.0.split_at_checked(usize::from(*length))?;
        let [kind, _, value @ ..] = attribute else {
            return None;
        };
        self.0 = rest;
        Some(Attribute { kind: *kind, value })
    }
}

/// A well-formed request. Whether its sender knows the secret is another question: [`Packet::is_authentic`].
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    code: Code,
    head: [u8; 4],
    authenticator: &'a [u8; AUTHENTICATOR_BYTES],
    attributes: &'a [u8],
    signature: Option<Signature<'a>>,
}

/// A Message-Authenticator among the attributes.
#[derive(Clone, Copy, Debug)]
struct Signature<'a> {
    before: &'a [u8],
    value: &'a [u8],
    after: &'a [u8],
}

impl<'a> Packet<'a> {
    /// The request in a datagram; what follows its stated length is padding.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Malformed> {
        let (header, _) = datagram
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or(Malformed::Short)?;
        let [number, identifier, high, low, authenticator @ ..] = header;
        let length = u16::from_be_bytes([*high, *low]);
        if !(HEADER_BYTES..=RADIUS_PACKET_BYTES).contains(&usize::from(length)) {
            return Err(Malformed::Length(length));
        }
        let attributes = datagram
            .get(HEADER_BYTES..usize::from(length))
            .ok_or(Malformed::Short)?;
        let signature = signature(attributes)?;
        let code = match number {
            4 => Code::Accounting,
            12 => Code::Status,
            other => return Err(Malformed::Code(*other)),
        };
        Ok(Self {
            code,
            head: [*number, *identifier, *high, *low],
            authenticator,
            attributes,
            signature,
        })
    }

    /// What it asks for.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// The number that its answer has to bear.
    #[must_use]
    pub fn identifier(&self) -> u8 {
        let [_, identifier, ..] = self.head;
        identifier
    }

    /// Its authenticator; for an accounting request a digest of all that is in it.
    #[must_use]
    pub fn authenticator(&self) -> &'a [u8; AUTHENTICATOR_BYTES] {
        self.authenticator
    }

    /// Whether it has a Message-Authenticator, right or wrong.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.signature.is_some()
    }

    /// Its attributes.
    #[must_use]
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes(self.attributes)
    }

    /// Whether its sender knows the secret. Takes as long for a wrong authenticator as for a right one.
    #[must_use]
    pub fn is_authentic(&self, secret: &[u8]) -> bool {
        let is_signed = self.signature.map(|Signature { value, .. }| {
            self.request_signature(secret)
                .is_some_and(|mac| mac.verify_slice(value).is_ok())
        });
        match self.code {
            Code::Accounting => {
                let mut digest = Md5::new();
                digest.update(self.head);
                digest.update([0; AUTHENTICATOR_BYTES]);
                digest.update(self.attributes);
                digest.update(secret);
                let right = CtOutput::<Md5>::new(digest.finalize());
                let is_right = right == CtOutput::new((*self.authenticator).into());
                is_right && is_signed != Some(false)
            }
            // Its authenticator is random, so that the signature alone says who sent it (RFC 5997, section 3).
            Code::Status => is_signed == Some(true),
        }
    }

    /// The Accounting-Response to it.
    #[must_use]
    pub fn answer(&self, secret: &[u8]) -> Vec<u8> {
        let proxies = || self.attributes().filter(|a| a.kind == PROXY_STATE);
        let signature_bytes = self.signature.map_or(0, |_| 2 + AUTHENTICATOR_BYTES);
        // It is never longer than the request, whose attributes these are.
        let states: usize = proxies()
            .map(|state| state.value.len().saturating_add(2))
            .sum();
        let length = (HEADER_BYTES + signature_bytes).saturating_add(states);
        let [high, low] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
        let head = [ACCOUNTING_RESPONSE, self.identifier(), high, low];

        let mut rest = Vec::with_capacity(states);
        for state in proxies() {
            rest.push(state.kind);
            rest.push(u8::try_from(state.value.len().saturating_add(2)).unwrap_or(u8::MAX));
            rest.extend_from_slice(state.value);
        }
        let mut attributes = Vec::with_capacity(length);
        if self.signature.is_some() {
            let before = [MESSAGE_AUTHENTICATOR, 18];
            let unsigned = Signature {
                before: &before,
                value: &[],
                after: &rest,
            };
            attributes.extend_from_slice(&before);
            match sign(secret, head, self.signed_authenticator(), &unsigned) {
                Some(mac) => attributes.extend_from_slice(&mac.finalize().into_bytes()),
                None => attributes.extend_from_slice(&[0; AUTHENTICATOR_BYTES]),
            }
        }
        attributes.extend_from_slice(&rest);

        let mut digest = Md5::new();
        digest.update(head);
        digest.update(self.authenticator);
        digest.update(&attributes);
        digest.update(secret);
        let mut answer = Vec::with_capacity(length);
        answer.extend_from_slice(&head);
        answer.extend_from_slice(&digest.finalize());
        answer.extend_from_slice(&attributes);
        answer
    }

    fn request_signature(&self, secret: &[u8]) -> Option<Hmac<Md5>> {
        let signature = self.signature?;
        sign(secret, self.head, self.signed_authenticator(), &signature)
    }

    /// What a signature takes for the header's authenticator. An accounting request has none yet when it is signed,
    /// and no RFC says what its answer takes: FreeRADIUS and pyrad take zeros there too.
    fn signed_authenticator(&self) -> &[u8; AUTHENTICATOR_BYTES] {
        match self.code {
            Code::Accounting => &[0; AUTHENTICATOR_BYTES],
            Code::Status => self.authenticator,
        }
    }
}

/// The HMAC of a packet in which its own value is zeros.
fn sign(
    secret: &[u8],
    head: [u8; 4],
    authenticator: &[u8; AUTHENTICATOR_BYTES],
    signature: &Signature<'_>,
) -> Option<Hmac<Md5>> {
    // Any length of a secret will do.
    let mut mac = Hmac::<Md5>::new_from_slice(secret).ok()?;
    mac.update(&head);
    mac.update(authenticator);
    mac.update(signature.before);
    mac.update(&[0; AUTHENTICATOR_BYTES]);
    mac.update(signature.after);
    Some(mac)
}

/// The Message-Authenticator among these attributes, all of which have to fit.
fn signature(bytes: &[u8]) -> Result<Option<Signature<'_>>, Malformed> {
    let mut found = None;
    let mut attributes = Attributes(bytes);
    while let Some(Attribute { kind, value }) = attributes.next() {
        if kind != MESSAGE_AUTHENTICATOR {
            continue;
        }
        if value.len() != AUTHENTICATOR_BYTES || found.is_some() {
            return Err(Malformed::MessageAuthenticator);
        }
        let after = attributes.0;
        let end = bytes.len().saturating_sub(after.len());
        let before = bytes.get(..end.saturating_sub(AUTHENTICATOR_BYTES));
        found = Some(Signature {
            before: before.unwrap_or_default(),
            value,
            after,
        });
    }
    if attributes.is_empty() {
        Ok(found)
    } else {
        Err(Malformed::Attribute)
    }
}

#[cfg(test)]
mod tests;
