//! Asking OpenAI's API for the usage of a stream.

use ziggurat_core::{
    Call, Field,
    json::{Cursor, Fault, find_member, key_is},
};

/// Whether an OpenAI caller asks for usage at the end of its stream.
#[must_use]
pub fn asks_for_usage(call: &Call) -> bool {
    let mut asked = false;
    if let Some(options) = call.field(Field::StreamOptions) {
        let mut cursor = Cursor::new(options);
        let _walked: Result<(), Fault> = cursor.object(|key, cursor| {
            if key_is(key, "include_usage") {
                asked = cursor.value()? == "true";
            }
            Ok(())
        });
    }
    asked
}

/// The call's `stream_options`, an object, with usage asked for.
#[must_use]
pub fn options_with_usage(call: &Call) -> Vec<u8> {
    let mut object = call.field(Field::StreamOptions).unwrap_or("{}").trim().to_owned();
    while let Some(cut) = find_member(&object, &["include_usage"]) {
        object.replace_range(cut, "");
    }
    let members = object.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default().trim();
    let separator = if members.is_empty() { "" } else { "," };
    format!("{{{members}{separator}\"include_usage\":true}}").into_bytes()
}
