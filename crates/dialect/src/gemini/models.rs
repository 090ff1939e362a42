//! What has to be known of a Gemini model to ask it for an answer.

/// A model's generation and size, read off its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// Major and minor; `None` for a name that does not say, as that of a tuned model.
    generation: Option<(u32, u32)>,
    is_pro: bool,
    /// Whether it is whatever Google has now: of generation 3, as of November 2026.
    is_latest: bool,
}

/// How a model is told how much to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ThinkingForm {
    /// It does not think.
    None,
    /// `thinkingBudget`.
    Budget,
    /// `thinkingLevel`.
    Level,
}

/// Facts of the model; resource paths may stand before the name.
pub(super) fn facts(model: &str) -> Facts {
    let name = model.rsplit('/').next().unwrap_or(model);
    let version = name.find("gemini-").map(|start| &name[start + "gemini-".len()..]);
    let number = |text: &str| text.parse::<u32>().ok();
    let generation = version.and_then(|version| {
        let version = version.split('-').next()?;
        let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
        Some((number(major)?, number(minor)?))
    });
    Facts {
        generation,
        is_pro: name.contains("-pro"),
        is_latest: name.ends_with("-latest") && generation.is_none(),
    }
}

// ===== impl Facts =====

impl Facts {
    /// A name that does not say is taken for a model of today.
    fn is_before(self, generation: (u32, u32)) -> bool {
        self.generation.is_some_and(|own| own < generation)
    }

    /// Whether it has the ways of generation 3: ids of calls, media within results, a resolution for each part, and no history in which a
    /// call stands without its signature.
    pub(super) fn is_third(self) -> bool {
        self.is_latest || self.generation.is_some_and(|generation| generation >= (3, 0))
    }

    /// Whether it takes JSON Schema as it is, not a subset of OpenAPI's alone.
    pub(super) fn takes_json_schema(self) -> bool {
        !self.is_before((2, 5))
    }

    /// How it is told how much to think; a budget is understood by all that think.
    pub(super) fn thinking(self) -> ThinkingForm {
        match self.generation {
            Some(generation) if generation < (2, 5) => ThinkingForm::None,
            Some(generation) if generation >= (3, 0) => ThinkingForm::Level,
            _ => ThinkingForm::Budget,
        }
    }

    /// Whether thinking can be turned off; from Google's guide to thinking, as of November 2026.
    pub(super) fn can_rest(self) -> bool {
        !self.is_third() && !self.is_pro
    }

    /// The level for an effort: the pro models of 3.0 know two.
    pub(super) fn level(self, effort: &str) -> &'static str {
        let has_two = self.is_pro && self.generation == Some((3, 0));
        match effort {
            "minimal" if !self.is_pro => "minimal",
            "minimal" | "low" => "low",
            "medium" if !has_two => "medium",
            _ => "high",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_known_by_its_generation() {
        assert_eq!(facts("gemini-2.5-flash").thinking(), ThinkingForm::Budget);
        assert_eq!(facts("publishers/google/models/gemini-2.0-flash-001").thinking(), ThinkingForm::None);
        assert_eq!(facts("gemini-3-pro-preview").level("medium"), "high");
        assert_eq!(facts("gemini-3.1-pro-preview").level("medium"), "medium");
        assert_eq!(facts("gemini-3-flash-preview").level("minimal"), "minimal");
        assert!(facts("gemini-2.5-flash-lite").can_rest() && !facts("gemini-2.5-pro").can_rest());
        assert!(
            !facts("gemini-1.5-pro").takes_json_schema() && facts("gemini-flash-latest").takes_json_schema()
        );
        assert_eq!(facts("gemini-flash-latest").thinking(), ThinkingForm::Budget);
        assert!(facts("gemini-3-flash").is_third() && facts("gemini-flash-latest").is_third());
        assert!(!facts("gemini-1.5-pro-latest").is_third() && !facts("4711").is_third());
    }
}
