//! `local --stdio`: one connector on standard input and output, for editors and agents that start their servers
//! themselves. Behind it are the same handler and guards as behind HTTP; the caller is whoever started the process.

use std::sync::Arc;

use rmcp::{
    RoleServer, ServiceExt,
    model::{GetExtensions, JsonRpcMessage},
    service::{QuitReason, RxJsonRpcMessage, TxJsonRpcMessage},
    transport::{Transport, async_rw::AsyncRwTransport},
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{LocalError, fleet::Fleet, manifests::Key, replica::Replica};
use server::{
    Stop,
    access::{Caller, Rights},
    door::RequestScope,
};

/// A transport whose requests all come from whoever started this process.
struct Local<T> {
    inner: T,
    rights: Option<Arc<Rights>>,
}

impl<T: Transport<RoleServer>> Transport<RoleServer> for Local<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.inner.send(item)
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        let mut message = self.inner.receive().await?;
        if let JsonRpcMessage::Request(request) = &mut message {
            // Where the handler finds who calls, as it does behind HTTP.
            let (mut parts, ()) = http::Request::new(()).into_parts();
            parts.extensions.insert(Arc::new(RequestScope::direct(Caller::Local, self.rights.clone())));
            request.request.extensions_mut().insert(parts);
        }
        Some(message)
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.inner.close().await
    }
}

/// Speaks MCP for a connector until the other side ends, or `stop`.
///
/// # Errors
/// When the other side does not begin as the protocol wants.
pub async fn serve<R, W>(replica: &Replica, read: R, write: W, stop: &Stop) -> Result<(), LocalError>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let transport = Local { inner: AsyncRwTransport::new_server(read, write), rights: replica.rights() };
    let starting = replica.handler().serve(transport);
    let running = tokio::select! {
        () = stop.drain.cancelled() => return Ok(()),
        started = starting => match started {
            Ok(running) => running,
            // Whoever closes before a word is said wanted nothing.
            Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
            Err(error) => return Err(LocalError::Speak(Box::new(error))),
        },
    };
    let end = running.cancellation_token();
    let waiting = running.waiting();
    tokio::pin!(waiting);
    let ended = tokio::select! {
        ended = &mut waiting => ended,
        () = stop.drain.cancelled() => {
            end.cancel();
            waiting.await
        }
    };
    if !matches!(ended, Ok(QuitReason::Closed | QuitReason::Cancelled)) {
        tracing::warn!("the connection on standard input and output ended with a fault");
    }
    Ok(())
}

/// The connector that standard input is for: the one that is named, or the only one.
///
/// # Errors
/// When that isn't clear, or it doesn't run; the text says which there are, or why.
pub async fn choose<'a>(fleet: &'a mut Fleet, wanted: Option<&Key>) -> Result<&'a Replica, LocalError> {
    let views = fleet.observe().await;
    let names = || views.iter().map(|view| view.key.to_string()).collect::<Vec<_>>().join(", ");
    let key = match (wanted, views.as_slice()) {
        (Some(key), _) => key.clone(),
        (None, [only]) => only.key.clone(),
        (None, []) => return Err(LocalError::Choose("there is no McpConnector in these files".to_owned())),
        (None, _) => {
            return Err(LocalError::Choose(format!(
                "there are several connectors; choose one by --connector: {}",
                names()
            )));
        }
    };
    let Some(view) = views.iter().find(|view| view.key == key) else {
        return Err(LocalError::Choose(format!("there is no McpConnector {key} in these files; there is {}", names())));
    };
    let why = view
        .status
        .conditions
        .iter()
        .find(|condition| condition.type_ == "Ready")
        .map_or_else(String::new, |ready| format!(": {}: {}", ready.reason, ready.message));
    fleet.replica(&key).ok_or_else(|| LocalError::Choose(format!("{key} does not run{why}")))
}
