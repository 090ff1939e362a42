//! Looking models up.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, LazyLock, OnceLock},
};

use ziggurat_core::Target;

use crate::{Model, data};

/// What is known of models: the embedded facts, the operator's overrides, and the prices of single deployments. Cheap to clone.
///
/// A name is found as it is written in the data, or not at all: a wrong price is worse than none. See [`model`](Self::model).
#[derive(Clone)]
pub struct Catalog(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    version: Box<str>,
    embedded: Option<&'static Embedded>,
    models: HashMap<Box<str>, Arc<Model>>,
    deployments: HashMap<Box<str>, Arc<Model>>,
}

/// The embedded facts: where each model's line is, and the model once somebody asked for it.
struct Embedded {
    version: &'static str,
    lines: HashMap<&'static str, (&'static str, OnceLock<Arc<Model>>)>,
}

// ===== impl Catalog =====

impl Catalog {
    /// The facts that come with this crate. They are indexed once a process; a model's line is read when it is first asked for.
    #[must_use]
    pub fn embedded() -> Self {
        Self(Arc::new(Inner {
            version: EMBEDDED.version.into(),
            embedded: Some(&EMBEDDED),
            models: HashMap::new(),
            deployments: HashMap::new(),
        }))
    }

    /// No facts at all.
    #[must_use]
    pub fn empty() -> Self {
        Self(Arc::new(Inner {
            version: "".into(),
            embedded: None,
            models: HashMap::new(),
            deployments: HashMap::new(),
        }))
    }

    /// Reads facts in this crate's own format, as [`Imported::to_text`](crate::Imported::to_text) writes it.
    ///
    /// # Errors
    /// [`DataError`](crate::DataError) names the line and what in it cannot be read.
    pub fn parse(text: &str) -> Result<Self, data::DataError> {
        let (version, models) = data::parse(text)?;
        let mut catalog = Self::empty().with_all(models);
        catalog.change().version = version.into();
        Ok(catalog)
    }

    /// The day of the facts, as `2026-11-22`; empty if there is none.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.0.version
    }

    /// Adds a model, or replaces the one of the same id.
    #[must_use]
    pub fn with(self, model: Model) -> Self {
        self.with_all([model])
    }

    /// Adds models, or replaces those of the same ids.
    #[must_use]
    pub fn with_all(mut self, models: impl IntoIterator<Item = Model>) -> Self {
        self.change().models.extend(models.into_iter().map(|model| (model.id.clone(), Arc::new(model))));
        self
    }

    /// Sets what one deployment is and costs, by [`Target::deployment`].
    #[must_use]
    pub fn deployment(mut self, deployment_id: &str, model: Model) -> Self {
        self.change().deployments.insert(deployment_id.into(), Arc::new(model));
        self
    }

    /// A provider's model, by any of the names that LiteLLM's users write:
    ///
    /// - as the data has it, with or without the provider in front (`azure/gpt-4o`, `gpt-4o` at `azure`);
    /// - under the provider's other names (a bare `gemini-2.5-pro` at `vertex_ai` is one of its language models);
    /// - behind the routes of Bedrock (`converse/`, `invoke/`) and what else stands in the ARN of a foundation model, and without a
    ///   fine-tuned model's suffix (`ft:gpt-4o-2024-08-06:org`).
    ///
    /// The model must be that provider's: the same name at another provider may cost something else.
    #[must_use]
    pub fn model(&self, provider: &str, name: &str) -> Option<Arc<Model>> {
        let family = family(provider);
        let own = |id: &str| self.get(id).filter(|model| crate::catalog::family(&model.provider) == family);
        let prefixed = |prefix: &str, name: &str| own(&format!("{prefix}/{name}"));
        let bare = [provider, family]
            .into_iter()
            .find_map(|prefix| name.strip_prefix(prefix)?.strip_prefix('/'))
            .unwrap_or(name);
        let bare = match family {
            "bedrock" => {
                let bare = ROUTES.iter().find_map(|route| bare.strip_prefix(route)).unwrap_or(bare);
                bare.split_once(":foundation-model/").map_or(bare, |(_, model)| model)
            }
            _ => bare,
        };
        prefixed(provider, bare)
            .or_else(|| prefixed(prefix(family), bare))
            .or_else(|| own(bare))
            .or_else(|| own(name))
            .or_else(|| own(fine_tuned(bare)?))
    }

    /// The model of a deployment: its own facts if there are any, else those of its provider's model.
    #[must_use]
    pub fn for_target(&self, target: &Target) -> Option<Arc<Model>> {
        let own = self.0.deployments.get(target.deployment()).cloned();
        own.or_else(|| self.model(target.provider(), target.model()))
    }

    /// What an image of a quality and a size costs at a target's model, where price lists have it under a name of its own
    /// (`hd/1024-x-1792/dall-e-3`). What is not asked for is the dearest of the usual.
    #[must_use]
    pub fn image(&self, target: &Target, quality: Option<&str>, size: Option<&str>) -> Option<Arc<Model>> {
        let (provider, model) = (target.provider(), target.model());
        let named = |word: Option<&str>| word.filter(|word| *word != "auto").map(str::to_owned);
        let qualities = named(quality).map_or(vec!["high".into(), "standard".into()], |own| vec![own]);
        let size = named(size).map(|size| size.replacen('x', "-x-", 1));
        let sizes = size.map_or(vec!["1024-x-1536".into(), "1024-x-1024".into()], |own| vec![own]);
        let of_quality = |size: &str| {
            qualities.iter().find_map(|quality| self.model(provider, &format!("{quality}/{size}/{model}")))
        };
        let of_size = |size: &str| self.model(provider, &format!("{size}/{model}"));
        let listed = sizes.iter().find_map(|size| of_quality(size));
        listed.or_else(|| sizes.iter().find_map(|size| of_size(size)))
    }

    /// The model of this name, for who knows nothing but the name that a caller wrote: as the data has it, or `provider/model`.
    #[must_use]
    pub fn named(&self, model: &str) -> Option<Arc<Model>> {
        self.get(model)
            .or_else(|| model.split_once('/').and_then(|(provider, name)| self.model(provider, name)))
            .or_else(|| self.get(fine_tuned(model)?))
    }

    /// All models, in no order.
    pub fn models(&self) -> impl Iterator<Item = Arc<Model>> + '_ {
        let overridden = |id: &str| self.0.models.contains_key(id);
        let embedded = self.0.embedded.into_iter().flat_map(|embedded| embedded.lines.keys());
        let embedded = embedded.filter(move |id| !overridden(id)).filter_map(|id| self.get(id));
        self.0.models.values().cloned().chain(embedded)
    }

    /// The model of exactly this id.
    fn get(&self, id: &str) -> Option<Arc<Model>> {
        let own = self.0.models.get(id).cloned();
        own.or_else(|| self.0.embedded?.get(id))
    }

    fn change(&mut self) -> &mut Inner {
        Arc::make_mut(&mut self.0)
    }
}

impl Default for Catalog {
    fn default() -> Self {
        Self::embedded()
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog")
            .field("version", &self.0.version)
            .field("overrides", &self.0.models.len())
            .field("deployments", &self.0.deployments.len())
            .finish_non_exhaustive()
    }
}

// ===== impl Embedded =====

impl Embedded {
    fn index(text: &'static str) -> Self {
        let version = data::version(text).expect("invariant: the embedded data has a version");
        let mut lines = HashMap::with_capacity(LINES);
        for line in data::lines(text) {
            lines.insert(data::id(line), (line, OnceLock::new()));
        }
        Self { version, lines }
    }

    fn get(&self, id: &str) -> Option<Arc<Model>> {
        let (line, model) = self.lines.get(id)?;
        let read = || Arc::new(data::model(line).expect("invariant: tests read every embedded line"));
        Some(model.get_or_init(read).clone())
    }
}

/// The provider under which another is known: what LiteLLM's map tells apart for its own purposes is one provider with one set of
/// names.
fn family(provider: &str) -> &str {
    match provider {
        "bedrock_converse" => "bedrock",
        "azure_text" => "azure",
        "text-completion-openai" => "openai",
        "cohere_chat" => "cohere",
        "fireworks_ai-embedding-models" => "fireworks_ai",
        "amazon-nova" => "amazon_nova",
        vertex if vertex.starts_with("vertex_ai-") => "vertex_ai",
        provider => provider,
    }
}

/// What stands before the names of a provider's models in the data.
fn prefix(family: &str) -> &str {
    match family {
        "amazon_nova" => "amazon-nova",
        family => family,
    }
}

/// The model whose price a fine-tuned model of OpenAI's has: `ft:gpt-4o-2024-08-06:org:name:id` is told as `ft:gpt-4o-2024-08-06`.
fn fine_tuned(name: &str) -> Option<&str> {
    let base = name.strip_prefix("ft:")?.split(':').next()?;
    Some(&name[.."ft:".len() + base.len()]).filter(|stripped| stripped.len() < name.len())
}

static EMBEDDED: LazyLock<Embedded> = LazyLock::new(|| Embedded::index(include_str!("../data/models.txt")));

/// About as many models as there are: the index is made in one piece.
const LINES: usize = 4500;

const ROUTES: [&str; 3] = ["converse/", "invoke/", "converse_like/"];
