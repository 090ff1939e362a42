//! Stores beyond the process: the database of keys, Redis, and what happens while they are away.

use std::{collections::BTreeMap, num::NonZeroU32, path::PathBuf, time::Duration};

use ziggurat_core::{OnAway, percent_encoded};

use super::diagnostic::Report;
use super::env::Environment;
use super::node::Node;
use super::spending::beside;
use super::value::{count, seconds, word};
use crate::secret::Secret;

/// Where keys, limits and budgets are kept that outlive the process, or that several gateways share.
#[derive(Debug)]
pub(crate) struct Stores {
    /// `general_settings.database_url`, else the variable `DATABASE_URL`: keys, teams, users, and what they spend.
    pub(crate) database: Option<Database>,
    /// `ziggurat_settings.redis`, else LiteLLM's `redis_url` or `redis_host`: limits and budgets that several gateways share.
    pub(crate) redis: Option<Secret>,
    /// `ziggurat_settings.on_limits_away`: calls while the store of limits is away.
    pub(crate) on_limits_away: OnAway,
    /// `ziggurat_settings.on_budgets_away`: calls while the ledger is away.
    pub(crate) on_budgets_away: OnAway,
    /// `ziggurat_settings.store_deadline`: how long a call waits for Redis, or for the database.
    pub(crate) deadline: Option<Duration>,
    /// `ziggurat_settings.admin_port`: where the admin API answers, and nowhere else then.
    pub(crate) admin_port: Option<u16>,
    /// `general_settings.user_api_key_cache_ttl`: how long a key that was looked up is not looked up again.
    pub(crate) key_ttl: Option<Duration>,
    /// `litellm_settings.max_end_user_budget_id`: the budget of end users who have none of their own.
    pub(crate) customer_budget: Option<String>,
    /// `model_info.access_groups`: the models of each.
    pub(crate) access_groups: BTreeMap<String, Vec<String>>,
}

/// A database.
#[derive(Clone, Debug)]
pub(crate) enum Database {
    /// SQLite, in a file.
    Sqlite(PathBuf),
    /// PostgreSQL, by its URL.
    Postgres(Secret),
}

// ===== impl Stores =====

impl Stores {
    /// Reads it from the whole file and the environment.
    pub(super) fn read(root: &Node, environment: &Environment<'_>, report: &mut Report) -> Self {
        let of = |section: &str, key: &str| root.get(section).and_then(|section| section.get(key));
        let ours = |key: &str| of("ziggurat_settings", key);
        let stores = Self {
            database: read_database(of("general_settings", "database_url"), environment, report),
            redis: read_redis(root, environment, report),
            on_limits_away: read_on_away(ours("on_limits_away"), report).unwrap_or_default(),
            on_budgets_away: read_on_away(ours("on_budgets_away"), report).unwrap_or_default(),
            deadline: seconds(ours("store_deadline"), report),
            admin_port: ours("admin_port").and_then(|node| read_port(node, report)),
            key_ttl: seconds(of("general_settings", "user_api_key_cache_ttl"), report),
            customer_budget: of("litellm_settings", "max_end_user_budget_id")
                .and_then(Node::text)
                .map(str::to_owned),
            access_groups: read_access_groups(root),
        };
        if let (None, Some(node)) = (&stores.redis, ours("on_limits_away")) {
            report.warning(&node.at, &node.path, "does nothing yet: there is no `ziggurat_settings.redis`");
        }
        stores
    }
}

fn read_database(
    node: Option<&Node>,
    environment: &Environment<'_>,
    report: &mut Report,
) -> Option<Database> {
    let Some(node) = node else {
        // A variable that was set for another program is not taken for what it is not.
        return environment.get("DATABASE_URL").and_then(|url| postgres(&url));
    };
    let text = node.text()?;
    if let Some(path) = text.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        if !path.is_empty() && !path.starts_with(':') {
            return Some(Database::Sqlite(beside(node, path)));
        }
    }
    let found = postgres(text);
    if found.is_none() {
        report.error(&node.at, &node.path, "expected `postgresql://...` or `sqlite:<path>`");
    }
    found
}

fn postgres(url: &str) -> Option<Database> {
    let known = ["postgresql://", "postgres://"].iter().any(|scheme| url.starts_with(scheme));
    known.then(|| Database::Postgres(Secret::new(url)))
}

/// The first of our own key, LiteLLM's router's, and those of its cache where that is Redis.
fn read_redis(root: &Node, environment: &Environment<'_>, report: &mut Report) -> Option<Secret> {
    let of = |section: &str, key: &str| root.get(section).and_then(|section| section.get(key));
    if let Some(node) = of("ziggurat_settings", "redis") {
        return read_redis_url(node, report);
    }
    if let Some(node) = of("router_settings", "redis_url") {
        return read_redis_url(node, report);
    }
    let router = root.get("router_settings");
    if let Some(url) = router.and_then(|router| assemble(router, "redis_")) {
        return Some(url);
    }
    let cache = of("litellm_settings", "cache_params")
        .filter(|cache| is_on_redis(cache, environment))
        .filter(|_| of("litellm_settings", "cache").and_then(Node::flag) == Some(true))?;
    if let Some(node) = cache.get("url") {
        return read_redis_url(node, report);
    }
    let set = |name: &str| environment.get(name);
    assemble(cache, "").or_else(|| set("REDIS_URL").map(|url| Secret::new(&url))).or_else(|| {
        let (port, password) = (set("REDIS_PORT").unwrap_or_default(), set("REDIS_PASSWORD"));
        Some(url_of("redis", &set("REDIS_HOST")?, &port, password.as_deref(), None))
    })
}

/// Whether a cache is on Redis: where it says so, or says nothing and names one, as LiteLLM has it.
fn is_on_redis(cache: &Node, environment: &Environment<'_>) -> bool {
    match cache.get("type").and_then(Node::text) {
        Some(kind) => kind == "redis",
        None => {
            ["host", "url"].iter().any(|key| cache.get(key).is_some())
                || environment.get("REDIS_HOST").is_some()
        }
    }
}

fn read_redis_url(node: &Node, report: &mut Report) -> Option<Secret> {
    let text = node.text()?;
    let known = ["redis://", "rediss://", "unix://", "redis+unix://"];
    if !known.iter().any(|scheme| text.starts_with(scheme)) {
        report.error(&node.at, &node.path, "expected `redis://...` or `rediss://...`");
        return None;
    }
    Some(Secret::new(text))
}

/// The URL that LiteLLM's single keys amount to; `None` where no host is among them.
fn assemble(section: &Node, prefix: &str) -> Option<Secret> {
    let text = |key: &str| {
        let node = section.get(&format!("{prefix}{key}"))?;
        node.text().map(str::to_owned).or_else(|| node.decimal().map(|number| number.into_owned()))
    };
    let scheme = match section.get(&format!("{prefix}ssl")).and_then(Node::flag) {
        Some(true) => "rediss",
        _ => "redis",
    };
    let port = text("port").unwrap_or_default();
    Some(url_of(scheme, &text("host")?, &port, text("password").as_deref(), text("db").as_deref()))
}

fn url_of(scheme: &str, host: &str, port: &str, password: Option<&str>, db: Option<&str>) -> Secret {
    let password = password.map_or_else(String::new, |password| format!(":{}@", percent_encoded(password)));
    let port = if port.is_empty() { "6379" } else { port };
    let db = db.map_or_else(String::new, |db| format!("/{db}"));
    Secret::new(&format!("{scheme}://{password}{host}:{port}{db}"))
}

fn read_on_away(node: Option<&Node>, report: &mut Report) -> Option<OnAway> {
    let read = |word: &str, number: Option<&str>| match (word, number) {
        ("deny", None) => Some(OnAway::Deny),
        ("allow", None) => Some(OnAway::Allow),
        ("local", Some(nodes)) => nodes.parse::<NonZeroU32>().ok().map(OnAway::Local),
        _ => None,
    };
    word(node, "`deny`, `allow` or `local:<nodes>`", read, report)
}

fn read_port(node: &Node, report: &mut Report) -> Option<u16> {
    let port = count(Some(node), report)?;
    let read = u16::try_from(port).ok();
    if read.is_none() {
        report.error(&node.at, &node.path, "expected a port, 1 to 65535");
    }
    read
}

fn read_access_groups(root: &Node) -> BTreeMap<String, Vec<String>> {
    let mut groups = BTreeMap::<String, Vec<String>>::new();
    for item in root.get("model_list").map_or(&[][..], Node::items) {
        let Some(model) = item.get("model_name").and_then(Node::text) else { continue };
        let named = item.get("model_info").and_then(|info| info.get("access_groups"));
        for group in named.map_or(&[][..], Node::items).iter().filter_map(Node::text) {
            let models = groups.entry(group.to_owned()).or_default();
            if !models.iter().any(|known| known == model) {
                models.push(model.to_owned());
            }
        }
    }
    groups
}
