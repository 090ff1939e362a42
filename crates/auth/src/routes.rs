//! Which paths a key may call.

use std::sync::Arc;

use http::Method;
use ziggurat_core::Operation;

/// What a request asks for, as far as rights to it go.
pub(crate) struct Route<'p> {
    operation: Operation,
    path: &'p str,
}

// ===== impl Route =====

impl<'p> Route<'p> {
    pub(crate) fn new(operation: Operation, path: &'p str) -> Self {
        Self { operation, path: trimmed(path) }
    }

    /// Whether one of the entries allows it. An administrator's `*` reaches everything; anybody else's does not reach what manages.
    pub(crate) fn is_allowed(&self, entries: &[Arc<str>], admin: bool) -> bool {
        entries.iter().any(|entry| match (&**entry, entry.strip_suffix('*')) {
            ("llm_api_routes", _) => self.operation != Operation::Other,
            ("info_routes", _) => INFO.contains(&self.path),
            ("management_routes", _) => is_management(self.path),
            (_, Some(prefix)) => {
                let reaches = admin || !is_management(self.path) || is_management(prefix);
                self.path.starts_with(prefix) && reaches && is_plain(self.path)
            }
            (exact, None) => trimmed(exact) == self.path || self.does_what(exact),
        })
    }

    /// Whether the path of an entry asks for the same: an operation has several paths.
    fn does_what(&self, entry: &str) -> bool {
        let of = |method| match Operation::of_path(&method, entry) {
            // One model is not all of them.
            (Operation::Models, _, Some(_)) => Operation::Other,
            (operation, ..) => operation,
        };
        self.operation != Operation::Other
            && (of(Method::POST) == self.operation || of(Method::GET) == self.operation)
    }
}

fn trimmed(path: &str) -> &str {
    match path.strip_suffix('/') {
        Some("") | None => path,
        Some(path) => path,
    }
}

/// Whether a path begins as those do that manage keys and what belongs to them.
fn is_management(path: &str) -> bool {
    MANAGEMENT.iter().any(|prefix| path.starts_with(prefix))
}

/// Whether no server reads a path as another than its letters say.
fn is_plain(path: &str) -> bool {
    let odd = path.contains("//") || path.contains(['\\', '%']);
    !odd && !path.split('/').any(|segment| matches!(segment, "." | ".."))
}

/// What tells of keys, teams, users and models; LiteLLM's group of the name.
const INFO: [&str; 20] = [
    "/key/info",
    "/v2/key/info",
    "/key/list",
    "/key/health",
    "/team/info",
    "/team/list",
    "/v2/team/list",
    "/team/available",
    "/user/info",
    "/user/list",
    "/customer/info",
    "/customer/list",
    "/budget/info",
    "/budget/list",
    "/organization/info",
    "/organization/list",
    "/model/info",
    "/v1/model/info",
    "/model_group/info",
    "/health",
];

/// How the paths begin that manage.
const MANAGEMENT: [&str; 18] = [
    "/key/",
    "/v2/key/",
    "/team/",
    "/v2/team/",
    "/user/",
    "/customer/",
    "/end_user/",
    "/budget/",
    "/organization/",
    "/project/",
    "/tag/",
    "/model/",
    "/v1/model/",
    "/v2/model/",
    "/spend/",
    "/global/",
    "/config/",
    "/credentials",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(method: &Method, path: &str, entries: &[&str], admin: bool) -> bool {
        let entries: Vec<Arc<str>> = entries.iter().map(|entry| Arc::from(*entry)).collect();
        Route::new(Operation::of_path(method, path).0, path).is_allowed(&entries, admin)
    }

    fn post(path: &str, entries: &[&str]) -> bool {
        allowed(&Method::POST, path, entries, false)
    }

    #[test]
    fn groups_hold_what_their_names_say() {
        for path in ["/v1/chat/completions", "/chat/completions/", "/openai/deployments/m/chat/completions"] {
            assert!(post(path, &["llm_api_routes"]), "{path}");
            assert!(!post(path, &["info_routes", "management_routes"]), "{path}");
        }
        assert!(allowed(&Method::GET, "/v1/models", &["llm_api_routes"], false));
        assert!(allowed(&Method::GET, "/v1/models/m", &["/v1/models"], false));
        assert!(!allowed(&Method::GET, "/v1/models", &["/v1/models/m"], false));
        assert!(!post("/v1/files", &["llm_api_routes"]) && !post("/key/generate", &["llm_api_routes"]));
        assert!(post("/key/info", &["info_routes"]) && post("/team/list/", &["info_routes"]));
        assert!(!post("/key/generate", &["info_routes"]) && !post("/key/info/x", &["info_routes"]));
        assert!(post("/key/generate", &["management_routes"]) && post("/team/info", &["management_routes"]));
        assert!(
            !post("/keys", &["management_routes"]) && !post("/v1/chat/completions", &["management_routes"])
        );
        assert!(!post("/v1/chat/completions", &[]));
    }

    #[test]
    fn a_path_stands_for_what_it_does() {
        assert!(post("/v1/embeddings", &["/embeddings"]) && post("/embeddings", &["/v1/embeddings"]));
        assert!(!post("/v1/embeddings", &["/chat/completions"]));
        assert!(allowed(&Method::GET, "/models", &["/v1/models"], false));
        assert!(post("/own/path", &["/own/path"]) && post("/own/path/", &["/own/path"]));
        assert!(!post("/own/path/more", &["/own/path"]) && !post("/Own/path", &["/own/path"]));
        assert!(post("/", &["/"]) && !post("/x", &["/"]));
    }

    #[test]
    fn a_pattern_reaches_what_manages_only_where_it_says_so() {
        assert!(post("/own/a", &["/own/*"]) && post("/anything", &["*"]) && !post("/other", &["/own/*"]));
        assert!(post("/key/generate", &["/key/*"]) && post("/key/generate", &["/key/generate"]));
        for entry in ["*", "/*", "/k*", "/key*"] {
            assert!(!post("/key/generate", &[entry]), "{entry}");
            assert!(allowed(&Method::POST, "/key/generate", &[entry], true), "{entry}");
        }
        for path in ["/own/../key/generate", "/own//key", "/own/%2e%2e/key", "/own/./a", "/own\\key"] {
            assert!(!post(path, &["/own/*"]), "{path}");
        }
    }
}
