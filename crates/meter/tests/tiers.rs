//! The service tier, as it is read from an answer that passes.

mod support;

use ziggurat_core::{Dialect, Tier};
use ziggurat_meter::Options;

use crate::support::*;

#[tokio::test]
async fn the_tier_of_a_stream_is_on_record_and_its_bytes_pass() {
    for dialect in DIALECTS {
        let text = match dialect {
            Dialect::Anthropic => {
                stream(dialect).replacen("\"usage\":{", "\"usage\":{\"service_tier\":\"flex\",", 1)
            }
            _ => stream(dialect).replacen("{\"id\":\"c\",", "{\"id\":\"c\",\"service_tier\":\"flex\",", 1),
        };
        let (passed, attempt) = pass_listened(Options::new(dialect), [Step::data(text.clone())]).await;
        assert_eq!(passed, text);
        let usage = attempt.usage.expect("is stated");
        assert_eq!((usage.input, usage.output, usage.tier), (Some(3), Some(5), Tier::new("flex")));
    }
}
