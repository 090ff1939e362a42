//! `/key/...`

use std::{collections::BTreeMap, time::SystemTime};

use http::Uri;
use serde::Serialize;
use ziggurat_auth::KeyHash;
use ziggurat_budget::calendar;
use ziggurat_sql::directory::{Directory, Key, KeyFilter, Page};

use super::{
    Answer, Changed, Context,
    allowance::{AllowanceFields, Notes},
    errors::Refusal,
    fields::Fields,
    given::Given,
    json,
    query::{Query, decoded},
    shapes::KeyShape,
    users::is_admin,
};

/// What a request says of a key.
pub(super) struct KeyFields {
    alias: Given<String>,
    user: Given<String>,
    team: Given<String>,
    organisation: Given<String>,
    budget: Given<String>,
    allowance: AllowanceFields,
    models: Given<Vec<String>>,
    aliases: Given<BTreeMap<String, String>>,
    routes: Given<Vec<String>>,
    notes: Notes,
    blocked: Given<bool>,
    expires: Given<SystemTime>,
}

/// A key as it is told once, to whoever made it.
#[derive(Serialize)]
struct Made {
    key: String,
    token_id: String,
    #[serde(flatten)]
    shape: KeyShape,
}

#[derive(Serialize)]
struct Updated {
    key: String,
    #[serde(flatten)]
    shape: KeyShape,
}

#[derive(Serialize)]
struct Info {
    key: String,
    info: KeyShape,
}

#[derive(Serialize)]
struct List {
    keys: Vec<Listed>,
    total_count: u64,
    current_page: u32,
    total_pages: u64,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Listed {
    Token(String),
    Whole(Box<KeyShape>),
}

#[derive(Serialize)]
struct Deleted {
    deleted_keys: Vec<String>,
}

impl Context<'_> {
    pub(super) async fn new_key(&self, mut fields: Fields) -> Answer {
        let (secret, hash) = self.secret(&mut fields, "key")?;
        let stated = KeyFields::read(&mut fields, self.admin.clock.now())?;
        finish(fields)?;
        let mut key = Key::new(hash);
        key.name = Directory::masked(&secret);
        // Whose it is must be said: the key of an administrator makes no administrators by chance.
        key.created_by = Some(self.made_by());
        stated.put(&mut key);
        key.admin = self.is_for_admin(&key).await?;
        let key = self.settle(&Changed::Key(hash), self.directory.insert_key(key).await)?;
        let token_id = hash.to_string();
        json(&Made { key: secret, token_id, shape: self.show_key(key).await? })
    }

    pub(super) async fn update_key(&self, mut fields: Fields) -> Answer {
        let hash = match fields.text("key")? {
            Given::Value(key) => named(&key),
            // Then the alias says which, and stays.
            _ => {
                let alias = fields.text("key_alias")?.value().ok_or_else(|| Refusal::missing("key"))?;
                let key = self.directory.get_key_by_alias(&alias).await;
                key.map_err(|error| self.refuse(error))?.hash
            }
        };
        let stated = KeyFields::read(&mut fields, self.admin.clock.now())?;
        finish(fields)?;
        let key = self.change_key(&hash, stated).await?;
        json(&Updated { key: hash.to_string(), shape: self.show_key(key).await? })
    }

    pub(super) async fn delete_keys(&self, mut fields: Fields) -> Answer {
        let (by_key, by_alias) = (fields.has("keys"), fields.has("key_aliases"));
        let mut hashes = Vec::new();
        let mut deleted_keys = Vec::new();
        let mut unknown = Vec::new();
        if by_key || !by_alias {
            for (at, key) in fields.ids("keys")?.iter().enumerate() {
                let hash = named(key);
                match self.known(self.directory.get_key(&hash).await)? {
                    Some(_) => hashes.push(hash.to_string()),
                    // It may be a key, of which nothing is shown.
                    None => unknown.push(format!("keys[{at}]")),
                }
            }
            deleted_keys.clone_from(&hashes);
        }
        if by_alias {
            for (at, alias) in fields.ids("key_aliases")?.into_iter().enumerate() {
                match self.known(self.directory.get_key_by_alias(&alias).await)? {
                    Some(key) => hashes.push(key.hash.to_string()),
                    None => unknown.push(format!("key_aliases[{at}]")),
                }
                deleted_keys.push(alias);
            }
        }
        finish(fields)?;
        if !unknown.is_empty() {
            let message = format!("no such key, and so none is deleted: {}", unknown.join(", "));
            return Err(Refusal::not_found("keys", message));
        }
        hashes.sort_unstable();
        hashes.dedup();
        self.delete_all(&hashes).await?;
        json(&Deleted { deleted_keys })
    }

    pub(super) async fn block_key(&self, mut fields: Fields, blocked: bool) -> Answer {
        let hash = named(&fields.required("key")?);
        finish(fields)?;
        let done = self.directory.set_key_blocked(&hash, blocked).await;
        let key = self.settle(&Changed::Key(hash), done)?;
        json(&self.show_key(key).await?)
    }

    /// Puts a new secret in the place of an old one, which ends at once, and changes what is stated beside it.
    pub(super) async fn regenerate(&self, uri: &Uri, mut fields: Fields) -> Answer {
        let in_path = in_path(uri)?;
        let old = match (fields.text("key")?.value(), in_path) {
            (Some(key), Some(other)) if named(&key) != named(&other) => {
                return Err(Refusal::invalid("key", "is another one than that in the path"));
            }
            (Some(key), _) | (None, Some(key)) => named(&key),
            (None, None) => return Err(Refusal::missing("key")),
        };
        let (secret, new) = self.secret(&mut fields, "new_key")?;
        let stated = KeyFields::read(&mut fields, self.admin.clock.now())?;
        finish(fields)?;
        if new == old || self.known(self.directory.get_key(&new).await)?.is_some() {
            return Err(Refusal::invalid("new_key", "is there already"));
        }
        let change = |key: &mut Key| {
            stated.put(key);
            Ok(())
        };
        let done = self.directory.regenerate_with(&old, new, &Directory::masked(&secret), change).await;
        (self.admin.revoke)(&Changed::Key(new));
        let key = self.settle(&Changed::Key(old), done)?;
        let token_id = new.to_string();
        json(&Made { key: secret, token_id, shape: self.show_key(key).await? })
    }

    pub(super) async fn key_info(&self, mut query: Query) -> Answer {
        let asked = query.text("key").map(|key| named(&key));
        query.finish()?;
        let own = self.who.key;
        if !self.who.admin && (own.is_none() || asked.is_some_and(|asked| Some(asked) != own)) {
            return Err(Refusal::forbidden(self.action));
        }
        let hash = asked.or(own).ok_or_else(|| Refusal::missing("key"))?;
        let key = self.directory.get_key(&hash).await.map_err(|error| self.refuse(error))?;
        json(&Info { key: hash.to_string(), info: self.show_key(key).await? })
    }

    pub(super) async fn list_keys(&self, mut query: Query) -> Answer {
        let current_page = query.number("page", 1, u32::MAX)?;
        let size = query.number("size", 10, 100)?;
        let whole = query.flag("return_full_object")?;
        let mut filter = KeyFilter::default();
        filter.user = query.text("user_id");
        filter.team = query.text("team_id");
        filter.organisation = query.text("organization_id");
        filter.alias = query.text("key_alias");
        filter.budget = query.text("budget_id");
        query.finish()?;
        let page = Page::new(u64::from(current_page - 1) * u64::from(size), size);
        let listed = self.directory.list_keys(&filter, page).await.map_err(|error| self.refuse(error))?;
        let mut keys = Vec::with_capacity(listed.items.len());
        for key in listed.items {
            keys.push(match whole {
                true => Listed::Whole(Box::new(self.show_key(key).await?)),
                false => Listed::Token(key.hash.to_string()),
            });
        }
        let total_pages = listed.total.div_ceil(u64::from(size));
        json(&List { keys, total_count: listed.total, current_page, total_pages })
    }

    /// All keys of a filter, shown.
    pub(super) async fn show_keys(
        &self,
        filter: &KeyFilter,
        is_shown: impl Fn(&Key) -> bool,
    ) -> Result<Vec<KeyShape>, Refusal> {
        let mut shown = Vec::new();
        let mut offset = 0;
        loop {
            let page = Page::new(offset, AT_ONCE);
            let listed = self.directory.list_keys(filter, page).await.map_err(|error| self.refuse(error))?;
            offset += u64::from(AT_ONCE);
            for key in listed.items.into_iter().filter(&is_shown) {
                shown.push(self.show_key(key).await?);
            }
            if offset >= listed.total {
                return Ok(shown);
            }
        }
    }

    /// Whether a key that is made now is an administrator's. One that exists is not made one by what becomes of its user.
    async fn is_for_admin(&self, key: &Key) -> Result<bool, Refusal> {
        let (None, Some(user)) = (&key.team, &key.user) else { return Ok(false) };
        let user = self.known(self.directory.get_user(user).await)?;
        Ok(user.is_some_and(|user| is_admin(&user)))
    }

    async fn change_key(&self, hash: &KeyHash, stated: KeyFields) -> Result<Key, Refusal> {
        let change = |key: &mut Key| {
            stated.put(key);
            Ok(())
        };
        self.settle(&Changed::Key(*hash), self.directory.update_key(hash, change).await)
    }

    /// The secret that is asked for, or a new one.
    fn secret(&self, fields: &mut Fields, name: &str) -> Result<(String, KeyHash), Refusal> {
        let Given::Value(secret) = fields.text(name)? else {
            return Directory::new_key().map_err(|error| self.refuse(error));
        };
        if !is_key(&secret) {
            let why = "begins with sk- and goes on with 16 to 200 letters, digits, -, _ and .";
            return Err(Refusal::invalid(name, format!("a key {why}")));
        }
        let hash = KeyHash::of(secret.as_bytes());
        Ok((secret, hash))
    }
}

// ===== impl KeyFields =====

impl KeyFields {
    pub(super) fn read(from: &mut Fields, now: SystemTime) -> Result<Self, Refusal> {
        Ok(Self {
            alias: from.text("key_alias")?,
            user: from.text("user_id")?,
            team: from.text("team_id")?,
            organisation: from.text("organization_id")?,
            budget: from.text("budget_id")?,
            allowance: AllowanceFields::read(from)?,
            models: from.texts("models")?,
            aliases: from.of_models("aliases", |raw, path| {
                serde_json::from_str(raw.get()).map_err(|_| Refusal::wrong_type(path, "a string"))
            })?,
            routes: from.texts("allowed_routes")?,
            notes: Notes::read(from, true)?,
            blocked: from.flag("blocked")?,
            expires: expires(from, now)?,
        })
    }

    pub(super) fn put(self, key: &mut Key) {
        self.alias.put(&mut key.alias);
        self.user.put(&mut key.user);
        self.team.put(&mut key.team);
        self.organisation.put(&mut key.organisation);
        self.budget.put(&mut key.budget);
        self.allowance.put(&mut key.allowance);
        self.models.put_in(&mut key.models);
        self.aliases.put_in(&mut key.aliases);
        self.routes.put_in(&mut key.routes);
        self.notes.put(&mut key.metadata, &mut key.tags);
        self.blocked.put_in(&mut key.blocked);
        self.expires.put(&mut key.expires_at);
    }
}

/// When a key ends, by how long it is to be good from now; LiteLLM's `-1` is for ever.
pub(super) fn expires(from: &mut Fields, now: SystemTime) -> Result<Given<SystemTime>, Refusal> {
    match from.text("duration")? {
        Given::Value(text) if text == "-1" => Ok(Given::Null),
        text => text.map(|text| {
            let seconds = calendar::seconds(&text).map_err(|error| Refusal::invalid("duration", error))?;
            let at = now.checked_add(std::time::Duration::from_secs(seconds));
            at.ok_or_else(|| Refusal::invalid("duration", "is too long"))
        }),
    }
}

/// What there is to say of keys beside their fields.
pub(super) fn finish(mut fields: Fields) -> Result<(), Refusal> {
    match fields.text("key_type")? {
        Given::Value(kind) if kind != "default" => {
            Err(Refusal::invalid("key_type", "is not supported here: say allowed_routes"))
        }
        _ => fields.finish(),
    }
}

/// The hash of a key that is named by itself or by its hash.
fn named(key: &str) -> KeyHash {
    KeyHash::from_hex(key).unwrap_or_else(|| KeyHash::of(key.as_bytes()))
}

/// The key in `/key/{key}/regenerate`.
fn in_path(uri: &Uri) -> Result<Option<String>, Refusal> {
    let path = uri.path().strip_suffix('/').unwrap_or(uri.path());
    let within = path.strip_prefix("/key/").and_then(|rest| rest.strip_suffix("/regenerate"));
    let Some(key) = within else { return Ok(None) };
    let key = decoded(key).filter(|key| !key.is_empty());
    key.map(Some).ok_or_else(|| Refusal::malformed("the path is not well encoded"))
}

fn is_key(text: &str) -> bool {
    text.strip_prefix("sk-").is_some_and(|rest| {
        (16..=200).contains(&rest.len())
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    })
}

/// How many are read at a time.
const AT_ONCE: u32 = 1_000;
