//! The layer that chooses, tries again and falls back, as a config has it.

use std::sync::Arc;

use http::request::Parts;
use ziggurat_core::{Cause, Principal};
use ziggurat_route::{Affinity, Event, Pins, RouteLayer};

use crate::{config::Config, groups::Groups};

pub(crate) fn layer(config: &Config, groups: &Groups) -> RouteLayer {
    let routing = &config.routing;
    let mut pins = Pins::none();
    if routing.affinity.session {
        pins = pins.sessions();
    }
    if routing.affinity.prompt {
        pins = pins.prompts();
    }
    let mut layer = RouteLayer::new(groups.routes().clone()).pins(pins).report(report);
    if let Some(hold) = routing.streams.hold {
        layer = layer.hold(hold);
    }
    if routing.affinity.key {
        layer = layer.affinity(of_key);
    }
    layer
}

/// What all calls of a key have in common.
fn of_key(parts: &Parts) -> Option<Affinity> {
    let key: &Arc<str> = parts.extensions.get::<Principal>()?.key.as_ref()?;
    Some(Affinity::of([&**key]))
}

/// Tells the operator what callers may not notice.
fn report(event: &Event<'_>) {
    match event {
        Event::Failed {
            group,
            deployment,
            cause: cause @ (Cause::InvalidKey | Cause::PermissionDenied),
            ..
        } => {
            tracing::error!(
                group,
                deployment,
                ?cause,
                "the provider does not accept the key of a deployment"
            );
        }
        Event::Failed { group, deployment, cause, cools: Some(time), .. } => {
            tracing::warn!(group, deployment, ?cause, ?time, "a deployment is left alone after failures");
        }
        Event::Failed { group, deployment, cause, .. } => {
            tracing::info!(group, deployment, ?cause, "an attempt has failed");
        }
        Event::FellBack { from, to, cause, .. } => tracing::info!(from, to, ?cause, "falls back"),
        Event::LastResort { group, deployment, .. } => {
            tracing::warn!(group, deployment, "all deployments cool down: the least bad is called");
        }
        _ => {}
    }
}
