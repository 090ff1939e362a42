//! The shared credentials file, which AWS's own tools write.

use std::{
    env, fmt, fs,
    future::Future,
    path::PathBuf,
    pin::Pin,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use ziggurat_core::Clock;

use crate::{
    KeySource, Keys, NoKeys,
    profile::{section, value},
};

/// Keys of a profile in a shared credentials file. It is read again when what was read is a minute old, as tools renew it; should that fail,
/// the keys of before stay.
pub struct SharedFile {
    path: PathBuf,
    profile: String,
    clock: Clock,
    read: Mutex<Option<(SystemTime, Keys)>>,
}

/// For how long what was read counts.
const FRESH: Duration = Duration::from_secs(60);

// ===== impl SharedFile =====

impl SharedFile {
    /// A profile of the file at this path.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, profile: impl Into<String>) -> Self {
        Self { path: path.into(), profile: profile.into(), clock: Clock::default(), read: Mutex::default() }
    }

    /// The file and the profile that the environment of this process names (`AWS_SHARED_CREDENTIALS_FILE`, `AWS_PROFILE`), else the
    /// profile `default` of `~/.aws/credentials`.
    ///
    /// # Errors
    /// [`NoKeys`], when it names no file and no home.
    pub fn from_environment() -> Result<Self, NoKeys> {
        Self::from_variables(|name| env::var(name).ok())
    }

    /// The file and the profile that such variables name.
    ///
    /// # Errors
    /// [`NoKeys`], when they name no file and no home.
    pub fn from_variables(get: impl Fn(&str) -> Option<String>) -> Result<Self, NoKeys> {
        let given = |name: &str| get(name).filter(|value| !value.is_empty());
        let home = || given("HOME").or_else(|| given("USERPROFILE"));
        let at_home = |home: String| PathBuf::from(home).join(".aws").join("credentials");
        let path = given("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from).or_else(|| home().map(at_home));
        let path = path.ok_or_else(|| NoKeys::new("there is no home for a shared credentials file"))?;
        Ok(Self::new(path, given("AWS_PROFILE").unwrap_or_else(|| "default".to_owned())))
    }

    /// Tells the time by another clock.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    fn current(&self) -> Result<Keys, NoKeys> {
        let now = self.clock.now();
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, keys)) = &*read
            && now.duration_since(*at).is_ok_and(|age| age < FRESH)
        {
            return Ok(keys.clone());
        }
        let found = fs::read_to_string(&self.path)
            .map_err(|error| NoKeys::new(format!("the shared credentials file: {}", error.kind())))
            .and_then(|text| profile(&text, &self.profile));
        let keys = match (found, &*read) {
            (Err(_), Some((_, before))) => before.clone(),
            (found, _) => found?,
        };
        *read = Some((now, keys.clone()));
        Ok(keys)
    }
}

impl KeySource for SharedFile {
    fn keys(&self) -> Pin<Box<dyn Future<Output = Result<Keys, NoKeys>> + Send + '_>> {
        Box::pin(std::future::ready(self.current()))
    }
}

impl fmt::Debug for SharedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedFile").field("profile", &self.profile).finish_non_exhaustive()
    }
}

/// The keys of a profile.
fn profile(text: &str, name: &str) -> Result<Keys, NoKeys> {
    if !text.lines().any(|line| section(line) == Some(name)) {
        return Err(NoKeys::new(format!("the shared credentials file has no profile {name:?}")));
    }
    let needed = |key: &str| {
        value(text, name, key).ok_or_else(|| NoKeys::new(format!("the profile {name:?} has no {key}")))
    };
    let (id, secret) = (needed("aws_access_key_id")?, needed("aws_secret_access_key")?);
    Keys::of(id, secret, value(text, name, "aws_session_token").as_deref(), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# work\n[default]\naws_access_key_id = ID1\naws_secret_access_key=S=1\nregion = x\n\n\
        [ other ]\r\naws_access_key_id=ID2\r\naws_secret_access_key = S2\r\naws_session_token = T2==\r\n\
        [profile third]\naws_access_key_id = ID3\n  aws_secret_access_key = nested\n[empty]\naws_access_key_id =\n";

    fn read(name: &str) -> Result<(String, String, Option<String>), String> {
        let text = |keys: Keys| {
            let token = keys.token().map(|token| token.to_str().expect("is text").to_owned());
            (keys.id().to_owned(), keys.secret().to_owned(), token)
        };
        profile(FILE, name).map(text).map_err(|none| none.why)
    }

    #[test]
    fn a_profile_is_read_and_no_other() {
        assert_eq!(read("default"), Ok(("ID1".into(), "S=1".into(), None)));
        assert_eq!(read("other"), Ok(("ID2".into(), "S2".into(), Some("T2==".into()))));
        assert_eq!(read("third"), Err(r#"the profile "third" has no aws_secret_access_key"#.into()));
        assert_eq!(read("empty"), Err(r#"the profile "empty" has no aws_access_key_id"#.into()));
        assert_eq!(read("none"), Err(r#"the shared credentials file has no profile "none""#.into()));
    }
}
