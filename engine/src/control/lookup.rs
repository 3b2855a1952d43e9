//! Lookup: SIMs of the registry, explicit ones and members of ranges alike.

use std::ops::RangeInclusive;

use serde_json::Value;

use super::error::ApiError;
use super::limits::MEMBERS_LOOKED_AT;
use crate::fleet::{ACTIVE, Members, Number};
use crate::registry::{
    Matching, Moment, SimField, SimFilter, SimOrder, SimQuery, StoreError, StoredSim,
};

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
        if !is_overridden(moment, &member)? {
            return Ok(member);
        }
    }
    Err(ApiError::not_found("the SIM"))
}

/// Part of a list, and what the next part is asked for by, if there is one.
pub(super) struct Part<T> {
    pub(super) found: Vec<T>,
    pub(super) next: Option<String>,
}

/// SIMs behind `after`: explicit ones in their order, then members of ranges in theirs. A part may hold less than
/// `limit` and still not be the last: so many members are looked at, and no more.
///
/// # Errors
/// When too much is asked for at once, or the database refuses.
pub(super) fn list(
    moment: &Moment<'_>,
    order: SimOrder,
    wanted: &SimQuery,
    after: &str,
    limit: usize,
) -> Result<Part<Found>, ApiError> {
    let key = match order {
        SimOrder::SimId => "simId",
        SimOrder::Imsi => "imsi",
    };
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
    let mut places = ranges.iter().enumerate().filter(|_| !is_explicit);
    let place =
        places.find_map(|(range, members)| Some((range, number_in(members)?.saturating_add(1))));
    let mut part = Part {
        found: Vec::new(),
        next: None,
    };
    if place.is_none() {
        let sims = moment.sims(order, after, wanted, limit.saturating_add(1))?;
        part.found.extend(sims.into_iter().map(Found::explicit));
    }
    let (first, mut start) = place.unwrap_or_default();
    let mut left = MEMBERS_LOOKED_AT;
    for members in ranges.iter().skip(first) {
        let from = std::mem::take(&mut start);
        let Some(numbers) = candidates(wanted, members) else {
            continue;
        };
        let numbers = from.max(*numbers.start())..=*numbers.end();
        for number in numbers {
            if part.found.len() > limit {
                break;
            }
            let Some(member) = members.member(number).map(Found::member) else {
                break;
            };
            if left == 0 {
                part.next = Some(member.text(key).to_owned());
                return Ok(part);
            }
            left = left.saturating_sub(1);
            if holds(wanted, &member) && !is_overridden(moment, &member)? {
                part.found.push(member);
            }
        }
    }
    if part.found.len() > limit {
        part.found.truncate(limit);
        part.next = part.found.last().map(|last| last.text(key).to_owned());
    }
    Ok(part)
}

/// Whether an explicit SIM has one of a member's numbers, and so its place.
fn is_overridden(moment: &Moment<'_>, member: &Found) -> Result<bool, StoreError> {
    let by_imsi = moment.sim_of_imsi(member.text("imsi"))?;
    Ok(by_imsi.is_some() || moment.sim(member.text("simId"))?.is_some())
}

/// The members of a range that may be wanted; `None` where none is.
fn candidates(wanted: &SimQuery, members: &Members<'_>) -> Option<RangeInclusive<u64>> {
    if wanted.is_online == Some(false) {
        // An address leads to each of them.
        return None;
    }
    let of = |filter: &SimFilter| -> Option<RangeInclusive<u64>> {
        let is_whole = filter.matching == Matching::Exact;
        let number = match &filter.field {
            SimField::Imsi => Number::Imsi,
            SimField::SimId => Number::SimId,
            SimField::GroupId => {
                let group = members.group().unwrap_or_default();
                let is_its = filter.texts.iter().any(|text| text == group);
                return is_its.then(|| members.all());
            }
            SimField::Status => {
                let is_active = filter.texts.iter().any(|text| text == ACTIVE);
                return is_active.then(|| members.all());
            }
            // Members of ranges have no tags.
            SimField::Name | SimField::Tag(_) | SimField::AnyTag => return None,
        };
        let texts = filter.texts.iter();
        let numbers = texts.filter_map(|text| members.numbers(number, text, is_whole));
        numbers.reduce(around)
    };
    let mut filters = wanted.filters.iter();
    if wanted.is_any && !wanted.filters.is_empty() {
        filters.filter_map(of).reduce(around)
    } else {
        filters.try_fold(members.all(), |numbers, filter| {
            let more = of(filter)?;
            let (start, end) = (
                *numbers.start().max(more.start()),
                *numbers.end().min(more.end()),
            );
            (start <= end).then_some(start..=end)
        })
    }
}

/// The numbers from the first of both to the last of both.
fn around(one: RangeInclusive<u64>, other: RangeInclusive<u64>) -> RangeInclusive<u64> {
    *one.start().min(other.start())..=*one.end().max(other.end())
}

/// Whether a member of a range has what it must.
fn holds(wanted: &SimQuery, member: &Found) -> bool {
    let is_met = |filter: &SimFilter| {
        let value = match &filter.field {
            SimField::SimId => member.text("simId"),
            SimField::Imsi => member.text("imsi"),
            SimField::GroupId => member.text("groupId"),
            SimField::Status => ACTIVE,
            SimField::Name | SimField::Tag(_) | SimField::AnyTag => return false,
        };
        filter.texts.iter().any(|text| match filter.matching {
            Matching::Exact => value == text,
            Matching::Prefix => value.starts_with(text.as_str()),
            Matching::Part => value.contains(text.as_str()),
        })
    };
    let mut filters = wanted.filters.iter();
    if wanted.is_any && !wanted.filters.is_empty() {
        filters.any(is_met)
    } else {
        filters.all(is_met)
    }
}
