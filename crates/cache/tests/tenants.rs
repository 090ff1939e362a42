//! No tenant is ever given what another was answered, whatever is written into a body.

mod support;

use proptest::prelude::*;
use serde_json::{Value, json};
use tower::Layer;

use crate::support::*;

/// Who asks, and what their body says of who they are.
#[derive(Clone, Debug)]
struct Asked {
    team: Option<u8>,
    key: u8,
    namespace: Option<u8>,
    question: u8,
    stream: bool,
    forged: Value,
}

fn asked() -> impl Strategy<Value = Asked> {
    let forged = prop_oneof![
        Just(json!({})),
        (0..3_u8).prop_map(
            |to| json!({"metadata": {"team_id": format!("t{to}"), "user_api_key_team_id": format!("t{to}")}})
        ),
        (0..3_u8).prop_map(
            |to| json!({"metadata": {"user_api_key": format!("k{to}"), "tags": [format!("t{to}")]}})
        ),
        (0..3_u8).prop_map(|to| json!({"user": format!("k{to}")})),
        (0..3_u8).prop_map(|to| json!({"litellm_metadata": {"key": format!("k{to}")}})),
    ];
    (prop::option::of(0..2_u8), 0..3_u8, prop::option::of(0..2_u8), 0..2_u8, any::<bool>(), forged).prop_map(
        |(team, key, namespace, question, stream, forged)| Asked {
            team,
            key,
            namespace,
            question,
            stream,
            forged,
        },
    )
}

impl Asked {
    /// Whose answers these are.
    fn tenant(&self) -> String {
        match self.team {
            Some(team) => format!("t{team}"),
            None => format!("k{}", self.key),
        }
    }

    fn request(&self) -> http::Request<ziggurat_core::Body> {
        let mut fields = json!({"seed": self.question, "stream": self.stream});
        merge(&mut fields, &self.forged);
        if let Some(namespace) = self.namespace {
            // As long as it may be, and with what could be taken for the end of it.
            merge(&mut fields, &json!({"cache": {"namespace": format!("t{namespace}\0k{namespace}")}}));
        }
        let team = self.team.map(|team| format!("t{team}")).unwrap_or_default();
        // A key of the one may be called as a team of the other.
        by(chat(&fields), &team, &format!("k{}", self.key))
    }
}

proptest! {
    #[test]
    fn what_a_tenant_is_given_was_answered_to_it(all in prop::collection::vec(asked(), 1..24)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("starts");
        runtime.block_on(async {
            // The answer names who made the call.
            let inner = tower::service_fn(|request: http::Request<ziggurat_core::Body>| async move {
                let who = request.extensions().get::<ziggurat_core::Principal>().expect("is there");
                let team = who.team.as_deref().or(who.key.as_deref()).expect("has one").to_owned();
                Ok::<_, std::convert::Infallible>(whole(&completion(&format!("for {team}"))))
            });
            let service = layer(&Manual::default()).layer(inner);
            for asked in &all {
                let given = ask(&service, asked.request()).await;
                assert_eq!(given.status, 200);
                let mine = format!("for {}\"", asked.tenant());
                assert!(given.body.contains(&mine), "{asked:?} was given {}", given.body);
            }
        });
    }
}
