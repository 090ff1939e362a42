//! Scripts: one round trip a call.

use std::sync::LazyLock;

use redis::{Arg, Cmd, ErrorKind, FromRedisValue, ServerErrorKind, ToRedisArgs, Value, from_redis_value};
use ziggurat_core::Away;

use crate::link::Link;

/// A script with its name on the server.
pub(crate) struct Script {
    source: &'static str,
    hash: LazyLock<String, fn() -> String>,
}

/// A call of a script, before it is sent.
pub(crate) struct Call {
    script: &'static Script,
    cmd: Cmd,
}

// ===== impl Script =====

impl Script {
    /// A script of which `hash` gives the hash.
    pub(crate) const fn new(source: &'static str, hash: fn() -> String) -> Self {
        Self { source, hash: LazyLock::new(hash) }
    }

    /// Begins a call with these keys; all of them share a slot.
    pub(crate) fn call<K: ToRedisArgs>(&'static self, keys: impl ExactSizeIterator<Item = K>) -> Call {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(&*self.hash).arg(keys.len());
        for key in keys {
            cmd.arg(key);
        }
        Call { script: self, cmd }
    }
}

/// What a server calls a script.
pub(crate) fn hash_of(source: &str) -> String {
    redis::Script::new(source).get_hash().to_owned()
}

// ===== impl Call =====

impl Call {
    pub(crate) fn arg(&mut self, arg: impl ToRedisArgs) -> &mut Self {
        self.cmd.arg(arg);
        self
    }

    /// Sends it. A server that does not know the script is sent all of it, once.
    pub(crate) async fn send<T: FromRedisValue>(&self, link: &Link) -> Result<T, Away> {
        let known = link.send(&self.cmd, |answer| match answer {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => Ok(None),
            answer => answer.map(Some),
        });
        let answer = match known.await? {
            Some(answer) => answer,
            None => link.send(&self.whole(), |answer| answer).await?,
        };
        read(answer)
    }

    /// The same call with the script in it.
    fn whole(&self) -> Cmd {
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(self.script.source);
        for arg in self.cmd.args_iter().skip(2) {
            if let Arg::Simple(arg) = arg {
                cmd.arg(arg);
            }
        }
        cmd
    }
}

fn read<T: FromRedisValue>(answer: Value) -> Result<T, Away> {
    from_redis_value(answer).map_err(|_| unexpected())
}

/// For an answer that is not as the script gives it.
pub(crate) fn unexpected() -> Away {
    Away::new("redis answered what cannot be")
}

/// Makes a script of files.
macro_rules! script {
    ($name:ident = $($file:literal),+) => {
        static $name: $crate::script::Script = {
            const SOURCE: &str = concat!($(include_str!($file)),+);
            $crate::script::Script::new(SOURCE, || $crate::script::hash_of(SOURCE))
        };
    };
}
pub(crate) use script;
