//! `ziggurat models`: the aliases of a file, and what each of them takes.

use std::{fmt::Write as _, path::Path, process::ExitCode, sync::Arc};

use serde_json::{Value, json};
use ziggurat_catalog::Catalog;
use ziggurat_core::{
    Capabilities, Dialect, Effort, Feature, Param, Target, Thinking, ThinkingForm,
    json::{find_member, without},
};
use ziggurat_dialect::{Encoding, FormTool, decode_request, encode_request, openai::to_mistral};

use crate::{
    cli::{complain, print},
    config::{Config, Deployment},
    groups::Groups,
    prices,
    upstream::Timeouts,
};

/// What is told of an alias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Which models answer to it.
    Models,
    /// What they take, too.
    Params,
    /// All of it, as JSON.
    Json,
}

/// A deployment, and what it takes.
struct Told<'c> {
    deployment: &'c Deployment,
    /// `None` for a wildcard: that depends on the model that is named.
    takes: Option<Takes>,
}

struct Takes {
    known: Capabilities,
    /// By parameter, in the order of [`SAMPLES`].
    params: Vec<(&'static str, Fate)>,
}

/// What becomes of a parameter of OpenAI's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Taken,
    ByTool,
    /// Where the model does not think.
    AtRest,
    Dropped,
    Refused,
}

/// Lists the aliases of a file.
pub(crate) fn run(path: &Path, detail: Detail) -> ExitCode {
    match list(path, detail) {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(findings) => {
            findings.iter().for_each(|finding| complain(finding));
            ExitCode::FAILURE
        }
    }
}

fn list(path: &Path, detail: Detail) -> Result<String, Vec<String>> {
    let (config, catalog, _) = prices::load(path)
        .map_err(|findings| findings.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let told = tell(&Arc::new(config), &catalog, detail);
    told.map_err(|why| vec![format!("{}: error: {why}", path.display())])
}

fn tell(config: &Arc<Config>, catalog: &Catalog, detail: Detail) -> Result<String, String> {
    let groups =
        Groups::new(config, catalog, Timeouts::default(), None).map_err(|error| error.to_string())?;
    let told = config
        .deployments
        .iter()
        .map(|deployment| Told { deployment, takes: groups.of(deployment).map(Takes::of) });
    Ok(match detail {
        Detail::Models => told.map(|told| told.head() + "\n").collect(),
        Detail::Params => told.map(|told| told.text()).collect::<Vec<_>>().join("\n"),
        Detail::Json => format!("{:#}\n", told.map(|told| told.json()).collect::<Value>()),
    })
}

// ===== impl Takes =====

impl Takes {
    fn of(target: &Target) -> Self {
        let encoding = Encoding::of(target);
        let params = SAMPLES.iter().map(|(name, sample)| (*name, fate(target, &encoding, name, sample)));
        Self { params: params.collect(), known: encoding.capabilities }
    }

    fn of_fate(&self, fate: Fate) -> Vec<&'static str> {
        self.params.iter().filter(|(_, own)| *own == fate).map(|(name, _)| *name).collect()
    }

    fn inputs(&self) -> Vec<&'static str> {
        let more = [(Feature::Images, "images"), (Feature::Pdf, "pdf"), (Feature::Audio, "audio")];
        let more = more.into_iter().filter(|(feature, _)| self.known.takes(*feature) == Some(true));
        ["text"].into_iter().chain(more.map(|(_, name)| name)).collect()
    }
}

/// What becomes of a parameter on its way to a target: it is tried.
fn fate(target: &Target, encoding: &Encoding<'_>, name: &str, sample: &str) -> Fate {
    let policy = target.params();
    let asked = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"a"}}],{sample}}}"#);
    let dropped: Vec<Vec<&str>> =
        policy.additional_drop_params.iter().map(|path| path.split('.').collect()).collect();
    let dropped: Vec<&[&str]> = dropped.iter().map(Vec::as_slice).collect();
    let asked = without(&asked, &dropped).unwrap_or(asked);
    let member = name.split('.').next().unwrap_or(name);
    if find_member(&asked, &[member]).is_none() {
        return Fate::Dropped;
    }
    let not_taken = if policy.drop_params { Fate::Dropped } else { Fate::Refused };
    let is_allowed = policy.allowed_openai_params.iter().any(|allowed| allowed == member);
    if !is_allowed && target.provider_quirks().refuses.iter().any(|refused| refused == member) {
        return not_taken;
    }
    let Ok(mut request) = decode_request(Dialect::OpenAi, &asked) else { return not_taken };
    // What is dropped must be seen.
    let mut seen = policy.clone();
    seen.drop_params = false;
    let encoding = Encoding::new(encoding.model, &seen).capabilities(encoding.capabilities);
    if target.provider_quirks().mistral && to_mistral(&mut request, &encoding).is_err() {
        return not_taken;
    }
    let by_tool = FormTool::ask(target.dialect(), &mut request, &encoding).is_some();
    let rests = |it| encoding.capabilities.refuses_thinking.has(it);
    match encode_request(target.dialect(), &request, &encoding, &mut Vec::new()) {
        Err(_) => not_taken,
        Ok(()) if by_tool => Fate::ByTool,
        Ok(()) if !is_allowed && Param::of_name(name).is_some_and(rests) => Fate::AtRest,
        Ok(()) => Fate::Taken,
    }
}

// ===== impl Told =====

impl Told<'_> {
    fn head(&self) -> String {
        let Deployment { alias, provider, model, .. } = self.deployment;
        format!("{alias}: {}/{model}", provider.id)
    }

    fn text(&self) -> String {
        let mut text = self.head() + "\n";
        let Some(takes) = &self.takes else {
            return text + "  takes what the model takes that is named\n";
        };
        let mut line = |name: &str, value: String| {
            if !value.is_empty() {
                let _ = writeln!(text, "  {name:<10} {value}");
            }
        };
        let tokens = |most: Option<u64>| most.map_or_else(|| "unknown".to_owned(), |most| most.to_string());
        let known = &takes.known;
        line("thinking", known.thinking.as_ref().map_or_else(|| "unknown".to_owned(), thinking_in_words));
        line("input", takes.inputs().join(", "));
        line("tokens", format!("{} in, {} out", tokens(known.max_input), tokens(known.max_output)));
        line("takes", takes.of_fate(Fate::Taken).join(", "));
        line("by a tool", takes.of_fate(Fate::ByTool).join(", "));
        line("at rest", takes.of_fate(Fate::AtRest).join(", "));
        line("drops", takes.of_fate(Fate::Dropped).join(", "));
        line("refuses", takes.of_fate(Fate::Refused).join(", "));
        text
    }

    fn json(&self) -> Value {
        let Deployment { alias, provider, model, .. } = self.deployment;
        let mut told = json!({ "alias": alias, "provider": provider.id, "model": model });
        let Some(takes) = &self.takes else { return told };
        let more = json!({
            "thinking": takes.known.thinking.as_ref().map(thinking_in_json),
            "input": takes.inputs(),
            "max_input_tokens": takes.known.max_input,
            "max_output_tokens": takes.known.max_output,
            "takes": takes.of_fate(Fate::Taken),
            "takes_by_tool": takes.of_fate(Fate::ByTool),
            "takes_at_rest": takes.of_fate(Fate::AtRest),
            "drops": takes.of_fate(Fate::Dropped),
            "refuses": takes.of_fate(Fate::Refused),
        });
        if let (Value::Object(told), Value::Object(more)) = (&mut told, more) {
            told.extend(more);
        }
        told
    }
}

const fn form(form: ThinkingForm) -> &'static str {
    match form {
        ThinkingForm::None => "none",
        ThinkingForm::Effort => "effort",
        ThinkingForm::Budget => "budget",
        ThinkingForm::Level => "level",
        ThinkingForm::Adaptive => "adaptive",
        _ => "other",
    }
}

fn efforts(thinking: &Thinking) -> Vec<&'static str> {
    thinking.efforts.iter().map(Effort::name).collect()
}

fn bounds(thinking: &Thinking) -> (Option<u64>, Option<u64>) {
    let (least, most) = thinking.budget;
    (Some(least).filter(|least| *least > 0), Some(most).filter(|most| *most < u64::MAX))
}

fn thinking_in_words(thinking: &Thinking) -> String {
    let bounds = match bounds(thinking) {
        (None, None) => None,
        (Some(least), None) => Some(format!("at least {least} tokens")),
        (None, Some(most)) => Some(format!("at most {most} tokens")),
        (Some(least), Some(most)) => Some(format!("{least} to {most} tokens")),
    };
    let words = Some(efforts(thinking).join(", ")).filter(|words| !words.is_empty());
    let unasked = thinking.unasked.map(|effort| format!("unasked {}", effort.name()));
    [Some(form(thinking.form).to_owned()), words, bounds, unasked]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("; ")
}

fn thinking_in_json(thinking: &Thinking) -> Value {
    let (least, most) = bounds(thinking);
    json!({
        "form": form(thinking.form), "efforts": efforts(thinking), "unasked": thinking.unasked.map(Effort::name),
        "min_budget": least, "max_budget": most,
    })
}

/// Parameters of OpenAI's chats, each as somebody asks for it.
const SAMPLES: &[(&str, &str)] = &[
    ("max_tokens", r#""max_tokens":9000"#),
    ("max_completion_tokens", r#""max_completion_tokens":9000"#),
    ("temperature", r#""temperature":0.5"#),
    ("top_p", r#""top_p":0.5"#),
    ("n", r#""n":2"#),
    ("stop", r#""stop":["a"]"#),
    ("seed", r#""seed":1"#),
    ("presence_penalty", r#""presence_penalty":0.5"#),
    ("frequency_penalty", r#""frequency_penalty":0.5"#),
    ("logit_bias", r#""logit_bias":{"1":1}"#),
    ("logprobs", r#""logprobs":true"#),
    ("top_logprobs", r#""logprobs":true,"top_logprobs":2"#),
    ("reasoning_effort", r#""reasoning_effort":"low""#),
    ("response_format.json_object", r#""response_format":{"type":"json_object"}"#),
    (
        "response_format.json_schema",
        r#""response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"object","properties":{}}}}"#,
    ),
    ("tools", r#""tools":[{"type":"function","function":{"name":"f"}}]"#),
    ("tool_choice", r#""tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"required""#),
    (
        "parallel_tool_calls",
        r#""tools":[{"type":"function","function":{"name":"f"}}],"parallel_tool_calls":false"#,
    ),
    ("web_search_options", r#""web_search_options":{}"#),
    ("service_tier", r#""service_tier":"flex""#),
    ("user", r#""user":"a""#),
    ("store", r#""store":true"#),
    ("verbosity", r#""verbosity":"low""#),
    ("prediction", r#""prediction":{"type":"content","content":"a"}"#),
    ("modalities", r#""modalities":["text","audio"]"#),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn told(entries: &[&str], settings: &str, detail: Detail) -> String {
        let text = format!("model_list:\n- {}\n{settings}", entries.join("\n- "));
        let (config, _) = Config::parse(&text, "config.yaml", &|_| None).expect("is one");
        let (catalog, _) = prices::catalog(&config).expect("is one");
        tell(&Arc::new(config), &catalog, detail).expect("is one")
    }

    #[test]
    fn each_alias_says_what_it_takes() {
        let of = |model: &str| {
            let entry = format!("{{model_name: m, litellm_params: {{model: {model}, api_key: k}}}}");
            told(&[&entry], "", Detail::Params)
        };
        assert_eq!(
            of("openai/gpt-5.1"),
            "m: openai/gpt-5.1\n  thinking   effort; none, low, medium, high; unasked none\n  input      text, images, pdf\n  \
             tokens     272000 in, 128000 out\n  takes      max_tokens, max_completion_tokens, n, seed, reasoning_effort, \
             response_format.json_object, response_format.json_schema, tools, tool_choice, parallel_tool_calls, \
             web_search_options, service_tier, user, store, verbosity, prediction, modalities\n  at rest    temperature, top_p, logprobs, top_logprobs\n  \
             refuses    stop, presence_penalty, frequency_penalty, logit_bias\n"
        );
        let claude = of("anthropic/claude-sonnet-4-20250514");
        assert!(claude.contains("  thinking   budget; at least 1024 tokens\n"), "{claude}");
        assert!(
            claude.contains("  by a tool  response_format.json_object, response_format.json_schema\n"),
            "{claude}"
        );
        assert!(claude.contains("  refuses    n, seed, presence_penalty, "), "{claude}");
        let gemini = of("gemini/gemini-2.5-pro");
        assert!(gemini.contains("128 to 32768 tokens\n"), "{gemini}");
        assert!(gemini.contains("  input      text, images, pdf, audio\n"), "{gemini}");
        assert!(of("openai/gpt-4o").contains("  refuses    reasoning_effort\n"));
        assert!(
            of("groq/llama-3.3-70b-versatile").contains("  refuses    logit_bias, logprobs, top_logprobs\n")
        );
    }

    #[test]
    fn dropped_is_not_refused_and_a_wildcard_depends() {
        let entries = [
            "{model_name: a, litellm_params: {model: openai/gpt-4o, api_key: k}}",
            "{model_name: 'x/*', litellm_params: {model: 'openai/*', api_key: k, drop_params: false}}",
        ];
        let settings = "litellm_settings: {drop_params: true}\n";
        let text = told(&entries, settings, Detail::Params);
        assert!(
            text.contains(
                "  drops      reasoning_effort\n\nx/*: openai/*\n  takes what the model takes that is named\n"
            ),
            "{text}"
        );
        assert_eq!(told(&entries, settings, Detail::Models), "a: openai/gpt-4o\nx/*: openai/*\n");
        let json: Value = serde_json::from_str(&told(&entries, settings, Detail::Json)).expect("is JSON");
        assert_eq!((&json[0]["drops"], &json[0]["refuses"]), (&json!(["reasoning_effort"]), &json!([])));
        assert_eq!(
            json[0]["thinking"],
            json!({ "form": "none", "efforts": [], "unasked": null, "min_budget": null, "max_budget": null })
        );
        assert_eq!(
            (&json[0]["max_input_tokens"], &json[0]["input"]),
            (&json!(128_000), &json!(["text", "images", "pdf"]))
        );
        assert_eq!(json[1], json!({ "alias": "x/*", "provider": "openai", "model": "*" }));
    }

    #[test]
    fn what_the_deployment_says_of_parameters_counts() {
        let of = |model: &str, params: &str| {
            let entry =
                format!("{{model_name: m, litellm_params: {{model: {model}, api_key: k, {params}}}}}");
            told(&[&entry], "", Detail::Params)
        };
        let groq = of(
            "groq/llama-3.3-70b-versatile",
            "allowed_openai_params: [logprobs], additional_drop_params: [seed, response_format, tools.function]",
        );
        assert!(
            groq.ends_with(
                "  takes      max_tokens, max_completion_tokens, temperature, top_p, n, stop, presence_penalty, \
                 frequency_penalty, logprobs, reasoning_effort, tools, tool_choice, parallel_tool_calls, \
                 web_search_options, service_tier, user, store, verbosity, prediction, modalities\n  \
                 drops      seed, response_format.json_object, response_format.json_schema\n  \
                 refuses    logit_bias, top_logprobs\n"
            ),
            "{groq}"
        );
        let gpt = of("openai/gpt-5.1", "allowed_openai_params: [temperature, stop]");
        assert!(
            gpt.ends_with(
                "  at rest    top_p, logprobs, top_logprobs\n  refuses    presence_penalty, frequency_penalty, logit_bias\n"
            ),
            "{gpt}"
        );
        let claude = of(
            "anthropic/claude-sonnet-4-20250514",
            "allowed_openai_params: [seed], additional_drop_params: [top_p], drop_params: true",
        );
        assert!(
            claude.ends_with(
                "  drops      top_p, n, presence_penalty, frequency_penalty, logit_bias, logprobs, top_logprobs, service_tier, \
                 store, verbosity, prediction, modalities\n"
            ),
            "{claude}"
        );
        assert!(
            claude.contains("  takes      max_tokens, max_completion_tokens, temperature, stop, seed, "),
            "{claude}"
        );
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let missing = list(Path::new("/nowhere/config.yaml"), Detail::Models);
        assert!(missing.is_err_and(|findings| findings.len() == 1));
    }
}
