//! The request, in the words of providers.

use std::borrow::Cow;

use serde_json::value::RawValue;
use ziggurat_core::Wording;

use super::{
    Input, Request,
    request::TASK,
    task::{to_cohere, to_google},
    text_tokens,
};
use crate::{
    Encoding, Refused, Text,
    encode::{Fate, MOST_REPEATED, UNHEARD, Verdict, Verdicts, length},
    read::Extra,
    write::{Object, object},
};

/// A member of a request: its name and its value.
type Member<'a> = (Cow<'a, str>, &'a RawValue);

/// A request that is being written for a target.
struct Writing<'r, 'a> {
    request: &'r Request<'a>,
    /// The model's name at the provider.
    model: &'r str,
    verdicts: Verdicts<'r>,
    /// Members that go as they are.
    passed: Extra<'r>,
    /// Whether the caller's words are Google's, and the provider's are not.
    foreign: bool,
}

/// Writes a request for a provider: the bodies with which it is to be asked one after the other, each for as many texts as the provider takes
/// in one call, and the last for those that are left.
///
/// # Errors
/// [`Refused`], when it holds what such a provider cannot be asked.
pub fn encode_request(
    wording: Wording,
    request: &Request<'_>,
    encoding: &Encoding<'_>,
) -> Result<Vec<Vec<u8>>, Refused> {
    let texts = match &request.input {
        Input::Texts(texts) => texts,
        Input::Tokens => {
            let message = "this model's provider takes texts, not token ids";
            return Err(Refused::invalid(message, "input"));
        }
    };
    let is_googles =
        matches!(wording, Wording::BatchEmbedContents | Wording::EmbedContent | Wording::Predict);
    let mut writing = Writing {
        request,
        model: encoding.model,
        verdicts: Verdicts::new(encoding.policy),
        passed: Vec::new(),
        foreign: request.operation.embeds_content() && !is_googles,
    };
    if texts.len() > MOST_TEXTS {
        return Err(Refused::invalid(
            format!("at most {MOST_TEXTS} texts are embedded in one call"),
            request.input_name(),
        ));
    }
    let pieces = pieces(wording, encoding.model, texts);
    let copies = match wording {
        Wording::BatchEmbedContents | Wording::Predict => texts.len(),
        _ => pieces.len(),
    };
    if copies > 1 && length(&request.extra).saturating_mul(copies) > MOST_REPEATED {
        let message =
            "too many texts for what stands beside them, which this model's provider is told several times";
        return Err(Refused::invalid(message, request.input_name()));
    }
    let bodies = match wording {
        Wording::BatchEmbedContents => writing.batch(&pieces),
        Wording::EmbedContent => writing.content(&pieces),
        Wording::Predict => writing.predict(&pieces),
        Wording::CohereEmbed => writing.cohere(&pieces, true),
        Wording::InvokedCohereEmbed => writing.cohere(&pieces, false),
        Wording::OllamaEmbed => writing.ollama(&pieces),
        Wording::TitanEmbed => writing.titan(&pieces),
        Wording::PlainEmbed => writing.plain(&pieces),
        _ => return Err(Refused::invalid("this model's provider gives no embeddings", "model")),
    };
    writing.verdicts.finish()?;
    Ok(bodies)
}

/// The texts of each call: no more than a provider takes in one, by their number and by their tokens.
pub(super) fn pieces<'t, 'a>(wording: Wording, model: &str, texts: &'t [Text<'a>]) -> Vec<&'t [Text<'a>]> {
    let (most, mut rest, mut pieces) = (most_a_call(wording, model), texts, Vec::new());
    while !rest.is_empty() {
        let mut tokens: u64 = 0;
        let fitting = rest.iter().take(most).take_while(|text| {
            tokens = tokens.saturating_add(text_tokens(text));
            wording != Wording::Predict || tokens <= MOST_PREDICTED
        });
        // One that is too long by itself is the provider's to cut or to refuse.
        let (piece, others) = rest.split_at(fitting.count().max(1));
        pieces.push(piece);
        rest = others;
    }
    pieces
}

/// How many texts a provider takes in one call, by its own documentation.
fn most_a_call(wording: Wording, model: &str) -> usize {
    match wording {
        Wording::EmbedContent | Wording::TitanEmbed => 1,
        // Google's models of that name, unlike those before them.
        Wording::Predict if model.starts_with("gemini-embedding") => 1,
        Wording::Predict => 250,
        Wording::BatchEmbedContents => 100,
        Wording::CohereEmbed | Wording::InvokedCohereEmbed => 96,
        _ => MOST_TEXTS,
    }
}

/// Tokens of all texts of a call of `:predict` (<https://cloud.google.com/vertex-ai/generative-ai/docs/embeddings/get-text-embeddings>).
const MOST_PREDICTED: u64 = 20_000;

/// As many inputs as OpenAI's API takes: where they are several calls, nobody else bounds their number.
const MOST_TEXTS: usize = 2048;

// ===== impl Writing =====

impl<'r, 'a> Writing<'r, 'a> {
    fn batch(&mut self, pieces: &[&[Text<'a>]]) -> Vec<Vec<u8>> {
        self.pass(&[TASK, &["title"]].concat(), &["model", "content", "requests", "outputDimensionality"]);
        let (task, title) = (self.task(), self.text(&["title"]));
        // Google's names are those of paths.
        let model = format!("models/{}", self.model);
        let body = |texts: &[Text<'a>], body: &mut Object<'_>| {
            body.array("requests", |requests| {
                for text in texts {
                    requests.object(|request| {
                        request.str("model", &model);
                        content(request, text);
                        if let Some(task) = &task {
                            request.str("taskType", to_google(task));
                        }
                        request.text_if("title", title.as_ref());
                        request.number_if("outputDimensionality", self.request.dimensions);
                        request.extra(&self.passed, &[]);
                    });
                }
            });
        };
        bodies(pieces, body)
    }

    fn content(&mut self, pieces: &[&[Text<'a>]]) -> Vec<Vec<u8>> {
        // What the texts are for stands in themselves.
        self.pass(&[], &["content", "outputDimensionality"]);
        bodies(pieces, |texts, body| {
            texts.iter().for_each(|text| content(body, text));
            body.number_if("outputDimensionality", self.request.dimensions);
            body.extra(&self.passed, &[]);
        })
    }

    fn predict(&mut self, pieces: &[&[Text<'a>]]) -> Vec<Vec<u8>> {
        self.pass(&[TASK, &["title", "auto_truncate"]].concat(), &["outputDimensionality"]);
        let (task, title) = (self.task(), self.text(&["title"]));
        let truncate = self.request.member(&["auto_truncate"]).map(|(_, raw)| raw);
        bodies(pieces, |texts, body| {
            body.array("instances", |instances| {
                for text in texts {
                    instances.object(|instance| {
                        instance.text("content", text);
                        if let Some(task) = &task {
                            instance.str("task_type", to_google(task));
                        }
                        instance.text_if("title", title.as_ref());
                    });
                }
            });
            if self.request.dimensions.is_some() || truncate.is_some() || !self.passed.is_empty() {
                body.object("parameters", |parameters| {
                    parameters.number_if("outputDimensionality", self.request.dimensions);
                    parameters.raw_if("autoTruncate", truncate);
                    parameters.extra(&self.passed, &[]);
                });
            }
        })
    }

    /// Cohere's own API takes the model's name and wants the kind of numbers; on Bedrock the URL has the one, and only models since the
    /// fourth know the other.
    fn cohere(&mut self, pieces: &[&[Text<'a>]], own: bool) -> Vec<Vec<u8>> {
        let by_type = own || !self.model.contains("-v3");
        self.pass(TASK, &["model", "texts", "inputs", "images", "embedding_types", "output_dimension"]);
        let task = self.task();
        let task = task.as_deref().map_or(DEFAULT_TASK, to_cohere);
        if !by_type && self.request.dimensions.is_some() {
            self.verdicts.unsupported(self.request.dimensions_name());
        }
        bodies(pieces, |texts, body| {
            if own {
                body.str("model", self.model);
            }
            write_texts(body, "texts", texts);
            body.str("input_type", task);
            if by_type {
                body.json("embedding_types", r#"["float"]"#);
                body.number_if("output_dimension", self.request.dimensions);
            }
            body.extra(&self.passed, &[]);
        })
    }

    fn ollama(&mut self, pieces: &[&[Text<'a>]]) -> Vec<Vec<u8>> {
        self.pass(&[], &["model", "input"]);
        bodies(pieces, |texts, body| {
            body.str("model", self.model);
            write_texts(body, "input", texts);
            body.number_if("dimensions", self.request.dimensions);
            body.extra(&self.passed, &[]);
        })
    }

    fn titan(&mut self, pieces: &[&[Text<'a>]]) -> Vec<Vec<u8>> {
        let (second, images) = (self.model.contains("embed-text-v2"), self.model.contains("embed-image"));
        self.pass(&[], &["inputText", "inputImage", "embeddingConfig", "embeddingTypes"]);
        if !second && !images && self.request.dimensions.is_some() {
            self.verdicts.unsupported(self.request.dimensions_name());
        }
        bodies(pieces, |texts, body| {
            texts.iter().for_each(|text| body.text("inputText", text));
            if second {
                body.number_if("dimensions", self.request.dimensions);
            }
            if let (true, Some(dimensions)) = (images, self.request.dimensions) {
                body.object("embeddingConfig", |config| config.number("outputEmbeddingLength", dimensions));
            }
            body.extra(&self.passed, &[]);
        })
    }

    fn plain(&mut self, pieces: &[&[Text<'a>]]) -> Vec<Vec<u8>> {
        let (given, others) = self.members();
        self.sort(given, &[], &["model", "input", "dimensions", "encoding_format"], true);
        let unheard = |name: &str| UNHEARD.contains(&name) && self.verdicts.unheard(name) == Verdict::Leave;
        let extra = others.iter().filter(|(name, _)| !unheard(name));
        self.passed.extend(extra.map(|(name, raw)| (Cow::Borrowed(&**name), *raw)));
        bodies(pieces, |texts, body| {
            body.str("model", self.model);
            write_texts(body, "input", texts);
            body.number_if("dimensions", self.request.dimensions);
            body.extra(&self.passed, &[]);
        })
    }

    /// Sorts the members that are no field of all requests. Those that are `read` are written in other words. Of those that have a place at
    /// some providers and none here, and those that would stand where one of `ours` does, the policy says what becomes. The others go as they
    /// are: the provider may know more than we do, unless they are another's words.
    fn pass(&mut self, read: &[&str], ours: &[&str]) {
        let (given, others) = self.members();
        self.sort(given, read, ours, true);
        self.sort(others, read, ours, false);
    }

    /// The members that are in words of another provider's, and the others.
    fn members(&self) -> (&'r [Member<'a>], &'r [Member<'a>]) {
        let request = self.request;
        request.extra.split_at(if self.foreign { request.given } else { 0 })
    }

    fn sort(&mut self, members: &'r [Member<'a>], read: &[&str], ours: &[&str], foreign: bool) {
        let passed = self.verdicts.passing(members, |name, _| match name {
            _ if read.contains(&name) => Fate::Read,
            _ if UNHEARD.contains(&name) => Fate::Unheard,
            _ if ours.contains(&name) => Fate::Ours,
            _ if foreign || SOMEWHERE.contains(&name) => Fate::Unsupported,
            _ => Fate::Passed,
        });
        self.passed.extend(passed);
    }

    /// The text of a member that is known by one of these names.
    fn text(&mut self, names: &[&str]) -> Option<Text<'a>> {
        let (name, raw) = self.request.member(names)?;
        let text = Text::from_json(raw.get());
        if text.is_none() {
            self.verdicts.invalid(format!("`{name}` must be a string"), name);
        }
        text
    }

    /// What the texts are embedded for, in whoever's word: by LiteLLM's names for it, and Google's.
    fn task(&mut self) -> Option<String> {
        self.text(TASK).map(|task| task.decode().into_owned())
    }
}

/// A body for each piece.
fn bodies<'a>(pieces: &[&[Text<'a>]], write: impl Fn(&[Text<'a>], &mut Object<'_>)) -> Vec<Vec<u8>> {
    let body = |texts: &&[Text<'a>]| {
        let length: usize = texts.iter().map(|text| text.len() + 64).sum();
        let mut body = Vec::with_capacity(length + 128);
        object(&mut body, |body| write(texts, body));
        body
    };
    pieces.iter().map(body).collect()
}

/// A text in Google's words.
fn content(out: &mut Object<'_>, text: &Text<'_>) {
    out.object("content", |content| {
        content.array("parts", |parts| parts.object(|part| part.text("text", text)));
    });
}

fn write_texts(out: &mut Object<'_>, name: &str, texts: &[Text<'_>]) {
    out.array(name, |list| texts.iter().for_each(|text| list.text(text)));
}

/// What Cohere's models since the third must be told; LiteLLM's, where the caller says nothing.
const DEFAULT_TASK: &str = "search_document";

/// What some providers have a place for, and what would change the kind of an answer.
const SOMEWHERE: &[&str] = &["input_type", "task_type", "taskType", "title", "auto_truncate", "stream"];

#[cfg(test)]
mod tests;
