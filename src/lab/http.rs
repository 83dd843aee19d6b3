//! A service's port: listens, can be drained and started again at the same address, and hands each
//! request to one function.
//!
//! Not known here: what is asked.

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Mutex, watch};
use tokio::task::{JoinHandle, JoinSet};

/// A request's body is at most this long.
const LIMIT: usize = 64 * 1024;

/// In a drain, a connection that was not asked anything yet is kept so long.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// The header by which the lab's own load is told from people: it keeps no lab alive.
pub(super) const LOAD_HEADER: &str = "x-lab-load";

/// A request.
pub(super) struct Call {
    /// Method.
    pub(super) method: Method,
    /// The path as it came, nothing decoded.
    pub(super) path: String,
    /// What came after `?`.
    pub(super) query: String,
    /// Content-Type.
    pub(super) content_type: String,
    /// Body.
    pub(super) body: Bytes,
    /// It comes from the lab's own load, or is a hop within a site.
    pub(super) own: bool,
}

/// An answer.
pub(super) struct Reply {
    /// Status code.
    pub(super) status: u16,
    /// Headers.
    pub(super) headers: Vec<(&'static str, String)>,
    /// Body.
    pub(super) body: Bytes,
}

impl Reply {
    /// With a body of this type.
    pub(super) fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        let headers = vec![("content-type", content_type.to_owned())];
        Self { status, headers, body: body.into() }
    }

    /// A line of text.
    pub(super) fn text(status: u16, text: impl Into<String>) -> Self {
        let mut text = text.into();
        text.push('\n');
        Self::new(status, "text/plain; charset=utf-8", text)
    }

    /// JSON.
    pub(super) fn json(status: u16, value: &impl serde::Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::new(status, "application/json", body),
            Err(error) => Self::text(500, format!("the answer cannot be written: {error}")),
        }
    }

    /// With one header more.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// What answers.
pub(super) type Handler = Arc<dyn Fn(Call) -> BoxFuture<'static, Reply> + Send + Sync>;

/// One service's address. It stays reserved while nobody listens, so that a restart finds it again.
pub(super) struct Port {
    /// `127.0.0.1:PORT`
    pub(super) address: SocketAddr,
    /// Bound, never listening: nobody else can be given this port.
    _reserved: TcpSocket,
    handler: Handler,
    running: Mutex<Option<Running>>,
}

struct Running {
    stop: watch::Sender<Phase>,
    done: JoinHandle<()>,
}

/// What connections are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Serve; connections of an older generation end after the request that they are in.
    Serve(u64),
    /// Take no connection any more, finish what is asked.
    Drain,
    /// End at once.
    Abort,
}

impl Port {
    /// Reserves this port on loopback; 0: an ephemeral one. Must be called within a runtime.
    pub(super) fn reserve(handler: Handler, number: u16) -> io::Result<Self> {
        let reserved = bound(SocketAddr::from((Ipv4Addr::LOCALHOST, number)))?;
        let address = reserved.local_addr()?;
        Ok(Self { address, _reserved: reserved, handler, running: Mutex::new(None) })
    }

    /// `http://127.0.0.1:PORT`
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Listens, if it does not yet.
    pub(super) async fn start(&self) -> io::Result<()> {
        let mut running = self.running.lock().await;
        if running.is_none() {
            let listener = bound(self.address)?.listen(1024)?;
            let (stop, told) = watch::channel(Phase::Serve(0));
            let done = tokio::spawn(accept(listener, Arc::clone(&self.handler), told));
            *running = Some(Running { stop, done });
        }
        Ok(())
    }

    /// Listens no more; requests in flight are finished within `patience`, the rest is cut off.
    pub(super) async fn drain(&self, patience: Duration) {
        let mut running = self.running.lock().await;
        if let Some(Running { stop, mut done }) = running.take() {
            stop.send_replace(Phase::Drain);
            if tokio::time::timeout(patience, &mut done).await.is_err() {
                stop.send_replace(Phase::Abort);
                // Its only answer is that it has ended.
                let _ = done.await;
            }
        }
    }

    /// A new generation takes the listener over: every connection ends after the request that it is
    /// in, none is refused.
    pub(super) async fn hand_over(&self) {
        if let Some(running) = &*self.running.lock().await {
            running.stop.send_modify(|phase| {
                if let Phase::Serve(generation) = phase {
                    *generation += 1;
                }
            });
        }
    }
}

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn accept(listener: TcpListener, handler: Handler, mut told: watch::Receiver<Phase>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            taken = listener.accept() => match taken {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, Arc::clone(&handler), told.clone()));
                }
                // No file descriptor left, or a connection gone already: the listener goes on.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            },
            Some(_) = connections.join_next() => {}
            changed = told.changed() => {
                if changed.is_err() || !matches!(*told.borrow(), Phase::Serve(_)) {
                    break;
                }
            }
        }
    }
    // Who has connected already is served: nobody had said no.
    while let Some(Ok((stream, _))) = listener.accept().now_or_never() {
        connections.spawn(serve(stream, Arc::clone(&handler), told.clone()));
    }
    drop(listener);
    loop {
        tokio::select! {
            ended = connections.join_next() => if ended.is_none() { break },
            changed = told.changed() => {
                if changed.is_err() || *told.borrow() == Phase::Abort {
                    connections.shutdown().await;
                    break;
                }
            }
        }
    }
}

async fn serve(stream: TcpStream, handler: Handler, mut told: watch::Receiver<Phase>) {
    // A small answer must not wait for Nagle's algorithm; without the option it is only slower.
    let _ = stream.set_nodelay(true);
    let (seen, mut asked) = watch::channel(false);
    let answering = service_fn(move |request| {
        seen.send_replace(true);
        answer(request, Arc::clone(&handler))
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), answering);
    let mut connection = pin!(connection);
    tokio::select! {
        // A client that hangs up is no concern of the server.
        _ = connection.as_mut() => return,
        () = to_end(&mut told, &mut asked) => connection.as_mut().graceful_shutdown(),
    }
    // The same.
    let _ = connection.await;
}

/// Returns when a connection is to end after the request that it is in. hyper closes at once what was
/// not asked anything yet, and a client would see its request lost: such a connection goes over to
/// the next generation, and in a drain it has a moment for its first request.
async fn to_end(told: &mut watch::Receiver<Phase>, asked: &mut watch::Receiver<bool>) {
    let mut born = None;
    loop {
        let now = *told.borrow_and_update();
        match now {
            Phase::Serve(generation) => {
                let old = born.is_some_and(|born| born != generation);
                if old && *asked.borrow() {
                    return;
                }
                born = Some(generation);
            }
            Phase::Drain | Phase::Abort => {
                // It asks, or it is gone, or it has nothing to ask: it ends in each case.
                let _ = tokio::time::timeout(FIRST_REQUEST, asked.wait_for(|asked| *asked)).await;
                return;
            }
        }
        if told.changed().await.is_err() {
            return;
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    handler: Handler,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let reply = match Limited::new(body, LIMIT).collect().await {
        Ok(body) => {
            let call = Call {
                path: parts.uri.path().to_owned(),
                query: parts.uri.query().unwrap_or_default().to_owned(),
                content_type: header("content-type").unwrap_or_default().to_owned(),
                own: header(LOAD_HEADER).is_some(),
                method: parts.method,
                body: body.to_bytes(),
            };
            handler(call).await
        }
        Err(_) => Reply::text(413, "the request is too large, or ended early"),
    };
    let mut response = Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    let response = response.body(Full::new(reply.body)).unwrap_or_else(|_| {
        let mut failed = Response::new(Full::new(Bytes::new()));
        *failed.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
        failed
    });
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Ask, NetError, fetch};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::Notify;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn draining_finishes_what_is_asked_and_the_port_comes_back() {
        let (entered, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (enter, wait) = (Arc::clone(&entered), Arc::clone(&go));
        let handler: Handler = Arc::new(move |call: Call| {
            let (enter, wait) = (Arc::clone(&enter), Arc::clone(&wait));
            Box::pin(async move {
                if call.path == "/slow" {
                    enter.notify_one();
                    wait.notified().await;
                }
                Reply::text(200, call.path)
            })
        });
        let port = Arc::new(Port::reserve(handler, 0).unwrap());
        port.start().await.unwrap();
        let url = port.url();
        let slow = tokio::spawn({
            let url = url.clone();
            async move { fetch(&Ask::get(format!("{url}/slow"))).await }
        });
        entered.notified().await;
        let mut early = TcpStream::connect(port.address).await.unwrap();
        let draining = tokio::spawn({
            let port = Arc::clone(&port);
            async move { port.drain(Duration::from_secs(10)).await }
        });
        while fetch(&Ask::get(&url)).await.is_ok() {}
        // A client that is slow to ask: that it was not cut off meanwhile is no event to wait for.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut answer = String::new();
        early.write_all(b"GET /early HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
        early.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("/early\n"), "{answer}");
        assert!(matches!(fetch(&Ask::get(&url)).await, Err(NetError::Connect(_))));
        assert!(!draining.is_finished());
        go.notify_one();
        assert_eq!(slow.await.unwrap().unwrap().status, 200);
        draining.await.unwrap();
        port.start().await.unwrap();
        assert_eq!(fetch(&Ask::get(format!("{url}/a//b"))).await.unwrap().body, "/a//b\n");
        port.hand_over().await;
        assert_eq!(fetch(&Ask::get(&url)).await.unwrap().status, 200);
    }
}
