#![doc = include_str!("../README.md")]

mod away;
mod body;
mod call;
mod capabilities;
mod clock;
mod credential;
mod decimal;
mod dialect;
mod error;
mod fingerprint;
mod form;
pub mod json;
mod meter;
mod patience;
mod percent;
mod principal;
mod problem;
mod reply;
mod respond_error;
mod scope;
mod served;
mod shards;
mod target;
mod usage;
mod usd;
mod wording;

pub use away::{Asked, Away, OnAway, PROBE_EVERY, Presence};
#[cfg(feature = "remote")]
pub use away::{Link, Slot, Work};
pub use body::{Body, CollectError, Resend};
pub use call::{Call, Edit, Field, JudgePart, Limits};
pub use capabilities::{
    Capabilities, Effort, Efforts, Feature, Features, Param, Params, Thinking, ThinkingForm,
};
pub use clock::Clock;
pub use credential::{Credential, CredentialError, HeaderKey, NoCredential};
pub use decimal::Decimal;
pub use dialect::{Dialect, Operation};
pub use error::{BoxError, Unsent, is_timeout};
pub use fingerprint::{Fingerprint, Fingerprints};
pub use meter::{
    Attempt, AttemptHandle, CallEnd, Decision, Meter, Metered, OpenAttempt, Outcome, Subscriber, Watch,
};
pub use patience::Patience;
pub use percent::{percent_decoded, percent_encoded};
pub use principal::{Principal, Profile};
pub use problem::{Cause, Problem, Rejection, RetryClass};
pub use reply::Reply;
pub use respond_error::{RespondError, RespondErrorLayer};
pub use scope::{Account, Budget, Calendar, Limit, Measure, Scope, ScopeKind, Window};
pub use served::{CacheStatus, Served};
pub use shards::{Full, Idle, Locked, Shards};
pub use target::{ParamPolicy, Plan, Quirks, Target, TargetError, Thoughts};
pub use usage::{Convention, Tier, Usage};
pub use usd::{ParseUsdError, Usd};
pub use wording::Wording;
