//! Router: which path leads where, and who may go there.

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequest as _, Request, State as Shared};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodRouter, post};
use tracing::error;

use super::error::ApiError;
use super::extract::{Body, Segments, User};
use super::sims::{Shape, Verb};
use super::state::State;
use super::{auth, console, openapi};

/// What every answer says about itself: nothing is loaded from elsewhere, nothing is kept by others.
const HEADERS: [(HeaderName, &str); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
];

/// Every path: those of the table that describes them, for everybody or for whoever has signed in.
pub(super) fn router(state: Arc<State>) -> Router {
    let is_public = true;
    let guarded = openapi::router(!is_public);
    let guarded = guarded.layer(from_fn_with_state(Arc::clone(&state), auth::required));
    openapi::router(is_public)
        .merge(console::router())
        .merge(guarded)
        .fallback(|| async { ApiError::not_found("the path") })
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() })
        .layer(from_fn(of_this_origin))
        .layer(from_fn(guard))
        .with_state(state)
}

/// `POST …/{name}/{verb}`: what has no body takes none.
pub(super) fn verb(shape: Shape, verb: Verb) -> MethodRouter<Arc<State>> {
    post(
        move |Shared(state): Shared<Arc<State>>,
              User(user): User,
              Segments(name): Segments<String>,
              request: Request| async move {
            let body = match verb {
                Verb::SetGroup => Some(Body::from_request(request, &state).await?),
                Verb::Activate | Verb::Deactivate | Verb::UnsetGroup | Verb::DeleteSession => None,
            };
            verb.run(state, user, (shape, name), body).await
        },
    )
}

/// Ends a task when it is dropped; one that has ended is not touched.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Refuses what another site's page has a browser ask for: it could spend its user's tries to sign in. Programs say no
/// origin; the console's is the host that it was loaded from. Hosts' names are not looked at: a page that has its own
/// name lead here could not read or change anything without a token.
async fn of_this_origin(request: Request, next: Next) -> Result<Response, ApiError> {
    let is_read_only = matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_read_only && is_foreign(request.headers()) {
        let message = "the Origin is another host than this; only pages of this host may ask";
        return Err(ApiError::forbidden(message));
    }
    Ok(next.run(request).await)
}

fn is_foreign(headers: &HeaderMap) -> bool {
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_ascii_lowercase();
    let Some(origin) = headers.get(header::ORIGIN).map(text) else {
        return false;
    };
    let host = headers.get(header::HOST).map(text).unwrap_or_default();
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority != Some(host.as_str())
}

/// Answers 500 where a handler panics, and adds the headers that all answers have.
async fn guard(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let handler = tokio::spawn(next.run(request));
    // Whoever asked may go: then nobody needs the answer.
    let _abandoned = AbortOnDrop(handler.abort_handle());
    let answered = handler.await;
    let mut response = answered.unwrap_or_else(|_| {
        error!(path, "a request made the control plane panic");
        axum::response::IntoResponse::into_response(ApiError::internal())
    });
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_this_host_or_foreign() {
        for (origin, host, expected) in [
            (None, "127.0.0.1:8080", false),
            (Some("http://127.0.0.1:8080"), "127.0.0.1:8080", false),
            (Some("https://Console.example"), "console.example", false),
            (Some("http://127.0.0.1:8081"), "127.0.0.1:8080", true),
            (Some("http://evil.example"), "127.0.0.1:8080", true),
            (Some("null"), "127.0.0.1:8080", true),
            (Some(""), "", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            assert_eq!(is_foreign(&headers), expected, "{origin:?} {host}");
        }
    }
}
