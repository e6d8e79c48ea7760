//! Calls with the newest credentials: with those in use, and once more with newer ones where the platform refuses these.

use tokio::time::Instant;

/// Where what a platform's calls are made with comes from.
pub trait Keys: Sync {
    /// What a call is made with: a token, or user and password.
    type Key: Clone + Send + Sync;
    /// Why a call fails.
    type Error: Send;

    /// What is in use.
    ///
    /// # Errors
    /// When there is nothing, and whatever a login meets.
    fn current(&self, deadline: Instant) -> impl Future<Output = Result<Self::Key, Self::Error>> + Send;

    /// Whether an error means that the platform may refuse what the call was made with.
    fn is_refusal(&self, error: &Self::Error) -> bool;

    /// Something newer than what the platform refused, and why it did.
    ///
    /// # Errors
    /// What the call's maker is told, when there is nothing newer or what was refused is good after all.
    fn newer(
        &self,
        refused: &Self::Key,
        error: Self::Error,
        deadline: Instant,
    ) -> impl Future<Output = Result<Self::Key, Self::Error>> + Send;

    /// What the call's maker is told when the platform refuses the newer one, too.
    fn newer_refused(
        &self,
        newer: &Self::Key,
        error: Self::Error,
        deadline: Instant,
    ) -> impl Future<Output = Self::Error> + Send;
}

/// Makes a call with what is in use; once more with something newer if the platform refuses that.
///
/// # Errors
/// The call's, and those of [`Keys`].
pub async fn with_newest<K, T, F>(keys: &K, deadline: Instant, send: impl Fn(K::Key) -> F) -> Result<T, K::Error>
where
    K: Keys,
    F: Future<Output = Result<T, K::Error>>,
{
    let key = keys.current(deadline).await?;
    let newer = match send(key.clone()).await {
        Err(error) if keys.is_refusal(&error) => keys.newer(&key, error, deadline).await?,
        outcome => return outcome,
    };
    match send(newer.clone()).await {
        Err(error) if keys.is_refusal(&error) => Err(keys.newer_refused(&newer, error, deadline).await),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    enum Error {
        None,
        Refused,
        RefusedTwice,
        Other,
    }

    /// Keys by number; those of the list are there, in its order.
    struct Numbered(Vec<u32>);

    impl Keys for Numbered {
        type Key = u32;
        type Error = Error;

        async fn current(&self, _: Instant) -> Result<u32, Error> {
            self.0.first().copied().ok_or(Error::None)
        }

        fn is_refusal(&self, error: &Error) -> bool {
            *error == Error::Refused
        }

        async fn newer(&self, refused: &u32, error: Error, _: Instant) -> Result<u32, Error> {
            self.0.iter().find(|key| *key > refused).copied().ok_or(error)
        }

        async fn newer_refused(&self, _: &u32, _: Error, _: Instant) -> Error {
            Error::RefusedTwice
        }
    }

    async fn made(keys: &[u32], answer: impl Fn(u32) -> Result<u32, Error>) -> (Result<u32, Error>, Vec<u32>) {
        let seen = Mutex::new(Vec::new());
        let keys = Numbered(keys.to_vec());
        let outcome = with_newest(&keys, Instant::now(), |key| {
            seen.lock().unwrap().push(key);
            std::future::ready(answer(key))
        });
        let outcome = outcome.await;
        (outcome, seen.into_inner().unwrap())
    }

    #[tokio::test]
    async fn what_is_refused_is_tried_once_more_with_something_newer() {
        assert_eq!(made(&[], Ok).await, (Err(Error::None), vec![]));
        assert_eq!(made(&[1, 2], Ok).await, (Ok(1), vec![1]));
        assert_eq!(made(&[1, 2], |_| Err(Error::Other)).await, (Err(Error::Other), vec![1]));
        let refuses_one = |key| if key == 1 { Err(Error::Refused) } else { Ok(key) };
        assert_eq!(made(&[1, 2, 3], refuses_one).await, (Ok(2), vec![1, 2]));
        assert_eq!(made(&[1], refuses_one).await, (Err(Error::Refused), vec![1]));
        assert_eq!(made(&[1, 2, 3], |_| Err(Error::Refused)).await, (Err(Error::RefusedTwice), vec![1, 2]));
    }
}
