//! Every form of a wait, and what goes before what.

use proptest::prelude::*;

use super::*;

/// 2026-08-02T17:44:52Z.
const NOW: u64 = 1_785_692_692;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

fn hint(headers: &[(&str, &str)], body: &str) -> Option<Duration> {
    let header = |(name, value): &(&str, &str)| {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("is a name");
        (name, HeaderValue::from_bytes(value.as_bytes()).expect("is a value"))
    };
    retry_after(&headers.iter().map(header).collect(), body.as_bytes(), now())
}

const fn ms(milliseconds: u64) -> Option<Duration> {
    Some(Duration::from_millis(milliseconds))
}

const fn ns(nanoseconds: u64) -> Option<Duration> {
    Some(Duration::from_nanos(nanoseconds))
}

#[test]
fn every_form_of_a_wait_is_read() {
    for (text, expected) in [
        // Numbers.
        ("0", ms(0)),
        ("7", ms(7000)),
        (" 1.5 ", ms(1500)),
        (".25", ms(250)),
        ("1000000000", ms(1_000_000_000_000)),
        ("1785692702", ms(10_000)),
        ("1785692702.5", ms(10_500)),
        ("1785692692000", ms(0)),
        ("1785692693250", ms(1250)),
        // In the past.
        ("1754667660000", ms(0)),
        // Go's.
        ("4ms", ms(4)),
        ("0s", ms(0)),
        ("16.227s", ms(16_227)),
        ("1m51.595s", ms(111_595)),
        ("6m0s", ms(360_000)),
        ("83h10m39.057s", ms(299_439_057)),
        ("10.332999999s", ns(10_332_999_999)),
        ("1h2m", ms(3_720_000)),
        ("250us", ns(250_000)),
        ("1.5\u{b5}s", ns(1500)),
        ("2\u{3bc}s", ns(2000)),
        ("30ns", ns(30)),
        ("20 seconds", ms(20_000)),
        // RFC 3339.
        ("2026-08-02T17:45:52Z", ms(60_000)),
        ("2026-08-02T19:44:52.250+02:00", ms(250)),
        ("2026-08-02T17:44:51Z", ms(0)),
        ("1960-01-01T00:00:00Z", ms(0)),
        // HTTP dates.
        ("Sun, 02 Aug 2026 17:45:00 GMT", ms(8000)),
        ("Mon, 02 Aug 2026 17:45:00 GMT", ms(8000)),
        ("Sunday, 02-Aug-26 17:45:00 GMT", ms(8000)),
        ("Sun Aug  2 17:45:00 2026", ms(8000)),
        ("Fri, 31 Dec 1999 23:59:59 GMT", ms(0)),
    ] {
        assert_eq!(wait(text, now()), expected, "{text}");
    }
}

#[test]
fn what_is_no_wait_is_passed_over() {
    for text in [
        "",
        " ",
        "-5",
        "-5s",
        "+5",
        "NaN",
        "inf",
        "infinity",
        "1e3",
        "soon",
        "s",
        ".",
        "1.2.3",
        "5 parsecs",
        "1h-2m",
        "6m0s!",
        "1,5",
        "2026-13-02T17:45:52Z",
        "Sun, 32 Aug 2026 17:45:00 GMT",
        "true",
        "0x10",
    ] {
        assert_eq!(wait(text, now()), None, "{text}");
        assert_eq!(hint(&[("retry-after", text), ("x-ratelimit-reset-tokens", "3s")], ""), ms(3000));
    }
}

#[test]
fn what_is_huge_is_kept() {
    let nines = "9".repeat(400);
    for text in [&format!("{nines}h"), "99999999999999999999h99999999999999999999h"] {
        assert_eq!(wait(text, now()), Some(Duration::MAX), "{text}");
    }
    // A moment of the epoch, as it is taken for one.
    assert_eq!(wait(&nines, now()), Some(Duration::MAX.saturating_sub(Duration::from_secs(NOW))));
    assert_eq!(wait("999999999h", now()), Some(Duration::from_secs(3_599_999_996_400)));
    assert_eq!(hint(&[("retry-after-ms", &nines)], ""), Some(Duration::MAX));
}

#[test]
fn the_most_exact_hint_goes_first() {
    let body = r#"{"error":{"message":"Please try again in 20s."}}"#;
    let mut headers = vec![
        ("retry-after-ms", "250"),
        ("retry-after", "7"),
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-reset-requests", "3s"),
    ];
    assert_eq!(hint(&headers, body), ms(250));
    headers.remove(0);
    assert_eq!(hint(&headers, body), ms(7000));
    headers.remove(0);
    assert_eq!(hint(&headers, body), ms(20_000));
    assert_eq!(hint(&headers, r#"{"error":{"message":"Please try again."}}"#), ms(3000));
    headers.clear();
    assert_eq!(hint(&headers, "{}"), None);
    // Milliseconds are a number; of several lines the first that can be read counts.
    assert_eq!(hint(&[("retry-after-ms", "12.5"), ("retry-after", "7")], ""), ns(12_500_000));
    assert_eq!(hint(&[("retry-after-ms", "250ms"), ("retry-after", "7")], ""), ms(7000));
    assert_eq!(hint(&[("retry-after", "soon"), ("retry-after", "7")], ""), ms(7000));
    // Azure really says both.
    assert_eq!(hint(&[("retry-after", "1"), ("retry-after-ms", "0")], ""), ms(0));
}

#[test]
fn bodies_say_it_in_fields_and_in_words() {
    let words = |message: &str| hint(&[], &serde_json::json!({"error": {"message": message}}).to_string());
    for (message, expected) in [
        ("Rate limit reached for gpt-4o: Limit 3, Used 3. Please try again in 20s. Visit x", ms(20_000)),
        ("Please try again in 1.5s", ms(1500)),
        ("Please try again in 6m0s.", ms(360_000)),
        ("Please try again in 1h2m.", ms(3_720_000)),
        ("Please try again in 250ms. Visit https://a.example", ms(250)),
        ("TRY AGAIN IN 2M59.56S.", ms(179_560)),
        ("Please retry after 20 seconds. Please go to x", ms(20_000)),
        ("Please retry in 48.939935699s.", ns(48_939_935_699)),
        ("try again in a while, or try again in 1 minute", ms(60_000)),
        ("Please try again in -5s", None),
        ("Please try again in 5", None),
        ("Please try again in five minutes", None),
        ("Please try again in ", None),
    ] {
        assert_eq!(words(message), expected, "{message}");
    }
    let info = |delay: &str| {
        serde_json::json!({"error": {"code": 429, "message": "Please retry in 9s.", "details": [
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure"},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay},
        ]}})
    };
    assert_eq!(hint(&[], &info("48.9s").to_string()), ms(48_900));
    assert_eq!(hint(&[], &serde_json::json!([info("34s")]).to_string()), ms(34_000));
    assert_eq!(hint(&[], &info("-34s").to_string()), ms(9000));
    assert_eq!(hint(&[], r#"{"detail":"try again in 3s"}"#), ms(3000));
    assert_eq!(hint(&[], "try again in 3s"), None);
    let router = |headers: serde_json::Value| {
        let metadata = serde_json::json!({"raw": "x", "headers": headers});
        serde_json::json!({"error": {"code": 429, "message": "no", "metadata": metadata}}).to_string()
    };
    let reset = serde_json::json!({"X-RateLimit-Remaining": 0, "X-RateLimit-Reset": 1_785_692_702_000_u64});
    assert_eq!(hint(&[], &router(reset)), ms(10_000));
    let raw = router(serde_json::json!({})).replace("\"x\"", "\"{\\\"x\\\":\\\"try again in 4s\\\"}\"");
    assert_eq!(hint(&[], &raw), ms(4000));
}

#[test]
fn the_longest_wait_of_the_windows_with_nothing_left_counts() {
    for (headers, expected) in [
        // OpenAI.
        (
            &[
                ("x-ratelimit-remaining-requests", "0"),
                ("x-ratelimit-reset-requests", "1m51.595s"),
                ("x-ratelimit-remaining-tokens", "0"),
                ("x-ratelimit-reset-tokens", "4ms"),
                ("x-ratelimit-remaining-input-images", "9"),
                ("x-ratelimit-reset-input-images", "83h10m39.057s"),
            ][..],
            ms(111_595),
        ),
        (&[("x-ratelimit-remaining-requests", "1"), ("x-ratelimit-reset-requests", "6m0s")], None),
        (
            &[
                ("x-ratelimit-remaining-tokens-usage-based", "0"),
                ("x-ratelimit-reset-tokens-usage-based", "16.227s"),
                ("x-ratelimit-remaining-tokens_usage_based", "0"),
                ("x-ratelimit-reset-tokens_usage_based", "17s"),
            ],
            ms(17_000),
        ),
        // Azure; its renewal period is no wait.
        (
            &[
                ("x-ratelimit-remaining-tokens", "0"),
                ("x-ratelimit-reset-tokens", "7"),
                ("x-ratelimit-renewalperiod-tokens", "60"),
            ],
            ms(7000),
        ),
        // Anthropic.
        (
            &[
                ("anthropic-ratelimit-requests-remaining", "49"),
                ("anthropic-ratelimit-requests-reset", "2026-08-02T18:44:52Z"),
                ("anthropic-ratelimit-input-tokens-remaining", "0"),
                ("anthropic-ratelimit-input-tokens-reset", "2026-08-02T17:45:52Z"),
                ("anthropic-ratelimit-output-tokens-remaining", "0"),
                ("anthropic-ratelimit-output-tokens-reset", "2026-08-02T17:44:51Z"),
                ("anthropic-priority-input-tokens-remaining", "0"),
                ("anthropic-priority-input-tokens-reset", "2026-08-02T17:46:52Z"),
            ],
            ms(120_000),
        ),
        (
            &[
                ("anthropic-ratelimit-unified-5h-status", "rejected"),
                ("anthropic-ratelimit-unified-5h-reset", "1785692752"),
                ("anthropic-ratelimit-unified-7d-status", "allowed_warning"),
                ("anthropic-ratelimit-unified-7d-reset", "1786000000"),
            ],
            ms(60_000),
        ),
        // Groq: requests a day, tokens a minute.
        (
            &[
                ("x-ratelimit-remaining-requests", "14370"),
                ("x-ratelimit-reset-requests", "2m59.56s"),
                ("x-ratelimit-remaining-tokens", "0"),
                ("x-ratelimit-reset-tokens", "10.332999999s"),
            ],
            ns(10_332_999_999),
        ),
        // OpenRouter.
        (&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1785692702000")], ms(10_000)),
        // Together.
        (&[("x-ratelimit", "false"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "2")], ms(2000)),
        // Mistral.
        (&[("ratelimitbysize-remaining", "0"), ("ratelimitbysize-reset", "11")], ms(11_000)),
        (&[("ratelimitbysize-remaining", "12"), ("ratelimitbysize-reset", "11")], None),
        // Nobody says what is left.
        (&[("x-ratelimit-reset-tokens", "3s")], ms(3000)),
        (&[("x-ratelimit-remaining-tokens", "some"), ("x-ratelimit-reset-tokens", "3s")], ms(3000)),
        // Not of a rate limit.
        (&[("x-session-reset", "3"), ("x-ratelimit-resets", "3")], None),
    ] {
        assert_eq!(hint(headers, ""), expected, "{headers:?}");
    }
}

fn pieces() -> impl Strategy<Value = String> {
    proptest::string::string_regex(
        r"(\d{1,30}|[-+.:,TZ ]|h|ms?|s|\u{b5}s|ns|seconds|GMT|Sun|Aug|2026|inf|NaN|e|try again in |\PC){0,12}",
    )
    .expect("is a pattern")
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(
        values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 4),
        words in prop::collection::vec(pieces(), 5),
        body in prop::collection::vec(any::<u8>(), 0..200),
        seconds in any::<u32>(),
    ) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.into());
        let names = ["retry-after-ms", "retry-after", "x-ratelimit-reset-tokens", "ratelimitbysize-reset"];
        let all = values.iter().map(Vec::as_slice).chain(words.iter().map(String::as_bytes));
        let headers = names.into_iter().cycle().zip(all).filter_map(|(name, value)| {
            Some((HeaderName::from_static(name), HeaderValue::from_bytes(value).ok()?))
        });
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.append(name, value);
        }
        let _any = retry_after(&all, &body, now);
        let said = serde_json::json!({"error": {"message": words[0], "details": [{"retryDelay": words[1]}]}});
        let _any = retry_after(&HeaderMap::new(), said.to_string().as_bytes(), now);
    }

    #[test]
    fn whole_milliseconds_are_read_exactly_in_any_unit(millis in 0..1_000_000_000_u64) {
        let (total, rest) = (millis / 1000, millis % 1000);
        let (hours, minutes, seconds) = (total / 3600, total / 60 % 60, total % 60);
        for text in [
            format!("{millis}ms"),
            format!("{total}.{rest:03}"),
            format!("{hours}h{minutes}m{seconds}.{rest:03}s"),
            format!("{minutes}m{hours}h{seconds}s{rest}ms"),
        ] {
            prop_assert_eq!(wait(&text, now()), ms(millis));
        }
    }
}
