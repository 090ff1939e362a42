//! What an operator may want to know of calls as they are routed.

use std::time::Duration;

use ziggurat_core::Cause;

/// What happens to a call on its way, told to [`RouteLayer::report`](crate::RouteLayer::report) as it happens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// An attempt has failed, or its answer broke off.
    #[non_exhaustive]
    Failed {
        /// The model group.
        group: &'a str,
        /// The deployment's id.
        deployment: &'a str,
        /// Why. A wrong key ([`Cause::InvalidKey`], [`Cause::PermissionDenied`]) is the operator's to mend: it cools nothing down.
        cause: Cause,
        /// For how long the deployment is left alone now, if this is why.
        cools: Option<Duration>,
    },
    /// Another group is asked.
    #[non_exhaustive]
    FellBack {
        /// The group that did not answer.
        from: &'a str,
        /// The group that is asked in its place.
        to: &'a str,
        /// Why.
        cause: Cause,
    },
    /// All deployments of a group cool down, and this one is called all the same.
    #[non_exhaustive]
    LastResort {
        /// The model group.
        group: &'a str,
        /// The deployment's id.
        deployment: &'a str,
    },
    /// A deployment that cooled down has answered a probe ([`Prober`](crate::Prober)), and may be called.
    #[non_exhaustive]
    Recovered {
        /// The model group.
        group: &'a str,
        /// The deployment's id.
        deployment: &'a str,
    },
    /// A stream has failed behind its first content, and another deployment goes on with it.
    #[non_exhaustive]
    Continued {
        /// The model group of the one that goes on.
        group: &'a str,
        /// The id of the deployment that has failed.
        from: &'a str,
        /// The id of the one that goes on.
        to: &'a str,
        /// Why.
        cause: Cause,
    },
}
