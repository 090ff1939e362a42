//! `GET /v1/models`, in the shape that the caller reads.

use http::{HeaderMap, HeaderValue, Response, header};
use serde_json::json;
use ziggurat_core::Body;

/// Lists model names. Anthropic's SDKs are known by the version header that they always send.
pub(crate) fn list(names: &[&str], headers: &HeaderMap) -> Response<Body> {
    let body = match headers.contains_key("anthropic-version") {
        true => json!({
            "data": names.iter().map(|name| json!({
                "type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z",
            })).collect::<Vec<_>>(),
            "first_id": names.first(),
            "last_id": names.last(),
            "has_more": false,
        }),
        false => json!({
            "object": "list",
            "data": names.iter().map(|name| json!({
                "id": name, "object": "model", "created": 0, "owned_by": "ziggurat",
            })).collect::<Vec<_>>(),
        }),
    };
    let mut response = Response::new(Body::from(body.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
