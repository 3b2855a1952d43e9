//! SIMs: the vendor's operations of SIMs and subscribers, what happened to them, and what they used.

use axum::http::Method;

use super::credentials_and_groups::TAGGED;
use super::operation::{Operation, Parameter, needed, operation, query, tagged};
use super::schema::Shape;
use crate::control::router::verb;
use crate::control::sims::{Shape as SimShape, Verb};
use crate::control::{events, query as search, sims, stats};

const SIM: Shape = Shape::Named("Sim");
const SUBSCRIBER: Shape = Shape::Named("Subscriber");

const SPAN: [Parameter; 2] = [
    query("from", Shape::Integer, "Not before, in milliseconds."),
    query("to", Shape::Integer, "Not after, in milliseconds."),
];

const PERIOD: Shape = Shape::OneOf(&["month", "day", "minutes"]);

/// A time of figures, which is widened to whole buckets.
pub(super) const BUCKETS: [Parameter; 3] = [
    needed("from", SECONDS, "A second of the first bucket."),
    needed("to", SECONDS, "A second of the last bucket."),
    needed("period", PERIOD, "How long a bucket is; minutes are five."),
];

const SECONDS: Shape = Shape::Between(0, 4_294_967_295);

const TEXTS: Shape = Shape::List(&Shape::Text);

/// What SIMs are looked for by; of each several texts, one of which is enough.
const WANTED: [Parameter; 16] = [
    query("name", TEXTS, "Parts of names."),
    query("group", TEXTS, "Parts of groups' names."),
    query("group_id", TEXTS, "Groups' ids."),
    query("sim_id", TEXTS, "How ids begin."),
    query("imsi", TEXTS, "How IMSIs begin."),
    query("msisdn", TEXTS, "No SIM here has one."),
    query("iccid", TEXTS, "The same as sim_id."),
    query("serial_number", TEXTS, "No SIM here has one."),
    query("tag", TEXTS, "Parts of what tags say."),
    query("bundles", TEXTS, "No SIM here has any."),
    query("status", TEXTS, "Statuses."),
    query("subscription", TEXTS, "All SIMs here have planArc01."),
    query("module_type", TEXTS, "Passed over."),
    query(
        "session_status",
        Shape::OneOf(&["NA", "ONLINE", "OFFLINE"]),
        "Whether an address leads to it.",
    ),
    query(
        "search_type",
        Shape::OneOf(&["and", "or"]),
        "Whether all conditions must hold, or one.",
    ),
    // The page of this list is a smaller one.
    query(
        "limit",
        Shape::AtLeast(1),
        "How many at the most: 10 where nothing is said, and never more than 100.",
    ),
];

pub(super) fn operations() -> Vec<Operation> {
    let parts = [
        tagged("Sim", of_sims()),
        tagged("Sim", sim_verbs()),
        tagged("Sim", within_sims()),
        tagged("Subscriber", of_subscribers()),
        tagged("Subscriber", subscriber_verbs()),
        tagged("Stats", figures()),
    ];
    parts.into_iter().flatten().collect()
}

fn of_sims() -> Vec<Operation> {
    vec![
        operation(
            Method::GET,
            "/v1/sims",
            "listSims",
            "SIMs: those that stand by themselves in the order of their ids, then members of ranges",
            sims::list_sims,
        )
        .gives_pages(SIM),
        operation(
            Method::POST,
            "/v1/sims",
            "createSim",
            "Make a SIM with new numbers and without an address",
            sims::create_sim,
        )
        .takes(Shape::Named("SimRequest"))
        .gives(201, SIM)
        .or(409),
        operation(
            Method::GET,
            "/v1/sims/{sim_id}",
            "getSim",
            "A SIM",
            sims::read_sim,
        )
        .gives(200, SIM),
        operation(
            Method::GET,
            "/v1/query/sims",
            "searchSims",
            "SIMs by what they have",
            search::search_sims,
        )
        .asks(&WANTED)
        .gives_next_pages(SIM),
    ]
}

fn sim_verbs() -> Vec<Operation> {
    let of = |path, id, summary, what| {
        let route = verb(SimShape::Sim, what);
        Operation::new((Method::POST, path), id, summary, route).gives(200, SIM)
    };
    vec![
        of(
            "/v1/sims/{sim_id}/activate",
            "activateSim",
            "Have a SIM served",
            Verb::Activate,
        ),
        of(
            "/v1/sims/{sim_id}/deactivate",
            "deactivateSim",
            "Have a SIM not served: its connections end",
            Verb::Deactivate,
        ),
        of(
            "/v1/sims/{sim_id}/delete_session",
            "deleteSimSession",
            "Take from a SIM the addresses that it has for now, and end its connections",
            Verb::DeleteSession,
        ),
        of(
            "/v1/sims/{sim_id}/set_group",
            "setSimGroup",
            "Put a SIM into a group",
            Verb::SetGroup,
        )
        .takes(Shape::Named("SetGroupRequest")),
        of(
            "/v1/sims/{sim_id}/unset_group",
            "unsetSimGroup",
            "Take a SIM out of its group",
            Verb::UnsetGroup,
        ),
    ]
}

fn within_sims() -> Vec<Operation> {
    vec![
        operation(
            Method::PUT,
            "/v1/sims/{sim_id}/tags",
            "putSimTags",
            "Put tags on a SIM; the others stay",
            sims::put_tags,
        )
        .takes(Shape::List(&Shape::Named("Tag")))
        .gives(200, SIM),
        operation(
            Method::DELETE,
            "/v1/sims/{sim_id}/tags/{tag_name}",
            "deleteSimTag",
            "Take a tag off a SIM",
            sims::delete_tag,
        )
        .gives_nothing(204),
        operation(
            Method::GET,
            "/v1/sims/{sim_id}/events/sessions",
            "listSimSessionEvents",
            "What addresses a SIM got and lost, the latest first",
            events::of_sim,
        )
        .asks(&SPAN)
        .gives_pages(Shape::Named("SessionEvent")),
    ]
}

fn of_subscribers() -> Vec<Operation> {
    let filters = [
        query(
            "status_filter",
            Shape::Text,
            "Those alone of this status, or of one of several with | between them.",
        ),
        query(
            "speed_class_filter",
            Shape::Text,
            "All SIMs here are of s1.standard.",
        ),
        query(
            "serial_number_filter",
            Shape::Text,
            "No SIM here has a serial number.",
        ),
    ];
    vec![
        operation(
            Method::GET,
            "/v1/subscribers",
            "listSubscribers",
            "The same SIMs by their IMSIs",
            sims::list_subscribers,
        )
        .asks(&TAGGED)
        .asks(&filters)
        .gives_pages(SUBSCRIBER),
        operation(
            Method::GET,
            "/v1/subscribers/{imsi}",
            "getSubscriber",
            "The SIM of an IMSI",
            sims::read_subscriber,
        )
        .gives(200, SUBSCRIBER),
        operation(
            Method::GET,
            "/v1/subscribers/{imsi}/events/sessions",
            "listSessionEvents",
            "What addresses a SIM got and lost, the latest first",
            events::of_subscriber,
        )
        .asks(&SPAN)
        .gives_pages(Shape::Named("SessionEvent")),
    ]
}

fn subscriber_verbs() -> Vec<Operation> {
    let of = |path, id, summary, what| {
        let route = verb(SimShape::Subscriber, what);
        Operation::new((Method::POST, path), id, summary, route).gives(200, SUBSCRIBER)
    };
    vec![
        of(
            "/v1/subscribers/{imsi}/delete_session",
            "deleteSubscriberSession",
            "Take from a SIM the addresses that it has for now, and end its connections",
            Verb::DeleteSession,
        ),
        of(
            "/v1/subscribers/{imsi}/set_group",
            "setGroup",
            "Put a SIM into a group",
            Verb::SetGroup,
        )
        .takes(Shape::Named("SetGroupRequest")),
        of(
            "/v1/subscribers/{imsi}/unset_group",
            "unsetGroup",
            "Take a SIM out of its group",
            Verb::UnsetGroup,
        ),
    ]
}

fn figures() -> Vec<Operation> {
    let of_whom = [
        query(
            "resource_type",
            Shape::OneOf(&events::RESOURCE_TYPES),
            "Here there are Subscribers alone.",
        ),
        query("resource_id", Shape::Text, "An IMSI."),
        query(
            "service",
            Shape::OneOf(&events::SERVICES),
            "Here there is Beam alone.",
        ),
    ];
    let export_mode = query(
        "export_mode",
        Shape::OneOf(&["async", "sync"]),
        "Whether the answer names the file, or where it is fetched.",
    );
    vec![
        operation(
            Method::GET,
            "/v1/logs",
            "getLogs",
            "What happened to connections of SIMs, the latest first",
            events::logs,
        )
        .asks(&of_whom)
        .asks(&SPAN)
        .gives_pages(Shape::Named("LogEntry")),
        operation(
            Method::GET,
            "/v1/stats/beam/subscribers/{imsi}",
            "getBeamStats",
            "What is billed of a SIM",
            stats::of_subscriber,
        )
        .asks(&BUCKETS)
        .gives(200, Shape::List(&Shape::Named("BeamStats"))),
        operation(
            Method::POST,
            "/v1/stats/beam/operators/{operator_id}/export",
            "exportBeamStats",
            "What is billed of all SIMs, as a file of CSV",
            stats::export,
        )
        .asks(&[export_mode])
        .takes(Shape::Named("ExportRequest"))
        .gives(200, Shape::Named("ExportResponse")),
        operation(
            Method::GET,
            "/v1/files/exported/{exported_file_id}",
            "getExportedFile",
            "Where a file is fetched",
            stats::exported,
        )
        .gives(200, Shape::Named("ExportedFile")),
    ]
}
