//! Router: which path leads where, and who may go there.

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequest as _, Request, State as Shared};
use axum::http::{HeaderName, HeaderValue, header};
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
