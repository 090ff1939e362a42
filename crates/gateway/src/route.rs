//! The layer that chooses, tries again and falls back, as a config has it.

use std::sync::Arc;

use http::request::Parts;
use ziggurat_core::{Budget, Cause, Principal, Scope, ScopeKind};
use ziggurat_route::{Affinity, Event, Mirrored, Pins, Prober, RouteLayer, Seen, ShadowLayer};

use crate::{
    config::{Config, routing::Shadow},
    groups::Groups,
    guards::Guards,
    options,
};

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

/// What probes the deployments, where the config says so.
pub(crate) fn prober<S>(config: &Config, groups: &Groups, inner: S) -> Option<Prober<S>> {
    let every = config.routing.probe_every?;
    Some(Prober::new(groups.routes().clone(), inner).every(every).report(report))
}

/// What mirrors calls, where the config says so.
pub(crate) fn shadows(config: &Arc<Config>, guards: &Guards) -> Vec<ShadowLayer> {
    let layer = |shadow: &Shadow| {
        let mut principal = Principal::default();
        let id = format!("{SHADOW}{}", shadow.group);
        if let Some((cap, window)) = &shadow.budget {
            let scope = Scope::new(ScopeKind::Key, id.as_str());
            principal.budgets = [Budget::new(scope, *cap, window.clone())].into();
        }
        principal.key = Some(id.into());
        let (config, group) = (Arc::clone(config), shadow.group.clone());
        ShadowLayer::new(shadow.to.as_str(), principal, compare, guards.behind())
            .share(f64::from(shadow.share.get()) / 10_000.0)
            // A caller's own fallbacks are for what that caller may use.
            .leave_out(options::FIELDS)
            .when(move |call| {
                let model = call.model().unwrap_or_default();
                config.aliased(model).unwrap_or(model) == group
            })
    };
    config.routing.shadows.iter().map(layer).collect()
}

/// Whether a call is a shadow's own.
pub(crate) fn is_shadow(principal: &Principal) -> bool {
    principal.key.as_ref().is_some_and(|key| key.starts_with(SHADOW))
}

/// Tells how two answers to a call compare, and no word of either.
#[expect(clippy::needless_pass_by_value, reason = "it is what compares")]
fn compare(mirrored: Mirrored) {
    let told = |seen: &Seen| {
        let status = seen.status.map(|status| status.as_u16());
        format!("status={status:?} bytes={} elapsed={:?} end={:?}", seen.body.len(), seen.elapsed, seen.end)
    };
    let (original, shadow) = (&mirrored.original, &mirrored.shadow);
    tracing::info!(
        model = &*original.model,
        shadow = &*shadow.model,
        original = told(original),
        answer = told(shadow),
        "a mirrored call"
    );
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
        Event::Continued { group, from, to, cause, .. } => {
            tracing::warn!(group, from, to, ?cause, "a stream broke off, and goes on elsewhere");
        }
        Event::Recovered { group, deployment, .. } => {
            tracing::info!(group, deployment, "a deployment answers again");
        }
        Event::FellBack { from, to, cause, .. } => tracing::info!(from, to, ?cause, "falls back"),
        Event::LastResort { group, deployment, .. } => {
            tracing::warn!(group, deployment, "all deployments cool down: the least bad is called");
        }
        _ => {}
    }
}

/// How the keys of shadows begin: no other key has a space.
const SHADOW: &str = "shadow of ";
