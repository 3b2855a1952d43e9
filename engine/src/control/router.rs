//! Router: which path leads where, and who may go there.

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequest as _, Request, State as Shared};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, post, put};
use tracing::error;

use super::error::ApiError;
use super::extract::{Body, Segments, User};
use super::sims::{Shape, Verb};
use super::state::State;
use super::{
    auth, connections, console, credentials, events, fleet, groups, live, metrics, node, query,
    sims, stats, tap,
};

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
        .merge(vendor_sims())
        .merge(own())
        .layer(from_fn_with_state(Arc::clone(&state), auth::required));
    Router::new()
        .route("/v1/auth", post(auth::sign_in))
        .route("/healthz", get(node::healthz))
        .route("/readyz", get(node::readyz))
        .route("/metrics", get(metrics::metrics))
        .route("/ringbeam/v1/exported/{file}", get(stats::file))
        .merge(console::router())
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

/// The vendor's API of SIMs, subscribers, and what happened to them.
fn vendor_sims() -> Router<Arc<State>> {
    Router::new()
        .route("/v1/sims", get(sims::list_sims).post(sims::create_sim))
        .route("/v1/sims/{sim_id}", get(sims::read_sim))
        .route(
            "/v1/sims/{sim_id}/activate",
            verb(Shape::Sim, Verb::Activate),
        )
        .route(
            "/v1/sims/{sim_id}/deactivate",
            verb(Shape::Sim, Verb::Deactivate),
        )
        .route(
            "/v1/sims/{sim_id}/delete_session",
            verb(Shape::Sim, Verb::DeleteSession),
        )
        .route(
            "/v1/sims/{sim_id}/set_group",
            verb(Shape::Sim, Verb::SetGroup),
        )
        .route(
            "/v1/sims/{sim_id}/unset_group",
            verb(Shape::Sim, Verb::UnsetGroup),
        )
        .route("/v1/sims/{sim_id}/tags", put(sims::put_tags))
        .route(
            "/v1/sims/{sim_id}/tags/{tag_name}",
            delete(sims::delete_tag),
        )
        .route("/v1/sims/{sim_id}/events/sessions", get(events::of_sim))
        .route("/v1/subscribers", get(sims::list_subscribers))
        .route("/v1/subscribers/{imsi}", get(sims::read_subscriber))
        .route(
            "/v1/subscribers/{imsi}/delete_session",
            verb(Shape::Subscriber, Verb::DeleteSession),
        )
        .route(
            "/v1/subscribers/{imsi}/set_group",
            verb(Shape::Subscriber, Verb::SetGroup),
        )
        .route(
            "/v1/subscribers/{imsi}/unset_group",
            verb(Shape::Subscriber, Verb::UnsetGroup),
        )
        .route(
            "/v1/subscribers/{imsi}/events/sessions",
            get(events::of_subscriber),
        )
        .route("/v1/groups/{group_id}/subscribers", get(sims::list_group))
        .route("/v1/query/sims", get(query::search_sims))
        .route("/v1/logs", get(events::logs))
        .route(
            "/v1/stats/beam/subscribers/{imsi}",
            get(stats::of_subscriber),
        )
        .route(
            "/v1/stats/beam/operators/{operator_id}/export",
            post(stats::export),
        )
        .route(
            "/v1/files/exported/{exported_file_id}",
            get(stats::exported),
        )
}

/// `POST …/{name}/{verb}`: what has no body takes none.
fn verb(shape: Shape, verb: Verb) -> MethodRouter<Arc<State>> {
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

/// What the vendor's API lacks.
fn own() -> Router<Arc<State>> {
    Router::new()
        .route("/ringbeam/v1/node", get(node::node))
        .route("/ringbeam/v1/drain", post(node::drain))
        .route("/ringbeam/v1/reload", post(node::reload))
        .route("/ringbeam/v1/config", get(node::config))
        .route("/ringbeam/v1/explain", get(node::explain))
        .route("/ringbeam/v1/audit", get(node::audit))
        .route("/ringbeam/v1/connections", get(connections::list))
        .route("/ringbeam/v1/connections/{id}", delete(connections::close))
        .route(
            "/ringbeam/v1/groups/{group_id}/preview",
            post(fleet::preview),
        )
        .route("/ringbeam/v1/sims", put(fleet::put_sim))
        .route("/ringbeam/v1/sims/{sim_id}", delete(fleet::delete_sim))
        .route(
            "/ringbeam/v1/sims/{sim_id}/session",
            put(fleet::bind).delete(fleet::unbind),
        )
        .route("/ringbeam/v1/fleet", get(fleet::export).put(fleet::import))
        .route("/ringbeam/v1/usage", get(stats::of_all))
        .route("/ringbeam/v1/live", get(live::live))
        .route("/ringbeam/v1/tap", get(tap::tap))
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
