//! An endpoint that speaks TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use axum::serve::Listener;
use axum::{Json, Router};
use e2e::{Gateway, Settings};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::scene::{Scene, ask, code_of, route};

struct TlsListener {
    tcp: TcpListener,
    tls: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            // Who does not trust the certificate goes, and is no client.
            if let Ok((stream, address)) = self.tcp.accept().await
                && let Ok(stream) = self.tls.accept(stream).await
            {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

#[tokio::test]
async fn a_certificate_has_to_be_vouched_for() -> Result<()> {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).map_err(anyhow::Error::msg)?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)?;
    let tcp = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("https://localhost:{}/", tcp.local_addr()?.port());
    let tls = TlsAcceptor::from(Arc::new(config));
    let app = Router::new().fallback(async || Json(json!({"ack": ["over TLS"]})));
    tokio::spawn(async move { axum::serve(TlsListener { tcp, tls }, app).await });

    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    for (ca, is_trusted) in [(issued.cert.pem(), true), (other.cert.pem(), false)] {
        let (ca, settings) = (
            Settings::new(&ca)?,
            Settings::new(&format!(
                "[[namespace]]\nname = \"/\"\npublic = true\n{}",
                route(&url, "")
            ))?,
        );
        let environment = [("SSL_CERT_FILE", ca.path()?)];
        let gateway = Gateway::hallporter("gateway", &["serve", "--config", settings.path()?], &environment).await?;
        let scene = Scene::of(gateway, settings);
        let (mut socket, _) = scene.client().await?;
        match is_trusted {
            true => assert_eq!(ask(&mut socket, json!(["x"])).await?, json!(["over TLS"])),
            false => {
                assert_eq!(code_of(&mut socket, json!(["x"])).await?, "unavailable");
                scene.gateway.log().line("certificate").await?;
            }
        }
    }
    Ok(())
}
