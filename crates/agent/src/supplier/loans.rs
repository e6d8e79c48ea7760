//! What is given back to Vault: what was replaced, once nobody uses it any more, and everything at the end.

use secrecy::SecretString;
use tokio::time::Instant;

use super::{CALL_TIMEOUT, CLOSE_TIMEOUT, GRACE, Supplier};
use crate::secrets;
use vault_api::{client::Error, token};

/// What Vault wants back.
pub(super) enum Loan {
    Token { token: SecretString, number: u64 },
    Lease { id: String },
}

impl Supplier {
    /// Gives back everything that Vault has given, as far as that can be done soon.
    pub(crate) async fn close(&mut self) {
        let deadline = Instant::now() + CLOSE_TIMEOUT;
        if self.identity.is_owned() || self.session.as_ref().is_some_and(|session| !session.returns) {
            return self.return_leases(deadline).await;
        }
        let retired = std::mem::take(&mut self.retired).into_iter().map(|(_, loan)| loan);
        let mut tokens: Vec<SecretString> = retired
            .chain(std::mem::take(&mut self.superseded))
            .filter_map(|loan| match loan {
                Loan::Token { token, .. } => Some(token),
                // It goes with its token.
                Loan::Lease { .. } => None,
            })
            .collect();
        tokens.extend(self.session.take().map(|session| session.token));
        for token in tokens.iter().rev() {
            if let Err(error) = token::revoke(&self.client, token, deadline).await {
                tracing::warn!(%error, "a token could not be given back; it ends by itself");
            }
        }
    }

    /// Gives back each lease, because the token that they were made with stays.
    async fn return_leases(&mut self, deadline: Instant) {
        let Some(session) = self.session.take() else { return };
        let retired = std::mem::take(&mut self.retired).into_iter().map(|(_, loan)| loan);
        let replaced = retired.chain(std::mem::take(&mut self.superseded)).filter_map(|loan| match loan {
            Loan::Lease { id } => Some(id),
            Loan::Token { .. } => None,
        });
        let held = self.slots.iter_mut().filter_map(|slot| slot.held.take()?.lease).map(|lease| lease.id);
        for id in replaced.chain(held).filter(|id| !id.is_empty()).collect::<Vec<_>>() {
            if let Err(error) = secrets::revoke(&self.client, &id, &session.token, deadline).await {
                tracing::warn!(%error, "a lease could not be given back; it ends by itself");
            }
        }
    }

    /// Gives back what was replaced long enough ago. A token on which a secret still hangs is kept.
    pub(super) async fn give_back(&mut self) {
        let now = Instant::now();
        let Some(session) = &self.session else { return };
        let deadline = now + CALL_TIMEOUT;
        let in_use = |number: u64| {
            self.slots
                .iter()
                .filter_map(|slot| slot.held.as_ref())
                .any(|held| held.lease.is_some() && held.token == number)
        };
        let mut kept = Vec::new();
        for (at, loan) in std::mem::take(&mut self.retired) {
            if at > now {
                kept.push((at, loan));
                continue;
            }
            let given = match &loan {
                Loan::Token { number, .. } if in_use(*number) => {
                    kept.push((now + GRACE, loan));
                    continue;
                }
                Loan::Token { token, .. } => token::revoke(&self.client, token, deadline).await,
                Loan::Lease { id } => secrets::revoke(&self.client, id, &session.token, deadline).await,
            };
            match given {
                Ok(()) => {}
                Err(Error::Forbidden(_)) => {
                    tracing::debug!("an old lease ends by itself: no policy permits to revoke it");
                }
                Err(error) => tracing::debug!(%error, "an old lease or token ends by itself"),
            }
        }
        self.retired = kept;
    }
}
