//! One suite for both databases, and what each of them has of its own.

mod hostile;
mod lookup;
mod models;
#[cfg(feature = "postgres")]
mod postgres;
mod shared;
mod sqlite;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use ziggurat_auth::{KeyHash, KeyStore, Owner};
use ziggurat_core::{Clock, Usd};

use super::{
    BudgetTemplate, Customer, Directory, DirectoryError, Key, KeyFilter, Member, MemberFilter, Options, Page,
    Team, TeamFilter, User, UserFilter,
};

/// Each of them runs in a database of its own, on both.
macro_rules! suite {
    ($($module:ident::$test:ident,)*) => {
        $(
            mod $test {
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn on_sqlite() {
                    let dir = tempfile::tempdir().unwrap();
                    let url = format!("sqlite:{}", dir.path().join("directory.db").display());
                    super::$module::$test(&super::open(&url).await).await;
                }
            }
        )*

        #[cfg(feature = "postgres")]
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn all_on_postgres() {
            let Some(server) = ziggurat_testkit::postgres::Postgres::start() else { return };
            $(
                println!("{}", stringify!($test));
                let directory = open(&server.create_database(stringify!($test))).await;
                Box::pin($module::$test(&directory)).await;
                directory.close().await;
            )*
        }
    };
}

suite! {
    shared::what_is_added_is_found_changed_and_deleted,
    shared::what_a_newer_version_wrote_is_kept,
    shared::ids_and_aliases_are_unique,
    shared::what_is_named_is_there,
    shared::identities_and_the_time_of_making_stay,
    shared::lists_filter_and_page,
    shared::a_team_goes_with_its_keys_and_members,
    shared::a_user_goes_with_its_keys_and_memberships,
    shared::concurrent_changes_lose_nothing,
    shared::a_change_that_fails_changes_nothing,
    shared::a_regenerated_key_keeps_its_account,
    hostile::sql_is_text,
    hostile::what_cannot_be_is_refused_by_name_and_changes_nothing,
    hostile::what_cannot_be_stored_is_not_found,
    lookup::a_key_comes_with_what_it_belongs_to,
    lookup::whoever_is_blocked_blocks_the_key,
    lookup::templates_fill_what_is_not_stated,
    lookup::a_personal_key_has_its_users_rules_and_a_team_key_has_not,
    lookup::what_has_no_cap_is_counted,
    lookup::whoever_is_no_member_is_held_to_what_members_are,
    lookup::whoever_a_token_names_has_the_rules_of_its_team_or_its_own,
    lookup::end_users_have_their_own_or_everybodys,
    lookup::a_window_that_nobody_can_read_does_not_open_the_gate,
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(1_800_000_000_123_456)
}

fn options() -> Options {
    // Slow machines are not what is tested.
    let deadline = Duration::from_secs(30);
    Options::default().clock(Clock::new(now)).lookup_deadline(deadline).admin_deadline(deadline)
}

async fn open(url: &str) -> Directory {
    Directory::open(url, options().zone("Europe/Berlin").customer_budget("everybody")).await.unwrap()
}

fn hash(secret: &str) -> KeyHash {
    KeyHash::of(secret.as_bytes())
}

fn key(secret: &str) -> Key {
    Key::new(hash(secret))
}

/// A change that nothing can be wrong with.
fn set<T>(change: impl FnOnce(&mut T) + Send) -> impl FnOnce(&mut T) -> Result<(), DirectoryError> + Send {
    move |entity| {
        change(entity);
        Ok(())
    }
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn new_keys_are_random_and_shown_by_their_end() {
    let (one, hash) = Directory::new_key().unwrap();
    let (other, _) = Directory::new_key().unwrap();
    assert_eq!(hash, KeyHash::of(one.as_bytes()));
    assert_ne!(one, other);
    assert_eq!((one.len(), &one[..3]), (46, "sk-"));
    assert_eq!(Directory::masked(&one), format!("sk-...{}", &one[42..]));
    assert_eq!(Directory::masked("sk-1234"), "sk-...");
    assert_eq!(Directory::masked("sk-aaaaaaaaaaaaaaaaaa\u{1F511}"), "sk-...");
    assert_eq!(Directory::masked("sk-aaaaaaaaaaaaaaaaaa\n\n\n\n"), "sk-...");
}

#[tokio::test]
async fn a_url_or_a_zone_that_is_none_is_refused_without_being_quoted() {
    for url in ["", "mysql://u:secret@h/d", "sqlite:", "ledger.db"] {
        let refused = Directory::open(url, Options::default()).await.unwrap_err();
        assert!(
            matches!(&refused, DirectoryError::Invalid { field, .. } if field == "url"),
            "{url}: {refused}"
        );
        assert!(!format!("{refused} {refused:?}").contains("secret"));
    }
    let refused = Directory::open("sqlite::memory:", Options::default().zone("Mars/Base")).await.unwrap_err();
    assert!(matches!(refused, DirectoryError::Invalid { field, .. } if field == "zone"));
}

#[tokio::test]
async fn a_directory_in_memory_has_one_connection_and_says_nothing_of_itself() {
    let directory = Directory::open("sqlite::memory:", options()).await.unwrap();
    directory.insert_key(key("sk-a")).await.unwrap();
    assert!(directory.key(&hash("sk-a")).await.unwrap().is_some());
    assert!(directory.customer("nobody").await.unwrap().is_none());
    assert_eq!(format!("{directory:?}"), "Directory { .. }");
    directory.ping().await.unwrap();
    directory.close().await;
    assert!(matches!(directory.ping().await, Err(DirectoryError::Away(_))));
}
