use tokio::time::Instant;

use super::*;

fn config(text: &str) -> Config {
    Config::parse(text, "config.yaml", &|_| None).expect("is valid").0
}

fn timeouts_of(params: &str) -> Timeouts {
    let config = config(&format!(
        "model_list: [{{model_name: a, litellm_params: {{model: openai/m, api_key: k{params}}}}}]\n"
    ));
    timeouts(&config.deployments[0], &config)
}

#[test]
fn a_timeout_of_streams_is_none_of_whole_answers() {
    let seconds = Duration::from_secs;
    assert_eq!(timeouts_of(""), Timeouts::none());
    let streams = Timeouts::none().first_token(seconds(7)).idle(seconds(7));
    assert_eq!(timeouts_of(", stream_timeout: 7"), streams);
    let both = streams.whole(seconds(5)).first_byte(seconds(7));
    assert_eq!(timeouts_of(", timeout: 5, stream_timeout: 7"), both);
    let one = Timeouts::none().first_token(seconds(5)).idle(seconds(5));
    assert_eq!(timeouts_of(", timeout: 5"), one.whole(seconds(5)).first_byte(seconds(5)));
}

#[test]
fn a_budget_of_retries_is_what_the_file_says_to_four_decimals() {
    let budget = |settings: &str| {
        let models = "model_list: [{model_name: a, litellm_params: {model: openai/m, api_key: k}}]\n";
        retry_budget(&config(&format!("{models}ziggurat_settings: {{retry_budget: {settings}}}\n")))
    };
    let now = Instant::now();
    // Ten seconds' worth is there from the start.
    for (settings, successes, seconds, left) in [
        ("{}", 0, 0, 30),
        ("{}", 5, 0, 31),
        ("{share: 0, per_second: 0.1}", 99, 9, 1),
        ("{share: 0, per_second: 0.1}", 99, 10, 2),
        ("{share: 0, per_second: 0.0001}", 0, 9_989, 0),
        ("{share: 0, per_second: 0.0001}", 0, 9_990, 1),
        ("{share: 0.001, per_second: 0}", 999, 99, 0),
        ("{share: 0.001, per_second: 0}", 1000, 0, 1),
        ("{share: 0.01%, per_second: 0}", 9999, 0, 0),
        ("{share: 0.01%, per_second: 0}", 10_000, 0, 1),
    ] {
        let budget = budget(settings);
        let _ = budget.left(now);
        (0..successes).for_each(|_| budget.deposit(now));
        assert_eq!(budget.left(now + Duration::from_secs(seconds)), left, "{settings} {successes} {seconds}");
    }
}
