//! Own: what the vendor's API lacks, and what supervisors ask for.

use axum::http::Method;

use super::operation::{Operation, PLAIN, needed, operation, query, tagged};
use super::schema::Shape;
use super::sims::BUCKETS;
use crate::control::limits::{
    TAP_PACKETS, TAP_PACKETS_MAX, TAP_SECONDS, TAP_SECONDS_MAX, TOP_SIMS,
};
use crate::control::{connections, fleet, live, metrics, node, stats, tap};

/// The media type of events that come for as long as somebody listens.
const EVENTS: &str = "text/event-stream";

const IMSI: Shape = Shape::Digits(6, 15);
const _: () = assert!(
    TOP_SIMS == 100
        && TAP_SECONDS == 60
        && TAP_SECONDS_MAX == 3600
        && TAP_PACKETS == 10_000
        && TAP_PACKETS_MAX == 1_000_000,
    "what is described is what holds"
);

pub(super) fn operations() -> Vec<Operation> {
    let parts = [
        tagged("Supervision", supervision()),
        tagged("Node", of_node()),
        tagged("Node", records()),
        tagged("Connection", of_connections()),
        tagged("Fleet", of_fleet()),
        tagged("Fleet", of_sims()),
    ];
    parts.into_iter().flatten().collect()
}

fn supervision() -> Vec<Operation> {
    vec![
        operation(
            Method::GET,
            "/healthz",
            "getHealth",
            "Whether the process answers",
            node::healthz,
        )
        .public()
        .gives_text(PLAIN),
        operation(
            Method::GET,
            "/readyz",
            "getReadiness",
            "Whether devices are served, and what is billed is stored",
            node::readyz,
        )
        .public()
        .gives_text(PLAIN)
        .or_text(503),
        operation(
            Method::GET,
            "/metrics",
            "getMetrics",
            "Figures, as Prometheus reads them",
            metrics::metrics,
        )
        .public()
        .gives_text(PLAIN),
        operation(
            Method::GET,
            "/openapi.json",
            "getDescription",
            "This description",
            super::openapi,
        )
        .public()
        .gives(200, Shape::Object),
    ]
}

fn of_node() -> Vec<Operation> {
    vec![
        operation(
            Method::GET,
            "/ringbeam/v1/node",
            "getNode",
            "The state of this process",
            node::node,
        )
        .gives(200, Shape::Named("Node")),
        operation(
            Method::POST,
            "/ringbeam/v1/drain",
            "drain",
            "End sessions in order, then the process",
            node::drain,
        )
        .gives_nothing(202),
        operation(
            Method::POST,
            "/ringbeam/v1/reload",
            "reload",
            "Read configuration and fleet anew",
            node::reload,
        )
        .gives(200, Shape::Named("Reloaded"))
        .or(400),
        operation(
            Method::GET,
            "/ringbeam/v1/config",
            "getConfig",
            "The configuration in effect",
            node::config,
        )
        .gives(200, Shape::Object),
    ]
}

fn records() -> Vec<Operation> {
    vec![
        operation(
            Method::GET,
            "/ringbeam/v1/audit",
            "listAudit",
            "Who changed what, the latest first",
            node::audit,
        )
        .gives_pages(Shape::Named("AuditEntry")),
        operation(
            Method::GET,
            "/ringbeam/v1/usage",
            "getUsage",
            "What is billed of all SIMs together, and of those that used most",
            stats::of_all,
        )
        .asks(&BUCKETS)
        .asks(&[query(
            "limit",
            Shape::AtLeast(0),
            "How many SIMs at the most; never more than 100.",
        )])
        .gives(200, Shape::Named("Usage")),
        operation(
            Method::GET,
            "/ringbeam/v1/exported/{file}",
            "fetchExportedFile",
            "A file that was exported, for whoever knows its id",
            stats::file,
        )
        .public()
        .gives_text("text/csv"),
        operation(
            Method::GET,
            "/ringbeam/v1/live",
            "watchFigures",
            "Figures of every second, for as long as somebody listens",
            live::live,
        )
        .gives_text(EVENTS),
    ]
}

fn of_connections() -> Vec<Operation> {
    vec![
        operation(
            Method::GET,
            "/ringbeam/v1/connections",
            "listConnections",
            "Sessions that are relayed now",
            connections::list,
        )
        .asks(&[
            query("imsi", IMSI, "Those of this SIM alone."),
            query("network", Shape::Text, "Those of this network alone."),
        ])
        .gives_pages(Shape::Named("Connection")),
        operation(
            Method::DELETE,
            "/ringbeam/v1/connections/{id}",
            "closeConnection",
            "End a session",
            connections::close,
        )
        .gives_nothing(204),
        operation(
            Method::GET,
            "/ringbeam/v1/tap",
            "tap",
            "Packets of a SIM while they pass, for a while",
            tap::tap,
        )
        .asks(&[
            needed("imsi", IMSI, "Of this SIM."),
            query(
                "seconds",
                Shape::AtLeast(0),
                "For how long: 60 where nothing is said, and never more than 3600.",
            ),
            query(
                "packets",
                Shape::AtLeast(0),
                "How many at the most: 10000 where nothing is said, and never more than a million.",
            ),
        ])
        .gives_text(EVENTS),
        operation(
            Method::GET,
            "/ringbeam/v1/explain",
            "explain",
            "What a CONNECT of a SIM would lead to; one of ip and imsi is needed",
            node::explain,
        )
        .asks(&[
            query("ip", Shape::Text, "The SIM's address."),
            query("imsi", IMSI, "The SIM's IMSI."),
            query("network", Shape::Text, "Where the address belongs to."),
        ])
        .gives(200, Shape::Named("Explanation")),
    ]
}

fn of_fleet() -> Vec<Operation> {
    vec![
        operation(
            Method::GET,
            "/ringbeam/v1/fleet",
            "exportFleet",
            "The whole fleet as a document, without its secrets",
            fleet::export,
        )
        .gives(200, Shape::Named("FleetDocument")),
        operation(
            Method::PUT,
            "/ringbeam/v1/fleet",
            "importFleet",
            "Replace the whole fleet; secrets that are sent back masked stay as they are",
            fleet::import,
        )
        .takes(Shape::Named("FleetDocument"))
        .gives(200, Shape::Named("FleetCounts")),
        operation(
            Method::POST,
            "/ringbeam/v1/groups/{group_id}/preview",
            "previewEntryPoint",
            "What an entry point would change in a group, and lead to; nothing changes",
            fleet::preview,
        )
        .asks(&[query("imsi", IMSI, "The SIM for which it is explained.")])
        .takes(Shape::Named("EntryPoint"))
        .gives(200, Shape::Named("Preview")),
    ]
}

fn of_sims() -> Vec<Operation> {
    let session = "/ringbeam/v1/sims/{sim_id}/session";
    vec![
        operation(
            Method::PUT,
            "/ringbeam/v1/sims",
            "putSim",
            "Make a SIM, or replace the one of this id",
            fleet::put_sim,
        )
        .takes(Shape::Named("FleetSim"))
        .gives(200, Shape::Named("Sim"))
        .gives(201, Shape::Named("Sim"))
        .or(409),
        operation(
            Method::DELETE,
            "/ringbeam/v1/sims/{sim_id}",
            "deleteSim",
            "Remove a SIM that stands by itself",
            fleet::delete_sim,
        )
        .gives_nothing(204),
        operation(
            Method::PUT,
            session,
            "putSession",
            "Have an address be a SIM's until somebody says otherwise",
            fleet::bind,
        )
        .takes(Shape::Named("SessionRequest"))
        .gives(200, Shape::Named("Sim"))
        .or(409),
        operation(
            Method::DELETE,
            session,
            "deleteSession",
            "Take from a SIM the addresses that it has for now",
            fleet::unbind,
        )
        .gives_nothing(204),
    ]
}
