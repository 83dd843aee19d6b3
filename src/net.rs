//! The program's one HTTP client: a request with a deadline and a bound on what comes back.
//!
//! It follows no redirect and keeps no cookie. A new connection per call: what a fresh client sees is
//! what counts. `https://` is verified by the system's certificates (`SSL_CERT_FILE` and `SSL_CERT_DIR`
//! name others, as everywhere). Not known here: what an answer means.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use std::{fmt, io};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A question to an HTTP server.
#[derive(Clone, Debug)]
pub struct Ask {
    /// `GET`, `POST`, ...
    pub method: Method,
    /// Absolute `http://` or `https://` URL.
    pub url: String,
    /// Header names and values.
    pub headers: Vec<(String, String)>,
    /// Body, empty mostly.
    pub body: Bytes,
    /// For all of it: name, connection, request, last byte of the answer.
    pub timeout: Duration,
    /// Bytes of the answer's body at most; more is an error.
    pub limit: usize,
}

impl Ask {
    /// A GET with a deadline of 5 s and a limit of 1 MiB.
    pub fn get(url: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            url: url.into(),
            headers: Vec::new(),
            body: Bytes::new(),
            timeout: Duration::from_secs(5),
            limit: 1 << 20,
        }
    }

    /// A request with a body of the given content type.
    pub fn with_body(
        method: Method,
        url: impl Into<String>,
        content_type: &str,
        body: impl Into<Bytes>,
    ) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Self { method, body: body.into(), headers, ..Self::get(url) }
    }

    /// With another deadline.
    #[must_use]
    pub fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// With another bound on the answer's body.
    #[must_use]
    pub fn at_most(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// From the call to the last byte.
    pub took: Duration,
}

impl Reply {
    /// A header's value as text, when it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Why nothing (or not all) came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetError {
    /// The request cannot be made: bad URL, header, or scheme. Nothing was sent.
    Request(String),
    /// No connection. Nothing was sent.
    Connect(String),
    /// The deadline passed; `sent` when the server may have seen the request.
    TimedOut {
        /// The server may have seen the request.
        sent: bool,
    },
    /// The connection ended before the whole answer was there. The server may have seen the request.
    Lost(String),
    /// The answer is larger than the bound.
    TooLarge(usize),
}

impl NetError {
    /// Whether the server may have acted on the request.
    pub fn maybe_delivered(&self) -> bool {
        match self {
            Self::Request(_) | Self::Connect(_) => false,
            Self::TimedOut { sent } => *sent,
            Self::Lost(_) | Self::TooLarge(_) => true,
        }
    }
}

impl fmt::Display for NetError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(why) => write!(out, "bad request: {why}"),
            Self::Connect(why) => write!(out, "no connection: {why}"),
            Self::TimedOut { sent: false } => out.write_str("timed out while connecting"),
            Self::TimedOut { sent: true } => out.write_str("timed out waiting for the answer"),
            Self::Lost(why) => write!(out, "connection lost: {why}"),
            Self::TooLarge(limit) => write!(out, "answer is larger than {limit} bytes"),
        }
    }
}

impl std::error::Error for NetError {}

/// Asks over a connection of its own.
pub async fn fetch(ask: &Ask) -> Result<Reply, NetError> {
    let begun = Instant::now();
    let mut sent = false;
    match tokio::time::timeout(ask.timeout, exchange(ask, &mut sent)).await {
        Ok(Ok((status, headers, body))) => {
            Ok(Reply { status, headers, body, took: begun.elapsed() })
        }
        Ok(Err(error)) => Err(error),
        Err(_) => Err(NetError::TimedOut { sent }),
    }
}

async fn exchange(ask: &Ask, sent: &mut bool) -> Result<(u16, HeaderMap, Bytes), NetError> {
    let (place, request) = build(ask)?;
    let unreached = |error: io::Error| NetError::Connect(error.to_string());
    let stream = TcpStream::connect((place.host(), place.port)).await.map_err(unreached)?;
    // A small request must not wait for Nagle's algorithm.
    stream.set_nodelay(true).map_err(unreached)?;
    if !place.tls {
        return talk(stream, request, ask.limit, sent).await;
    }
    let name = ServerName::try_from(place.host().to_owned())
        .map_err(|error| NetError::Request(format!("`{}`: {error}", place.host())))?;
    let connector = TlsConnector::from(trust()?);
    let stream = connector.connect(name, stream).await.map_err(unreached)?;
    talk(stream, request, ask.limit, sent).await
}

async fn talk<S>(
    stream: S,
    request: Request<Full<Bytes>>,
    limit: usize,
    sent: &mut bool,
) -> Result<(u16, HeaderMap, Bytes), NetError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| NetError::Connect(error.to_string()))?;
    *sent = true;
    let answer = async {
        let response = sender.send_request(request).await.map_err(lost)?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, limit).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                NetError::TooLarge(limit)
            } else {
                NetError::Lost(error.to_string())
            }
        })?;
        Ok((parts.status.as_u16(), parts.headers, body.to_bytes()))
    };
    // The connection is driven here, not in a task of its own: dropping this future closes it.
    tokio::pin!(answer);
    tokio::pin!(connection);
    let mut driving = true;
    loop {
        tokio::select! {
            done = &mut answer => return done,
            _ = &mut connection, if driving => driving = false,
        }
    }
}

/// Whom `https://` believes: read once, as it is some hundred files.
fn trust() -> Result<Arc<ClientConfig>, NetError> {
    static TRUST: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    let read = || {
        let mut roots = RootCertStore::empty();
        // What cannot be read vouches for nobody: a server that needed it is refused.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        // Named, as two providers in one tree and none named would panic.
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
    };
    TRUST.get_or_init(read).clone().map_err(NetError::Request)
}

/// Where a request goes.
struct Place {
    /// As the URL has it: an address of IPv6 stands in brackets.
    host: String,
    port: u16,
    tls: bool,
}

impl Place {
    fn host(&self) -> &str {
        self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&self.host)
    }
}

fn lost(error: hyper::Error) -> NetError {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    NetError::Lost(text)
}

fn build(ask: &Ask) -> Result<(Place, Request<Full<Bytes>>), NetError> {
    let bad = |what: String| NetError::Request(what);
    let uri: Uri = ask.url.parse().map_err(|error| bad(format!("`{}`: {error}", ask.url)))?;
    let (tls, usual) = match uri.scheme_str() {
        Some("http") => (false, 80),
        Some("https") => (true, 443),
        _ => return Err(bad(format!("`{}` is not an http:// or https:// URL", ask.url))),
    };
    let host = uri.host().ok_or_else(|| bad(format!("`{}` names no host", ask.url)))?;
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        // It would go out as the name of a host, to whoever answers, and into messages.
        return Err(bad(format!("the URL for `{host}` holds a user; say it in a header")));
    }
    let place = Place { host: host.to_owned(), port: uri.port_u16().unwrap_or(usual), tls };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::builder().method(ask.method.clone()).uri(path);
    let named = uri.authority().map_or(host, |authority| authority.as_str());
    request = request.header(HOST, named);
    for (name, value) in &ask.headers {
        let name: HeaderName =
            name.parse().map_err(|error| bad(format!("header `{name}`: {error}")))?;
        let value: HeaderValue =
            value.parse().map_err(|error| bad(format!("value of header `{name}`: {error}")))?;
        request = request.header(name, value);
    }
    let request =
        request.body(Full::new(ask.body.clone())).map_err(|error| bad(error.to_string()))?;
    Ok((place, request))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A server that answers one connection after the other by a script.
    async fn server<F>(behave: impl Fn(TcpStream) -> F + Send + 'static) -> String
    where
        F: Future<Output = ()> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                behave(stream).await;
            }
        });
        url
    }

    async fn ask(url: String) -> Result<Reply, NetError> {
        within(url, Duration::from_millis(600)).await
    }

    async fn within(url: String, deadline: Duration) -> Result<Reply, NetError> {
        fetch(&Ask::get(url).within(deadline).at_most(1000)).await
    }

    #[tokio::test]
    async fn a_drip_is_cut_by_the_deadline_over_all() {
        let url = server(async |mut stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n").await;
            while stream.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        let begun = Instant::now();
        assert_eq!(
            ask(url).await.map(|reply| reply.status),
            Err(NetError::TimedOut { sent: true })
        );
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn what_is_said_without_end_is_cut_by_the_bound() {
        // The bound is what ends it, on a busy machine too: the deadline is far away.
        let patient = |url| within(url, Duration::from_secs(60));
        for (head, why) in [
            ("HTTP/1.1 200 OK\r\n\r\n", NetError::TooLarge(1000)),
            ("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n", NetError::TooLarge(1000)),
        ] {
            let url = server(async move |mut stream| {
                let _ = stream.write_all(head.as_bytes()).await;
                while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
            })
            .await;
            assert_eq!(patient(url).await.map(|reply| reply.status), Err(why), "{head}");
        }
        // Headers without end are no answer either.
        let url = server(async |mut stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
            while stream.write_all(b"x-more: and more\r\n").await.is_ok() {}
        })
        .await;
        assert!(matches!(patient(url).await, Err(NetError::Lost(_))));
    }

    #[tokio::test]
    async fn a_reset_a_cut_answer_and_silence_may_have_been_delivered() {
        let reset = server(async |stream| {
            rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).expect("set");
        })
        .await;
        let cut = server(async |mut stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc").await;
        })
        .await;
        let half_open = server(async |stream| {
            tokio::time::sleep(Duration::from_secs(60)).await;
            drop(stream);
        })
        .await;
        for url in [reset, cut, half_open] {
            let error = ask(url).await.expect_err("no answer");
            assert!(error.maybe_delivered(), "{error}");
        }
        let gone = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", gone.local_addr().expect("an address"));
        drop(gone);
        assert!(!ask(url).await.expect_err("nobody is there").maybe_delivered());
    }

    #[tokio::test]
    async fn no_redirect_is_followed_and_no_user_is_sent() {
        let url = server(async |mut stream| {
            let text =
                "HTTP/1.1 302 Found\r\nlocation: file:///etc/passwd\r\ncontent-length: 0\r\n\r\n";
            let _ = stream.write_all(text.as_bytes()).await;
        })
        .await;
        assert_eq!(ask(url.clone()).await.map(|reply| reply.status), Ok(302));
        for wrong in [&url.replace("//", "//me:secret@"), "ftp://h/", "file:///x", "h", "http://"] {
            let error = ask(wrong.to_owned()).await.expect_err(wrong);
            assert!(matches!(error, NetError::Request(_)), "{error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
