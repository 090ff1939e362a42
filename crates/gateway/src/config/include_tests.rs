//! A configuration in several files.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use super::tests::{env, one, print};
use super::*;

#[test]
fn includes_append_lists_and_replace_the_rest() {
    let files = HashMap::from([
        (
            "dir/main.yaml",
            one("") + "include: [sub/b.yaml, missing.yaml]\ngeneral_settings: {master_key: one}\n",
        ),
        ("dir/sub/b.yaml", one("      rpm: x\n") + "include: [c.yaml, ../main.yaml, b.yaml]\n"),
        ("dir/sub/c.yaml", "general_settings: {master_key: two}\n".to_owned()),
    ]);
    let read = |path: &Path| {
        let text = path.to_str().and_then(|path| files.get(path)).cloned();
        text.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    };
    let expected = "dir/main.yaml:6:23: error: include[1]: cannot read the included file: entity not found
dir/main.yaml:7:1: warning: general_settings: replaced as a whole by the included dir/sub/c.yaml:1:1
dir/sub/b.yaml:6:12: error: model_list[0].litellm_params.rpm: expected a number, found a string
dir/sub/b.yaml:7:19: error: include[1]: cannot read the included file: entity not found
dir/sub/b.yaml:7:33: error: include[2]: includes itself, or more than 8 files deep\n";
    let found = Config::load_with(Path::new("dir/main.yaml"), &read, &env).unwrap_err();
    assert_eq!(print(&found), expected);
    let good = HashMap::from([
        ("m.yaml", one("") + "include: [b.yaml]\ngeneral_settings: {master_key: one}\n"),
        ("b.yaml", one("").replace("name: a", "name: b") + "general_settings: {master_key: two}\n"),
    ]);
    let read = |path: &Path| {
        path.to_str().and_then(|path| good.get(path)).cloned().ok_or_else(|| io::Error::other(""))
    };
    let (config, _) = Config::load_with(Path::new("m.yaml"), &read, &env).unwrap();
    assert_eq!(config.model_names(), ["a", "b"]);
    assert_eq!(config.master_key.unwrap().expose(), "two");
    assert_eq!(config.deployments[1].position.to_string(), "b.yaml:2:5");
    let found = Config::load(Path::new("there/is/no.yaml")).unwrap_err();
    assert_eq!(print(&found), "there/is/no.yaml: error: cannot read the file: entity not found\n");
}
