//! Readers and publishers through an adapter, against the floor behind TLS and a server of HTTP/2.

use std::{
    error::Error,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;
use clap::Parser as _;
use serde_json::Value;
use tidegate_swarm::{
    cli::{self, Cli},
    floor::{Floor, Options},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What a run of swarm with these flags writes for programs.
async fn swarm(flags: Vec<String>) -> Result<Value> {
    let file = tempfile::NamedTempFile::new()?;
    let metrics = format!("--metrics-json={}", file.path().display());
    let words = ["swarm", "fanout", "--settle-ms=10", "--quiet-ms=300"].map(str::to_owned);
    let cli = Cli::try_parse_from(words.into_iter().chain(flags).chain([metrics]))?;
    tokio::task::spawn_blocking(|| cli::run(cli)).await??;
    Ok(serde_json::from_str(&std::fs::read_to_string(file.path())?)?)
}

/// The floor behind TLS: where that listens.
async fn tls(config: ServerConfig, floor: SocketAddr) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let addr = listener.local_addr()?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut client = acceptor.accept(socket).await?;
                let mut server = TcpStream::connect(floor).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    Ok(addr)
}

#[tokio::test]
async fn a_load_goes_through_tls() -> Result {
    let made = rcgen::generate_simple_self_signed([Ipv4Addr::LOCALHOST.to_string()])?;
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), made.cert.pem())?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    let floor = Floor::start("127.0.0.1:0".parse()?, Options::default())?;
    let url = format!("--url=http://{}", tls(config, floor.addr()).await?);
    let flags = ["--readers=20", "--rate=50", "--seconds=0.4"].map(str::to_owned);
    let trust = format!("--tls-ca={}", file.path().display());
    let report = swarm([flags.to_vec(), vec![url.clone(), trust]].concat()).await?;
    assert_eq!((report["deliveries"].as_u64(), report["clean"].as_bool()), (Some(400), Some(true)));

    // Without it the server is not understood.
    let report = swarm([flags.to_vec(), vec![url, "--rate=0".into()]].concat()).await;
    assert!(report.is_err() || report.is_ok_and(|report| report["clean"] == false));
    floor.stop()?;
    Ok(())
}

/// A server of HTTP/2 that gives every stream two events, and says how many connections it had.
async fn two_events(listener: TcpListener, streams: usize) -> Result<usize> {
    let (mut connections, mut served) = (0, 0);
    while served < streams {
        let (socket, _) = listener.accept().await?;
        connections += 1;
        let mut connection = h2::server::handshake(socket).await?;
        for _ in 0..2 {
            let (request, mut respond) = connection.accept().await.ok_or("no request")??;
            assert!(request.uri().path().starts_with("/v1/subscribe/events/"), "{request:?}");
            assert_eq!(request.headers()["accept"], "text/event-stream");
            let head = http::Response::builder().header("content-type", "text/event-stream");
            let mut body = respond.send_response(head.body(())?, false)?;
            let events = "data: {\"seq\":0,\"t\":1}\n\ndata: {\"seq\":1,\"t\":2}\n\n";
            body.send_data(Bytes::from(events), false)?;
            // Or dropping it would reset the stream.
            std::mem::forget(body);
            served += 1;
        }
        tokio::spawn(async move { while connection.accept().await.is_some() {} });
    }
    Ok(connections)
}

#[tokio::test]
async fn streams_of_http2_share_connections() -> Result {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url = format!("--url=http://{}", listener.local_addr()?);
    let server = tokio::spawn(two_events(listener, 6));
    let flags = ["--readers=6", "--http2=2", "--rate=0", "--seconds=0.5"].map(str::to_owned);
    let report = swarm([flags.to_vec(), vec![url]].concat()).await?;
    assert_eq!((report["deliveries"].as_u64(), report["clean"].as_bool()), (Some(12), Some(true)));
    assert_eq!(server.await??, 3);
    Ok(())
}
