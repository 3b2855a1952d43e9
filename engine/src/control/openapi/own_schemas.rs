//! Own schemas: the shapes of what the vendor's API lacks.

use super::schema::Shape::{
    Digits, Integer, List, Map, Named, Object, OneOf, OrNull, Switch, Text,
};
use super::schema::{Schema, Shape, always, maybe, schema};

const COUNTS: Shape = Map(&Named("BeamCount"));

const VERSION: Shape = OneOf(&["201912", "201509"]);

pub(super) const SCHEMAS: &[Schema] = &[
    schema(
        "Node",
        "The state of a process.",
        &[
            always("version", Text, ""),
            always("startedTime", Integer, ""),
            always("operatorId", Text, ""),
            always("draining", Switch, "Whether it is about to end."),
            always("registry", Named("NodeRegistry"), ""),
            always("listeners", List(&Named("Listener")), ""),
            always("sessions", Integer, "Sessions now."),
            always("sessionsMax", Integer, "Sessions that fit."),
            always("shards", List(&Named("Shard")), ""),
        ],
    ),
    schema(
        "NodeRegistry",
        "Where the fleet comes from.",
        &[always("kind", OneOf(&["file", "embedded"]), "")],
    ),
    schema(
        "Listener",
        "Where devices connect to.",
        &[always("network", Text, ""), always("address", Text, "")],
    ),
    schema(
        "Shard",
        "The state of one thread.",
        &[
            always("index", Integer, ""),
            always("connections", Integer, "Connections now."),
            always("sessions", Integer, "Those of them that are relayed."),
        ],
    ),
    schema(
        "Reloaded",
        "What is in effect now.",
        &[always("groups", Integer, "How many groups there are.")],
    ),
    schema(
        "AuditEntry",
        "Somebody's change.",
        &[
            always("time", Integer, "When."),
            always("user", Text, "Who."),
            always("action", Text, "What."),
            always("resource", Text, "To what."),
        ],
    ),
    schema(
        "Usage",
        "What is billed.",
        &[
            always("total", List(&Named("BeamStats")), "Of all SIMs."),
            always("platforms", Map(&COUNTS), "Of all SIMs, by version."),
            always("sims", List(&Named("SimUsage")), "SIMs that used most."),
        ],
    ),
    schema(
        "SimUsage",
        "What is billed of a SIM.",
        &[
            always("imsi", Text, ""),
            always("beamStatsMap", COUNTS, "By leg."),
        ],
    ),
    schema(
        "Connection",
        "A session that is relayed now.",
        &[
            always("id", Text, ""),
            always("imsi", Text, ""),
            always("simId", Text, ""),
            always("groupId", OrNull(&Text), "Its group, if it has one."),
            always("network", Text, ""),
            always("peer", Text, "The device's address and port."),
            always("upstream", Text, "The broker's address and port."),
            always("destination", Text, "The kind of destination."),
            always("platform", VERSION, "Whose rules hold."),
            always("mqttVersion", Text, "The device's."),
            always("tls", Switch, "Whether the upstream's leg is over TLS."),
            always("established", Switch, "Whether its CONNACK has come."),
            always("openedTime", Integer, ""),
            always("inMqtt", Integer, "Billed packets of the device's leg."),
            maybe(
                "outMqtt",
                Integer,
                "Of the upstream's leg, where it is plain.",
            ),
            maybe(
                "outMqtts",
                Integer,
                "Of the upstream's leg, where it is over TLS.",
            ),
        ],
    ),
    schema(
        "Explanation",
        "What a CONNECT would lead to.",
        &[always("text", Text, "For people, secrets masked.")],
    ),
    schema(
        "FleetDocument",
        "A fleet: all groups, credentials, SIMs and ranges.",
        &[
            maybe("groups", List(&Object), ""),
            maybe("credentials", List(&Object), ""),
            maybe("sims", List(&Named("FleetSim")), ""),
            maybe("simRanges", List(&Object), ""),
        ],
    ),
    schema(
        "FleetCounts",
        "What there is now.",
        &[
            always("groups", Integer, ""),
            always("sims", Integer, "Those that stand by themselves."),
            always("simRanges", Integer, ""),
        ],
    ),
    schema(
        "FleetSim",
        "A SIM with its addresses, as a fleet document has it.",
        &[
            always("simId", Digits(1, 22), ""),
            always("imsi", Digits(6, 15), ""),
            maybe("imei", OrNull(&Digits(14, 16)), ""),
            maybe("groupId", OrNull(&Text), ""),
            maybe("network", Text, "default where nothing is said."),
            maybe("ip", Text, "An address or a prefix."),
            maybe("ips", List(&Text), "Addresses and prefixes."),
            maybe(
                "status",
                OneOf(&crate::fleet::STATUSES),
                "Those that are active are served.",
            ),
            maybe("tags", Map(&Text), ""),
            maybe("description", Text, ""),
        ],
    ),
    schema(
        "SessionRequest",
        "An address that is to be a SIM's.",
        &[
            always("ip", Text, "An address or a prefix."),
            maybe("network", Text, "default where nothing is said."),
            maybe("imsi", Digits(6, 15), "Refused where the SIM has another."),
            maybe("imei", Digits(14, 16), ""),
        ],
    ),
    schema(
        "Preview",
        "What an entry point would change.",
        &[
            always("changes", List(&Named("PreviewChange")), ""),
            always("warnings", List(&Text), ""),
            always(
                "explain",
                OrNull(&Text),
                "What a CONNECT would lead to, where a SIM was named.",
            ),
        ],
    ),
    schema(
        "PreviewChange",
        "A key whose value would be another one.",
        &[
            always("key", Text, ""),
            always("before", Text, ""),
            always("after", Text, ""),
        ],
    ),
];
