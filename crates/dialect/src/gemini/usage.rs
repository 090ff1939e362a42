//! Usage as Google states it.

use serde_json::value::RawValue;
use ziggurat_core::{Convention, Dialect, Usage};

use crate::{
    Spent, Text,
    read::{Count, document, is_invalid, served_tier, stated, wire_object},
    write::Object,
};

wire_object! {
    struct WireUsage {
        prompt: Count = "promptTokenCount",
        candidates: Count = "candidatesTokenCount",
        thoughts: Count = "thoughtsTokenCount",
        tool_use: Count = "toolUsePromptTokenCount",
        cached: Count = "cachedContentTokenCount",
        total: Count = "totalTokenCount",
        prompt_details: Vec<WireModality<'a>> = "promptTokensDetails",
        candidates_details: Vec<WireModality<'a>> = "candidatesTokensDetails",
        service_tier: &'a RawValue = "serviceTier",
    }
    struct WireModality { modality: Text<'a> = "modality", tokens: Count = "tokenCount", }
}

/// Reads a `usageMetadata` object. Thoughts are counted beside the candidates, what the provider's own tools were told beside the prompt;
/// candidates of which there are no tokens are left out there, so that the total says what they are.
#[must_use]
pub fn read_usage(raw: &RawValue) -> Option<Spent<'_>> {
    let wire: WireUsage<'_> = document(raw.get()).ok()?;
    let mut counts = Usage::new(Convention::XAI);
    counts.invalid = is_invalid(wire.prompt) || is_invalid(wire.candidates);
    let tool_use = stated(wire.tool_use);
    counts.input =
        stated(wire.prompt).map(|prompt| prompt.saturating_add(tool_use.unwrap_or(0))).or(tool_use);
    counts.reasoning = stated(wire.thoughts);
    counts.output = stated(wire.candidates).or_else(|| {
        let others = counts.input?.checked_add(counts.reasoning.unwrap_or(0))?;
        stated(wire.total)?.checked_sub(others).filter(|_| wire.candidates.is_none())
    });
    counts.cached_read = stated(wire.cached);
    (counts.audio_input, counts.image_input) = media(wire.prompt_details.as_deref());
    (counts.audio_output, counts.image_output) = media(wire.candidates_details.as_deref());
    counts.tier = wire.service_tier.and_then(|raw| served_tier(raw.get()));
    (!counts.is_empty()).then_some(Spent { counts, dialect: Dialect::Gemini, raw })
}

/// The counts of audio and images.
fn media(details: Option<&[WireModality<'_>]>) -> (Option<u64>, Option<u64>) {
    let of = |name: &str| {
        let mut all = details.into_iter().flatten();
        all.find(|detail| detail.modality.as_ref().is_some_and(|own| *own == *name))
            .and_then(|detail| stated(detail.tokens))
    };
    (of("AUDIO"), of("IMAGE"))
}

/// Writes usage that another dialect stated.
pub(super) fn write_usage(out: &mut Object<'_>, counts: &Usage) {
    let (input, output) = (counts.input_total(), counts.output_total());
    let thoughts = counts.reasoning.map(|thoughts| thoughts.min(output.unwrap_or(thoughts)));
    out.number("promptTokenCount", input.unwrap_or(0));
    out.number("candidatesTokenCount", output.unwrap_or(0).saturating_sub(thoughts.unwrap_or(0)));
    out.number_if("thoughtsTokenCount", thoughts);
    out.number_if("cachedContentTokenCount", counts.cached_read);
    out.number("totalTokenCount", input.unwrap_or(0).saturating_add(output.unwrap_or(0)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thoughts_and_tool_prompts_stand_beside_and_a_missing_count_is_what_is_left() {
        let read = |json: &str| {
            let raw: &RawValue = serde_json::from_str(json).expect("is JSON");
            read_usage(raw).map(|spent| spent.counts)
        };
        let counts = read(
            r#"{"promptTokenCount":10,"toolUsePromptTokenCount":5,"candidatesTokenCount":3,"thoughtsTokenCount":4,
            "cachedContentTokenCount":8,"totalTokenCount":22,"serviceTier":"flex",
            "promptTokensDetails":[{"modality":"TEXT","tokenCount":7},{"modality":"AUDIO","tokenCount":3}]}"#,
        )
        .expect("is usage");
        assert_eq!((counts.input_total(), counts.output_total()), (Some(15), Some(7)));
        assert_eq!((counts.cached_read, counts.audio_input), (Some(8), Some(3)));
        assert_eq!(counts.tier.map(|tier| tier.as_str().to_owned()).as_deref(), Some("flex"));
        let silent = read(r#"{"promptTokenCount":10,"thoughtsTokenCount":4,"totalTokenCount":14}"#);
        assert_eq!(silent.map(|counts| (counts.output, counts.output_total())), Some((Some(0), Some(4))));
        assert_eq!(read(r#"{"promptTokenCount":10}"#).and_then(|counts| counts.output), None);
        assert!(
            read(r#"{"promptTokenCount":-1,"candidatesTokenCount":2}"#).is_some_and(|counts| counts.invalid)
        );
        assert_eq!(read(r#"{"trafficType":"ON_DEMAND"}"#), None);
    }
}
