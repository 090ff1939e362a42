//! Reads usage, content and endings from LLM responses as they pass
