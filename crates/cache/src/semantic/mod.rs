//! Answers to questions that mean the same.

mod codes;
mod embedder;
mod endpoint;
mod flat;
mod index;
mod look;
mod question;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub use embedder::{Embedder, Embedding, Trigrams};
pub use endpoint::{EmbedderService, NoEmbedding};
pub use flat::FlatIndex;
use http::Extensions;
pub use index::{Index, NoDirection, Similar, Vector};
pub(crate) use question::Question;

use crate::Key;
use question::Extent;

/// How questions are found that mean the same: for [`CacheLayer::semantic`](crate::CacheLayer::semantic).
///
/// Cheap to clone; clones share the index and the counts.
#[derive(Clone)]
pub struct Semantic {
    pub(crate) embedder: Arc<dyn Embedder>,
    pub(crate) index: Arc<dyn Index>,
    pub(crate) threshold: f32,
    pub(crate) patience: Duration,
    extent: Extent,
    exactly: Exactly,
    counters: Arc<Counters>,
}

type Exactly = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// What came of looking for questions that mean the same, so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SemanticCounts {
    /// How many calls it was looked for.
    pub asked: u64,
    /// How many were answered by what was found.
    pub hits: u64,
    /// How many went on as the embedder failed, or gave what points nowhere.
    pub failed: u64,
    /// How many went on as the time was over.
    pub late: u64,
}

/// A threshold that is no cosine from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct InvalidThreshold {
    /// What it was.
    pub threshold: f32,
}

/// Where the question of a call stands, once it is embedded.
#[derive(Clone)]
pub(crate) struct Near {
    pub(crate) partition: Key,
    pub(crate) vector: Vector,
}

#[derive(Default)]
pub(crate) struct Counters {
    asked: AtomicU64,
    hits: AtomicU64,
    failed: AtomicU64,
    late: AtomicU64,
}

/// What became of a look.
#[derive(Clone, Copy)]
pub(crate) enum Outcome {
    Hit,
    Failed,
    Late,
}

// ===== impl Semantic =====

impl Semantic {
    /// Finds questions whose embeddings have this cosine at least with that of another, from 0 to 1. Which one is right depends on the
    /// model, and on what a wrong answer costs: there is no default. 64 MiB of vectors are kept in memory.
    ///
    /// # Errors
    /// [`InvalidThreshold`], when it is not within these.
    pub fn new(embedder: impl Embedder, threshold: f32) -> Result<Self, InvalidThreshold> {
        if !(0.0..=1.0).contains(&threshold) {
            return Err(InvalidThreshold { threshold });
        }
        Ok(Self {
            embedder: Arc::new(embedder),
            index: Arc::new(FlatIndex::new(64 << 20)),
            threshold,
            patience: Duration::from_millis(200),
            extent: Extent { earlier: false, most: 1 << 10 },
            exactly: Arc::new(|text| [numbers(text), negations(text)].join("\n")),
            counters: Arc::default(),
        })
    }

    /// Keeps the vectors in this index.
    #[must_use]
    pub fn index(mut self, index: impl Index) -> Self {
        self.index = Arc::new(index);
        self
    }

    /// Sets how long a look may take, embedding included, before it is a miss; 200 ms unless set.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Compares the turns before the last by their meaning too, each with its role, as many of them as [`max_text`](Self::max_text) has room
    /// for; those before them have to be equal. Unless set, all have to be.
    #[must_use]
    pub fn earlier_turns(mut self) -> Self {
        self.extent.earlier = true;
        self
    }

    /// Sets the most bytes of text that are compared by their meaning; 1 KiB unless set, and calls whose last turn is longer are not looked
    /// up. Models of embeddings read so many tokens (a small one 256) and no further: of two long texts with one beginning they say that they
    /// are equal.
    #[must_use]
    pub fn max_text(mut self, bytes: usize) -> Self {
        self.extent.most = bytes;
        self
    }

    /// Says what of a text has to be equal, whatever the rest of it means: its [`numbers`] and [`negations`], unless set. What is given here takes
    /// the place of both.
    #[must_use]
    pub fn exactly(mut self, of: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        self.exactly = Arc::new(of);
        self
    }

    /// What came of it so far.
    #[must_use]
    pub fn counts(&self) -> SemanticCounts {
        let Counters { asked, hits, failed, late } = &*self.counters;
        let [asked, hits, failed, late] =
            [asked, hits, failed, late].map(|counter| counter.load(Ordering::Relaxed));
        SemanticCounts { asked, hits, failed, late }
    }

    pub(crate) fn question(&self, call: &ziggurat_core::Call) -> Option<Question> {
        Question::of(call, self.extent)
    }

    /// What has to be equal beside the rest of the body: who embeds, and what the host says.
    pub(crate) fn common(&self, question: &Question) -> [String; 2] {
        [self.embedder.name().to_owned(), (self.exactly)(&question.text)]
    }

    pub(crate) fn embed(&self, text: &str, call: &Extensions) -> Embedding {
        self.counters.asked.fetch_add(1, Ordering::Relaxed);
        self.embedder.embed(text, call)
    }

    pub(crate) fn count(&self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Hit => &self.counters.hits,
            Outcome::Failed => &self.counters.failed,
            Outcome::Late => &self.counters.late,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The numbers of a text as they are written, in their order: with a point or a comma between their digits, a sign before them, and the letters
/// that they stand in, as those of `v2`.
///
/// ```
/// assert_eq!(ziggurat_cache::numbers("From v2 to -3.5, at 10:30."), "v2 -3.5 10 30 ");
/// ```
#[must_use]
pub fn numbers(text: &str) -> String {
    let is_part = |letter: char| letter.is_alphanumeric() || matches!(letter, '.' | ',' | '-' | '+' | '%');
    let words = text.split(|letter| !is_part(letter)).map(|word| word.trim_end_matches(['.', ',', '-', '+']));
    let numbers = words.filter(|word| word.contains(char::is_numeric));
    numbers.flat_map(|number| [number, " "]).collect()
}

/// A mark for each word of a text that negates in English, however it does: `not`, `don't`, `without`, `never` and the like.
///
/// ```
/// use ziggurat_cache::negations;
///
/// assert_eq!(negations("Which foods don\u{2019}t contain gluten?"), negations("Foods that do not contain gluten"));
/// assert_ne!(negations("Recipes with nuts"), negations("Recipes without nuts"));
/// ```
#[must_use]
pub fn negations(text: &str) -> String {
    let text = text.replace('\u{2019}', "'").to_lowercase();
    let words = text.split(|letter: char| !letter.is_alphanumeric() && letter != '\'');
    words.filter(|word| NEGATIONS.contains(word) || word.ends_with("n't")).map(|_| '-').collect()
}

const NEGATIONS: [&str; 10] =
    ["no", "not", "never", "without", "cannot", "none", "nothing", "nobody", "neither", "nor"];

impl fmt::Debug for Semantic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semantic")
            .field("embedder", &self.embedder.name())
            .field("threshold", &self.threshold)
            .field("patience", &self.patience)
            .field("extent", &self.extent)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for InvalidThreshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a threshold of similarity is from 0 to 1, not {}", self.threshold)
    }
}

impl std::error::Error for InvalidThreshold {}
