//! A Tower layer that translates between LLM dialects
