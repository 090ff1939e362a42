//! How a directory is opened, and what is asked of its lists.

use std::{collections::BTreeMap, time::Duration};

use ziggurat_core::Clock;

/// How a [`Directory`](super::Directory) is opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The time zone whose calendar windows follow, by its IANA name; `UTC` unless told.
    pub zone: String,
    /// Groups of models, by name: a key or team that names a group may name its models.
    pub access_groups: BTreeMap<String, Vec<String>>,
    /// The template of budgets for end users who are not known, and for those who have neither an allowance nor a template of their own.
    /// While it is configured and not there, look-ups of them fail.
    pub customer_budget: Option<String>,
    /// How long a look-up on the path of a call may take; 50 ms unless told.
    pub lookup_deadline: Duration,
    /// How long anything else may take; 5 s unless told.
    pub admin_deadline: Duration,
    /// Most connections at a time; 8 unless told. With SQLite one of them writes.
    pub most_connections: u32,
    /// Tells when something was made or changed.
    pub clock: Clock,
}

/// Which part of a list. Lists go by the time of making, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// How many to leave out.
    pub offset: u64,
    /// How many to give, at most 1,000; 100 unless told.
    pub limit: u32,
}

/// A part of a list.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Listed<T> {
    /// The part.
    pub items: Vec<T>,
    /// How many there are altogether.
    pub total: u64,
}

/// Which keys; all that is stated must be so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyFilter {
    /// Of this user.
    pub user: Option<String>,
    /// Of this team.
    pub team: Option<String>,
    /// Stated to be of this organisation.
    pub organisation: Option<String>,
    /// Of this alias.
    pub alias: Option<String>,
    /// Filled by this template of budgets.
    pub budget: Option<String>,
}

/// Which teams; all that is stated must be so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TeamFilter {
    /// Of this alias.
    pub alias: Option<String>,
    /// Of this organisation.
    pub organisation: Option<String>,
    /// With this user as a member.
    pub member: Option<String>,
}

/// Which memberships; all that is stated must be so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberFilter {
    /// In this team.
    pub team: Option<String>,
    /// Of this user.
    pub user: Option<String>,
}

/// Which users; all that is stated must be so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserFilter {
    /// Of this address.
    pub email: Option<String>,
    /// Of this role.
    pub role: Option<String>,
    /// Members of this team.
    pub team: Option<String>,
}

// ===== impl Options =====

impl Options {
    /// Sets the time zone whose calendar windows follow.
    #[must_use]
    pub fn zone(mut self, zone: impl Into<String>) -> Self {
        self.zone = zone.into();
        self
    }

    /// Sets the groups of models.
    #[must_use]
    pub fn access_groups(mut self, groups: BTreeMap<String, Vec<String>>) -> Self {
        self.access_groups = groups;
        self
    }

    /// Sets the template of budgets for end users.
    #[must_use]
    pub fn customer_budget(mut self, template: impl Into<String>) -> Self {
        self.customer_budget = Some(template.into());
        self
    }

    /// Sets how long a look-up on the path of a call may take.
    #[must_use]
    pub const fn lookup_deadline(mut self, deadline: Duration) -> Self {
        self.lookup_deadline = deadline;
        self
    }

    /// Sets how long anything else may take.
    #[must_use]
    pub const fn admin_deadline(mut self, deadline: Duration) -> Self {
        self.admin_deadline = deadline;
        self
    }

    /// Sets the most connections at a time.
    #[must_use]
    pub const fn most_connections(mut self, most: u32) -> Self {
        self.most_connections = most;
        self
    }

    /// Sets the clock.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            zone: "UTC".to_owned(),
            access_groups: BTreeMap::new(),
            customer_budget: None,
            lookup_deadline: Duration::from_millis(50),
            admin_deadline: Duration::from_secs(5),
            most_connections: 8,
            clock: Clock::system(),
        }
    }
}

// ===== impl Page =====

impl Page {
    /// So many, behind so many.
    #[must_use]
    pub const fn new(offset: u64, limit: u32) -> Self {
        Self { offset, limit }
    }
}

impl Default for Page {
    fn default() -> Self {
        Self::new(0, 100)
    }
}
