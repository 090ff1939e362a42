#![doc = include_str!("../README.md")]

mod body;
mod call;
mod credential;
mod dialect;
mod error;
pub mod json;
mod meter;
mod principal;
mod problem;
mod respond_error;
mod served;
mod target;
mod usage;

pub use body::{Body, CollectError};
pub use call::{Call, Edit, Field, Limits};
pub use credential::{Credential, CredentialError, HeaderKey, NoCredential};
pub use dialect::{Dialect, Operation};
pub use error::BoxError;
pub use meter::{Attempt, AttemptHandle, CallEnd, Decision, Meter, Metered, Outcome, Subscriber};
pub use principal::Principal;
pub use problem::{Cause, Problem, Rejection, RetryClass};
pub use respond_error::{RespondError, RespondErrorLayer};
pub use served::{CacheStatus, Served};
pub use target::{ParamPolicy, Plan, Target, TargetError};
pub use usage::{Convention, Usage};
