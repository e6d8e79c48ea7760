//! Where AWS is asked: in which region, and in which account, as far as AWS has said whose the credentials are.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

/// A region of an account.
pub(super) struct Place {
    region: String,
    account: Mutex<Option<String>>,
}

impl Place {
    pub(super) const fn new(region: String) -> Self {
        Self { region, account: Mutex::new(None) }
    }

    pub(super) fn region(&self) -> &str {
        &self.region
    }

    /// What ARNs of this region begin with, after `arn:` (`partitions.json` of AWS' SDKs).
    pub(super) fn partition(&self) -> &'static str {
        const OTHERS: [(&str, &str); 7] = [
            ("cn-", "aws-cn"),
            ("us-gov-", "aws-us-gov"),
            ("us-iso-", "aws-iso"),
            ("us-isob-", "aws-iso-b"),
            ("eu-isoe-", "aws-iso-e"),
            ("us-isof-", "aws-iso-f"),
            ("eusc-", "aws-eusc"),
        ];
        OTHERS.iter().find(|(begin, _)| self.region.starts_with(begin)).map_or("aws", |(_, partition)| partition)
    }

    /// The account that the credentials are of, if AWS has said it.
    pub(super) fn account(&self) -> Option<String> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers which account AWS says that the credentials are of; none if it doesn't say.
    pub(super) fn learn(&self, account: Option<&str>) {
        let account = account.filter(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()));
        *self.account.lock().unwrap_or_else(PoisonError::into_inner) = account.map(str::to_owned);
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.account.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(account) => write!(f, "account {account}, region {}", self.region),
            None => write!(f, "the connector's account, region {}", self.region),
        }
    }
}
