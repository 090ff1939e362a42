//! Who says what a text means.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use http::Extensions;
use ziggurat_core::BoxError;

/// Embeds texts: those that mean nearly the same get vectors that point nearly the same way.
pub trait Embedder: Send + Sync + 'static {
    /// Its name, and that of its model: vectors of two names are never compared.
    fn name(&self) -> &str;

    /// Embeds a text for the sake of a call, of which these are the extensions: its [`Principal`](ziggurat_core::Principal) among them, where
    /// somebody said who calls.
    fn embed(&self, text: &str, call: &Extensions) -> Embedding;
}

/// A vector that is being made; its length does not matter.
pub type Embedding = Pin<Box<dyn Future<Output = Result<Vec<f32>, BoxError>> + Send>>;

impl<T: Embedder + ?Sized> Embedder for Arc<T> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn embed(&self, text: &str, call: &Extensions) -> Embedding {
        (**self).embed(text, call)
    }
}

/// Embeds a text as what three letters in a row it has, hashed: for tests and examples. It knows no meaning; texts that share words are near.
///
/// ```
/// use ziggurat_cache::{Trigrams, Vector};
///
/// let of = |text| Vector::new(Trigrams::new(384).vector(text)).unwrap();
/// let cosine = |a: &Vector, b: &Vector| a.as_slice().iter().zip(b.as_slice()).map(|(a, b)| a * b).sum::<f32>();
/// let question = of("What is the capital of France?");
/// assert!(cosine(&question, &of("what's the capital of France")) > 0.8);
/// assert!(cosine(&question, &of("How do I boil an egg?")) < 0.2);
/// ```
#[derive(Clone)]
pub struct Trigrams {
    dimensions: usize,
    name: Arc<str>,
}

// ===== impl Trigrams =====

impl Trigrams {
    /// Vectors of so many dimensions; at least one.
    #[must_use]
    pub fn new(dimensions: usize) -> Self {
        let dimensions = dimensions.max(1);
        Self { dimensions, name: format!("trigrams of {dimensions}").into() }
    }

    /// The vector of a text: the same wherever it is made.
    #[must_use]
    pub fn vector(&self, text: &str) -> Vec<f32> {
        // Case and punctuation aside, each word with an edge at both sides.
        let words = text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
        let text: String = words.map(|word| format!(" {} ", word.to_lowercase())).collect();
        let letters: Vec<char> = text.chars().collect();
        let mut vector = vec![0.0; self.dimensions];
        for three in letters.windows(3) {
            let hash = hash(three);
            let at = usize::try_from(hash % self.dimensions as u64).unwrap_or_default();
            // Half of what meets in one place cancels out.
            let sign = if hash >> 63 == 0 { 1.0 } else { -1.0 };
            if let Some(number) = vector.get_mut(at) {
                *number += sign;
            }
        }
        vector
    }
}

impl Embedder for Trigrams {
    fn name(&self) -> &str {
        &self.name
    }

    fn embed(&self, text: &str, _: &Extensions) -> Embedding {
        let vector = self.vector(text);
        Box::pin(async { Ok(vector) })
    }
}

impl fmt::Debug for Trigrams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trigrams").field("dimensions", &self.dimensions).finish_non_exhaustive()
    }
}

/// FNV-1a over the letters, and its bits mixed as in SplitMix64: its lowest ones alone are too much alike.
fn hash(letters: &[char]) -> u64 {
    let mut hash = letters.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, letter| {
        (hash ^ u64::from(u32::from(*letter))).wrapping_mul(0x0100_0000_01b3)
    });
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
