//! Where questions are found by what they mean: vectors of unit length, and an index of them.

use std::{fmt, ops::Range, sync::Arc, time::SystemTime};

use ziggurat_core::Reply;

use crate::Key;

/// Finds of the questions of a partition the one that is nearest to another.
///
/// It holds no answers: what it finds is the key that one is kept under. It does not judge either; whether the answer is still there, and may be
/// given, is asked by whoever looks. An index that is away has nothing, which is a miss.
pub trait Index: Send + Sync + 'static {
    /// The question of this partition whose vector has the largest cosine with this one, if that is `min` at least. None of another
    /// partition, none with another number of dimensions, and none that has expired at `now`.
    fn search(&self, partition: &Key, vector: &Vector, min: f32, now: SystemTime) -> Reply<Option<Similar>>;

    /// Keeps a question from now on until it expires, in place of what the partition has under its key. Must not block.
    fn put(&self, partition: Key, key: Key, vector: &Vector, lives: Range<SystemTime>);

    /// Forgets a question; whether there was one, where that is known.
    fn remove(&self, partition: &Key, key: &Key) -> Reply<bool>;
}

impl<T: Index + ?Sized> Index for Arc<T> {
    fn search(&self, partition: &Key, vector: &Vector, min: f32, now: SystemTime) -> Reply<Option<Similar>> {
        (**self).search(partition, vector, min, now)
    }

    fn put(&self, partition: Key, key: Key, vector: &Vector, lives: Range<SystemTime>) {
        (**self).put(partition, key, vector, lives);
    }

    fn remove(&self, partition: &Key, key: &Key) -> Reply<bool> {
        (**self).remove(partition, key)
    }
}

/// A question that means nearly the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Similar {
    /// What its answer is kept under.
    pub key: Key,
    /// The cosine of the two.
    pub score: f32,
}

/// A vector of length one.
#[derive(Clone, PartialEq)]
pub struct Vector(Arc<[f32]>);

/// Numbers that point nowhere: none, too many, all zero, or one that is not finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoDirection {
    /// How many numbers they are.
    pub dimensions: usize,
}

/// More dimensions than any model of embeddings has.
const MAX_DIMENSIONS: usize = 1 << 14;

// ===== impl Vector =====

impl Vector {
    /// The direction in which these numbers point.
    ///
    /// # Errors
    /// [`NoDirection`], when they point nowhere.
    pub fn new(mut numbers: Vec<f32>) -> Result<Self, NoDirection> {
        let length = numbers.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt();
        if !(length.is_finite() && length > 0.0) || numbers.len() > MAX_DIMENSIONS {
            return Err(NoDirection { dimensions: numbers.len() });
        }
        for number in &mut numbers {
            *number = (f64::from(*number) / length) as f32;
        }
        Ok(Self(numbers.into()))
    }

    /// Its numbers.
    #[must_use]
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }
}

impl fmt::Debug for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vector({} dimensions)", self.0.len())
    }
}

impl fmt::Display for NoDirection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an embedding of {} numbers points nowhere", self.dimensions)
    }
}

impl std::error::Error for NoDirection {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_point_nowhere_are_no_vector() {
        for numbers in [
            vec![],
            vec![0.0; 4],
            vec![1.0, f32::NAN],
            vec![f32::INFINITY, 1.0],
            vec![0.5; MAX_DIMENSIONS + 1],
        ] {
            let dimensions = numbers.len();
            assert_eq!(Vector::new(numbers), Err(NoDirection { dimensions }));
        }
        // Those that are very short or very long do.
        for number in [f32::MIN_POSITIVE, f32::MAX] {
            assert_eq!(Vector::new(vec![number, 0.0]).expect("points").as_slice(), [1.0, 0.0]);
        }
        assert_eq!(Vector::new(vec![3.0, -4.0]).expect("points").as_slice(), [0.6, -0.8]);
    }
}
