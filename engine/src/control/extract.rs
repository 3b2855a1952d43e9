//! Extract: what handlers take from a request, with refusals in the API's own form.

use std::convert::Infallible;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::error::ApiError;
use super::limits::{
    BODY_BYTES, BODY_PATIENCE, FLEET_BYTES, FLEET_PATIENCE, SIGN_IN_BYTES, SIGN_IN_PATIENCE,
};
use super::state::State;
use crate::fleet::SecretValue;

/// Who asks; put there once the request was found to be somebody's.
#[derive(Clone, Debug)]
pub(super) struct User(pub(super) String);

impl<S: Sync> FromRequestParts<S> for User {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let user = parts.extensions.get::<Self>().cloned();
        user.ok_or_else(|| ApiError::unauthorized("not signed in"))
    }
}

/// This server as whoever asks calls it: what a path begins with to be a whole address. Empty where no host is named.
pub(super) struct Site(pub(super) String);

impl FromRequestParts<Arc<State>> for Site {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<State>) -> Result<Self, Infallible> {
        let host = parts.headers.get(header::HOST);
        let host = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
        let scheme = if state.config.control.tls.is_some() {
            "https"
        } else {
            "http"
        };
        Ok(Self(host.map_or_else(String::new, |host| {
            format!("{scheme}://{host}")
        })))
    }
}

/// The parts of the path, decoded.
pub(super) struct Segments<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segments<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        let Path(segments) = path.map_err(|error: PathRejection| {
            ApiError::bad_request(format!("the path: {}", error.body_text()))
        })?;
        Ok(Self(segments))
    }
}

/// What the framework begins with; the parameter and what is wrong with it follow.
const FRAMEWORK: &str = "Failed to deserialize query string: ";

/// The query, decoded.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        let Query(query) = query.map_err(|error: QueryRejection| {
            let text = error.body_text();
            let found = text.strip_prefix(FRAMEWORK).unwrap_or(&text);
            ApiError::bad_request(format!("the query: {found}"))
        })?;
        Ok(Self(query))
    }
}

/// A JSON body. It is taken for one whatever its type is said to be, and erased when it is dropped: it may hold
/// secrets.
pub(super) struct Body(pub(super) SecretValue);

impl Body {
    /// Its text members.
    pub(super) fn text(&self, key: &str) -> Result<Option<&str>, ApiError> {
        match self.0.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(ApiError::bad_request(format!(
                "{key}: found something else; accepted: a string"
            ))),
        }
    }

    /// A text that must be there and hold something.
    pub(super) fn required_text(&self, key: &str) -> Result<&str, ApiError> {
        let text = self.text(key)?.filter(|text| !text.is_empty());
        text.ok_or_else(|| {
            ApiError::bad_request(format!("{key}: found nothing; accepted: a string"))
        })
    }
}

impl<S: Sync> FromRequest<S> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        parse(&collect(request, BODY_BYTES, BODY_PATIENCE).await?)
    }
}

/// The same from somebody who is nobody yet: small, and soon.
pub(super) struct SignIn(pub(super) Body);

impl<S: Sync> FromRequest<S> for SignIn {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let bytes = collect(request, SIGN_IN_BYTES, SIGN_IN_PATIENCE).await?;
        parse(&bytes).map(Self)
    }
}

/// What a parameter or a key says, where it is there.
pub(super) fn parsed<T>(name: &str, text: Option<&str>) -> Result<Option<T>, ApiError>
where
    T: FromStr<Err: Display>,
{
    text.map(str::parse)
        .transpose()
        .map_err(|error| ApiError::bad_request(format!("{name}: {error}")))
}

fn parse(bytes: &[u8]) -> Result<Body, ApiError> {
    let value = serde_json::from_slice(bytes)
        .map_err(|error| ApiError::bad_request(format!("the body is no JSON: {error}")))?;
    Ok(Body(SecretValue(value)))
}

/// A whole document, as it is.
pub(super) struct Document(pub(super) Zeroizing<Vec<u8>>);

impl<S: Sync> FromRequest<S> for Document {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        Ok(Self(collect(request, FLEET_BYTES, FLEET_PATIENCE).await?))
    }
}

async fn collect(
    request: Request,
    limit_bytes: usize,
    patience: Duration,
) -> Result<Zeroizing<Vec<u8>>, ApiError> {
    let body = Limited::new(request.into_body(), limit_bytes);
    match timeout(patience, body.collect()).await {
        Ok(Ok(collected)) => Ok(Zeroizing::new(collected.to_bytes().to_vec())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::too_large(limit_bytes)),
        Ok(Err(_)) => Err(ApiError::bad_request("the body ended early")),
        Err(_) => Err(ApiError::too_slow(patience)),
    }
}
