//! Operation: one thing that can be asked for: where, by whom, with what, what is answered, and what serves it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};
use serde_json::{Map, Value, json};

use super::schema::Shape;
use crate::control::groups::NAMESPACES;
use crate::control::limits::{PAGE, PAGE_MAX};
use crate::control::state::State;

/// A parameter of the query.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameter {
    name: &'static str,
    shape: Shape,
    text: &'static str,
    is_needed: bool,
}

/// One that may be left out.
pub(super) const fn query(name: &'static str, shape: Shape, text: &'static str) -> Parameter {
    Parameter {
        name,
        shape,
        text,
        is_needed: false,
    }
}

/// One that must be there.
pub(super) const fn needed(name: &'static str, shape: Shape, text: &'static str) -> Parameter {
    Parameter {
        name,
        shape,
        text,
        is_needed: true,
    }
}

const LIMIT: Parameter = query(
    "limit",
    Shape::AtLeast(1),
    "How many elements at the most: 100 where nothing is said, and never more than 1000.",
);
const _: () = assert!(
    PAGE == 100 && PAGE_MAX == 1000,
    "what is described is what holds"
);

const LAST_KEY: Parameter = query(
    "last_evaluated_key",
    Shape::Text,
    "The x-soracom-next-key of the page before.",
);

/// What the parts of paths are.
const PARTS: [(&str, Shape, &str); 11] = [
    ("credentials_id", Shape::Text, "A credential's id."),
    ("group_id", Shape::Text, "A group's id."),
    (
        "namespace",
        Shape::OneOf(&NAMESPACES),
        "A namespace of a group's configuration.",
    ),
    (
        "name",
        Shape::Text,
        "A key of the namespace, escaped as one part of the path.",
    ),
    (
        "tag_name",
        Shape::Text,
        "A tag's name, escaped as one part of the path.",
    ),
    ("sim_id", Shape::Text, "A SIM's id."),
    ("imsi", Shape::Text, "A SIM's IMSI."),
    (
        "operator_id",
        Shape::Text,
        "The operatorId of POST /v1/auth.",
    ),
    (
        "exported_file_id",
        Shape::Text,
        "The exportedFileId of an export.",
    ),
    ("file", Shape::Text, "An export's id, and .csv behind it."),
    ("id", Shape::Text, "A connection's id."),
];

const JSON: &str = "application/json";

/// What people read.
pub(super) const PLAIN: &str = "text/plain";

/// What every refusal looks like.
const PROBLEM: Content = Content::Json(Shape::Named("Error"));

/// What is answered beside a status.
#[derive(Clone, Copy, Debug)]
enum Content {
    Nothing,
    Json(Shape),
    /// A list, which may go on.
    Page(Shape),
    /// Text of a media type.
    Text(&'static str),
}

/// What an answer's status means.
const MEANINGS: [(u16, &str); 13] = [
    (200, "What was asked for, or what became of it."),
    (201, "It was made."),
    (202, "It was begun."),
    (204, "It was done."),
    (
        400,
        "It cannot be understood, or not be served: the message says where and why.",
    ),
    (401, "Nobody has signed in with this, or not of late."),
    (404, "There is no such thing."),
    (409, "There is one already, or somebody else has the say."),
    (413, "The body is too large."),
    (
        429,
        "It was tried too often; Retry-After says how many seconds to wait.",
    ),
    (501, "This needs a registry that can be changed."),
    (503, "Not now."),
    (
        507,
        "There is no room to store it; the message says whether what it takes away is in effect.",
    ),
];

/// One thing that can be asked for.
pub(in crate::control) struct Operation {
    method: Method,
    pub(super) path: &'static str,
    pub(super) id: &'static str,
    summary: &'static str,
    tag: &'static str,
    query: Vec<Parameter>,
    body: Option<Shape>,
    answers: BTreeMap<u16, Content>,
    pub(super) is_public: bool,
    pub(super) route: MethodRouter<Arc<State>>,
}

/// One that is served by a handler: method, path, id in the document, and what it is for.
pub(super) fn operation<H, T>(
    method: Method,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    handler: H,
) -> Operation
where
    H: Handler<T, Arc<State>>,
    T: 'static,
{
    let filter = MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::GET);
    Operation::new((method, path), id, summary, on(filter, handler))
}

/// The operations of one kind.
pub(super) fn tagged(tag: &'static str, operations: Vec<Operation>) -> Vec<Operation> {
    let operations = operations.into_iter();
    operations
        .map(|operation| Operation { tag, ..operation })
        .collect()
}

impl Operation {
    /// One that is served by a route of this method.
    pub(super) fn new(
        (method, path): (Method, &'static str),
        id: &'static str,
        summary: &'static str,
        route: MethodRouter<Arc<State>>,
    ) -> Self {
        let mut answers = BTreeMap::from([(401, PROBLEM), (503, PROBLEM)]);
        if method != Method::GET {
            answers.insert(507, PROBLEM);
        }
        if path.contains('{') {
            answers.extend([(400, PROBLEM), (404, PROBLEM)]);
        }
        Self {
            method,
            path,
            id,
            summary,
            tag: "",
            query: Vec::new(),
            body: None,
            answers,
            is_public: false,
            route,
        }
    }

    /// For everybody.
    pub(super) fn public(mut self) -> Self {
        self.is_public = true;
        self.answers
            .retain(|status, _| ![401, 503, 507].contains(status));
        self
    }

    /// With parameters of the query.
    pub(super) fn asks(mut self, query: &[Parameter]) -> Self {
        self.query.extend_from_slice(query);
        self.answers.insert(400, PROBLEM);
        self
    }

    /// With a body of JSON.
    pub(super) fn takes(mut self, body: Shape) -> Self {
        self.body = Some(body);
        self.answers.extend([(400, PROBLEM), (413, PROBLEM)]);
        self
    }

    /// Answers JSON with this status.
    pub(super) fn gives(self, status: u16, shape: Shape) -> Self {
        self.answers(status, Content::Json(shape))
    }

    /// Answers part of a list, with how much and which.
    pub(super) fn gives_pages(self, of: Shape) -> Self {
        self.asks(&[LIMIT]).gives_next_pages(of)
    }

    /// The same, where the length of a page is its own.
    pub(super) fn gives_next_pages(self, of: Shape) -> Self {
        self.asks(&[LAST_KEY]).answers(200, Content::Page(of))
    }

    /// Answers text of a media type.
    pub(super) fn gives_text(self, media_type: &'static str) -> Self {
        self.answers(200, Content::Text(media_type))
    }

    /// Answers a status alone.
    pub(super) fn gives_nothing(self, status: u16) -> Self {
        self.answers(status, Content::Nothing)
    }

    /// May be refused with this status.
    pub(super) fn or(self, status: u16) -> Self {
        self.answers(status, PROBLEM)
    }

    /// May answer text with a status that is no success.
    pub(super) fn or_text(self, status: u16) -> Self {
        self.answers(status, Content::Text(PLAIN))
    }

    fn answers(mut self, status: u16, content: Content) -> Self {
        self.answers.insert(status, content);
        self
    }

    /// Its method, as OpenAPI writes it.
    pub(super) fn method_name(&self) -> String {
        self.method.as_str().to_lowercase()
    }

    /// As OpenAPI writes it.
    pub(super) fn shown(&self) -> Value {
        let mut shown = Map::new();
        let mut put = |key: &str, value: Value| shown.insert(key.to_owned(), value);
        put("operationId", json!(self.id));
        put("tags", json!([self.tag]));
        put("summary", json!(self.summary));
        let parameters: Vec<Value> = self.parts().chain(self.asked()).collect();
        if !parameters.is_empty() {
            put("parameters", Value::Array(parameters));
        }
        if let Some(body) = self.body {
            put(
                "requestBody",
                json!({"required": true, "content": {JSON: {"schema": body.shown()}}}),
            );
        }
        let answers = self.answers.iter();
        let answers = answers.map(|(status, content)| (status.to_string(), content.shown(*status)));
        put("responses", Value::Object(answers.collect()));
        put(
            "security",
            if self.is_public {
                json!([])
            } else {
                json!([{"apiKey": [], "apiToken": []}])
            },
        );
        Value::Object(shown)
    }

    /// The parts of its path.
    fn parts(&self) -> impl Iterator<Item = Value> {
        let parts = PARTS.iter().filter(|(name, _, _)| {
            let is_part =
                |part: &str| part.trim_start_matches(['{', '*']).strip_suffix('}') == Some(name);
            self.path.split('/').any(is_part)
        });
        parts.map(|(name, shape, text)| {
            json!({"name": name, "in": "path", "required": true, "description": text, "schema": shape.shown()})
        })
    }

    fn asked(&self) -> impl Iterator<Item = Value> {
        self.query.iter().map(|parameter| {
            json!({
                "name": parameter.name,
                "in": "query",
                "required": parameter.is_needed,
                "description": parameter.text,
                "schema": parameter.shape.shown(),
            })
        })
    }
}

impl Content {
    fn shown(self, status: u16) -> Value {
        let meaning = MEANINGS.iter().find(|(known, _)| *known == status);
        let meaning = meaning.map(|(_, text)| *text).unwrap_or_default();
        let content = |media_type: &str, schema: Value| json!({media_type: {"schema": schema}});
        let mut shown = json!({"description": meaning});
        let fields = match self {
            Self::Nothing => return shown,
            Self::Json(shape) => json!({"content": content(JSON, shape.shown())}),
            Self::Text(media_type) => json!({"content": content(media_type, Shape::Text.shown())}),
            Self::Page(of) => {
                let header =
                    |text: &str| json!({"description": text, "schema": {"type": "string"}});
                json!({
                    "content": content(JSON, json!({"type": "array", "items": of.shown()})),
                    "headers": {
                        "x-soracom-next-key": header("Where there is more: what to ask for it with."),
                        "link": header("Where there is more: its address, with rel=next."),
                    },
                })
            }
        };
        if let (Some(shown), Value::Object(fields)) = (shown.as_object_mut(), fields) {
            shown.extend(fields);
        }
        shown
    }
}
