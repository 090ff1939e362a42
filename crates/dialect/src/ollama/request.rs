//! Writing a `/api/chat` request.

mod conversation;

use self::conversation::write_messages;
use crate::{
    Encoding, Format, Refused, Request, Tool, ToolChoice,
    encode::{Verdict, Verdicts, check_results},
    foreign::{Thought, params, write_unsupported},
    gemini::plain_schema,
    read::{Extra, document, wire_object},
    write::{Object, object},
};

wire_object! { struct WireOptions { } }

/// Writes a request.
///
/// # Errors
/// [`Refused`], when it holds what such a provider cannot be asked.
pub fn encode_request(
    request: &Request<'_>,
    encoding: &Encoding<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    check_results(request)?;
    let mut verdicts = Verdicts::new(encoding.policy);
    object(out, |body| {
        body.str("model", encoding.model);
        write_messages(body, request, &mut verdicts);
        write_tools(body, request, &mut verdicts);
        write_format(body, request, &mut verdicts);
        write_think(body, request, encoding.model, &mut verdicts);
        // Ollama streams unless told otherwise.
        body.bool("stream", request.stream.unwrap_or(false));
        write_unsupported(body, request, &mut verdicts);
        write_options(body, request, &mut verdicts);
    });
    verdicts.finish()
}

/// Writes the tools. Ollama's models call as they like: that they must not is said by giving them none, that they must cannot be said.
fn write_tools(body: &mut Object<'_>, request: &Request<'_>, verdicts: &mut Verdicts<'_>) {
    match &request.tool_choice {
        Some(ToolChoice::None) => return,
        None | Some(ToolChoice::Auto) => {}
        Some(choice) => {
            if verdicts.unsupported("tool_choice") == Verdict::Pass {
                match choice {
                    ToolChoice::Function(name) => body.object("tool_choice", |choice| {
                        choice.str("type", "function");
                        choice.object("function", |function| function.text("name", name));
                    }),
                    _ => body.str("tool_choice", "required"),
                }
            }
        }
    }
    if !request.tools.iter().any(|tool| matches!(tool, Tool::Function { .. })) {
        return;
    }
    body.array("tools", |list| {
        for tool in &request.tools {
            let Tool::Function { name, description, schema, strict, .. } = tool else { continue };
            list.object(|tool| {
                tool.str("type", "function");
                tool.object("function", |function| {
                    function.text("name", name);
                    function.text_if("description", description.as_ref());
                    if let Some(schema) = schema {
                        function.json("parameters", &plain_schema(request.dialect, schema));
                    }
                    if let Some(strict) = strict {
                        function.bool("strict", *strict);
                    }
                });
            });
        }
    });
}

fn write_format(body: &mut Object<'_>, request: &Request<'_>, verdicts: &mut Verdicts<'_>) {
    match &request.format {
        None | Some(Format::Text) => {}
        Some(Format::JsonSchema { schema: Some(schema), .. }) => {
            body.json("format", &plain_schema(request.dialect, schema))
        }
        Some(Format::JsonObject | Format::JsonSchema { schema: None, .. }) => body.str("format", "json"),
        Some(Format::Native { .. }) => {
            verdicts.unsupported("response_format");
        }
    }
}

/// Writes how much to think: on or off, but to OpenAI's open models, which alone know how much.
fn write_think(body: &mut Object<'_>, request: &Request<'_>, model: &str, verdicts: &mut Verdicts<'_>) {
    let reasoning = request.reasoning.as_ref();
    let Some((thought, _)) = Thought::of(reasoning, verdicts) else { return };
    let has_levels = model.rsplit('/').next().unwrap_or(model).starts_with("gpt-oss");
    match thought {
        Thought::Off => body.bool("think", false),
        thought if has_levels => body.str(
            "think",
            match thought.effort(reasoning) {
                "minimal" | "low" => "low",
                "medium" => "medium",
                _ => "high",
            },
        ),
        _ => body.bool("think", true),
    }
}

/// Writes the parameters of the model, which stand apart, and those of the call.
fn write_options(body: &mut Object<'_>, request: &Request<'_>, verdicts: &mut Verdicts<'_>) {
    let own: Vec<&str> = OPTIONS.iter().chain(PARAMS).copied().collect();
    let mut written = vec!["messages", "model", "stream", "tools"];
    // Of these a caller may use Ollama's own name, unless it says the same in its own words, too.
    written.extend(request.format.is_some().then_some("format"));
    written.extend(request.reasoning.is_some().then_some("think"));
    let passed = params(request, &own, &written, verdicts);
    let given = passed.iter().rfind(|(name, _)| name == "options");
    let given = match given.map(|(_, raw)| document::<WireOptions<'_>>(raw.get())) {
        Some(Ok(given)) => given.extra,
        Some(Err(_)) => return verdicts.invalid("`options` must be an object", "options"),
        None => Extra::new(),
    };
    let (options, rest): (Extra<'_>, Extra<'_>) = passed
        .into_iter()
        .filter(|(name, _)| name != "options")
        .partition(|(name, _)| OPTIONS.contains(&&**name));
    body.extra(&rest, &[]);
    let mut said: Vec<&str> = [
        ("num_predict", request.max_output_tokens.is_some()),
        ("temperature", request.temperature.is_some()),
        ("top_p", request.top_p.is_some()),
        ("top_k", request.top_k.is_some()),
        ("stop", !request.stop.is_empty()),
    ]
    .into_iter()
    .filter_map(|(name, said)| said.then_some(name))
    .collect();
    if said.is_empty() && options.is_empty() && given.is_empty() {
        return;
    }
    body.object("options", |out| {
        out.number_if("num_predict", request.max_output_tokens);
        out.raw_if("temperature", request.temperature);
        out.raw_if("top_p", request.top_p);
        out.raw_if("top_k", request.top_k);
        if !request.stop.is_empty() {
            out.array("stop", |list| request.stop.iter().for_each(|stop| list.text(stop)));
        }
        out.extra(&options, &said);
        let is_option = |name: &&&str| options.iter().any(|(option, _)| option == *name);
        said.extend(OPTIONS.iter().filter(is_option));
        out.extra(&given, &said);
    });
}

/// The parameters of a model, from Ollama's API types. The penalties are OpenAI's, on OpenAI's scale.
const OPTIONS: &[&str] = &[
    "draft_num_predict",
    "frequency_penalty",
    "main_gpu",
    "min_p",
    "mirostat",
    "mirostat_eta",
    "mirostat_tau",
    "num_batch",
    "num_ctx",
    "num_gpu",
    "num_keep",
    "num_predict",
    "num_thread",
    "penalize_newline",
    "presence_penalty",
    "repeat_last_n",
    "repeat_penalty",
    "seed",
    "tfs_z",
    "typical_p",
    "use_mmap",
];

/// Parameters of a call that only Ollama knows.
const PARAMS: &[&str] = &["format", "keep_alive", "options", "shift", "think", "truncate"];
