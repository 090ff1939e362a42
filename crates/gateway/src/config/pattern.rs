//! Names with `*`, as in `openai/*`.

/// A name in which each `*` stands for any text, also none.
#[derive(Debug)]
pub(super) struct Pattern<'a> {
    text: &'a str,
}

// ===== impl Pattern =====

impl<'a> Pattern<'a> {
    /// Takes a name as a pattern.
    pub(super) fn new(text: &'a str) -> Self {
        Self { text }
    }

    /// What each `*` stands for in `name`, if it matches; an earlier `*` takes as much as it can.
    pub(super) fn captures<'n>(&self, name: &'n str) -> Option<Vec<&'n str>> {
        let mut parts: Vec<&str> = self.text.split('*').collect();
        let first = parts.remove(0);
        let Some(last) = parts.pop() else { return (first == name).then(Vec::new) };
        let mut rest = name.strip_prefix(first)?.strip_suffix(last)?;
        let mut found = Vec::with_capacity(parts.len() + 1);
        // From the end, the last occurrence each time: this leaves the most to what stands before.
        for part in parts.iter().rev() {
            let start = rest.rfind(part)?;
            found.push(&rest[start + part.len()..]);
            rest = &rest[..start];
        }
        found.push(rest);
        found.reverse();
        Some(found)
    }

    /// LiteLLM's order of patterns, the greater first: the length of its regular expression, in which `*` becomes
    /// `(.*)` and punctuation is escaped, then how many special characters that has.
    pub(super) fn specificity(&self) -> (usize, usize) {
        let stars = self.text.matches('*').count();
        let escaped = self.text.chars().filter(|letter| "-.+?^$|()[]{}\\#&~ \t".contains(*letter)).count();
        (self.text.chars().count() + 3 * stars + escaped, 3 * stars + escaped)
    }
}

/// Puts what was captured in the place of each `*`.
pub(super) fn fill(template: &str, captures: &[&str]) -> String {
    let mut parts = template.split('*');
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for (index, part) in parts.enumerate() {
        filled.push_str(captures.get(index).copied().unwrap_or("*"));
        filled.push_str(part);
    }
    filled
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn captures_like_a_greedy_regular_expression() {
        let cases: [(&str, &str, Option<&[&str]>); 9] = [
            ("openai/*", "openai/gpt-4o", Some(&["gpt-4o"])),
            ("openai/*", "openai/", Some(&[""])),
            ("openai/*", "openai", None),
            ("*", "a/b", Some(&["a/b"])),
            ("*b*", "abcbd", Some(&["abc", "d"])),
            ("fo::*::static::*", "fo::bar::static::baz", Some(&["bar", "baz"])),
            ("a*a", "a", None),
            ("exact", "exact", Some(&[])),
            ("exact", "other", None),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(Pattern::new(pattern).captures(name).as_deref(), expected, "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn filling_a_pattern_with_its_captures_gives_the_name(pattern in "[ab/*]{0,8}", name in "[ab/]{0,12}") {
            if let Some(captures) = Pattern::new(&pattern).captures(&name) {
                prop_assert_eq!(fill(&pattern, &captures), name);
            }
        }

        #[test]
        fn what_was_filled_in_matches(pattern in "[ab/*]{0,8}", parts in prop::collection::vec("[ab/]{0,4}", 8)) {
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            let name = fill(&pattern, &parts);
            prop_assert!(Pattern::new(&pattern).captures(&name).is_some());
        }
    }
}
