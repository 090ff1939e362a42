//! What is the operator's, taken out of a provider's words.

use std::net::Ipv4Addr;

/// Takes keys, URLs and hosts out of a provider's words: they are the operator's.
#[must_use]
pub fn scrub(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    let mut rest = message;
    let mut after_bearer = false;
    while let Some(first) = rest.chars().next() {
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
        let lead = word.find(char::is_alphanumeric).unwrap_or(end);
        let bare = word[lead..].trim_end_matches(|c: char| !c.is_alphanumeric() && !"*_-/".contains(c));
        let found = match bare {
            "" => None,
            _ if is_url => Some((0, "[URL]")),
            _ if after_bearer => Some((0, "[key]")),
            bare => {
                key(bare).map(|start| (start, "[key]")).or_else(|| is_host(bare).then_some((0, "[host]")))
            }
        };
        after_bearer = bare == "Bearer" || (after_bearer && bare.is_empty());
        match found {
            Some((start, mark)) => {
                out.push_str(&word[..lead + start]);
                out.push_str(mark);
                out.push_str(&word[lead + bare.len()..]);
            }
            None => out.push_str(word),
        }
        rest = &rest[end..];
    }
    out
}

fn is_delimiter(c: char) -> bool {
    c.is_whitespace() || "\"'(),;=<>[]{}|`".contains(c)
}

/// Where a key begins in a word.
fn key(word: &str) -> Option<usize> {
    let starts = word.match_indices(BEFORE).map(|(at, _)| at + 1);
    std::iter::once(0).chain(starts).find(|start| is_key(&word[*start..]))
}

/// What may stand right before a key or an address, within a word.
const BEFORE: [char; 4] = [':', '/', '@', '&'];

fn is_key(word: &str) -> bool {
    let has = |prefix: &&str| word.strip_prefix(*prefix).is_some_and(|rest| !rest.is_empty());
    let is_organisation = |rest: &str| rest.bytes().take_while(u8::is_ascii_alphanumeric).count() >= 12;
    KEYS.iter().any(has) || word.strip_prefix("org-").is_some_and(is_organisation)
}

/// How providers' keys, and what names an account there, begin.
const KEYS: &[&str] = &["sk-", "sk_", "pk-", "rk-", "xai-", "gsk_", "AIza", "AKIA", "ghp_", "proj_"];

/// Whether a word is a host and its port, or an address, perhaps with a path behind.
fn is_host(word: &str) -> bool {
    let is_address = |word: &str| word.parse::<Ipv4Addr>().is_ok();
    let authority = word.split('/').next().unwrap_or(word);
    let has_port = authority.rsplit_once(':').is_some_and(|(host, port)| {
        let named = host.contains('.') && host.contains(|c: char| c.is_alphabetic());
        let is_port = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        is_port && (named || host == "localhost" || is_address(host))
    });
    has_port || word.split(BEFORE).any(is_address)
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
        ] {
            assert_eq!(scrub(said), shown);
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
            "",
        ] {
            assert_eq!(scrub(said), said);
        }
    }
}
