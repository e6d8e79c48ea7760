//! Why replicas can't count together: a closed list. What a server says is never passed on.

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why the shared count isn't used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
pub enum Trouble {
    /// It was not tried yet.
    Starting,
    /// The credentials hold no password.
    NoPassword,
    /// There is no connection, or it broke off.
    Unreachable,
    /// No answer came in time.
    Timeout,
    /// The server's certificate is not to be trusted, or it speaks no TLS.
    TlsInvalid,
    /// Name or password are wrong, or missing.
    AuthenticationFailed,
    /// The user may not run the script on the connector's keys.
    PermissionMissing,
    /// The server takes no writes, as a replica of another one.
    ReadOnly,
    /// The server answers in a way that is of no use.
    Unusable,
}

impl Trouble {
    /// Its name.
    pub fn reason(self) -> &'static str {
        self.into()
    }

    /// What an error comes to.
    pub fn of(error: &RedisError) -> Self {
        match error.kind() {
            ErrorKind::Io => Self::Unreachable,
            ErrorKind::AuthenticationFailed => Self::AuthenticationFailed,
            ErrorKind::Server(ServerErrorKind::NoPerm) => Self::PermissionMissing,
            ErrorKind::Server(ServerErrorKind::ReadOnly) => Self::ReadOnly,
            _ => match error.code() {
                Some("NOAUTH" | "WRONGPASS") => Self::AuthenticationFailed,
                _ => Self::Unusable,
            },
        }
    }
}
