//! The ziggurat binary: the layers assembled behind a LiteLLM config.yaml
