//! The index in memory finds the nearest, within its bounds.

use std::{
    collections::HashMap,
    ops::Range,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use proptest::prelude::*;
use ziggurat_cache::{FlatIndex, Index, Key, Similar, Vector};
use ziggurat_core::Reply;

fn key(number: usize) -> Key {
    format!("{number:064x}").parse().expect("is a key")
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn lives(seconds: Range<u64>) -> Range<SystemTime> {
    at(seconds.start)..at(seconds.end)
}

fn vector(numbers: &[f32]) -> Vector {
    Vector::new(numbers.to_vec()).expect("points somewhere")
}

fn cosine(a: &Vector, b: &Vector) -> f32 {
    a.as_slice().iter().zip(b.as_slice()).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() as f32
}

fn ready<T>(reply: Reply<T>) -> T {
    match reply {
        Reply::Ready(answer) => answer,
        Reply::Later(_) => panic!("is in memory"),
    }
}

/// By the documented bound: half a step of each of the two, times the square root of the dimensions.
fn tolerance(dimensions: usize) -> f32 {
    (dimensions as f32).sqrt() / 32_639.0 + 1e-6
}

#[derive(Clone, Debug)]
enum Op {
    Put { partition: usize, key: usize, numbers: Vec<f32>, ttl: u64 },
    Remove { partition: usize, key: usize },
    Search { partition: usize, numbers: Vec<f32>, min: f32 },
    Pass(u64),
}

fn numbers(dimensions: usize) -> impl Strategy<Value = Vec<f32>> {
    let number = prop_oneof![4 => -1.0_f32..1.0, 1 => Just(0.0), 1 => Just(1.0), 1 => Just(-0.001)];
    prop::collection::vec(number, dimensions)
        .prop_filter("points somewhere", |numbers| Vector::new(numbers.clone()).is_ok())
}

fn ops(dimensions: usize) -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => (0..3_usize, 0..12_usize, numbers(dimensions), 1..40_u64)
            .prop_map(|(partition, key, numbers, ttl)| Op::Put { partition, key, numbers, ttl }),
        1 => (0..3_usize, 0..12_usize).prop_map(|(partition, key)| Op::Remove { partition, key }),
        6 => (0..3_usize, numbers(dimensions), -1.0_f32..1.0)
            .prop_map(|(partition, numbers, min)| Op::Search { partition, numbers, min }),
        1 => (1..20_u64).prop_map(Op::Pass),
    ];
    prop::collection::vec(op, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_finds_what_a_look_at_all_of_them_finds(
        (dimensions, ops) in prop_oneof![7 => 1..70_usize, 1 => 510..516_usize].prop_flat_map(|dimensions| (Just(dimensions), ops(dimensions)))
    ) {
        let index = FlatIndex::new(1 << 24);
        let mut model: HashMap<(usize, usize), (Vector, u64)> = HashMap::new();
        let mut now = 1000;
        for op in ops {
            match op {
                Op::Put { partition, key: number, numbers, ttl } => {
                    index.put(key(partition), key(number), &vector(&numbers), lives(now..now + ttl));
                    model.insert((partition, number), (vector(&numbers), now + ttl));
                }
                Op::Remove { partition, key: number } => {
                    let was_there = ready(index.remove(&key(partition), &key(number)));
                    let expired = model.remove(&(partition, number));
                    // What has expired may be gone already.
                    prop_assert!(was_there == expired.is_some() || expired.is_some_and(|(_, end)| end <= now));
                }
                Op::Search { partition, numbers, min } => {
                    let asked = vector(&numbers);
                    let found = ready(index.search(&key(partition), &asked, min, at(now)));
                    let live = model.iter().filter(|((of, _), (_, end))| *of == partition && now < *end);
                    let scores: HashMap<usize, f32> =
                        live.map(|((_, number), (vector, _))| (*number, cosine(vector, &asked))).collect();
                    let best = scores.values().copied().fold(f32::NEG_INFINITY, f32::max);
                    let tolerance = tolerance(dimensions);
                    match found {
                        None => prop_assert!(best < min + tolerance, "{best} of at least {min}"),
                        Some(Similar { key: found, score, .. }) => {
                            let own = scores.iter().find(|(number, _)| key(**number) == found).map(|(_, own)| *own);
                            let own = own.expect("is one that lives");
                            prop_assert!(score >= min);
                            prop_assert!((score - own).abs() <= tolerance, "{score} for {own}");
                            prop_assert!(own >= best - 2.0 * tolerance, "{own} beside {best}");
                        }
                    }
                }
                Op::Pass(seconds) => now += seconds,
            }
        }
        prop_assert!(index.len() <= model.len());
    }
}

/// The upper bytes alone do not tell them apart.
#[test]
fn it_finds_the_nearest_of_many_that_are_alike() {
    let mut state = 1_u64;
    let mut number = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    };
    let asked: Vec<f32> = (0..64).map(|_| number()).collect();
    let all: Vec<Vector> = (0..300)
        .map(|_| vector(&asked.iter().map(|own| own + 0.02 * number()).collect::<Vec<f32>>()))
        .collect();
    let index = FlatIndex::new(1 << 20);
    for (at, vector) in all.iter().enumerate() {
        index.put(key(0), key(at), vector, lives(0..9));
    }
    for asked in all.iter().chain([&vector(&asked)]) {
        let found = ready(index.search(&key(0), asked, 0.0, at(1))).expect("is there");
        let best = all.iter().map(|vector| cosine(vector, asked)).fold(0.0, f32::max);
        assert!((found.score - best).abs() <= tolerance(64), "{} beside {best}", found.score);
    }
}

#[test]
fn vectors_of_another_length_are_never_compared() {
    let index = FlatIndex::new(1 << 20);
    index.put(key(1), key(1), &vector(&[1.0, 0.0]), lives(0..9));
    assert_eq!(ready(index.search(&key(1), &vector(&[1.0, 0.0, 0.0]), 0.0, at(1))), None);
    let same = ready(index.search(&key(1), &vector(&[2.0, 0.0]), 1.0, at(1))).expect("is the same");
    assert_eq!((same.key, same.score), (key(1), 1.0));
    // The model behind a name was changed: what was made by the other is of no use.
    index.put(key(1), key(2), &vector(&[1.0, 0.0, 0.0]), lives(0..9));
    assert_eq!(index.len(), 1);
    assert_eq!(ready(index.search(&key(1), &vector(&[1.0, 0.0]), 0.0, at(1))), None);
    assert_eq!(
        ready(index.search(&key(1), &vector(&[1.0, 0.0, 0.0]), 0.0, at(1))).expect("is there").key,
        key(2)
    );
}

#[test]
fn what_was_put_first_goes_first_over_all_and_in_a_partition() {
    // Two dimensions take 164 bytes.
    let index = FlatIndex::new(10 * 164).partition(4 * 164);
    for number in 0..6 {
        index.put(key(0), key(number), &vector(&[1.0, number as f32]), lives(0..9));
    }
    assert_eq!((index.len(), index.bytes()), (4, 4 * 164));
    let has = |partition: usize, number: usize| ready(index.remove(&key(partition), &key(number)));
    assert_eq!([0, 1].map(|number| has(0, number)), [false, false]);
    for partition in 1..5 {
        for number in 0..2 {
            index.put(key(partition), key(number), &vector(&[1.0, 1.0]), lives(0..9));
        }
    }
    assert_eq!((index.len(), index.bytes()), (10, 10 * 164));
    assert_eq!([2, 3, 4, 5].map(|number| has(0, number)), [false, false, true, true]);
    assert!((1..5).all(|partition| has(partition, 0) && has(partition, 1)));
    assert_eq!((index.len(), index.bytes(), index.is_empty()), (0, 0, true));
    // What is longer than a partition may be is not kept.
    index.put(key(0), key(0), &vector(&[1.0; 1000]), lives(0..9));
    assert!(index.is_empty());
}

#[test]
fn what_was_replaced_does_not_grow_it() {
    let index = FlatIndex::new(1 << 20);
    for round in 0..10_000_u64 {
        index.put(
            key(0),
            key(usize::try_from(round % 3).expect("is small")),
            &vector(&[1.0, 1.0]),
            lives(round..round + 2),
        );
    }
    // Two of the three have not expired when the last comes.
    assert_eq!((index.len(), index.bytes()), (2, 2 * 164));
    assert_eq!(ready(index.search(&key(0), &vector(&[1.0, 1.0]), 0.0, at(10_001))), None, "all have expired");
}
