//! Vectors in two bytes a number, of which a search reads one.
//!
//! A number is kept as a whole multiple of its vector's step, in 16 bits: the upper eight stand in one list, the lower eight in another. A search
//! reads the upper alone, which is half of what has to come from memory, and looks at the lower where the score may still reach what is asked for:
//! by Cauchy and Schwarz, they change it by no more than their length.

/// The vectors of a partition.
pub(super) struct Codes {
    dimensions: usize,
    upper: Vec<i8>,
    lower: Vec<i8>,
    scales: Vec<Scale>,
}

#[derive(Clone, Copy)]
struct Scale {
    /// What one of the lower list stands for.
    step: f32,
    /// The length of the vector that the lower list makes up.
    rest: f32,
}

/// A vector to compare with.
pub(super) struct Query {
    codes: Vec<i16>,
    step: f32,
    length: f32,
}

/// The largest code: its upper part, rounded, is 127.
const MOST: f32 = 32_639.0;

/// Products of so many fit into 32 bits: 512 * 32,639 * 127 < 2^31.
const BLOCK: usize = 512;

/// So many are multiplied in one step of the loop, which the compiler makes a few instructions of.
const LANES: usize = 32;

/// What rounding may add to a length.
const SLACK: f32 = 1.000_1;

// ===== impl Codes =====

impl Codes {
    pub(super) const fn new(dimensions: usize) -> Self {
        Self { dimensions, upper: Vec::new(), lower: Vec::new(), scales: Vec::new() }
    }

    pub(super) const fn dimensions(&self) -> usize {
        self.dimensions
    }

    pub(super) fn push(&mut self, vector: &[f32]) {
        // An eighth more at a time: what is bound by bytes is not to take twice as many.
        if self.upper.len() + self.dimensions > self.upper.capacity() {
            let more = self.upper.len() / 8 + self.dimensions;
            self.upper.reserve_exact(more);
            self.lower.reserve_exact(more);
        }
        let Query { codes, step, .. } = Query::new(vector);
        let mut square = 0.0;
        for code in codes {
            let upper = (code + 128) >> 8;
            let lower = code - (upper << 8);
            self.upper.push(upper as i8);
            self.lower.push(lower as i8);
            square += f32::from(lower).powi(2);
        }
        self.scales.push(Scale { step, rest: square.sqrt() * step * SLACK });
    }

    /// Removes one, and puts the last in its place.
    pub(super) fn swap_remove(&mut self, at: usize) {
        self.scales.swap_remove(at);
        let (start, last) = (at * self.dimensions, self.upper.len() - self.dimensions);
        for codes in [&mut self.upper, &mut self.lower] {
            codes.copy_within(last.., start);
            codes.truncate(last);
        }
    }

    /// The cosine of one with the query, if that is `min` at least.
    pub(super) fn score(&self, at: usize, query: &Query, min: f32) -> Option<f32> {
        let range = at * self.dimensions..(at + 1) * self.dimensions;
        let Scale { step, rest } = *self.scales.get(at)?;
        let step = f64::from(step) * f64::from(query.step);
        let upper = dot(self.upper.get(range.clone())?, &query.codes) * 256;
        if (upper as f64 * step) as f32 + rest * query.length < min {
            return None;
        }
        let lower = dot(self.lower.get(range)?, &query.codes);
        let score = ((upper + lower) as f64 * step) as f32;
        (score >= min).then_some(score)
    }
}

// ===== impl Query =====

impl Query {
    pub(super) fn new(vector: &[f32]) -> Self {
        let largest = vector.iter().fold(0.0_f32, |largest, number| largest.max(number.abs()));
        let step = largest / MOST;
        let codes: Vec<i16> = vector.iter().map(|number| (number / step).round() as i16).collect();
        let square: f32 = codes.iter().map(|code| f32::from(*code).powi(2)).sum();
        Self { codes, step, length: square.sqrt() * step * SLACK }
    }
}

fn dot(codes: &[i8], query: &[i16]) -> i64 {
    let blocks = codes.chunks(BLOCK).zip(query.chunks(BLOCK));
    blocks.map(|(codes, query)| i64::from(dot_block(codes, query))).sum()
}

fn dot_block(codes: &[i8], query: &[i16]) -> i32 {
    let (codes, last_codes) = codes.as_chunks::<LANES>();
    let (query, last_query) = query.as_chunks::<LANES>();
    let mut sum = 0;
    for (codes, query) in codes.iter().zip(query) {
        sum += products(codes, query);
    }
    sum + products(last_codes, last_query)
}

#[inline(always)]
fn products(codes: &[i8], query: &[i16]) -> i32 {
    codes.iter().zip(query).map(|(code, number)| i32::from(*code) * i32::from(*number)).sum()
}
