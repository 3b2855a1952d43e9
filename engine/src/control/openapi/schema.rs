//! Schema: what values look like, as data, and how OpenAPI writes it.

use serde_json::{Map, Value, json};

/// What a value looks like.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    Text,
    /// A text of so many digits at least and at the most.
    Digits(u8, u8),
    OneOf(&'static [&'static str]),
    Integer,
    /// An integer that is this or more.
    AtLeast(usize),
    /// An integer between these.
    Between(usize, usize),
    Switch,
    /// An object that may hold anything.
    Object,
    Anything,
    /// A schema of the document.
    Named(&'static str),
    List(&'static Self),
    /// An object whose members all look like this.
    Map(&'static Self),
    OrNull(&'static Self),
}

impl Shape {
    pub(super) fn shown(self) -> Value {
        match self {
            Self::Text => json!({"type": "string"}),
            Self::Digits(min, max) => {
                json!({"type": "string", "pattern": format!("^[0-9]{{{min},{max}}}$")})
            }
            Self::OneOf(texts) => json!({"type": "string", "enum": texts}),
            Self::Integer => json!({"type": "integer", "format": "int64"}),
            Self::AtLeast(min) => json!({"type": "integer", "format": "int64", "minimum": min}),
            Self::Between(min, max) => {
                json!({"type": "integer", "format": "int64", "minimum": min, "maximum": max})
            }
            Self::Switch => json!({"type": "boolean"}),
            Self::Object => json!({"type": "object"}),
            Self::Anything => json!({}),
            Self::Named(name) => json!({"$ref": format!("#/components/schemas/{name}")}),
            Self::List(of) => json!({"type": "array", "items": of.shown()}),
            Self::Map(of) => json!({"type": "object", "additionalProperties": of.shown()}),
            Self::OrNull(of) => {
                let mut shown = of.shown();
                if let Some(fields) = shown.as_object_mut() {
                    fields.insert("nullable".to_owned(), Value::from(true));
                }
                shown
            }
        }
    }
}

/// A member of an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    shape: Shape,
    text: &'static str,
    is_needed: bool,
}

/// A member that is always there; an empty `text` where the name says it all.
pub(super) const fn always(name: &'static str, shape: Shape, text: &'static str) -> Field {
    Field {
        name,
        shape,
        text,
        is_needed: true,
    }
}

/// A member that may be missing.
pub(super) const fn maybe(name: &'static str, shape: Shape, text: &'static str) -> Field {
    Field {
        name,
        shape,
        text,
        is_needed: false,
    }
}

/// An object of the document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schema {
    pub(super) name: &'static str,
    pub(super) text: &'static str,
    pub(super) fields: &'static [Field],
}

pub(super) const fn schema(
    name: &'static str,
    text: &'static str,
    fields: &'static [Field],
) -> Schema {
    Schema { name, text, fields }
}

impl Schema {
    pub(super) fn shown(&self) -> Value {
        let mut shown = json!({"type": "object", "description": self.text});
        let mut properties = Map::new();
        for field in self.fields {
            let mut property = field.shape.shown();
            // Beside a reference nothing else counts.
            let is_reference = matches!(field.shape, Shape::Named(_));
            if let Some(fields) = property.as_object_mut()
                && !is_reference
                && !field.text.is_empty()
            {
                fields.insert("description".to_owned(), Value::from(field.text));
            }
            properties.insert(field.name.to_owned(), property);
        }
        let needed = self.fields.iter().filter(|field| field.is_needed);
        let needed: Vec<&str> = needed.map(|field| field.name).collect();
        if let Some(fields) = shown.as_object_mut() {
            fields.insert("properties".to_owned(), Value::Object(properties));
            if !needed.is_empty() {
                fields.insert("required".to_owned(), json!(needed));
            }
        }
        shown
    }
}
