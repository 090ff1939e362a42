//! What a request says of a field: nothing, that it is to be empty, or a value.

/// What a request says of a field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Given<T> {
    /// Nothing: it stays as it is.
    #[default]
    Absent,
    /// That it is to be empty.
    Null,
    Value(T),
}

// ===== impl Given =====

impl<T> Given<T> {
    /// Changes what may be missing.
    pub(super) fn put(self, to: &mut Option<T>) {
        match self {
            Self::Absent => {}
            Self::Null => *to = None,
            Self::Value(value) => *to = Some(value),
        }
    }

    /// Changes what is empty at least.
    pub(super) fn put_in(self, to: &mut T)
    where
        T: Default,
    {
        match self {
            Self::Absent => {}
            Self::Null => *to = T::default(),
            Self::Value(value) => *to = value,
        }
    }

    pub(super) fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }

    pub(super) fn map<U, E>(self, change: impl FnOnce(T) -> Result<U, E>) -> Result<Given<U>, E> {
        Ok(match self {
            Self::Absent => Given::Absent,
            Self::Null => Given::Null,
            Self::Value(value) => Given::Value(change(value)?),
        })
    }
}
