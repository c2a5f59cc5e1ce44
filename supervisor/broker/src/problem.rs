//! Why a use case did not happen: a stable code, a status and a sentence for the person.

use percloud_core::account::Unfit;
use percloud_store::CommitError;
use serde_json::{Value, json};

/// Every way a use case ends without happening.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Problem {
    /// It does not exist, or not for this person; the two are one answer.
    #[error("there is nothing here")]
    NotFound,
    /// Nobody is signed in.
    #[error("sign in first")]
    SignedOut,
    /// The request is not of the expected shape.
    #[error("{0}")]
    BadRequest(String),
    /// The upload is larger than a package may be.
    #[error("the file is larger than a package may be")]
    TooLarge,
    /// Too many failed attempts.
    #[error("too many attempts; try again in {retry_after} seconds")]
    TooManyAttempts {
        /// Seconds to wait.
        retry_after: u64,
    },
    /// Handle or password is wrong; which of them is not said.
    #[error("that handle and password do not go together")]
    WrongCredentials,
    /// The setup secret is wrong.
    #[error("that is not the setup secret this server printed when it started")]
    WrongSecret,
    /// The server has an owner.
    #[error("this server is already set up; sign in instead")]
    AlreadySetUp,
    /// A name, handle or password that may not be used.
    #[error("{0}")]
    Unfit(#[from] Unfit),
    /// The package is refused.
    #[error("{message}")]
    BadPackage {
        /// A stable word for the reason.
        reason: String,
        /// What was tried, on what, and what to do.
        message: String,
    },
    /// The backup is refused.
    #[error("{message}")]
    BadBackup {
        /// A stable word for the reason.
        reason: String,
        /// What was tried, on what, and what to do.
        message: String,
    },
    /// The app a backup was made with is not installed.
    #[error("the app this was made with is not installed; install it first")]
    AppMissing,
    /// The app cannot go while grains need it.
    #[error("things made with this app still exist; delete them first")]
    InUse,
    /// The grain is in the trash.
    #[error("this is in the trash; restore it to use it")]
    InTrash,
    /// Only what is in the trash can be deleted for good.
    #[error("move this to the trash before you delete it for good")]
    NotInTrash,
    /// The disk is full.
    #[error("the disk of this server is full; nothing was changed")]
    DiskFull,
    /// Writing failed, and nothing is written until the store has been opened anew.
    #[error("this server could not write to its disk; nothing can be saved until that works again")]
    StoreFailed,
    /// They have it, and may not pass it on.
    #[error("this was shared with you to use, not to pass on")]
    MayNotShare,
    /// An invitation that is none, or no more.
    #[error("this invitation is unknown, used or expired; ask for a new one")]
    WrongInvitation,
    /// Somebody here is called that.
    #[error("somebody here already uses that handle")]
    HandleTaken,
    /// The egress does not run.
    #[error("this server cannot reach other machines at the moment; try again soon")]
    NoWayOut,
    /// A token that stands for nothing, or not for whoever presents it; the reasons are one answer.
    #[error("this reference is unknown, taken back or expired")]
    NoReference,
    /// The app cannot run.
    #[error("{0}")]
    GrainFailed(String),
    /// Something on the server failed; the log has the cause.
    #[error("the server could not do this; its log says why")]
    Unavailable,
}

impl Problem {
    /// The stable code (docs/shell-api.md).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not-found",
            Self::SignedOut => "signed-out",
            Self::BadRequest(_) => "bad-request",
            Self::TooLarge => "too-large",
            Self::TooManyAttempts { .. } => "too-many-attempts",
            Self::WrongCredentials => "wrong-credentials",
            Self::WrongSecret => "wrong-secret",
            Self::AlreadySetUp => "already-set-up",
            Self::Unfit(Unfit::Name | Unfit::Handle) => "bad-request",
            Self::Unfit(_) => "weak-password",
            Self::BadPackage { .. } => "bad-package",
            Self::BadBackup { .. } => "bad-backup",
            Self::AppMissing => "app-missing",
            Self::InUse => "in-use",
            Self::InTrash => "in-trash",
            Self::NotInTrash => "not-in-trash",
            Self::DiskFull => "disk-full",
            Self::MayNotShare => "may-not-share",
            Self::WrongInvitation => "wrong-secret",
            Self::HandleTaken => "bad-request",
            Self::NoReference => "not-found",
            Self::GrainFailed(_) => "grain-failed",
            Self::StoreFailed => "store-failed",
            Self::Unavailable | Self::NoWayOut => "unavailable",
        }
    }

    /// The HTTP status it is answered with.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::NotFound | Self::NoReference => 404,
            Self::SignedOut => 401,
            Self::BadRequest(_) | Self::Unfit(_) => 400,
            Self::TooLarge => 413,
            Self::TooManyAttempts { .. } => 429,
            Self::WrongCredentials | Self::WrongSecret | Self::WrongInvitation | Self::MayNotShare => 403,
            Self::HandleTaken | Self::AlreadySetUp | Self::InUse | Self::InTrash | Self::NotInTrash => 409,
            Self::BadPackage { .. } | Self::BadBackup { .. } => 422,
            Self::AppMissing => 409,
            Self::DiskFull => 507,
            Self::GrainFailed(_) => 502,
            Self::Unavailable => 500,
            Self::NoWayOut | Self::StoreFailed => 503,
        }
    }

    pub(crate) fn json(&self) -> Value {
        let mut error = json!({"code": self.code(), "message": sentence(&self.to_string())});
        match self {
            Self::TooManyAttempts { retry_after } => error["retryAfter"] = json!(retry_after),
            Self::BadPackage { reason, .. } | Self::BadBackup { reason, .. } => {
                error["reason"] = json!(reason)
            }
            _ => {}
        }
        json!({"error": error})
    }

    /// Logs the cause and keeps it from the person, except when they can do something about it.
    pub(crate) fn internal(what: &str, cause: &(dyn std::error::Error + 'static)) -> Self {
        if is_disk_full(cause) {
            return Self::DiskFull;
        }
        Self::log(what, cause);
        Self::Unavailable
    }

    /// Why nothing was committed. A full disk is what the store says it is: where it found that out only while it wrote, it
    /// is not enough to make room.
    pub(crate) fn not_committed(error: &CommitError) -> Self {
        let what = "write the store";
        match error {
            CommitError::Failed(_) | CommitError::ReadOnly(_) => {
                Self::log(what, error);
                Self::StoreFailed
            }
            other => Self::internal(what, other),
        }
    }

    fn log(what: &str, cause: &(dyn std::error::Error + 'static)) {
        let mut chain = cause.to_string();
        let mut next = cause.source();
        while let Some(source) = next {
            chain.push_str(": ");
            chain.push_str(&source.to_string());
            next = source.source();
        }
        tracing::error!("cannot {what}: {chain}");
    }
}

/// Messages are written in lower case without a stop; people get a sentence.
fn sentence(message: &str) -> String {
    let mut characters = message.chars();
    let Some(first) = characters.next() else {
        return String::new();
    };
    let stop = if message.ends_with(['.', '!', '?']) {
        ""
    } else {
        "."
    };
    format!("{}{}{stop}", first.to_uppercase(), characters.as_str())
}

fn is_disk_full(cause: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(cause);
    while let Some(error) = next {
        let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if matches!(
            kind,
            Some(std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
        ) {
            return true;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_get_sentences() {
        assert_eq!(sentence("there is nothing here"), "There is nothing here.");
        assert_eq!(sentence("Done!"), "Done!");
        assert_eq!(sentence(""), "");
    }

    #[test]
    fn a_full_disk_is_named_however_deep_it_hides() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] std::io::Error);
        let full = Outer(std::io::Error::from(std::io::ErrorKind::StorageFull));
        assert_eq!(Problem::internal("write", &full).code(), "disk-full");
        let other = Outer(std::io::Error::from(std::io::ErrorKind::PermissionDenied));
        assert_eq!(Problem::internal("write", &other).code(), "unavailable");
    }

    #[test]
    fn a_store_that_has_failed_is_not_called_a_full_disk() {
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        for failed in [CommitError::Failed(full()), CommitError::ReadOnly(full())] {
            assert!(matches!(Problem::not_committed(&failed), Problem::StoreFailed));
        }
        let refused = Problem::not_committed(&CommitError::DiskFull(full()));
        assert_eq!(refused.code(), "disk-full", "making room helps");
    }
}
