//! Credentials: `/v1/credentials`. Their secrets go in and do not come out.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde_json::{Map, Value};

use super::change::{Act, sections};
use super::error::ApiError;
use super::extract::{Body, Segments, User};
use super::mask;
use super::state::State;
use crate::fleet::SecretValue;
use crate::registry::{Moment, Sealed, Stored};

/// `GET /v1/credentials`
pub(super) async fn list(Shared(state): Shared<Arc<State>>) -> Result<Json<Value>, ApiError> {
    let all = state.store()?.read(|registry| {
        registry.read(|moment| moment.sealed_list(Sealed::Credentials, "", usize::MAX))
    });
    let all = all.await??;
    Ok(Json(all.iter().map(shown).collect()))
}

/// `POST /v1/credentials/{credentials_id}`
pub(super) async fn create(
    Shared(state): Shared<Arc<State>>,
    User(user): User,
    Segments(id): Segments<String>,
    body: Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let mut credential = credential(&id, &body)?;
    keep_secrets(&mut credential.0, &Value::Null)?;
    let act = Act::new(user, "createCredential", id.clone());
    let stored = sections(&state, act, move |moment, now_ms| {
        if moment.sealed(Sealed::Credentials, &id)?.is_some() {
            return Err(ApiError::conflict(
                "there is a credential of this id already",
            ));
        }
        moment.put_sealed(Sealed::Credentials, &credential, now_ms)?;
        one(moment, &id)
    });
    Ok((StatusCode::CREATED, Json(shown(&stored.await?))))
}

/// `PUT /v1/credentials/{credentials_id}`
pub(super) async fn update(
    Shared(state): Shared<Arc<State>>,
    User(user): User,
    Segments(id): Segments<String>,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let credential = credential(&id, &body)?;
    let act = Act::new(user, "updateCredential", id.clone());
    let stored = sections(&state, act, move |moment, now_ms| {
        let before = one(moment, &id)?;
        let mut credential = credential.clone();
        keep_secrets(&mut credential.0, &before.object.0)?;
        moment.put_sealed(Sealed::Credentials, &credential, now_ms)?;
        one(moment, &id)
    });
    Ok(Json(shown(&stored.await?)))
}

/// `DELETE /v1/credentials/{credentials_id}`; refused while an entry point refers to it.
pub(super) async fn delete(
    Shared(state): Shared<Arc<State>>,
    User(user): User,
    Segments(id): Segments<String>,
) -> Result<StatusCode, ApiError> {
    let act = Act::new(user, "deleteCredential", id.clone());
    let deleted = sections(&state, act, move |moment, _| {
        let is_deleted = moment.delete_sealed(Sealed::Credentials, &id)?;
        is_deleted
            .then_some(())
            .ok_or_else(|| ApiError::not_found("the credential"))
    });
    deleted.await?;
    Ok(StatusCode::NO_CONTENT)
}

fn keep_secrets(credential: &mut Value, before: &Value) -> Result<(), ApiError> {
    mask::keep_credential(credential, before).map_err(|problem| ApiError::refused(&[problem]))
}

fn one(moment: &Moment<'_>, id: &str) -> Result<Stored, ApiError> {
    let credential = moment.sealed(Sealed::Credentials, id)?;
    credential.ok_or_else(|| ApiError::not_found("the credential"))
}

/// A body as an object of a fleet document.
fn credential(id: &str, body: &Body) -> Result<SecretValue, ApiError> {
    let given = body.0.0.as_object();
    let given = given.ok_or_else(|| ApiError::bad_request("the body: accepted: an object"))?;
    let mut fields = Map::new();
    fields.insert(Sealed::Credentials.id().to_owned(), Value::from(id));
    for key in ["type", "description", "credentials"] {
        if let Some(value) = given.get(key).filter(|value| !value.is_null()) {
            fields.insert(key.to_owned(), value.clone());
        }
    }
    if fields
        .get("description")
        .is_some_and(|text| !text.is_string())
    {
        return Err(ApiError::bad_request("description: accepted: a string"));
    }
    Ok(SecretValue(Value::Object(fields)))
}

/// A credential as the API shows it. When it was used last is not kept: 0.
fn shown(stored: &Stored) -> Value {
    let mut credential = stored.object.0.clone();
    mask::credential(&mut credential);
    if let Some(fields) = credential.as_object_mut() {
        fields.insert("createDateTime".to_owned(), Value::from(stored.created_ms));
        fields.insert("updateDateTime".to_owned(), Value::from(stored.modified_ms));
        fields.insert("lastUsedDateTime".to_owned(), Value::from(0));
        fields
            .entry("description")
            .or_insert_with(|| Value::from(""));
    }
    credential
}
