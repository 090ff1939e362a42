//! `GET /health`: how each deployment does, as its calls have shown. Nobody is called for it.

use serde::Serialize;
use tokio::time::Instant;
use ziggurat_core::Principal;
use ziggurat_route::{Figures, State};

use crate::{config::Config, groups::Groups};

/// In LiteLLM's shape, with more of each deployment.
#[derive(Serialize)]
struct Health<'a> {
    healthy_endpoints: Vec<Endpoint<'a>>,
    unhealthy_endpoints: Vec<Endpoint<'a>>,
    healthy_count: usize,
    unhealthy_count: usize,
}

#[derive(Serialize)]
struct Endpoint<'a> {
    model_name: &'a str,
    model: String,
    model_id: &'a str,
    /// `healthy`, `cooling`, `cooled` (the next call tries it) or `trial` (a call tries it now).
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cooldown_seconds: Option<f64>,
    in_flight: u64,
    requests_last_minute: u64,
    tokens_last_minute: u64,
    successes: u64,
    failures: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_to_first_token_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_failure: Option<Failure>,
}

#[derive(Serialize)]
struct Failure {
    /// The code under which callers are told of it.
    cause: &'static str,
    seconds_ago: f64,
}

/// The state of the deployments of all models that `principal` may use, as JSON.
pub(crate) fn report(config: &Config, groups: &Groups, principal: Option<&Principal>) -> String {
    let now = Instant::now();
    let may_use = |name: &str| principal.is_none_or(|principal| principal.may_use(name));
    let shown = config.deployments.iter().filter(|deployment| may_use(&deployment.alias));
    let (mut healthy, mut unhealthy) = (Vec::new(), Vec::new());
    for deployment in shown {
        let Some(member) = groups.member(deployment) else { continue };
        let Figures {
            state,
            in_flight,
            first_token,
            requests,
            tokens,
            successes,
            failures,
            last_failure,
            ..
        } = member.figures(now);
        let (word, cooldown) = match state {
            State::Healthy => ("healthy", None),
            State::Cooling(time) => ("cooling", Some(time.as_secs_f64())),
            State::Cooled => ("cooled", None),
            _ => ("trial", None),
        };
        let of = if state == State::Healthy { &mut healthy } else { &mut unhealthy };
        of.push(Endpoint {
            model_name: &deployment.alias,
            model: format!("{}/{}", deployment.provider.id, deployment.model),
            model_id: &deployment.id,
            state: word,
            cooldown_seconds: cooldown,
            in_flight,
            requests_last_minute: requests,
            tokens_last_minute: tokens,
            successes,
            failures,
            time_to_first_token_seconds: first_token.map(|time| time.as_secs_f64()),
            last_failure: last_failure.map(|failed| {
                let (_, kind, code) = failed.cause.openai();
                let ago = now.saturating_duration_since(failed.at);
                Failure { cause: code.unwrap_or(kind), seconds_ago: ago.as_secs_f64() }
            }),
        });
    }
    let (healthy_count, unhealthy_count) = (healthy.len(), unhealthy.len());
    let health =
        Health { healthy_endpoints: healthy, unhealthy_endpoints: unhealthy, healthy_count, unhealthy_count };
    serde_json::to_string(&health).unwrap_or_default()
}
