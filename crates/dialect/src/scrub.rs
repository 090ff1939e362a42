//! What is the operator's, taken out of a provider's words.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Takes keys, URLs and hosts out of a provider's words: they are the operator's.
///
/// By their looks alone, so it takes a word too many rather than one too few.
#[must_use]
pub fn scrub(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    let mut rest = message;
    let mut before = Before::Nothing;
    while let Some(first) = rest.chars().next() {
        if let Some(mark) = MARKS.iter().find(|mark| rest.starts_with(**mark)) {
            // Taken out already.
            out.push_str(mark);
            rest = &rest[mark.len()..];
            before = Before::Nothing;
            continue;
        }
        if let Some(length) = bracketed_address(rest) {
            out.push_str("[host]");
            rest = &rest[length..];
            continue;
        }
        if is_delimiter(first) {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let mut end = rest.find(is_delimiter).unwrap_or(rest.len());
        let is_url = rest[..end].contains("://");
        if is_url {
            // What a query holds goes with its URL.
            end = rest.find(|c: char| c.is_whitespace() || "\"'<>`".contains(c)).unwrap_or(rest.len());
        }
        let word = &rest[..end];
        let bare = word.trim_end_matches(|c: char| !c.is_alphanumeric() && !"*_-/".contains(c));
        let lead = bare.find(char::is_alphanumeric).unwrap_or(bare.len());
        let found = match &bare[lead..] {
            "" => None,
            _ if is_url => Some((lead, "[URL]")),
            said if before == Before::Key && !OF_BEARER.contains(&&*said.to_lowercase()) => {
                Some((lead, "[key]"))
            }
            _ if before == Before::Host => Some((lead, "[host]")),
            said if is_account(said) => Some((lead, "[account]")),
            said => key(bare)
                .map(|start| (start, "[key]"))
                .or_else(|| (is_host(said) || is_ipv6(bare)).then_some((lead, "[host]"))),
        };
        before = match &bare[lead..] {
            "" => before,
            said if said.eq_ignore_ascii_case("bearer") => Before::Key,
            // Node's and libc's names of failures, with the host right behind.
            _ if matches!(word, "ENOTFOUND" | "EAI_AGAIN" | "ECONNREFUSED" | "EHOSTUNREACH") => Before::Host,
            _ => Before::Nothing,
        };
        match found {
            Some((start, mark)) => {
                out.push_str(&word[..start]);
                out.push_str(mark);
                out.push_str(&word[bare.len()..]);
            }
            None => out.push_str(word),
        }
        rest = &rest[end..];
    }
    out
}

/// What stands in place of what is taken out.
const MARKS: [&str; 4] = ["[key]", "[host]", "[URL]", "[account]"];

/// What a word says of the next one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Key,
    Host,
}

/// Whether a word names an account in a cloud: AWS's resources with their account and user, Google's with their project.
fn is_account(word: &str) -> bool {
    let named =
        |mark: &str| word.split_once(mark).is_some_and(|(_, rest)| rest.starts_with(char::is_alphanumeric));
    let has_number = |account: &str| account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let is_arn = word.starts_with("arn:aws") && word.split(':').nth(4).is_some_and(has_number);
    is_arn || named("projects/")
}

fn is_delimiter(c: char) -> bool {
    c.is_whitespace() || "\"'(),;=<>[]{}|`".contains(c)
}

// ===== keys =====

/// What follows `Bearer` where it is spoken of and not used.
const OF_BEARER: &[&str] = &[
    "and",
    "auth",
    "authentication",
    "authorization",
    "credential",
    "credentials",
    "error",
    "for",
    "format",
    "from",
    "has",
    "header",
    "headers",
    "in",
    "invalid",
    "is",
    "key",
    "keys",
    "missing",
    "must",
    "not",
    "or",
    "prefix",
    "realm",
    "required",
    "scheme",
    "should",
    "token",
    "tokens",
    "type",
    "was",
    "with",
];

/// Where a key begins in a word.
fn key(word: &str) -> Option<usize> {
    word.char_indices().map(|(at, _)| at).filter(|at| begins(&word[..*at])).find_map(|start| {
        let rest = &word[start..];
        if is_key(rest) { Some(start) } else { behind_bearer(rest).map(|length| start + length) }
    })
}

/// Whether something of its own begins behind this part of a word: not within a name (`task_sk-`, `risk-free`), but behind any other
/// mark, and what stands for one (`%20`, a backslash and its letter).
fn begins(before: &str) -> bool {
    let Some(last) = before.chars().next_back() else { return true };
    let escaped = match before.as_bytes() {
        [.., b'%', a, b] => a.is_ascii_hexdigit() && b.is_ascii_hexdigit(),
        [.., b'\\', letter] => b"nrt".contains(letter),
        _ => false,
    };
    let leads = !before.contains(char::is_alphanumeric);
    escaped || leads || !(last.is_alphanumeric() || last == '-' || last == '_')
}

fn is_key(word: &str) -> bool {
    let run = |rest: &str| rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
    let any = |prefix: &&str| word.strip_prefix(*prefix).is_some_and(|rest| !rest.is_empty());
    // Names of models and fields begin so too (`pplx-7b-online`, `hf_model_id`).
    let long =
        |prefix: &&str| word.strip_prefix(*prefix).is_some_and(|rest| run(rest) >= 6 || rest.len() >= 20);
    let is_account = |rest: &str| {
        let run = &rest[..run(rest)];
        run.len() >= 12 || (run.len() >= 6 && run.contains(|c: char| c.is_ascii_digit()))
    };
    KEYS.iter().any(any)
        || LONG_KEYS.iter().any(long)
        || ACCOUNTS.iter().any(|prefix| word.strip_prefix(*prefix).is_some_and(is_account))
}

/// How providers' keys, and what names an account there, begin.
const KEYS: &[&str] = &[
    "sk-", "sk_", "pk-", "rk-", "xai-", "gsk_", "AIza", "AKIA", "ghp_", "proj_", "csk-", "nvapi-", "tgp_v1_",
    "ya29.",
];
/// The same of those that begin as other words do; the last is a JSON web token.
const LONG_KEYS: &[&str] = &["pplx-", "hf_", "fw_", "eyJ"];
const ACCOUNTS: &[&str] = &["org-", "org_", "wrkspc_"];

/// How much of a word goes ahead of the key in `bearer:abc` and `Bearer%20abc`.
fn behind_bearer(word: &str) -> Option<usize> {
    let (scheme, rest) = word.split_at_checked("bearer".len())?;
    let mark = [":", "%20", "+"].into_iter().find(|mark| rest.starts_with(mark))?;
    let given = rest[mark.len()..].to_lowercase();
    let is_key = scheme.eq_ignore_ascii_case("bearer") && !given.is_empty() && !OF_BEARER.contains(&&*given);
    is_key.then_some(scheme.len() + mark.len())
}

// ===== hosts =====

/// Whether a word is a host and its port, an address, or a name that only a network of one's own knows; perhaps with a path behind.
fn is_host(word: &str) -> bool {
    let authority = word.split('/').next().unwrap_or(word);
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let has_port = authority.rsplit_once(':').is_some_and(|(host, port)| {
        let number = port.parse::<u16>().ok().filter(|number| *number > 0 && !port.starts_with(['0', '+']));
        number.is_some_and(|port| has_this_port(host, port))
    });
    has_port
        || is_internal(authority.split(':').next().unwrap_or(authority))
        || word.split(AROUND_ADDRESS).any(is_address)
}

const AROUND_ADDRESS: [char; 4] = [':', '/', '@', '&'];

fn is_address(word: &str) -> bool {
    word.parse::<Ipv4Addr>().is_ok()
}

/// Whether `host:port` is meant, and no line of a file, version of a model, or number with its name.
fn has_this_port(host: &str, port: u16) -> bool {
    let name = host.rsplit([':', '@']).next().unwrap_or(host);
    let last = name.rsplit(['.', '-']).next().unwrap_or(name);
    let is_file = name.matches('.').count() == 1 && FILES.contains(&last);
    let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
    if is_address(name) || name == "localhost" {
        return true;
    }
    if !name.contains(|c: char| c.is_alphabetic()) || is_file || NUMBERED.contains(&&*last.to_lowercase()) {
        return false;
    }
    match name.contains('.') {
        true => !host.is_empty(),
        // Single names have ports of services, else they are numbers of something.
        false if name.contains('-') => is_name && (port == 80 || port == 443 || port >= 1000),
        false => is_name && PORTS.contains(&port),
    }
}

/// Files whose lines are told as `main.py:12`.
const FILES: &[&str] = &[
    "c", "cc", "cpp", "cs", "go", "h", "hpp", "java", "js", "json", "kt", "md", "mjs", "php", "py", "pyx",
    "rb", "rs", "sh", "swift", "toml", "ts", "tsx", "txt", "yaml", "yml",
];
/// What is told with a number, as `tokens:8000`.
const NUMBERED: &[&str] = &[
    "after",
    "at",
    "code",
    "col",
    "column",
    "count",
    "error",
    "id",
    "index",
    "input",
    "length",
    "limit",
    "line",
    "max",
    "min",
    "ms",
    "output",
    "prompt",
    "remaining",
    "requested",
    "requests",
    "reset",
    "seconds",
    "seed",
    "size",
    "status",
    "token",
    "tokens",
    "total",
    "tpm",
    "rpm",
    "used",
    "version",
];
/// Where services of one's own listen.
const PORTS: &[u16] = &[
    80, 443, 1234, 3000, 3128, 4000, 5000, 5432, 6379, 7860, 8000, 8001, 8080, 8081, 8443, 8888, 9000, 9090,
    11434, 30000, 50051,
];

/// Whether this is a name within a network of one's own.
fn is_internal(name: &str) -> bool {
    let labels = || name.split('.');
    let is_name = labels().all(|label| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    });
    let of_address = |label: &str| {
        let parts = label
            .strip_prefix("ip-")
            .map(|rest| rest.split('-').filter(|part| part.parse::<u8>().is_ok()).count());
        parts == Some(4)
    };
    is_name
        && (labels().any(of_address)
            || (name.contains('.') && labels().next_back().is_some_and(|last| INTERNAL.contains(&last))))
}

/// Top levels that the public network does not have.
const INTERNAL: &[&str] =
    &["internal", "local", "localdomain", "lan", "intranet", "intra", "corp", "svc", "consul"];

fn is_ipv6(word: &str) -> bool {
    // `a::b` is a path in some languages, so there is to be a number.
    let address = word.split('%').next().unwrap_or(word);
    address.contains(|c: char| c.is_ascii_digit()) && address.parse::<Ipv6Addr>().is_ok()
}

/// The length of an address in brackets, with its port, that this begins with.
fn bracketed_address(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('[')?;
    let end = inside.find(']')?;
    is_ipv6(&inside[..end]).then(|| {
        let behind = &inside[end + 1..];
        let port =
            behind.strip_prefix(':').map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
        end + 2 + if port > 0 { port + 1 } else { 0 }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_operators_is_taken_out() {
        for (said, shown) in [
            (
                "Incorrect API key provided: sk-ab**9. You can find it at https://platform.openai.com/account.",
                "Incorrect API key provided: [key]. You can find it at [URL].",
            ),
            ("key=sk-abc, 'sk_abc' (pk-abc); `rk-abc`", "key=[key], '[key]' ([key]); `[key]`"),
            (r#"{"k":"xai-abc","l":["gsk_abc"]}"#, r#"{"k":"[key]","l":["[key]"]}"#),
            ("<AIzaSyA>|AKIA12|ghp_abc|proj_abc", "<[key]>|[key]|[key]|[key]"),
            ("in organization org-AbCdEfGh1234 on", "in organization [key] on"),
            ("key:sk-abc-d_e***!", "key:[key]!"),
            ("Authorization: Bearer abc.def", "Authorization: Bearer [key]"),
            ("Bearer: \"abc==\" no", "Bearer: \"[key]==\" no"),
            ("(https://a.b/c?key=abc,d) no", "([URL]) no"),
            ("[a](http://a.b/c), url='wss://x:1/y'.", "[a]([URL]), url='[URL]'."),
            ("dial api.internal:8443: refused", "dial [host]: refused"),
            ("localhost:80, 10.0.0.1:443/v1; 10.1.2.3.", "[host], [host]; [host]."),
            ("tcp:10.0.0.1", "[host]"),
            // Keys that more providers give out, and where a key may begin.
            ("pplx-canary12 csk-abc hf_AbCdEf nvapi-a-b", "[key] [key] [key] [key]"),
            ("fw_3ZabcdEF tgp_v1_abc ya29.a0AfB_x eyJhbGciOi.eyJzdWIi.x-y_z", "[key] [key] [key] [key]"),
            (
                "key.sk-abc, Bearer%20sk-abc, %20sk-abc, a?k:sk-abc \\nsk-abc",
                "key.[key], Bearer%20[key], %20[key], a?k:[key] \\n[key]",
            ),
            ("--sk-abc *sk-abc _pk-abc", "--[key] *[key] _[key]"),
            (
                "authorization: bearer abc, BEARER abc; bearer:abc Bearer%20abc",
                "authorization: bearer [key], BEARER [key]; bearer:[key] Bearer%20[key]",
            ),
            ("of org_01hxyz, org_AbCdEfGhIjKl and wrkspc_01abcdef", "of [key], [key] and [key]"),
            // Hosts of one's own network.
            (
                "connect vllm-svc:8000, redis:6379 and user@vllm-svc:8000/v1",
                "connect [host], [host] and [host]",
            ),
            ("[fe80::1]:443, [::1], fe80::1%eth0 ::1.", "[host], [host], [host] ::[host]."),
            ("getaddrinfo ENOTFOUND llm.corp.internal", "getaddrinfo ENOTFOUND [host]"),
            (
                "EAI_AGAIN vllm; lookup llm.corp.internal: no such host",
                "EAI_AGAIN [host]; lookup [host]: no such host",
            ),
            ("ip-10-0-0-1.ec2.internal ip-10-0-0-1 a.svc.cluster.local/x", "[host] [host] [host]"),
        ] {
            assert_eq!(scrub(said), shown);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_to_its_end(
            text in r"(bearer|ENOTFOUND|sk-|eyJ|://|%20|\[host\]|a\.local|1\.2\.3\.4|fe80::1|:80|\PC|[ \[\]%:/@._-]){0,12}"
        ) {
            let _scrubbed = scrub(&text);
        }
    }

    #[test]
    fn accounts_in_clouds_are_the_operators() {
        let cases = [
            (
                "User: arn:aws:iam::123456789012:user/bob is not authorized to perform: bedrock:InvokeModel",
                "User: [account] is not authorized to perform: bedrock:InvokeModel",
            ),
            (
                "Permission denied on resource '//aiplatform.googleapis.com/projects/my-secret/locations/l' (or it may not exist).",
                "Permission denied on resource '//[account]' (or it may not exist).",
            ),
            ("consumer projects/4242424242", "consumer [account]"),
            ("many projects/", "many projects/"),
        ];
        for (said, told) in cases {
            assert_eq!(scrub(said), told);
            assert_eq!(scrub(told), told);
        }
    }

    #[test]
    fn what_says_nothing_of_the_operator_stays() {
        for said in [
            "nothing (here) to  hide",
            "at 10:30, gpt-4.1 and v1.2.3 (1.5:2)",
            "messages[0].content: org-chart, org-a-b-c-d-e-f-g-h; sk- risk-free task_sk",
            "a\n\tb | {} = '' `x` é\u{2014}…",
            "localhost is down: port 80, example.com",
            "anthropic.claude-3-5-sonnet-20241022-v2:0 and arn:aws:bedrock:us-east-1::x",
            "at main.py:12, in src/a.rs:1234 and client.ts:80",
            "Bearer token is missing, no Bearer realm, the bearer:token scheme; Bearer",
            "pplx-7b-online, pplx-70b-chat, hf_model_id, fw_x, org_id, org-2, eyJ",
            "tokens:8000 max-tokens:4096 x-ratelimit-limit-tokens:30000 retry-after:1000 status:443 12:8080",
            "a::b std::fmt 10:30:45 gpt-4:2 llama3:70 aa:bb:cc:dd:ee:ff the local net",
            "",
        ] {
            assert_eq!(scrub(said), said);
        }
    }
}
