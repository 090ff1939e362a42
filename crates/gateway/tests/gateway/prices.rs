//! What is said of prices: `ziggurat catalog`, `ziggurat check`, and faults in the files that they come from.

use std::{fs, path::PathBuf};

use crate::{
    harness::{Ended, Gateway, deployment, run},
    paid::{body, call},
};

const MAP: &str = r#"{"sample_spec": {"x": 1}, "openai/mine": {"litellm_provider": "openai", "mode": "chat", "max_input_tokens": 1000,
 "max_output_tokens": 100, "input_cost_per_token": 1e-6, "output_cost_per_token": 0.0000025, "input_cost_per_parsec": 1}}"#;

/// A file of one test's own, removed at its end.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }

    fn name(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn is(ended: &Ended, code: i32, stdout: &str, stderr: &str) {
    let Ended { code: own, stdout: out, stderr: err } = ended;
    assert_eq!((*own, out.as_str(), err.as_str()), (Some(code), stdout, stderr));
}

#[tokio::test]
async fn a_price_map_is_imported_and_used() {
    let map = File::new("map.json", MAP);
    let imported = File::new("map.txt", "");
    let not_understood = format!("{}: not understood: openai/mine: input_cost_per_parsec\n", map.name());
    let ended = run("", &["catalog", "import", map.name(), "-o", imported.name()], &[]).await;
    is(&ended, 0, &format!("{}: 1 model; 1 key not understood\n", imported.name()), &not_understood);
    let printed = run("", &["catalog", "import", map.name()], &[]).await;
    let told = format!("{not_understood}{}: 1 model; 1 key not understood\n", map.name());
    is(&printed, 0, &fs::read_to_string(&imported.0).unwrap(), &told);

    let shown = run("", &["catalog", "show", "openai/mine", "--price-map", imported.name()], &[]).await;
    let prices = format!(
        "openai/mine\n  provider: openai\n  mode: chat\n  input tokens: 1000\n  output tokens: 100\n  prices: {}\n    \
         input_cost_per_token: $0.000001\n    output_cost_per_token: $0.0000025\n",
        imported.name()
    );
    is(&shown, 0, &prices, "");

    // Both forms go before what is built in.
    for (file, warning) in [(&imported, false), (&map, true)] {
        let config = format!(
            "model_list:\n{}ziggurat_settings:\n  price_map: {}\n",
            deployment("mine", "openai/mine", "http://h", &[]),
            file.name()
        );
        let checked = run(&config, &["check", "-c", "config.yaml"], &[]).await;
        assert_eq!(checked.code, Some(0));
        assert!(
            checked.stdout.contains("; input $1, output $2.50 per million tokens\n"),
            "{}",
            checked.stdout
        );
        let said = "config.yaml:8:14: warning: ziggurat_settings.price_map: 1 of its keys are not understood: `ziggurat catalog import` names them\n";
        assert_eq!(checked.stdout.contains(said), warning, "{}", checked.stdout);
    }
}

#[tokio::test]
async fn what_is_no_price_map_is_refused() {
    let bad = File::new("bad.json", r#"{"m": {"input_cost_per_token": "sk-canary"}}"#);
    let ended = run("", &["catalog", "import", bad.name()], &[]).await;
    let why = "is no price map: `m`: `input_cost_per_token`: not a price";
    is(&ended, 1, "", &format!("ziggurat: {}: {why}\n", bad.name()));
    let ended = run("", &["catalog", "import", "none.json"], &[]).await;
    is(&ended, 1, "", "ziggurat: none.json: cannot read the file: entity not found\n");
    let config = |path: &str| {
        format!(
            "model_list:\n{}ziggurat_settings: {{price_map: {path}}}\n",
            deployment("a", "openai/a", "http://h", &[])
        )
    };
    for (path, why) in [(bad.name(), why), ("none.json", "cannot read the file: entity not found")] {
        let expected = format!("config.yaml:7:32: error: ziggurat_settings.price_map: {why}\n");
        let ended = run(&config(path), &["-c", "config.yaml"], &[]).await;
        is(&ended, 1, "", &format!("{expected}ziggurat: config.yaml has 1 error\n"));
        is(&run(&config(path), &["check", "-c", "config.yaml"], &[]).await, 1, &expected, "");
    }
}

#[tokio::test]
async fn a_base_model_must_be_known() {
    let config = format!(
        "model_list:\n{}    model_info: {{base_model: gpt-5o-sk-canary}}\n",
        deployment("a", "azure/my-own", "http://h", &[])
    );
    let ended = run(&config, &["-c", "config.yaml"], &[]).await;
    let expected = "config.yaml:7:30: error: model_list[0].model_info.base_model: names no model whose prices are known\n";
    is(&ended, 1, "", &format!("{expected}ziggurat: config.yaml has 1 error\n"));
}

#[tokio::test]
async fn models_are_shown_by_the_names_that_users_write() {
    let shown = run("", &["catalog", "show", "azure/gpt-4o"], &[]).await;
    assert_eq!(shown.code, Some(0));
    assert!(shown.stdout.starts_with("azure/gpt-4o\n  provider: azure\n  mode: chat\n"), "{}", shown.stdout);
    assert!(shown.stdout.contains("\n  prices: built in, of 20"), "{}", shown.stdout);
    let unknown = run("", &["catalog", "show", "gpt-4o-min"], &[]).await;
    assert_eq!((unknown.code, unknown.stdout.as_str()), (Some(1), ""));
    let said = "ziggurat: no model \"gpt-4o-min\" is known; there are gpt-4o-mini, ";
    assert!(unknown.stderr.starts_with(said), "{}", unknown.stderr);
}

#[tokio::test]
async fn check_says_prices_limits_and_budgets() {
    let azure = deployment(
        "azure",
        "azure/my-own",
        "http://h",
        &["rpm: 30", "tpm: 6000", "max_parallel_requests: 5", "max_budget: 2.5", "budget_duration: 1d"],
    );
    let own = ["input_cost_per_second: 0.0004"];
    let config = [
        "model_list:\n",
        &azure,
        "    model_info: {base_model: gpt-4o}\n",
        &deployment("own", "openai/own", "http://h", &own),
        &deployment("unknown", "openai/own", "http://h", &[]),
        &deployment("'groq/*'", "groq/*", "http://h", &[]),
        "litellm_settings: {max_budget: 100, budget_duration: 30d, cost_discount_config: {azure: 0.1}}\n",
        "router_settings: {provider_budget_config: {groq: {budget_limit: 7, time_period: 7d}}}\n",
        "general_settings: {global_max_parallel_requests: 50, max_parallel_requests: 20}\n",
        "ziggurat_settings: {ledger: spend.db, rpm: 600, uncapped: 'clamp:500'}\n",
    ];
    let checked = run(&config.concat(), &["check", "-c", "config.yaml"], &[]).await;
    assert_eq!(checked.code, Some(0), "{}", checked.stdout);
    let said = "by OpenAI Chat Completions; chat and messages, whole and streamed, with tools; key set; parameters it does not take are refused";
    let expected = format!(
        "azure: azure/my-own {said}; input $2.50, cached input $1.25, output $10 per million tokens, less 10 %; at most 30 requests a minute; at most 6000 tokens a minute; at most 5 requests at the same time; budget: $2.50, window 1d UTC\n\
         own: openai/own {said}; input $0.0004 a second, no price of the rest: refused where a budget applies\n\
         unknown: openai/own {said}; no price: refused where a budget applies\n\
         groq/*: groq/* {said}; priced by the model that is named\n\
         budget: $100, window 1mo UTC, kept in spend.db; calls without a stated cap: clamped to 500 tokens, streams: more is set aside as they run\n\
         groq: budget: $7, window 7d UTC\n\
         limits of all calls: at most 600 requests a minute; at most 50 requests at the same time\n\
         limits of each key: at most 20 requests at the same time\n\
         config.yaml: warning: no price is known of a deployment of \"own\": it is refused, as a budget applies\n\
         config.yaml: warning: no price is known of a deployment of \"unknown\": it is refused, as a budget applies\n\
         config.yaml: 4 deployments, 2 warnings, no master key: loopback only\n"
    );
    assert_eq!(checked.stdout, expected);
}

/// A wildcard's models have the discounts and margins of their provider, and their own prices.
#[tokio::test]
async fn wildcards_are_priced_by_the_model_that_is_named() {
    let upstream = crate::paid::Paid::start(crate::paid::Gate::Open).await;
    let base = format!("http://{}", upstream.addr);
    let config = [
        "model_list:\n",
        &deployment("'openai/*'", "openai/*", &base, &[]),
        &crate::harness::guarded(),
        "litellm_settings: {cost_margin_config: {global: {percentage: 0.1, fixed_amount: 0.5}}}\n",
    ];
    let gateway = Gateway::start(&config.concat(), &[], &[]).await;
    let cost = async |model: &str| {
        let answer = call(gateway.addr, &body(model, false, Some(100))).await;
        answer.header("x-litellm-response-cost").map(str::to_owned)
    };
    // (10 * 0.0000025 + 100 * 0.00001) * 1.1 + 0.5
    assert_eq!(cost("openai/gpt-4o").await.as_deref(), Some("0.5011275"));
    // (10 * 0.00000015 + 100 * 0.0000006) * 1.1 + 0.5
    assert_eq!(cost("openai/gpt-4o-mini").await.as_deref(), Some("0.50006765"));
    assert_eq!(cost("openai/of-nobody").await, None);
}
