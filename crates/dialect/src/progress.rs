//! How far a JSON object has come.

/// Whether JSON that comes in pieces is whole: an object or a list of which nothing is open. Nothing is whole before it has begun, and of other
/// values nobody knows.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    begun: bool,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

// ===== impl Progress =====

impl Progress {
    pub(crate) fn push(&mut self, piece: &str) {
        for byte in piece.bytes() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => (self.begun, self.depth) = (true, self.depth + 1),
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    pub(crate) const fn is_whole(&self) -> bool {
        self.begun && self.depth == 0 && !self.in_string
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_whole_where_nothing_is_open() {
        let whole = |pieces: &[&str]| {
            let mut progress = Progress::default();
            pieces.iter().for_each(|piece| progress.push(piece));
            progress.is_whole()
        };
        for pieces in [&["{}"][..], &["{\"a", "\":[{\"b\":\"}\\", "\"\"}", "]}"], &[" [", "] "]] {
            assert!(whole(pieces), "{pieces:?}");
            let json = pieces.concat();
            for end in 0..json.trim_end().len() {
                assert!(!whole(&[&json[..end]]), "{}", &json[..end]);
            }
        }
        for pieces in [&[][..], &["null"], &["\"a\""], &["{\"a\":\"}"], &["{\"a\":\"\\\\\\\"}"]] {
            assert!(!whole(pieces), "{pieces:?}");
        }
    }
}
