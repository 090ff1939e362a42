use super::*;

#[test]
fn a_token_has_about_three_bytes() {
    let tokens = |text: &str| ByLength.count("any", text);
    assert_eq!(tokens(""), Count::estimate(0));
    assert_eq!(tokens("a"), Count::estimate(1));
    assert_eq!(tokens("abc"), Count::estimate(1));
    assert_eq!(tokens("abcd"), Count::estimate(2));
    assert_eq!(tokens("猫である"), Count::estimate(4));
}

#[test]
fn a_token_has_at_least_one_byte() {
    assert_eq!(AtMostBytes.count("any", "猫a"), Count::estimate(4));
}

#[test]
fn escapes_count_as_what_they_stand_for() {
    let escaped = r"\u732b\n\ud83d\ude00";
    assert_eq!(AtMostBytes.count_escaped("any", escaped), Count::estimate(8));
    assert_eq!(ByLength.count_escaped("any", escaped), Count::estimate(3));
    let letters = |_: &str, text: &str| Count::exact(text.chars().count() as u64);
    assert_eq!(letters.count_escaped("any", escaped), Count::exact(3));
}

#[test]
fn a_sum_is_exact_when_all_of_it_is() {
    let sum = |counts: &[Count]| counts.iter().copied().sum::<Count>();
    assert_eq!(sum(&[]), Count::exact(0));
    assert_eq!(sum(&[Count::exact(1), Count::exact(2)]), Count::exact(3));
    assert_eq!(sum(&[Count::exact(1), Count::estimate(2)]), Count::estimate(3));
    assert_eq!(sum(&[Count::exact(u64::MAX), Count::exact(1)]), Count::exact(u64::MAX));
}
