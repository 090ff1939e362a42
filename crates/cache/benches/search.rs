//! What a search for a question that means the same costs: 10,000 questions of one partition, 384 dimensions.
//!
//! ```text
//! cargo bench -p ziggurat-cache --bench search
//! ```
//!
//! `spread` are questions of all kinds, none of them near; `found` are such with one that is near; `alike` are so near to each other and to what
//! is asked that a search has to look at both bytes of all. One partition is searched again and again; then eight in turns, so that what one takes
//! has to come from memory, or from the caches farthest away.
//!
//! Times on a shared machine vary; instruction counts do not. To count those of one search:
//!
//! ```text
//! valgrind --tool=callgrind --toggle-collect='search::counted*' target/release/deps/search-HASH --instructions spread
//! ```

use std::{
    env,
    hint::black_box,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ziggurat_cache::{FlatIndex, Index, Key, Similar, Vector};
use ziggurat_core::Reply;

const QUESTIONS: usize = 10_000;
const DIMENSIONS: usize = 384;
const PARTITIONS: usize = 8;
const ROUNDS: usize = 100;
const CASES: [&str; 3] = ["spread", "found", "alike"];

fn main() {
    let arguments: Vec<String> = env::args().collect();
    if let Some(flag) = arguments.iter().position(|argument| argument == "--instructions") {
        let name = arguments.get(flag + 1).map_or("", String::as_str);
        let Some(case) = CASES.into_iter().find(|case| *case == name) else {
            panic!("no case {name:?}; there are {CASES:?}")
        };
        let (index, asked) = filled(case, 1);
        black_box(counted(&index, &key(0), &asked));
        return;
    }
    println!(
        "{:<8} {:>10} {:>10} {:>10} {:>14}",
        "case", "partitions", "best ms", "median ms", "bytes/question"
    );
    for (case, partitions) in CASES.into_iter().flat_map(|case| [(case, 1), (case, PARTITIONS)]) {
        let (index, asked) = filled(case, partitions);
        let mut times: Vec<Duration> = (0..ROUNDS * PARTITIONS)
            .map(|round| {
                let partition = key(round % partitions);
                let began = Instant::now();
                let found = black_box(counted(&index, &partition, &asked));
                let took = began.elapsed();
                assert_eq!(found.is_some(), case != "spread");
                took
            })
            .collect();
        times.sort_unstable();
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let (best, median) = (millis(times[0]), millis(times[times.len() / 2]));
        let bytes = index.bytes() / index.len();
        println!("{case:<8} {partitions:>10} {best:>10.3} {median:>10.3} {bytes:>14}");
    }
}

#[inline(never)]
fn counted(index: &FlatIndex, partition: &Key, asked: &Vector) -> Option<Similar> {
    match index.search(partition, asked, 0.9, UNIX_EPOCH) {
        Reply::Ready(found) => found,
        Reply::Later(_) => None,
    }
}

fn filled(case: &str, partitions: usize) -> (FlatIndex, Vector) {
    let index = FlatIndex::new(1 << 30).partition(1 << 30);
    let mut random = Random(1);
    let asked = random.vector(&[]);
    for partition in 0..partitions {
        for number in 0..QUESTIONS {
            let near = case == "alike" || (case == "found" && number == QUESTIONS / 2);
            let vector = random.vector(if near { asked.as_slice() } else { &[] });
            let end: SystemTime = UNIX_EPOCH + Duration::from_secs(60);
            index.put(key(partition), key(number), &vector, UNIX_EPOCH..end);
        }
    }
    (index, asked)
}

fn key(number: usize) -> Key {
    format!("{number:064x}").parse().expect("is a key")
}

/// Xorshift.
struct Random(u64);

impl Random {
    fn number(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// A vector in any direction, or in about this one.
    fn vector(&mut self, near: &[f32]) -> Vector {
        let numbers = (0..DIMENSIONS).map(|at| match near.get(at) {
            Some(number) => number + 0.01 * self.number(),
            None => self.number(),
        });
        Vector::new(numbers.collect()).expect("points somewhere")
    }
}
