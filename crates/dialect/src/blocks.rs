//! The order of a stream's blocks.

use std::collections::BTreeMap;

use ziggurat_core::{Cause, Dialect, Problem};

use crate::{Delta, Event};

/// Watches which blocks of a stream are open. What comes for one that has ended can no longer be written in its place, and a caller that was
/// given the block without it has another answer.
#[derive(Debug)]
pub struct OpenBlocks {
    /// Whether what comes for a block waits for those that began before it.
    waits: bool,
    choices: Vec<Choice>,
}

#[derive(Debug, Default)]
struct Choice {
    index: u64,
    /// The blocks that are open, each with its place among all that began.
    open: BTreeMap<u64, u64>,
    /// The same, in the order in which they began.
    order: BTreeMap<u64, u64>,
    begun: u64,
    /// What no block that has begun has for a number, nor any number behind it.
    next: u64,
    /// Bytes of content that wait.
    waiting: usize,
}

// ===== impl OpenBlocks =====

impl OpenBlocks {
    /// For a stream in front of a caller of `dialect`. Anthropic's blocks stand one after another: there, what interleaves waits.
    #[must_use]
    pub fn new(dialect: Dialect) -> Self {
        Self { waits: dialect == Dialect::Anthropic, choices: Vec::new() }
    }

    /// Looks at the next event.
    ///
    /// # Errors
    /// The [`Problem`] with which the stream is to end: content for a block that has ended, or more of it than may wait.
    pub fn event(&mut self, event: &Event<'_>) -> Result<(), Problem> {
        match event {
            Event::Open { choice, block, .. } => {
                self.choice(*choice).begin(*block);
            }
            Event::Delta { choice, block, delta } => {
                let waits = self.waits;
                return self.choice(*choice).delta(*block, delta, waits);
            }
            Event::Close { choice, block } => {
                self.choice(*choice).end(*block);
            }
            _ => {}
        }
        Ok(())
    }

    fn choice(&mut self, index: u64) -> &mut Choice {
        let place = self.choices.iter().position(|choice| choice.index == index).unwrap_or_else(|| {
            self.choices.push(Choice { index, ..Choice::default() });
            self.choices.len() - 1
        });
        &mut self.choices[place]
    }
}

// ===== impl Choice =====

impl Choice {
    fn begin(&mut self, block: u64) {
        self.end(block);
        self.open.insert(block, self.begun);
        self.order.insert(self.begun, block);
        self.begun += 1;
        self.next = self.next.max(block.saturating_add(1));
    }

    fn end(&mut self, block: u64) {
        if let Some(place) = self.open.remove(&block) {
            self.order.remove(&place);
        }
        if self.open.len() < 2 {
            self.waiting = 0;
        }
    }

    fn delta(&mut self, block: u64, delta: &Delta<'_>, waits: bool) -> Result<(), Problem> {
        let first = self.order.first_key_value().map(|(_, first)| *first);
        if first == Some(block) || delta.is_empty() {
            return Ok(());
        }
        match self.open.contains_key(&block) {
            true if waits => self.waiting += delta.len(),
            true => {}
            // A block that nobody opened is its encoder's to judge.
            false if block < self.next => {
                return Err(problem("went on with a part of the answer that it had ended"));
            }
            false => {}
        }
        if self.waiting > MOST_WAITING {
            return Err(problem("began more parts of the answer at once than can be held back"));
        }
        Ok(())
    }
}

fn problem(what: &str) -> Problem {
    Problem::new(Cause::Upstream, format!("the provider {what}"))
}

/// Most bytes of content that wait for a block before theirs.
const MOST_WAITING: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Opening;

    const fn open(block: u64) -> Event<'static> {
        Event::Open { choice: 0, block, opening: Opening::Text }
    }

    fn delta(block: u64, text: &str) -> Event<'_> {
        Event::Delta { choice: 0, block, delta: Delta::Arguments(text.into()) }
    }

    #[test]
    fn content_for_a_block_that_has_ended_is_a_problem() {
        for dialect in [Dialect::OpenAi, Dialect::Anthropic] {
            let mut blocks = OpenBlocks::new(dialect);
            for event in
                [open(0), open(1), delta(1, "a"), delta(0, "b"), Event::Close { choice: 0, block: 0 }]
            {
                assert_eq!(blocks.event(&event).map_err(|problem| problem.message), Ok(()));
            }
            assert!(blocks.event(&delta(1, "c")).is_ok());
            assert!(blocks.event(&delta(0, "")).is_ok(), "nothing is no content");
            assert!(blocks.event(&delta(7, "d")).is_ok(), "never began");
            let problem = blocks.event(&delta(0, "e")).expect_err("has ended");
            assert_eq!(problem.message, "the provider went on with a part of the answer that it had ended");
        }
    }

    #[test]
    fn what_waits_is_bounded_where_it_waits() {
        let half = "x".repeat(MOST_WAITING / 2);
        for (dialect, refuses) in [(Dialect::Anthropic, true), (Dialect::OpenAi, false)] {
            let mut blocks = OpenBlocks::new(dialect);
            let mut fits = |event: Event<'_>| blocks.event(&event).is_ok();
            assert!(fits(open(0)) && fits(open(1)) && fits(delta(0, &half)) && fits(delta(1, &half)));
            // Once the first has ended, nothing waits.
            assert!(fits(Event::Close { choice: 0, block: 0 }) && fits(delta(1, &half)) && fits(open(2)));
            assert!(fits(delta(2, &half)) && fits(delta(2, &half)));
            assert_eq!(fits(delta(2, "y")), !refuses, "{dialect:?}");
        }
    }
}
