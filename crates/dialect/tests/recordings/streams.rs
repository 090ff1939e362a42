//! Streamed answers.

use ziggurat_core::{Convention, Usage};
use ziggurat_dialect::{Delta, Event, Opening};

use crate::{Case, decode, difference, encode, leaves, over};

pub(crate) fn is_stream(case: &Case) -> bool {
    case.succeeded() && case.is_stream()
}

#[test]
fn a_stream_in_its_own_dialect_loses_nothing() {
    over("streams kept", is_stream, |case| {
        let data = case.events();
        let events = decode(case.dialect, &data)?;
        let ends = events.iter().filter(|event| matches!(event, Event::End | Event::Error(_))).count();
        if ends != 1 || !matches!(events.last(), Some(Event::End | Event::Error(_))) {
            return Err(format!("has {ends} ends"));
        }
        let failed = matches!(events.last(), Some(Event::Error(_)));
        let is_error = |data: &String| data.contains("\"error\":{");
        let before_error = |data: &[String]| {
            data.iter().take_while(|data| !failed || !is_error(data)).cloned().collect::<Vec<_>>()
        };
        let expected = leaves::of(case.dialect, &before_error(&data));
        let written = leaves::of(case.dialect, &before_error(&encode(case.dialect, &events)));
        let (expected, written): (Vec<_>, Vec<_>) =
            (expected.0.into_iter().collect(), written.0.into_iter().collect());
        difference(&expected, &written).map_or(Ok(()), Err)
    });
}

/// Two ways of saying the same are made one: usage is what has been stated in the end, members that the model does not know are compared
/// apart (Anthropic's frame has one place for them, at the end), and a call without arguments has an empty object, which OpenAI's
/// encoder states.
fn normal(events: &[Event<'_>]) -> (Vec<String>, Vec<String>, Usage) {
    let (mut rest, mut extras, mut usage) = (Vec::new(), Vec::new(), Usage::new(Convention::OPENAI));
    let mut silent = None;
    for event in events {
        match event {
            Event::Usage(spent) => {
                usage.convention = spent.counts.convention;
                usage.update(&spent.counts);
                continue;
            }
            Event::Extra { choice: None, .. } => {
                extras.push(format!("{event:?}"));
                continue;
            }
            Event::Open { choice, block, opening: Opening::ToolCall { .. } } => {
                silent = Some((*choice, *block))
            }
            Event::Delta { delta: Delta::Arguments(_), .. } => silent = None,
            Event::Close { choice, block } if silent.take() == Some((*choice, *block)) => {
                let (choice, block, delta) = (*choice, *block, Delta::Arguments("{}".into()));
                rest.push(format!("{:?}", Event::Delta { choice, block, delta }));
            }
            _ => {}
        }
        rest.push(format!("{event:?}"));
    }
    (rest, extras, usage)
}

#[test]
fn a_stream_read_written_and_read_again_is_the_same() {
    over("streams stable", is_stream, |case| {
        let data = case.events();
        let events = decode(case.dialect, &data)?;
        let written = encode(case.dialect, &events);
        let again = decode(case.dialect, &written)?;
        let (left, right) = (normal(&events), normal(&again));
        // An error is read by its words: in OpenAI's they are ours by then.
        let end = left.0.len() - usize::from(matches!(events.last(), Some(Event::Error(_))));
        // Nor does the caller learn then what it used.
        let differs = difference(&left.0[..end], right.0.get(..end).unwrap_or(&right.0))
            .or_else(|| difference(&left.1, &right.1))
            .or_else(|| difference(&[left.2], &[right.2]).filter(|_| end == left.0.len()));
        differs.map_or(Ok(()), Err)
    });
}
