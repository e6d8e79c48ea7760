//! Servers of tests that fail in a chosen way.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests use it")]

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::watch,
};

/// How an upstream fails.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Nobody listens.
    Refuses,
    /// It accepts and never answers.
    Hangs,
    /// It closes the connection without an answer.
    Closes,
    /// It sends these bytes, which need be no answer, and closes the connection after a while.
    Sends(Vec<u8>, Duration),
    /// It answers this to whatever it is asked: status line and headers without the last empty line, and the body.
    Answers(&'static str, Vec<u8>),
}

impl Fault {
    /// An answer with a status, a content type and a body.
    pub fn answer(status: u16, kind: &str, body: &str) -> Self {
        let head = format!("HTTP/1.1 {status} Status\r\ncontent-type: {kind}");
        Self::Answers(Box::leak(head.into_boxed_str()), body.as_bytes().to_vec())
    }
}

/// An upstream that fails always in the same way, and counts.
pub struct Faulty {
    /// Where it listens.
    pub address: SocketAddr,
    asked: Arc<AtomicUsize>,
    /// Connections on which a request came and that the other side has closed.
    closed: watch::Receiver<usize>,
    /// Holds a port on which nobody listens, so that no other test gets it.
    _held: Option<TcpSocket>,
}

impl Faulty {
    /// Listens on a port of this machine.
    pub fn start(fault: Fault) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let (closing, closed) = watch::channel(0);
        if matches!(fault, Fault::Refuses) {
            return Self { address, asked, closed, _held: Some(socket) };
        }
        let listener = socket.listen(1_024).unwrap();
        let faulty = Self { address, asked: Arc::clone(&asked), closed, _held: None };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, fault.clone(), Arc::clone(&asked), closing.clone()));
            }
        });
        faulty
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests that came.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Waits until a request has come.
    pub async fn is_asked(&self) {
        while self.asked() == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until the other side has closed a connection on which it had asked.
    pub async fn is_left(&mut self) {
        self.closed.wait_for(|closed| *closed > 0).await.unwrap();
    }
}

async fn converse(mut stream: TcpStream, fault: Fault, asked: Arc<AtomicUsize>, closing: watch::Sender<usize>) {
    // A request's head; its body is read after the answer.
    let mut buffer = Vec::new();
    while !buffer.windows(4).any(|window| window == b"\r\n\r\n") {
        let mut chunk = [0; 8_192];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(read) => buffer.extend_from_slice(&chunk[..read]),
        }
    }
    asked.fetch_add(1, Ordering::SeqCst);
    let mut rest = [0; 8_192];
    match &fault {
        Fault::Refuses | Fault::Closes => {}
        Fault::Hangs => {
            while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
            closing.send_modify(|count| *count += 1);
        }
        Fault::Sends(bytes, stay) => {
            let _gone = stream.write_all(bytes).await;
            tokio::time::sleep(*stay).await;
        }
        Fault::Answers(head, body) => {
            let head = format!("{head}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            if stream.write_all(head.as_bytes()).await.is_ok() {
                let _gone = stream.write_all(body).await;
            }
            // A body that is still being sent must arrive, or the answer is lost by a reset.
            let _closed = stream.shutdown().await;
            while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
        }
    }
}
