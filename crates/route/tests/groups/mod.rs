//! Groups, and callers of them.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{cell::RefCell, sync::Arc, time::Duration};

use tokio::time::Instant;
use ziggurat_core::{Cause, Dialect, Target};
use ziggurat_route::{Ask, Deployment, Group, GroupBuilder, Permit, Picked, Random, Sample};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

pub(crate) fn deployment(id: usize) -> Deployment {
    named(&id.to_string())
}

pub(crate) fn named(id: &str) -> Deployment {
    let target = Target::new("openai", Dialect::OpenAi, "gpt-4o", "https://localhost/v1");
    Deployment::new(target.expect("is a target").id(id))
}

/// A group of so many, numbered.
pub(crate) fn group(members: usize) -> GroupBuilder {
    Group::new("g").deployments((0..members).map(deployment))
}

/// Picks from a group at a time of its own.
pub(crate) struct Caller {
    pub(crate) group: Arc<Group>,
    pub(crate) now: Instant,
    pub(crate) random: RefCell<Random>,
}

impl Caller {
    pub(crate) fn new(group: GroupBuilder) -> Self {
        Self {
            group: group.build().expect("is a group"),
            now: Instant::now(),
            random: RefCell::new(Random::new(1)),
        }
    }

    pub(crate) fn later(&mut self, time: Duration) {
        self.now += time;
    }

    pub(crate) fn ask(&self) -> Ask<'static> {
        Ask::new(self.now, self.random.borrow_mut().draw())
    }

    /// A first attempt.
    pub(crate) fn pick(&self) -> (usize, Permit, bool) {
        one(self.group.pick(&self.ask()))
    }

    pub(crate) fn succeed(&self, permit: Permit) {
        permit.succeeded(&Sample::new(SECOND), self.now);
    }

    /// Fails calls until this deployment cools down.
    pub(crate) fn cool(&self, index: usize) {
        let tried: Vec<_> = (0..self.group.deployments().len()).filter(|other| *other != index).collect();
        let (_, permit, _) = one(self.group.pick(&self.ask().tried(&tried)));
        assert!(permit.failed(Cause::Quota, None, self.now).is_some());
    }

    /// How many of so many calls each deployment gets, each of which succeeds at once.
    pub(crate) fn shares(&self, calls: usize) -> Vec<f64> {
        let mut counts = vec![0.0; self.group.deployments().len()];
        for _ in 0..calls {
            let (index, permit, _) = self.pick();
            self.succeed(permit);
            counts[index] += 1.0 / calls as f64;
        }
        counts
    }
}

pub(crate) fn one(picked: Picked) -> (usize, Permit, bool) {
    match picked {
        Picked::One { index, permit, last_resort } => (index, permit, last_resort),
        other => panic!("nothing was picked: {other:?}"),
    }
}

pub(crate) fn near(found: &[f64], expected: &[f64], tolerance: f64) {
    let off = found.iter().zip(expected).map(|(found, expected)| (found - expected).abs());
    assert!(
        found.len() == expected.len() && off.fold(0.0, f64::max) <= tolerance.max(1e-9),
        "{found:.3?} for {expected:.3?}"
    );
}
