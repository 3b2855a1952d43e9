//! Vendor schemas: the shapes of what the vendor's API has too, as far as it is there here.

use super::schema::Shape::{Integer, Map, Named, Object, OneOf, Switch, Text};
use super::schema::{Schema, Shape, always, maybe, schema};

const TAGS: Shape = Map(&Text);

const STATUS: Shape = OneOf(&crate::fleet::STATUSES);

const PERIOD: Shape = OneOf(&["month", "day", "minutes"]);

const SECONDS: Shape = Shape::Between(0, 4_294_967_295);

/// `{"$credentialsId": "…"}`
const REFERENCE: Shape = Named("CredentialReference");

const CREDENTIAL_TYPE: Shape = Text;

pub(super) const SCHEMAS: &[Schema] = &[
    schema(
        "Error",
        "Why something was refused.",
        &[
            always("code", Text, "RBM and the status."),
            always("message", Text, "A line for each reason, for people."),
        ],
    ),
    schema(
        "AuthRequest",
        "Who somebody is: email and password, or authKeyId and authKey.",
        &[
            maybe("email", Text, ""),
            maybe("password", Text, ""),
            maybe("authKeyId", Text, "From `ringbeam user add-key`."),
            maybe("authKey", Text, "From `ringbeam user add-key`."),
            maybe(
                "tokenTimeoutSeconds",
                Shape::Between(1, 172_800),
                "How long the token is good for; 86400 where nothing is said.",
            ),
        ],
    ),
    schema(
        "AuthResponse",
        "What every other request shows.",
        &[
            always("apiKey", Text, "For the header X-Soracom-API-Key."),
            always("operatorId", Text, "Whom everything here belongs to."),
            always("token", Text, "For the header X-Soracom-Token."),
        ],
    ),
    schema(
        "CredentialRequest",
        "A credential as it is to be.",
        &[
            always("type", CREDENTIAL_TYPE, "Which members credentials has."),
            maybe("description", Text, ""),
            always("credentials", Object, "Secrets, and what belongs to them."),
        ],
    ),
    schema(
        "Credential",
        "A credential; what is secret in it reads ********.",
        &[
            always("credentialsId", Text, ""),
            always("type", CREDENTIAL_TYPE, "Which members credentials has."),
            always("description", Text, ""),
            always("credentials", Object, "What it holds, secrets masked."),
            always("createDateTime", Integer, "When it was made."),
            always("updateDateTime", Integer, "When it was changed last."),
            always("lastUsedDateTime", Integer, "Not kept: 0."),
        ],
    ),
    schema(
        "CredentialReference",
        "A credential by its id.",
        &[always("$credentialsId", Text, "Its id.")],
    ),
    schema(
        "GroupRequest",
        "A group as it is to be.",
        &[
            maybe("tags", TAGS, ""),
            maybe("configuration", Named("Configuration"), ""),
        ],
    ),
    schema(
        "Group",
        "A group; passwords in its configuration read ********.",
        &[
            always("groupId", Text, ""),
            always("operatorId", Text, ""),
            always("tags", TAGS, ""),
            always("configuration", Named("Configuration"), ""),
            always("createdTime", Integer, "When it was made."),
            always("lastModifiedTime", Integer, "When it was changed last."),
        ],
    ),
    schema(
        "Configuration",
        "Values by namespace and key. SoracomBeam has a meaning here; the others are kept as they are.",
        &[maybe("SoracomBeam", Named("Beam"), "")],
    ),
    schema(
        "Beam",
        "The entry points of a group: the one of MQTT has a meaning here.",
        &[maybe(
            "mqtt://beam.soracom.io:1883",
            Named("EntryPoint"),
            "",
        )],
    ),
    schema(
        "EntryPoint",
        "Where messages of a group's SIMs go, and what is changed in them. What is left out is at its default.",
        &[
            maybe("name", Text, ""),
            maybe("enabled", Switch, "false: its SIMs are refused."),
            maybe(
                "destination",
                Text,
                "mqtt://host[:port] or mqtts://host[:port].",
            ),
            maybe("username", Text, "May hold placeholders such as #{imsi}."),
            maybe("password", Text, "Is never shown."),
            maybe(
                "useClientCredentials",
                Switch,
                "Whether the device's own user name and password go on.",
            ),
            maybe(
                "useClientCert",
                Switch,
                "Whether a certificate is shown to the broker.",
            ),
            maybe("clientCerts", Named("ClientCertificates"), ""),
            maybe("usePubnub", Switch, ""),
            maybe("pubnubCredential", REFERENCE, ""),
            maybe("useGoogleIoT", Switch, ""),
            maybe("googleIoTCredential", REFERENCE, ""),
            maybe("useAzureIoT", Switch, ""),
            maybe("azureIoTCredential", REFERENCE, ""),
            maybe(
                "addSubscriberHeader",
                Switch,
                "Whether topics say which SIM they are from.",
            ),
            maybe(
                "replaceTopic",
                Switch,
                "Whether placeholders in topics are filled in.",
            ),
            maybe("version", OneOf(&["201912", "201509"]), "Whose rules hold."),
            maybe(
                "rewriteWill",
                Switch,
                "Whether a will's topic is changed as others are.",
            ),
            maybe(
                "renewUpstream",
                Switch,
                "Whether a lost upstream is replaced while the device stays.",
            ),
            maybe("ringbeamLimits", Named("Limits"), ""),
            maybe(
                "whenUnavailable",
                OneOf(&["close", "connack"]),
                "What a device is told while the broker cannot be had.",
            ),
        ],
    ),
    schema(
        "ClientCertificates",
        "Certificates by name.",
        &[maybe("default", REFERENCE, "")],
    ),
    schema(
        "Limits",
        "What one SIM may send; 0 is no limit.",
        &[
            maybe("messagesPerSecond", SECONDS, ""),
            maybe("bytesPerSecond", SECONDS, ""),
        ],
    ),
    schema(
        "Parameter",
        "A value of a namespace.",
        &[
            always("key", Text, ""),
            always("value", Shape::Anything, "What it is to be."),
        ],
    ),
    schema(
        "Tag",
        "A tag as it is to be.",
        &[always("tagName", Text, ""), always("tagValue", Text, "")],
    ),
    schema(
        "SimRequest",
        "A SIM without an address: there is one kind.",
        &[
            always("type", OneOf(&["virtual"]), ""),
            always("subscription", OneOf(&["planArc01"]), ""),
        ],
    ),
    schema(
        "SetGroupRequest",
        "The group that a SIM is to be in.",
        &[always("groupId", Text, "")],
    ),
    schema(
        "Capabilities",
        "What a SIM can do.",
        &[always("data", Switch, ""), always("sms", Switch, "")],
    ),
    schema(
        "SessionStatus",
        "Whether an address leads to a SIM, and which.",
        &[
            always("online", Switch, ""),
            always("imsi", Text, ""),
            maybe("imei", Text, ""),
            maybe(
                "ueIpAddress",
                Text,
                "An address, or a prefix where there are several.",
            ),
            maybe("lastUpdatedAt", Integer, "When the packet core said so."),
            maybe("subscription", Text, ""),
            maybe("sessionId", Text, "The packet core's."),
        ],
    ),
    schema(
        "Sim",
        "A SIM.",
        &[
            always("simId", Text, ""),
            always("operatorId", Text, ""),
            always("type", OneOf(&["virtual", "uicc"]), ""),
            always("status", STATUS, "Those that are active are served."),
            always("tags", TAGS, ""),
            always(
                "createdTime",
                Integer,
                "When it was made; 0 for a member of a range.",
            ),
            always(
                "lastModifiedTime",
                Integer,
                "When it was changed last; 0 for a member of a range.",
            ),
            always("speedClass", Text, ""),
            always("capabilities", Named("Capabilities"), ""),
            always("activeProfileId", Text, ""),
            always(
                "profiles",
                Map(&Named("SimProfile")),
                "One, by the SIM's id.",
            ),
            always("sessionStatus", Named("SessionStatus"), ""),
            maybe("groupId", Text, "Its group, if it has one."),
            always("network", Text, "Where its own addresses belong to."),
            maybe("ip", Text, "Its own address or prefix, if it has one."),
            maybe("ips", Shape::List(&Text), "Its own addresses and prefixes."),
            maybe("imei", Text, ""),
        ],
    ),
    schema(
        "SimProfile",
        "The numbers of a SIM.",
        &[
            always("iccid", Text, ""),
            always("primaryImsi", Text, ""),
            always(
                "subscribers",
                Map(&Named("ProfileSubscriber")),
                "One, by its IMSI.",
            ),
        ],
    ),
    schema(
        "ProfileSubscriber",
        "A number of a SIM.",
        &[
            always("imsi", Text, ""),
            always("status", OneOf(&["active"]), ""),
            always("subscription", Text, ""),
            always("capabilities", Named("Capabilities"), ""),
        ],
    ),
    schema(
        "Subscriber",
        "A SIM by its IMSI.",
        &[
            always("imsi", Text, ""),
            always("simId", Text, ""),
            always("iccid", Text, ""),
            always("operatorId", Text, ""),
            always("status", STATUS, "Those that are active are served."),
            always("type", Text, ""),
            always("speedClass", Text, ""),
            always("subscription", Text, ""),
            always("plan", Integer, ""),
            always("tags", TAGS, ""),
            always(
                "createdAt",
                Integer,
                "When it was made; 0 for a member of a range.",
            ),
            always("createdTime", Integer, "The same."),
            always(
                "lastModifiedAt",
                Integer,
                "When it was changed last; 0 for a member of a range.",
            ),
            always("lastModifiedTime", Integer, "The same."),
            always("sessionStatus", Named("SessionStatus"), ""),
            maybe("ipAddress", Text, "The address that leads to it."),
            maybe(
                "apn",
                Text,
                "The access point, where the packet core said one.",
            ),
            maybe("groupId", Text, "Its group, if it has one."),
        ],
    ),
    schema(
        "SessionEvent",
        "A SIM got, kept or lost an address.",
        &[
            always("event", OneOf(&["Created", "Modified", "Deleted"]), ""),
            always("time", Integer, "When."),
            always("createdTime", Text, "The same as text."),
            always("imsi", Text, ""),
            always("simId", Text, ""),
            always("operatorId", Text, ""),
            always(
                "ueIpAddress",
                Text,
                "An address, or a prefix where there are several.",
            ),
            maybe("imei", Text, ""),
            maybe("apn", Text, ""),
            maybe("sessionId", Text, ""),
        ],
    ),
    schema(
        "LogEntry",
        "Something that happened to a connection of a SIM.",
        &[
            always("time", Integer, "When."),
            always("resourceType", OneOf(&["Subscriber"]), ""),
            always("resourceId", Text, "The IMSI."),
            always("service", OneOf(&["Beam"]), ""),
            always("logLevel", OneOf(&["error", "warning", "info"]), ""),
            always("operatorId", Text, ""),
            always("body", Object, "What there is to say."),
        ],
    ),
    schema(
        "BeamCount",
        "Billed packets of one leg.",
        &[always("count", Integer, "")],
    ),
    schema(
        "BeamStats",
        "What is billed in one bucket of time; empty ones are left out.",
        &[
            always(
                "date",
                Text,
                "The bucket's year and month, and day, hour and minute.",
            ),
            always("unixtime", Integer, "Its first second."),
            always(
                "beamStatsMap",
                Map(&Named("BeamCount")),
                "inMqtt is the device's leg; outMqtt and outMqtts the upstream's, plain and over TLS.",
            ),
        ],
    ),
    schema(
        "ExportRequest",
        "A time of figures, which is widened to whole buckets.",
        &[
            always("from", SECONDS, "A second of the first bucket."),
            always("to", SECONDS, "A second of the last bucket."),
            maybe(
                "period",
                PERIOD,
                "How long a bucket is; minutes are five; month where nothing is said.",
            ),
        ],
    ),
    schema(
        "ExportResponse",
        "A file that was written.",
        &[
            maybe("exportedFileId", Text, "Unless the mode is sync."),
            maybe(
                "exportedFilePath",
                Text,
                "Its name, unless the mode is sync.",
            ),
            maybe(
                "url",
                Text,
                "Where it is fetched on this server, if the mode is sync.",
            ),
        ],
    ),
    schema(
        "ExportedFile",
        "A file that can be fetched.",
        &[
            always("status", OneOf(&["exported"]), ""),
            always("url", Text, "Where, on this server."),
        ],
    ),
];
