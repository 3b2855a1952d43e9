//! OpenAPI: the API's description of itself, made of the table that the router is made of: what is described is
//! served, and the other way round. It is kept beside the sources as `engine/openapi.json`.

mod credentials_and_groups;
mod operation;
mod own;
mod own_schemas;
mod schema;
mod sims;
mod vendor_schemas;

use std::sync::{Arc, LazyLock};

use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};

pub(super) use self::operation::Operation;
use super::state::State;

/// The document, which stays what it is.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let mut text = format!("{:#}", document());
    text.push('\n');
    text
});

/// `GET /openapi.json`
pub(super) async fn openapi() -> impl IntoResponse {
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (headers, DOCUMENT.as_str())
}

/// Everything that is served, but for the console's files.
pub(super) fn operations() -> Vec<Operation> {
    let parts = [
        credentials_and_groups::operations(),
        sims::operations(),
        own::operations(),
    ];
    parts.into_iter().flatten().collect()
}

/// A router of those operations that are for everybody, or of those that are not.
pub(super) fn router(is_public: bool) -> axum::Router<Arc<State>> {
    let chosen = operations()
        .into_iter()
        .filter(|operation| operation.is_public == is_public);
    chosen.fold(axum::Router::new(), |router, operation| {
        router.route(operation.path, operation.route)
    })
}

fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations() {
        // A part that may hold slashes is one part to whoever escapes them.
        let path = operation.path.replace("{*", "{");
        let methods = paths.entry(path).or_insert_with(|| json!({}));
        if let Some(methods) = methods.as_object_mut() {
            methods.insert(operation.method_name(), operation.shown());
        }
    }
    let schemas = [vendor_schemas::SCHEMAS, own_schemas::SCHEMAS].concat();
    let schemas = schemas
        .iter()
        .map(|schema| (schema.name.to_owned(), schema.shown()));
    let key = |name: &str, text: &str| json!({"type": "apiKey", "in": "header", "name": name, "description": text});
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "ringbeam",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What lies under /v1 has the shapes of the vendor's API; what that lacks lies under \
                /ringbeam/v1. Times are milliseconds since 1970 where nothing else is said. Unknown members of \
                answers are to be passed over.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas.collect::<Map<_, _>>(),
            "securitySchemes": {
                "apiKey": key("X-Soracom-API-Key", "The apiKey of POST /v1/auth."),
                "apiToken": key("X-Soracom-Token", "The token of POST /v1/auth."),
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::fleet::KEYS;

    /// Everything that is referred to.
    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(fields) => {
                let reference = fields.get("$ref").and_then(Value::as_str);
                found.extend(reference.and_then(|path| path.strip_prefix("#/components/schemas/")));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn the_document_is_the_one_that_is_kept() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
        if std::env::var_os("RINGBEAM_BLESS").is_some() {
            std::fs::write(&path, DOCUMENT.as_str()).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            kept,
            DOCUMENT.as_str(),
            "RINGBEAM_BLESS=1 writes it as it is now"
        );
    }

    #[test]
    fn names_are_there_once_and_every_schema_is_of_use() {
        let operations = operations();
        let ids: BTreeSet<&str> = operations.iter().map(|operation| operation.id).collect();
        assert_eq!(ids.len(), operations.len());
        let document = document();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let there: BTreeSet<&str> = schemas.keys().map(String::as_str).collect();
        assert_eq!(found, there);
    }

    #[test]
    fn every_part_of_a_path_is_described() {
        for operation in operations() {
            let shown = operation.shown();
            let none = Vec::new();
            let parameters = shown["parameters"].as_array().unwrap_or(&none);
            let described = parameters
                .iter()
                .filter(|parameter| parameter["in"] == "path");
            assert_eq!(
                described.count(),
                operation.path.matches('{').count(),
                "{}",
                operation.path
            );
        }
    }

    #[test]
    fn b_cfg_1_every_key_of_an_entry_point_is_described() {
        let schemas = vendor_schemas::SCHEMAS.iter();
        let mut entry_points = schemas.filter(|schema| schema.name == "EntryPoint");
        let fields = entry_points.next().unwrap().fields;
        let described: Vec<&str> = fields.iter().map(|field| field.name).collect();
        let known: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
        assert_eq!(described, known);
    }
}
