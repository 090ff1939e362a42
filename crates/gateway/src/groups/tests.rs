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

mod litellm {
    //! What LiteLLM's router resolves and falls back to, and where this one differs for a reason.

    use serde_json::{Value, json};
    use ziggurat_testkit::{deviations, vectors};

    use super::*;

    #[test]
    fn names_are_resolved_as_there_or_otherwise_for_a_reason() {
        let Some(rows) = vectors("router.json") else { return };
        let known = deviations(include_str!("router_deviations.json"));
        let (mut same, mut suspect, mut deviating) = (0, 0, Vec::new());
        for row in &rows {
            let check = match row["fn"].as_str() {
                Some("get_fallback_model_group") => falls_back_as_expected,
                Some("wildcard_route" | "alias_route") => resolves_as_expected,
                _ => continue,
            };
            match row.get("suspect").is_none().then(|| check(row)) {
                // A list that is none of groups: read letter by letter there, and refused here.
                None => suspect += 1,
                Some(true) => same += 1,
                Some(false) => deviating.push(row["id"].as_str().expect("has an id")),
            }
        }
        assert_eq!(deviating, known);
        assert_eq!((same, suspect), (12, 1));
    }

    /// As LiteLLM has its `Router`'s arguments.
    fn read(model_list: &Value, router_settings: &Value) -> Arc<Config> {
        Arc::new(config(&json!({"model_list": model_list, "router_settings": router_settings}).to_string()))
    }

    /// The model that is asked, with its provider, and where.
    fn resolves_as_expected(row: &Value) -> bool {
        let aliases = row.get("model_group_alias").cloned().unwrap_or_else(|| json!({}));
        let config = read(&row["model_list"], &json!({"model_group_alias": aliases}));
        let resolved = config.resolve(row["requested"].as_str().expect("is a name")).expect("is found");
        let [candidate] = &resolved.candidates[..] else { return false };
        let (deployment, expected) = (candidate.deployment, &row["expected"]);
        let own = row["model_list"].as_array().expect("is a list").iter();
        let own =
            own.map(|entry| &entry["litellm_params"]["api_base"]).find(|base| **base == *deployment.base);
        expected["selected"] == format!("{}/{}", deployment.provider.id, candidate.model)
            && expected["api_base"] == *own.unwrap_or(&Value::Null)
    }

    /// Where all that is named is there: what a wildcard of the list finds, by that alone.
    fn falls_back_as_expected(row: &Value) -> bool {
        let lists = row["fallbacks"].as_array().expect("is a list").iter();
        let lists: Vec<_> = lists.flat_map(|list| list.as_object().expect("is a mapping")).collect();
        let asked = row["model_group"].as_str().expect("is a name");
        let wild =
            lists.iter().find_map(|(from, _)| asked.starts_with(from.strip_suffix("/*")?).then_some(from));
        let to = lists.iter().flat_map(|(_, to)| to.as_array().expect("is a list"));
        let named = lists.iter().map(|(from, _)| from.as_str()).filter(|from| *from != "*");
        let named = named.chain(to.map(|to| to.as_str().expect("is a name")));
        let mut names: Vec<_> = named.chain(wild.is_none().then_some(asked)).collect();
        names.sort_unstable();
        names.dedup();
        let models: Vec<_> = names
            .iter()
            .map(|name| {
                let model = if name.contains('*') { "openai/*" } else { "openai/m" };
                json!({"model_name": name, "litellm_params": {"model": model, "api_key": "k"}})
            })
            .collect();
        let config = read(&json!(models), &json!({"fallbacks": row["fallbacks"]}));
        let groups = Groups::new(&config, &Catalog::empty(), upstream::Timeouts::default(), None);
        let groups = groups.expect("are groups");
        let course = groups.routes().course(asked, None).expect("is a group");
        let found: Vec<_> = course.fallbacks(List::General).iter().map(|group| group.name()).collect();
        row["expected"][0] == if found.is_empty() { Value::Null } else { json!(found) }
    }
}
