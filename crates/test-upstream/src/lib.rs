//! Servers of tests that fail in a chosen way.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests use it")]

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
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
    Answers(String, Vec<u8>),
    /// It does something after a while.
    Late(Duration, Box<Self>),
    /// It does the next of these with each request, and then the first again.
    InTurn(Vec<Self>),
}

impl Fault {
    /// An answer with a status, a content type and a body.
    pub fn answer(status: u16, kind: &str, body: &str) -> Self {
        Self::with_headers(status, &[&format!("content-type: {kind}")], body)
    }

    /// An answer with a status, some headers (`name: value`) and a body.
    pub fn with_headers(status: u16, headers: &[&str], body: &str) -> Self {
        let head = format!("HTTP/1.1 {status} Status\r\n{}", headers.join("\r\n"));
        Self::Answers(head, body.as_bytes().to_vec())
    }
}

/// An upstream that fails as it is told, and knows what it was asked.
pub struct Faulty {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<State>,
    /// Connections on which a request came and that the other side has closed.
    closed: watch::Receiver<usize>,
    /// Holds a port on which nobody listens, so that no other test gets it.
    _held: Option<TcpSocket>,
}

struct State {
    fault: Mutex<Fault>,
    /// The first line of each request that came.
    asked: Mutex<Vec<String>>,
}

impl Faulty {
    /// Listens on a port of this machine.
    pub fn start(fault: Fault) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        let (closing, closed) = watch::channel(0);
        let refuses = matches!(fault, Fault::Refuses);
        let state = Arc::new(State { fault: Mutex::new(fault), asked: Mutex::default() });
        if refuses {
            return Self { address, state, closed, _held: Some(socket) };
        }
        let listener = socket.listen(1_024).unwrap();
        let faulty = Self { address, state: Arc::clone(&state), closed, _held: None };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, Arc::clone(&state), closing.clone()));
            }
        });
        faulty
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it does with requests that come from now on. One that refuses connections goes on to.
    pub fn now_does(&self, fault: Fault) {
        *self.state.fault.lock().unwrap() = fault;
    }

    /// Requests that came.
    pub fn asked(&self) -> usize {
        self.asked_for("")
    }

    /// Requests that came whose first line begins so: `GET /path`.
    pub fn asked_for(&self, beginning: &str) -> usize {
        self.state.asked.lock().unwrap().iter().filter(|line| line.starts_with(beginning)).count()
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

async fn converse(mut stream: TcpStream, state: Arc<State>, closing: watch::Sender<usize>) {
    // A request's head; its body is read after the answer.
    let mut buffer = Vec::new();
    while !buffer.windows(4).any(|window| window == b"\r\n\r\n") {
        let mut chunk = [0; 8_192];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(read) => buffer.extend_from_slice(&chunk[..read]),
        }
    }
    let head = String::from_utf8_lossy(&buffer);
    let number = {
        let mut asked = state.asked.lock().unwrap();
        asked.push(head.lines().next().unwrap_or_default().to_owned());
        asked.len() - 1
    };
    let mut fault = state.fault.lock().unwrap().clone();
    let mut rest = [0; 8_192];
    loop {
        match fault {
            Fault::Late(wait, next) => {
                tokio::time::sleep(wait).await;
                fault = *next;
            }
            Fault::InTurn(faults) => fault = faults[number % faults.len()].clone(),
            Fault::Refuses | Fault::Closes => return,
            Fault::Hangs => {
                while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
                closing.send_modify(|count| *count += 1);
                return;
            }
            Fault::Sends(bytes, stay) => {
                let _gone = stream.write_all(&bytes).await;
                tokio::time::sleep(stay).await;
                return;
            }
            Fault::Answers(head, body) => {
                let head = format!("{head}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                if stream.write_all(head.as_bytes()).await.is_ok() {
                    let _gone = stream.write_all(&body).await;
                }
                // A body that is still being sent must arrive, or the answer is lost by a reset.
                let _closed = stream.shutdown().await;
                while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
                return;
            }
        }
    }
}
