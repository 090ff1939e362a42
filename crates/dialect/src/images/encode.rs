//! The request, in the words of providers.

use serde_json::value::RawValue;
use ziggurat_core::Wording;

use super::Request;
use crate::{
    Encoding, Refused, Text,
    encode::{Fate, MOST_REPEATED, UNHEARD, Verdicts, length},
    read::Extra,
    write::{Object, object},
};

/// A request that is being written for a target.
struct Writing<'r, 'a> {
    request: &'r Request<'a>,
    /// The model's name at the provider.
    model: &'r str,
    verdicts: Verdicts<'r>,
    /// Members that go as they are.
    passed: Extra<'r>,
}

/// A size as callers say it, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    wide: u32,
    high: u32,
}

/// A shape that a provider draws, and how large.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Shape {
    /// The ratio of its sides, in the words of all providers: `16:9`.
    ratio: Option<&'static str>,
    /// How large it is, in Google's words: `2K`.
    scale: Option<&'static str>,
}

/// Writes a request for a provider: the bodies with which it is to be asked one after the other, each for as many images as the provider
/// draws in one call, and the last for those that are left.
///
/// # Errors
/// [`Refused`], when it holds what such a provider cannot be asked.
pub fn encode_request(
    wording: Wording,
    request: &Request<'_>,
    encoding: &Encoding<'_>,
) -> Result<Vec<Vec<u8>>, Refused> {
    let mut writing = Writing {
        request,
        model: encoding.model,
        verdicts: Verdicts::new(encoding.policy),
        passed: Extra::new(),
    };
    let counts: Vec<usize> = counts(wording, request.n).collect();
    let each = request.prompt.len() + length(&request.extra);
    if counts.len() > 1 && each.saturating_mul(counts.len()) > MOST_REPEATED {
        let message =
            "the prompt is too long for several images, as this model's provider is told it for each";
        return Err(Refused::invalid(message, "prompt"));
    }
    let bodies = match wording {
        Wording::GenerateImages => writing.gemini(&counts),
        Wording::PredictImages => writing.imagen(&counts),
        Wording::InvokedAmazonImages => writing.amazon(&counts),
        Wording::InvokedStabilityImages => writing.stability(&counts),
        _ => return Err(Refused::invalid("this model's provider draws no images", "model")),
    };
    writing.verdicts.finish()?;
    Ok(bodies)
}

/// For how many of `n` images each call asks.
pub(super) fn counts(wording: Wording, n: usize) -> impl Iterator<Item = usize> {
    let each = match wording {
        Wording::PredictImages => 4,
        Wording::InvokedAmazonImages => MOST_OF_AMAZONS,
        _ => 1,
    };
    (0..n).step_by(each).map(move |asked| each.min(n - asked))
}

/// Images that Amazon's models draw in a call (<https://docs.aws.amazon.com/nova/latest/userguide/image-gen-req-resp-structure.html>). A second
/// call would draw the same ones: what chance decides is a seed that does not change by itself.
const MOST_OF_AMAZONS: usize = 5;

// ===== impl Writing =====

impl<'a> Writing<'_, 'a> {
    /// Gemini's models draw what a conversation of one turn asks for
    /// (<https://ai.google.dev/gemini-api/docs/image-generation>).
    fn gemini(&mut self, counts: &[usize]) -> Vec<Vec<u8>> {
        // All of the second generation draw in one size.
        let largest = if self.model.starts_with("gemini-2") { "1K" } else { "4K" };
        let shape = self.shape(GEMINIS, largest);
        self.pass(&["size"], OF_A_CONVERSATION);
        self.bodies(counts, |writing, _, body| {
            body.array("contents", |contents| {
                contents.object(|content| {
                    content.str("role", "user");
                    content.array("parts", |parts| {
                        parts.object(|part| part.text("text", &writing.request.prompt));
                    });
                });
            });
            body.object("generationConfig", |config| {
                config.json("responseModalities", r#"["IMAGE"]"#);
                if shape != Shape::default() {
                    config.object("imageConfig", |image| shape.write(image, "aspectRatio", "imageSize"));
                }
            });
            body.extra(&writing.passed, &[]);
        })
    }

    /// Imagen (<https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/imagen-api>).
    fn imagen(&mut self, counts: &[usize]) -> Vec<Vec<u8>> {
        let scales = self.model.starts_with("imagen-4") && !self.model.contains("fast");
        let shape = self.shape(IMAGENS, if scales { "2K" } else { "1K" });
        let format = self.format();
        let quality = self.number("output_compression");
        let jpeg = format.as_deref() == Some("jpeg");
        let read = ["size", "output_format", "output_compression"];
        // What only a JPEG has is nothing to ask of a PNG.
        self.pass(if jpeg { &read[..] } else { &read[..2] }, IMAGENS_OWN);
        self.bodies(counts, |writing, count, body| {
            body.array("instances", |instances| {
                instances.object(|instance| instance.text("prompt", &writing.request.prompt));
            });
            body.object("parameters", |parameters| {
                // Vertex AI would draw four where nobody says it.
                parameters.number("sampleCount", count as u64);
                shape.write(parameters, "aspectRatio", "sampleImageSize");
                if let Some(format) = &format {
                    parameters.object("outputOptions", |options| {
                        options.str("mimeType", &format!("image/{format}"));
                        options.number_if("compressionQuality", quality.filter(|_| jpeg));
                    });
                }
                // Else nothing would tell why there are fewer.
                parameters.bool("includeRaiReason", true);
                parameters.extra(&writing.passed, &[]);
            });
        })
    }

    /// Amazon's models (<https://docs.aws.amazon.com/nova/latest/userguide/image-gen-req-resp-structure.html>).
    fn amazon(&mut self, counts: &[usize]) -> Vec<Vec<u8>> {
        if self.request.n > MOST_OF_AMAZONS {
            self.verdicts.invalid(format!("this model draws at most {MOST_OF_AMAZONS} images a call"), "n");
        }
        let (size, quality) = (self.size(), self.text("quality"));
        let quality = match quality.as_ref().map(Text::decode).as_deref() {
            None | Some("auto") => None,
            // The nearest of the two that there are.
            Some("low" | "medium" | "standard") => Some("standard"),
            Some("high" | "hd" | "premium") => Some("premium"),
            Some(_) => {
                self.verdicts.invalid("expected `low`, `medium`, `high` or `auto`", "quality");
                None
            }
        };
        self.pass(&["size", "quality"], &["text", "taskType", "numberOfImages", "width", "height"]);
        self.bodies(counts, |writing, count, body| {
            body.str("taskType", "TEXT_IMAGE");
            body.object("textToImageParams", |params| {
                params.text("text", &writing.request.prompt);
                params.extra_if(&writing.passed, |name| OF_AMAZONS_TEXT.contains(&name));
            });
            body.object("imageGenerationConfig", |config| {
                config.number("numberOfImages", count as u64);
                if let Some(size) = size {
                    config.number("width", size.wide.into());
                    config.number("height", size.high.into());
                }
                if let Some(quality) = quality {
                    config.str("quality", quality);
                }
                config.extra(&writing.passed, OF_AMAZONS_TEXT);
            });
        })
    }

    /// Stability's models
    /// (<https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-stability-diffusion.html>).
    fn stability(&mut self, counts: &[usize]) -> Vec<Vec<u8>> {
        let shape = self.shape(STABILITYS, "1K");
        let format = self.text("output_format");
        self.pass(&["size", "output_format"], &["aspect_ratio"]);
        self.bodies(counts, |writing, _, body| {
            body.text("prompt", &writing.request.prompt);
            shape.write(body, "aspect_ratio", "");
            body.text_if("output_format", format.as_ref());
            body.extra(&writing.passed, &[]);
        })
    }

    fn bodies(&self, counts: &[usize], write: impl Fn(&Self, usize, &mut Object<'_>)) -> Vec<Vec<u8>> {
        let body = |count: &usize| {
            let mut body = Vec::with_capacity(self.request.prompt.len() + 256);
            object(&mut body, |body| write(self, *count, body));
            body
        };
        counts.iter().map(body).collect()
    }

    /// Sorts the members that are no field of all requests. Those that are `read` are written in other words. Of those of OpenAI's that have
    /// no place here, and those that would stand where one of `ours` does, the policy says what becomes.
    fn pass(&mut self, read: &[&str], ours: &[&str]) {
        self.passed = self.verdicts.passing(&self.request.extra, |name, raw| match name {
            _ if read.contains(&name) || says_nothing(name, raw) => Fate::Read,
            _ if UNHEARD.contains(&name) => Fate::Unheard,
            // Who waits for events cannot be answered with one list.
            "stream" => Fate::Ours,
            _ if ours.contains(&name) => Fate::Ours,
            _ if OPENAIS.contains(&name) => Fate::Unsupported,
            _ => Fate::Passed,
        });
    }

    fn text(&mut self, name: &str) -> Option<Text<'a>> {
        let raw = self.request.member(name)?;
        let text = Text::from_json(raw.get());
        if text.is_none() {
            self.verdicts.invalid(format!("`{name}` must be a string"), name);
        }
        text
    }

    fn number(&mut self, name: &str) -> Option<u64> {
        let raw = self.request.member(name)?;
        let number = raw.get().parse().ok();
        if number.is_none() {
            self.verdicts.invalid(format!("`{name}` must be a whole number"), name);
        }
        number
    }

    /// The size that is asked for.
    fn size(&mut self) -> Option<Size> {
        let text = self.text("size")?.decode().into_owned();
        let size = Size::read(&text);
        if size.is_none() && text != "auto" {
            self.verdicts.invalid("expected `auto` or a size such as `1024x1024`", "size");
        }
        size
    }

    /// The shape for the size that is asked for, of those that the provider draws, up to its largest scale.
    fn shape(&mut self, ratios: &[&'static str], largest: &str) -> Shape {
        let Some(size) = self.size() else { return Shape::default() };
        let (ratio, scale) = (size.nearest(ratios), size.scale());
        if ratio.is_none() || scale > largest {
            self.verdicts.unsupported("size");
            return Shape::default();
        }
        Shape { ratio, scale: Some(scale).filter(|scale| *scale != "1K") }
    }

    /// The kind of file, of those that Imagen writes.
    fn format(&mut self) -> Option<String> {
        let format = self.text("output_format")?.decode().into_owned();
        if matches!(&*format, "png" | "jpeg") {
            return Some(format);
        }
        self.verdicts.unsupported("output_format");
        None
    }
}

// ===== impl Size =====

impl Size {
    fn read(text: &str) -> Option<Self> {
        let (wide, high) = text.split_once('x')?;
        let side = |text: &str| text.parse().ok().filter(|side| *side > 0);
        Some(Self { wide: side(wide)?, high: side(high)? })
    }

    /// The ratio that is nearest to that of its sides, if it is as good as that: providers' own sizes are a little off what they call them.
    fn nearest(self, ratios: &[&'static str]) -> Option<&'static str> {
        let own = f64::from(self.wide) / f64::from(self.high);
        let off = |ratio: &str| {
            let (wide, high) = ratio.split_once(':').unwrap_or((ratio, "1"));
            let ratio = wide.parse().unwrap_or(1.0) / high.parse().unwrap_or(1.0);
            f64::max(own / ratio, ratio / own)
        };
        let nearest = ratios.iter().min_by(|one, other| off(one).total_cmp(&off(other)));
        nearest.copied().filter(|ratio| off(ratio) < 1.05)
    }

    /// Google's word for the scale that it is nearest to: a side of 1,024 pixels, of twice or of four times as many.
    fn scale(self) -> &'static str {
        match self.wide.max(self.high) {
            0..=1800 => "1K",
            1801..=3000 => "2K",
            _ => "4K",
        }
    }
}

// ===== impl Shape =====

impl Shape {
    fn write(self, out: &mut Object<'_>, ratio: &str, scale: &str) {
        if let Some(own) = self.ratio {
            out.str(ratio, own);
        }
        if let Some(own) = self.scale {
            out.str(scale, own);
        }
    }
}

/// Whether a member of OpenAI's asks for what all providers do anyway.
fn says_nothing(name: &str, raw: &RawValue) -> bool {
    matches!(
        (name, raw.get()),
        ("response_format", "\"b64_json\"")
            | ("quality" | "size" | "moderation" | "background", "\"auto\"")
            | ("background", "\"opaque\"")
            | ("stream", "false")
            | ("partial_images", "0")
    )
}

const GEMINIS: &[&str] = &["1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9"];
const IMAGENS: &[&str] = &["1:1", "3:4", "4:3", "9:16", "16:9"];
const STABILITYS: &[&str] = &["1:1", "2:3", "3:2", "4:5", "5:4", "9:16", "16:9", "9:21", "21:9"];

/// What OpenAI's images have, and some providers have not.
const OPENAIS: &[&str] = &[
    "size",
    "quality",
    "response_format",
    "output_format",
    "output_compression",
    "background",
    "moderation",
    "style",
    "partial_images",
];

/// What says how many images there are and where they go.
const IMAGENS_OWN: &[&str] =
    &["sampleCount", "aspectRatio", "sampleImageSize", "outputOptions", "includeRaiReason", "storageUri"];

/// What would make another conversation of it, or cost what is not counted.
const OF_A_CONVERSATION: &[&str] = &[
    "contents",
    "generationConfig",
    "generation_config",
    "tools",
    "toolConfig",
    "tool_config",
    "cachedContent",
    "cached_content",
    "serviceTier",
    "service_tier",
];

/// What stands beside the prompt at Amazon's models; all else is of how it is drawn.
const OF_AMAZONS_TEXT: &[&str] =
    &["negativeText", "style", "controlMode", "controlStrength", "conditionImage"];

#[cfg(test)]
mod tests;
