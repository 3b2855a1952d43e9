//! Router: which path leads where, and who may go there.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{delete, get, post, put};
use tracing::error;

use super::error::ApiError;
use super::state::State;
use super::{auth, credentials, groups};

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

/// Every path.
pub(super) fn router(state: Arc<State>) -> Router {
    let guarded = Router::new()
        .merge(vendor())
        .layer(from_fn_with_state(Arc::clone(&state), auth::required));
    Router::new()
        .route("/v1/auth", post(auth::sign_in))
        .merge(guarded)
        .fallback(|| async { ApiError::not_found("the path") })
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() })
        .layer(from_fn(guard))
        .with_state(state)
}

/// The vendor's API.
fn vendor() -> Router<Arc<State>> {
    Router::new()
        .route("/v1/auth/logout", post(auth::sign_out))
        .route("/v1/groups", get(groups::list).post(groups::create))
        .route(
            "/v1/groups/{group_id}",
            get(groups::read).delete(groups::delete),
        )
        .route(
            "/v1/groups/{group_id}/configuration/{namespace}",
            put(groups::configure).delete(groups::delete_namespace),
        )
        .route(
            "/v1/groups/{group_id}/configuration/{namespace}/{*name}",
            delete(groups::delete_parameter),
        )
        .route("/v1/groups/{group_id}/tags", put(groups::put_tags))
        .route(
            "/v1/groups/{group_id}/tags/{tag_name}",
            delete(groups::delete_tag),
        )
        .route("/v1/credentials", get(credentials::list))
        .route(
            "/v1/credentials/{credentials_id}",
            post(credentials::create)
                .put(credentials::update)
                .delete(credentials::delete),
        )
}

/// Answers 500 where a handler panics, and adds the headers that all answers have.
async fn guard(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let answered = tokio::spawn(next.run(request)).await;
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
