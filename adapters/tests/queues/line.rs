//! A line to a server that can be cut, which is all that a server sees of a client that is killed.

use std::net::Ipv4Addr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) struct Line {
    pub(crate) port: u16,
    _cut: DropGuard,
}

impl Line {
    /// Passes everything on until this value is dropped.
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut = CancellationToken::new();
        let guard = cut.clone().drop_guard();
        tokio::spawn(async move {
            while let Some(Ok((mut client, _))) = cut.run_until_cancelled(listener.accept()).await {
                let cut = cut.clone();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await.unwrap();
                    cut.run_until_cancelled(copy_bidirectional(&mut client, &mut server))
                        .await
                });
            }
        });
        Self { port, _cut: guard }
    }
}
