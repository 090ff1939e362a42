//! The roles of profiles, in the files that AWS's own tools share.

use std::{fs, path::PathBuf};

use crate::NoKeys;

/// A role that a profile names, as "Assume role credential provider" in AWS's SDK reference has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProfileRole {
    /// `role_arn`.
    pub arn: String,
    /// `role_session_name`.
    pub session: Option<String>,
    /// `external_id`.
    pub external_id: Option<String>,
    /// Who assumes it.
    pub source: RoleSource,
}

/// Who assumes the role of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoleSource {
    /// `source_profile`: another profile, or by its own name its own keys.
    Profile(String),
    /// `credential_source = Environment`.
    Environment,
    /// `credential_source = EcsContainer`.
    Container,
    /// `credential_source = Ec2InstanceMetadata`.
    Instance,
    /// `web_identity_token_file`: whom the token in it names.
    WebIdentity(PathBuf),
}

// ===== impl ProfileRole =====

impl ProfileRole {
    /// The role of a profile, if it names one, in the files that such variables name (`AWS_CONFIG_FILE`, `AWS_SHARED_CREDENTIALS_FILE`), else
    /// in `~/.aws/config` and `~/.aws/credentials`, of which the latter goes before the former. A file that cannot be read names none.
    ///
    /// # Errors
    /// [`NoKeys`], when the profile does not say who assumes its role, or says it twice.
    pub fn from_variables(
        profile: &str,
        get: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, NoKeys> {
        let given = |name: &str| get(name).filter(|value| !value.is_empty());
        let home = given("HOME").or_else(|| given("USERPROFILE"));
        let file = |variable: &str, name: &str| {
            let at_home = || Some(PathBuf::from(home.as_ref()?).join(".aws").join(name));
            let path = given(variable).map(PathBuf::from).or_else(at_home);
            path.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default()
        };
        let (config, shared) =
            (file("AWS_CONFIG_FILE", "config"), file("AWS_SHARED_CREDENTIALS_FILE", "credentials"));
        Self::read(profile, &[&shared, &config])
    }

    /// The role of a profile in these texts, the earlier of which goes first.
    fn read(profile: &str, texts: &[&str]) -> Result<Option<Self>, NoKeys> {
        let of = |key: &str| texts.iter().find_map(|text| value(text, profile, key));
        let Some(arn) = of("role_arn") else { return Ok(None) };
        let invalid = |why: &str| NoKeys::new(format!("the profile {profile:?} {why}"));
        let named = match of("credential_source").as_deref() {
            None => None,
            Some("Environment") => Some(RoleSource::Environment),
            Some("EcsContainer") => Some(RoleSource::Container),
            Some("Ec2InstanceMetadata") => Some(RoleSource::Instance),
            Some(_) => return Err(invalid("has a credential_source that is not known")),
        };
        let others = [
            of("source_profile").map(RoleSource::Profile),
            of("web_identity_token_file").map(|path| RoleSource::WebIdentity(path.into())),
        ];
        let mut sources = named.into_iter().chain(others.into_iter().flatten());
        let source = sources.next().ok_or_else(|| {
            invalid("has a role_arn, and no source_profile, credential_source or web_identity_token_file")
        })?;
        if sources.next().is_some() {
            return Err(invalid("says more than once who assumes its role"));
        }
        Ok(Some(Self { arn, session: of("role_session_name"), external_id: of("external_id"), source }))
    }
}

/// The value of a key of a profile: `name = value` below `[profile]` or `[profile name]`; of several the last. Lines that are indented belong
/// to the one before and hold no keys.
pub(crate) fn value(text: &str, profile: &str, key: &str) -> Option<String> {
    let (mut inside, mut found) = (false, None);
    for line in text.lines().filter(|line| !line.starts_with(['#', ';', ' ', '\t'])) {
        if let Some(section) = section(line) {
            inside = section == profile;
        } else if let Some((name, value)) = line.split_once('=').filter(|_| inside)
            && name.trim() == key
        {
            found = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        }
    }
    found
}

/// The profile that a line begins.
pub(crate) fn section(line: &str) -> Option<&str> {
    let section = line.trim_end().strip_prefix('[')?.strip_suffix(']')?.trim();
    Some(section.strip_prefix("profile ").map_or(section, str::trim))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "[default]\nrole_arn = arn:aws:iam::1:role/d\ncredential_source=Ec2InstanceMetadata\n\
        [profile work]\r\nrole_arn=arn:aws:iam::1:role/w\r\nsource_profile = base\r\nexternal_id = x=1\r\n\
        role_session_name = me\r\n[profile pod]\nrole_arn = a\nweb_identity_token_file = /t\n[profile bare]\nrole_arn = a\n\
        [profile both]\nrole_arn = a\nsource_profile = b\ncredential_source = Environment\n\
        [profile odd]\nrole_arn = a\ncredential_source = canary\n[plain]\nregion = x\n";

    #[test]
    fn the_role_of_a_profile_is_read() {
        let read = |name: &str| ProfileRole::read(name, &["", CONFIG]).map_err(|none| none.why);
        let role = |arn: &str, source| {
            Ok(Some(ProfileRole { arn: arn.to_owned(), session: None, external_id: None, source }))
        };
        assert_eq!(read("default"), role("arn:aws:iam::1:role/d", RoleSource::Instance));
        assert_eq!(read("pod"), role("a", RoleSource::WebIdentity("/t".into())));
        let work = ProfileRole {
            arn: "arn:aws:iam::1:role/w".to_owned(),
            session: Some("me".to_owned()),
            external_id: Some("x=1".to_owned()),
            source: RoleSource::Profile("base".to_owned()),
        };
        assert_eq!(read("work"), Ok(Some(work)));
        assert_eq!((read("plain"), read("nobody")), (Ok(None), Ok(None)));
        let why = r#"the profile "bare" has a role_arn, and no source_profile, credential_source or web_identity_token_file"#;
        assert_eq!(read("bare"), Err(why.to_owned()));
        assert_eq!(
            read("both"),
            Err(r#"the profile "both" says more than once who assumes its role"#.to_owned())
        );
        assert_eq!(
            read("odd"),
            Err(r#"the profile "odd" has a credential_source that is not known"#.to_owned())
        );
        // The file of credentials goes before that of the config.
        let shared = "[work]\nrole_arn = mine\nsource_profile = work\n";
        let mine = ProfileRole::read("work", &[shared, CONFIG]).expect("is one").expect("has one");
        assert_eq!((mine.arn.as_str(), mine.source), ("mine", RoleSource::Profile("work".to_owned())));
    }

    #[test]
    fn files_that_are_not_there_name_no_role() {
        let get = |name: &str| (name == "HOME").then(|| "/nowhere".to_owned());
        assert_eq!(ProfileRole::from_variables("default", get), Ok(None));
        assert_eq!(ProfileRole::from_variables("default", |_| None), Ok(None));
    }
}
