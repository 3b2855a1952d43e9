//! Lookup: SIMs of the registry, explicit ones and members of ranges alike.

use serde_json::Value;

use super::error::ApiError;
use super::limits::MEMBERS_LOOKED_AT;
use crate::fleet::Members;
use crate::registry::{Matching, Moment, SimField, SimFilter, SimOrder, StoreError, StoredSim};

/// How a SIM is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SimName {
    Id(String),
    Imsi(String),
}

/// A SIM that was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) sim: StoredSim,
    /// Whether it stands in the registry by itself.
    pub(super) is_explicit: bool,
}

impl Found {
    fn explicit(sim: StoredSim) -> Self {
        Self {
            sim,
            is_explicit: true,
        }
    }

    fn member(object: Value) -> Self {
        let sim = StoredSim {
            object,
            created_ms: 0,
            modified_ms: 0,
        };
        Self {
            sim,
            is_explicit: false,
        }
    }

    /// A text of its object.
    pub(super) fn text(&self, key: &str) -> &str {
        self.sim
            .object
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

/// The SIM of a name.
///
/// # Errors
/// When there is none, or the database refuses.
pub(super) fn find(moment: &Moment<'_>, name: &SimName) -> Result<Found, ApiError> {
    let explicit = match name {
        SimName::Id(id) => moment.sim(id)?,
        SimName::Imsi(imsi) => moment.sim_of_imsi(imsi)?,
    };
    if let Some(sim) = explicit {
        return Ok(Found::explicit(sim));
    }
    for range in moment.ranges()? {
        let Some(members) = Members::of(&range) else {
            continue;
        };
        let number = match name {
            SimName::Id(id) => members.number_of_sim_id(id),
            SimName::Imsi(imsi) => members.number_of_imsi(imsi),
        };
        let Some(member) = number.and_then(|number| members.member(number)) else {
            continue;
        };
        let member = Found::member(member);
        // One that stands by itself took its place.
        if moment.sim_of_imsi(member.text("imsi"))?.is_none() {
            return Ok(member);
        }
    }
    Err(ApiError::not_found("the SIM"))
}

/// What is listed.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// What SIMs must have.
    pub(super) filters: Vec<SimFilter>,
    /// Whether one of it is enough.
    pub(super) is_any: bool,
}

/// SIMs behind `after`: explicit ones in their order, then members of ranges in theirs.
///
/// # Errors
/// When the database refuses.
pub(super) fn list(
    moment: &Moment<'_>,
    order: SimOrder,
    listing: &Listing,
    after: &str,
    limit: usize,
) -> Result<Vec<Found>, StoreError> {
    let Listing { filters, is_any } = listing;
    let ranges = moment.ranges()?;
    let ranges: Vec<Members<'_>> = ranges.iter().filter_map(Members::of).collect();
    let number_in = |members: &Members<'_>| match order {
        SimOrder::SimId => members.number_of_sim_id(after),
        SimOrder::Imsi => members.number_of_imsi(after),
    };
    let is_explicit = match order {
        SimOrder::SimId => moment.sim(after)?.is_some(),
        SimOrder::Imsi => moment.sim_of_imsi(after)?.is_some(),
    };
    let place = ranges
        .iter()
        .enumerate()
        .filter(|_| !is_explicit)
        .find_map(|(range, members)| Some((range, number_in(members)?.saturating_add(1))));
    let mut found: Vec<Found> = Vec::new();
    let (first, mut start) = match place {
        Some(place) => place,
        None => {
            let sims = moment.sims(order, after, (filters, *is_any), limit)?;
            found.extend(sims.into_iter().map(Found::explicit));
            (0, 0)
        }
    };
    let mut looked_at: usize = 0;
    for members in ranges.iter().skip(first) {
        let mut number = start;
        start = 0;
        while found.len() < limit && looked_at < MEMBERS_LOOKED_AT {
            let Some(member) = members.member(number) else {
                break;
            };
            number = number.saturating_add(1);
            looked_at = looked_at.saturating_add(1);
            let member = Found::member(member);
            let holds = holds(filters, *is_any, &member);
            if holds && moment.sim_of_imsi(member.text("imsi"))?.is_none() {
                found.push(member);
            }
        }
    }
    Ok(found)
}

/// Whether a member of a range has what it must.
fn holds(filters: &[SimFilter], is_any: bool, member: &Found) -> bool {
    let is_met = |filter: &SimFilter| {
        let value = match &filter.field {
            SimField::SimId => member.text("simId"),
            SimField::Imsi => member.text("imsi"),
            SimField::GroupId => member.text("groupId"),
            SimField::Status => crate::fleet::ACTIVE,
            // Members of ranges have no tags.
            SimField::Name | SimField::Tag(_) | SimField::AnyTag => return false,
        };
        filter.texts.iter().any(|text| match filter.matching {
            Matching::Exact => value == text,
            Matching::Prefix => value.starts_with(text.as_str()),
            Matching::Part => value.contains(text.as_str()),
        })
    };
    if is_any && !filters.is_empty() {
        filters.iter().any(is_met)
    } else {
        filters.iter().all(is_met)
    }
}
