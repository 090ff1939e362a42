//! What answers that are no chats say was used: transcriptions, speech, images.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use ziggurat_core::{Convention, Operation, Usage};

use super::read_usage;
use crate::read::{Count, document, stated, wire_object};

wire_object! {
    struct WireUsage {
        input_tokens: Count = "input_tokens",
        output_tokens: Count = "output_tokens",
        // Of images, and of transcriptions.
        inputs: WireDetails<'a> = "input_tokens_details",
        input: WireDetails<'a> = "input_token_details",
        outputs: WireDetails<'a> = "output_tokens_details",
        seconds: &'a RawValue = "seconds",
    }
    struct WireDetails {
        audio_tokens: Count = "audio_tokens",
        image_tokens: Count = "image_tokens",
        cached_tokens: Count = "cached_tokens",
    }
}

/// The members of a whole answer that say what was used.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    /// Of a transcription in detail, in seconds.
    #[serde(borrow)]
    duration: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// Reads what a whole answer to `operation`, which is JSON, says was used.
#[must_use]
pub fn read_media_answer(operation: Operation, text: &str) -> Option<Usage> {
    let answer: Answer<'_> = serde_json::from_str(text).ok()?;
    let mut usage = answer.usage.and_then(|raw| read_media_usage(raw, operation.is_drawn()));
    let mut known = usage.unwrap_or(Usage::new(Convention::OPENAI));
    if operation.is_heard() && known.is_empty() {
        known.heard = answer.duration.and_then(seconds);
    }
    if operation.is_drawn() {
        let images: Option<Vec<serde::de::IgnoredAny>> =
            answer.data.and_then(|data| serde_json::from_str(data.get()).ok());
        known.images = images.map(|images| images.len() as u64);
    }
    if !known.is_empty() {
        usage = Some(known);
    }
    usage
}

/// Reads the usage of an event of a streamed transcription, speech or image.
#[must_use]
pub fn read_event_usage(text: &str) -> Option<Usage> {
    let answer: Answer<'_> = serde_json::from_str(text).ok()?;
    read_media_usage(answer.usage?, text.contains("\"image_"))
}

fn read_media_usage(raw: &RawValue, is_drawn: bool) -> Option<Usage> {
    let wire: WireUsage<'_> = document(raw.get()).ok()?;
    let mut usage = read_usage(raw).map_or(Usage::new(Convention::OPENAI), |spent| spent.counts);
    let input = wire.inputs.or(wire.input).unwrap_or_default();
    let output = wire.outputs.unwrap_or_default();
    usage.input = usage.input.or(stated(wire.input_tokens));
    usage.output = usage.output.or(stated(wire.output_tokens));
    usage.audio_input = usage.audio_input.or(stated(input.audio_tokens));
    usage.image_input = usage.image_input.or(stated(input.image_tokens));
    usage.cached_read = usage.cached_read.or(stated(input.cached_tokens));
    // Where it does not say which of them are, all are images'.
    usage.image_output = stated(output.image_tokens).or(usage.output.filter(|_| is_drawn));
    usage.audio_output = usage.audio_output.or(stated(output.audio_tokens));
    usage.heard = wire.seconds.and_then(seconds);
    (!usage.is_empty()).then_some(usage)
}

/// A number of seconds, which some write as a string.
fn seconds(raw: &RawValue) -> Option<Duration> {
    let text = raw.get();
    let text = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let number: f64 = text.parse().ok()?;
    Duration::try_from_secs_f64(number).ok().filter(|length| *length <= LONGEST)
}

/// The length of what was heard, by the last moment that subtitles name (SubRip, WebVTT): silence at the end is not in it.
#[must_use]
pub fn read_subtitles(text: &str) -> Option<Duration> {
    text.lines().rev().filter_map(|line| line.split_once("-->")).find_map(|(_, end)| moment(end))
}

/// `01:02:03,456`, with hours or without.
fn moment(text: &str) -> Option<Duration> {
    let moment = text.split_whitespace().next()?;
    let (clock, millis) = moment.split_once([',', '.']).unwrap_or((moment, "0"));
    let mut seconds: u64 = 0;
    for part in clock.split(':') {
        seconds = seconds.checked_mul(60)?.checked_add(part.parse().ok()?)?;
    }
    let millis = format!("{millis:0<3.3}").parse().ok()?;
    Some(Duration::from_secs(seconds) + Duration::from_millis(millis)).filter(|length| *length <= LONGEST)
}

/// Longer than this is no length of a file: a month.
const LONGEST: Duration = Duration::from_secs(31 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    fn of(operation: Operation, text: &str) -> Usage {
        read_media_answer(operation, text).expect("says something")
    }

    #[test]
    fn tokens_and_lengths_are_read() {
        let tokens = r#"{"text":"Hi","usage":{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":4,"audio_tokens":10},"output_tokens":3,"total_tokens":17}}"#;
        let usage = of(Operation::Transcription, tokens);
        assert_eq!(
            (usage.input, usage.audio_input, usage.output, usage.heard),
            (Some(14), Some(10), Some(3), None)
        );
        let seconds = Some(Duration::from_millis(8_500));
        for text in [
            r#"{"text":"Hi","usage":{"type":"duration","seconds":8.5}}"#,
            r#"{"text":"Hi","duration":8.5}"#,
            r#"{"text":"Hi","duration":"8.5"}"#,
        ] {
            let usage = of(Operation::Translation, text);
            assert_eq!((usage.heard, usage.input, usage.output), (seconds, None, None), "{text}");
        }
        for nothing in [r#"{"text":"Hi"}"#, r#"{"duration":-1}"#, r#"{"duration":1e300}"#, "[]", ""] {
            assert_eq!(read_media_answer(Operation::Transcription, nothing), None, "{nothing}");
        }
    }

    #[test]
    fn images_are_counted_and_their_tokens_are_images() {
        let text = r#"{"data":[{"b64_json":"AA"},{"url":"u"}],"usage":{"input_tokens":50,"input_tokens_details":{"image_tokens":40,"text_tokens":10},"output_tokens":100,"total_tokens":150}}"#;
        let usage = of(Operation::Images, text);
        assert_eq!((usage.images, usage.input, usage.image_input), (Some(2), Some(50), Some(40)));
        assert_eq!((usage.output, usage.image_output), (Some(100), Some(100)));
        let told = r#"{"data":[{}],"usage":{"output_tokens":9,"output_tokens_details":{"image_tokens":7}}}"#;
        assert_eq!(of(Operation::ImageEdit, told).image_output, Some(7));
        assert_eq!(of(Operation::Images, r#"{"data":[{"url":"u"}]}"#).images, Some(1));
        let event = r#"{"type":"image_generation.completed","usage":{"input_tokens":5,"output_tokens":6}}"#;
        assert_eq!(read_event_usage(event).expect("says so").image_output, Some(6));
    }

    #[test]
    fn subtitles_end_at_their_last_moment() {
        let srt = "1\n00:00:00,000 --> 00:00:02,500\nHi\n\n2\n00:00:02,500 --> 00:01:04,250\nYou --> me\n";
        assert_eq!(read_subtitles(srt), Some(Duration::from_millis(64_250)));
        let vtt = "WEBVTT\n\n00:00.000 --> 01:00:09.5 align:start\nHi\n";
        assert_eq!(read_subtitles(vtt), Some(Duration::from_millis(3_609_500)));
        assert_eq!(read_subtitles("WEBVTT\n"), None);
    }
}
