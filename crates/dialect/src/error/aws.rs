//! How AWS says what went wrong: by the name of an exception, in a header, in the body or as a stream's event.

use http::StatusCode;
use serde_json::Value;
use ziggurat_core::Cause;

/// Where the name stands in an answer's head.
pub(super) const ERROR_TYPE: &str = "x-amzn-errortype";

/// The name within `ns#Name` or `Name:http://..`.
pub(super) fn class(named: &str) -> &str {
    let name = named.rsplit_once('#').map_or(named, |(_, name)| name);
    name.split(':').next().unwrap_or_default().trim()
}

/// The cause behind an exception's name, which in streams begins with a small letter; `None` where the name says no more than the status and
/// the words do. From Bedrock's API reference ("Common Errors", "Converse") and the signature's errors of AWS's general reference.
pub(super) fn cause(status: u16, kind: &str, message: &str) -> Option<Cause> {
    let name = kind.strip_suffix("Exception").unwrap_or(kind).to_ascii_lowercase();
    Some(match &*name {
        "accessdenied" => Cause::PermissionDenied,
        "unrecognizedclient"
        | "invalidsignature"
        | "expiredtoken"
        | "missingauthenticationtoken"
        | "incompletesignature"
        | "invalidclienttokenid"
        | "signaturedoesnotmatch" => Cause::InvalidKey,
        "throttling" | "toomanyrequests" => Cause::RateLimit,
        "servicequotaexceeded" => Cause::Quota,
        "modeltimeout" => Cause::Timeout,
        "modelerror" | "modelstreamerror" => Cause::Upstream,
        "modelnotready" | "serviceunavailable" => Cause::Overloaded,
        "internalserver" | "internalfailure" => Cause::Internal,
        _ if matches!(status, 0 | 400) && is_model(message) => Cause::ModelNotFound,
        _ if status == 403 && is_key(message) => Cause::InvalidKey,
        // Nobody else's: the model failed.
        _ if status == 424 => Cause::Upstream,
        _ => return None,
    })
}

/// The status with which the model itself answered, where the name says that the model failed.
pub(super) fn original_status(kind: &str, body: &[u8]) -> Option<StatusCode> {
    let failed = ["modelerrorexception", "modelstreamerrorexception"];
    if !failed.contains(&&*kind.to_ascii_lowercase()) {
        return None;
    }
    let body: Value = serde_json::from_slice(body).ok()?;
    let status = u16::try_from(body.get("originalStatusCode")?.as_u64()?).ok()?;
    StatusCode::from_u16(status).ok().filter(|status| status.is_client_error() || status.is_server_error())
}

fn is_model(message: &str) -> bool {
    message.contains("model identifier is invalid")
}

/// How AWS refuses a key where only the words say so.
fn is_key(message: &str) -> bool {
    ["security token included in the request is", "request signature we calculated", "signature expired"]
        .iter()
        .any(|words| message.contains(words))
}
