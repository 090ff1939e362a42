//! `GET /v1/models` and `GET /v1/models/{model}`, in the shape that the caller reads.

use http::{HeaderMap, HeaderValue, Response, header};
use serde_json::{Value, json};
use ziggurat_core::{Body, Dialect};

/// In whose shape a caller is told of models. Anthropic's SDKs are known by the version header that they always send, Google's by the path.
pub(crate) fn shape(of_path: Dialect, headers: &HeaderMap) -> Dialect {
    if headers.contains_key("anthropic-version") { Dialect::Anthropic } else { of_path }
}

/// Lists models, on one page.
pub(crate) fn list(names: &[&str], shape: Dialect) -> Response<Body> {
    let models: Vec<_> = names.iter().map(|name| told(name, shape)).collect();
    respond(&match shape {
        Dialect::Anthropic => json!({
            "data": models, "first_id": names.first(), "last_id": names.last(), "has_more": false,
        }),
        Dialect::Gemini => json!({ "models": models }),
        _ => json!({ "object": "list", "data": models }),
    })
}

/// Tells of one model.
pub(crate) fn one(name: &str, shape: Dialect) -> Response<Body> {
    respond(&told(name, shape))
}

fn told(name: &str, shape: Dialect) -> Value {
    match shape {
        Dialect::Anthropic => json!({
            "type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z",
        }),
        Dialect::Gemini => json!({ "name": format!("models/{name}"), "displayName": name }),
        _ => json!({ "id": name, "object": "model", "created": 0, "owned_by": "ziggurat" }),
    }
}

fn respond(body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
