//! The nearest of some names, for "did you mean".

/// The candidate with the fewest edits to `name`, if they are few for its length.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > 64 {
        return None;
    }
    let limit = (name.len() / 4).clamp(1, 3);
    let scored = candidates.map(|candidate| (distance(name, candidate), candidate));
    scored
        .filter(|(edits, _)| *edits <= limit)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// How many letters to insert, remove, replace or swap with their neighbour (Damerau's distance, restricted form).
fn distance(left: &str, right: &str) -> usize {
    let (left, right) = (left.to_ascii_lowercase().into_bytes(), right.to_ascii_lowercase().into_bytes());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for row in 1..=left.len() {
        let mut current = vec![row];
        for column in 1..=right.len() {
            let replaced = above[column - 1] + usize::from(left[row - 1] != right[column - 1]);
            let mut edits = replaced.min(above[column] + 1).min(current[column - 1] + 1);
            let may_swap = row > 1 && column > 1;
            if may_swap && left[row - 1] == right[column - 2] && left[row - 2] == right[column - 1] {
                edits = edits.min(before[column - 2] + 1);
            }
            current.push(edits);
        }
        before = std::mem::replace(&mut above, current);
    }
    above[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits() {
        for (left, right, edits) in
            [("", "", 0), ("a", "", 1), ("key", "Key", 0), ("kye", "key", 1), ("api_bse", "api_base", 1)]
        {
            assert_eq!(distance(left, right), edits, "{left} {right}");
        }
    }

    #[test]
    fn suggests_only_what_is_near() {
        let known = ["master_key", "model_list"];
        assert_eq!(nearest("masterkey", known.into_iter()), Some("master_key"));
        assert_eq!(nearest("model_lst", known.into_iter()), Some("model_list"));
        assert_eq!(nearest("something", known.into_iter()), None);
    }
}
