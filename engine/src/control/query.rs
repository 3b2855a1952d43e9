//! Query: `/v1/query/sims`: SIMs by what they have, each condition one text or several.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::Uri;
use percent_encoding::percent_decode_str;

use super::error::ApiError;
use super::limits::PAGE;
use super::page::{Page, Paging};
use super::sim_shape::Seen;
use super::sims::{Shape, read_list};
use super::state::State;
use crate::registry::{Matching, Moment, Sealed, SimField, SimFilter, SimQuery, StoreError};

/// SIMs of one answer where nobody says how many.
const LIMIT: usize = 10;

/// What may be asked for, and what of a SIM it is compared with.
const FIELDS: [(&str, SimField, Matching); 8] = [
    ("name", SimField::Name, Matching::Part),
    ("group_id", SimField::GroupId, Matching::Exact),
    ("sim_id", SimField::SimId, Matching::Prefix),
    ("iccid", SimField::SimId, Matching::Prefix),
    ("imsi", SimField::Imsi, Matching::Prefix),
    ("tag", SimField::AnyTag, Matching::Part),
    ("status", SimField::Status, Matching::Exact),
    ("group", SimField::GroupId, Matching::Exact),
];

/// What no SIM here has: looking for it finds none.
const ABSENT: [&str; 4] = ["msisdn", "serial_number", "bundles", "module_type"];

/// What all SIMs here have alike.
const CONSTANT: [(&str, &str); 1] = [("subscription", "planArc01")];

/// A question, decoded.
#[derive(Debug, Default)]
struct Question {
    parameters: Vec<(String, String)>,
}

impl Question {
    fn new(query: &str) -> Result<Self, ApiError> {
        let decode = |text: &str| {
            let text = text.replace('+', " ");
            let decoded = percent_decode_str(&text).decode_utf8().map(String::from);
            decoded.map_err(|_| ApiError::bad_request("the query: found bytes that are no UTF-8"))
        };
        let parts = query.split('&').filter(|part| !part.is_empty());
        let parameters = parts.map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            Ok::<_, ApiError>((decode(key)?, decode(value)?))
        });
        Ok(Self {
            parameters: parameters.collect::<Result<_, _>>()?,
        })
    }

    /// The texts of a parameter: it may be there several times, and hold several with commas between them.
    fn texts(&self, key: &str) -> Vec<String> {
        let values = self.parameters.iter().filter(|(name, _)| name == key);
        let texts = values.flat_map(|(_, value)| value.split(','));
        let texts = texts.map(str::trim).filter(|text| !text.is_empty());
        texts.map(str::to_owned).collect()
    }

    fn one(&self, key: &str, accepted: &[&str]) -> Result<String, ApiError> {
        let Some(text) = self.texts(key).into_iter().next() else {
            return Ok(accepted
                .first()
                .map(|text| (*text).to_owned())
                .unwrap_or_default());
        };
        let known = accepted
            .iter()
            .find(|known| known.eq_ignore_ascii_case(&text));
        known.map(|known| (*known).to_owned()).ok_or_else(|| {
            ApiError::bad_request(format!("{key}: accepted: {}", accepted.join(", ")))
        })
    }
}

/// `GET /v1/query/sims`
pub(super) async fn search_sims(
    Shared(state): Shared<Arc<State>>,
    uri: Uri,
) -> Result<Page, ApiError> {
    let question = Question::new(uri.query().unwrap_or_default())?;
    let is_any = question.one("search_type", &["and", "or"])? == "or";
    let session_status = question.one("session_status", &["NA", "ONLINE", "OFFLINE"])?;
    let paging = paging(&question)?;
    let limit = paging.limit_of(LIMIT, PAGE)?;
    let online = match session_status.as_str() {
        "ONLINE" => Some(true),
        "OFFLINE" => Some(false),
        _ => None,
    };
    let mut wanted = SimQuery {
        filters: Vec::new(),
        is_any,
        is_online: online,
    };
    for (key, field, matching) in FIELDS {
        let mut texts = question.texts(key);
        if texts.is_empty() {
            continue;
        }
        if key == "group" {
            texts = group_ids(&state, texts).await?;
        }
        wanted.filters.push(SimFilter {
            field,
            texts,
            matching,
        });
    }
    // What all SIMs have, and what none has.
    let asked = |key: &str| !question.texts(key).is_empty();
    let of_constants = CONSTANT.iter().filter(|(key, _)| asked(key));
    let (mut always, mut never) = (false, false);
    for (key, value) in of_constants {
        let is_met = question.texts(key).iter().any(|text| text == value);
        always |= is_met;
        never |= !is_met;
    }
    never |= ABSENT.iter().any(|key| asked(key));
    if is_any && always {
        // One condition holds for everybody.
        wanted.filters.clear();
    } else if never && (!is_any || wanted.filters.is_empty()) {
        return Ok(Page::empty());
    }
    let part = read_list(&state, Shape::Sim.order(), wanted, &paging, limit).await?;
    let show = |seen: Seen| seen.sim(&state.operator_id);
    Ok(Page::part(&uri, part.found, part.next, show))
}

fn paging(question: &Question) -> Result<Paging, ApiError> {
    let limit = question.texts("limit").into_iter().next();
    let limit = limit.map(|text| text.parse::<i64>());
    let limit = limit
        .transpose()
        .map_err(|_| ApiError::bad_request("limit: accepted: a whole number"))?;
    let after = question.texts("last_evaluated_key").into_iter().next();
    Ok(Paging::new(limit, after))
}

/// The ids of groups whose names hold one of these texts; an id that no group has where there are none.
async fn group_ids(state: &Arc<State>, names: Vec<String>) -> Result<Vec<String>, ApiError> {
    let ids = state.store()?.read(move |registry| {
        registry.read(|moment: &Moment<'_>| {
            let groups = moment.sealed_list(Sealed::Groups, "", usize::MAX)?;
            let text = |group: &serde_json::Value, path: &str| {
                group
                    .pointer(path)
                    .and_then(|text| text.as_str())
                    .map(str::to_owned)
            };
            let named = groups.iter().filter(|group| {
                let name = text(&group.object.0, "/tags/name").unwrap_or_default();
                names.iter().any(|wanted| name.contains(wanted.as_str()))
            });
            let ids = named.filter_map(|group| text(&group.object.0, "/groupId"));
            Ok::<_, StoreError>(ids.collect::<Vec<_>>())
        })
    });
    let mut ids = ids.await??;
    if ids.is_empty() {
        ids.push(String::new());
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_may_come_twice_and_hold_several() {
        let question = Question::new("name=a&name=b%2Cc+d&imsi=&limit=5").unwrap();
        assert_eq!(question.texts("name"), ["a", "b", "c d"]);
        assert!(question.texts("imsi").is_empty());
        assert_eq!(question.one("search_type", &["and", "or"]).unwrap(), "and");
        let question = Question::new("search_type=OR&session_status=x").unwrap();
        assert_eq!(question.one("search_type", &["and", "or"]).unwrap(), "or");
        question.one("session_status", &["NA"]).unwrap_err();
        Question::new("a=%ff").unwrap_err();
    }
}
