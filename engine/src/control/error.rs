//! Error: what a request is answered where it cannot be served: a status, and the vendor's body of a code and a
//! message. No message holds a secret.

use std::fmt::{self, Display};
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tracing::{debug, error};

use super::limits::RETRY_INTERVAL;
use super::unstored::{Effect, reason};
use crate::problem::Problem;
use crate::registry::{Refusal, StoreError, Unwritten, UserError};

/// An answer that is no success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    status: StatusCode,
    message: String,
    retry_seconds: Option<u64>,
    /// Why nothing can be stored, where it is that.
    unwritten: Option<Unwritten>,
}

impl ApiError {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            retry_seconds: None,
            unwritten: None,
        }
    }

    /// It cannot be stored, and this is how much of it is in effect.
    pub(super) fn unstored(why: Unwritten, effect: Effect) -> Self {
        let status = match why {
            Unwritten::Full => StatusCode::INSUFFICIENT_STORAGE,
            Unwritten::Busy | Unwritten::Failed => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self {
            retry_seconds: Some(RETRY_INTERVAL.as_secs()),
            unwritten: Some(why),
            ..Self::new(status, reason(why, effect))
        }
    }

    /// The request makes no sense.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// What was written is refused (B-CFG-4): a line for each problem.
    pub(super) fn refused(problems: &[Problem]) -> Self {
        let lines: Vec<String> = problems.iter().map(line).collect();
        Self::bad_request(lines.join("\n"))
    }

    /// Nobody who may do this.
    pub(super) fn unauthorized(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, message)
    }

    /// Not from there.
    pub(super) fn forbidden(message: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// There is no such thing.
    pub(super) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("{what} does not exist"))
    }

    /// There is one already.
    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// The path is known, the method is not.
    pub(super) fn method_not_allowed() -> Self {
        let message = "this method is not there for this path";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, message)
    }

    /// More than is taken.
    pub(super) fn too_large(limit_bytes: usize) -> Self {
        let message = format!("the body is too large; at most {limit_bytes} bytes are accepted");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    /// It took too long.
    pub(super) fn too_slow(patience: Duration) -> Self {
        let seconds = patience.as_secs();
        let message = format!("the body did not come within {seconds} seconds");
        Self::new(StatusCode::REQUEST_TIMEOUT, message)
    }

    /// Too often.
    pub(super) fn too_many(retry_seconds: u64) -> Self {
        Self {
            retry_seconds: Some(retry_seconds),
            ..Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "tried too often; wait a while",
            )
        }
    }

    /// Too much is waiting.
    pub(super) fn busy() -> Self {
        Self {
            retry_seconds: Some(1),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too much is waiting to be done",
            )
        }
    }

    /// Not with this registry.
    pub(super) fn needs_embedded() -> Self {
        let message =
            "this needs registry.kind = \"embedded\": a fleet document is changed in its file";
        Self::new(StatusCode::NOT_IMPLEMENTED, message)
    }

    /// Our fault.
    pub(super) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "an error in ringbeam, which its log tells of",
        )
    }

    /// The code that goes with the message.
    fn code(&self) -> String {
        format!("RBM{:04}", self.status.as_u16())
    }
}

/// A problem as one line. Where only one object can be meant, its place in the list says nothing.
fn line(problem: &Problem) -> String {
    let mut problem = problem.clone();
    problem.file = None;
    for list in ["groups[", "credentials[", "sims["] {
        let rest = problem.path.strip_prefix(list);
        if let Some((_, path)) = rest.and_then(|rest| rest.split_once("].")) {
            problem.path = path.to_owned();
            break;
        }
    }
    problem.to_string()
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({"code": self.code(), "message": self.message});
        let mut response = (self.status, axum::Json(body)).into_response();
        if let Some(seconds) = self.retry_seconds {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl Refusal for ApiError {
    fn unwritten(&self) -> Option<Unwritten> {
        self.unwritten
    }
}

impl Display for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if let StoreError::TooManyTexts | StoreError::User(UserError::Email | UserError::Password) =
            error
        {
            return Self::bad_request(error.to_string());
        }
        if let Some(why) = error.unwritten() {
            // Whoever writes has said so once.
            debug!(%error, "the registry cannot be used");
            return Self::unstored(why, Effect::None);
        }
        error!(%error, "the registry failed");
        Self::internal()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_where_in_the_object_it_stands() {
        let problems = [
            Problem::new("groups[7].configuration.X", "a", "b"),
            Problem::new("credentials[0].type", "c", ""),
            Problem::new("groupId", "d", ""),
        ];
        let error = ApiError::refused(&problems);
        assert_eq!(
            error.message,
            "configuration.X: found a; accepted: b\ntype: found c\ngroupId: found d"
        );
        assert_eq!(error.code(), "RBM0400");
    }
}
