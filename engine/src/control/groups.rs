//! Groups: `/v1/groups`, with configuration and tags. Writing an entry point replaces its whole object (B-CFG-2).

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::{StatusCode, Uri};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::change::{Act, sections};
use super::error::ApiError;
use super::extract::{Asked, Body, Segments, User};
use super::ids::new_id;
use super::mask;
use super::page::{Page, Paging};
use super::state::State;
use crate::fleet::{ENTRY_POINT_KEY, NAMESPACE, SecretValue, canonical};
use crate::registry::{Moment, Sealed, Stored};

/// The namespaces that the vendor's groups have.
pub(super) const NAMESPACES: [&str; 11] = [
    "SoracomAir",
    "SoracomBeam",
    "SoracomEndorse",
    "SoracomFlux",
    "SoracomFunk",
    "SoracomFunnel",
    "SoracomHarvest",
    "SoracomHarvestFiles",
    "SoracomKrypton",
    "SoracomOrbit",
    "UnifiedEndpoint",
];

/// What is listed.
#[derive(Deserialize)]
pub(super) struct Filter {
    tag_name: Option<String>,
    tag_value: Option<String>,
    tag_value_match_mode: Option<String>,
}

/// Whether a tag is what is asked for.
pub(super) struct TagFilter(Option<(String, String, bool)>);

impl TagFilter {
    /// # Errors
    /// When the question is not whole.
    pub(super) fn new(
        name: Option<String>,
        value: Option<String>,
        mode: Option<&str>,
    ) -> Result<Self, ApiError> {
        let is_prefix = match mode {
            None | Some("exact") => false,
            Some("prefix") => true,
            Some(_) => {
                return Err(ApiError::bad_request(
                    "tag_value_match_mode: accepted: exact, prefix",
                ));
            }
        };
        match (name, value) {
            (Some(name), Some(value)) => Ok(Self(Some((name, value, is_prefix)))),
            (None, _) => Ok(Self(None)),
            (Some(_), None) => Err(ApiError::bad_request("tag_value: needed beside tag_name")),
        }
    }

    pub(super) fn holds(&self, object: &Value) -> bool {
        let Some((name, wanted, is_prefix)) = &self.0 else {
            return true;
        };
        let value = object.get("tags").and_then(|tags| tags.get(name)?.as_str());
        value.is_some_and(|value| {
            value == wanted || (*is_prefix && value.starts_with(wanted.as_str()))
        })
    }

    /// What is looked for, where something is.
    pub(super) const fn wanted(&self) -> Option<&(String, String, bool)> {
        self.0.as_ref()
    }
}

/// `GET /v1/groups`
pub(super) async fn list(
    Shared(state): Shared<Arc<State>>,
    Asked(filter): Asked<Filter>,
    Asked(paging): Asked<Paging>,
    uri: Uri,
) -> Result<Page, ApiError> {
    let limit = paging.limit()?;
    let mode = filter.tag_value_match_mode.as_deref();
    let filter = TagFilter::new(filter.tag_name, filter.tag_value, mode)?;
    let after = paging.after().to_owned();
    let operator_id = state.operator_id.clone();
    let found = state.store()?.read(move |registry| {
        registry.read(|moment| {
            let mut found: Vec<Stored> = Vec::new();
            let mut after = after;
            loop {
                let part = moment.sealed_list(Sealed::Groups, &after, limit.saturating_add(1))?;
                let is_last = part.len() <= limit;
                if let Some(last) = part.last() {
                    after = id(&last.object.0).to_owned();
                }
                found.extend(
                    part.into_iter()
                        .filter(|group| filter.holds(&group.object.0)),
                );
                if is_last || found.len() > limit {
                    return Ok::<_, ApiError>(found);
                }
            }
        })
    });
    let found = found.await??;
    let key = |group: &Stored| id(&group.object.0).to_owned();
    let show = |group: Stored| shown(&group, &operator_id);
    Ok(Page::new(&uri, found, limit, key, show))
}

/// `POST /v1/groups`
pub(super) async fn create(
    Shared(state): Shared<Arc<State>>,
    User(user): User,
    body: Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let fields = object(&body.0.0)?;
    let id = new_id()?;
    let mut group = Map::new();
    group.insert("groupId".to_owned(), Value::from(id.clone()));
    for key in ["tags", "configuration"] {
        let value = fields.get(key).filter(|value| !value.is_null());
        let value = value.cloned().unwrap_or_else(|| json!({}));
        group.insert(key.to_owned(), value);
    }
    let mut group = SecretValue(Value::Object(group));
    keep_secrets(&mut group.0, &Value::Null)?;
    settle(&mut group.0);
    check_tags(&group.0)?;
    check_configuration(&group.0)?;
    let act = Act::new(user, "createGroup", id.clone());
    let operator_id = state.operator_id.clone();
    let stored = sections(&state, act, move |moment, now_ms| {
        moment.put_sealed(Sealed::Groups, &group, now_ms)?;
        one(moment, &id)
    });
    let stored = stored.await?;
    Ok((StatusCode::CREATED, Json(shown(&stored, &operator_id))))
}

/// `GET /v1/groups/{group_id}`
pub(super) async fn read(
    Shared(state): Shared<Arc<State>>,
    Segments(group_id): Segments<String>,
) -> Result<Json<Value>, ApiError> {
    let group = state
        .store()?
        .read(move |registry| registry.read(|moment| one(moment, &group_id)));
    Ok(Json(shown(&group.await??, &state.operator_id)))
}

/// `DELETE /v1/groups/{group_id}`: its SIMs are in no group then.
pub(super) async fn delete(
    Shared(state): Shared<Arc<State>>,
    User(user): User,
    Segments(group_id): Segments<String>,
) -> Result<StatusCode, ApiError> {
    let act = Act::new(user, "deleteGroup", group_id.clone());
    let deleted = sections(&state, act, move |moment, now_ms| {
        if !moment.delete_sealed(Sealed::Groups, &group_id)? {
            return Err(ApiError::not_found("the group"));
        }
        moment.leave_group(&group_id, now_ms)?;
        Ok(())
    });
    deleted.await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `PUT /v1/groups/{group_id}/configuration/{namespace}`
pub(super) async fn configure(
    Shared(state): Shared<Arc<State>>,
    User(user): User,
    Segments((group_id, namespace)): Segments<(String, String)>,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    known(&namespace)?;
    let entries = pairs(&body.0.0, "key", "value")?;
    let act = Act::new(
        user,
        "putConfigurationParameters",
        format!("{group_id}/{namespace}"),
    );
    change(&state, act, group_id, move |group, before| {
        let namespace = member(member(group, "configuration")?, &namespace)?;
        let fields = fields(namespace)?;
        for (key, value) in &entries {
            fields.insert(key.clone(), value.clone());
        }
        keep_secrets(group, before)?;
        settle(group);
        check_configuration(group)
    })
    .await
}

/// `DELETE /v1/groups/{group_id}/configuration/{namespace}`
pub(super) async fn delete_namespace(
    Shared(state): Shared<Arc<State>>,
    User(user): User,
    Segments((group_id, namespace)): Segments<(String, String)>,
) -> Result<StatusCode, ApiError> {
    known(&namespace)?;
    let act = Act::new(
        user,
        "deleteConfigurationNamespace",
        format!("{group_id}/{namespace}"),
    );
    let deleted = change(&state, act, group_id, move |group, _| {
        let configuration = fields(member(group, "configuration")?)?;
        match configuration.remove(&namespace) {
            Some(_) => Ok(()),
            None => Err(ApiError::bad_request("the namespace does not exist")),
        }
    });
    drop(deleted.await?);
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /v1/groups/{group_id}/configuration/{namespace}/{name}`: the name as one escaped part of the path, or as
/// it is.
pub(super) async fn delete_parameter(
    Shared(state): Shared<Arc<State>>,
    User(user): User,
    Segments((group_id, namespace, name)): Segments<(String, String, String)>,
) -> Result<StatusCode, ApiError> {
    known(&namespace)?;
    let act = Act::new(
        user,
        "deleteConfigurationParameter",
        format!("{group_id}/{namespace}/{name}"),
    );
    let deleted = change(&state, act, group_id, move |group, _| {
        let configuration = member(group, "configuration")?;
        if let Some(Value::Object(fields)) = configuration.get_mut(&namespace) {
            fields.remove(&name);
        }
        Ok(())
    });
    drop(deleted.await?);
    Ok(StatusCode::NO_CONTENT)
}

/// `PUT /v1/groups/{group_id}/tags`
pub(super) async fn put_tags(
    Shared(state): Shared<Arc<State>>,
    User(user): User,
    Segments(group_id): Segments<String>,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let tags = tag_pairs(&body.0.0)?;
    let act = Act::new(user, "putGroupTags", group_id.clone());
    change(&state, act, group_id, move |group, _| {
        fields(member(group, "tags")?)?.extend(tags.iter().cloned());
        Ok(())
    })
    .await
}

/// `DELETE /v1/groups/{group_id}/tags/{tag_name}`
pub(super) async fn delete_tag(
    Shared(state): Shared<Arc<State>>,
    User(user): User,
    Segments((group_id, tag_name)): Segments<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let act = Act::new(user, "deleteGroupTag", format!("{group_id}/{tag_name}"));
    let deleted = change(&state, act, group_id, move |group, _| {
        let removed = fields(member(group, "tags")?)?.remove(&tag_name);
        removed
            .map(drop)
            .ok_or_else(|| ApiError::not_found("the tag"))
    });
    drop(deleted.await?);
    Ok(StatusCode::NO_CONTENT)
}

/// Changes one group's object; what it was before is there beside it.
async fn change(
    state: &Arc<State>,
    act: Act,
    group_id: String,
    edit: impl Fn(&mut Value, &Value) -> Result<(), ApiError> + Send + Sync + 'static,
) -> Result<Json<Value>, ApiError> {
    let operator_id = state.operator_id.clone();
    let stored = sections(state, act, move |moment, now_ms| {
        let before = one(moment, &group_id)?.object;
        let mut group = before.clone();
        edit(&mut group.0, &before.0)?;
        moment.put_sealed(Sealed::Groups, &group, now_ms)?;
        one(moment, &group_id)
    });
    Ok(Json(shown(&stored.await?, &operator_id)))
}

/// The group of an id.
pub(super) fn one(moment: &Moment<'_>, id: &str) -> Result<Stored, ApiError> {
    let group = moment.sealed(Sealed::Groups, id)?;
    group.ok_or_else(|| ApiError::not_found("the group"))
}

fn id(group: &Value) -> &str {
    group
        .get(Sealed::Groups.id())
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// A group as the API shows it.
fn shown(stored: &Stored, operator_id: &str) -> Value {
    let mut group = stored.object.0.clone();
    mask::group(&mut group);
    if let Some(fields) = group.as_object_mut() {
        fields.insert("operatorId".to_owned(), Value::from(operator_id));
        fields.insert("createdTime".to_owned(), Value::from(stored.created_ms));
        fields.insert(
            "lastModifiedTime".to_owned(),
            Value::from(stored.modified_ms),
        );
        fields.entry("tags").or_insert_with(|| json!({}));
        fields.entry("configuration").or_insert_with(|| json!({}));
    }
    group
}

fn keep_secrets(group: &mut Value, before: &Value) -> Result<(), ApiError> {
    mask::keep_group(group, before).map_err(|problem| ApiError::refused(&[problem]))
}

fn known(namespace: &str) -> Result<(), ApiError> {
    if NAMESPACES.contains(&namespace) {
        return Ok(());
    }
    let accepted = NAMESPACES.join(", ");
    Err(ApiError::bad_request(format!(
        "namespace: accepted: {accepted}"
    )))
}

/// B-CFG-1: the entry point in its one form.
fn settle(group: &mut Value) {
    let entry_point = group
        .get_mut("configuration")
        .and_then(|configuration| configuration.get_mut(NAMESPACE)?.get_mut(ENTRY_POINT_KEY));
    if let Some(entry_point) = entry_point
        && let Some(settled) = canonical(entry_point)
    {
        *entry_point = settled;
    }
}

/// The configuration's shape; what stands in the entry point is the fleet's to check.
fn check_configuration(group: &Value) -> Result<(), ApiError> {
    let refuse = |path: &str| {
        Err(ApiError::bad_request(format!(
            "{path}: found something else; accepted: an object"
        )))
    };
    let Some(configuration) = group.get("configuration").and_then(Value::as_object) else {
        return refuse("configuration");
    };
    for (namespace, fields) in configuration {
        known(namespace)?;
        if !fields.is_object() {
            return refuse(&format!("configuration.{namespace}"));
        }
    }
    Ok(())
}

/// Tags are texts, where there are any.
pub(super) fn check_tags(object: &Value) -> Result<(), ApiError> {
    let tags = object.get("tags").filter(|tags| !tags.is_null());
    let is_good = tags.is_none_or(|tags| {
        let tags = tags.as_object();
        tags.is_some_and(|tags| tags.values().all(Value::is_string))
    });
    is_good
        .then_some(())
        .ok_or_else(|| ApiError::bad_request("tags: accepted: an object of strings"))
}

/// A member that is an object, made where there is none.
fn member<'a>(object: &'a mut Value, key: &str) -> Result<&'a mut Value, ApiError> {
    let member = fields(object)?.entry(key).or_insert_with(|| json!({}));
    if member.is_null() {
        *member = json!({});
    }
    Ok(member)
}

pub(super) fn fields(object: &mut Value) -> Result<&mut Map<String, Value>, ApiError> {
    let fields = object.as_object_mut();
    fields.ok_or_else(|| ApiError::bad_request("found something else where an object has to be"))
}

fn object(value: &Value) -> Result<&Map<String, Value>, ApiError> {
    let fields = value.as_object();
    fields.ok_or_else(|| ApiError::bad_request("the body: accepted: an object"))
}

/// A list of objects with a name and a value each.
fn pairs(list: &Value, name: &str, value: &str) -> Result<Vec<(String, Value)>, ApiError> {
    let accepted = || {
        ApiError::bad_request(format!(
            "the body: accepted: a list of objects with {name} (a string) and {value}"
        ))
    };
    let list = list.as_array().ok_or_else(accepted)?;
    let pairs = list.iter().map(|entry| {
        let name = entry.get(name).and_then(Value::as_str);
        let name = name.filter(|name| !name.is_empty()).ok_or_else(accepted)?;
        let value = entry.get(value).ok_or_else(accepted)?;
        Ok((name.to_owned(), value.clone()))
    });
    pairs.collect()
}

/// Tags as they are written.
pub(super) fn tag_pairs(list: &Value) -> Result<Vec<(String, Value)>, ApiError> {
    let tags = pairs(list, "tagName", "tagValue")?;
    if tags.iter().any(|(_, value)| !value.is_string()) {
        return Err(ApiError::bad_request("tagValue: accepted: a string"));
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_looked_for_as_a_whole_or_by_their_beginning() {
        let group = json!({"tags": {"name": "factory"}});
        let holds = |name: Option<&str>, value: Option<&str>, mode: Option<&str>| {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            TagFilter::new(owned(name), owned(value), mode).map(|filter| filter.holds(&group))
        };
        assert!(holds(None, None, None).unwrap());
        assert!(holds(Some("name"), Some("factory"), Some("exact")).unwrap());
        assert!(!holds(Some("name"), Some("fact"), None).unwrap());
        assert!(holds(Some("name"), Some("fact"), Some("prefix")).unwrap());
        holds(Some("name"), None, None).unwrap_err();
        holds(Some("name"), Some("x"), Some("y")).unwrap_err();
    }
}
