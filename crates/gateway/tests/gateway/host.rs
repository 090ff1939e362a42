//! Where it listens, for whom, and what it says at its start.

use crate::{
    client::{get, post},
    harness::{Dir, Gateway, MASTER_KEY, Scene, command, deployment, guarded, run, soon},
    samples::{Api, CHAT, MESSAGES, ask},
};

fn one() -> String {
    format!("model_list:\n{}", deployment("gpt", "openai/gpt-4o", "http://127.0.0.1:9", &[]))
}

#[tokio::test]
async fn others_are_served_only_with_a_master_key() {
    for host in ["0.0.0.0", "::", "192.0.2.1"] {
        for args in [&["--config", "config.yaml", "--host", host][..], &["--demo", "--host", host]] {
            let ended = run(&one(), args, &[]).await;
            let expected = format!(
                "ziggurat: refusing to listen on {host}, which others can reach, without general_settings.master_key\n"
            );
            assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr), (Some(1), "", expected));
        }
    }
    let refused = run(&one(), &["--config", "config.yaml"], &[("ZIGGURAT_HOST", "0.0.0.0")]).await;
    assert_eq!(refused.code, Some(1));
    let config = one() + &guarded();
    let mut by_variable = [("LITELLM_MASTER_KEY", MASTER_KEY)].to_vec();
    for (config, env) in [(config, vec![]), (one(), std::mem::take(&mut by_variable))] {
        let gateway = Gateway::start(&config, &["--host", "0.0.0.0"], &env).await;
        assert!(gateway.addr.ip().is_unspecified());
        let addr = ([127, 0, 0, 1], gateway.addr.port()).into();
        assert_eq!(get(addr, "/v1/models", &[]).await.status, 401);
        let key = format!("authorization: Bearer {MASTER_KEY}");
        assert_eq!(get(addr, "/v1/models", &[&key]).await.status, 200);
        let ended = gateway.stop().await;
        assert!(!ended.stderr.contains("canary"), "{}", ended.stderr);
    }
}

/// `HOST` is the machine's name in some shells, and `PORT` an address where Kubernetes says what it knows of a service.
#[tokio::test]
async fn variables_of_others_are_not_ours() {
    let env = [("HOST", "my-laptop"), ("PORT", "tcp://10.0.0.1:80"), ("RUST_LOG", "trace")];
    let gateway = Gateway::start(&one(), &["--host", "localhost"], &env).await;
    assert_eq!(get(gateway.addr, "/health/liveliness", &[]).await.status, 200);
    let ended = run(&one(), &["--config", "config.yaml"], &[("ZIGGURAT_PORT", "tcp://10.0.0.1:80")]).await;
    assert_eq!(ended.code, Some(2));
}

#[tokio::test]
async fn a_port_that_is_taken() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().into_std().unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ended = run(&one(), &["--config", "config.yaml", "--port", &port], &[]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert_eq!(
        ended.stderr,
        format!("ziggurat: cannot listen on 127.0.0.1:{port}: Address already in use (os error 98)\n")
    );
}

#[tokio::test]
async fn the_demo_streams_with_nothing_else_set() {
    let mut gateway = Gateway::bare(&["--demo"], &[]).await;
    let mut hint = String::new();
    while let Some(line) = gateway.next_line().await {
        hint += &format!("{line}\n");
        if line.contains("print(") {
            break;
        }
    }
    let addr = gateway.addr;
    assert!(hint.contains(&format!("curl -N http://{addr}/v1/chat/completions -H")), "{hint}");
    assert!(hint.contains(&format!("OpenAI(base_url=\"http://{addr}/v1\", api_key=\"none\")")), "{hint}");
    for api in [Api::OpenAi, Api::Anthropic] {
        let answer = post(addr, api.path(), &["x-api-key: whatever"], &ask("demo", true)).await;
        assert_eq!(answer.status, 200);
        assert!(api.text_of(&answer.body).starts_with("You said: Hi — "), "{}", answer.body);
        assert!(answer.body.ends_with(api.terminator()), "{}", answer.body);
        let answer = post(addr, api.path(), &[], &ask("demo", false)).await;
        assert!(answer.status == 200 && answer.body.contains("You said: Hi"), "{}", answer.body);
    }
    assert_eq!(post(addr, CHAT, &[], &ask("gpt-4o", false)).await.status, 404);
}

#[tokio::test]
async fn the_first_token_of_the_demo_comes_at_once() {
    let gateway = Gateway::bare(&["--demo"], &[]).await;
    for path in [CHAT, MESSAGES] {
        let mut raw = gateway.connect().await;
        raw.post(path, &[], &ask("demo", true)).await;
        assert_eq!(raw.head().await.status, 200);
        // Long before the last, which no single chunk holds.
        assert!(!soon(raw.chunk()).await.unwrap().contains("reaches"));
    }
}

#[tokio::test]
async fn help_and_version() {
    let help = run("", &["--help"], &[]).await;
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    for part in [
        "A gateway for LLM APIs",
        "ziggurat --demo  ",
        "ziggurat --config config.yaml --port 4000  ",
        "ziggurat check --config config.yaml  ",
        "--drain-timeout <SECONDS>",
        "[env: ZIGGURAT_PORT=]",
        "Patience with providers:",
        "Limits for clients:",
    ] {
        assert!(help.stdout.contains(part), "{part}: {}", help.stdout);
    }
    let widest = help.stdout.lines().map(str::len).max();
    assert!(widest <= Some(110), "{widest:?}: {}", help.stdout);
    let version = run("", &["--version"], &[]).await;
    assert_eq!(version.stdout, format!("ziggurat {}\n", env!("CARGO_PKG_VERSION")));
    let nothing = run("", &[], &[]).await;
    assert_eq!(nothing.code, Some(2));
    assert!(nothing.stderr.contains("--config <FILE>"), "{}", nothing.stderr);
    let both = run(&one(), &["--demo", "--config", "config.yaml"], &[]).await;
    assert_eq!(both.code, Some(2));
}

#[tokio::test]
async fn check_says_what_each_alias_supports() {
    let config =
        [one(), deployment("claude", "anthropic/claude-x", "http://h", &["rpm: 5", "drop_params: true"])];
    let ended = run(&config.concat(), &["check", "--config", "config.yaml"], &[]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(
        ended.stdout,
        "gpt: openai/gpt-4o by OpenAI Chat Completions; chat and messages, whole and streamed, with tools; key set; parameters it does not take are refused; input $2.50, cached input $1.25, output $10 per million tokens\n\
         claude: anthropic/claude-x by Anthropic Messages; chat and messages, whole and streamed, with tools; key set; parameters it does not take are dropped; no price: refused where a budget applies; at most 5 requests a minute\n\
         config.yaml: 2 deployments, 0 warnings, no master key: loopback only\n"
    );
    let ended = run("model_list: [{}]\n", &["check", "-c", "config.yaml"], &[]).await;
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (
            Some(1),
            "config.yaml:1:14: error: model_list[0]: missing key `model_name`\n\
             config.yaml:1:14: error: model_list[0]: missing key `litellm_params`\n"
        )
    );
}

#[tokio::test]
async fn models_are_listed_with_what_they_take() {
    // What stands behind another's address is not known but by its base model.
    let gpt = one() + "    model_info: {base_model: gpt-4o}\n";
    let config = [gpt, deployment("claude", "anthropic/claude-opus-5", "http://h", &["drop_params: true"])];
    let of = async |flags: &[&str]| {
        let arguments = [&["models", "--config", "config.yaml"], flags].concat();
        let ended = run(&config.concat(), &arguments, &[]).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        ended.stdout
    };
    assert_eq!(of(&[]).await, "gpt: openai/gpt-4o\nclaude: anthropic/claude-opus-5\n");
    let told = of(&["--params"]).await;
    assert!(told.contains("\n  refuses    reasoning_effort\n\nclaude: anthropic/claude-opus-5\n"), "{told}");
    assert!(told.contains("\n  thinking   adaptive; low, medium, high, xhigh, max\n"), "{told}");
    let json: serde_json::Value = serde_json::from_str(&of(&["--json"]).await).unwrap();
    assert_eq!(json[1]["takes_by_tool"], serde_json::json!(["response_format.json_object"]));
    let ended = run("model_list: [{}]\n", &["models", "-c", "config.yaml"], &[]).await;
    let missing = "config.yaml:1:14: error: model_list[0]: missing key `model_name`\n";
    assert_eq!((ended.code, ended.stderr.starts_with(missing)), (Some(1), true));
}

#[tokio::test]
async fn variables_are_looked_up_at_the_start() {
    let scene = Scene::new().await;
    let config = "model_list:\n  - model_name: gpt\n    litellm_params:\n      model: openai/gpt-4o\n      \
                  api_base: os.environ/BASE\n      api_key: os.environ/KEY\n\
                  general_settings:\n  master_key: os.environ/MASTER\n";
    let base = scene.replay.url("openai");
    let env = [("BASE", base.as_str()), ("KEY", "sk-from-env"), ("MASTER", "sk-mine")];
    let gateway = Gateway::start(config, &[], &env).await;
    assert_eq!(post(gateway.addr, CHAT, &["api-key: sk-mine"], &ask("gpt", false)).await.status, 200);
    assert_eq!(scene.replay.exchanges()[0].headers["authorization"], "Bearer sk-from-env");
}

/// `ziggurat check ... | head -0`: nobody listens, and nothing panics.
#[tokio::test]
async fn a_reader_that_leaves_is_no_failure() {
    let dir = Dir::new(&one());
    let mut child = command(&dir, &["check", "--config", "config.yaml"], &[]).spawn().unwrap();
    drop(child.stdout.take());
    let output = soon(child.wait_with_output()).await.unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}
