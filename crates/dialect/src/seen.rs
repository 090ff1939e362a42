//! The members of a stream that the model does not know, as they were last seen.

use serde_json::value::RawValue;

/// What was last seen of unknown members: by choice (`None` for those of the whole answer) and name.
#[derive(Clone, Debug, Default)]
pub(crate) struct SeenMembers(Vec<(Option<u64>, String, String)>);

/// How many unknown members are remembered.
const MOST: usize = 64;

// ===== impl SeenMembers =====

impl SeenMembers {
    /// Whether a member says something else than before. `null` says nothing.
    pub(crate) fn changed(&mut self, choice: Option<u64>, name: &str, raw: &RawValue) -> bool {
        if raw.get() == "null" {
            return false;
        }
        if let Some((_, _, value)) = self.0.iter_mut().find(|(c, n, _)| *c == choice && n == name) {
            let changed = value != raw.get();
            if changed {
                raw.get().clone_into(value);
            }
            return changed;
        }
        // A provider that invents names is not remembered for ever.
        if self.0.len() < MOST {
            self.0.push((choice, name.to_owned(), raw.get().to_owned()));
        }
        true
    }

    /// What the whole answer last said of itself under a name, as JSON.
    pub(crate) fn of_answer(&self, name: &str) -> Option<&str> {
        let seen = self.0.iter().find(|(choice, seen, _)| choice.is_none() && seen == name);
        seen.map(|(_, _, value)| value.as_str())
    }
}
