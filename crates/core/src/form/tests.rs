use proptest::{collection::vec, prelude::*};

use super::*;

const BOUNDARY: &str = "xYz-9";

/// Reads all of a form that comes in these chunks.
fn read(chunks: &[&[u8]]) -> Result<Vec<Item>, Fault> {
    let mut scanner = Scanner::new(BOUNDARY);
    let mut items = Vec::new();
    for chunk in chunks {
        scanner.push(Bytes::copy_from_slice(chunk));
        while let Some(item) = scanner.next()? {
            items.push(item);
        }
    }
    scanner.finish()?;
    Ok(items)
}

/// Puts neighbours together that a cut has taken apart.
fn whole(items: Vec<Item>) -> Vec<Item> {
    let mut whole: Vec<Item> = Vec::new();
    for item in items {
        match (whole.last_mut(), &item) {
            (Some(Item::Content(before)), Item::Content(more))
            | (Some(Item::End(before)), Item::End(more)) => {
                *before = [&before[..], more].concat().into();
            }
            _ => whole.push(item),
        }
    }
    whole
}

fn part(name: &str, is_file: bool) -> Part {
    Part { name: name.into(), is_file }
}

fn fault(form: &str) -> &'static str {
    let at_once = read(&[form.as_bytes()]).expect_err("is malformed");
    let bytewise: Vec<&[u8]> = form.as_bytes().chunks(1).collect();
    assert_eq!(read(&bytewise), Err(at_once), "however it is cut");
    at_once.0
}

#[test]
fn a_form_is_cut_into_its_parts() {
    let form = "--xYz-9\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--xYz-9 \t\r\n\
                content-type: audio/mpeg\r\nCONTENT-DISPOSITION: form-data; filename=\"a;b=c.mp3\"; name=file\r\n\r\n\
                \r\n--xYz-8\r\n\r\n--xYz-9--\r\n";
    let items = read(&[form.as_bytes()]).expect("is a form");
    let at = form.find("\r\n--xYz-9 ").expect("is there");
    let file = form.find("\r\n--xYz-8").expect("is there");
    let text = |range: std::ops::Range<usize>| Bytes::copy_from_slice(&form.as_bytes()[range]);
    assert_eq!(
        items,
        [
            Item::Part(text(0..at - 9), part("model", false)),
            Item::Content(text(at - 9..at)),
            Item::Part(text(at..file), part("file", true)),
            Item::Content(Bytes::from_static(b"\r\n--xYz-8\r\n")),
            Item::End(Bytes::from_static(b"\r\n--xYz-9--")),
            Item::End(Bytes::from_static(b"\r\n")),
        ]
    );
    assert_eq!(read(&[b"--xYz-9--"]), Ok(vec![Item::End(Bytes::from_static(b"--xYz-9--"))]));
}

/// As httpx, undici, curl, urllib3, aiohttp, .NET, OkHttp, Go and reqwest write them.
#[test]
fn heads_of_those_who_send_forms_are_read() {
    let disposition = "Content-Disposition: form-data; ";
    for (head, expected) in [
        (format!("{disposition}name=\"model\""), part("model", false)),
        (
            format!("{disposition}name=\"timestamp_granularities[]\""),
            part("timestamp_granularities[]", false),
        ),
        (
            format!("{disposition}name=\"file\"; filename=\"a%22 b.mp3\"\r\nContent-Type: audio/mpeg"),
            part("file", true),
        ),
        (
            format!(
                "{disposition}name=\"file\"; filename=\"\u{e9};b.mp3\"\r\nContent-Type: application/octet-stream"
            ),
            part("file", true),
        ),
        (format!("{disposition}name=\"file\"; filename*=utf-8''%C3%A9.mp3"), part("file", true)),
        (
            format!("Content-Type: text/plain; charset=utf-8\r\n{disposition}name=\"model\""),
            part("model", false),
        ),
        (format!("Content-Type: text/plain; charset=utf-8\r\n{disposition}name=model"), part("model", false)),
        (
            format!(
                "{disposition}name=file; filename=a.mp3; filename*=utf-8''a.mp3\r\nContent-Type: audio/mpeg"
            ),
            part("file", true),
        ),
        (
            format!("{disposition}name=\"model\"\r\nContent-Transfer-Encoding: binary\r\nContent-Length: 1"),
            part("model", false),
        ),
        (
            format!(
                "{disposition}name=\"file\"; filename=\"a.txt\"\r\nContent-Type: text/plain; charset=latin1"
            ),
            part("file", true),
        ),
    ] {
        let form = format!("--xYz-9\r\n{head}\r\n\r\nx\r\n--xYz-9--\r\n");
        let items = read(&[form.as_bytes()]);
        let found = items.as_ref().map(|items| match &items[0] {
            Item::Part(_, part) => Some(part.clone()),
            _ => None,
        });
        assert_eq!(found, Ok(Some(expected)), "{head}");
    }
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let head = |head: &str| format!("--xYz-9\r\n{head}\r\n\r\nx\r\n--xYz-9--");
    let disposition = |rest: &str| head(&format!("content-disposition: form-data{rest}"));
    for (form, why) in [
        (String::new(), "it ends before its last boundary"),
        ("--xYz-9".to_owned(), "it ends before its last boundary"),
        (disposition("; name=a").replace("--xYz-9--", ""), "it ends before its last boundary"),
        ("\r\n--xYz-9--".to_owned(), "it does not begin with its boundary"),
        ("preamble\r\n--xYz-9--".to_owned(), "it does not begin with its boundary"),
        (disposition("; name=a\r\n\r\n--xYz-9"), "its boundary stands within a line"),
        (disposition("; name=a\r\n\r\nx--xYz-9\r\n"), "its boundary stands within a line"),
        (disposition("; name=a\r\n\r\nx\n--xYz-9\r\n"), "its boundary stands within a line"),
        (disposition("; name=a\r\n\r\nx\r\n----xYz-9\r\n"), "its boundary stands within a line"),
        (disposition("; name=a; filename=\"--xYz-9\""), "its boundary stands within a line"),
        ("--xYz-9--\r\n--xYz-9\r\n".to_owned(), "something stands behind its last boundary"),
        (
            disposition("; name=a\r\n\r\nx\r\n--xYz-9more"),
            "a boundary is followed by something else than the end of its line",
        ),
        (
            disposition("; name=a\r\n\r\nx\r\n--xYz-9-x"),
            "a boundary is followed by something else than the end of its line",
        ),
        (
            disposition("; name=a\r\n\r\nx\r\n--xYz-9\n\n"),
            "a boundary is followed by something else than the end of its line",
        ),
        ("--xYz-9\r\n\r\nx\r\n--xYz-9--".to_owned(), "a part has no content-disposition"),
        (head("content-type: text/plain"), "a part has no content-disposition"),
        (
            head("content-disposition: form-data; name=a\r\nx: y"),
            "the head of a part has a line that forms do not have",
        ),
        (
            head("content-disposition: form-data; name=a\r\ncontent-type: text/plain; charset=utf-7"),
            "a part of text is in another charset than UTF-8",
        ),
        (
            head("content-disposition: form-data; name=a\r\ncontent-type: a/b\r\ncontent-type: a/b"),
            "a part has more than one content-type",
        ),
        (head("no colon"), "the head of a part has a line without a colon"),
        (head("content-disposition : form-data; name=a"), "the head of a part has blanks around a name"),
        (
            head("content-disposition: form-data; name=a;\r\n name=model"),
            "the head of a part has a line that is none",
        ),
        (head("content-disposition: form-data; name=a\nx: y"), "the head of a part has a line that is none"),
        (
            head("content-disposition: form-data; name=a\r\ncontent-disposition: form-data; name=model"),
            "a part has more than one content-disposition",
        ),
        (
            head("content-transfer-encoding: base64\r\ncontent-disposition: form-data; name=a"),
            "a part has a content-transfer-encoding",
        ),
        (
            head("content-disposition: attachment; name=a"),
            "the content-disposition of a part is not form-data",
        ),
        (disposition(""), "a part has no name"),
        (disposition("; name=a; name=model"), "a part has more than one name"),
        (disposition("; name*=utf-8''model"), "a part has its name in escapes"),
        (disposition(r#"; name="mo\del""#), "a part has its name in escapes"),
        (disposition(r#"; name="x"; name*0="mod"; name*1="el""#), "a part has its name in escapes"),
        (disposition("; name=x; name*0*=utf-8''model"), "a part has its name in escapes"),
        (disposition(r#"; name="=?utf-8?q?model?=""#), "a part has its name in escapes"),
        (disposition("; name=_charset_"), "a part names the charset of the others"),
        (disposition("; name=<model>"), "the content-disposition of a part has a value that needs quotes"),
        (disposition("; name="), "the content-disposition of a part has a value that needs quotes"),
        (disposition(r#"; name= "a""#), "the content-disposition of a part has a value that needs quotes"),
        (
            disposition(r#"; name="model"; filename*0="a""#),
            "the content-disposition of a part has a parameter that forms do not have",
        ),
        (
            disposition(r#"; x="; name=model"; name="y""#),
            "the content-disposition of a part has a name within another value",
        ),
        (
            disposition(r#"; name="y"; filename="a;Name =model""#),
            "the content-disposition of a part has a name within another value",
        ),
        (
            disposition(r#"; name ="a""#),
            "the content-disposition of a part has a parameter that forms do not have",
        ),
        (disposition("; name=a; filename=b; filename=c"), "a part has more than one name"),
        (
            disposition(r#"; filename="a\"; name="model""#),
            "the content-disposition of a part has a quote in escapes",
        ),
        (disposition(r#"; name="a"#), "the content-disposition of a part has a quote that is open"),
        (disposition(r#"; name=a"b"#), "the content-disposition of a part has a value that needs quotes"),
        (
            disposition(r#"; name="a" model"#),
            "the content-disposition of a part has something behind a quote",
        ),
        (
            disposition("; name=a; x; name=model"),
            "the content-disposition of a part has a parameter that forms do not have",
        ),
        (disposition("; name=a; x"), "the content-disposition of a part has a parameter without a value"),
        (
            head(&format!("content-id: {}\r\ncontent-disposition: form-data; name=a", "y".repeat(16 << 10))),
            "the head of a part is longer than 16 KiB",
        ),
        (
            format!(
                "--xYz-9\r\n{}",
                "content-disposition: form-data; name=a\r\n\r\n\r\n--xYz-9\r\n".repeat(1001)
            ),
            "it has more than 1000 parts",
        ),
    ] {
        assert_eq!(fault(&form), why, "{form:.200}");
    }
}

/// Content that is full of what boundaries are made of.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop_oneof![
        Just(&b"\r"[..]),
        Just(&b"\n"[..]),
        Just(&b"\r\n"[..]),
        Just(&b"--"[..]),
        Just(&b"\r\n--xYz"[..]),
        Just(&b"\r\n--xYz-"[..]),
        Just(&b"--xYz-"[..]),
        Just(&b"-"[..]),
        Just(&b"9"[..]),
        Just(&b"\r\n\r\n"[..]),
        Just(&b"a\0\xFF"[..]),
    ];
    vec(pieces, 0..12)
        .prop_map(|pieces| pieces.concat())
        .prop_filter("a boundary", |content| memmem::find(content, b"--xYz-9").is_none())
}

proptest! {
    #[test]
    fn however_a_form_is_cut_its_parts_are_the_same_and_no_byte_is_lost(
        contents in vec(content(), 0..5),
        cuts in vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut form = Vec::new();
        for (at, content) in contents.iter().enumerate() {
            let end: &[u8] = if at == 0 { b"" } else { b"\r\n" };
            form.extend_from_slice(end);
            form.extend_from_slice(format!("--xYz-9\r\ncontent-disposition: form-data; name=n{at}\r\n\r\n").as_bytes());
            form.extend_from_slice(content);
        }
        form.extend_from_slice(if contents.is_empty() { b"--xYz-9--\r\n" } else { b"\r\n--xYz-9--\r\n" });

        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(form.len())).collect();
        at.extend([0, form.len()]);
        at.sort_unstable();
        let chunks: Vec<&[u8]> = at.windows(2).map(|two| &form[two[0]..two[1]]).collect();
        let bytewise: Vec<&[u8]> = form.chunks(1).collect();
        let items = whole(read(&chunks).expect("is a form"));
        prop_assert_eq!(&items, &whole(read(&bytewise).expect("is a form")));
        prop_assert_eq!(items.iter().flat_map(|item| item.raw().to_vec()).collect::<Vec<u8>>(), form);
        let mut found = vec![Vec::new(); contents.len()];
        let mut part = 0;
        for item in &items {
            match item {
                Item::Part(_, it) => part = it.name[1..].parse::<usize>().expect("is its number"),
                Item::Content(bytes) => found[part].extend_from_slice(bytes),
                Item::End(_) => {}
            }
        }
        prop_assert_eq!(found, contents);
    }

    #[test]
    fn damaged_forms_give_no_panic(bytes in vec(any::<u8>(), 0..200), cut in 1_usize..40) {
        let form = [&b"--xYz-9\r\ncontent-disposition: form-data; name=a\r\n\r\n"[..], &bytes].concat();
        let chunks: Vec<&[u8]> = form.chunks(cut).collect();
        let _whatever_it_is = read(&chunks);
    }
}
