//! `litellm_settings.cache` and `cache_params`, and `ziggurat_settings.cache`: answers that are given again.

use std::time::Duration;

use ziggurat_cache::Share;
use ziggurat_core::Operation;

use super::check::{IGNORED, check};
use super::diagnostic::Report;
use super::keys::{
    Kind::{Any, Flag, Name, Number, Text, Texts},
    Policy::{Ignore, Read},
    Section, Unknown, group,
};
use super::node::{Node, Value};
use super::value::{count, seconds, word};

/// Where answers are kept, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CacheSettings {
    /// `cache_params.type`: `local`, or `redis`.
    pub(crate) place: CachePlace,
    /// `cache_params.ttl`.
    pub(crate) ttl: Option<Duration>,
    /// `cache_params.namespace`.
    pub(crate) namespace: Option<String>,
    /// `cache_params.mode: default_off`.
    pub(crate) opt_in: bool,
    /// `cache_params.supported_call_types`.
    pub(crate) operations: Option<Vec<Operation>>,
    /// `ziggurat_settings.cache.share`.
    pub(crate) share: Share,
    /// `ziggurat_settings.cache.max_bytes`: of all answers in memory; 256 MiB unless set.
    pub(crate) max_bytes: u64,
    /// `ziggurat_settings.cache.max_entry_bytes`.
    pub(crate) max_entry: Option<usize>,
}

/// Where answers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CachePlace {
    /// In this process.
    Memory,
    /// On the Redis of the config.
    Redis,
}

// ===== impl CacheSettings =====

impl CacheSettings {
    /// `None` where nothing is given again, which is the default. `has_redis` is whether the config names a Redis.
    pub(super) fn read(root: &Node, has_redis: bool, report: &mut Report) -> Option<Self> {
        let of = |section: &str, key: &str| root.get(section).and_then(|section| section.get(key));
        let (flag, params) = (of("litellm_settings", "cache"), of("litellm_settings", "cache_params"));
        let ours = of("ziggurat_settings", "cache");
        for (node, section) in [(params, &CACHE_PARAMS), (ours, &CACHE)] {
            if let Some(node) = node.filter(|node| matches!(node.value, Value::Map(_))) {
                check(node, section, report);
            }
        }
        if flag.and_then(Node::flag) != Some(true) {
            for node in [params, ours].into_iter().flatten() {
                report.warning(&node.at, &node.path, "does nothing: `litellm_settings.cache` is not true");
            }
            return None;
        }
        let param = |key: &str| params.and_then(|params| params.get(key));
        let our = |key: &str| ours.and_then(|ours| ours.get(key));
        let read = Self {
            place: place(param("type"), has_redis, report)?,
            ttl: seconds(param("ttl"), report),
            namespace: param("namespace").and_then(Node::text).map(str::to_owned),
            opt_in: word(param("mode"), "`default_on` or `default_off`", mode, report).unwrap_or(false),
            operations: param("supported_call_types").map(|node| operations(node, report)),
            share: word(our("share"), SHARES, share, report).unwrap_or_default(),
            max_bytes: count(our("max_bytes"), report).unwrap_or(256 << 20),
            max_entry: count(our("max_entry_bytes"), report)
                .map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
        };
        Some(read)
    }
}

fn place(node: Option<&Node>, has_redis: bool, report: &mut Report) -> Option<CachePlace> {
    let usual = if has_redis { CachePlace::Redis } else { CachePlace::Memory };
    let Some(node) = node else { return Some(usual) };
    match node.text()? {
        "local" => Some(CachePlace::Memory),
        "redis" if has_redis => Some(CachePlace::Redis),
        "redis" => {
            let message = "no Redis is named, by `host`, `url`, `REDIS_HOST` or `ziggurat_settings.redis`";
            report.error(&node.at, &node.path, message);
            None
        }
        "redis-semantic" | "valkey-semantic" | "qdrant-semantic" | "s3" | "gcs" | "azure-blob" | "disk" => {
            report.warning(&node.at, &node.path, IGNORED);
            None
        }
        _ => {
            report.error(&node.at, &node.path, "expected `local` or `redis`");
            None
        }
    }
}

fn mode(word: &str, number: Option<&str>) -> Option<bool> {
    match (word, number) {
        ("default_on", None) => Some(false),
        ("default_off", None) => Some(true),
        _ => None,
    }
}

fn share(word: &str, number: Option<&str>) -> Option<Share> {
    match (word, number) {
        ("key", None) => Some(Share::Key),
        ("user", None) => Some(Share::User),
        ("team", None) => Some(Share::Team),
        ("organisation" | "organization", None) => Some(Share::Organisation),
        ("everyone", None) => Some(Share::Everyone),
        _ => None,
    }
}

const SHARES: &str = "`key`, `user`, `team`, `organisation` or `everyone`";

/// LiteLLM's names of calls, each with its asynchronous twin.
fn operations(node: &Node, report: &mut Report) -> Vec<Operation> {
    let mut all: Vec<Operation> = Vec::new();
    for item in node.items() {
        let Some(text) = item.text() else { continue };
        let named: &[Operation] =
            match text.strip_prefix('a').filter(|rest| !rest.starts_with("nthropic")).unwrap_or(text) {
                "completion" => &[Operation::Chat, Operation::Generate, Operation::StreamGenerate],
                "text_completion" => &[Operation::Completions],
                "embedding" => {
                    &[Operation::Embeddings, Operation::EmbedContent, Operation::BatchEmbedContents]
                }
                "transcription" => &[Operation::Transcription],
                "rerank" => &[Operation::Rerank],
                "responses" => &[Operation::Responses],
                "anthropic_messages" => &[Operation::Messages],
                _ => {
                    report.warning(&item.at, &item.path, IGNORED);
                    continue;
                }
            };
        all.extend_from_slice(named);
    }
    all
}

/// `litellm_settings.cache_params`.
const CACHE_PARAMS: Section = Section {
    unknown: Unknown::Note,
    groups: &[
        group(Read, Text, "type namespace mode host password url"),
        group(Read, Name, "port db"),
        group(Read, Number, "ttl"),
        group(Read, Flag, "ssl"),
        group(Read, Texts, "supported_call_types"),
        group(
            Ignore,
            Any,
            "default_in_memory_ttl default_in_redis_ttl redis_startup_nodes redis_flush_size max_connections username
             service_name sentinel_nodes sentinel_password gcp_service_account gcp_ssl_ca_certs socket_timeout
             similarity_threshold redis_semantic_* qdrant_* valkey_* semantic_cache_scope s3_* gcs_* azure_*
             disk_cache_dir",
        ),
    ],
};

/// `ziggurat_settings.cache`.
const CACHE: Section = Section {
    unknown: Unknown::Refuse,
    groups: &[group(Read, Text, "share"), group(Read, Number, "max_bytes max_entry_bytes")],
};
