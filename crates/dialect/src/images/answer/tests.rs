use super::*;
use crate::images::decode_request;

fn read(wording: Wording, n: usize, answers: &[&str]) -> Images {
    let json = format!(r#"{{"prompt":"a","n":{n}}}"#);
    let mut images = Images::new(wording, &decode_request(&json).expect("reads"));
    for answer in answers {
        images.read(answer).expect(answer);
    }
    images
}

fn told(images: Images) -> Result<String, NoImage> {
    images.finish(7).map(|list| String::from_utf8(list).expect("is UTF-8"))
}

#[test]
fn geminis_images_are_gathered_and_their_tokens_added() {
    let first = r#"{"candidates":[{"content":{"parts":[{"text":"Here."},{"thought":true,"inlineData":{"mimeType":"image/png","data":"dGg="}},{"inlineData":{"mimeType":"image/png","data":"AA=="}},{"inlineData":{"data":"more"}}]},"finishReason":"STOP"}],
        "usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":1290,"thoughtsTokenCount":10,"candidatesTokensDetails":[{"modality":"IMAGE","tokenCount":1288}]}}"#;
    let second = r#"{"candidates":[{"content":{"parts":[{"inlineData":{"mimeType":"image/jpeg","data":"AQ=="}}]}}],"usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":1290}}"#;
    let images = read(Wording::GenerateImages, 2, &[first, second]);
    let usage = images.usage();
    assert_eq!((usage.images, usage.input_total(), usage.output_total()), (Some(2), Some(10), Some(2590)));
    assert_eq!((usage.image_output, usage.reasoning), (Some(2578), Some(10)));
    assert_eq!(
        told(images).as_deref(),
        Ok(concat!(
            r#"{"created":7,"data":[{"b64_json":"AA=="},{"b64_json":"AQ=="}],"output_format":"jpeg","#,
            r#""usage":{"input_tokens":10,"input_tokens_details":{"image_tokens":0,"text_tokens":10},"output_tokens":2590,"total_tokens":2600}}"#
        ))
    );
    // One answer that states nothing leaves nothing that is true of both.
    let silent = r#"{"candidates":[{"content":{"parts":[{"inlineData":{"data":"AQ=="}}]}}]}"#;
    let usage = read(Wording::GenerateImages, 2, &[second, silent]).usage();
    assert_eq!((usage.images, usage.input, usage.output), (Some(2), None, None));
}

#[test]
fn imagens_predictions_and_what_it_drew_in_the_prompts_place_are_told() {
    let answer = r#"{"predictions":[{"mimeType":"image/png","bytesBase64Encoded":"AA==","prompt":"a red cat"},{"raiFilteredReason":"x"},{"bytesBase64Encoded":"AQ==","mimeType":"image/png"}],"deployedModelId":"1"}"#;
    let images = read(Wording::PredictImages, 3, &[answer]);
    assert_eq!((images.usage().images, images.usage().input), (Some(2), None));
    assert_eq!(
        told(images).as_deref(),
        Ok(
            r#"{"created":7,"data":[{"b64_json":"AA==","revised_prompt":"a red cat"},{"b64_json":"AQ=="}],"output_format":"png"}"#
        )
    );
}

#[test]
fn bedrocks_images_are_told_and_no_more_than_were_asked_for() {
    let amazon = r#"{"images":["AA==","AQ==","Ag=="],"error":null}"#;
    let list = r#"{"created":7,"data":[{"b64_json":"AA=="},{"b64_json":"AQ=="}]}"#;
    assert_eq!(told(read(Wording::InvokedAmazonImages, 2, &[amazon])).as_deref(), Ok(list));
    let stability = [r#"{"seeds":[1],"finish_reasons":[null],"images":["AA=="]}"#, r#"{"images":["AQ=="]}"#];
    assert_eq!(told(read(Wording::InvokedStabilityImages, 2, &stability)).as_deref(), Ok(list));
}

#[test]
fn why_there_is_no_image_is_told() {
    let gemini = [
        (r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#, NoImage::Withheld),
        (r#"{"candidates":[{"finishReason":"IMAGE_SAFETY"}]}"#, NoImage::Withheld),
        (
            r#"{"candidates":[{"content":{"parts":[{"text":"No."}]},"finishReason":"STOP"}]}"#,
            NoImage::NotDrawn,
        ),
        (r#"{"candidates":[{"content":{},"finishReason":"NO_IMAGE"}]}"#, NoImage::NotDrawn),
        (r#"{"candidates":[]}"#, NoImage::NotDrawn),
    ];
    for (answer, why) in gemini {
        let images = read(Wording::GenerateImages, 1, &[answer]);
        assert_eq!((images.usage().images, told(images)), (Some(0), Err(why)), "{answer}");
    }
    let others = [
        (Wording::PredictImages, "{}", NoImage::Withheld),
        (Wording::PredictImages, r#"{"predictions":[{"raiFilteredReason":"x"}]}"#, NoImage::Withheld),
        (Wording::PredictImages, r#"{"predictions":[{"gcsUri":"gs://x"}]}"#, NoImage::NotDrawn),
        (Wording::InvokedAmazonImages, r#"{"images":[],"error":"blocked"}"#, NoImage::Withheld),
        (Wording::InvokedAmazonImages, r#"{"images":[""]}"#, NoImage::NotDrawn),
        (
            Wording::InvokedStabilityImages,
            r#"{"finish_reasons":["Filter reason: prompt"]}"#,
            NoImage::Withheld,
        ),
        (
            Wording::InvokedStabilityImages,
            r#"{"finish_reasons":["Inference error"],"images":["AA=="]}"#,
            NoImage::NotDrawn,
        ),
    ];
    for (wording, answer, why) in others {
        assert_eq!(told(read(wording, 1, &[answer])), Err(why), "{answer}");
    }
    // Of several calls, those that drew something count.
    let one = read(Wording::InvokedStabilityImages, 2, &[others[5].1, r#"{"images":["AA=="]}"#]);
    assert_eq!(one.usage().images, Some(1));
}

#[test]
fn what_is_no_answer_is_none() {
    let cases = [
        (Wording::GenerateImages, "{}"),
        (Wording::GenerateImages, r#"{"error":{"message":"m"}}"#),
        (Wording::GenerateImages, "[]"),
        (Wording::PredictImages, r#"{"error":{"message":"m"}}"#),
        (Wording::PredictImages, r#"{"predictions":[7]}"#),
        (Wording::InvokedAmazonImages, "{}"),
        (Wording::InvokedStabilityImages, r#"{"images":[null]}"#),
        (Wording::InvokedStabilityImages, "<html>"),
    ];
    for (wording, answer) in cases {
        let request = decode_request(r#"{"prompt":"a"}"#).expect("reads");
        assert!(Images::new(wording, &request).read(answer).is_err(), "{answer}");
    }
}
