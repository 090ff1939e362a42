//! The ziggurat binary: the layers assembled behind a LiteLLM config.yaml.

#[expect(dead_code, unused_imports, reason = "wired by the lead")]
mod config;
#[cfg_attr(not(test), expect(dead_code, reason = "wired by the lead"))]
mod secret;

fn main() {}
