//! The layer: its configuration.

use std::{fmt, sync::Arc};

use http::{StatusCode, request::Parts};
use tower_layer::Layer;
use ziggurat_catalog::{
    Catalog,
    tokens::{ByLength, CountTokens},
};
use ziggurat_core::{Budget, Limits, Scope, ScopeKind, Usd, Window};

use crate::{Budgeted, Disconnect, Ledger, Uncapped, Unpriced};

/// Keeps what calls cost within budgets.
#[derive(Clone)]
pub struct BudgetLayer {
    config: Arc<Config>,
}

#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) ledger: Ledger,
    pub(crate) catalog: Catalog,
    pub(crate) counter: Arc<dyn CountTokens>,
    /// The scopes that the host names; `None` leaves it to the principal.
    pub(crate) scopes: Option<Arc<NameScopes>>,
    /// The budget of every scope of a kind.
    pub(crate) caps: Arc<[Cap]>,
    /// Budgets that apply to every call.
    pub(crate) fixed: Arc<[Budget]>,
    pub(crate) whole: Uncapped,
    pub(crate) streamed: Uncapped,
    pub(crate) unpriced: Unpriced,
    pub(crate) disconnect: Disconnect,
    pub(crate) refusal: StatusCode,
    pub(crate) request: Limits,
    pub(crate) max_response: usize,
    pub(crate) ask_usage: bool,
    pub(crate) tell_cost: bool,
    pub(crate) report: bool,
}

pub(crate) type NameScopes = dyn Fn(&Parts) -> Vec<Scope> + Send + Sync;

/// What every scope of a kind may spend.
#[derive(Clone)]
pub(crate) struct Cap {
    pub(crate) kind: ScopeKind,
    pub(crate) cap: Usd,
    pub(crate) soft: Option<Usd>,
    pub(crate) window: Window,
    /// The window's name, made once.
    pub(crate) period: Arc<str>,
}

// ===== impl BudgetLayer =====

impl BudgetLayer {
    /// A layer that counts in `ledger` what calls cost by `catalog`, and applies the budgets of the
    /// [`Principal`](ziggurat_core::Principal).
    #[must_use]
    pub fn new(ledger: Ledger, catalog: Catalog) -> Self {
        Self {
            config: Arc::new(Config {
                ledger,
                catalog,
                counter: Arc::new(ByLength),
                scopes: None,
                caps: Arc::new([]),
                fixed: Arc::new([]),
                whole: Uncapped::ReserveModelCap,
                streamed: Uncapped::Extend,
                unpriced: Unpriced::default(),
                disconnect: Disconnect::default(),
                refusal: StatusCode::TOO_MANY_REQUESTS,
                request: Limits::default(),
                max_response: 64 << 20,
                ask_usage: true,
                tell_cost: false,
                report: false,
            }),
        }
    }

    /// Names the scopes of a call from its head, in place of the principal's. A call for which it names none is refused: nobody
    /// escapes a cap by leaving out a header.
    #[must_use]
    pub fn scope<I>(self, name: impl Fn(&Parts) -> I + Send + Sync + 'static) -> Self
    where
        I: IntoIterator<Item = Scope>,
    {
        self.change(|config| {
            config.scopes = Some(Arc::new(move |parts| name(parts).into_iter().collect()));
        })
    }

    /// Gives every scope of a kind this budget: those that [`BudgetLayer::scope`] names, else the principal's key, team, user,
    /// organisation and tags; and the end user, the model, the deployment and the provider of each call.
    #[must_use]
    pub fn cap(self, kind: ScopeKind, cap: Usd, window: Window) -> Self {
        self.add_cap(kind, cap, None, window)
    }

    /// As [`BudgetLayer::cap`], with an amount that alerts before.
    #[must_use]
    pub fn soft_cap(self, kind: ScopeKind, soft: Usd, cap: Usd, window: Window) -> Self {
        self.add_cap(kind, cap, Some(soft), window)
    }

    /// Applies a budget to every call, whoever makes it.
    #[must_use]
    pub fn budget(self, budget: Budget) -> Self {
        self.change(|config| config.fixed = config.fixed.iter().cloned().chain([budget]).collect())
    }

    /// Sets what is set aside for an answer in one piece whose call states no cap; [`Uncapped::ReserveModelCap`] unless set.
    #[must_use]
    pub fn uncapped(self, policy: Uncapped) -> Self {
        self.change(|config| config.whole = policy)
    }

    /// Sets what is set aside for a stream whose call states no cap; [`Uncapped::Extend`] unless set.
    #[must_use]
    pub fn uncapped_streams(self, policy: Uncapped) -> Self {
        self.change(|config| config.streamed = policy)
    }

    /// Sets what happens to models without a price.
    #[must_use]
    pub fn unpriced(self, policy: Unpriced) -> Self {
        self.change(|config| config.unpriced = policy)
    }

    /// Sets what becomes of streams whose callers leave.
    #[must_use]
    pub fn on_disconnect(self, policy: Disconnect) -> Self {
        self.change(|config| config.disconnect = policy)
    }

    /// Sets how input tokens are counted before the provider does; [`ByLength`] unless set.
    #[must_use]
    pub fn counter(self, counter: impl CountTokens) -> Self {
        self.change(|config| config.counter = Arc::new(counter))
    }

    /// Sets the status of a refusal; 429 unless set.
    #[must_use]
    pub fn refusal_status(self, status: StatusCode) -> Self {
        self.change(|config| config.refusal = status)
    }

    /// Sets the bounds of a request, where no outer layer has read it yet.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        self.change(|config| config.request = limits)
    }

    /// Sets the longest whole answer in bytes; 64 MiB unless set.
    #[must_use]
    pub fn max_response(self, bytes: usize) -> Self {
        self.change(|config| config.max_response = bytes)
    }

    /// Sets whether OpenAI's API is asked for the usage of a stream whose caller did not ask (`stream_options`), where no inner layer
    /// of ours does; it is, unless set. The extra chunk is taken out again. A provider that does not know the option refuses it:
    /// without it, the output is estimated.
    #[must_use]
    pub fn ask_usage(self, ask: bool) -> Self {
        self.change(|config| config.ask_usage = ask)
    }

    /// Tells OpenAI's callers what a stream has cost, as `cost` in US dollars in its usage chunk, for those that ask for one.
    #[must_use]
    pub fn tell_cost(self) -> Self {
        self.change(|config| config.tell_cost = true)
    }

    /// Attaches a [`Spending`](crate::Spending) to each response, also where no budget applies.
    #[must_use]
    pub fn report(self) -> Self {
        self.change(|config| config.report = true)
    }

    fn add_cap(self, kind: ScopeKind, cap: Usd, soft: Option<Usd>, window: Window) -> Self {
        let added = Cap { kind, cap, soft, period: window.name(), window };
        self.change(|config| config.caps = config.caps.iter().cloned().chain([added]).collect())
    }

    fn change(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(Arc::make_mut(&mut self.config));
        self
    }
}

impl<S> Layer<S> for BudgetLayer {
    type Service = Budgeted<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Budgeted::new(inner, Arc::clone(&self.config))
    }
}

impl fmt::Debug for BudgetLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BudgetLayer").field("budgets", &self.config.fixed).finish_non_exhaustive()
    }
}
