//! Pieces of JSON Schema (2020-12) for files of this house. Each says no more and no less than the
//! reader takes; what hangs on other parts of a file stays the reader's to judge.

use serde_json::{Map, Value, json};

/// A map of fields, as [`super::reader::Fields`] reads one: `what` is the reader's name for it.
/// Unknown fields are refused.
pub fn object(what: &str, fields: Vec<(&str, Value)>, needed: &[&str]) -> Value {
    let properties: Map<String, Value> =
        fields.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
    let mut schema = json!({
        "title": what.trim_matches('`'),
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    });
    if !needed.is_empty() {
        schema["required"] = json!(needed);
    }
    schema
}

/// With a sentence for people.
pub fn about(mut schema: Value, text: &str) -> Value {
    schema["description"] = json!(text);
    schema
}

/// Text, quoted or not: `4.2` and `true` are text too where text is wanted.
pub fn text() -> Value {
    json!({ "type": ["string", "number", "boolean"] })
}

/// `true` or `false`.
pub fn flag() -> Value {
    json!({ "type": "boolean" })
}

/// A whole number.
pub fn number(low: u32, high: u32) -> Value {
    json!({ "type": "integer", "minimum": low, "maximum": high })
}

/// A list that is not empty.
pub fn list(items: Value) -> Value {
    json!({ "type": "array", "items": items, "minItems": 1 })
}

/// Texts, each once.
pub fn texts() -> Value {
    json!({ "type": "array", "items": text(), "minItems": 1, "uniqueItems": true })
}

/// One of a few words.
pub fn words<'w>(words: impl IntoIterator<Item = &'w str>) -> Value {
    json!({ "enum": words.into_iter().collect::<Vec<_>>() })
}

/// A map whose keys are names of the file's own.
pub fn map(values: Value) -> Value {
    json!({
        "type": "object",
        "propertyNames": { "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$" },
        "additionalProperties": values,
    })
}

/// One of several forms.
pub fn any(forms: Vec<Value>) -> Value {
    json!({ "anyOf": forms })
}

/// An object that says exactly one of these fields.
pub fn exactly_one(mut object: Value, of: &[&str]) -> Value {
    let forms: Vec<Value> = of.iter().map(|field| json!({ "required": [field] })).collect();
    object["oneOf"] = json!(forms);
    object
}

/// The head of a whole schema.
pub fn document(title: &str, mut schema: Value) -> Value {
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!(title);
    schema
}

/// What a schema says of each object of fields, by its name: for tests that hold it against what a
/// reader asks for.
#[cfg(test)]
pub(crate) fn fields_of(
    schema: &Value,
) -> std::collections::BTreeMap<String, std::collections::BTreeSet<String>> {
    let mut out: std::collections::BTreeMap<_, std::collections::BTreeSet<_>> =
        std::collections::BTreeMap::new();
    let mut queue = vec![schema];
    while let Some(schema) = queue.pop() {
        if let (Some(title), Some(Value::Object(properties))) =
            (schema["title"].as_str(), schema.get("properties"))
        {
            let fields: &mut std::collections::BTreeSet<String> =
                out.entry(title.to_owned()).or_default();
            fields.extend(properties.keys().cloned());
        }
        match schema {
            Value::Object(map) => queue.extend(map.values()),
            Value::Array(list) => queue.extend(list),
            _ => {}
        }
    }
    out
}
