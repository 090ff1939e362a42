use ziggurat_core::ParamPolicy;

use super::*;
use crate::images::decode_request;

const GEMINI: (Wording, &str) = (Wording::GenerateImages, "gemini-3-pro-image");
const OLDER: (Wording, &str) = (Wording::GenerateImages, "gemini-2.5-flash-image");
const IMAGEN: (Wording, &str) = (Wording::PredictImages, "imagen-4.0-generate-001");
const NOVA: (Wording, &str) = (Wording::InvokedAmazonImages, "amazon.nova-canvas-v1:0");
const STABILITY: (Wording, &str) = (Wording::InvokedStabilityImages, "stability.sd3-5-large-v1:0");

fn encoded(at: (Wording, &str), policy: &ParamPolicy, json: &str) -> Result<Vec<String>, Refused> {
    let request = decode_request(json).expect("reads");
    let bodies = encode_request(at.0, &request, &Encoding::new(at.1, policy))?;
    Ok(bodies.into_iter().map(|body| String::from_utf8(body).expect("is UTF-8")).collect())
}

#[track_caller]
fn sends(at: (Wording, &str), json: &str, expected: &[&str]) {
    assert_eq!(encoded(at, &ParamPolicy::default(), json).expect("is taken"), expected);
}

/// The names that are refused; none where they are dropped.
fn refused(at: (Wording, &str), json: &str, drop_params: bool) -> Vec<String> {
    let mut policy = ParamPolicy::default();
    policy.drop_params = drop_params;
    match encoded(at, &policy, json) {
        Ok(_) => Vec::new(),
        Err(Refused::Unsupported(names)) => names,
        Err(other) => panic!("{other:?}"),
    }
}

/// All that asks for nothing but what everybody does.
const PLAIN: &str = r#"{"model":"alias","prompt":"a \"cat\"\n","response_format":"b64_json","quality":"auto","size":"auto","moderation":"auto","background":"opaque","stream":false,"partial_images":0,"style":null,"user":"u"}"#;

#[test]
fn each_provider_is_asked_in_its_words() {
    let google = r#"{"contents":[{"role":"user","parts":[{"text":"a \"cat\"\n"}]}],"generationConfig":{"responseModalities":["IMAGE"]}}"#;
    sends(GEMINI, PLAIN, &[google]);
    sends(
        IMAGEN,
        PLAIN,
        &[
            r#"{"instances":[{"prompt":"a \"cat\"\n"}],"parameters":{"sampleCount":1,"includeRaiReason":true}}"#,
        ],
    );
    sends(
        NOVA,
        PLAIN,
        &[
            r#"{"taskType":"TEXT_IMAGE","textToImageParams":{"text":"a \"cat\"\n"},"imageGenerationConfig":{"numberOfImages":1}}"#,
        ],
    );
    sends(STABILITY, PLAIN, &[r#"{"prompt":"a \"cat\"\n"}"#]);
}

#[test]
fn several_images_are_several_calls_where_a_call_draws_few() {
    let json = r#"{"prompt":"a","n":9}"#;
    let imagen = |count: usize| {
        format!(
            r#"{{"instances":[{{"prompt":"a"}}],"parameters":{{"sampleCount":{count},"includeRaiReason":true}}}}"#
        )
    };
    sends(IMAGEN, json, &[&imagen(4), &imagen(4), &imagen(1)]);
    sends(STABILITY, r#"{"prompt":"a","n":2}"#, &[r#"{"prompt":"a"}"#; 2]);
    assert_eq!(encoded(GEMINI, &ParamPolicy::default(), json).expect("is taken").len(), 9);
    let five = encoded(NOVA, &ParamPolicy::default(), r#"{"prompt":"a","n":5}"#).expect("is taken");
    assert!(five.len() == 1 && five[0].contains(r#""numberOfImages":5"#), "{five:?}");
    // A second call would draw the same five.
    let refused = encoded(NOVA, &ParamPolicy::default(), json).expect_err("is refused");
    assert_eq!(refused, Refused::invalid("this model draws at most 5 images a call", "n"));
}

#[test]
fn a_size_is_the_nearest_shape_or_the_pixels_themselves() {
    let asked = |at, size: &str| {
        let json = format!(r#"{{"prompt":"a","size":"{size}"}}"#);
        encoded(at, &ParamPolicy::default(), &json).map(|bodies| bodies.concat())
    };
    let has = |at, size: &str, part: &str| {
        let body = asked(at, size).expect(size);
        assert!(body.contains(part), "{size}: {body}");
    };
    has(GEMINI, "1536x1024", r#","imageConfig":{"aspectRatio":"3:2"}}"#);
    has(GEMINI, "2048x2048", r#","imageConfig":{"aspectRatio":"1:1","imageSize":"2K"}}"#);
    has(GEMINI, "3840x2160", r#","imageConfig":{"aspectRatio":"16:9","imageSize":"4K"}}"#);
    has(OLDER, "832x1248", r#","imageConfig":{"aspectRatio":"2:3"}}"#);
    has(IMAGEN, "1792x1024", r#""aspectRatio":"16:9","includeRaiReason""#);
    has(IMAGEN, "2048x2048", r#""aspectRatio":"1:1","sampleImageSize":"2K","#);
    has(STABILITY, "640x1536", r#"{"prompt":"a","aspect_ratio":"9:21"}"#);
    has(NOVA, "1280x720", r#""numberOfImages":1,"width":1280,"height":720}"#);
    let size = |at, size: &str| refused(at, &format!(r#"{{"prompt":"a","size":"{size}"}}"#), false);
    // A shape that it has not, and a scale.
    assert_eq!([size(IMAGEN, "1536x1024"), size(STABILITY, "1024x768")], [["size"], ["size"]]);
    assert_eq!([size(OLDER, "2048x2048"), size(IMAGEN, "4096x4096")], [["size"], ["size"]]);
    assert_eq!(size((Wording::PredictImages, "imagen-4.0-fast-generate-001"), "2048x2048"), ["size"]);
    assert!(refused(IMAGEN, r#"{"prompt":"a","size":"1536x1024"}"#, true).is_empty());
    for odd in ["large", "1024x", "0x1024", "1024x1024x1024", "-1x1", "99999999999x1"] {
        let Err(Refused::Invalid { param, message }) = asked(NOVA, odd) else { panic!("{odd}") };
        assert_eq!((&*param, &*message), ("size", "expected `auto` or a size such as `1024x1024`"), "{odd}");
    }
}

#[test]
fn qualities_and_kinds_of_files_are_said_where_they_can_be() {
    let has = |at, member: &str, part: &str| {
        let json = format!(r#"{{"prompt":"a",{member}}}"#);
        let bodies = encoded(at, &ParamPolicy::default(), &json).expect(member).concat();
        assert!(bodies.contains(part), "{member}: {bodies}");
    };
    has(NOVA, r#""quality":"hd""#, r#""numberOfImages":1,"quality":"premium"}"#);
    has(NOVA, r#""quality":"low""#, r#""numberOfImages":1,"quality":"standard"}"#);
    has(
        IMAGEN,
        r#""output_format":"jpeg","output_compression":80"#,
        r#""outputOptions":{"mimeType":"image/jpeg","compressionQuality":80}"#,
    );
    has(IMAGEN, r#""output_format":"png""#, r#""outputOptions":{"mimeType":"image/png"}"#);
    has(STABILITY, r#""output_format":"jpeg""#, r#"{"prompt":"a","output_format":"jpeg"}"#);
    // A PNG is compressed without loss.
    let png = r#"{"prompt":"a","output_format":"png","output_compression":80}"#;
    assert_eq!(refused(IMAGEN, png, false), ["output_compression"]);
    assert_eq!(refused(IMAGEN, r#"{"prompt":"a","output_format":"webp"}"#, false), ["output_format"]);
    for (member, param) in
        [(r#""quality":"best""#, "quality"), (r#""quality":1"#, "quality"), (r#""size":[]"#, "size")]
    {
        let json = format!(r#"{{"prompt":"a",{member}}}"#);
        let refused = encoded(NOVA, &ParamPolicy::default(), &json).expect_err("is refused");
        assert!(matches!(&refused, Refused::Invalid { param: own, .. } if own == param), "{refused:?}");
    }
}

#[test]
fn what_has_no_place_is_refused_by_name_or_dropped() {
    let json = r#"{"prompt":"a","response_format":"url","quality":"high","style":"vivid","background":"transparent","moderation":"low","partial_images":1}"#;
    let names = ["response_format", "quality", "style", "background", "moderation", "partial_images"];
    for at in [GEMINI, IMAGEN, STABILITY] {
        assert_eq!(refused(at, json, false), names);
        assert!(refused(at, json, true).is_empty());
    }
    // Nobody who waits for events is given a list, and nothing says twice how many images there are, nor where they go.
    for (at, name) in [
        (GEMINI, "stream"),
        (GEMINI, "generation_config"),
        (GEMINI, "tools"),
        (IMAGEN, "sampleCount"),
        (IMAGEN, "storageUri"),
        (NOVA, "numberOfImages"),
        (STABILITY, "aspect_ratio"),
    ] {
        assert_eq!(refused(at, &format!(r#"{{"prompt":"a","{name}":true}}"#), true), [name]);
    }
}

#[test]
fn what_is_not_known_goes_where_its_like_stands() {
    sends(
        GEMINI,
        r#"{"prompt":"a","safetySettings":[]}"#,
        &[
            r#"{"contents":[{"role":"user","parts":[{"text":"a"}]}],"generationConfig":{"responseModalities":["IMAGE"]},"safetySettings":[]}"#,
        ],
    );
    sends(
        IMAGEN,
        r#"{"prompt":"a","seed":7}"#,
        &[
            r#"{"instances":[{"prompt":"a"}],"parameters":{"sampleCount":1,"includeRaiReason":true,"seed":7}}"#,
        ],
    );
    sends(
        NOVA,
        r#"{"prompt":"a","negativeText":"dogs","cfgScale":7.5}"#,
        &[
            r#"{"taskType":"TEXT_IMAGE","textToImageParams":{"text":"a","negativeText":"dogs"},"imageGenerationConfig":{"numberOfImages":1,"cfgScale":7.5}}"#,
        ],
    );
    sends(
        STABILITY,
        r#"{"prompt":"a","negative_prompt":"dogs"}"#,
        &[r#"{"prompt":"a","negative_prompt":"dogs"}"#],
    );
}

#[test]
fn a_long_prompt_does_not_become_many() {
    let prompt = "a".repeat(MOST_REPEATED / 2 + 1);
    let encoded = |n: usize| {
        encoded(STABILITY, &ParamPolicy::default(), &format!(r#"{{"prompt":"{prompt}","n":{n}}}"#))
    };
    assert_eq!(encoded(1).map(|bodies| bodies.len()), Ok(1));
    assert!(matches!(encoded(2), Err(Refused::Invalid { param, .. }) if param == "prompt"));
}
