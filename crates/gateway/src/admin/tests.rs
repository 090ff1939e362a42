//! The admin API against a directory in memory.

mod bad_input;
mod keys;
mod others;
mod rights;
mod shown;
mod teams;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use ziggurat_auth::KeyHash;
use ziggurat_budget::Balance;
use ziggurat_core::{Body, Budget, Clock, Usd};
use ziggurat_sql::directory::{Directory, Options};

use super::{Action, Admin, Caller, Changed};

/// An admin API, and what it was given.
struct Bench {
    admin: Admin,
    directory: Directory,
    changed: Arc<Mutex<Vec<Changed>>>,
    /// What was spent, by account: `key <id> <window>`.
    spent: Arc<Mutex<BTreeMap<String, Usd>>>,
}

impl Bench {
    async fn new() -> Self {
        Self::with(Options::default()).await
    }

    async fn with(options: Options) -> Self {
        let clock = Clock::new(now);
        let options = options.zone("Europe/Berlin").clock(clock.clone());
        let directory = Directory::open("sqlite::memory:", options).await.unwrap();
        let changed = Arc::<Mutex<Vec<Changed>>>::default();
        let spent = Arc::<Mutex<BTreeMap<String, Usd>>>::default();
        let (told, ledger) = (Arc::clone(&changed), Arc::clone(&spent));
        let admin = Admin::new(
            Some(directory.clone()),
            Arc::new(move |change| told.lock().unwrap().push(change.clone())),
            Arc::new(move |budget| {
                let balance = balance(&ledger.lock().unwrap(), budget);
                Box::pin(std::future::ready(Some(balance)))
            }),
            "Europe/Berlin".to_owned(),
            clock,
        );
        Self { admin, directory, changed, spent }
    }

    /// By the master key.
    async fn ask(&self, method: &str, path: &str, body: impl Into<Stated>) -> (u16, Value) {
        self.ask_as(&master(), method, path, body).await
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.ask("POST", path, body).await
    }

    /// What must be done.
    async fn done(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.post(path, body).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.ask("GET", path, "").await
    }

    /// What must be there.
    async fn got(&self, path: &str) -> Value {
        let (status, answer) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    async fn ask_as(&self, who: &Caller, method: &str, path: &str, body: impl Into<Stated>) -> (u16, Value) {
        let method: Method = method.parse().unwrap();
        let action = Action::of(&method, path.split('?').next().unwrap()).unwrap().unwrap();
        let request = Request::builder().method(method).uri(path).body(Body::from(body.into().0)).unwrap();
        let response = self.admin.answer(action, who, request).await;
        let status = response.status();
        assert_eq!(response.headers().contains_key("retry-after"), status == StatusCode::SERVICE_UNAVAILABLE);
        let bytes = response.into_body().collect_within(1 << 24).await.unwrap();
        assert_no_duplicates(&bytes);
        let mut answer = serde_json::from_slice(&bytes).unwrap();
        whole(&mut answer);
        (status.as_u16(), answer)
    }

    fn told(&self) -> Vec<Changed> {
        std::mem::take(&mut self.changed.lock().unwrap())
    }

    fn spend(&self, account: impl Into<String>, amount: &str) {
        self.spent.lock().unwrap().insert(account.into(), amount.parse().unwrap());
    }

    /// A new key, and its hash.
    async fn key(&self, body: Value) -> (String, String) {
        let made = self.done("/key/generate", body).await;
        (made["key"].as_str().unwrap().to_owned(), made["token"].as_str().unwrap().to_owned())
    }

    /// Everything that is stored, to be compared.
    async fn everything(&self) -> Value {
        json!([
            self.got("/key/list?size=100&return_full_object=true").await,
            self.got("/team/list").await,
            self.got("/user/list?page_size=100").await,
            self.got("/customer/list").await,
            self.got("/budget/list").await,
        ])
    }
}

/// A body, as bytes.
struct Stated(Vec<u8>);

impl From<&str> for Stated {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl From<String> for Stated {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl From<Value> for Stated {
    fn from(value: Value) -> Self {
        Self(value.to_string().into_bytes())
    }
}

impl From<Vec<u8>> for Stated {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

/// Tells whole amounts as whole numbers, so that they compare; how they are written is looked at by itself.
fn whole(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(whole),
        Value::Object(members) => members.values_mut().for_each(whole),
        Value::Number(number) if number.is_f64() => {
            if let Ok(number) = number.to_string().trim_end_matches(".0").parse::<u64>() {
                *value = number.into();
            }
        }
        _ => {}
    }
}

/// No name may stand twice in an object of an answer: `serde_json` alone would not see it.
fn assert_no_duplicates(bytes: &[u8]) {
    fn walk(raw: &serde_json::value::RawValue) {
        if raw.get().starts_with('{') {
            let fields = super::Fields::parse(raw.get().as_bytes()).unwrap();
            fields.into_members().for_each(|(_, raw)| walk(&raw));
        } else if raw.get().starts_with('[') {
            let items: Vec<Box<serde_json::value::RawValue>> = serde_json::from_str(raw.get()).unwrap();
            items.iter().for_each(|raw| walk(raw));
        }
    }
    walk(serde_json::from_slice::<&serde_json::value::RawValue>(bytes).unwrap());
}

fn balance(spent: &BTreeMap<String, Usd>, budget: &Budget) -> Balance {
    let account = &budget.account;
    let name = format!("{} {} {}", account.scope.kind, account.scope.id, account.period);
    let mut balance = Balance::default();
    balance.spent = spent.get(&name).copied().unwrap_or_default();
    balance.resets_at = (&*account.period != "lifetime").then(|| now() + Duration::from_secs(3600));
    balance
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn master() -> Caller {
    Caller { admin: true, master: true, ..Caller::default() }
}

fn plain(hash: &str, user: Option<&str>, team: Option<&str>) -> Caller {
    Caller {
        admin: false,
        master: false,
        key: KeyHash::from_hex(hash),
        user: user.map(Arc::from),
        team: team.map(Arc::from),
    }
}

fn hash(text: &str) -> KeyHash {
    KeyHash::from_hex(text).unwrap()
}

/// Status, type, field and message of a refusal.
fn refusal(answer: &(u16, Value)) -> (u16, &str, Option<&str>, &str) {
    let (status, body) = answer;
    let error = &body["error"];
    assert_eq!(error["code"], status.to_string(), "{body}");
    assert_eq!(body.as_object().unwrap().len(), 1);
    assert_eq!(error.as_object().unwrap().len(), 4);
    let (kind, message) = (error["type"].as_str().unwrap(), error["message"].as_str().unwrap());
    (*status, kind, error["param"].as_str(), message)
}
