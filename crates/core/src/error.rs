//! The boxed error that bodies and adapters carry.

/// Any error, as bodies and transports give it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
