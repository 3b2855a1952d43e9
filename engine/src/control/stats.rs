//! Stats: billing figures (B-BILL-1, B-BILL-2): `/v1/stats/beam`, their export, and the sums over all SIMs.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::header;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::calendar::Period;
use super::error::ApiError;
use super::exports::Exports;
use super::extract::{Asked, Body, Segments, Site};
use super::ids::new_id;
use super::limits::{BUCKETS, EXPORT_BYTES, TOP_SIMS};
use super::lookup::{SimName, find};
use super::state::State;
use crate::registry::{Bucket, Moment, StoreError, UsageCounts, UsageRow};
use crate::sys::clock::now_ms;

/// What is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Question {
    from: Option<i64>,
    to: Option<i64>,
    period: Option<String>,
    limit: Option<usize>,
}

/// Whole buckets: the ranges that are asked for are widened to them.
#[derive(Clone, Copy, Debug)]
struct Buckets {
    period: Period,
    from: i64,
    to: i64,
}

impl Buckets {
    fn new(from: Option<i64>, to: Option<i64>, period: Option<&str>) -> Result<Self, ApiError> {
        let needed = |key: &str| {
            ApiError::bad_request(format!("{key}: needed; accepted: seconds since 1970"))
        };
        let in_reach = |seconds: i64| (0..=u32::MAX.into()).contains(&seconds);
        let from = from
            .filter(|from| in_reach(*from))
            .ok_or_else(|| needed("from"))?;
        let to = to.filter(|to| in_reach(*to)).ok_or_else(|| needed("to"))?;
        let period = period.and_then(Period::parse).ok_or_else(|| {
            ApiError::bad_request("period: needed; accepted: month, day, minutes")
        })?;
        if to < from {
            return Err(ApiError::bad_request("to: it is before from"));
        }
        let (from, to) = (period.start(from), period.next(to));
        Ok(Self { period, from, to })
    }

    /// What of the registry they are made of: months are sums of days.
    const fn stored(self) -> Bucket {
        match self.period {
            Period::Month | Period::Day => Bucket::Day,
            Period::Minutes => Bucket::Minutes,
        }
    }

    /// Rows as the vendor shows them, one element for each bucket in which something was counted.
    fn shown(self, rows: Vec<UsageRow>) -> Vec<Value> {
        let mut sums: Vec<(i64, UsageCounts)> = Vec::new();
        for row in rows {
            let start = self.period.start(row.start);
            match sums.last_mut().filter(|(last, _)| *last == start) {
                Some((_, counts)) => add(counts, row.counts),
                None => sums.push((start, row.counts)),
            }
        }
        let shown = sums.into_iter().take(BUCKETS).map(|(start, counts)| {
            json!({
                "date": self.period.name(start),
                "unixtime": start,
                "beamStatsMap": map(counts),
            })
        });
        shown.collect()
    }
}

fn add(sum: &mut UsageCounts, more: UsageCounts) {
    sum.in_mqtt = sum.in_mqtt.saturating_add(more.in_mqtt);
    sum.out_mqtt = sum.out_mqtt.saturating_add(more.out_mqtt);
    sum.out_mqtts = sum.out_mqtts.saturating_add(more.out_mqtts);
}

/// Legs on which something was counted.
fn map(counts: UsageCounts) -> Value {
    let legs = [
        ("inMqtt", counts.in_mqtt),
        ("outMqtt", counts.out_mqtt),
        ("outMqtts", counts.out_mqtts),
    ];
    let counted = legs.into_iter().filter(|(_, count)| *count > 0);
    let shown = counted.map(|(leg, count)| (leg.to_owned(), json!({"count": count})));
    Value::Object(shown.collect::<Map<_, _>>())
}

/// `GET /v1/stats/beam/subscribers/{imsi}`
pub(super) async fn of_subscriber(
    Shared(state): Shared<Arc<State>>,
    Segments(imsi): Segments<String>,
    Asked(question): Asked<Question>,
) -> Result<Json<Value>, ApiError> {
    let buckets = Buckets::new(question.from, question.to, question.period.as_deref())?;
    state.collect_usage().await;
    let rows = state.store()?.read(move |registry| {
        registry.read(|moment| {
            let rows = moment.usage_of(&imsi, buckets.stored(), buckets.from, buckets.to)?;
            if rows.is_empty() {
                // Of somebody who is not there it is said so; figures outlast their SIM.
                find(moment, &SimName::Imsi(imsi))?;
            }
            Ok::<_, ApiError>(rows)
        })
    });
    Ok(Json(Value::Array(buckets.shown(rows.await??))))
}

/// `GET /ringbeam/v1/usage`: the sums over all SIMs, and the SIMs that used most.
pub(super) async fn of_all(
    Shared(state): Shared<Arc<State>>,
    Asked(question): Asked<Question>,
) -> Result<Json<Value>, ApiError> {
    let buckets = Buckets::new(question.from, question.to, question.period.as_deref())?;
    let limit = question.limit.unwrap_or(TOP_SIMS).min(TOP_SIMS);
    state.collect_usage().await;
    let read = state.store()?.read(move |registry| {
        registry.read(|moment| {
            let Buckets { from, to, .. } = buckets;
            let total = moment.usage_of_all(buckets.stored(), from, to)?;
            let top = moment.usage_top(buckets.stored(), from, to, limit)?;
            Ok::<_, StoreError>((total, top))
        })
    });
    let (total, top) = read.await??;
    let mut platforms: Map<String, Value> = Map::new();
    for platform in ["201912", "201509"] {
        let mut sum = UsageCounts::default();
        let rows = total.iter().filter(|row| row.platform == platform);
        rows.for_each(|row| add(&mut sum, row.counts));
        platforms.insert(platform.to_owned(), map(sum));
    }
    let top = top
        .into_iter()
        .map(|row| json!({"imsi": row.imsi, "beamStatsMap": map(row.counts)}));
    let top: Vec<Value> = top.collect();
    Ok(Json(
        json!({"total": buckets.shown(total), "platforms": platforms, "sims": top}),
    ))
}

/// How an export is given.
#[derive(Debug, Deserialize)]
pub(super) struct ExportMode {
    export_mode: Option<String>,
}

/// `POST /v1/stats/beam/operators/{operator_id}/export`
pub(super) async fn export(
    Shared(state): Shared<Arc<State>>,
    site: Site,
    Segments(operator_id): Segments<String>,
    Asked(mode): Asked<ExportMode>,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    if operator_id != state.operator_id {
        return Err(ApiError::not_found("the operator"));
    }
    let is_sync = match mode.export_mode.as_deref() {
        Some("sync") => true,
        None | Some("async") => false,
        Some(_) => return Err(ApiError::bad_request("export_mode: accepted: async, sync")),
    };
    let number = |key: &str| body.0.0.get(key).and_then(Value::as_i64);
    let period = body.text("period")?.or(Some("month"));
    let buckets = Buckets::new(number("from"), number("to"), period)?;
    state.collect_usage().await;
    let csv = state
        .store()?
        .read(move |registry| registry.read(|moment| csv(moment, buckets)));
    let csv = csv.await??;
    let id = new_id()?;
    let path = format!("beam-{}-{id}.csv", state.operator_id);
    let put = |exports: &mut Exports| exports.put(id.clone(), csv, now_ms());
    state.exports.with(put);
    Ok(Json(if is_sync {
        json!({"url": download(&site, &id)})
    } else {
        json!({"exportedFileId": id, "exportedFilePath": path})
    }))
}

/// Where a file is: its id is what lets in.
fn download(Site(site): &Site, id: &str) -> String {
    format!("{site}/ringbeam/v1/exported/{id}.csv")
}

/// `GET /v1/files/exported/{exported_file_id}`
pub(super) async fn exported(
    Shared(state): Shared<Arc<State>>,
    site: Site,
    Segments(id): Segments<String>,
) -> Result<Json<Value>, ApiError> {
    let found = state.exports.with(|exports| exports.find(&id, now_ms()));
    if found.is_none() {
        return Err(ApiError::not_found("the file"));
    }
    Ok(Json(
        json!({"status": "exported", "url": download(&site, &id)}),
    ))
}

/// `GET /ringbeam/v1/exported/{file}`: for whoever knows the id, as the vendor's own addresses of files.
pub(super) async fn file(
    Shared(state): Shared<Arc<State>>,
    Segments(file): Segments<String>,
) -> Result<impl IntoResponse, ApiError> {
    let id = file.strip_suffix(".csv").unwrap_or(&file);
    let csv = state.exports.with(|exports| exports.find(id, now_ms()));
    let csv = csv.ok_or_else(|| ApiError::not_found("the file"))?;
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"beam-{id}.csv\""),
        ),
    ];
    Ok((headers, csv))
}

/// Every SIM's buckets, a line each.
fn csv(moment: &Moment<'_>, buckets: Buckets) -> Result<String, ApiError> {
    let mut text = String::from("imsi,date,unixtime,platform,inMqtt,outMqtt,outMqtts\n");
    let mut last: Option<(String, i64, String, UsageCounts)> = None;
    let line =
        |text: &mut String,
         (imsi, start, platform, counts): &(String, i64, String, UsageCounts)| {
            let date = buckets.period.name(*start);
            let UsageCounts {
                in_mqtt,
                out_mqtt,
                out_mqtts,
            } = counts;
            // Writing to a String does not fail.
            let _ = writeln!(
                text,
                "{imsi},{date},{start},{platform},{in_mqtt},{out_mqtt},{out_mqtts}"
            );
        };
    let mut is_full = false;
    moment.usage_visit(buckets.stored(), buckets.from, buckets.to, |row| {
        let start = buckets.period.start(row.start);
        match &mut last {
            Some((imsi, of, platform, counts))
                if *imsi == row.imsi && *of == start && *platform == row.platform =>
            {
                add(counts, row.counts);
            }
            _ => {
                let done = last.replace((row.imsi, start, row.platform, row.counts));
                if let Some(done) = done.filter(|_| !is_full) {
                    line(&mut text, &done);
                }
                is_full |= text.len() > EXPORT_BYTES;
            }
        }
        Ok(())
    })?;
    if let Some(done) = &last {
        line(&mut text, done);
    }
    if is_full {
        let message = format!("more than {EXPORT_BYTES} bytes; ask for a shorter time");
        return Err(ApiError::bad_request(message));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{EmbeddedRegistry, SecretKey, UsageShare};

    #[test]
    fn b_bill_2_a_month_is_one_line_for_each_version() {
        let folder = tempfile::TempDir::new().unwrap();
        let key = SecretKey::from_hex(&[b'1'; 64]).unwrap();
        let registry = EmbeddedRegistry::open_or_create(&folder.path().join("db"), key).unwrap();
        let share = |platform, in_mqtt, start| UsageShare {
            imsi: "440100000000001".to_owned(),
            platform,
            starts: (start, start),
            counts: UsageCounts {
                in_mqtt,
                ..UsageCounts::default()
            },
        };
        let day = |number: i64| number * 86_400;
        let csv = registry.change(|moment| {
            for start in [day(0), day(1), day(31)] {
                let shares = [share("201912", 1, start), share("201509", 10, start)];
                moment.add_usage(&shares)?;
            }
            csv(moment, Buckets::new(Some(0), Some(day(32)), Some("month"))?)
        });
        let csv = csv.unwrap();
        let lines: Vec<&str> = csv.lines().skip(1).collect();
        let line = |start: i64, platform: &str, count: i64| {
            let start = Period::Month.start(start);
            let date = Period::Month.name(start);
            format!("440100000000001,{date},{start},{platform},{count},0,0")
        };
        assert_eq!(
            lines,
            [
                line(0, "201509", 20),
                line(day(31), "201509", 10),
                line(0, "201912", 2),
                line(day(31), "201912", 1),
            ]
        );
    }
}
